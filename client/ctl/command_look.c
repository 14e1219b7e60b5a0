/* command_look.c: the commands that look and change nothing: status, edges, cache, top. */
#include "client/ctl/ctl.h"
#include "client/ctl/print.h"
#include "client/ctl/screen.h"
#include "client/ctl/status_socket.h"
#include "common/base/error.h"
#include "common/base/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TOP_DECISIONS "decisions 15"

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

int command_status(const struct ctl_options *options)
{
    char *line;
    cJSON *object;
    int result = status_socket_ask(ctl_socket(options), "status", &line, &object);

    if (result != 0) {
        return exit_code(result);
    }
    result = show(options, line, object);
    free(line);
    cJSON_Delete(object);
    return result;
}

static bool is_edges(const char *key)
{
    return strcmp(key, "edges") == 0;
}

static bool is_cache(const char *key)
{
    static const char *const words[] = {"sessions", "cached_tokens", "prompt_tokens"};

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
    int result = status_socket_ask(ctl_socket(options), "status", NULL, &object);

    if (result != 0) {
        return exit_code(result);
    }
    (void)keep_wanted(object, wanted);
    result = show(options, NULL, object);
    cJSON_Delete(object);
    return result;
}

int command_edges(const struct ctl_options *options)
{
    return show_part(options, is_edges);
}

int command_cache(const struct ctl_options *options)
{
    if (!options->server) {
        return ctl_fail(
            TANDEM_EUNSUPPORTED,
            "tandem-client keeps no results in this version; `tandemctl cache --server` shows "
            "the KV pages of an edge node");
    }
    return show_part(options, is_cache);
}

/* The last decisions as a table, for one screen of top. */
static int top_decisions(const char *path, const struct table_style *style, struct buf *out)
{
    struct status_socket status;
    struct table table;
    const char *line;
    cJSON *object;
    int result = status_socket_open(&status, path, TOP_DECISIONS);

    if (result != 0) {
        return result;
    }
    print_decisions_begin(&table);
    while ((result = status_socket_next(&status, LIMIT_CTL_ANSWER_MS, &line, &object)) == 0) {
        print_decisions_add(&table, object);
        cJSON_Delete(object);
    }
    status_socket_close(&status);
    if (result == 1) {
        result = buf_append_u8(out, '\n');
    }
    if (result == 0) {
        result = table_print(&table, style, out);
    }
    table_fini(&table);
    return result;
}

static int top_screen(const struct ctl_options *options, struct buf *out)
{
    struct table_style style = screen_style();
    const char *path = ctl_socket(options);
    char *line;
    cJSON *object;
    int result = status_socket_ask(path, "status", &line, &object);

    if (result != 0) {
        return result;
    }
    if (options->json) {
        result = buf_printf(out, "%s\n", line);
    } else {
        result = screen_is_terminal() ? buf_append_text(out, "\033[H\033[2J") : 0;
        if (result == 0) {
            result = print_object(object, &style, out);
        }
        if (result == 0 && !options->server) {
            result = top_decisions(path, &style, out);
        }
    }
    free(line);
    cJSON_Delete(object);
    return result;
}

int command_top(const struct ctl_options *options)
{
    const struct timespec second = {.tv_sec = 1};
    struct buf text;
    int result = 0;
    int code = CTL_DONE;

    buf_init(&text, 0);
    for (uint32_t i = 0;
         result == 0 && code == CTL_DONE && (options->count == 0 || i < options->count); i++) {
        if (i > 0) {
            (void)nanosleep(&second, NULL);
        }
        result = top_screen(options, &text);
        if (result == 0) {
            code = screen_put(0, &text);
            if (fflush(stdout) != 0) {
                break; /* ctl_main says it */
            }
        }
    }
    buf_fini(&text);
    return result != 0 ? exit_code(result) : code;
}
