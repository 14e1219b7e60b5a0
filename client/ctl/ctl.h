/* ctl.h: tandemctl's command line. One table of subcommands and one of options drive parsing,
 * checking and the help. A command writes its result to standard output and what went wrong to
 * standard error, and returns an exit code of the design. */
#ifndef TANDEM_CTL_CTL_H
#define TANDEM_CTL_CTL_H

#include <stdbool.h>
#include <stdint.h>

enum ctl_exit { CTL_DONE = 0, CTL_FAILED = 1, CTL_WRONG_USE = 2, CTL_NOT_RUNNING = 3 };

#define CTL_ARGUMENTS_MAX 2

struct ctl_options {
    const char *socket; /* NULL: the environment's, or the default */
    bool server;
    bool json;
    bool follow;
    uint32_t count; /* -n; 0: not given */
    uint32_t deadline_ms;
    bool late;
    const char *session;
    const char *route;
    const char *since, *until, *task; /* NULL: not given */
    const char *file;
    bool slow, missed;
    uint32_t slow_count; /* 0: not given */
    bool full;
    const char *policy, *prefer, *one_miss_ms, *one_megabyte_ms, *one_error_ms, *one_joule_ms;
    const char *threshold;
    const char *arguments[CTL_ARGUMENTS_MAX];
    int argument_count;
};

/* The whole program. */
int ctl_main(int argc, char **argv);

/* The commands. */
int command_status(const struct ctl_options *options);
int command_decisions(const struct ctl_options *options);
int command_explain(const struct ctl_options *options);
int command_replay(const struct ctl_options *options);
int command_top(const struct ctl_options *options);
int command_cache(const struct ctl_options *options);
int command_forget(const struct ctl_options *options);
int command_feedback(const struct ctl_options *options);
int command_edges(const struct ctl_options *options);
int command_run(const struct ctl_options *options);

/* The status socket that the options and, without --server, $TANDEM_STATUS_SOCKET speak of. */
const char *ctl_status_socket(const struct ctl_options *options);
/* Prints "tandemctl: ..." on standard error; returns the exit code for the TANDEM_E* `code`. */
int ctl_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
