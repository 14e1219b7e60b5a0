/* The promises: which runs are sure to be in time, worked out by hand, and what becomes of a new
 * request that would take another's place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "client/policy/decide.h"
#include "client/policy/insurance.h"
#include "common/base/clock.h"
#include "common/base/error.h"

#include <string.h>

/* {start, deadline, run, step, margin} */
static void test_demand(void **state)
{
    const struct decide_insured fits[] = {
        {0, 20, 10, 0, 0, 0}, {0, 10, 10, 0, 0, 0}, {30, 40, 10, 0, 0, 0}};
    const struct decide_insured clash[] = {{0, 15, 10, 0, 0, 0}, {0, 15, 10, 0, 0, 0}};
    const struct decide_insured gap[] = {
        {0, 30, 10, 0, 0, 0}, {20, 30, 10, 0, 0, 0}, {12, 30, 5, 0, 0, 0}};

    (void)state;
    assert_int_equal(insurance_late(fits, 3, 0), 0);
    assert_int_equal(insurance_late(fits, 3, 1), 3); /* 1 + 20 > 20, and 1 + 10 > 10 */
    assert_int_equal(insurance_late(clash, 2, 0), 3);
    assert_int_equal(insurance_late(NULL, 0, 0), 0);
    assert_int_equal(insurance_late(gap, 3, 0), 0); /* from 20: 30; from 12: 27; from 0: 25 */
    assert_int_equal(insurance_late(gap, 3, 6), 7); /* from 6: 31 */
}

/* A step that is due later may just have begun; how long its whole run takes does not matter. */
static void test_step_in_the_way(void **state)
{
    struct decide_insured runs[] = {{50, 100, 30, 30, 5, 0}, {0, 500, 400, 15, 0, 0}};

    (void)state;
    assert_int_equal(insurance_late(runs, 2, 0), 0); /* 50 + 30 + 15 + 5 */
    runs[1].step_ns = 16;
    assert_int_equal(insurance_late(runs, 2, 0), 1);
    runs[1].step_ns = 15;
    runs[0].margin_ns = 6;
    assert_int_equal(insurance_late(runs, 2, 0), 1);
    runs[0].margin_ns = 5;
    runs[1].deadline_ns = INSURED_NO_DEADLINE; /* goes last, and stands in the way all the same */
    assert_int_equal(insurance_late(runs, 2, 0), 0);
    runs[1].step_ns = 16;
    assert_int_equal(insurance_late(runs, 2, 0), 1);
    runs[1].deadline_ns = 100; /* due with it: all of its run stands before it */
    runs[1].run_ns = 15;
    assert_int_equal(insurance_late(runs, 2, 0), 0);
    runs[1].run_ns = 66;
    assert_int_equal(insurance_late(runs, 2, 0), 1); /* 96 + 5; the other has no margin */
    runs[0] = (struct decide_insured){0, 100, 80, 80, 0, 1};
    runs[1] = (struct decide_insured){0, 500, 400, 21, 0, 0};
    assert_int_equal(insurance_late(runs, 2, 0), 0); /* both stand in line, and it is behind */
    runs[1].in_step_ns = 21; /* unless it is in a step: what is left of that */
    assert_int_equal(insurance_late(runs, 2, 0), 1);
    runs[1].in_step_ns = 20;
    assert_int_equal(insurance_late(runs, 2, 0), 0);
}

/* What was had is off what is needed: two steps of 10 and 4 of the third, of five. */
static void test_credit(void **state)
{
    struct decide_insured run = {0, 100, 50, 10, 0, 0};

    (void)state;
    insurance_credit(&run, 20, 46, 50);
    assert_int_equal(run.run_ns, 26);
    assert_int_equal(run.in_step_ns, 6);
    run.run_ns = 50;
    insurance_credit(&run, 20, 0, 50); /* between two steps */
    assert_int_equal(run.run_ns, 30);
    assert_int_equal(run.in_step_ns, 0);
    insurance_credit(&run, 20, 1, 50); /* slower than its bound: something is left of it */
    assert_int_equal(run.run_ns, 1);
    assert_int_equal(run.in_step_ns, 1);
}

