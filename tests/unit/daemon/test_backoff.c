/* The pauses grow to a bound, are spread, and begin anew after a success. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/daemon/backoff.h"

static void test_growth(void **state)
{
    static const uint64_t longest[] = {200, 400, 800, 1500, 1500, 1500};
    static const uint64_t refused[] = {1500, 3000, 6000, 12000, 12000};
    struct backoff backoff;

    (void)state;
    backoff_reset(&backoff);
    for (size_t i = 0; i < sizeof(longest) / sizeof(longest[0]); i++) {
        assert_int_equal(backoff_next(&backoff, BACKOFF_MAX_MS, 1), longest[i]);
    }
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) { /* goes on growing */
        assert_int_equal(backoff_next(&backoff, BACKOFF_REFUSED_MAX_MS, 1), refused[i]);
    }
    assert_int_equal(backoff_next(&backoff, BACKOFF_MAX_MS, 1), 1500);
    backoff_reset(&backoff);
    assert_int_equal(backoff_next(&backoff, BACKOFF_MAX_MS, 1), 200);
}

static void test_jitter(void **state)
{
    struct backoff backoff;

    (void)state;
    for (int i = 0; i <= 10; i++) {
        backoff_reset(&backoff);
        assert_int_equal(backoff_next(&backoff, BACKOFF_MAX_MS, i / 10.0), 100 + 10 * i);
        assert_int_equal(backoff_next(&backoff, BACKOFF_MAX_MS, i / 10.0), 200 + 20 * i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_growth),
                                       cmocka_unit_test(test_jitter)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
