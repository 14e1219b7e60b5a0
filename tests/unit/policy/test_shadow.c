/* Which requests have a shadow, which sides it has, what it may not do, and when it starts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/policy/shadow.h"
#include "common/base/clock.h"

#include <math.h>
#include <string.h>

enum { LOCAL, DEN, ATTIC, CASCADE, COUNT };

static struct candidate candidates[COUNT];

static void candidate_set(int index, const char *route, int edge, enum job_route kind, double cost)
{
    candidates[index] = (struct candidate){.edge = edge, .kind = kind, .cost = cost};
    strcpy(candidates[index].route, route);
}

/* Answered here, as decided; both edges were possible, the attic is the cheaper one. */
static struct shadow_request here(void)
{
    candidate_set(LOCAL, "local", -1, JOB_LOCAL, 10);
    candidate_set(DEN, "edge:den", 0, JOB_EDGE, 30);
    candidate_set(ATTIC, "edge:attic", 1, JOB_EDGE, 20);
    candidate_set(CASCADE, "cascade", 1, JOB_CASCADE, 15);
    return (struct shadow_request){.percent = 100,
                                   .unit = 0.99,
                                   .answered = true,
                                   .has_local = true,
                                   .ran_local = true,
                                   .route = "local",
                                   .candidates = candidates,
                                   .candidate_count = COUNT};
}

static size_t edge_of(const struct shadow_request *request)
{
    struct shadow_plan plan;

    return shadow_plan(request, &plan) ? plan.edge : COUNT;
}

static void test_chance(void **state)
{
    struct shadow_request request = here();
    struct shadow_plan plan;

    (void)state;
    request.percent = 10;
    request.unit = 0.0999;
    assert_true(shadow_plan(&request, &plan));
    request.unit = 0.1;
    assert_false(shadow_plan(&request, &plan));
    request.percent = request.unit = 0;
    assert_false(shadow_plan(&request, &plan));
}

static void test_sides(void **state)
{
    struct shadow_request request = here();
    struct shadow_plan plan;

    (void)state;
    assert_true(shadow_plan(&request, &plan)); /* here: the cheapest edge */
    assert_false(plan.local);
    assert_int_equal(plan.edge, ATTIC);
    request.route = "edge:den"; /* observed: what would have been */
    assert_int_equal(edge_of(&request), DEN);
    request.route = "cascade";
    assert_int_equal(edge_of(&request), ATTIC);
    candidates[ATTIC].cost = NAN;
    assert_int_equal(edge_of(&request), DEN);
    candidates[DEN].cost = NAN;
    assert_int_equal(edge_of(&request), DEN); /* none is known: the first */
    request = here();
    request.ran_local = false; /* by an edge, or from the cache */
    request.asked_edge = true;
    assert_true(shadow_plan(&request, &plan));
    assert_true(plan.local && plan.edge == COUNT);
    request.asked_edge = false;
    assert_true(shadow_plan(&request, &plan));
    assert_true(plan.local && plan.edge == ATTIC);
    request.has_local = false;
    assert_true(shadow_plan(&request, &plan));
    assert_false(plan.local);
    request = here();
    request.asked_edge = true; /* both ran */
    assert_false(shadow_plan(&request, &plan));
}

static void test_never(void **state)
{
    struct shadow_request request = here();
    struct shadow_plan plan;

    (void)state;
    request.answered = false;
    assert_false(shadow_plan(&request, &plan));
    request = here();
    request.session = true;
    assert_false(shadow_plan(&request, &plan));
}

/* Privacy holds, whatever the candidates say. */
static void test_privacy(void **state)
{
    struct shadow_request request = here();

    (void)state;
    request.never_leaves = true;
    assert_int_equal(edge_of(&request), COUNT);
    request = here();
    request.forced_local = true;
    assert_int_equal(edge_of(&request), COUNT);
    request = here();
    request.only_edge = "den";
    assert_int_equal(edge_of(&request), DEN);
    request.only_edge = "attic";
    request.route = "edge:den";
    assert_int_equal(edge_of(&request), ATTIC);
    request.only_edge = "cellar";
    assert_int_equal(edge_of(&request), COUNT);
}

/* No edge could be decided on: that is told of what was to have a shadow and may have an edge. */
static void test_missed(void **state)
{
    struct shadow_request request = here();
    struct shadow_plan plan;

    (void)state;
    request.trouble = EDGE_DOWN;
    assert_true(shadow_plan(&request, &plan)); /* another one could */
    assert_int_equal(plan.missed, SHADOW_STARTS);
    request.candidate_count = 1;
    assert_false(shadow_plan(&request, &plan));
    assert_int_equal(plan.missed, SHADOW_DROPPED_GONE);
    request.trouble = EDGE_OVER_BUDGET;
    request.ran_local = false;
    assert_true(shadow_plan(&request, &plan)); /* its other side has one */
    assert_int_equal(plan.missed, SHADOW_DROPPED_BUDGET);
    request.trouble = EDGE_FINE; /* there are none */
    (void)shadow_plan(&request, &plan);
    assert_int_equal(plan.missed, SHADOW_STARTS);
    request.trouble = EDGE_DOWN;
    request.forced_local = true;
    (void)shadow_plan(&request, &plan);
    assert_int_equal(plan.missed, SHADOW_STARTS);
    request.forced_local = false;
    request.never_leaves = true;
    (void)shadow_plan(&request, &plan);
    assert_int_equal(plan.missed, SHADOW_STARTS);
    request.never_leaves = false;
    request.unit = 1; /* it was to have none */
    (void)shadow_plan(&request, &plan);
    assert_int_equal(plan.missed, SHADOW_STARTS);
}

static void test_room(void **state)
{
    (void)state;
    assert_true(shadow_has_room(LIMIT_SHADOWS - 1, 0, LIMIT_SHADOW_BYTES));
    assert_false(shadow_has_room(LIMIT_SHADOWS, 0, 1));
    assert_true(shadow_has_room(1, LIMIT_SHADOW_BYTES - 5, 5));
    assert_false(shadow_has_room(1, LIMIT_SHADOW_BYTES - 5, 6));
    assert_false(shadow_has_room(0, 0, UINT64_MAX));
}

static void test_when(void **state)
{
    struct shadow_place place = {.usable = true, .within_budget = true, .since_ns = 5};

    (void)state;
    place.now_ns = place.since_ns + LIMIT_SHADOW_WAIT_MS * NS_PER_MS;
    assert_int_equal(shadow_judge(&place), SHADOW_STARTS);
    place.wanted = true;
    assert_int_equal(shadow_judge(&place), SHADOW_WAITS);
    place.now_ns++;
    assert_int_equal(shadow_judge(&place), SHADOW_DROPPED_LATE);
    place.within_budget = false;
    assert_int_equal(shadow_judge(&place), SHADOW_DROPPED_BUDGET);
    place.usable = false;
    assert_int_equal(shadow_judge(&place), SHADOW_DROPPED_GONE);
    for (int verdict = 0; verdict < SHADOW_VERDICTS; verdict++) {
        assert_true((shadow_drop_names[verdict] != NULL) == (verdict > SHADOW_WAITS));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chance),  cmocka_unit_test(test_sides),  cmocka_unit_test(test_never),
        cmocka_unit_test(test_privacy), cmocka_unit_test(test_missed), cmocka_unit_test(test_room),
        cmocka_unit_test(test_when)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
