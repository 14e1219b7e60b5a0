/* The decision rule: the hard limits, the reasons, the choice by cost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "client/policy/budget.h"
#include "client/policy/decide.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/limits.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static struct confidence unsure;
static struct decide_edge edges[1];

static struct decide_input input_make(void)
{
    confidence_init(&unsure);
    edges[0] = (struct decide_edge){.name = "den", .latency_known = true, .latency = {20, 30}};
    return (struct decide_input){.weights = {1000, 20, 200, 0},
                                 .has_local = true,
                                 .local_known = true,
                                 .local = {5, 6},
                                 .local_bound_ms = 10,
                                 .edges = edges,
                                 .edge_count = 1,
                                 .up_bytes = 1000,
                                 .threshold = 0.8,
                                 .confidence = &unsure,
                                 .edge_error = 0.1,
                                 .now_ns = NS_PER_S,
                                 .deadline_ns = 2 * NS_PER_S};
}

static const char *reason_of(const struct decide_input *input, int wanted, struct choice *choice)
{
    assert_int_equal(decide(input, choice), wanted);
    return choice->reason;
}

static void test_hard_limits(void **state)
{
    struct decide_input input = input_make();
    struct choice choice;

    (void)state;
    input.never_leaves = true;
    assert_string_equal(reason_of(&input, 0, &choice), "leaves_device = never");
    assert_int_equal(choice.count, 1);
    assert_int_equal(choice.plan.route, JOB_LOCAL);
    input.has_local = false;
    assert_string_equal(reason_of(&input, TANDEM_ENOROUTE, &choice), "leaves_device = never");
    assert_true(choice.plan.deadline_ns == input.deadline_ns); /* for its record */
    input = input_make();
    input.too_big = true;
    assert_string_equal(reason_of(&input, 0, &choice), "input too big for an edge");
    assert_int_equal(choice.plan.route, JOB_LOCAL);
    input = input_make();
    input.only_edge = "attic";
    assert_string_equal(reason_of(&input, 0, &choice), "no edge connected");
    input = input_make();
    edges[0].unusable = "edge is draining";
    assert_string_equal(reason_of(&input, 0, &choice), "edge is draining");
    input = input_make();
    input.has_local = input.local_known = false;
    assert_string_equal(reason_of(&input, 0, &choice), "no local model");
    assert_int_equal(choice.plan.route, JOB_EDGE);
    assert_false(choice.plan.local_allowed);
    input.forced = FORCED_LOCAL;
    assert_string_equal(reason_of(&input, TANDEM_ENOROUTE, &choice), "no local model");
}

/* With the energy of this hour used up, what takes the least of it answers, be it dearer; nothing
 * is hedged, raced or asked to learn, and nothing is refused. */
static void test_energy_is_used_up(void **state)
{
    struct decide_input input = input_make();
    struct choice choice;

    (void)state;
    input.energy = (struct decide_energy){.compute_watt = 10, .joule_per_byte = 1e-6};
    input.weights.one_joule_ms = 0; /* nobody cares, but there is a limit */
    edges[0].retry_due = true;
    edges[0].best_ms = 1;
    input.local_run_ms = 1; /* 0.01 J here, input.up_bytes * 1e-6 there */
    input.up_bytes = 100000;
    input.energy_limited = true; /* and none is left */
    assert_string_equal(reason_of(&input, 0, &choice), "energy budget of this hour is used up");
    assert_int_equal(choice.plan.route, JOB_LOCAL);
    assert_true(choice.hoped_ms == 0);
    input.up_bytes = 1000;
    input.local_run_ms = 50;
    assert_string_equal(reason_of(&input, 0, &choice), "energy budget of this hour is used up");
    assert_int_equal(choice.plan.route, JOB_EDGE);
    assert_true(choice.plan.local_allowed);
    assert_false(choice.plan.race);
    edges[0].latency =
        (struct latency){900, 1000}; /* it would be late: then local is, dear or not */
    input.deadline_ns = input.now_ns + 200 * NS_PER_MS;
    assert_string_equal(reason_of(&input, 0, &choice), "energy budget of this hour is used up");
    assert_int_equal(choice.plan.route, JOB_LOCAL);
    input.forced = FORCED_EDGE;
    assert_string_equal(reason_of(&input, 0, &choice), "forced by caller");
    assert_int_equal(choice.plan.route, JOB_EDGE);
}

