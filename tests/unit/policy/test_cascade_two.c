/* Two thresholds for two errors that cost unequally: the closed forms, what is learned, and what it
 * saves over one threshold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "client/policy/cascade.h"
#include "client/policy/decide.h"
#include "common/base/clock.h"
#include "common/base/random.h"

#include <math.h>

#define ONE_ERROR_MS 200.0
#define LOCAL_MS     5.0
#define EDGE_ERROR   0.02 /* of the edge's answers, whatever the input */
#define LEARNED      4000 /* requests that both sides answered */

static const struct cascade_costs costs_of[] = {{1, 1},  {3, 2},   {10, 1}, {1, 10},
                                                {40, 1}, {0.5, 5}, {20, 20}};
static const double prices_ms[] = {2, 8, 20, 50, 100, 190, 400, 3000};
#define COSTS  (sizeof(costs_of) / sizeof(costs_of[0]))
#define PRICES (sizeof(prices_ms) / sizeof(prices_ms[0]))

/* Calibrated scores: most are near 0 or 1, and each is right as often as it says. */
static double score_at(double even)
{
    return 0.5 - 0.5 * cos(3.14159265358979 * even);
}

/* How an edge errs: one time of fifty whatever the input, or where the input is as hard for it. */
enum edge_kind { EDGE_FLAT, EDGE_PEER };
/* The part of the doubtful inputs that a peer knows: then it too is wrong one time of fifty. */
#define PEER_KNOWS (1 - EDGE_ERROR / (0.5 - 1 / 3.14159265358979))

static bool edge_says(enum edge_kind kind, double p, bool truth, struct random_source *random)
{
    if (kind == EDGE_FLAT) {
        return random_unit(random) < EDGE_ERROR ? !truth : truth;
    }
    return random_unit(random) < PEER_KNOWS ? truth : p > 0.5;
}

/* What Tandem has learned of this question; `costs` NULL: it is asked as any other one. `mirror`:
 * the same inputs, and the question is whether it is the other answer. */
static struct confidence learn(const struct cascade_costs *costs, enum edge_kind kind, bool mirror)
{
    struct confidence confidence;
    struct random_source random;

    confidence_init(&confidence);
    confidence.odds = costs ? cascade_two_odds(costs) : 0;
    random_seed(&random, 5);
    for (int i = 0; i < LEARNED; i++) {
        const double p = score_at(random_unit(&random));
        const bool truth = random_unit(&random) < p;
        const bool edge = edge_says(kind, p, truth, &random);
        const double sure = costs ? (mirror ? 1 - p : p) : fmax(p, 1 - p);

        confidence_see(&confidence, sure);
        confidence_compare(&confidence, sure, costs ? edge != mirror : edge == (p > 0.5));
    }
    return confidence;
}

static struct choice choose(const struct confidence *confidence, const struct cascade_costs *costs,
                            double edge_ms)
{
    const struct decide_edge edge = {
        .name = "den", .latency_known = true, .latency = {edge_ms, edge_ms * 1.1}};
    const struct decide_input input = {
        .weights = {.one_miss_ms = 1000, .one_error_ms = ONE_ERROR_MS},
        .has_local = true,
        .local_known = true,
        .local = {LOCAL_MS, LOCAL_MS},
        .local_bound_ms = 10,
        .edges = &edge,
        .edge_count = 1,
        .threshold = 0.8,
        .confidence = confidence,
        .costs = costs,
        .edge_error = EDGE_ERROR,
        .now_ns = NS_PER_S};
    struct choice choice;

    assert_int_equal(decide(&input, &choice), 0);
    return choice;
}

static double answer_cost(const struct cascade_costs *costs, bool yes, double p)
{
    return ONE_ERROR_MS * (yes ? (1 - p) * costs->false_positive : p * costs->false_negative);
}

static double edge_cost(const struct cascade_costs *costs, enum edge_kind kind, double p)
{
    return kind == EDGE_FLAT
               ? EDGE_ERROR * (answer_cost(costs, true, p) + answer_cost(costs, false, p))
               : (1 - PEER_KNOWS) * answer_cost(costs, cascade_two_is_yes(costs, p), p);
}

/* The true expected cost of one plan over all scores, in ms a request. `two`: the label and the
 * thresholds are of p and its costs, else of the likeliest label and how sure it is. */
static double total_of(const struct job_plan *plan, const struct cascade_costs *costs, bool two,
                       enum edge_kind kind, double edge_ms)
{
    const int steps = 4000;
    double sum = 0;

    for (int i = 0; i < steps; i++) {
        const double p = score_at((i + 0.5) / steps);
        const bool yes = two ? cascade_two_is_yes(costs, p) : p > 0.5;
        const double sure = two ? p : fmax(p, 1 - p);
        const bool asks =
            plan->route == JOB_EDGE || (plan->route == JOB_CASCADE && !job_is_sure(plan, sure));

        sum += (plan->route == JOB_EDGE ? 0 : LOCAL_MS) + (asks ? edge_ms : 0) +
               (asks ? edge_cost(costs, kind, p) : answer_cost(costs, yes, p));
    }
    return sum / steps;
}

