/* The hourly budgets as the daemon keeps them: the text on disk, what a kill at any moment leaves
 * counted, what a damaged file means, and what may still be done. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/daemon/budgets.h"

#include "client/daemon/state_file.h"
#include "common/base/clock.h"
#include "common/base/error.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIMIT    1600000.0 /* bytes */
#define JOULE    1000.0
#define LEASE    (LIMIT / 16)
#define COMING   1024 /* kept for what comes */
#define START_NS (INT64_C(500000) * NS_PER_S)

static char dir[] = "/tmp/tandem-budgets-XXXXXX";
static char path[64];
static uv_loop_t loop;
static struct client_config config;
static int64_t now_ns;

static int64_t fake_now(void *user)
{
    (void)user;
    return now_ns;
}

static int setup(void **state)
{
    (void)state;
    strcpy(dir + strlen(dir) - 6, "XXXXXX");
    if (!mkdtemp(dir)) {
        return -1;
    }
    snprintf(path, sizeof(path), "%s/budgets", dir);
    config = (struct client_config){.state_dir = dir,
                                    .bytes_per_hour = (int64_t)LIMIT,
                                    .joule_per_hour = JOULE,
                                    .compute_watt = 4,
                                    .send_joule_per_megabyte = 2,
                                    .receive_joule_per_megabyte = 1};
    now_ns = START_NS;
    clock_set_fake(fake_now, NULL);
    return uv_loop_init(&loop);
}

static int teardown(void **state)
{
    char command[128];

    (void)state;
    clock_set_fake(NULL, NULL);
    snprintf(command, sizeof(command), "rm -r %s", dir);
    return system(command) == 0 ? uv_loop_close(&loop) : -1;
}

/* Until the worker is done; the timer would keep the loop for ever. */
static void writing_wait(void)
{
    for (int i = 0; i < 50; i++) {
        (void)uv_run(&loop, UV_RUN_NOWAIT);
        (void)usleep(2000);
    }
}

static void stop(struct budgets *budgets, bool killed)
{
    char kept[96], command[256];

    snprintf(kept, sizeof(kept), "%s/copy", dir);
    if (killed) { /* what was on disk at that moment */
        snprintf(command, sizeof(command), "cp %s %s", path, kept);
        assert_int_equal(system(command), 0);
    }
    budgets_close(budgets);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    budgets_free(budgets);
    if (killed) {
        assert_int_equal(rename(kept, path), 0);
    }
}

static struct budgets *start(void)
{
    struct budgets *budgets = budgets_open(&loop, &config);

    assert_non_null(budgets);
    return budgets;
}

static double left(const struct budgets *budgets)
{
    return budgets_left(budgets, BUDGET_BYTES);
}

