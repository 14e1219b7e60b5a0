/* main.c: the command line of tandem-client. Everything it does is in daemon.h. */
#include "client/daemon/daemon.h"
#include "common/base/log.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static int usage(FILE *out, int status)
{
    fputs("usage: tandem-client --config FILE [--check-config] [--verbose]\n"
          "  --config FILE    configuration, see client.conf\n"
          "  --check-config   print the effective configuration, the tasks and an example decision, and exit\n"
          "  --verbose        log more\n"
          "  --help, --version\n",
          out);
    return status;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"check-config", no_argument, NULL, 'k'}, {"verbose", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},         {"version", no_argument, NULL, 'V'},      {NULL, 0, NULL, 0},
    };
    enum log_level level = LOG_LEVEL_INFO;
    const char *config = NULL;
    bool check = false;
    int option;

    while ((option = getopt_long(argc, argv, "c:", options, NULL)) != -1) {
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
            return usage(stdout, EXIT_DONE);
        case 'V':
            return puts("tandem-client " TANDEM_VERSION) < 0 ? EXIT_FAILED : EXIT_DONE;
        default:
            return usage(stderr, EXIT_USAGE);
        }
    }
    if (optind != argc || !config) {
        return usage(stderr, EXIT_USAGE);
    }
    log_init("tandem-client", level, 2);
    return (check ? daemon_check(config) : daemon_run(config)) == 0 ? EXIT_DONE : EXIT_FAILED;
}
