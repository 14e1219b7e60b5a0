/* A text's time is its tokens: longer prompts and longer answers take longer, no answer is longer
 * than it may be, and the worst that was seen bounds the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/policy/estimate_text.h"
#include "common/base/limits.h"

#include <math.h>

#define WINDOW 64

static struct latency latency_of(const struct estimate_text *estimate, double bytes, double most)
{
    const struct estimate_text_work work = {bytes, most};
    struct latency latency;

    assert_true(estimate_text_get(estimate, &work, 0, &latency));
    return latency;
}

/* A quarter token a byte, 0.5 ms a token of the prompt, 2 ms a token of the answer. */
static struct estimate_text known(void)
{
    struct estimate_text estimate;

    estimate_text_init(&estimate);
    estimate_text_add(&estimate, &(struct estimate_text_run){400, 100, 100, 50, 10, 20});
    return estimate;
}

static void test_nothing_is_known(void **state)
{
    const struct estimate_text_work work = {100, 8};
    struct estimate_text estimate;
    struct latency latency = {-1, -2};

    (void)state;
    estimate_text_init(&estimate);
    estimate_text_answer_add(&estimate, 5, false);
    assert_false(estimate_text_get(&estimate, &work, 5, &latency));
    assert_float_equal(latency.mean_ms, -1, 0);
    assert_float_equal(latency.p95_ms, -2, 0);
    assert_true(isnan(estimate_text_bound_ms(&estimate, &work)));
    assert_float_equal(estimate_text_prompt(&estimate, 100), 0, 0);
    /* a run of one token says nothing of decode */
    estimate_text_add(&estimate, &(struct estimate_text_run){400, 100, 100, 50, 0, 0});
    assert_false(estimate_text_get(&estimate, &work, 5, &latency));
}

static void test_time_is_tokens(void **state)
{
    struct estimate_text estimate = known();

    (void)state;
    estimate_text_answer_add(&estimate, 8, false);
    assert_float_equal(latency_of(&estimate, 400, 256).mean_ms, 100 * 0.5 + 8 * 2, 1e-9);
    assert_float_equal(latency_of(&estimate, 4000, 256).mean_ms, 1000 * 0.5 + 8 * 2, 1e-9);
    assert_float_equal(latency_of(&estimate, 400, 3).mean_ms, 100 * 0.5 + 3 * 2, 1e-9);
    assert_float_equal(estimate_text_prompt(&estimate, 400), 100, 1e-9);
}

static void test_queue_stands_before_it(void **state)
{
    const struct estimate_text_work work = {400, 8};
    struct estimate_text estimate = known();
    struct latency idle, queued;

    (void)state;
    assert_true(estimate_text_get(&estimate, &work, 0, &idle));
    assert_true(estimate_text_get(&estimate, &work, 30, &queued));
    assert_float_equal(queued.mean_ms, idle.mean_ms + 30, 1e-9);
    assert_float_equal(queued.p95_ms, idle.p95_ms + 30, 1e-9);
}

/* Before the first answer any length is as likely as any other; afterwards it is what was seen. */
static void test_answers_are_learned(void **state)
{
    struct estimate_text estimate = known();
    struct latency unknown, seen;

    (void)state;
    assert_float_equal(estimate_text_answer(&estimate, 100), 50, 1e-9);
    unknown = latency_of(&estimate, 400, 100);
    assert_float_equal(unknown.p95_ms, 50 + 95 * 2, 1e-9);
    for (int i = 0; i < 30; i++) {
        estimate_text_answer_add(&estimate, 10, false);
    }
    assert_float_equal(estimate_text_answer(&estimate, 100), 10, 1e-9);
    seen = latency_of(&estimate, 400, 100);
    assert_float_equal(seen.mean_ms, 50 + 10 * 2, 1e-9);
    assert_true(seen.p95_ms < unknown.p95_ms);
}

