/* command_explain.c: one decision, from the daemon's memory or from its file. */
#include "client/ctl/ctl.h"
#include "client/ctl/decision_file.h"
#include "client/ctl/print.h"
#include "client/ctl/screen.h"
#include "client/ctl/status_socket.h"
#include "common/base/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A decimal number of at most 20 digits, as ids are. */
static bool id_is_valid(const char *text)
{
    size_t bytes = strlen(text);

    return bytes > 0 && bytes <= 20 && strspn(text, "0123456789") == bytes;
}

/* The file that the status names, searched. 0 or TANDEM_E*, said. */
static int file_ask(const char *path, const char *id, char **ret_line, cJSON **ret_object)
{
    int result = decision_file_find(path, id, ret_line, ret_object);

    if (result == TANDEM_EIO) {
        (void)ctl_fail(result,
                       "decision %s is not in the daemon's memory, and %s, which keeps older "
                       "ones, cannot be read: %s",
                       id, path, strerror(errno));
    } else if (result != 0) {
        (void)ctl_fail(result, "there is no decision %s, neither in the daemon's memory nor in %s",
                       id, path);
    } else {
        (void)fprintf(stderr, "from %s: the daemon's memory has it no more\n", path);
    }
    return result;
}

/* What the daemon has forgotten may be in its file. 0 or TANDEM_E*, said. */
static int forgotten_ask(const char *socket_path, const char *id, char **ret_line,
                         cJSON **ret_object)
{
    const cJSON *file;
    cJSON *status;
    int result = status_socket_status(socket_path, "tandem-client", NULL, &status);

    if (result != 0) {
        return result;
    }
    file = cJSON_GetObjectItemCaseSensitive(status, "decisions_file");
    if (cJSON_IsString(file)) {
        result = file_ask(file->valuestring, id, ret_line, ret_object);
    } else {
        result = TANDEM_ENOTFOUND;
        (void)ctl_fail(result, "the daemon's memory has no decision %s, and it keeps none on disk",
                       id);
    }
    cJSON_Delete(status);
    return result;
}

int command_explain(const struct ctl_options *options)
{
    const char *id = options->arguments[0], *path = ctl_status_socket(options);
    struct table_style style = screen_style();
    char request[64];
    char *line;
    cJSON *object;
    struct buf text;
    int result;

    if (!id_is_valid(id)) {
        (void)ctl_fail(TANDEM_EINVAL, "'%s' is not a decision id (a decimal number)", id);
        return CTL_WRONG_USE;
    }
    snprintf(request, sizeof(request), "explain %s", id);
    result = status_socket_try(path, request, &line, &object);
    if (result == TANDEM_EUNSUPPORTED) {
        result = status_socket_is_application(path);
    } else if (result == TANDEM_ENOTFOUND) {
        result = forgotten_ask(path, id, &line, &object);
    }
    if (result != 0) {
        return result == TANDEM_EGONE ? CTL_NOT_RUNNING : CTL_FAILED;
    }
    buf_init(&text, 0);
    result =
        options->json ? buf_printf(&text, "%s\n", line) : print_decision(object, &style, &text);
    result = screen_put(result, &text);
    buf_fini(&text);
    free(line);
    cJSON_Delete(object);
    return result;
}
