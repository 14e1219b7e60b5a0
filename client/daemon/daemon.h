/* daemon.h: the client daemon: owns the loop, starts the modules in a column and stops them in
 * mirror. */
#ifndef TANDEM_CLIENT_DAEMON_H
#define TANDEM_CLIENT_DAEMON_H

/* Runs until SIGTERM or SIGINT. 0 or TANDEM_E*, said in the log. */
int daemon_run(const char *config_path);
/* Prints the effective configuration, the tasks and an example decision to stdout. 0 or TANDEM_E*,
 * said in the log. */
int daemon_check(const char *config_path);

#endif
