/* Samples that age: their means, their quantiles, and what is no sample. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/policy/estimate_samples.h"
#include "common/base/clock.h"

#include <math.h>

#define NOW_NS (100 * NS_PER_S)

/* A number that is none would stay for ever. */
static void test_no_number(void **state)
{
    struct estimate_samples samples = {0};

    (void)state;
    estimate_samples_add(&samples, NAN, NOW_NS);
    estimate_samples_add(&samples, INFINITY, NOW_NS);
    assert_int_equal(samples.count, 0);
    assert_true(isnan(estimate_samples_mean(&samples, NAN, NOW_NS)));
    assert_true(isnan(estimate_samples_geometric(&samples, NOW_NS)));
    assert_true(isnan(estimate_samples_quantile(&samples, 0.5, NAN, NOW_NS)));
    assert_true(estimate_samples_mean(&samples, 7, NOW_NS) == 7);
    assert_true(estimate_samples_quantile(&samples, 0.5, 7, NOW_NS) == 7);
}

/* Of rates, which differ by factors, one that is a hundred times as high moves the mean by ten. */
static void test_geometric(void **state)
{
    struct estimate_samples samples = {0};
    double geometric;

    (void)state;
    for (int i = 0; i < 64; i++) {
        estimate_samples_add(&samples, i % 2 ? 100 : 1, NOW_NS);
    }
    geometric = estimate_samples_geometric(&samples, NOW_NS);
    assert_true(geometric > 3 && geometric < 30);
    assert_true(estimate_samples_mean(&samples, NAN, NOW_NS) > 30);
}

/* As many are under it as it says: not the largest, and not the usual one. */
static void test_quantile(void **state)
{
    struct estimate_samples samples = {0};

    (void)state;
    for (int i = 0; i < ESTIMATE_SAMPLES; i++) {
        estimate_samples_add(&samples, i % 8 == 3 ? 50 : i % 8 == 5 ? 20 : 10, NOW_NS);
    }
    assert_true(estimate_samples_quantile(&samples, 0.5, NAN, NOW_NS) == 10);
    assert_true(estimate_samples_quantile(&samples, 0.8, NAN, NOW_NS) == 20);
    assert_true(estimate_samples_quantile(&samples, 0.99, NAN, NOW_NS) == 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_number),
                                       cmocka_unit_test(test_geometric),
                                       cmocka_unit_test(test_quantile)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
