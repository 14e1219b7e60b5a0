/* server.h: tandem-server as a whole: starts its modules in a column, runs the loop, stops them in
 * the mirror of it. */
#ifndef TANDEM_SERVER_SERVER_H
#define TANDEM_SERVER_SERVER_H

#include <stdbool.h>

/* Reads the configuration and the models and prints what would be served on standard output. 0 or
 * TANDEM_E*; errors are logged. */
int server_check(const char *config_path);
/* Runs until SIGTERM or SIGINT has drained it. 0, or TANDEM_E* when it could not start; errors are
 * logged. */
int server_run(const char *config_path);

#endif