static struct confidence unsure;
static struct decide_edge edges[1];

/* A device that takes at most 100 ms for a run, an edge that is better and sure to be chosen. */
static struct decide_input input_make(void)
{
    confidence_init(&unsure);
    edges[0] = (struct decide_edge){.name = "den", .latency_known = true, .latency = {20, 1000}};
    return (struct decide_input){.weights = {1000, 20, 100000, 0}, /* worth any wait */
                                 .has_local = true,
                                 .local_known = true,
                                 .local = {500, 500},
                                 .local_bound_ms = 100,
                                 .local_step_ms = 100,
                                 .margin_ms = 3,
                                 .edges = edges,
                                 .edge_count = 1,
                                 .up_bytes = 1000,
                                 .threshold = 0.8,
                                 .confidence = &unsure,
                                 .edge_error = 0.1,
                                 .now_ns = NS_PER_S,
                                 .deadline_ns = 2 * NS_PER_S};
}

static struct decide_insured promise(int64_t start_ms, int64_t deadline_ms, int64_t run_ms,
                                     int64_t step_ms)
{
    return (struct decide_insured){start_ms * NS_PER_MS, deadline_ms * NS_PER_MS,
                                   run_ms * NS_PER_MS,   step_ms * NS_PER_MS,
                                   3 * NS_PER_MS,        start_ms == 0};
}

static void test_place_is_kept(void **state)
{
    struct decide_input input = input_make();
    struct decide_insured text;
    struct choice choice;

    (void)state;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.plan.route, JOB_EDGE);
    assert_int_equal(choice.reserve, RESERVE_KEPT);
    assert_int_equal(choice.plan.insure_at_ns, (2000 - 3 - 100 - 100) * NS_PER_MS);
    text = promise(0, 5000, 800, 250); /* a longer step that is there already */
    input.insured = &text;
    input.insured_count = 1;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.reserve, RESERVE_KEPT);
    assert_int_equal(choice.plan.insure_at_ns, (2000 - 3 - 100 - 250) * NS_PER_MS);
    assert_false(choice.plan.yields || choice.pull_in);
}

/* As many as fit by their bound have a place, and not one more. */
static void test_places_are_counted(void **state)
{
    struct decide_insured runs[INSURED_MAX];
    struct decide_input input = input_make();
    struct choice choice;
    size_t kept = 0, raced = 0;

    (void)state;
    input.insured = runs;
    for (;;) {
        assert_int_equal(decide(&input, &choice), 0);
        if (choice.reserve == RESERVE_NONE) {
            break;
        }
        kept += choice.reserve == RESERVE_KEPT;
        raced += choice.reserve == RESERVE_RACED;
        assert_true(choice.plan.race == (choice.reserve == RESERVE_RACED));
        assert_true(!choice.plan.race || choice.plan.insure_at_ns == input.now_ns);
        assert_string_equal(choice.reason, "edge is accurate and in time");
        runs[input.insured_count++] =
            (struct decide_insured){choice.plan.race ? 0 : choice.plan.insure_at_ns,
                                    input.deadline_ns,
                                    100 * NS_PER_MS,
                                    100 * NS_PER_MS,
                                    3 * NS_PER_MS,
                                    0};
        assert_int_equal(insurance_late(runs, input.insured_count, input.now_ns), 0);
    }
    assert_int_equal(kept, 2);  /* from 1797 on there is room for no third */
    assert_int_equal(raced, 7); /* 997 ms hold nine runs of 100 */
    assert_string_equal(choice.reason, "no local reserve");
}

static void test_more_than_can_be_looked_at(void **state)
{
    struct decide_insured runs[INSURED_MAX + 1];
    struct decide_input input = input_make();
    struct choice choice;

    (void)state;
    for (size_t i = 0; i <= INSURED_MAX; i++) {
        runs[i] = promise(1, 3600000, 1, 1);
    }
    input.insured = runs;
    input.insured_count = INSURED_MAX - 1;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.reserve, RESERVE_KEPT);
    for (input.insured_count = INSURED_MAX; input.insured_count <= INSURED_MAX + 1;
         input.insured_count++) {
        assert_int_equal(decide(&input, &choice), 0);
        assert_int_equal(choice.reserve, RESERVE_NONE);
        assert_true(choice.plan.yields);
    }
}

