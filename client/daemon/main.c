/* main.c: the command line of tandem-client. Everything it does is in daemon.h. */
#include "client/daemon/daemon.h"
#include "common/base/command_line.h"

int main(int argc, char **argv)
{
    static const struct command_line line = {
        .program = "tandem-client",
        .usage = "usage: tandem-client --config FILE [--check-config] [--verbose]\n"
                 "  --config FILE    configuration, see client.conf\n"
                 "  --check-config   print the effective configuration, the tasks and an example "
                 "decision, and exit\n"
                 "  --verbose        log more\n"
                 "  --help, --version\n",
        .check = daemon_check,
        .run = daemon_run,
    };

    return command_line_run(&line, argc, argv);
}