static void test_text(void **state)
{
    static const char *const wrong[] = {"",
                                        "budgets 2\nat a 1 2\nbytes 0\njoule 0\n",
                                        "budgets 1\nat a 1\nbytes 0\njoule 0\n",
                                        "budgets 1\nat a 1 2 3\nbytes 0\njoule 0\n",
                                        "budgets 1\nat a 1 2\nbytes 0\n",
                                        "budgets 1\nat a 1 2\njoule 0\nbytes 0\n",
                                        "budgets 1\nat a 1 2\nbytes -1\njoule 0\n",
                                        "budgets 1\nat a 1 2\nbytes nan\njoule 0\n",
                                        "budgets 1\nat a 1 2\nbytes 1e16\njoule 0\n",
                                        "budgets 1\nat a 1 2\nbytes 0 1:61\njoule 0\n",
                                        "budgets 1\nat a 1 2\nbytes 0 1:-1\njoule 0\n",
                                        "budgets 1\nat a 1 2\nbytes 0 1:\njoule 0\n",
                                        "budgets 1\nat a 1 2\nbytes 0 1\njoule 0\n",
                                        "budgets 1\nat a 1 2\nbytes 0\njoule 0\nmore\n",
                                        "budgets 1\nat a 1 2\nbytes 0\njoule 0"};
    struct budgets_kept kept = {.moment = {"boot-1", 12, 34}, .ahead = {8192, 0.25}}, again;
    struct buf text;

    (void)state;
    kept.spent[BUDGET_BYTES][0] = 17;
    kept.spent[BUDGET_BYTES][60] = 1e12;
    kept.spent[BUDGET_JOULE][3] = 0.1;
    buf_init(&text, 0);
    assert_int_equal(budgets_text_write(&kept, &text), 0);
    assert_int_equal(budgets_text_read((const char *)text.data, text.bytes, &again), 0);
    assert_string_equal(again.moment.boot, "boot-1");
    assert_int_equal(again.moment.boot_ns, 12);
    assert_int_equal(again.moment.unix_ns, 34);
    assert_memory_equal(again.ahead, kept.ahead, sizeof(kept.ahead));
    assert_memory_equal(again.spent, kept.spent, sizeof(kept.spent));
    buf_fini(&text);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        if (budgets_text_read(wrong[i], strlen(wrong[i]), &again) != TANDEM_EFORMAT) {
            fail_msg("%s was understood", wrong[i]);
        }
    }
}

/* The kept file as if the wall clock had said so many seconds more when it was written, in this
 * boot or in another. */
static void kept_shift(int64_t seconds, bool other_boot)
{
    struct state_file file;
    struct budgets_kept kept;
    struct buf text;

    state_file_init(&file, dir, BUDGETS_FILE_NAME);
    buf_init(&text, LIMIT_STATE_FILE_BYTES);
    assert_int_equal(state_file_read(&file, &text), 0);
    assert_int_equal(budgets_text_read((const char *)text.data, text.bytes, &kept), 0);
    buf_fini(&text);
    buf_init(&text, LIMIT_STATE_FILE_BYTES);
    kept.moment.unix_ns += seconds * NS_PER_S;
    if (other_boot) {
        strcpy(kept.moment.boot, "another");
    }
    assert_int_equal(budgets_text_write(&kept, &text), 0);
    assert_int_equal(state_file_write(&file, text.data, text.bytes), 0);
    buf_fini(&text);
}

/* A wall clock that is set back or forward, by an hour or over midnight, neither frees what was
 * spent nor keeps it for longer: within a boot the machine's own clock tells. Over a reboot there
 * is only the wall clock: where it went back, nothing has become older. */
static void test_wall_clock_is_set(void **state)
{
    static const struct {
        int64_t seconds;
        bool other_boot;
        double left;
    } cases[] = {{0, false, LIMIT - 3000},     {3600, false, LIMIT - 3000},
                 {-3600, false, LIMIT - 3000}, {-90000, false, LIMIT - 3000},
                 {3600, true, LIMIT - 3000},   {-3000, true, LIMIT - 3000},
                 {-3720, true, LIMIT}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct budgets *budgets;

        (void)unlink(path);
        budgets = start();
        budgets_spend(budgets, BUDGET_BYTES, 3000);
        stop(budgets, false);
        kept_shift(cases[i].seconds, cases[i].other_boot);
        budgets = start();
        assert_true(left(budgets) == cases[i].left);
        stop(budgets, false);
    }
}

/* A stop keeps it to the byte; a kill counts what may have been spent, and no less. */
static void test_restart(void **state)
{
    struct budgets *budgets = start();

    (void)state;
    assert_int_equal(budgets_bytes_now(budgets), (uint64_t)LEASE - COMING);
    budgets_moved(budgets, 3000, 1000);
    budgets_spend(budgets, BUDGET_JOULE, 10);
    assert_true(left(budgets) == LIMIT - 4000);
    stop(budgets, false);
    budgets = start();
    assert_true(left(budgets) == LIMIT - 4000);
    assert_true(fabs(budgets_left(budgets, BUDGET_JOULE) -
                     (JOULE - 10 - 3000 * 2e-6 - 1000 * 1e-6)) < 1e-9);
    budgets_moved(budgets, 5000, 0);
    stop(budgets, true);
    budgets = start();
    assert_true(left(budgets) == LIMIT - 4000 - LEASE);
    stop(budgets, false);
}