/* What is sent and what comes back both take energy; a local run takes its compute alone. */
static void test_energy_of_a_link(void **state)
{
    struct decide_input input = input_make();
    struct choice choice;

    (void)state;
    input.energy = (struct decide_energy){.joule_per_byte = 2e-3, .joule_per_byte_received = 1e-3};
    input.up_bytes = 1000;
    input.down_bytes = 500;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.candidates[0].kind, JOB_LOCAL);
    assert_true(choice.candidates[0].energy_j == 0);
    assert_int_equal(choice.candidates[1].kind, JOB_EDGE);
    assert_true(fabs(choice.candidates[1].energy_j - 2.5) < 1e-9);
}

/* A hedge costs a local run: with the energy used up local joins at the last moment, not before. */
static void test_no_hedge_without_energy(void **state)
{
    struct decide_input input = input_make();
    struct choice choice;
    int64_t hedged_ns;

    (void)state;
    input.forced = FORCED_EDGE;
    input.fixed = true;
    input.local_bound_ms = input.local_step_ms = 5;
    input.deadline_ns = input.now_ns + 10 * NS_PER_S;
    assert_int_equal(decide(&input, &choice), 0);
    hedged_ns = choice.plan.insure_at_ns;
    assert_true(hedged_ns > input.now_ns && hedged_ns < input.deadline_ns - NS_PER_S);
    input.energy_limited = true; /* and none is left */
    assert_int_equal(decide(&input, &choice), 0);
    assert_true(choice.plan.insure_at_ns > input.deadline_ns - NS_PER_S);
}

/* The used-up bytes of this hour are the reason where nothing else is wrong with any edge. */
static void test_bytes_are_used_up(void **state)
{
    struct decide_input input = input_make();
    struct choice choice;

    (void)state;
    edges[0].unusable = BUDGET_BYTES_USED;
    edges[0].trouble = EDGE_OVER_BUDGET;
    assert_string_equal(reason_of(&input, 0, &choice), "byte budget of this hour is used up");
    assert_int_equal(choice.plan.route, JOB_LOCAL);
    assert_int_equal(choice.edge, -1);
}

/* What kept the nearest edge away is told apart from the reason; an edge that was taken out of the
 * configuration is none. */
static void test_trouble(void **state)
{
    struct decide_input input = input_make();
    struct choice choice;

    (void)state;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.trouble, EDGE_FINE);
    edges[0].silent = true;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.trouble, EDGE_DOWN);
    edges[0].unusable = BUDGET_BYTES_SHORT;
    edges[0].trouble = EDGE_OVER_BUDGET;
    edges[0].needs_bytes = 5000;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.trouble, EDGE_OVER_BUDGET);
    assert_true(choice.needs_bytes == 5000);
    edges[0].name = "";
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.trouble, EDGE_FINE);
}

/* As many edges as a configuration may name: each is a candidate, with the local run and the
 * cascade, and the list has room for them; one more is not looked at. */
static void test_most_edges(void **state)
{
    struct decide_edge many[LIMIT_EDGES + 1];
    struct decide_input input = input_make();
    struct choice choice;
    char names[LIMIT_EDGES + 1][8];

    (void)state;
    for (int i = 0; i <= LIMIT_EDGES; i++) {
        snprintf(names[i], sizeof(names[i]), "e%d", i);
        many[i] = (struct decide_edge){
            .name = names[i], .latency_known = true, .latency = {100 - 4 * i, 110 - 4 * i}};
    }
    input.edges = many;
    input.edge_count = LIMIT_EDGES + 1;
    input.has_local = input.local_known = false;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.count, LIMIT_EDGES);
    assert_int_equal(choice.edge, LIMIT_EDGES - 1); /* the quicker one is past the bound */
    input.has_local = input.local_known = true;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.count, LIMIT_EDGES + 2);
    assert_true(choice.count <= LIMIT_CANDIDATES);
}

