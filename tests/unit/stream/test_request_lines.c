/* The lines of requests: as many as a person can read are at level info, the rest are counted, and
 * all of them are at level debug. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/stream/request_lines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FLOOD (3 * LIMIT_REQUEST_LINES_PER_S)

struct stage {
    uv_loop_t loop;
    struct request_lines *lines;
    FILE *file; /* where the log goes */
    char text[16384];
};

static void stage_start(struct stage *stage, enum log_level level)
{
    stage->file = tmpfile();
    assert_non_null(stage->file);
    log_init("robot", level, fileno(stage->file));
    assert_int_equal(uv_loop_init(&stage->loop), 0);
    stage->lines = request_lines_new(&stage->loop);
    assert_non_null(stage->lines);
}

static void stage_read(struct stage *stage)
{
    const ssize_t got = pread(fileno(stage->file), stage->text, sizeof(stage->text) - 1, 0);

    assert_true(got >= 0);
    stage->text[got] = '\0';
}

static void stage_stop(struct stage *stage)
{
    request_lines_free(stage->lines);
    (void)uv_run(&stage->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&stage->loop), 0);
    stage_read(stage);
    log_init("test", LOG_LEVEL_INFO, 2);
    (void)fclose(stage->file);
}

static size_t count(const char *text, const char *word)
{
    size_t times = 0;

    for (; (text = strstr(text, word)); text++) {
        times++;
    }
    return times;
}

static void test_flood(void **state)
{
    struct stage stage;

    (void)state;
    stage_start(&stage, LOG_LEVEL_INFO);
    for (int i = 0; i < FLOOD; i++) {
        request_lines_say(stage.lines, "request %d: done", i);
    }
    stage_stop(&stage); /* what was not said is counted at the latest here */
    assert_int_equal(count(stage.text, ": done"), LIMIT_REQUEST_LINES_PER_S);
    assert_non_null(strstr(stage.text, "request 0: done"));
    assert_non_null(strstr(stage.text, " info: 20 more requests within a second"));
}

static void test_flood_verbose(void **state)
{
    struct stage stage;

    (void)state;
    stage_start(&stage, LOG_LEVEL_DEBUG);
    for (int i = 0; i < FLOOD; i++) {
        request_lines_say(stage.lines, "request %d: done", i);
    }
    stage_stop(&stage);
    assert_int_equal(count(stage.text, " info: request "), LIMIT_REQUEST_LINES_PER_S);
    assert_int_equal(count(stage.text, " debug: request "), FLOOD - LIMIT_REQUEST_LINES_PER_S);
}

static void on_keep(uv_timer_t *timer)
{
    uv_close((uv_handle_t *)timer, NULL);
}

/* The next second has its own lines, and the last one's count stands before them. */
static void test_next_second(void **state)
{
    struct stage stage;
    uv_timer_t keep;

    (void)state;
    stage_start(&stage, LOG_LEVEL_INFO);
    assert_int_equal(uv_timer_init(&stage.loop, &keep), 0);
    for (int i = 0; i < FLOOD; i++) {
        request_lines_say(stage.lines, "request %d: done", i);
    }
    assert_int_equal(uv_run(&stage.loop, UV_RUN_DEFAULT), 0); /* it keeps no loop running */
    stage_read(&stage);
    assert_null(strstr(stage.text, "more requests"));
    (void)uv_timer_start(&keep, on_keep, 1500, 0);
    (void)uv_run(&stage.loop, UV_RUN_DEFAULT);
    request_lines_say(stage.lines, "request %d: done", FLOOD);
    stage_stop(&stage);
    assert_int_equal(count(stage.text, "more requests"), 1);
    assert_true(strstr(stage.text, "request 30: done") > strstr(stage.text, "more requests"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flood),
        cmocka_unit_test(test_flood_verbose),
        cmocka_unit_test(test_next_second),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
