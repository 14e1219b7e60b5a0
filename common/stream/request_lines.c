#include "common/stream/request_lines.h"

#include "common/base/limits.h"
#include "common/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define SECOND_MS 1000

struct request_lines {
    uv_timer_t timer; /* runs to the end of the second that the first line began */
    unsigned said;    /* at level info, in this second */
    unsigned long long held;
};

static void second_end(struct request_lines *lines)
{
    if (lines->held > 0) {
        log_info("%llu more requests within a second: their lines are of level debug (--verbose)",
                 lines->held);
    }
    lines->said = 0;
    lines->held = 0;
}

static void on_second(uv_timer_t *timer)
{
    second_end(timer->data);
}

struct request_lines *request_lines_new(uv_loop_t *loop)
{
    struct request_lines *lines = calloc(1, sizeof(*lines));

    if (!lines) {
        return NULL;
    }
    (void)uv_timer_init(loop, &lines->timer); /* cannot fail */
    lines->timer.data = lines;
    uv_unref((uv_handle_t *)&lines->timer);
    return lines;
}

void request_lines_say(struct request_lines *lines, const char *format, ...)
{
    char line[LIMIT_LOG_LINE_BYTES];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    if (!uv_is_active((uv_handle_t *)&lines->timer)) {
        (void)uv_timer_start(&lines->timer, on_second, SECOND_MS, 0);
    }
    if (lines->said < LIMIT_REQUEST_LINES_PER_S) {
        lines->said++;
        log_info("%s", line);
    } else {
        lines->held++;
        log_debug("%s", line);
    }
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void request_lines_free(struct request_lines *lines)
{
    if (!lines) {
        return;
    }
    second_end(lines);
    uv_close((uv_handle_t *)&lines->timer, on_closed);
}
