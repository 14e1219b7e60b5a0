/* command_look.c: the commands that look and change nothing: status, edges, cache. */
#include "client/ctl/ctl.h"
#include "client/ctl/print.h"
#include "client/ctl/screen.h"
#include "client/ctl/status_socket.h"
#include "common/base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int exit_code(int result)
{
    return result == 0 ? CTL_DONE : result == TANDEM_EGONE ? CTL_NOT_RUNNING : CTL_FAILED;
}

/* Shows `object` as a table, or `line` (or, without one, the object itself) as JSON. */
static int show(const struct ctl_options *options, const char *line, const cJSON *object)
{
    struct table_style style = screen_style();
    struct buf text;
    int code;

    if (options->json) {
        char *own = line ? NULL : cJSON_PrintUnformatted(object);

        if (!line && !own) {
            return ctl_fail(TANDEM_ENOMEM, "%s", tandem_error_text(TANDEM_ENOMEM));
        }
        puts(line ? line : own);
        cJSON_free(own);
        return CTL_DONE;
    }
    buf_init(&text, 0);
    code = screen_put(print_object(object, &style, &text), &text);
    buf_fini(&text);
    return code;
}

/* The daemon that the options ask for by name; NULL: whoever answers at --socket. */
static const char *daemon_name(const struct ctl_options *options)
{
    return options->server ? "tandem-server" : options->socket ? NULL : "tandem-client";
}

int command_status(const struct ctl_options *options)
{
    char *line;
    cJSON *object;
    int result =
        status_socket_status(ctl_status_socket(options), daemon_name(options), &line, &object);

    if (result != 0) {
        return exit_code(result);
    }
    result = show(options, line, object);
    free(line);
    cJSON_Delete(object);
    return result;
}

static int edges_show(const cJSON *status)
{
    struct table_style style = screen_style();
    struct buf text;
    int code;

    buf_init(&text, 0);
    code = screen_put(print_edges(status, &style, &text), &text);
    buf_fini(&text);
    return code;
}

int command_edges(const struct ctl_options *options)
{
    static const char *const keys[] = {"schema", "daemon", "edges"};
    cJSON *status, *next;
    int result = status_socket_status(ctl_status_socket(options), "tandem-client", NULL, &status);

    if (result != 0) {
        return exit_code(result);
    }
    for (cJSON *item = status->child; item; item = next) {
        bool keep = false;

        next = item->next;
        for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
            keep = keep || strcmp(item->string, keys[i]) == 0;
        }
        if (!keep) {
            cJSON_Delete(cJSON_DetachItemViaPointer(status, item));
        }
    }
    result = options->json ? show(options, NULL, status) : edges_show(status);
    cJSON_Delete(status);
    return result;
}

static bool is_cache(const char *key)
{
    static const char *const words[] = {"sessions", "cached_tokens", "prompt_tokens", "results"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(key, words[i]) == 0) {
            return true;
        }
    }
    return strncmp(key, "kv_", 3) == 0 || strncmp(key, "cache_", 6) == 0;
}

/* What says where an object comes from or what it is about. */
static bool is_title(const char *key)
{
    return strcmp(key, "schema") == 0 || strcmp(key, "daemon") == 0 || strcmp(key, "name") == 0;
}

/* Deletes from `container` all that is neither wanted nor holds something wanted. Whether anything
 * wanted is left. Recursion: no deeper than cJSON's own parser goes. */
static bool keep_wanted(cJSON *container, bool (*wanted)(const char *key))
{
    bool any = false;
    cJSON *item, *next;

    for (item = container->child; item; item = next) {
        const char *key = item->string ? item->string : "";
        bool keep = wanted(key);

        next = item->next;
        if (!keep && (cJSON_IsObject(item) || cJSON_IsArray(item))) {
            keep = keep_wanted(item, wanted);
        }
        any = any || keep;
        if (!keep && !is_title(key)) {
            cJSON_Delete(cJSON_DetachItemViaPointer(container, item));
        }
    }
    return any;
}

/* Asks for the status and shows of it what is `wanted`. */
static int show_part(const struct ctl_options *options, bool (*wanted)(const char *key))
{
    cJSON *object;
    int result =
        status_socket_status(ctl_status_socket(options), daemon_name(options), NULL, &object);

    if (result != 0) {
        return exit_code(result);
    }
    (void)keep_wanted(object, wanted);
    result = show(options, NULL, object);
    cJSON_Delete(object);
    return result;
}

int command_cache(const struct ctl_options *options)
{
    return show_part(options, is_cache);
}
