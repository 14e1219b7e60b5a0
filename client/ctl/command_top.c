/* command_top.c: how it goes, again every second. */
#include "client/ctl/ctl.h"
#include "client/ctl/print_top.h"
#include "client/ctl/screen.h"
#include "client/ctl/status_socket.h"
#include "client/ctl/terminal.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PERIOD_MS     1000
#define PLAIN_ROWS    10 /* decisions, where there is no screen to fill */
#define SCREEN_MARGIN 16 /* lines of a screen that are not decisions */

struct top {
    const struct ctl_options *options;
    cJSON *before; /* the server's last status; NULL: none yet */
    int64_t before_ns;
};

static double unix_now_ns(void)
{
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* An array of the last ones, owned. */
static int decisions_ask(const char *path, cJSON **ret_decisions)
{
    struct status_socket status;
    cJSON *decisions = cJSON_CreateArray(), *object;
    const char *line;
    char request[32];
    int result;

    if (!decisions) {
        return TANDEM_ENOMEM;
    }
    snprintf(request, sizeof(request), "decisions %d", TOP_DECISIONS);
    result = status_socket_open(&status, path, request);
    if (result == 0) {
        while ((result = status_socket_next(&status, LIMIT_CTL_ANSWER_MS, &line, &object)) == 0) {
            (void)cJSON_AddItemToArray(decisions, object);
        }
        status_socket_close(&status);
    }
    if (result != 1) {
        cJSON_Delete(decisions);
        return result;
    }
    *ret_decisions = decisions;
    return 0;
}

/* How many decisions fit below the rest: on a narrow screen each may take two lines. */
static size_t rows_that_fit(void)
{
    const size_t rows = screen_rows();

    return rows == 0 ? PLAIN_ROWS : rows > SCREEN_MARGIN ? rows - SCREEN_MARGIN : 3;
}

static int client_screen(const char *path, const cJSON *status, struct buf *out)
{
    struct table_style style = screen_style();
    cJSON *decisions;
    int result = decisions_ask(path, &decisions);

    if (result != 0) {
        return result;
    }
    result = print_top_client(status, decisions, unix_now_ns(), rows_that_fit(), &style, out);
    cJSON_Delete(decisions);
    return result;
}

/* Takes `status`. */
static int server_screen(struct top *top, cJSON *status, struct buf *out)
{
    struct table_style style = screen_style();
    const int64_t now_ns = clock_now_ns();
    const int result = print_top_server(
        status, top->before, (double)(now_ns - top->before_ns) / (double)NS_PER_S, &style, out);

    cJSON_Delete(top->before);
    top->before = status;
    top->before_ns = now_ns;
    return result;
}

static int top_screen(struct top *top, struct buf *out)
{
    const char *path = ctl_status_socket(top->options), *name;
    char *line;
    cJSON *status;
    int result =
        status_socket_status(path, top->options->server ? "tandem-server" : NULL, &line, &status);

    if (result != 0) {
        return result;
    }
    name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(status, "daemon"));
    if (top->options->json) {
        result = buf_printf(out, "%s\n", line);
    } else if (name && strcmp(name, "tandem-server") == 0) {
        result = server_screen(top, status, out);
        status = NULL;
    } else {
        result = client_screen(path, status, out);
    }
    free(line);
    cJSON_Delete(status);
    return result;
}

int command_top(const struct ctl_options *options)
{
    struct top top = {.options = options};
    struct terminal terminal;
    struct buf text;
    int result = 0;

    buf_init(&text, 0);
    result = top_screen(&top, &text); /* a daemon that is not there is said before the screen */
    if (result != 0) {
        buf_fini(&text);
        return result == TANDEM_EGONE ? CTL_NOT_RUNNING : CTL_FAILED;
    }
    terminal_begin(&terminal);
    for (uint32_t i = 1;; i++) {
        terminal_draw(&terminal, &text);
        if (fflush(stdout) != 0 || (options->count != 0 && i >= options->count) ||
            terminal_wait(&terminal, PERIOD_MS)) {
            break; /* ctl_main says that standard output failed */
        }
        if (!terminal.screen && !options->json) {
            (void)putchar('\n');
        }
        result = top_screen(&top, &text);
        if (result != 0) {
            break;
        }
    }
    terminal_end(&terminal);
    if (result != 0 && terminal.screen) {
        (void)ctl_fail(result, "the daemon answers no more"); /* the reason went with the screen */
    }
    cJSON_Delete(top.before);
    buf_fini(&text);
    return result == 0 ? CTL_DONE : result == TANDEM_EGONE ? CTL_NOT_RUNNING : CTL_FAILED;
}