/* Forced routes are limits too: nothing else answers in their place, not even when the forced edge
 * dies under way. */
static void test_forced_edge(void **state)
{
    struct decide_input input = input_make();
    struct choice choice;

    (void)state;
    input.forced = FORCED_EDGE;
    assert_string_equal(reason_of(&input, 0, &choice), "forced by caller");
    assert_int_equal(choice.plan.route, JOB_EDGE);
    assert_false(choice.plan.local_allowed);
    assert_false(choice.plan.race);
    assert_int_equal(choice.plan.insure_at_ns, 0);
    input.never_leaves = true;
    assert_string_equal(reason_of(&input, TANDEM_ENOROUTE, &choice), "leaves_device = never");
    input.never_leaves = false;
    edges[0].unusable = "edge is draining";
    assert_string_equal(reason_of(&input, TANDEM_ENOROUTE, &choice), "edge is draining");
    input.forced_edge = "den";
    assert_string_equal(reason_of(&input, TANDEM_ENOROUTE, &choice), "edge is draining");
    input.forced_edge = "attic";
    assert_string_equal(reason_of(&input, TANDEM_ENOROUTE, &choice), "no edge of this name");
    edges[0].unusable = NULL;
    assert_string_equal(reason_of(&input, TANDEM_ENOROUTE, &choice), "no edge of this name");
    input.forced_edge = "den";
    input.only_edge = "attic";
    assert_string_equal(reason_of(&input, TANDEM_ENOROUTE, &choice),
                        "leaves_device names another edge");
    input.edge_count = 0;
    input.forced_edge = input.only_edge = NULL;
    assert_string_equal(reason_of(&input, TANDEM_ENOROUTE, &choice), "no edge connected");
}

/* What is welcome late is waited for, and not without an end. */
static void test_late_until(void **state)
{
    struct decide_input input = input_make();
    struct choice choice;

    (void)state;
    input.forced = FORCED_EDGE;
    input.deliver_late = true;
    assert_int_equal(decide(&input, &choice), 0);
    assert_true(choice.plan.deliver_late);
    assert_int_equal(choice.plan.late_until_ns, input.deadline_ns + LIMIT_LATE_MS * NS_PER_MS);
    input.deadline_ns = input.now_ns - 1; /* as it came: late already */
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.plan.late_until_ns, input.now_ns + LIMIT_LATE_MS * NS_PER_MS);
}

static void test_forced_local_and_cascade(void **state)
{
    struct decide_input input = input_make();
    struct choice choice;

    (void)state;
    input.forced = FORCED_LOCAL;
    assert_string_equal(reason_of(&input, 0, &choice), "forced by caller");
    assert_int_equal(choice.plan.route, JOB_LOCAL);
    assert_int_equal(choice.edge, -1);
    input.forced = FORCED_CASCADE;
    assert_string_equal(reason_of(&input, 0, &choice), "forced by caller");
    assert_int_equal(choice.plan.route, JOB_CASCADE);
    edges[0].unusable = "edge is draining"; /* the half that is there */
    assert_string_equal(reason_of(&input, 0, &choice), "edge is draining");
    assert_int_equal(choice.plan.route, JOB_LOCAL);
    edges[0].unusable = NULL;
    input.has_local = input.local_known = false;
    assert_string_equal(reason_of(&input, TANDEM_ENOROUTE, &choice), "no local model");
    input.forced = FORCED_LOCAL;
    assert_string_equal(reason_of(&input, TANDEM_ENOROUTE, &choice), "no local model");
}

