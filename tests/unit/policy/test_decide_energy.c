/* decide() with a limited energy budget: nothing that need not be starts that takes more than what
 * the hour has left, and no request is refused for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "client/policy/budget.h"
#include "client/policy/candidates.h"
#include "tests/unit/policy/random_input.h"

#include <math.h>

#define ROUNDS    20000
#define RUN_MS    50  /* 0.5 J here */
#define UP_BYTES  1e5 /* 0.1 J to an edge */
#define RUN_J     0.5
#define SEND_J    0.1
#define EPSILON_J 1e-9

static struct confidence unsure;
static struct decide_edge edges[1];

static struct decide_input input_make(double left_j)
{
    confidence_init(&unsure);
    edges[0] = (struct decide_edge){.name = "den", .latency_known = true, .latency = {20, 30}};
    return (struct decide_input){
        .weights = {.one_miss_ms = 1000, .one_error_ms = 2000, .one_megabyte_ms = 20},
        .energy = {.compute_watt = 10, .joule_per_byte = 1e-6},
        .energy_limited = true,
        .energy_left = left_j,
        .has_local = true,
        .local_known = true,
        .local = {RUN_MS, RUN_MS + 1},
        .local_run_ms = RUN_MS,
        .local_bound_ms = RUN_MS + 10,
        .local_step_ms = 10,
        .edges = edges,
        .edge_count = 1,
        .up_bytes = (uint64_t)UP_BYTES,
        .threshold = 0.8,
        .confidence = &unsure,
        .edge_error = 0.01,
        .now_ns = NS_PER_S,
        .deadline_ns = 11 * NS_PER_S};
}

static enum job_route route_of(const struct decide_input *input, struct choice *choice)
{
    assert_int_equal(decide(input, choice), 0);
    return choice->plan.route;
}

/* What is left carries the run here, but not what would be sent: local answers, and the decision
 * says why. With as much left as an edge takes it is asked. */
static void test_edge(void **state)
{
    struct decide_input input = input_make(SEND_J + EPSILON_J);
    struct choice choice;

    (void)state;
    input.energy.compute_watt = 0.1; /* a run takes 0.005 J */
    assert_int_equal(route_of(&input, &choice), JOB_EDGE);
    assert_string_equal(choice.reason, "edge is accurate and in time");
    input.energy_left = SEND_J - EPSILON_J;
    assert_int_equal(route_of(&input, &choice), JOB_LOCAL);
    assert_int_equal(choice.edge, -1);
    assert_string_equal(choice.reason, "energy budget of this hour has too little left for more");
    input.has_local = input.local_known = false; /* the only way is not refused */
    assert_int_equal(route_of(&input, &choice), JOB_EDGE);
    assert_string_equal(choice.reason, "no local model");
    input = input_make(SEND_J - EPSILON_J); /* nor is what takes the least */
    assert_int_equal(route_of(&input, &choice), JOB_EDGE);
}

/* Of what the hour carries the cheapest is chosen, not what takes the least. */
static void test_smaller_form(void **state)
{
    struct decide_input input = input_make(SEND_J / 2);
    struct choice choice;

    (void)state;
    input.energy.compute_watt = 0.1;
    edges[0].forms[0] = (struct decide_form){
        .upload = {.bytes = UP_BYTES}, .latency_known = true, .latency = {20, 30}};
    edges[0].forms[1] = edges[0].forms[0];
    edges[0].forms[1].upload = (struct upload_form){
        .width = 32, .height = 32, .quality = 50, .bytes = UP_BYTES / 4, .error = 0.01};
    edges[0].form_count = 2;
    assert_int_equal(route_of(&input, &choice), JOB_EDGE);
    assert_int_equal(choice.candidates[choice.asked].upload.width, 32);
    assert_string_equal(choice.reason, "energy budget of this hour has too little left for more");
    input.energy_left = 2 * SEND_J;
    assert_int_equal(route_of(&input, &choice), JOB_EDGE);
    assert_int_equal(choice.candidates[choice.asked].upload.width, 0);
}

/* Local that would be late is no answer: then the edge is the only way. */
static void test_only_in_time(void **state)
{
    struct decide_input input = input_make(0.01);
    struct choice choice;

    (void)state;
    input.energy.compute_watt = 0.1;
    input.local.mean_ms = input.local.p95_ms = 20000; /* it waits that long */
    assert_int_equal(route_of(&input, &choice), JOB_EDGE);
}

/* Beside an edge local joins before the last moment only where the hour has enough for both. */
static void test_hedge(void **state)
{
    struct decide_input input = input_make(SEND_J + RUN_J + EPSILON_J);
    struct choice choice;

    (void)state;
    assert_int_equal(route_of(&input, &choice), JOB_EDGE);
    assert_true(choice.plan.insure_at_ns < input.deadline_ns - 5 * NS_PER_S);
    input.energy_left = SEND_J + RUN_J - EPSILON_J;
    assert_int_equal(route_of(&input, &choice), JOB_EDGE);
    assert_true(choice.plan.insure_at_ns > input.deadline_ns - NS_PER_S);
    assert_int_equal(choice.reserve, RESERVE_KEPT);
}