/* With calibrated scores, whatever the costs and the price: never above what one threshold costs,
 * and well below where the errors differ. */
static void test_saves(void **state)
{
    (void)state;
    for (size_t i = 0; i < COSTS; i++) {
        const struct cascade_costs *costs = &costs_of[i];
        const struct confidence two = learn(costs, EDGE_FLAT, false),
                                one = learn(NULL, EDGE_FLAT, false);
        double sum_two = 0, sum_one = 0;

        for (size_t price = 0; price < PRICES; price++) {
            const double edge_ms = prices_ms[price];
            const struct choice as_two = choose(&two, costs, edge_ms);
            const struct choice as_one = choose(&one, NULL, edge_ms);
            const double cost_two = total_of(&as_two.plan, costs, true, EDGE_FLAT, edge_ms);
            const double cost_one = total_of(&as_one.plan, costs, false, EDGE_FLAT, edge_ms);

            assert_true(cost_two < cost_one + 1e-9);
            sum_two += cost_two;
            sum_one += cost_one;
        }
        if (costs->false_negative > 5 * costs->false_positive ||
            costs->false_positive > 5 * costs->false_negative) {
            assert_true(sum_two < 0.6 * sum_one);
        }
    }
}

/* Against the best that any two thresholds, or either side alone, could have done. */
static double hindsight(const struct cascade_costs *costs, double edge_ms)
{
    struct job_plan plan = {.route = JOB_EDGE};
    double best = total_of(&plan, costs, true, EDGE_PEER, edge_ms);

    plan.route = JOB_CASCADE;
    for (int low = 0; low <= 20; low++) {
        for (int high = 0; high <= 20; high++) {
            const struct confidence at = {.odds = cascade_two_odds(costs)};

            plan.stay_below = confidence_at_place(&at, low / 40.0);
            plan.threshold = confidence_at_place(&at, 0.5 + high / 40.0);
            best = fmin(best, total_of(&plan, costs, true, EDGE_PEER, edge_ms));
        }
    }
    return best;
}

static void test_near_the_best(void **state)
{
    (void)state;
    for (size_t i = 0; i < COSTS; i++) {
        const struct confidence two = learn(&costs_of[i], EDGE_PEER, false);
        double sum = 0, best = 0;

        for (size_t price = 0; price < PRICES; price++) {
            const struct choice choice = choose(&two, &costs_of[i], prices_ms[price]);

            sum += total_of(&choice.plan, &costs_of[i], true, EDGE_PEER, prices_ms[price]);
            best += hindsight(&costs_of[i], prices_ms[price]);
        }
        assert_true(sum < 1.03 * best);
    }
}

/* An edge that is always right, calibrated scores: p < beta / c_FN stays, p > 1 - beta / c_FP
 * stays, to the width of a bin; where the two cross, nothing is asked. */
static void test_closed_form(void **state)
{
    static const struct cascade_costs costs = {4, 2};

    (void)state;
    for (double beta = 0.1; beta < 3; beta += 0.2) {
        const struct confidence at = {.odds = cascade_two_odds(&costs)};
        const double low = confidence_place(&at, beta / costs.false_negative);
        const double high = confidence_place(&at, 1 - beta / costs.false_positive);
        struct confidence_bin bins[CONFIDENCE_BINS];
        struct cascade cascade;

        cascade_two_bins(&at, &costs, bins);
        for (size_t bin = 0; bin < CONFIDENCE_BINS; bin++) { /* all is known: no bound above it */
            const double p = confidence_at_place(&at, bins[bin].middle);

            bins[bin].error = bins[bin].error_bound = bin < CASCADE_TWO_BORDER ? p : 1 - p;
        }
        cascade_plan(&(struct cascade_terms){.bins = bins,
                                             .border = CASCADE_TWO_BORDER,
                                             .one_error_ms = 100,
                                             .edge = {.error = 0, .mended_min = 1},
                                             .edge_ms = 100 * beta,
                                             .threshold = NAN,
                                             .in_turn = true},
                     &cascade);
        if (low >= 0.5 && high <= 0.5) {
            assert_true(cascade.below == cascade.threshold);
        } else {
            assert_true(fabs(cascade.below - fmin(low, 0.5)) < 0.1);
            assert_true(fabs(cascade.threshold - fmax(high, 0.5)) < 0.1);
        }
    }
}

/* The truth of some inputs, as often yes as they say. */
static void tell(struct confidence *confidence, bool mirror)
{
    struct random_source random;

    random_seed(&random, 7);
    for (int i = 0; i < LEARNED / 10; i++) {
        const double p = score_at(random_unit(&random));
        const bool truth = random_unit(&random) < p;

        confidence_tell(confidence, mirror ? 1 - p : p, truth != mirror);
    }
}