/* What is full of promises that a new request would break: 9 of them, due no sooner than it. */
static struct decide_input full_make(struct decide_insured runs[9])
{
    struct decide_input input = input_make();

    for (size_t i = 0; i < 9; i++) {
        runs[i] = promise(0, 2000, 100, 100);
        runs[i].margin_ns = 100 * NS_PER_MS;
    }
    input.insured = runs;
    input.insured_count = 9;
    return input;
}

static void test_rules(void **state)
{
    struct decide_insured runs[9];
    struct decide_input input = full_make(runs);
    struct choice choice;

    (void)state;
    assert_int_equal(insurance_late(runs, 9, input.now_ns), 0);
    input.no_reserve = NO_RESERVE_LOCAL;
    assert_int_equal(decide(&input, &choice), 0);
    assert_string_equal(choice.reason, "no local reserve");
    assert_int_equal(choice.plan.route, JOB_EDGE);
    assert_true(choice.plan.race && choice.plan.yields && choice.pull_in);
    input.no_reserve = NO_RESERVE_DROP;
    assert_int_equal(decide(&input, &choice), TANDEM_EBUSY);
    assert_string_equal(choice.reason, "no local reserve");
    assert_int_equal(choice.reserve, RESERVE_NONE);
    assert_true(choice.plan.deadline_ns == input.deadline_ns);
    assert_int_equal(choice.edge, -1);
    input.no_reserve = NO_RESERVE_ACCEPT_RISK;
    assert_int_equal(decide(&input, &choice), 0);
    assert_string_equal(choice.reason, "no local reserve");
    assert_int_equal(choice.plan.route, JOB_EDGE);
    assert_false(choice.plan.race || choice.pull_in);
    assert_true(choice.plan.yields && choice.plan.local_allowed);
    assert_true(choice.plan.insure_at_ns == 0); /* only when the edge fails */
}

/* A run that starts here at once takes nobody's place either. */
static void test_rules_of_local_runs(void **state)
{
    struct decide_insured runs[9];
    struct decide_input input = full_make(runs);
    struct choice choice;

    (void)state;
    input.forced = FORCED_LOCAL;
    assert_int_equal(decide(&input, &choice), 0);
    assert_string_equal(choice.reason, "no local reserve");
    assert_int_equal(choice.plan.route, JOB_LOCAL);
    assert_true(choice.plan.yields);
    input.no_reserve = NO_RESERVE_ACCEPT_RISK; /* no edge may be asked */
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.plan.route, JOB_LOCAL);
    assert_true(choice.plan.yields);
    input.no_reserve = NO_RESERVE_DROP;
    assert_int_equal(decide(&input, &choice), TANDEM_EBUSY);
    input = full_make(runs);
    input.local = (struct latency){1, 1}; /* so that local is first, by cost */
    input.forced = FORCED_CASCADE;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.plan.route, JOB_CASCADE);
    assert_true(choice.plan.yields);
    input.forced = FORCED_AUTO;
    input.weights.one_error_ms = 0;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.plan.route, JOB_LOCAL);
    assert_true(choice.plan.yields);
    input.no_reserve = NO_RESERVE_ACCEPT_RISK;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.plan.route, JOB_EDGE);
    assert_int_equal(choice.edge, 0);
    input.forced = FORCED_LOCAL;
    input.no_reserve = NO_RESERVE_LOCAL;
    input.deadline_ns = 3 * NS_PER_S; /* due after all of them, and behind them in the line */
    assert_int_equal(decide(&input, &choice), 0);
    assert_false(choice.plan.yields);
    assert_string_equal(choice.reason, "forced by caller");
}

