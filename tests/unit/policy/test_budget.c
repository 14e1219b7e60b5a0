/* What may be spent in any second and in any hour, whatever is asked for and whenever. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/policy/budget.h"
#include "common/base/clock.h"
#include "common/base/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define START_NS  (777 * NS_PER_S + 1234567)
#define MINUTE_NS (60 * NS_PER_S)
#define HOUR_NS   (60 * MINUTE_NS)
#define SENDS     4000

struct sending {
    int64_t at_ns;
    uint64_t bytes;
};
static struct sending sent[SENDS];

static uint64_t below(struct random_source *random, double bound)
{
    return (uint64_t)(random_unit(random) * bound);
}

/* The most that lies in any span of one second, both its ends included: one that begins with a
 * sending is as full as any. */
static uint64_t fullest_second(size_t count)
{
    uint64_t most = 0;

    for (size_t first = 0; first < count; first++) {
        uint64_t sum = 0;

        for (size_t i = first; i < count && sent[i].at_ns <= sent[first].at_ns + NS_PER_S; i++) {
            sum += sent[i].bytes;
        }
        most = sum > most ? sum : most;
    }
    return most;
}

static int by_time(const void *a, const void *b)
{
    const int64_t first_ns = ((const struct sending *)a)->at_ns,
                  second_ns = ((const struct sending *)b)->at_ns;

    return (first_ns > second_ns) - (first_ns < second_ns);
}

/* Sends what is wanted as far as it may leave, at random times from a microsecond to seconds
 * apart. Each leaves up to `late_ns` after it was spent. */
static size_t sends_make(struct budget_rate *rate, struct random_source *random, double late_ns)
{
    int64_t now_ns = START_NS;
    size_t count = 0;

    for (int i = 0; i < SENDS; i++) {
        const uint64_t wanted = below(random, i % 3 == 0 ? 40000 : 1500);
        const bool payload = i % 2 == 0;
        const uint64_t left = budget_rate_left(rate, payload, now_ns);
        const uint64_t bytes = wanted < left ? wanted : left;

        if (bytes > 0) {
            budget_rate_spend(rate, bytes, now_ns);
            sent[count++] = (struct sending){now_ns + (int64_t)below(random, late_ns), bytes};
        }
        now_ns += (int64_t)below(random, i % 7 == 0 ? 3e8 : i % 101 == 0 ? 3e9 : 2e6);
    }
    qsort(sent, count, sizeof(sent[0]), by_time);
    return count;
}

static void test_any_second(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        const uint64_t kbit = (uint64_t)BUDGET_KBIT_MIN << (seed % 6);
        struct budget_rate rate = {0};
        struct random_source random;
        uint64_t fullest;

        random_seed(&random, seed);
        budget_rate_limit(&rate, kbit);
        fullest = fullest_second(sends_make(&rate, &random, seed % 2 ? 0 : 1e8));
        assert_true(fullest <= kbit * 125);
        assert_true(fullest > kbit * 125 * 95 / 100); /* and it is made use of */
    }
}

static void test_no_limit(void **state)
{
    struct budget_rate rate = {0};

    (void)state;
    budget_rate_spend(&rate, 1u << 30, START_NS);
    assert_true(budget_rate_left(&rate, true, START_NS) == UINT64_MAX);
    assert_true(budget_rate_when(&rate, true, 1u << 30, START_NS) == START_NS);
    budget_rate_limit(&rate, 8000); /* a reload: what was spent counts at once */
    assert_int_equal(budget_rate_left(&rate, false, START_NS), 0);
    assert_int_equal(budget_rate_left(&rate, false, START_NS + 2 * NS_PER_S), 1000000);
}

/* Payload leaves room for what keeps the link alive. */
static void test_payload_leaves_room(void **state)
{
    struct budget_rate rate = {0};
    uint64_t left;

    (void)state;
    budget_rate_limit(&rate, 80); /* 10000 bytes */
    left = budget_rate_left(&rate, true, START_NS);
    assert_int_equal(left, 8750);
    budget_rate_spend(&rate, left, START_NS);
    assert_int_equal(budget_rate_left(&rate, true, START_NS), 0);
    assert_int_equal(budget_rate_left(&rate, false, START_NS), 1250);
}

