/* Answers made of boxes: how sure their scores make them, the bin of those that found nothing, and
 * what a cascade does with either. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "client/policy/confidence_boxes.h"
#include "client/policy/decide.h"
#include "common/base/clock.h"

#include <math.h>

static double sure_of(const double *scores, size_t count)
{
    struct confidence_boxes boxes;

    confidence_boxes_init(&boxes);
    for (size_t i = 0; i < count; i++) {
        confidence_boxes_add(&boxes, scores[i]);
    }
    return confidence_boxes_get(&boxes);
}

#define SURE_OF(...)                                                                               \
    sure_of((const double[]){__VA_ARGS__}, sizeof((const double[]){__VA_ARGS__}) / sizeof(double))

static void test_scores(void **state)
{
    (void)state;
    assert_float_equal(SURE_OF(0.9), 0.9, 1e-9);
    assert_float_equal(SURE_OF(0.3), 0.7, 1e-9); /* likely not there, and it says so */
    assert_float_equal(SURE_OF(0.9, 0.8, 0.3), 0.504, 1e-6);
    assert_float_equal(SURE_OF(1, 1, 1), 1, 0);
    /* their mean would be 0.95 */
    assert_true(SURE_OF(0.99, 0.99, 0.99, 0.99, 0.99, 0.99, 0.99, 0.99, 0.99, 0.55) < 0.55);
    assert_float_equal(SURE_OF(0.9, 0.09, 0.05, 0), 0.9, 1e-9); /* noise */
    assert_float_equal(SURE_OF(0.9, CONFIDENCE_BOXES_LEAST), 0.81, 1e-6);
    assert_float_equal(SURE_OF(0.9, NAN), 0.45, 1e-9);
    assert_float_equal(SURE_OF(1.5), 1, 0); /* rounding */
}

static void test_nothing_is_found(void **state)
{
    (void)state;
    assert_true(sure_of(NULL, 0) == CONFIDENCE_NOTHING);
    assert_true(SURE_OF(0.09, 0.05, 0, -1) == CONFIDENCE_NOTHING);
    assert_true(SURE_OF(0.09, 0.2) != CONFIDENCE_NOTHING);
}

static struct confidence boxes_make(void)
{
    struct confidence confidence;

    confidence_init(&confidence);
    confidence.nothing = true;
    return confidence;
}

static void compare(struct confidence *confidence, double sure, int agreed, int wrong)
{
    for (int i = 0; i < agreed + wrong; i++) {
        confidence_see(confidence, sure);
        confidence_compare(confidence, sure, i < agreed);
    }
}

static void test_places(void **state)
{
    struct confidence confidence = boxes_make();

    (void)state;
    assert_true(confidence_place(&confidence, CONFIDENCE_NOTHING) == 0);
    assert_true(confidence_at_place(&confidence, 0) == CONFIDENCE_NOTHING);
    assert_true(confidence_at_place(&confidence, 1.0 / CONFIDENCE_BINS) == 0);
    for (double sure = 0; sure <= 1; sure += 0.125) {
        assert_float_equal(confidence_at_place(&confidence, confidence_place(&confidence, sure)),
                           sure, 1e-9);
    }
    confidence_see(&confidence, CONFIDENCE_NOTHING);
    confidence_see(&confidence, 0);
    confidence_see(&confidence, 0.1);
    confidence_see(&confidence, 0.12);
    confidence_see(&confidence, 1);
    assert_int_equal(confidence.seen[0], 1);
    assert_int_equal(confidence.seen[1], 2);
    assert_int_equal(confidence.seen[2], 1);
    assert_int_equal(confidence.seen[CONFIDENCE_BINS - 1], 1);
}

/* An even chance that weighs two, (1 + wrong) / (2 + compared): after eight of eight 0.1. */
static void test_nothing_learns_for_itself(void **state)
{
    struct confidence confidence = boxes_make();
    const double low = confidence_error(&confidence, 0.05),
                 high = confidence_error(&confidence, 0.95);

    (void)state;
    assert_float_equal(confidence_error(&confidence, CONFIDENCE_NOTHING), 0.5, 1e-9);
    assert_float_equal(low, (float)(1 - 0.5 / 9), 1e-6); /* calibrated, nine bins share 0..1 */
    compare(&confidence, CONFIDENCE_NOTHING, 8, 0);
    assert_float_equal(confidence_error(&confidence, CONFIDENCE_NOTHING), 0.1, 1e-9);
    assert_float_equal(confidence_error(&confidence, 0.05), low, 0);
    assert_float_equal(confidence_error(&confidence, 0.95), high, 0);
    compare(&confidence, 0.95, 0, 100); /* the surest are all wrong: the others are no better */
    assert_true(confidence_error(&confidence, 0.95) > 0.5);
    assert_float_equal(confidence_error(&confidence, CONFIDENCE_NOTHING), 0.1, 1e-9);
    confidence_tell(&confidence, CONFIDENCE_NOTHING, false); /* the truth: 10 of agreement, one */
    assert_float_equal(confidence_error(&confidence, CONFIDENCE_NOTHING), (float)(2.0 / 11), 1e-6);
    confidence_untell(&confidence, CONFIDENCE_NOTHING, false);
    assert_float_equal(confidence_error(&confidence, CONFIDENCE_NOTHING), 0.1, 1e-9);
}

