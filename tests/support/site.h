/* site.h: one building for the integration tests: a real tandem-server and a real tandem-client
 * with the shipped models on temporary sockets. One thread. Everything waits by asking again, at
 * most SITE_PATIENCE_MS; a wait that ends without what it waited for fails the test. The daemons
 * die with the test program. Include cmocka.h before. */
#ifndef TANDEM_TESTS_SITE_H
#define TANDEM_TESTS_SITE_H

#include "tandem.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define SITE_PATIENCE_MS 30000
#define SITE_SAMPLES     "deploy/models/samples/"
#define SITE_PICTURE     SITE_SAMPLES "cat-0153.jpg"

struct site {
    char dir[64], top[512]; /* top: of the source tree */
    char app_socket[96], status_socket[96], server_socket[96];
    pid_t client, server; /* 0: not running */
};

/* Words that go into the configurations instead of, or after, the usual ones; NULL: as usual. */
struct site_config {
    const char *listen; /* ipc://DIR/edge.sock */
    const char *url;    /* of the client's edge `den`; the same */
    const char *server; /* more lines of [server], and sections */
    const char *client; /* more lines of [client], and sections */
    const char *edge;   /* more lines of [edge den] */
    bool tls;           /* no tokens */
    bool results;       /* answers are kept and given again; else each request is computed */
};

/* The folder with tasks and configurations; starts nothing. */
void site_init(struct site *site, const struct site_config *config);
/* Kills what still runs and removes the folder. */
void site_fini(struct site *site);
void site_configure(struct site *site, const struct site_config *config);

/* Start and wait until the daemon answers on its status socket. */
void site_server_start(struct site *site);
void site_client_start(struct site *site);
/* Sends the signal and waits for the end: waitpid's status. */
int site_server_stop(struct site *site, int signal);
int site_client_stop(struct site *site, int signal);
/* Starts both, waits until the edge is up and connects: 0 or TANDEM_E*, as a setup returns it. */
int site_open(struct site *site, struct tandem **ret_tandem);
/* site_init with these lines of the client's [policy], and site_open; fails the test. */
void site_open_policy(struct site *site, const char *policy, struct tandem **ret_tandem);
/* The other way: disconnects, both end with 0, site_fini. */
void site_close(struct site *site, struct tandem *tandem);
/* Waits until the client's only edge is in this state ("up"). */
void site_edge_wait(struct site *site, const char *state);

/* All that a status socket says to `line` (with its newline), or NULL when nobody listens. Owned
 * (free). */
char *site_ask(const char *socket, const char *line);
/* The same, one object parsed: owned (cJSON_Delete). NULL: nobody listens, or not JSON. */
cJSON *site_status(const char *socket);
/* A number of the status by its path ("counters.requests"); -1 when it is not there. */
double site_number(const char *socket, const char *path);
/* Waits until a daemon's log has the text; fails with the log otherwise. `name`: "client" or
 * "server". */
void site_log_wait(struct site *site, const char *name, const char *text);
size_t site_log_count(struct site *site, const char *name,
                      const char *text); /* lines that have it */

/* Runs a program of build/bin with what follows, a NULL at the end, without standard input. Its
 * standard output goes into *ret_out and its standard error into *ret_error (both owned; either may
 * be NULL). Returns the exit status, 128 + the signal when it died. */
int site_run(char **ret_out, char **ret_error, const char *program, ...) __attribute__((sentinel));

size_t site_fds(pid_t pid);       /* open descriptors */
size_t site_memory_kb(pid_t pid); /* resident, without what is mapped from files */
void *site_file(const char *path, size_t *ret_bytes); /* owned; NUL after it */
void site_write(const char *path, const char *format, ...) __attribute__((format(printf, 2, 3)));
void site_pause(void); /* 10 ms between two questions */

/* One request through the library; 0 or TANDEM_E*. `*ret_answer` owned. */
int site_classify(struct tandem *tandem, const char *path, const char *route, uint32_t deadline_ms,
                  struct tandem_answer **ret_answer);
int site_generate(struct tandem *tandem, const char *text, const char *route, uint32_t deadline_ms,
                  struct tandem_answer **ret_answer);

#endif
