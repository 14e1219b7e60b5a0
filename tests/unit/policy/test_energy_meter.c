/* What computing takes is told from the power of the whole device, noise and all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/policy/energy_meter.h"
#include "common/base/random.h"

#include <math.h>

static void samples_add(struct energy_meter *meter, struct random_source *random, int count,
                        double idle, double compute, double noise)
{
    for (int i = 0; i < count; i++) {
        const double busy = random_unit(random);

        energy_meter_add(meter, busy, idle + compute * busy + noise * (random_unit(random) - 0.5));
    }
}

static void test_slope(void **state)
{
    struct random_source random;
    struct energy_meter meter;

    (void)state;
    random_seed(&random, 4);
    energy_meter_init(&meter);
    assert_true(isnan(meter.compute_watt) && isnan(meter.idle_watt));
    samples_add(&meter, &random, 60, 5, 12, 1);
    assert_true(fabs(meter.compute_watt - 12) < 0.5);
    assert_true(fabs(meter.idle_watt - 5) < 0.5);
    samples_add(&meter, &random, 200, 7, 20, 1); /* another clock, say */
    assert_true(fabs(meter.compute_watt - 20) < 0.5);
    assert_true(fabs(meter.idle_watt - 7) < 0.5);
}

/* A device that is always as busy tells nothing new, and what is known stays. */
static void test_no_variety(void **state)
{
    struct random_source random;
    struct energy_meter meter;
    double before;

    (void)state;
    random_seed(&random, 4);
    energy_meter_init(&meter);
    for (int i = 0; i < 100; i++) {
        energy_meter_add(&meter, 0.5, 9 + i % 2);
    }
    assert_true(isnan(meter.compute_watt));
    energy_meter_init(&meter);
    samples_add(&meter, &random, 60, 5, 12, 0);
    for (int i = 0; i < 400; i++) {
        energy_meter_add(&meter, 0.5, 11);
    }
    before = meter.compute_watt;
    energy_meter_add(&meter, 0.5, 90);
    assert_true(meter.compute_watt == before && fabs(before - 12) < 0.1);
}

/* Computing does not give energy back, whatever noise says. */
static void test_not_negative(void **state)
{
    struct energy_meter meter;

    (void)state;
    energy_meter_init(&meter);
    for (int i = 0; i < 40; i++) {
        energy_meter_add(&meter, i % 2, i % 2 ? 5 : 8);
    }
    assert_true(meter.compute_watt == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_slope),
                                       cmocka_unit_test(test_no_variety),
                                       cmocka_unit_test(test_not_negative)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