static void test_choice_by_cost(void **state)
{
    struct decide_input input = input_make();
    struct choice choice;

    (void)state;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_not_equal(choice.plan.route, JOB_LOCAL); /* the edge's accuracy is worth its 20 ms */
    input.deadline_ns = input.now_ns + 15 * NS_PER_MS;
    input.weights.one_error_ms = 0;
    assert_string_equal(reason_of(&input, 0, &choice), "edge would miss the deadline");
    input = input_make();
    for (int i = 0; i < 1000; i++) {
        confidence_see(&unsure, 0.95);
        confidence_compare(&unsure, 0.95, true);
    }
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_not_equal(
        choice.plan.route,
        JOB_EDGE); /* local has been right a thousand times: the edge is not asked first */
}

/* The edge often takes longer than the deadline leaves; the kept answer is handed over before it,
 * so that neither its quantile nor its misses say otherwise. */
static void test_quantile_of_a_cascade(void **state)
{
    const double handover_ms = LIMIT_HANDOVER_US / 1000.0;
    struct decide_input input = input_make();
    struct choice choice;
    const struct candidate *cascade = &choice.candidates[2];

    (void)state;
    edges[0].latency = (struct latency){20, 1400};
    input.deadline_ns = 0;
    assert_int_equal(decide(&input, &choice), 0);
    assert_string_equal(cascade->route, "cascade");
    assert_true(cascade->latency.p95_ms == 1406); /* 6 + 1400 */
    input = input_make();                         /* 1000 ms are left */
    edges[0].latency = (struct latency){20, 1400};
    assert_int_equal(decide(&input, &choice), 0);
    assert_true(cascade->latency.p95_ms == 1000 - handover_ms);
    assert_true(cascade->miss_probability < 1e-6);
    input.local.p95_ms = 1100; /* the local answer itself comes later */
    assert_int_equal(decide(&input, &choice), 0);
    assert_true(cascade->latency.p95_ms == 1100);
    edges[0].latency.p95_ms = 30; /* and what is sooner stays */
    input.local.p95_ms = 6;
    assert_int_equal(decide(&input, &choice), 0);
    assert_true(cascade->latency.p95_ms <= 36);
}

static void test_insurance_plan(void **state)
{
    struct decide_input input = input_make();
    const struct decide_insured other = {
        2 * NS_PER_S - 15 * NS_PER_MS, 2 * NS_PER_S, 15 * NS_PER_MS, 0, 0, false};
    struct choice choice;

    (void)state;
    input.local.mean_ms = input.local.p95_ms = 500; /* so that the edge is chosen, insured */
    assert_string_equal(reason_of(&input, 0, &choice), "edge is accurate and in time");
    assert_int_equal(choice.plan.route, JOB_EDGE);
    assert_true(choice.plan.insure_at_ns >=
                NS_PER_S + 30 * NS_PER_MS); /* when the edge had its time, */
    assert_true(choice.plan.insure_at_ns < NS_PER_S + 100 * NS_PER_MS);
    assert_false(choice.plan.race);
    edges[0].latency.p95_ms = 5000;
    edges[0].latency.mean_ms = 100;
    input.weights.one_error_ms *= 100; /* its answer is worth a long wait: */
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.plan.insure_at_ns,
                     2 * NS_PER_S - 10 * NS_PER_MS); /* the last moment at the latest */
    input.insured = &other;
    input.insured_count = 1;
    assert_string_equal(reason_of(&input, 0, &choice), "edge is accurate and in time");
    assert_int_equal(choice.reserve, RESERVE_RACED);
    assert_true(choice.plan.race); /* not later, but now there is room */
}