/* What leaves as soon as it may is through just when it was said, to the slot; and not earlier. */
static void test_when_is_true(void **state)
{
    struct random_source random;

    (void)state;
    random_seed(&random, 5);
    for (int round = 0; round < 300; round++) {
        struct budget_rate rate = {0};
        const uint64_t wanted = 1 + below(&random, round % 2 ? 60000 : 3000);
        int64_t now_ns = START_NS, said_ns, last_ns = 0;
        uint64_t rest = wanted;

        budget_rate_limit(&rate, 80);
        for (int i = 0; i < 5; i++) {
            const uint64_t left = budget_rate_left(&rate, true, now_ns);

            budget_rate_spend(&rate, below(&random, (double)left + 1), now_ns);
            now_ns += (int64_t)below(&random, 4e8);
        }
        said_ns = budget_rate_when(&rate, true, wanted, now_ns);
        while (rest > 0) {
            const uint64_t left = budget_rate_left(&rate, true, now_ns);
            const uint64_t bytes = rest < left ? rest : left;

            budget_rate_spend(&rate, bytes, now_ns);
            rest -= bytes;
            last_ns = now_ns;
            now_ns += NS_PER_MS;
        }
        assert_true(last_ns >= said_ns - 11 * NS_PER_MS && last_ns <= said_ns + 11 * NS_PER_MS);
    }
}

/* A lowered limit: nothing until what was sent under the old one counts no more. */
static void test_lowered_limit(void **state)
{
    struct budget_rate rate = {0};
    int64_t when_ns;

    (void)state;
    budget_rate_limit(&rate, 800);
    budget_rate_spend(&rate, 80000, START_NS);
    budget_rate_limit(&rate, 80);
    when_ns = budget_rate_when(&rate, true, 100, START_NS + NS_PER_MS);
    assert_true(when_ns > START_NS + NS_PER_S && when_ns <= START_NS + 1120 * NS_PER_MS);
    assert_int_equal(budget_rate_left(&rate, true, when_ns - 1), 0);
    assert_true(budget_rate_left(&rate, true, when_ns) >= 100);
}

/* ---- an hour ---- */

static void test_any_hour(void **state)
{
    const uint64_t most = 100000;
    struct budget_hour hour = {0};
    struct random_source random;
    int64_t now_ns = START_NS;
    size_t count = 0;

    (void)state;
    random_seed(&random, 3);
    for (int i = 0; i < SENDS; i++) {
        const double left = (double)most - budget_hour_sum(&hour, now_ns);
        uint64_t bytes = below(&random, 900);

        bytes = (double)bytes < left ? bytes : (uint64_t)left;
        budget_hour_add(&hour, (double)bytes, now_ns);
        sent[count++] = (struct sending){now_ns, bytes};
        now_ns += (int64_t)below(&random, i % 50 == 0 ? 6e11 : 2e10);
    }
    for (size_t first = 0; first < count; first++) {
        uint64_t sum = 0;

        for (size_t i = first; i < count && sent[i].at_ns <= sent[first].at_ns + HOUR_NS; i++) {
            sum += sent[i].bytes;
        }
        assert_true(sum <= most);
    }
    assert_true(budget_hour_sum(&hour, now_ns + HOUR_NS + MINUTE_NS) == 0);
}

/* It counts for an hour and no more than a minute over it. */
static void test_hour_frees(void **state)
{
    struct budget_hour hour = {0};

    (void)state;
    budget_hour_add(&hour, 7, START_NS);
    assert_true(budget_hour_sum(&hour, START_NS + HOUR_NS) == 7);
    assert_true(budget_hour_sum(&hour, START_NS + HOUR_NS + MINUTE_NS) == 0);
    budget_hour_add(&hour, 5, START_NS + 3 * HOUR_NS);
    assert_true(budget_hour_sum(&hour, START_NS + 3 * HOUR_NS) == 5);
}

