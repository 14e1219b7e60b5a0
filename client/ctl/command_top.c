/* command_top.c: how it goes, again every second. */
#include "client/ctl/ctl.h"
#include "client/ctl/member.h"
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

#define PERIOD_MS 1000

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

/* The status as the daemon said it, with `recent` as one member more. Takes `recent`. */
static int json_put(cJSON *status, cJSON *recent, struct buf *out)
{
    char *text;
    int result;

    if (!recent || !cJSON_AddItemToObject(status, "recent", recent)) {
        cJSON_Delete(recent);
        return TANDEM_ENOMEM;
    }
    text = cJSON_PrintUnformatted(status);
    result = text ? buf_printf(out, "%s\n", text) : TANDEM_ENOMEM;
    cJSON_free(text);
    return result;
}

static int client_screen(const struct top *top, cJSON *status, struct buf *out)
{
    const struct table_style style = screen_drawn_style();
    struct top_sums sums;
    cJSON *decisions;
    int result = decisions_ask(ctl_status_socket(top->options), &decisions);

    if (result != 0) {
        return result;
    }
    result = top_sums_make(status, decisions, unix_now_ns(), &sums);
    if (result == 0) {
        result = top->options->json
                     ? json_put(status, top_sums_json(&sums), out)
                     : print_top_client(status, &sums, decisions, screen_rows(), &style, out);
        top_sums_fini(&sums);
    }
    cJSON_Delete(decisions);
    return result;
}

/* Takes `status`. */
static int server_screen(struct top *top, cJSON *status, struct buf *out)
{
    const struct table_style style = screen_drawn_style();
    const int64_t now_ns = clock_now_ns();
    const double seconds = (double)(now_ns - top->before_ns) / (double)NS_PER_S;
    const int result = top->options->json
                           ? json_put(status, top_server_json(status, top->before, seconds), out)
                           : print_top_server(status, top->before, seconds, &style, out);

    cJSON_Delete(top->before);
    top->before = status;
    top->before_ns = now_ns;
    return result;
}

static int top_screen(struct top *top, struct buf *out)
{
    const char *path = ctl_status_socket(top->options);
    cJSON *status;
    int result =
        status_socket_status(path, top->options->server ? "tandem-server" : NULL, NULL, &status);

    if (result != 0) {
        return result;
    }
    if (strcmp(member_text(status, "daemon"), "tandem-server") == 0) {
        return server_screen(top, status, out);
    }
    result = client_screen(top, status, out);
    cJSON_Delete(status);
    return result;
}

/* How many screens; 0: until the reader has seen enough. Where nobody watches, a table is for
 * reading once, and JSON for a program that goes on. */
static uint32_t screens_wanted(const struct ctl_options *options)
{
    return options->count == 0 && !options->json && !screen_is_terminal() ? 1 : options->count;
}

/* Shows `text` and the next ones; 0 when the reader has seen enough, or TANDEM_E*. */
static int screens_show(struct top *top, const struct terminal *terminal, struct buf *text)
{
    const uint32_t count = screens_wanted(top->options);
    int result = 0;

    for (uint32_t i = 1; result == 0; i++) {
        result = terminal_draw(terminal, text);
        if (result != 0 || fflush(stdout) != 0 || (count != 0 && i >= count) ||
            terminal_wait(terminal, PERIOD_MS)) {
            return result; /* ctl_main says that standard output failed */
        }
        if (!terminal->screen && !top->options->json) {
            (void)putchar('\n');
        }
        result = top_screen(top, text);
    }
    return result;
}

int command_top(const struct ctl_options *options)
{
    struct top top = {.options = options};
    struct terminal terminal;
    struct buf text;
    int result;

    buf_init(&text, 0);
    result = top_screen(&top, &text); /* a daemon that is not there is said before the screen */
    if (result == 0) {
        terminal_begin(&terminal, !options->json);
        result = screens_show(&top, &terminal, &text);
        terminal_end(&terminal);
        if (result != 0 && terminal.screen) {
            (void)ctl_fail(result, "the daemon answers no more"); /* the reason left with it */
        }
    }
    cJSON_Delete(top.before);
    buf_fini(&text);
    return result == 0 ? CTL_DONE : result == TANDEM_EGONE ? CTL_NOT_RUNNING : CTL_FAILED;
}