/* Whatever is sent within what may be sent: the disk knows of it before. */
static void test_kill_at_any_time(void **state)
{
    double sent = 0;

    (void)state;
    for (int round = 0; round < 6; round++) {
        struct budgets *budgets = start();

        for (int i = 0; i < 3 * round + 1; i++) {
            const uint64_t bytes = budgets_bytes_now(budgets);

            budgets_moved(budgets, bytes * 3 / 4, 0);
            sent += (double)(bytes * 3 / 4);
            now_ns += BUDGETS_SAVE_MS * NS_PER_MS / 2;
            budgets_spend(budgets, BUDGET_BYTES, 0.5);
            if (i % 2) {
                writing_wait();
            }
        }
        stop(budgets, true);
        budgets = start();
        assert_true(left(budgets) <= LIMIT - sent + 0.5);
        stop(budgets, false);
    }
    assert_true(sent > LIMIT / 2);
}

/* At most once a second. */
static void test_written_seldom(void **state)
{
    struct budgets *budgets = start();
    uint64_t now;

    (void)state;
    budgets_moved(budgets, (uint64_t)LEASE - COMING - 100, 0);
    writing_wait();
    assert_int_equal(budgets_bytes_now(budgets), 100);
    now_ns += BUDGETS_SAVE_MS * NS_PER_MS;
    budgets_moved(budgets, 50, 0);
    writing_wait();
    now = budgets_bytes_now(budgets);
    assert_int_equal(now, (uint64_t)LEASE - COMING);
    stop(budgets, false);
}

/* What is under way keeps its share, and has it on disk. */
static void test_reserved(void **state)
{
    struct budgets *budgets = start();

    (void)state;
    budgets_reserve(budgets, BUDGET_BYTES, 700000);
    budgets_reserve(budgets, BUDGET_BYTES, 700000);
    assert_true(left(budgets) == LIMIT - 1400000);
    budgets_release(budgets, BUDGET_BYTES, 700000);
    assert_true(left(budgets) == LIMIT - 700000);
    assert_true(budgets_are_written(budgets)); /* at once: nothing waits for the second to end */
    writing_wait();
    assert_false(budgets_are_written(budgets));
    assert_true(budgets_bytes_now(budgets) >= 700000);
    budgets_expect(budgets, 600000); /* answers: nothing is sent in their place */
    assert_true(budgets_bytes_now(budgets) < LIMIT - 600000);
    budgets_expect_no_more(budgets, 600000);
    assert_true(budgets_bytes_now(budgets) >= 700000);
    stop(budgets, false);
}

/* Requests one after the other never wait for the second to end, and the disk is not written for
 * each of them. */
static void test_never_waits(void **state)
{
    struct budgets *budgets = start();
    int writings = 0;

    (void)state;
    for (int i = 0; i < 100; i++) {
        budgets_reserve(budgets, BUDGET_BYTES, 15000);
        writings += budgets_are_written(budgets);
        writing_wait();
        if (budgets_bytes_now(budgets) < 14000) {
            fail_msg("request %d waits: %llu bytes may leave", i,
                     (unsigned long long)budgets_bytes_now(budgets));
        }
        budgets_moved(budgets, 14000, 500);
        budgets_release(budgets, BUDGET_BYTES, 15000);
    }
    assert_in_range(writings, 5, 16);
    budgets_reserve(budgets, BUDGET_BYTES, LIMIT); /* all is on disk already, or will be soon */
    writing_wait();
    assert_false(budgets_are_written(budgets));
    stop(budgets, false);
}

