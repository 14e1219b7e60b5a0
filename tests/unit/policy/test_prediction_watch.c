/* What is said of predictions: shares and errors of the last answers, computed by hand here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/policy/prediction_watch.h"

#include <math.h>

#define NEAR 1e-6

static const struct latency predicted = {.mean_ms = 10, .p95_ms = 20};

static void test_latency(void **state)
{
    static struct prediction_watch watch;
    struct prediction_figures figures = prediction_watch_get(&watch);

    (void)state;
    assert_int_equal(figures.answers, 0);
    assert_true(isnan(figures.within_p95) && isnan(figures.median_error));
    prediction_watch_given_up(&watch, &predicted, 20); /* it might have come in time */
    assert_int_equal(prediction_watch_get(&watch).answers, 0);
    prediction_watch_add(&watch, &predicted, 20);  /* off by 0.5, within */
    prediction_watch_add(&watch, &predicted, 8);   /* by 0.25, within */
    prediction_watch_add(&watch, &predicted, 100); /* by 0.9 */
    figures = prediction_watch_get(&watch);
    assert_int_equal(figures.answers, 3);
    assert_float_equal(figures.within_p95, 2.0 / 3, NEAR);
    assert_float_equal(figures.median_error, 0.5, NEAR);
    prediction_watch_given_up(&watch, &predicted, 21);
    figures = prediction_watch_get(&watch);
    assert_int_equal(figures.answers, 4);
    assert_float_equal(figures.within_p95, 0.5, NEAR);
    assert_float_equal(figures.median_error, 0.5, NEAR); /* what it took is not known */
}

/* What was long ago does not count. */
/* What was given up counts against the promise once it has taken longer than that; it was no answer
 * whose time could be compared. Also of what takes less than a millisecond. */
static void test_given_up(void **state)
{
    static struct prediction_watch watch;
    const struct latency quick = {0.4, 0.5}, none = {0, 0};

    (void)state;
    prediction_watch_given_up(&watch, &quick, 0.5);
    prediction_watch_given_up(&watch, &none, 1);
    assert_int_equal(prediction_watch_get(&watch).answers, 0);
    prediction_watch_add(&watch, &quick, 0.4);
    prediction_watch_given_up(&watch, &quick, 0.8);
    assert_int_equal(prediction_watch_get(&watch).answers, 2);
    assert_float_equal(prediction_watch_get(&watch).within_p95, 0.5, NEAR);
    assert_float_equal(prediction_watch_get(&watch).median_error, 0, NEAR);
    prediction_watch_add(&watch, &none, 1);
    assert_int_equal(prediction_watch_get(&watch).answers, 2);
}

static void test_of_late(void **state)
{
    static struct prediction_watch watch;
    static struct confidence_watch confidence;
    size_t answers;

    (void)state;
    for (int i = 0; i < PREDICTION_WATCH; i++) {
        prediction_watch_add(&watch, &predicted, 100);
        confidence_watch_add(&confidence, (uint64_t)i + 1, 1, false);
    }
    assert_float_equal(prediction_watch_get(&watch).within_p95, 0, NEAR);
    assert_float_equal(confidence_watch_ece(&confidence, &answers), 1, NEAR);
    for (int i = 0; i < PREDICTION_WATCH; i++) {
        prediction_watch_add(&watch, &predicted, 10);
        confidence_watch_add(&confidence, (uint64_t)i + 1000, 1, true);
    }
    assert_int_equal(prediction_watch_get(&watch).answers, PREDICTION_WATCH);
    assert_float_equal(prediction_watch_get(&watch).within_p95, 1, NEAR);
    assert_float_equal(prediction_watch_get(&watch).median_error, 0, NEAR);
    assert_float_equal(confidence_watch_ece(&confidence, &answers), 0, NEAR);
    assert_int_equal(answers, PREDICTION_WATCH);
}

static void test_confidence(void **state)
{
    static struct confidence_watch watch;
    size_t answers = 1;

    (void)state;
    assert_true(isnan(confidence_watch_ece(&watch, &answers)));
    assert_int_equal(answers, 0);
    for (uint64_t id = 1; id <= 10; id++) { /* 8 of 10 at 0.8: as it says */
        confidence_watch_add(&watch, id, 0.85, id <= 8);
    }
    assert_float_equal(confidence_watch_ece(&watch, &answers), 0.05f, 1e-5);
    for (uint64_t id = 11; id <= 20; id++) { /* all of 10 wrong at 0.95 */
        confidence_watch_add(&watch, id, 0.95, false);
    }
    assert_float_equal(confidence_watch_ece(&watch, &answers), (0.05f + 0.95f) / 2, 1e-5);
    assert_int_equal(answers, 20);
    for (uint64_t id = 11; id <= 20; id++) { /* no: right; the last word counts */
        confidence_watch_add(&watch, id, 0.95, true);
    }
    assert_float_equal(confidence_watch_ece(&watch, &answers), 0.05f, 1e-5);
    assert_int_equal(answers, 20);
    for (uint64_t id = 1; id <= 10; id++) {
        confidence_watch_remove(&watch, id);
    }
    assert_float_equal(confidence_watch_ece(&watch, &answers), 0.05f, 1e-5);
    assert_int_equal(answers, 10);
    confidence_watch_remove(&watch, 7);
    confidence_watch_add(&watch, 0, 0.5, true);
    confidence_watch_add(&watch, 30, NAN, true);
    confidence_watch_ece(&watch, &answers);
    assert_int_equal(answers, 10);
    confidence_watch_add(&watch, 30, 1, false); /* in the bin of the ten: 0.5 - 1 */
    confidence_watch_add(&watch, 31, 0, true);
    assert_float_equal(confidence_watch_ece(&watch, &answers), (0.5f + 1) / 12, 1e-5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_latency),
        cmocka_unit_test(test_given_up),
        cmocka_unit_test(test_of_late),
        cmocka_unit_test(test_confidence),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