/* The tail holds what one answer in ten does, and never more than may be. */
static void test_spread_of_the_length(void **state)
{
    struct estimate_text estimate = known();
    struct latency latency;

    (void)state;
    for (int i = 0; i < 60; i++) {
        estimate_text_answer_add(&estimate, i % 10 == 9 ? 60 : 5, false);
    }
    latency = latency_of(&estimate, 400, 256);
    assert_true(latency.mean_ms < 50 + 25 * 2);
    assert_true(latency.p95_ms >= 50 + 60 * 2 - 1e-9);
    latency = latency_of(&estimate, 400, 20);
    assert_true(latency.p95_ms <= 50 + 20 * 2 + 1e-9);
}

/* A device that is slow now and then has a tail, for the prompt and for the answer. */
static void test_spread_of_the_steps(void **state)
{
    struct estimate_text steady = known(), prompt = known(), answer = known();

    (void)state;
    for (int i = 0; i < 40; i++) {
        const double slow = i % 10 == 9 ? 10 : 1;

        estimate_text_add(&steady, &(struct estimate_text_run){400, 100, 100, 50, 10, 20});
        estimate_text_add(&prompt, &(struct estimate_text_run){400, 100, 100, 50 * slow, 10, 20});
        estimate_text_add(&answer, &(struct estimate_text_run){400, 100, 100, 50, 10, 20 * slow});
    }
    estimate_text_answer_add(&steady, 10, false);
    estimate_text_answer_add(&prompt, 10, false);
    estimate_text_answer_add(&answer, 10, false);
    assert_float_equal(latency_of(&steady, 400, 64).p95_ms, 70, 1);
    assert_true(latency_of(&prompt, 400, 64).p95_ms > 500);
    assert_true(latency_of(&answer, 400, 64).p95_ms > 200);
}

/* What the deadline cut short would have been longer: it raises what is expected, never lowers. */
static void test_cut_short(void **state)
{
    struct estimate_text estimate = known();

    (void)state;
    estimate_text_answer_add(&estimate, 3, true);
    assert_float_equal(estimate_text_answer(&estimate, 100), 50, 1e-9);
    estimate_text_answer_add(&estimate, 10, false);
    estimate_text_answer_add(&estimate, 3, true);
    assert_float_equal(estimate_text_answer(&estimate, 100), 10, 1e-9);
    estimate_text_answer_add(&estimate, 20, true);
    assert_true(estimate_text_answer(&estimate, 100) > 10);
}

static void test_bound_is_the_worst_of_everything(void **state)
{
    const struct estimate_text_work work = {400, 64}, few = {400, 4};
    struct estimate_text estimate = known();

    (void)state;
    /* no answer seen: as long as it may be */
    assert_float_equal(estimate_text_bound_ms(&estimate, &work), 1.5 * (50 + 64 * 2), 1e-9);
    estimate_text_answer_add(&estimate, 12, false);
    estimate_text_answer_add(&estimate, 6, false);
    assert_float_equal(estimate_text_bound_ms(&estimate, &work), 1.5 * (50 + 12 * 2), 1e-9);
    assert_float_equal(estimate_text_bound_ms(&estimate, &few), 1.5 * (50 + 4 * 2), 1e-9);
    estimate_text_add(&estimate, &(struct estimate_text_run){400, 200, 100, 100, 10, 30});
    assert_float_equal(estimate_text_bound_ms(&estimate, &work), 1.5 * (200 * 1 + 12 * 3), 1e-9);
    for (int i = 0; i < WINDOW; i++) { /* the bad one leaves the window */
        estimate_text_add(&estimate, &(struct estimate_text_run){400, 100, 100, 50, 10, 20});
    }
    assert_float_equal(estimate_text_bound_ms(&estimate, &work), 1.5 * (50 + 12 * 2), 1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nothing_is_known),
                                       cmocka_unit_test(test_time_is_tokens),
                                       cmocka_unit_test(test_queue_stands_before_it),
                                       cmocka_unit_test(test_answers_are_learned),
                                       cmocka_unit_test(test_spread_of_the_length),
                                       cmocka_unit_test(test_spread_of_the_steps),
                                       cmocka_unit_test(test_cut_short),
                                       cmocka_unit_test(test_bound_is_the_worst_of_everything)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
