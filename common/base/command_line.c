/* command_line.c: see command_line.h. */
#include "common/base/command_line.h"

#include "common/base/log.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static int wrong_use(const struct command_line *line, const char *what, const char *word)
{
    fprintf(stderr, "%s: %s%s; `%s --help` says what there is\n", line->program, what, word,
            line->program);
    return EXIT_USAGE;
}

int command_line_run(const struct command_line *line, int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"check-config", no_argument, NULL, 'k'},
        {"verbose", no_argument, NULL, 'v'},      {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},      {NULL, 0, NULL, 0},
    };
    enum log_level level = LOG_LEVEL_INFO;
    const char *config = NULL;
    bool check = false;
    int option;

    while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            config = optarg;
            break;
        case 'k':
            check = true;
            break;
        case 'v':
            level = LOG_LEVEL_DEBUG;
            break;
        case 'h':
            return fputs(line->usage, stdout) < 0 ? EXIT_FAILED : EXIT_DONE;
        case 'V':
            return printf("%s %s\n", line->program, TANDEM_VERSION) < 0 ? EXIT_FAILED : EXIT_DONE;
        case ':':
            return wrong_use(line, "a value is missing after ", argv[optind - 1]);
        default:
            return wrong_use(line, "there is no option ", argv[optind - 1]);
        }
    }
    if (optind != argc) {
        return wrong_use(line, "only options are taken, not ", argv[optind]);
    }
    if (!config) {
        return wrong_use(line, "--config FILE is missing", "");
    }
    log_init(line->program, level, 2);
    return (check ? line->check(config) : line->run(config)) == 0 ? EXIT_DONE : EXIT_FAILED;
}
