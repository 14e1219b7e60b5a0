/* The cascade's plan against numbers that were worked out by hand. */
#include "client/policy/cascade.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static struct confidence_bin bins[CONFIDENCE_BINS];

static bool near(double is, double expected)
{
    return fabs(is - expected) < 1e-9;
}

/* Half of the answers are wrong in the lower bins, a tenth in the sixth, none above. Where local
 * and edge differ, 0.26 of all, the edge mends (0.26 - 0.052) / 0.26 = 0.8 unless it fails, which
 * it does one time of ten: 0.72. It is waited for 0.9 * 40 + 0.1 * 140 = 50 ms. */
static struct cascade_terms terms_make(void)
{
    for (size_t i = 0; i < CONFIDENCE_BINS; i++) {
        const double error = i < 5 ? 0.5 : i == 5 ? 0.1 : 0;

        bins[i] = (struct confidence_bin){.middle = (0.5 + (double)i) / CONFIDENCE_BINS,
                                          .share = 0.1,
                                          .claimed_error = error,
                                          .error = error,
                                          .error_bound = error,
                                          .doubt = error,
                                          .factor = 1,
                                          .any_factor = 1};
    }
    return (struct cascade_terms){.bins = bins,
                                  .one_error_ms = 200,
                                  .edge = {.error = 0.052},
                                  .local_ms = 10,
                                  .edge_ms = 40,
                                  .edge_p95_ms = 140,
                                  .failure = 0.1,
                                  .send_ms = 4,
                                  .threshold = NAN,
                                  .in_turn = true};
}

/* 200 * 0.72 * 0.5 = 72 ms are more than the 54 that asking takes, 14.4 are not. */
static void test_in_turn(void **state)
{
    const struct cascade_terms terms = terms_make();
    struct cascade cascade;

    (void)state;
    cascade_plan(&terms, &cascade);
    assert_false(cascade.at_once);
    assert_true(near(cascade.threshold, 0.5));
    assert_true(near(cascade.below, 0));
    assert_true(near(cascade.asked, 0.5) && near(cascade.sent, 0.5));
    assert_true(near(cascade.latency_ms, 10 + 0.5 * 50));
    assert_true(near(cascade.error.probability, 0.5 * 0.5 * 0.28 + 0.1 * 0.1));
    assert_true(near(cascade.error.weight, cascade.error.probability));
    assert_true(near(cascade.gain_ms, 72));
}

/* What the form of a picture costs in answers is off what asking is worth, as dear as its errors
 * are. */
static void test_errors_of_what_is_sent(void **state)
{
    struct cascade_terms terms = terms_make();
    struct cascade cascade;

    (void)state;
    terms.upload_error = 0.1; /* 72 - 20 < 54 */
    cascade_plan(&terms, &cascade);
    assert_true(near(cascade.threshold, 0) && near(cascade.asked, 0));
    for (size_t i = 0; i < CONFIDENCE_BINS; i++) {
        bins[i].any_factor = 0.5; /* 72 - 10 > 54 */
    }
    assert_true(near(cascade_any_factor(bins), 0.5));
    cascade_plan(&terms, &cascade);
    assert_true(near(cascade.threshold, 0.5));
    assert_true(near(cascade.error.probability, 0.08 + 0.5 * 0.1));
    assert_true(near(cascade.error.weight, 0.08 + 0.5 * 0.1 * 0.5));
}

/* At once, 40 ms of waiting are left, and the bytes go whatever local says. */
static void test_at_once(void **state)
{
    struct cascade_terms terms = terms_make();
    struct cascade cascade;

    (void)state;
    terms.in_turn = false;
    cascade_plan(&terms, &cascade);
    assert_true(cascade.at_once); /* 30 + 16 + 4 < 35 + 16 + 2 */
    assert_true(near(cascade.threshold, 0.5));
    assert_true(near(cascade.asked, 0.5) && near(cascade.sent, 1));
    assert_true(near(cascade.latency_ms, 10 + 0.5 * 40));
    terms.send_ms = 12; /* 30 + 16 + 12 > 35 + 16 + 6 */
    cascade_plan(&terms, &cascade);
    assert_false(cascade.at_once);
}

/* Errors of the lower answers cost three times as much: so does what is gained. */
static void test_factors(void **state)
{
    struct cascade_terms terms = terms_make();
    struct cascade_error local, edge;
    struct cascade cascade;

    (void)state;
    for (size_t i = 0; i < 5; i++) {
        bins[i].factor = 3;
    }
    cascade_plan(&terms, &cascade);
    assert_true(near(cascade.gain_ms, 3 * 72));
    assert_true(near(cascade.error.weight, 3 * 0.07 + 0.01));
    cascade_errors(bins, &terms.edge, &local, &edge);
    assert_true(near(local.probability, 0.26) && near(local.weight, 0.76));
    assert_true(near(edge.probability, 0.2 * 0.26) && near(edge.weight, 0.2 * 0.76));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_turn), cmocka_unit_test(test_errors_of_what_is_sent),
        cmocka_unit_test(test_at_once), cmocka_unit_test(test_factors)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
