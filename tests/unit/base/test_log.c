#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/base/limits.h"
#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct sink {
    int ends[2];
    char text[65536];
};

static void sink_open(struct sink *sink)
{
    assert_int_equal(pipe2(sink->ends, O_CLOEXEC | O_NONBLOCK), 0);
}

static const char *sink_read(struct sink *sink)
{
    const ssize_t got = read(sink->ends[0], sink->text, sizeof(sink->text) - 1);

    sink->text[got > 0 ? got : 0] = '\0';
    return sink->text;
}

static void sink_close(struct sink *sink)
{
    close(sink->ends[0]);
    close(sink->ends[1]);
}

static void test_line_for_people(void **state)
{
    struct sink sink;
    const char *line;

    (void)state;
    sink_open(&sink);
    unsetenv("JOURNAL_STREAM");
    log_init("robot", LOG_LEVEL_INFO, sink.ends[1]);
    log_warning("edge %s is gone", "desk");
    line = sink_read(&sink);
    assert_int_equal(line[4], '-');
    assert_int_equal(line[23], 'Z');
    assert_string_equal(line + 24, " robot warning: edge desk is gone\n");
    sink_close(&sink);
}

static void test_line_for_the_journal(void **state)
{
    struct sink sink;

    (void)state;
    sink_open(&sink);
    setenv("JOURNAL_STREAM", "1:2", 1);
    log_init("robot", LOG_LEVEL_INFO, sink.ends[1]);
    log_error("a");
    log_info("b");
    assert_string_equal(sink_read(&sink), "<3>a\n<6>b\n");
    unsetenv("JOURNAL_STREAM");
    sink_close(&sink);
}

static void test_levels(void **state)
{
    struct sink sink;

    (void)state;
    sink_open(&sink);
    log_init("robot", LOG_LEVEL_WARNING, sink.ends[1]);
    log_info("unseen");
    assert_string_equal(sink_read(&sink), "");
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("seen");
    assert_non_null(strstr(sink_read(&sink), "robot debug: seen\n"));
    sink_close(&sink);
}

static void test_one_line_whatever_the_text(void **state)
{
    struct sink sink;
    const char *line;

    (void)state;
    sink_open(&sink);
    log_init("robot", LOG_LEVEL_INFO, sink.ends[1]);
    log_info("a\nb\tc\x1b[31m\x7f\xc3\xa9");
    line = sink_read(&sink);
    assert_non_null(strstr(line, ": a b c?[31m?\xc3\xa9\n"));
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    sink_close(&sink);
}

static void test_long_line_is_cut(void **state)
{
    struct sink sink;
    char text[LIMIT_LOG_LINE_BYTES * 2];
    const char *line;

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    sink_open(&sink);
    log_init("robot", LOG_LEVEL_INFO, sink.ends[1]);
    log_info("%s", text);
    line = sink_read(&sink);
    assert_int_equal(strlen(line), LIMIT_LOG_LINE_BYTES);
    assert_string_equal(line + LIMIT_LOG_LINE_BYTES - 5, "x...\n");
    sink_close(&sink);
}

static void test_full_disk(void **state)
{
    struct sink sink;
    const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    const uint64_t before = log_lost_lines();
    const char *text;

    (void)state;
    assert_true(full >= 0);
    log_init("robot", LOG_LEVEL_INFO, full);
    errno = 77;
    log_info("one");
    log_info("two");
    assert_int_equal(errno, 77);
    assert_int_equal(log_lost_lines() - before, 2);
    close(full);

    sink_open(&sink); /* the disk has room again */
    log_init("robot", LOG_LEVEL_INFO, sink.ends[1]);
    log_info("three");
    text = sink_read(&sink);
    assert_non_null(strstr(text, "2 log lines could not be written\n"));
    assert_non_null(strstr(text, "three\n"));
    log_info("four");
    assert_null(strstr(sink_read(&sink), "could not be written"));
    sink_close(&sink);
}

static void test_closed_pipe(void **state)
{
    struct sink sink;
    const uint64_t before = log_lost_lines();

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    sink_open(&sink);
    close(sink.ends[0]);
    log_init("robot", LOG_LEVEL_INFO, sink.ends[1]);
    log_info("nobody reads this");
    assert_int_equal(log_lost_lines() - before, 1);
    close(sink.ends[1]);
}

static void test_reader_that_does_not_read(void **state)
{
    struct sink sink;
    const uint64_t before = log_lost_lines();

    (void)state;
    sink_open(&sink);
    log_init("robot", LOG_LEVEL_INFO, sink.ends[1]);
    for (int i = 0; i < 5000; i++) {
        log_info("a line that fills the pipe, number %d", i); /* must not block */
    }
    assert_true(log_lost_lines() > before);
    sink_close(&sink);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line_for_people),  cmocka_unit_test(test_line_for_the_journal),
        cmocka_unit_test(test_levels),           cmocka_unit_test(test_one_line_whatever_the_text),
        cmocka_unit_test(test_long_line_is_cut), cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_closed_pipe),      cmocka_unit_test(test_reader_that_does_not_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