/* A slow estimate is looked at anew, with this device as the net under it, and never without. */
static void test_retry(void **state)
{
    struct decide_input input = input_make();
    struct choice choice;

    (void)state;
    edges[0].latency = (struct latency){2000, 3000};
    edges[0].best_ms = 10;
    assert_string_equal(reason_of(&input, 0, &choice), "edge would miss the deadline");
    assert_int_equal(choice.plan.route, JOB_LOCAL);
    edges[0].retry_due = true;
    input.local.mean_ms = input.local.p95_ms = 100; /* so that a fast edge alone would be best */
    assert_string_equal(reason_of(&input, 0, &choice), "edge is asked again to learn its latency");
    assert_int_equal(choice.plan.route, JOB_EDGE);
    assert_int_equal(choice.edge, 0);
    assert_int_equal(choice.plan.insure_at_ns, 2 * NS_PER_S - 10 * NS_PER_MS);
    assert_true(choice.candidates[choice.chosen].latency.mean_ms == 2000); /* what is believed */
    input.local_bound_ms = 1200; /* no time for a local run after it */
    assert_string_equal(reason_of(&input, 0, &choice), "edge would miss the deadline");
    input.local_bound_ms = 10;
    input.deadline_ns = 0;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.plan.route, JOB_LOCAL);
    input.deadline_ns = 2 * NS_PER_S;
    edges[0].best_ms = 1900; /* not even the best would do */
    assert_string_equal(reason_of(&input, 0, &choice), "edge would miss the deadline");
}

/* An edge that owes a reply gets nothing more but what has no other way. */
static void test_silent_edge(void **state)
{
    struct decide_input input = input_make();
    struct choice choice;

    (void)state;
    edges[0].silent = true;
    assert_string_equal(reason_of(&input, 0, &choice), "edge does not answer");
    assert_int_equal(choice.plan.route, JOB_LOCAL);
    input.forced = FORCED_EDGE;
    assert_string_equal(reason_of(&input, 0, &choice), "forced by caller");
    assert_int_equal(choice.plan.route, JOB_EDGE);
    input.forced = FORCED_AUTO;
    input.has_local = input.local_known = false;
    assert_string_equal(reason_of(&input, 0, &choice), "no local model");
    assert_int_equal(choice.plan.route, JOB_EDGE);
}

/* Of several edges that cannot be used, the one nearest to it is named, in whatever order. */
static void test_most_useful_trouble(void **state)
{
    struct decide_edge two[2] = {
        {.name = "den", .unusable = "labels differ: 9 here, 10 there", .trouble = EDGE_MISMATCH},
        {.name = "attic", .unusable = "no edge connected", .trouble = EDGE_DOWN}};
    struct decide_input input = input_make();
    struct choice choice;

    (void)state;
    input.edges = two;
    input.edge_count = 2;
    assert_string_equal(reason_of(&input, 0, &choice), "labels differ: 9 here, 10 there");
    two[1].unusable = two[0].unusable;
    two[1].trouble = EDGE_MISMATCH;
    two[0].unusable = "no edge connected";
    two[0].trouble = EDGE_DOWN;
    assert_string_equal(reason_of(&input, 0, &choice), "labels differ: 9 here, 10 there");
    input.only_edge = "den";
    assert_string_equal(reason_of(&input, 0, &choice), "no edge connected");
}

/* A check is due each so many requests, and costs no more than what was put aside: a share of what
 * requests cost, and one error at most. */
static void test_check_purse(void **state)
{
    struct check_purse purse = {0};
    struct choice choice = {.count = 1, .candidates = {{.cost = 40}}, .weights.one_error_ms = 10};

    (void)state;
    for (unsigned i = 1; i < DECIDE_CHECK_EACH; i++) {
        assert_float_equal(check_purse_take(&purse), 0, 0);
        check_purse_decided(&purse, &choice);
        if (i == 10) {
            assert_float_equal(purse.saved_ms, 10 * 40 * DECIDE_CHECK_SHARE, 1e-9);
        }
    }
    assert_float_equal(check_purse_take(&purse), 10, 1e-9); /* 12, were there no bound */
    choice.check_ms = 7;
    check_purse_decided(&purse, &choice);
    assert_float_equal(purse.saved_ms, 3, 1e-9);
    assert_float_equal(check_purse_take(&purse), 0, 0);
    choice.chosen = choice.count; /* no route: nothing is put aside */
    choice.check_ms = 0;
    check_purse_decided(&purse, &choice);
    assert_float_equal(purse.saved_ms, 3, 1e-9);
}