/* Where the room is there but places are kept late, they are taken at once. */
static void test_pull_in(void **state)
{
    const struct decide_insured kept = promise(1850, 2000, 100, 100);
    struct decide_input input = input_make();
    struct choice choice;

    (void)state;
    input.insured = &kept;
    input.insured_count = 1;
    input.forced = FORCED_LOCAL;
    input.deadline_ns = 0; /* goes last; but its step would be in the way: 1850 + 100 + 100 + 3 */
    assert_int_equal(decide(&input, &choice), 0);
    assert_true(choice.pull_in);
    assert_false(choice.plan.yields);
    assert_string_equal(choice.reason, "forced by caller");
    input.local_step_ms = 47;
    assert_int_equal(decide(&input, &choice), 0);
    assert_false(choice.pull_in);
    input.local_step_ms = 100;
    input.forced = FORCED_AUTO;
    input.weights.one_error_ms = 0;
    input.local = (struct latency){1, 1};
    input.deadline_ns = 2500 * NS_PER_MS;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.plan.route, JOB_LOCAL);
    assert_true(choice.pull_in);
}

/* A run that would be late on an idle device has no place to lose: both start, no rule applies. */
static void test_never_in_time(void **state)
{
    struct decide_input input = input_make();
    struct choice choice;

    (void)state;
    input.deadline_ns = input.now_ns + 102 * NS_PER_MS;
    input.no_reserve = NO_RESERVE_DROP;
    assert_int_equal(decide(&input, &choice), 0);
    assert_string_equal(choice.reason, "edge may be late, its answer is worth the risk");
    assert_true(choice.plan.race);
    assert_int_equal(choice.reserve, RESERVE_NONE);
    input.deadline_ns = input.now_ns + 103 * NS_PER_MS;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.reserve, RESERVE_RACED);
}

/* What is late already is not the new one's doing. */
static void test_late_before(void **state)
{
    const struct decide_insured slow = promise(0, 1050, 100, 100);
    struct decide_input input = input_make();
    struct choice choice;

    (void)state;
    input.insured = &slow;
    input.insured_count = 1;
    assert_int_equal(insurance_late(&slow, 1, input.now_ns), 1);
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.reserve, RESERVE_KEPT);
    assert_false(choice.plan.yields || choice.pull_in);
}

static void test_not_asked(void **state)
{
    struct decide_input input = input_make();
    struct choice choice;

    (void)state;
    input.deadline_ns = 0;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.reserve, RESERVE_UNASKED);
    input = input_make();
    input.forced = FORCED_EDGE;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.reserve, RESERVE_UNASKED);
    input = input_make();
    input.has_local = input.local_known = false;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.reserve, RESERVE_UNASKED);
}

/* Without a deadline, or where nothing is known of local runs, there is no place to keep. */
static void test_would_keep(void **state)
{
    struct decide_input input = input_make();

    (void)state;
    assert_true(insurance_would_keep(&input));
    input.deadline_ns = 0;
    assert_false(insurance_would_keep(&input));
    input = input_make();
    input.local_known = false;
    assert_false(insurance_would_keep(&input));
    input = input_make();
    input.local_bound_ms = NAN;
    assert_false(insurance_would_keep(&input));
    input = input_make();
    input.deadline_ns = input.now_ns + 203 * NS_PER_MS; /* its last start would be now */
    assert_false(insurance_would_keep(&input));
    input.deadline_ns += NS_PER_MS;
    assert_true(insurance_would_keep(&input));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_demand),
                                       cmocka_unit_test(test_would_keep),
                                       cmocka_unit_test(test_step_in_the_way),
                                       cmocka_unit_test(test_credit),
                                       cmocka_unit_test(test_place_is_kept),
                                       cmocka_unit_test(test_places_are_counted),
                                       cmocka_unit_test(test_more_than_can_be_looked_at),
                                       cmocka_unit_test(test_rules),
                                       cmocka_unit_test(test_rules_of_local_runs),
                                       cmocka_unit_test(test_pull_in),
                                       cmocka_unit_test(test_never_in_time),
                                       cmocka_unit_test(test_late_before),
                                       cmocka_unit_test(test_not_asked)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
