/* main.c: the command line of tandem-server. Everything it does is in server.h. */
#include "common/base/command_line.h"
#include "server/server.h"

int main(int argc, char **argv)
{
    static const struct command_line line = {
        .program = "tandem-server",
        .usage = "usage: tandem-server --config FILE [--check-config] [--verbose]\n"
                 "  --config FILE    configuration, see server.conf\n"
                 "  --check-config   print the effective configuration, the tasks and their "
                 "models, and exit\n"
                 "  --verbose        log every connection too\n"
                 "  --help, --version\n",
        .check = server_check,
        .run = server_run,
    };

    return command_line_run(&line, argc, argv);
}
