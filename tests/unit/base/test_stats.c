#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/base/stats.h"

#include <math.h>
#include <stdlib.h>

static void assert_near(double value, double expected)
{
    assert_true(fabs(value - expected) < 1e-9);
}

static void test_ewma(void **state)
{
    struct ewma ewma;

    (void)state;
    ewma_init(&ewma, 0.5);
    ewma_add(&ewma, 10);
    assert_near(ewma.mean, 10);
    assert_near(ewma.deviation, 0);
    ewma_add(&ewma, 20);
    assert_near(ewma.mean, 15);
    assert_near(ewma.deviation, 5);
    ewma_add(&ewma, 15);
    assert_near(ewma.mean, 15);
    assert_near(ewma.deviation, 2.5);
    assert_int_equal(ewma.count, 3);
}

static void test_ewma_ignores_what_is_no_number(void **state)
{
    struct ewma ewma;

    (void)state;
    ewma_init(&ewma, 0.1);
    ewma_add(&ewma, NAN);
    ewma_add(&ewma, INFINITY);
    assert_int_equal(ewma.count, 0);
    ewma_add(&ewma, 3);
    ewma_add(&ewma, NAN);
    assert_near(ewma.mean, 3);
}

static void test_window_slides(void **state)
{
    struct quantile_window window;

    (void)state;
    quantile_window_init(&window, 4);
    assert_true(isnan(quantile_window_get(&window, 0.5)));
    assert_true(isnan(quantile_window_share_above(&window, 0)));
    for (int i = 1; i <= 6; i++) {
        quantile_window_add(&window, i); /* 3 4 5 6 stay */
    }
    assert_int_equal(window.count, 4);
    assert_near(quantile_window_get(&window, 0), 3);
    assert_near(quantile_window_get(&window, 0.5), 4);
    assert_near(quantile_window_get(&window, 0.75), 5);
    assert_near(quantile_window_get(&window, 0.76), 6);
    assert_near(quantile_window_get(&window, 1), 6);
    assert_near(quantile_window_share_above(&window, 4), 0.5);
}

static void test_window_full_size(void **state)
{
    struct quantile_window window;

    (void)state;
    quantile_window_init(&window, QUANTILE_WINDOW_MAX);
    for (int i = 0; i < QUANTILE_WINDOW_MAX + 10; i++) {
        quantile_window_add(&window, i);
    }
    assert_int_equal(window.count, QUANTILE_WINDOW_MAX);
    assert_near(quantile_window_get(&window, 0), 10);
}

static void test_nearest_rank(void **state)
{
    double samples[20];

    (void)state;
    for (int i = 0; i < 20; i++) {
        samples[i] = 20 - i;
    }
    assert_near(quantile_of(samples, 20, 0.95), 19);
    assert_near(quantile_of(samples, 20, 0.951), 20);
    assert_near(quantile_of(samples, 20, 0.05), 1);
    assert_near(quantile_of(samples, 1, 0.5), 1);
    assert_true(isnan(quantile_of(samples, 0, 0.5)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ewma),          cmocka_unit_test(test_ewma_ignores_what_is_no_number),
        cmocka_unit_test(test_window_slides), cmocka_unit_test(test_window_full_size),
        cmocka_unit_test(test_nearest_rank),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
