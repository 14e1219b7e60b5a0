/* How sure a text is: the product of its tokens, by the model's table, and never up again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "client/policy/confidence_text.h"
#include "common/base/random.h"

#include <math.h>

static void test_product(void **state)
{
    struct confidence_text text;
    struct calibration as_it_is, table;

    (void)state;
    calibration_init(&as_it_is);
    calibration_init(&table);
    table.count = 2;
    table.x[0] = 0;
    table.x[1] = 1;
    table.y[0] = 0.1;
    table.y[1] = 0.9;
    confidence_text_init(&text);
    assert_true(confidence_text_get(&text, &as_it_is) == 1);
    assert_true(fabs(confidence_text_get(&text, &table) - 0.9) < 1e-12);
    confidence_text_add(&text, log(0.5));
    confidence_text_add(&text, 1e-7); /* a probability of 1, rounded */
    confidence_text_add(&text, log(0.5));
    assert_int_equal(text.tokens, 3);
    assert_true(fabs(confidence_text_get(&text, &as_it_is) - 0.25) < 1e-12);
    assert_true(fabs(confidence_text_get(&text, &table) - 0.3) < 1e-12);
    confidence_text_add(&text, -INFINITY);
    assert_true(confidence_text_get(&text, &as_it_is) == 0);
    assert_true(fabs(confidence_text_get(&text, &table) - 0.1) < 1e-12);
}

static void test_never_up(void **state)
{
    struct random_source random;
    struct calibration table;

    (void)state;
    calibration_init(&table);
    table.count = LIMIT_CALIBRATION_POINTS;
    random_seed(&random, 11);
    for (int round = 0; round < 1000; round++) {
        struct confidence_text text;
        double last;

        for (size_t i = 0; i < table.count; i++) {
            table.x[i] = ((double)i + random_unit(&random) * 0.9) / (double)table.count;
            table.y[i] = fmin((i ? table.y[i - 1] : 0) + random_unit(&random) * 0.1, 1);
        }
        assert_true(calibration_is_sound(&table));
        confidence_text_init(&text);
        last = confidence_text_get(&text, &table);
        for (int token = 0; token < 50; token++) {
            confidence_text_add(&text, log(1 - 0.3 * random_unit(&random)));
            assert_true(confidence_text_get(&text, &table) <= last);
            last = confidence_text_get(&text, &table);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_product),
                                       cmocka_unit_test(test_never_up)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