/* Who asks for the other answer with the costs the other way round is told the same. */
static void test_mirror(void **state)
{
    static const struct cascade_costs costs = {7, 2}, other = {2, 7};
    struct confidence of = learn(&costs, EDGE_PEER, false), mirror = learn(&other, EDGE_PEER, true);

    (void)state;
    tell(&of, false);
    tell(&mirror, true);
    for (size_t price = 0; price < PRICES; price++) {
        const struct choice a = choose(&of, &costs, prices_ms[price]),
                            b = choose(&mirror, &other, prices_ms[price]);

        assert_int_equal(a.plan.route, b.plan.route);
        assert_true(fabs(a.plan.stay_below - (1 - b.plan.threshold)) < 1e-9);
        assert_true(fabs(a.plan.threshold - (1 - b.plan.stay_below)) < 1e-9);
        assert_true(fabs(a.candidates[a.chosen].cost - b.candidates[b.chosen].cost) < 1e-6);
    }
}

/* The answer follows the costs, at their border it is yes; and what stays at either end does so
 * whatever else is sure. */
static void test_answers(void **state)
{
    static const struct cascade_costs costs = {10, 1};
    const struct job_plan plan = {.stay_below = 0.05, .threshold = 0.4};

    (void)state;
    assert_true(cascade_two_is_yes(&costs, 0.3));
    assert_true(cascade_two_is_yes(&costs, 1.0 / 11.0 + 1e-9));
    assert_false(cascade_two_is_yes(&costs, 1.0 / 11.0 - 1e-9));
    assert_true(cascade_two_weight(&costs, true, 0.7) == 0.7);
    assert_true(cascade_two_weight(&costs, false, 0.25) == 2.5);
    assert_true(job_is_sure(&plan, 0.01));
    assert_false(job_is_sure(&plan, 0.05));
    assert_false(job_is_sure(&plan, 0.39));
    assert_true(job_is_sure(&plan, 0.4));
    assert_true(job_is_sure(&plan, NAN));
}

/* Of a forced cascade the task's threshold holds on either side of the border. */
static void test_forced(void **state)
{
    static const struct cascade_costs costs = {10, 1};
    const struct confidence at = {.odds = cascade_two_odds(&costs)};
    const struct decide_edge edge = {.name = "den", .latency_known = true, .latency = {20, 22}};
    struct decide_input input = {.weights = {.one_error_ms = 100},
                                 .forced = FORCED_CASCADE,
                                 .has_local = true,
                                 .local_known = true,
                                 .local = {5, 5},
                                 .local_bound_ms = 10,
                                 .edges = &edge,
                                 .edge_count = 1,
                                 .threshold = 0.8,
                                 .confidence = &at,
                                 .costs = &costs,
                                 .now_ns = NS_PER_S};
    struct choice choice;

    (void)state;
    assert_int_equal(decide(&input, &choice), 0);
    assert_true(fabs(confidence_place(&at, choice.plan.threshold) - 0.8) < 1e-9);
    assert_true(fabs(confidence_place(&at, choice.plan.stay_below) - 0.2) < 1e-9);
    input.threshold = 0.3; /* no answer is that little sure of itself */
    assert_int_equal(decide(&input, &choice), 0);
    assert_true(choice.plan.threshold == choice.plan.stay_below);
}

/* Before anything is seen and after, the shares are of one whole; and an edge's own error costs
 * what the answer that it turns round does: of a place where yes is wrong one time of four, three
 * of four times that of a yes that becomes no. */
static void test_bins(void **state)
{
    static const struct cascade_costs costs = {10, 1};
    struct confidence at = {.odds = cascade_two_odds(&costs)};
    struct confidence_bin bins[CONFIDENCE_BINS];

    (void)state;
    for (int told = 0; told < 2; told++) {
        double shares = 0;

        cascade_two_bins(&at, &costs, bins);
        for (size_t i = 0; i < CONFIDENCE_BINS; i++) {
            shares += bins[i].share;
        }
        assert_true(fabs(shares - 1) < 1e-9);
        for (size_t i = 0; i < CONFIDENCE_BINS; i++) {
            const double yes_right = i < CASCADE_TWO_BORDER ? bins[i].error : 1 - bins[i].error;

            assert_true(fabs(bins[i].any_factor - (yes_right * 10 + (1 - yes_right) * 1)) < 1e-9);
            assert_true(bins[i].doubt <= 0.5 && bins[i].claimed_error <= 0.5);
        }
        at.told[9] = 40000;
        at.right[9] = 30000;
    }
    assert_true(fabs(bins[9].error - 0.25) < 0.01);
    assert_true(fabs(bins[9].any_factor - 7.75) < 0.1);
    assert_true(cascade_two_error(&at, &costs, 1) == bins[9].error);
    assert_true(cascade_two_error(&at, &costs, 0) == bins[0].error);
    assert_true(bins[0].error < 0.2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_saves),       cmocka_unit_test(test_near_the_best),
        cmocka_unit_test(test_closed_form), cmocka_unit_test(test_mirror),
        cmocka_unit_test(test_answers),     cmocka_unit_test(test_forced),
        cmocka_unit_test(test_bins)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
