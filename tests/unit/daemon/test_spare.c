/* When a second connection is tried, and how long an attempt may take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/daemon/spare.h"
#include "common/base/clock.h"
#include "common/base/limits.h"

#include <math.h>

static void test_patience(void **state)
{
    struct spare spare = {0};
    int64_t now_ns = 100 * NS_PER_S;

    (void)state;
    assert_int_equal(spare_patience_ns(&spare, 200, now_ns), (200 + SPARE_AFTER_MS) * NS_PER_MS);
    /* It never outlasts the connection. */
    assert_int_equal(spare_patience_ns(&spare, 1e6, now_ns), LIMIT_IDLE_MS * NS_PER_MS);
    for (int i = 1; i <= SPARE_DOUBLINGS + 2; i++) {
        const int doublings = i < SPARE_DOUBLINGS ? i : SPARE_DOUBLINGS;

        spare_took_over(&spare, now_ns);
        now_ns += NS_PER_S;
        assert_int_equal(spare_patience_ns(&spare, 100, now_ns),
                         (100 + (SPARE_AFTER_MS << doublings)) * NS_PER_MS);
    }
    now_ns += SPARE_MEMORY_MS * NS_PER_MS; /* long ago */
    assert_int_equal(spare_patience_ns(&spare, 100, now_ns), (100 + SPARE_AFTER_MS) * NS_PER_MS);
    spare_took_over(&spare, now_ns); /* and it counts from one again */
    assert_int_equal(spare_patience_ns(&spare, 100, now_ns),
                     (100 + 2 * SPARE_AFTER_MS) * NS_PER_MS);
}

static void test_attempt(void **state)
{
    (void)state;
    assert_int_equal(spare_attempt_ns(NAN), LIMIT_HELLO_MS * NS_PER_MS);
    assert_int_equal(spare_attempt_ns(10), (ATTEMPT_MS + 10 * ATTEMPT_TRIPS) * NS_PER_MS);
    assert_int_equal(spare_attempt_ns(1e6), LIMIT_HELLO_MS * NS_PER_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_patience),
                                       cmocka_unit_test(test_attempt)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