static bool asks_always(const struct choice *choice)
{
    return choice->plan.route == JOB_CASCADE && choice->plan.threshold == 1 &&
           choice->plan.stay_below == 0;
}

/* Local is believed to be nearly always right; a check asks the edge whatever it says. */
static void test_check(void **state)
{
    struct decide_input input = input_make();
    struct choice choice;

    (void)state;
    for (int i = 0; i < 300; i++) {
        confidence_see(&unsure, 0.99);
        confidence_compare(&unsure, 0.99, true);
    }
    assert_int_equal(decide(&input, &choice), 0);
    assert_false(asks_always(&choice));
    input.check_ms = 200;
    assert_string_equal(reason_of(&input, 0, &choice),
                        "both sides are asked, to see how right local is");
    assert_true(asks_always(&choice));
    assert_false(choice.plan.race); /* the first answer would end it */
    assert_true(choice.check_ms > 1);
    input.check_ms = choice.check_ms * 0.99; /* not enough: it is decided as ever */
    assert_int_equal(decide(&input, &choice), 0);
    assert_false(asks_always(&choice));
    assert_float_equal(choice.check_ms, 0, 0);
    input.check_ms = 200;
    input.forced = FORCED_LOCAL;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.plan.route, JOB_LOCAL);
    input.forced = FORCED_AUTO;
    input.never_leaves = true;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.plan.route, JOB_LOCAL);
    input.never_leaves = false;
    input.energy = (struct decide_energy){5, 1e-6, 1e-6};
    input.energy_limited = true; /* and nothing is left */
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.plan.route, JOB_LOCAL);
    input.energy_limited = false;
    edges[0].latency = (struct latency){400, 500}; /* dearer than an error */
    assert_int_equal(decide(&input, &choice), 0);
    assert_false(asks_always(&choice));
}

/* Where the edge alone answers there is nothing of local's to compare: then it runs, too. */
static void test_check_of_an_edge(void **state)
{
    struct decide_input input = input_make();
    struct choice choice;

    (void)state;
    for (int i = 0; i < 300; i++) {
        confidence_see(&unsure, 0.3);
        confidence_compare(&unsure, 0.3, false);
    }
    input.local = (struct latency){60, 70};
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.plan.route, JOB_EDGE);
    input.check_ms = 200;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.plan.route, JOB_CASCADE);
    assert_true(choice.plan.threshold == 1 && !choice.plan.race);
}

/* An answer that was given before costs no time; it is taken when it is believed to be right often
 * enough, and never where the caller names a route. */
static void test_cached(void **state)
{
    struct decide_cached cached = {0.05, 0.05, false, "the same was answered before"};
    struct decide_input input = input_make();
    struct choice choice;

    (void)state;
    input.cached = &cached;
    assert_string_equal(reason_of(&input, 0, &choice), cached.reason);
    assert_int_equal(choice.plan.route, JOB_CACHE);
    assert_int_equal(choice.edge, -1);
    assert_string_equal(choice.candidates[choice.chosen].route, "cache");
    assert_true(choice.count <= LIMIT_CANDIDATES);
    cached.error_probability = cached.error_weight = 0.9;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_not_equal(choice.plan.route, JOB_CACHE);
    cached.error_probability = cached.error_weight = 0;
    input.forced = FORCED_LOCAL;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.plan.route, JOB_LOCAL);
    input.forced = FORCED_AUTO;
    input.has_local = input.local_known = false;
    input.edge_count = 0; /* nobody else */
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.plan.route, JOB_CACHE);
}

