/* How long a cascade's plan gives the edge, and for how long a kept answer is held back for it. */
#include "client/policy/decide.h"
#include "common/base/clock.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static struct confidence unsure;
static struct decide_edge edges[1];

static struct decide_input input_make(void)
{
    confidence_init(&unsure);
    edges[0] = (struct decide_edge){
        .name = "den", .latency_known = true, .latency = {40, 50}, .best_ms = 10};
    return (struct decide_input){.weights = {.one_miss_ms = 1000, .one_error_ms = 400},
                                 .forced = FORCED_CASCADE,
                                 .has_local = true,
                                 .local_known = true,
                                 .local = {5, 6},
                                 .local_run_ms = 5,
                                 .local_bound_ms = 9,
                                 .local_step_ms = 9,
                                 .edges = edges,
                                 .edge_count = 1,
                                 .up_bytes = 1000,
                                 .threshold = 0.8,
                                 .confidence = &unsure,
                                 .edge_error = 0.02,
                                 .now_ns = NS_PER_S,
                                 .deadline_ns = 2 * NS_PER_S};
}

static struct job_plan plan_of(const struct decide_input *input)
{
    struct choice choice;

    assert_int_equal(decide(input, &choice), 0);
    assert_int_equal(choice.plan.route, JOB_CASCADE);
    return choice.plan;
}

/* What is believed of it; or, where it may be asked to learn better, what may be hoped for. */
static void test_what_the_edge_needs(void **state)
{
    struct decide_input input = input_make();

    (void)state;
    assert_int_equal(plan_of(&input).edge_needs_ns, 40 * NS_PER_MS);
    edges[0].retry_due = true;
    assert_int_equal(plan_of(&input).edge_needs_ns, 10 * NS_PER_MS);
    edges[0].best_ms = 60; /* no hope */
    assert_int_equal(plan_of(&input).edge_needs_ns, 40 * NS_PER_MS);
    edges[0].latency_known = false;
    assert_int_equal(plan_of(&input).edge_needs_ns, 0);
}

/* Of a picture it is the hope of the form that is sent, also of two that are as large. */
static void test_of_the_form_that_is_sent(void **state)
{
    struct decide_input input = input_make();

    (void)state;
    edges[0].retry_due = true;
    edges[0].form_count = 2;
    for (uint32_t i = 0; i < 2; i++) {
        edges[0].forms[i] = (struct decide_form){
            .upload = {.width = 32, .height = 32, .row = 4 + i, .error = i == 0 ? 0.3 : 0.01},
            .latency_known = true,
            .latency = {40, 50},
            .best_ms = i == 0 ? 5 : 9};
    }
    assert_int_equal(plan_of(&input).edge_needs_ns, 9 * NS_PER_MS);
}

/* The caller who forces a cascade waits until the deadline; the operator's and our own are given up
 * when the edge has had its time. */
static void test_patience(void **state)
{
    struct decide_input input = input_make();

    (void)state;
    assert_int_equal(plan_of(&input).patience_ns, 0);
    input.fixed = true;
    assert_true(plan_of(&input).patience_ns > 40 * NS_PER_MS);
    input.fixed = false;
    input.forced = FORCED_AUTO;
    assert_true(plan_of(&input).patience_ns > 40 * NS_PER_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_the_edge_needs),
                                       cmocka_unit_test(test_of_the_form_that_is_sent),
                                       cmocka_unit_test(test_patience)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
