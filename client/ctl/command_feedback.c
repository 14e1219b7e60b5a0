/* command_feedback.c: what a person says of an answer, as an application would. */
#include "client/ctl/app_open.h"

#include "common/base/error.h"

#include <stdio.h>
#include <string.h>

int command_feedback(const struct ctl_options *options)
{
    const char *id = options->arguments[0], *word = options->arguments[1];
    const bool right = strcmp(word, "right") == 0;
    struct tandem *tandem;
    int result;

    if (id[0] == '\0' || strlen(id) > 20 || id[strspn(id, "0123456789")] != '\0') {
        (void)ctl_fail(TANDEM_EINVAL, "'%s' is not the id of a decision", id);
        return CTL_WRONG_USE;
    }
    if (!right && strcmp(word, "wrong") != 0) {
        (void)ctl_fail(TANDEM_EINVAL, "an answer was right or wrong, not '%s'", word);
        return CTL_WRONG_USE;
    }
    result = app_open(options, &tandem);
    if (result == 0) {
        result = tandem_feedback(tandem, id, right);
        if (result != 0) {
            (void)ctl_fail(result, "%s", tandem_last_error(tandem));
        }
    }
    if (result == 0 && options->json) {
        printf("{\"schema\":1,\"id\":\"%s\",\"correct\":%s}\n", id, right ? "true" : "false");
    } else if (result == 0) {
        printf("the answer of %s was %s\n", id, word);
    }
    tandem_close(tandem);
    return result == 0 ? CTL_DONE : result == TANDEM_EGONE ? CTL_NOT_RUNNING : CTL_FAILED;
}