static void test_hour_passes(void **state)
{
    struct budgets *budgets = start();
    struct budgets_view view;

    (void)state;
    budgets_moved(budgets, (uint64_t)LIMIT, 0);
    assert_false(budgets_carry_link(budgets));
    assert_false(budgets_carry_dial(budgets, false));
    assert_false(budgets_allow_extra(budgets));
    assert_int_equal(budgets_bytes_now(budgets), 0);
    budgets_look(budgets, BUDGET_BYTES, &view);
    assert_true(view.limit == LIMIT && view.used == LIMIT && view.left == 0);
    assert_true(view.resets_s > 3600 && view.resets_s <= 3660);
    now_ns += (int64_t)(view.resets_s * 1e9) + NS_PER_MS;
    assert_true(left(budgets) == LIMIT);
    assert_true(budgets_carry_link(budgets) && budgets_carry_dial(budgets, true));
    assert_true(budgets_allow_extra(budgets));
    budgets_spend(budgets, BUDGET_JOULE, JOULE);
    assert_false(budgets_allow_extra(budgets)); /* a link may stay */
    assert_true(budgets_carry_link(budgets));
    stop(budgets, false);
}

/* Nobody knows what was spent: nothing more is, this hour. */
static void test_damaged(void **state)
{
    struct budgets *budgets = start();
    int fd;

    (void)state;
    stop(budgets, false);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "x", 1, 3), 1);
    assert_int_equal(close(fd), 0);
    budgets = start();
    assert_true(left(budgets) == 0);
    assert_true(budgets_left(budgets, BUDGET_JOULE) == 0);
    stop(budgets, false);
    budgets = start(); /* and that is kept, too */
    assert_true(left(budgets) == 0);
    stop(budgets, false);
}

static void test_no_limits(void **state)
{
    struct budgets *budgets;
    struct budgets_view view;

    (void)state;
    config.bytes_per_hour = 0;
    config.joule_per_hour = 0;
    budgets = start();
    budgets_moved(budgets, 1u << 30, 5);
    assert_true(isinf(left(budgets)));
    assert_true(budgets_bytes_now(budgets) == UINT64_MAX);
    assert_true(budgets_allow_extra(budgets) && budgets_carry_dial(budgets, true));
    assert_int_equal(budgets_heartbeat_ns(budgets), NS_PER_S / 2);
    budgets_look(budgets, BUDGET_BYTES, &view);
    assert_true(view.limit == 0 && view.used == (1u << 30) + 5.0);
    assert_int_equal(access(path, F_OK), -1);
    config.bytes_per_hour = 1000; /* a reload: what was spent counts at once */
    budgets_configure(budgets, &config);
    assert_true(left(budgets) < 0);
    stop(budgets, false);
    assert_true(budgets_bytes_now(NULL) == UINT64_MAX && isinf(left(NULL)));
}

/* Small budgets are not for pings. */
static void test_heartbeat(void **state)
{
    struct budgets *budgets = start();

    (void)state;
    assert_int_equal(budgets_heartbeat_ns(budgets), 2 * NS_PER_S);
    config.bytes_per_hour = 10000000;
    budgets_configure(budgets, &config);
    assert_in_range(budgets_heartbeat_ns(budgets), NS_PER_S / 2 + 1, 2 * NS_PER_S - 1);
    config.bytes_per_hour = INT64_C(1) << 40;
    budgets_configure(budgets, &config);
    assert_int_equal(budgets_heartbeat_ns(budgets), NS_PER_S / 2);
    stop(budgets, false);
}

int main(void)
{
#define FRESH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text), FRESH(test_restart),          FRESH(test_kill_at_any_time),
        FRESH(test_written_seldom),  FRESH(test_reserved),         FRESH(test_never_waits),
        FRESH(test_hour_passes),     FRESH(test_damaged),          FRESH(test_no_limits),
        FRESH(test_heartbeat),       FRESH(test_wall_clock_is_set)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