static void test_kept_and_restored(void **state)
{
    const int64_t later_ns = START_NS + 50 * MINUTE_NS, again_ns = START_NS + 1000 * HOUR_NS;
    struct budget_hour hour = {0}, restored = {0};

    (void)state;
    budget_hour_add(&hour, 3, START_NS);
    budget_hour_add(&hour, 4, later_ns);
    for (int age = 0; age < BUDGET_MINUTES; age++) {
        budget_hour_restore(&restored, age + 2, budget_hour_at(&hour, age, later_ns), again_ns);
    }
    assert_true(budget_hour_sum(&restored, again_ns) == 7);
    assert_true(budget_hour_sum(&restored, again_ns + 9 * MINUTE_NS) == 4);
    assert_true(budget_hour_sum(&restored, again_ns + 59 * MINUTE_NS) == 0);
    budget_hour_restore(&restored, BUDGET_MINUTES, 9, again_ns);
    budget_hour_restore(&restored, -1, 9, again_ns);
    assert_true(budget_hour_sum(&restored, again_ns) == 7);
    memset(&restored, 0, sizeof(restored)); /* a clock that has just begun */
    budget_hour_restore(&restored, 30, 9, MINUTE_NS);
    assert_true(budget_hour_sum(&restored, MINUTE_NS) == 9);
}

static struct budget_moment moment(const char *boot, int64_t boot_min, int64_t unix_min)
{
    struct budget_moment made = {.boot_ns = boot_min * MINUTE_NS, .unix_ns = unix_min * MINUTE_NS};

    snprintf(made.boot, sizeof(made.boot), "%s", boot);
    return made;
}

/* The wall clock counts only over a reboot, and never backwards. */
static void test_clocks(void **state)
{
    const struct budget_moment then = moment("a", 100, 50000), same = moment("a", 107, 50007),
                               forward = moment("a", 107, 90000), back = moment("a", 107, 3),
                               boot = moment("b", 1, 50012), boot_back = moment("b", 1, 49000),
                               unknown = moment("", 0, 50012);

    (void)state;
    assert_int_equal(budget_minutes_since(&then, &same), 7);
    assert_int_equal(budget_minutes_since(&then, &forward), 7);
    assert_int_equal(budget_minutes_since(&then, &back), 7);
    assert_int_equal(budget_minutes_since(&then, &boot), 12);
    assert_int_equal(budget_minutes_since(&then, &boot_back), 0);
    assert_int_equal(budget_minutes_since(&unknown, &unknown), 0);
    assert_int_equal(budget_minutes_since(&then, &unknown), 12);
}

/* What is left is rounded down and what is needed up, each in a unit of its size. */
static void test_bytes_in_words(void **state)
{
    char text[BUDGET_TEXT_BYTES];

    (void)state;
    budget_bytes_text(12.9 * 1024, 65536, 39.2 * 1024, "picture", text);
    assert_string_equal(text,
                        "byte budget: 12 of 64 KiB left in this hour, this picture needs 40 KiB");
    budget_bytes_text(12.9 * 1024, 50 << 20, 3000.0 * 1024, "picture", text);
    assert_string_equal(
        text, "byte budget: 12 KiB of 50.0 MiB left in this hour, this picture needs 3.0 MiB");
    budget_bytes_text(-3, 16384, 700, "text", text);
    assert_string_equal(
        text, "byte budget: 0 bytes of 16 KiB left in this hour, this text needs 700 bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_any_second),
                                       cmocka_unit_test(test_no_limit),
                                       cmocka_unit_test(test_payload_leaves_room),
                                       cmocka_unit_test(test_when_is_true),
                                       cmocka_unit_test(test_lowered_limit),
                                       cmocka_unit_test(test_any_hour),
                                       cmocka_unit_test(test_hour_frees),
                                       cmocka_unit_test(test_kept_and_restored),
                                       cmocka_unit_test(test_clocks),
                                       cmocka_unit_test(test_bytes_in_words)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
