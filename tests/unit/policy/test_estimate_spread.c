/* What is known of how far measurements lie from what was expected. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/policy/estimate_spread.h"
#include "common/base/clock.h"
#include "common/base/random.h"

#include <math.h>

#define START_NS (100 * NS_PER_S)
#define PRIOR    0.5

static double normal(struct random_source *random)
{
    double sum = -6;

    for (int i = 0; i < 12; i++) {
        sum += random_unit(random);
    }
    return sum;
}

static void test_nothing_is_known(void **state)
{
    const struct estimate_spread none = {0};

    (void)state;
    assert_float_equal(estimate_spread_factor(&none, PRIOR, START_NS), exp(1.645 * PRIOR), 1e-9);
}

/* One error that happened to be small does not make what is predicted sure. */
static void test_few_are_not_trusted(void **state)
{
    struct estimate_spread spread = {0};

    (void)state;
    estimate_spread_add(&spread, 10, 10, START_NS);
    assert_true(estimate_spread_factor(&spread, PRIOR, START_NS) > exp(1.645 * 0.6 * PRIOR));
    for (int i = 0; i < 60; i++) {
        estimate_spread_add(&spread, 10, 10, START_NS);
    }
    assert_true(estimate_spread_factor(&spread, PRIOR, START_NS) < exp(1.645 * 0.3 * PRIOR));
}

/* Of log-normal errors, one in twenty exceeds the factor, whatever their size. */
static void test_one_in_twenty_is_over_it(void **state)
{
    static const double sizes[] = {0.05, 0.3, 1};

    (void)state;
    for (size_t at = 0; at < sizeof(sizes) / sizeof(sizes[0]); at++) {
        struct estimate_spread spread = {0};
        struct random_source random;
        int over = 0;

        random_seed(&random, 7);
        for (int i = 0; i < 20000; i++) {
            const double value = 10 * exp(sizes[at] * normal(&random));

            over += i >= 100 && value > 10 * estimate_spread_factor(&spread, sizes[at], START_NS);
            estimate_spread_add(&spread, 10, value, START_NS);
        }
        assert_in_range(over, 0.045 * 19900, 0.075 * 19900); /* its size is estimated, too */
    }
}

/* An edge that gets faster is not less sure for it. */
static void test_better_than_expected(void **state)
{
    struct estimate_spread spread = {0};

    (void)state;
    for (int i = 0; i < 20; i++) {
        estimate_spread_add(&spread, 100, 10, START_NS);
    }
    assert_true(estimate_spread_factor(&spread, PRIOR, START_NS) < exp(1.645 * 0.5 * PRIOR));
}

static void test_age(void **state)
{
    struct estimate_spread spread = {0};

    (void)state;
    for (int i = 0; i < 20; i++) {
        estimate_spread_add(&spread, 10, 10.1, START_NS);
    }
    assert_true(estimate_spread_factor(&spread, PRIOR, START_NS + 600 * NS_PER_S) >
                0.99 * exp(1.645 * PRIOR));
}

static void test_bad_values(void **state)
{
    struct estimate_spread spread = {0};

    (void)state;
    estimate_spread_add(&spread, NAN, 10, START_NS);
    estimate_spread_add(&spread, 10, 0, START_NS);
    estimate_spread_add(&spread, 0, 10, START_NS);
    estimate_spread_add(&spread, -10, 10, START_NS);
    assert_true(spread.weight == 0);
    estimate_spread_add(&spread, 1, 1e30, START_NS);
    assert_float_equal(spread.squares, 2 * ESTIMATE_SPREAD_ERROR_MAX * ESTIMATE_SPREAD_ERROR_MAX,
                       1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nothing_is_known),
                                       cmocka_unit_test(test_few_are_not_trusted),
                                       cmocka_unit_test(test_one_in_twenty_is_over_it),
                                       cmocka_unit_test(test_better_than_expected),
                                       cmocka_unit_test(test_age),
                                       cmocka_unit_test(test_bad_values)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
