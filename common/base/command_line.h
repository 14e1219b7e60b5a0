/* command_line.h: the command line that both daemons share. Start-up only. */
#ifndef TANDEM_BASE_COMMAND_LINE_H
#define TANDEM_BASE_COMMAND_LINE_H

struct command_line {
    const char *program; /* "tandem-server": in messages, --version and every log line */
    const char *usage;   /* the whole text of --help */
    int (*check)(const char *config_path); /* --check-config; 0 or negative */
    int (*run)(const char *config_path);   /* until the daemon ends; 0 or negative */
};

/* Reads --config, --check-config, --verbose, --help and --version, starts the log on stderr and
 * calls `check` or `run`. Returns the exit status: 0 done, 1 failed, 2 wrong use. */
int command_line_run(const struct command_line *line, int argc, char **argv);

#endif