/* What a record may say of a question: the errors of any answer like the kept one. */
static void test_cached_keeps_what_was_believed(void **state)
{
    struct decide_cached cached = {0.6, 6, true, "the same was answered before"};
    struct decide_input input = input_make();
    struct choice before, choice;

    (void)state;
    assert_int_equal(decide(&input, &before), 0);
    input.cached = &cached;
    assert_int_equal(decide(&input, &choice), 0);
    for (size_t i = 0; i < choice.count; i++) {
        const struct candidate *candidate = &choice.candidates[i];
        const bool is_of = candidate->kind == JOB_CACHE || candidate->kind == JOB_LOCAL;

        assert_true(candidate->of_answer == is_of);
        assert_true(!is_of || candidate->any_weight == before.candidates[0].error_weight);
        assert_true(!is_of || candidate->error_weight == 6);
    }
}

/* What the local model said it would say again: running it anew gains nothing. */
static void test_cached_by_local(void **state)
{
    struct decide_cached cached = {0.6, 0.6, true, "the same was answered before"};
    struct decide_input input = input_make();
    struct choice choice;

    (void)state;
    input.cached = &cached;
    input.edge_count = 0;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.plan.route, JOB_CACHE);
    cached.by_local = false;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.plan.route, JOB_LOCAL);
}

/* Nor does a cascade, whose local half would be that answer: the edge alone may be surer. */
static void test_cached_by_local_or_the_edge(void **state)
{
    struct decide_cached cached = {0.6, 0.6, true, "the same was answered before"};
    struct decide_input input = input_make();
    struct choice choice;

    (void)state;
    input.cached = &cached;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.plan.route, JOB_EDGE);
    for (size_t i = 0; i < choice.count; i++) {
        assert_int_not_equal(choice.candidates[i].kind, JOB_CASCADE);
    }
    input.forced = FORCED_CASCADE; /* then the caller wants both */
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.plan.route, JOB_CASCADE);
}

/* With the energy of the hour used up, what costs none goes before what is surer. */
static void test_cached_without_energy(void **state)
{
    struct decide_cached cached = {0.9, 0.9, false, "the same was answered before"};
    struct decide_input input = input_make();
    struct choice choice;

    (void)state;
    input.cached = &cached;
    input.energy = (struct decide_energy){.compute_watt = 10, .joule_per_byte = 1e-6};
    input.local_run_ms = 10;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_not_equal(choice.plan.route, JOB_CACHE);
    input.energy_limited = true; /* and none is left */
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.plan.route, JOB_CACHE);
    assert_int_equal(choice.edge, -1);
    assert_string_equal(choice.reason, "energy budget of this hour is used up");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_check_purse),
                                       cmocka_unit_test(test_check),
                                       cmocka_unit_test(test_check_of_an_edge),
                                       cmocka_unit_test(test_cached),
                                       cmocka_unit_test(test_cached_keeps_what_was_believed),
                                       cmocka_unit_test(test_cached_by_local),
                                       cmocka_unit_test(test_cached_by_local_or_the_edge),
                                       cmocka_unit_test(test_cached_without_energy),
                                       cmocka_unit_test(test_hard_limits),
                                       cmocka_unit_test(test_energy_is_used_up),
                                       cmocka_unit_test(test_energy_of_a_link),
                                       cmocka_unit_test(test_no_hedge_without_energy),
                                       cmocka_unit_test(test_bytes_are_used_up),
                                       cmocka_unit_test(test_trouble),
                                       cmocka_unit_test(test_most_edges),
                                       cmocka_unit_test(test_forced_edge),
                                       cmocka_unit_test(test_late_until),
                                       cmocka_unit_test(test_forced_local_and_cascade),
                                       cmocka_unit_test(test_quantile_of_a_cascade),
                                       cmocka_unit_test(test_choice_by_cost),
                                       cmocka_unit_test(test_insurance_plan),
                                       cmocka_unit_test(test_retry),
                                       cmocka_unit_test(test_silent_edge),
                                       cmocka_unit_test(test_most_useful_trouble)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
