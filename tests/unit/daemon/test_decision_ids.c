/* Ids of decisions: they rise over kills, restarts, damaged marks and clocks that are set back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/daemon/decision_ids.h"
#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/log.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TODAY_NS     (INT64_C(1700000000) * NS_PER_S)
#define YESTERDAY_NS (TODAY_NS - INT64_C(86400) * NS_PER_S)
#define TODAY_US     ((uint64_t)(TODAY_NS / NS_PER_US))

static char dir[64], mark[128], damaged[160];

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/tandem-ids-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(mark, sizeof(mark), "%s/decision-ids", dir);
    snprintf(damaged, sizeof(damaged), "%s.damaged", mark);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)unlink(mark);
    (void)unlink(damaged);
    return rmdir(dir);
}

/* A process of its own that takes `count` ids and is killed without a word: the last one. */
static uint64_t ids_of_a_killed_process(int64_t unix_ns, uint64_t count)
{
    uint64_t last = 0;
    int ends[2], status;
    pid_t child;

    assert_int_equal(pipe(ends), 0);
    child = fork();
    if (child == 0) {
        struct decision_ids ids;

        decision_ids_open(&ids, dir, 0, unix_ns);
        for (uint64_t i = 0; i < count; i++) {
            last = decision_ids_take(&ids);
        }
        _exit(write(ends[1], &last, sizeof(last)) == sizeof(last) ? (pause(), 0) : 1);
    }
    assert_int_equal(read(ends[0], &last, sizeof(last)), sizeof(last));
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    (void)close(ends[0]);
    (void)close(ends[1]);
    return last;
}

static void test_killed_and_the_clock_set_back(void **state)
{
    const uint64_t counts[] = {1, 5, LIMIT_DECISION_ID_BLOCK, LIMIT_DECISION_ID_BLOCK + 1,
                               3 * LIMIT_DECISION_ID_BLOCK + 7};
    uint64_t before = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        struct decision_ids ids;
        const uint64_t last = ids_of_a_killed_process(i == 0 ? TODAY_NS : YESTERDAY_NS, counts[i]);

        assert_true(last >= before + counts[i]);
        decision_ids_open(&ids, dir, 0, YESTERDAY_NS);
        before = decision_ids_take(&ids);
        assert_true(before > last);
        assert_true(before >= TODAY_US);
    }
}

static void test_the_disk_is_seldom_asked(void **state)
{
    struct decision_ids ids;

    (void)state;
    decision_ids_open(&ids, dir, 0, TODAY_NS);
    assert_int_equal(unlink(mark), 0);
    for (uint64_t i = 0; i < LIMIT_DECISION_ID_BLOCK; i++) {
        assert_int_equal(decision_ids_take(&ids), TODAY_US + i);
    }
    assert_int_equal(access(mark, F_OK), -1);
    (void)decision_ids_take(&ids);
    assert_int_equal(access(mark, F_OK), 0);
}

/* Damaged in every byte, cut at every length: set aside, and the last decision is the floor. */
static void test_damaged_mark(void **state)
{
    const uint64_t last_id = TODAY_US + 10 * LIMIT_DECISION_ID_BLOCK;
    char fine[128], bad[128];
    ssize_t bytes;
    int fd;

    (void)state;
    for (ssize_t at = 0, all = 1; at < 2 * all; at++) {
        struct decision_ids ids;

        decision_ids_open(&ids, dir, 0, TODAY_NS);
        fd = open(mark, O_RDWR);
        bytes = read(fd, fine, sizeof(fine));
        all = bytes;
        assert_in_range(bytes, 20, 100);
        memcpy(bad, fine, sizeof(bad));
        bad[at % all] ^= 1;
        bytes = at < all ? all : at - all;
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, bad, (size_t)bytes, 0), bytes);
        (void)close(fd);
        decision_ids_open(&ids, dir, last_id, YESTERDAY_NS);
        assert_int_equal(decision_ids_take(&ids), last_id + 1);
        assert_int_equal(unlink(damaged), 0);
        assert_int_equal(unlink(mark), 0);
    }
}

static void test_without_a_folder(void **state)
{
    static const char *const folders[] = {"", "/nonexistent/folder"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct decision_ids ids;

        decision_ids_open(&ids, folders[i], 0, TODAY_NS);
        for (uint64_t k = 0; k < 2 * LIMIT_DECISION_ID_BLOCK; k++) {
            assert_int_equal(decision_ids_take(&ids), TODAY_US + k);
        }
        assert_int_equal(ids.failed, i == 1);
    }
}

/* The clock ahead of the mark is followed, so that ids stay near the time they were made. */
static void test_clock_ahead(void **state)
{
    struct decision_ids ids;

    (void)state;
    decision_ids_open(&ids, dir, 0, YESTERDAY_NS);
    decision_ids_open(&ids, dir, TODAY_US - 5, TODAY_NS);
    assert_int_equal(decision_ids_take(&ids), TODAY_US);
    decision_ids_open(&ids, dir, 0, -5); /* a clock before 1970 */
    assert_true(decision_ids_take(&ids) > TODAY_US);
}

int main(void)
{
#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_killed_and_the_clock_set_back), WITH_FOLDER(test_the_disk_is_seldom_asked),
        WITH_FOLDER(test_damaged_mark), WITH_FOLDER(test_without_a_folder),
        WITH_FOLDER(test_clock_ahead)};

    log_init("test", LOG_LEVEL_ERROR, 2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
