/* command_forget.c: the daemon forgets what it has learned of a task. */
#include "client/ctl/ctl.h"
#include "client/ctl/status_socket.h"
#include "common/base/error.h"
#include "common/base/limits.h"
#include "common/base/names.h"

#include <stdio.h>
#include <stdlib.h>

int command_forget(const struct ctl_options *options)
{
    char request[32 + LIMIT_NAME_BYTES];
    char *line = NULL;
    cJSON *object = NULL;
    int result;

    if (!options->task || !name_is_valid(options->task)) {
        (void)ctl_fail(TANDEM_EINVAL, "forget needs --task and the name of a task");
        return CTL_WRONG_USE;
    }
    snprintf(request, sizeof(request), "forget %s", options->task);
    result = status_socket_ask(ctl_status_socket(options), request, &line, &object);
    if (result == 0 && options->json) {
        puts(line);
    } else if (result == 0) {
        printf("what was learned of task %s is forgotten\n", options->task);
    }
    free(line);
    cJSON_Delete(object);
    return result == 0 ? CTL_DONE : result == TANDEM_EGONE ? CTL_NOT_RUNNING : CTL_FAILED;
}
