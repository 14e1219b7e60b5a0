/* From raw confidence to probability: the line between the points, its ends, what is no table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/calibration.h"

#include <math.h>

static void test_apply(void **state)
{
    struct calibration calibration;

    (void)state;
    calibration_init(&calibration);
    assert_true(calibration_is_sound(&calibration));
    assert_true(calibration_apply(&calibration, 0.37) == 0.37);
    calibration.count = 3;
    calibration.x[0] = 0.25;
    calibration.x[1] = 0.5;
    calibration.x[2] = 0.75;
    calibration.y[0] = 0.125;
    calibration.y[1] = 0.125;
    calibration.y[2] = 1;
    assert_true(calibration_is_sound(&calibration));
    assert_true(calibration_apply(&calibration, 0) == 0.125);
    assert_true(calibration_apply(&calibration, 0.375) == 0.125);
    assert_true(calibration_apply(&calibration, 0.625) == 0.5625);
    assert_true(calibration_apply(&calibration, 0.75) == 1);
    assert_true(calibration_apply(&calibration, 1) == 1);
    calibration.count = 1;
    assert_true(calibration_apply(&calibration, 0.9) == 0.125);
}

static void test_refused(void **state)
{
    struct calibration sound, bad;

    (void)state;
    calibration_init(&sound);
    for (size_t i = 0; i < LIMIT_CALIBRATION_POINTS; i++) {
        sound.x[i] = sound.y[i] = (double)i / LIMIT_CALIBRATION_POINTS;
    }
    sound.count = LIMIT_CALIBRATION_POINTS;
    assert_true(calibration_is_sound(&sound));
    bad = sound;
    bad.count = LIMIT_CALIBRATION_POINTS + 1;
    assert_false(calibration_is_sound(&bad));
    for (int how = 0; how < 7; how++) {
        bad = sound;
        switch (how) {
        case 0:
            bad.x[3] = bad.x[2];
            break;
        case 1:
            bad.y[3] = bad.y[2] - 0.01;
            break;
        case 2:
            bad.y[3] = NAN;
            break;
        case 3:
            bad.x[LIMIT_CALIBRATION_POINTS - 1] = 1.5;
            break;
        case 4:
            bad.y[0] = -0.1;
            break;
        case 5:
            bad.temperature = CALIBRATION_TEMPERATURE_MIN / 2;
            break;
        default:
            bad.temperature = NAN;
            break;
        }
        assert_false(calibration_is_sound(&bad));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_apply),
                                       cmocka_unit_test(test_refused)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
