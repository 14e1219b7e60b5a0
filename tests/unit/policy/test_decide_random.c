/* decide() with random inputs: it allocates nothing, whatever it is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "client/policy/decide.h"
#include "common/base/error.h"
#include "tests/support/allocations.h"
#include "tests/unit/policy/random_input.h"

#define ROUNDS 20000

static void test_no_allocation(void **state)
{
    static struct random_input made;
    struct random_source random;
    size_t decided = 0, busy = 0, no_route = 0;

    (void)state;
    allocations_check();
    random_seed(&random, 11);
    for (int round = 0; round < ROUNDS; round++) {
        struct choice choice;
        unsigned before;
        int result;

        random_input_make(&random, &made);
        before = atomic_load(&allocations);
        result = decide(&made.input, &choice);
        assert_int_equal(atomic_load(&allocations), before);
        decided += result == 0;
        busy += result == TANDEM_EBUSY;
        no_route += result == TANDEM_ENOROUTE;
    }
    assert_int_equal(decided + busy + no_route, ROUNDS);
    assert_true(decided > ROUNDS / 2 && busy > 0 && no_route > 0); /* each way was gone */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_allocation)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
