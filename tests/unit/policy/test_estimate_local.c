/* What is known of the time of local runs, and that a run started at the last moment is in time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/policy/estimate_local.h"
#include "client/policy/job.h"
#include "common/base/clock.h"
#include "common/base/limits.h"

#include <math.h>

#define US_PER_MS 1000.0
#define WINDOW    64

static void test_nothing_is_known(void **state)
{
    struct estimate_local estimate;
    struct latency latency = {-1, -2};

    (void)state;
    estimate_local_init(&estimate);
    assert_false(estimate_local_get(&estimate, 5, &latency));
    assert_float_equal(latency.mean_ms, -1, 0);
    assert_float_equal(latency.p95_ms, -2, 0);
    assert_true(isnan(estimate_local_bound_ms(&estimate)));
}

static void test_runs_are_learned(void **state)
{
    struct estimate_local estimate;
    struct latency idle, queued;

    (void)state;
    estimate_local_init(&estimate);
    for (int i = 0; i < 40; i++) {
        estimate_local_add(&estimate, i % 10 == 9 ? 50 : 10);
    }
    assert_true(estimate_local_get(&estimate, 0, &idle));
    assert_true(idle.mean_ms > 10 && idle.mean_ms < 25);
    assert_true(idle.p95_ms >= 50); /* one of ten takes that long */
    assert_true(estimate_local_get(&estimate, 30, &queued));
    assert_float_equal(queued.mean_ms, idle.mean_ms + 30, 1e-9);
    assert_float_equal(queued.p95_ms, idle.p95_ms + 30, 1e-9);
}

/* Between two times that come by turns the 95 % point is where two deviations lie, over the
 * longest.
 */
static void test_spread(void **state)
{
    struct estimate_local estimate;
    struct latency latency;

    (void)state;
    estimate_local_init(&estimate);
    for (int i = 0; i < 40; i++) {
        estimate_local_add(&estimate, i % 2 ? 30 : 10);
    }
    assert_true(estimate_local_get(&estimate, 5, &latency));
    assert_true(latency.p95_ms > 5 + 32 && latency.p95_ms < 5 + 50);
    assert_true(fabs(latency.p95_ms - 5 - estimate.run.mean - 2 * estimate.run.deviation) < 1e-9);
}

/* One sample has no spread: the tail is not below the mean. */
static void test_one_run(void **state)
{
    struct estimate_local estimate;
    struct latency latency;

    (void)state;
    estimate_local_init(&estimate);
    estimate_local_add(&estimate, 12);
    assert_true(estimate_local_get(&estimate, 0, &latency));
    assert_float_equal(latency.mean_ms, 12, 1e-9);
    assert_true(latency.p95_ms >= 12);
}

static void test_bound_is_the_worst_of_the_window(void **state)
{

    struct estimate_local estimate;

    (void)state;
    estimate_local_init(&estimate);
    estimate_local_add(&estimate, 40);
    for (int i = 0; i < WINDOW - 1; i++) {
        estimate_local_add(&estimate, 10);
    }
    assert_float_equal(estimate_local_bound_ms(&estimate), 1.5 * 40, 1e-9);
    estimate_local_add(&estimate, 10); /* the slow one has left it */
    assert_float_equal(estimate_local_bound_ms(&estimate), 1.5 * 10, 1e-9);
}

/* Virtual time: the edge is silent, local starts when the timer fires, runs as slowly as the bound
 * allows, and is handed over. Whether the answer counts as in time. */
static bool insured_run_is_in_time(double bound_ms, double run_ms)
{
    const int64_t deadline_ns = 200 * NS_PER_MS;
    const struct job_plan plan = {.route = JOB_EDGE,
                                  .local_allowed = true,
                                  .deadline_ns = deadline_ns,
                                  .handover_ns = LIMIT_HANDOVER_US * NS_PER_US,
                                  .deliver_late = true,
                                  .insure_at_ns =
                                      deadline_ns - (int64_t)(bound_ms * (double)NS_PER_MS)};
    struct job_event_data event = {.kind = JOB_START};
    struct job_actions actions;
    struct job job;
    int64_t now_ns = 1;

    job_init(&job, &plan);
    assert_int_equal(job_event(&job, &event, now_ns, &actions), 0);
    assert_int_equal(actions.items[1].kind, JOB_ARM_TIMER);
    now_ns = actions.items[1].at_ns + LIMIT_TIMER_US * NS_PER_US;
    event.kind = JOB_TIMER;
    assert_int_equal(job_event(&job, &event, now_ns, &actions), 0);
    assert_int_equal(actions.items[0].kind, JOB_START_LOCAL);
    now_ns += (int64_t)(run_ms * (double)NS_PER_MS) + LIMIT_HANDOVER_US * NS_PER_US;
    event = (struct job_event_data){.kind = JOB_LOCAL_DONE, .confidence = 0.5};
    assert_int_equal(job_event(&job, &event, now_ns, &actions), 0);
    assert_int_equal(actions.items[actions.count - 1].kind, JOB_DELIVER);
    return (actions.items[actions.count - 1].flags & JOB_FLAG_LATE) == 0;
}

static void test_start_at_the_bound_meets_the_deadline(void **state)
{
    static const double worst_ms[] = {0.5, 10, 60};

    (void)state;
    for (size_t i = 0; i < sizeof(worst_ms) / sizeof(worst_ms[0]); i++) {
        struct estimate_local estimate;
        double bound_ms;

        estimate_local_init(&estimate);
        estimate_local_add(&estimate, worst_ms[i] / 2);
        estimate_local_add(&estimate, worst_ms[i]);
        bound_ms = estimate_local_bound_ms(&estimate) + ESTIMATE_MARGIN_MS;
        assert_true(insured_run_is_in_time(bound_ms, worst_ms[i]));
        assert_true(insured_run_is_in_time(bound_ms, 1.5 * worst_ms[i]));
        /* neither part, nor the margin, may be smaller */
        assert_false(insured_run_is_in_time(bound_ms - 0.01, 1.5 * worst_ms[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_known),
        cmocka_unit_test(test_runs_are_learned),
        cmocka_unit_test(test_spread),
        cmocka_unit_test(test_one_run),
        cmocka_unit_test(test_bound_is_the_worst_of_the_window),
        cmocka_unit_test(test_start_at_the_bound_meets_the_deadline)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
