/* How wrong a local answer is believed to be, by how sure it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/policy/confidence.h"

#include <math.h>

static void test_prior_is_calibration(void **state)
{
    struct confidence confidence;

    (void)state;
    confidence_init(&confidence);
    for (int bin = 0; bin < CONFIDENCE_BINS; bin++) {
        const double middle = (bin + 0.5) / CONFIDENCE_BINS;
        const double claim = bin == CONFIDENCE_BINS - 1 ? 0.98 : middle; /* most are near 1 */

        assert_float_equal(confidence_error(&confidence, middle), (float)(1 - claim), 1e-6);
    }
}

/* What answers say of themselves, not where their bin lies: three at 0.99 after the first 0.98
 * claim an error of 1 - (0.98 + 2.97) / 4 = 0.0125; all agreed: 10 * 0.0125 / 13. */
static void test_prior_is_what_was_claimed(void **state)
{
    struct confidence confidence;
    struct confidence_bin bins[CONFIDENCE_BINS];

    (void)state;
    confidence_init(&confidence);
    for (int i = 0; i < 3; i++) {
        confidence_compare(&confidence, 0.99, true);
    }
    confidence_bins(&confidence, bins);
    assert_float_equal(bins[9].claimed_error, 0.0125f, 1e-6);
    assert_float_equal(bins[9].error, (float)(10 * 0.0125 / 13), 1e-6);
}

static void test_odd_values_have_a_bin(void **state)
{
    static const double values[] = {-1, -0.0, 0, 1, 1.5, INFINITY, -INFINITY, NAN};
    struct confidence confidence;

    (void)state;
    confidence_init(&confidence);
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        confidence_see(&confidence, values[i]);
        confidence_compare(&confidence, values[i], true);
    }
    assert_int_equal(confidence.seen[0], 5); /* what is not a number is not sure */
    assert_int_equal(confidence.seen[CONFIDENCE_BINS - 1], 3);
    assert_int_equal(confidence.both[0], 5);
}

/* A few answers move the belief, many decide it, and a bin that keeps the order learns for itself.
 */
static void test_bins_learn(void **state)
{
    struct confidence confidence;
    double few, many;

    (void)state;
    confidence_init(&confidence);
    for (int i = 0; i < 5; i++) {
        confidence_compare(&confidence, 0.05, true);
    }
    few = confidence_error(&confidence, 0.07);
    assert_true(few > 0.3 && few < 0.8);
    for (int i = 0; i < 1000; i++) {
        confidence_compare(&confidence, 0.05, false);
        confidence_compare(&confidence, 0.85, true);
    }
    many = confidence_error(&confidence, 0.01);
    assert_true(many > 0.98);
    assert_true(confidence_error(&confidence, 0.89) < 0.02);
    assert_float_equal(confidence_error(&confidence, 0.75), 0.25, 1e-9); /* heard nothing */
}

/* Worked out by hand: the prior of bin b is 1 - (b + 0.5) / 10 (of the last 0.02) with the weight
 * of ten; answers in the middle of their bin leave it. */
static void test_bins_that_rise_are_one(void **state)
{
    struct confidence confidence;
    struct confidence_bin bins[CONFIDENCE_BINS];
    double log_n;

    (void)state;
    confidence_init(&confidence);
    for (int i = 0; i < 15; i++) { /* bin 8: (10 * 0.15 + 10) / 25 = 0.46; bin 7: 0.25 */
        confidence_compare(&confidence, 0.85, i >= 10);
    }
    /* 7 and 8: (2.5 + 11.5) / 35 = 0.4 > 0.35 of 6; with it: (3.5 + 14) / 45 = 0.3889, less than
     * 0.45 of 5. Bin 9 stays at 0.02. */
    confidence_bins(&confidence, bins);
    assert_float_equal(bins[5].error, (float)0.45, 1e-9);
    for (int bin = 6; bin <= 8; bin++) {
        assert_float_equal(bins[bin].error, (float)17.5 / 45, 1e-6);
    }
    assert_float_equal(bins[9].error, (float)0.02, 1e-6);
    assert_float_equal(confidence_error(&confidence, 0.65), (float)17.5 / 45, 1e-6);
    log_n = log(16);
    assert_float_equal(bins[5].error_bound, (float)(0.45 + sqrt(0.01 * 0.45 * 0.55 * log_n / 10)),
                       1e-6);
    assert_float_equal(bins[8].error_bound,
                       (float)(17.5 / 45 + sqrt(0.01 * (17.5 / 45) * (27.5 / 45) * log_n / 45)),
                       1e-6);
}

/* What is known of the less sure holds for the surer: 10000 right answers at 0.45 leave no bin
 * above it, heard of or not, a higher bound. */
static void test_bound_falls_with_confidence(void **state)
{
    struct confidence confidence;
    struct confidence_bin bins[CONFIDENCE_BINS];

    (void)state;
    confidence_init(&confidence);
    for (int i = 0; i < 10000; i++) {
        confidence_compare(&confidence, 0.45, i % 5 != 0); /* one in five wrong */
    }
    confidence_bins(&confidence, bins);
    for (int bin = 1; bin < CONFIDENCE_BINS; bin++) {
        assert_true(bins[bin].error <= bins[bin - 1].error);
        assert_true(bins[bin].error_bound <= bins[bin - 1].error_bound);
        assert_true(bins[bin].error_bound >= bins[bin].error);
    }
    assert_true(bins[7].error_bound < 0.22); /* its own prior: 0.25 and some */
    assert_true(bins[3].error_bound > 0.6);
}

/* Over all answers: the expected error, the share that is less sure than 0.7, and the error of
 * those that are not. */
static void expect(const struct confidence *confidence, double *ret_error, double *ret_below,
                   double *ret_above)
{
    struct confidence_bin bins[CONFIDENCE_BINS];
    double above = 0;

    *ret_error = *ret_below = 0;
    confidence_bins(confidence, bins);
    for (size_t i = 0; i < CONFIDENCE_BINS; i++) {
        *ret_error += bins[i].share * bins[i].error;
        *ret_below += bins[i].middle < 0.7 ? bins[i].share : 0;
        above += bins[i].middle < 0.7 ? 0 : bins[i].share * bins[i].error;
    }
    *ret_above = above / (1 - *ret_below);
}

static void test_expectation_is_an_average(void **state)
{
    struct confidence confidence;
    double error, below, above;

    (void)state;
    confidence_init(&confidence);
    expect(&confidence, &error, &below, &above);
    assert_true(error > 0 && error < 1);
    assert_true(below > 0 && below < 0.7); /* the prior leans to the sure side */
    assert_true(above < error);
    for (int i = 0; i < 3000; i++) {
        confidence_see(&confidence, 0.95);
        confidence_see(&confidence, 0.15);
        confidence_compare(&confidence, 0.95, i % 100 != 0); /* 1 % wrong */
        confidence_compare(&confidence, 0.15, i % 10 == 0);  /* 90 % wrong */
    }
    expect(&confidence, &error, &below, &above);
    assert_float_equal(below, 0.5, 0.02);
    assert_float_equal(above, 0.01, 0.01);
    assert_float_equal(error, (float)(0.01 + 0.9) / 2, 0.02);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prior_is_calibration),
        cmocka_unit_test(test_prior_is_what_was_claimed),
        cmocka_unit_test(test_odd_values_have_a_bin),
        cmocka_unit_test(test_bins_learn),
        cmocka_unit_test(test_bins_that_rise_are_one),
        cmocka_unit_test(test_bound_falls_with_confidence),
        cmocka_unit_test(test_expectation_is_an_average),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
