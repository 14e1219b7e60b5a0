/* command_explain.c: one decision, from the daemon, which finds old ones on disk, or from a file.
 */
#include "client/ctl/ctl.h"
#include "client/ctl/json_lines.h"
#include "client/ctl/print.h"
#include "client/ctl/screen.h"
#include "client/ctl/status_socket.h"
#include "common/base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A decimal number of at most 20 digits, as ids are. */
static bool id_is_valid(const char *text)
{
    size_t bytes = strlen(text);

    return bytes > 0 && bytes <= 20 && strspn(text, "0123456789") == bytes;
}

static bool is_decision(const cJSON *object, const char *id)
{
    const char *own = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, "id"));

    return own && strcmp(own, id) == 0 && cJSON_GetObjectItemCaseSensitive(object, "task");
}

/* 0 or TANDEM_E*, said; the line and the object are owned. */
static int file_ask(const char *path, const char *id, char **ret_line, cJSON **ret_object)
{
    struct json_lines lines;
    const char *line;
    cJSON *object;
    int result = json_lines_open(&lines, path);

    if (result != 0) {
        return result;
    }
    while ((result = json_lines_next(&lines, &line, &object)) == 0 && !is_decision(object, id)) {
        cJSON_Delete(object);
    }
    if (result == 1) {
        result = TANDEM_ENOTFOUND;
        (void)ctl_fail(result, "there is no decision %s in %s", id, lines.name);
    } else if (result == 0) {
        *ret_line = strdup(line);
        *ret_object = object;
        result = *ret_line ? 0 : TANDEM_ENOMEM;
    }
    json_lines_close(&lines);
    return result;
}

/* As above. */
static int daemon_ask(const char *path, const char *id, char **ret_line, cJSON **ret_object)
{
    char request[64];
    int result;

    snprintf(request, sizeof(request), "explain %s", id);
    result = status_socket_try(path, request, ret_line, ret_object);
    if (result == TANDEM_EUNSUPPORTED) {
        return status_socket_is_application(path);
    }
    if (result == TANDEM_ENOTFOUND) {
        (void)ctl_fail(result,
                       "there is no decision %s, neither in the daemon's memory nor on disk", id);
    }
    return result;
}

int command_explain(const struct ctl_options *options)
{
    const char *id = options->arguments[0];
    struct table_style style = screen_style();
    char *line = NULL;
    cJSON *object = NULL;
    struct buf text;
    int result;

    if (!id_is_valid(id)) {
        (void)ctl_fail(TANDEM_EINVAL, "'%s' is not a decision id (a decimal number)", id);
        return CTL_WRONG_USE;
    }
    result = options->file ? file_ask(options->file, id, &line, &object)
                           : daemon_ask(ctl_status_socket(options), id, &line, &object);
    if (result != 0) {
        return result == TANDEM_EGONE ? CTL_NOT_RUNNING : CTL_FAILED;
    }
    buf_init(&text, 0);
    result = options->json   ? buf_printf(&text, "%s\n", line)
             : options->full ? print_decision(object, &style, &text)
                             : print_story(object, &style, &text);
    result = screen_put(result, &text);
    buf_fini(&text);
    free(line);
    cJSON_Delete(object);
    return result;
}