/* No place is left for a late start, so local would start beside the edge. */
static void test_race_with_an_edge(void **state)
{
    struct decide_input input = input_make(SEND_J + RUN_J + EPSILON_J);
    struct choice choice;

    (void)state;
    input.deadline_ns = input.now_ns + (RUN_MS + 15) * NS_PER_MS;
    input.weights.one_error_ms = 20000;
    assert_int_equal(route_of(&input, &choice), JOB_EDGE);
    assert_true(choice.plan.race);
    assert_int_equal(choice.reserve, RESERVE_RACED);
    input.energy_left = RUN_J + EPSILON_J;
    assert_int_equal(route_of(&input, &choice), JOB_LOCAL);
    assert_int_equal(choice.edge, -1);
    assert_int_equal(choice.reserve, RESERVE_UNASKED);
    assert_string_equal(choice.reason, "energy budget of this hour has too little left for more");
    input.deadline_ns -= 10 * NS_PER_MS; /* local is not sure to be in time at all */
    assert_int_equal(route_of(&input, &choice), JOB_EDGE);
    assert_false(choice.plan.race);
    assert_int_equal(choice.plan.insure_at_ns, 0);
    assert_true(choice.plan.local_allowed); /* when the edge fails */
}

/* A cascade asks both at once only where the hour has enough for both. */
static void test_race_of_a_cascade(void **state)
{
    struct decide_input input = input_make(SEND_J + RUN_J + EPSILON_J);
    struct choice choice;

    (void)state;
    input.local = (struct latency){40, 41};
    edges[0].latency = (struct latency){60, 1000}; /* it is late now and then */
    input.deadline_ns = input.now_ns + 300 * NS_PER_MS;
    input.weights.one_megabyte_ms = 0;
    assert_int_equal(route_of(&input, &choice), JOB_CASCADE);
    assert_true(choice.plan.race);
    input.energy_left = SEND_J + RUN_J - EPSILON_J;
    assert_int_equal(decide(&input, &choice), 0);
    assert_false(choice.plan.race);
}

/* An edge is asked to learn its latency where the hour has enough for local to step in. */
static void test_retry(void **state)
{
    struct decide_input input = input_make(SEND_J + RUN_J + EPSILON_J);
    struct choice choice;

    (void)state;
    edges[0].latency = (struct latency){5000, 6000};
    edges[0].retry_due = true;
    edges[0].best_ms = 1;
    assert_int_equal(decide(&input, &choice), 0);
    assert_true(choice.hoped_ms > 0);
    input.energy_left = SEND_J + RUN_J - EPSILON_J;
    assert_int_equal(decide(&input, &choice), 0);
    assert_true(choice.hoped_ms == 0);
}

/* A fixed route gives way to local where that takes less. */
static void test_fixed(void **state)
{
    struct decide_input input = input_make(SEND_J - EPSILON_J);
    struct choice choice;

    (void)state;
    input.energy.compute_watt = 0.1;
    input.forced = FORCED_EDGE;
    assert_int_equal(route_of(&input, &choice), JOB_EDGE); /* its caller's */
    input.fixed = true;
    assert_int_equal(route_of(&input, &choice), JOB_LOCAL);
    assert_string_equal(choice.reason, "energy budget of this hour has too little left for more");
    input.energy_left = 0;
    assert_int_equal(route_of(&input, &choice), JOB_LOCAL);
    assert_string_equal(choice.reason, "energy budget of this hour is used up");
}

/* ---- at random ---- */

/* Whether some route that is likely to be in time would have been carried. */
static bool is_carried(const struct decide_input *input, const struct choice *choice)
{
    return candidates_carried(input, choice, input->forced) < choice->count;
}

static void choice_check(const struct decide_input *input, const struct choice *choice)
{
    const struct candidate *chosen = &choice->candidates[choice->chosen];

    if (choice->edge >= 0 && (choice->plan.race || choice->hoped_ms > 0)) {
        assert_true(energy_carries(input, candidates_both_joule(input, choice)));
    }
    /* A reserve that there is none of has the task's rule; and local alone may stand for both. */
    if (choice->reserve != RESERVE_NONE && chosen->kind != JOB_LOCAL && is_carried(input, choice)) {
        assert_true(energy_carries(input, chosen->energy_j));
    }
}

static void test_random(void **state)
{
    static struct random_input made;
    struct random_source random;
    size_t decided = 0, changed = 0;

    (void)state;
    random_seed(&random, 5);
    for (int round = 0; round < ROUNDS; round++) {
        struct choice free_choice, choice;
        int free_result, result;

        random_input_make(&random, &made);
        free_result = decide(&made.input, &free_choice);
        made.input.energy_limited = true;
        made.input.energy_left = random_one_in(&random, 5) ? -1 : random_ms(&random, 1e-3, 10);
        result = decide(&made.input, &choice);
        assert_true(free_result != 0 || result == 0 || choice.reserve == RESERVE_NONE);
        if (result == 0) {
            choice_check(&made.input, &choice);
            decided++;
            changed += free_result == 0 && choice.chosen != free_choice.chosen;
        }
    }
    assert_true(decided > ROUNDS / 2 && changed > ROUNDS / 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_edge),
                                       cmocka_unit_test(test_smaller_form),
                                       cmocka_unit_test(test_only_in_time),
                                       cmocka_unit_test(test_hedge),
                                       cmocka_unit_test(test_race_with_an_edge),
                                       cmocka_unit_test(test_race_of_a_cascade),
                                       cmocka_unit_test(test_retry),
                                       cmocka_unit_test(test_fixed),
                                       cmocka_unit_test(test_random)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