/* That nothing was found and was right bounds no error of what was found, nor the other way. */
static void test_bounds_are_apart(void **state)
{
    struct confidence confidence = boxes_make();
    struct confidence_bin before[CONFIDENCE_BINS], bins[CONFIDENCE_BINS];
    double share = 0;

    (void)state;
    confidence_bins(&confidence, before);
    compare(&confidence, CONFIDENCE_NOTHING, 1000, 0);
    confidence_bins(&confidence, bins);
    assert_true(bins[0].error < 0.002 && bins[0].error_bound < 0.01);
    assert_true(bins[0].error_bound > bins[0].error);
    assert_true(bins[0].claimed_error == bins[0].error); /* it says nothing of itself */
    for (size_t i = 1; i < CONFIDENCE_BINS; i++) {
        assert_float_equal(bins[i].error, before[i].error, 0);
        assert_true(bins[i].error_bound >= before[i].error_bound);
    }
    for (size_t i = 0; i < CONFIDENCE_BINS; i++) {
        share += bins[i].share;
    }
    assert_float_equal(share, 1, 1e-6);
    assert_true(bins[0].share > 0.99);
    confidence = boxes_make();
    compare(&confidence, 0.05, 10000, 0); /* everything that was found was right */
    confidence_bins(&confidence, bins);
    assert_true(bins[9].error_bound < 0.01);
    assert_true(bins[0].error_bound >= 0.5);
}

/* ---- what a cascade does ---- */

static struct choice choose(const struct confidence *confidence, enum decide_forced forced)
{
    static const struct decide_edge edge = {
        .name = "den", .latency_known = true, .latency = {40, 44}};
    const struct decide_input input = {.weights = {.one_miss_ms = 1000, .one_error_ms = 400},
                                       .forced = forced,
                                       .has_local = true,
                                       .local_known = true,
                                       .local = {5, 5},
                                       .local_bound_ms = 10,
                                       .edges = &edge,
                                       .edge_count = 1,
                                       .threshold = 0.8,
                                       .confidence = confidence,
                                       .edge_error = 0.02,
                                       .now_ns = NS_PER_S};
    struct choice choice;

    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.plan.route, JOB_CASCADE);
    return choice;
}

static void stays_check(const struct choice *choice, double sure, bool stays)
{
    assert_int_equal(job_is_sure(&choice->plan, sure), stays);
}

/* An edge's answer costs 40 ms, an error 400: what is wrong more often than one time of ten asks.
 * Half of the answers find nothing. */
static void test_nothing_asks_until_it_is_known_to_be_right(void **state)
{
    struct confidence confidence = boxes_make();
    struct choice choice;

    (void)state;
    compare(&confidence, 0.97, 40, 0);
    compare(&confidence, 0.5, 20, 20);
    choice = choose(&confidence, FORCED_AUTO);
    stays_check(&choice, CONFIDENCE_NOTHING, false);
    stays_check(&choice, 0.5, false);
    stays_check(&choice, 0.97, true);
    assert_string_equal(choice.reason, "local first, edge if not sure or nothing is found");
    compare(&confidence, CONFIDENCE_NOTHING, 80, 0);
    choice = choose(&confidence, FORCED_AUTO);
    stays_check(&choice, CONFIDENCE_NOTHING, true);
    stays_check(&choice, 0, false); /* it did find something */
    stays_check(&choice, 0.5, false);
    stays_check(&choice, 0.97, true);
    assert_string_equal(choice.reason, "local first, edge if not sure");
    compare(&confidence, CONFIDENCE_NOTHING, 0, 40); /* the lens is dirty */
    choice = choose(&confidence, FORCED_AUTO);
    stays_check(&choice, CONFIDENCE_NOTHING, false);
    stays_check(&choice, 0.97, true);
}

/* Where whatever is found is right, only what found nothing asks. */
static void test_only_nothing_asks(void **state)
{
    struct confidence confidence = boxes_make();
    struct choice choice;

    (void)state;
    compare(&confidence, 0.05, 3000, 0);
    compare(&confidence, CONFIDENCE_NOTHING, 300, 300);
    choice = choose(&confidence, FORCED_AUTO);
    stays_check(&choice, CONFIDENCE_NOTHING, false);
    stays_check(&choice, 0, true);
    stays_check(&choice, 0.9, true);
}

/* A threshold that was given is one of how often answers are right: of what found nothing as it was
 * learned. */
static void test_given_threshold(void **state)
{
    struct confidence confidence = boxes_make();
    struct choice choice = choose(&confidence, FORCED_CASCADE);

    (void)state;
    stays_check(&choice, 0.79, false);
    stays_check(&choice, 0.81, true);
    stays_check(&choice, CONFIDENCE_NOTHING, false);
    compare(&confidence, CONFIDENCE_NOTHING, 2, 0); /* 1 of 4 */
    choice = choose(&confidence, FORCED_CASCADE);
    stays_check(&choice, CONFIDENCE_NOTHING, false);
    compare(&confidence, CONFIDENCE_NOTHING, 2, 0); /* 1 of 6 */
    choice = choose(&confidence, FORCED_CASCADE);
    stays_check(&choice, CONFIDENCE_NOTHING, true);
    stays_check(&choice, 0.79, false);
    stays_check(&choice, 0, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_nothing_is_found),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_nothing_learns_for_itself),
        cmocka_unit_test(test_bounds_are_apart),
        cmocka_unit_test(test_nothing_asks_until_it_is_known_to_be_right),
        cmocka_unit_test(test_only_nothing_asks),
        cmocka_unit_test(test_given_threshold)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
