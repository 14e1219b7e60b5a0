/* Scores by hand, and fits of answers whose truth is known: the temperature, the curve, nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/base/error.h"
#include "common/base/random.h"
#include "common/model/answers.h"
#include "common/model/calibration_choose.h"

#include <math.h>

#define CLASSES 5

static void expect_near(double value, double wanted, double within, const char *what)
{
    if (!(fabs(value - wanted) <= within)) {
        fail_msg("%s: %g, wanted %g within %g", what, value, wanted, within);
    }
}

static void test_scores(void **state)
{
    struct calibration_point points[] = {{0.95, true}, {0.1, false}, {0.5, false}, {0.5, true}};
    struct calibration_point sure[] = {{1, true}, {1, true}};
    struct calibration_score score;

    (void)state;
    calibration_score(points, 4, &score);
    expect_near(score.accuracy, 0.5, 1e-12, "accuracy");
    expect_near(score.confidence, 2.05 / 4, 1e-12, "confidence");
    /* bins 14, 1 and 7: |0.95 - 1|, |0.1 - 0|, |1 - 1|, over four answers */
    expect_near(score.ece, 0.15 / 4, 1e-12, "ece");
    expect_near(score.brier, (0.0025 + 0.01 + 0.25 + 0.25) / 4, 1e-12, "brier");
    /* pairs of right and wrong: 2 won by 0.95, 1 won and 1 tied by 0.5 */
    expect_near(score.auc, 3.5 / 4, 1e-12, "auc");
    calibration_score(sure, 2, &score);
    expect_near(score.ece, 0, 1e-12, "ece of the sure");
    assert_true(isnan(score.auc));
}

/* A sum of twelve: nearly normal. */
static double random_normal(struct random_source *random)
{
    double sum = -6;

    for (int i = 0; i < 12; i++) {
        sum += random_unit(random);
    }
    return sum;
}

/* Logits whose softmax at `temperature` is the truth's distribution. */
static void classes_make(struct answers *answers, size_t count, double temperature)
{
    struct random_source random;

    random_seed(&random, 7);
    for (size_t i = 0; i < count; i++) {
        float logits[CLASSES];
        double sum = 0, at;
        uint32_t truth = 0;

        for (int k = 0; k < CLASSES; k++) {
            const double z = 1.5 * random_normal(&random);

            logits[k] = (float)(z * temperature);
            sum += exp(z);
        }
        at = random_unit(&random) * sum;
        while (truth + 1 < CLASSES && (at -= exp((double)logits[truth] / temperature)) > 0) {
            truth++;
        }
        assert_int_equal(answers_add_class(answers, logits, CLASSES, truth), 0);
    }
}

static size_t *all_indices(size_t count)
{
    size_t *indices = malloc(sizeof(*indices) * count);

    assert_non_null(indices);
    for (size_t i = 0; i < count; i++) {
        indices[i] = i;
    }
    return indices;
}

static void test_known_temperature(void **state)
{
    static const double temperatures[] = {0.4, 1, 3};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct calibration calibration;
        struct calibration_choice choice;
        struct calibration_data data;
        struct answers answers;
        size_t *indices = all_indices(6000);

        answers_init(&answers);
        classes_make(&answers, 6000, temperatures[i]);
        data = answers_data(&answers);
        assert_int_equal(
            calibration_fit(CALIBRATION_TEMPERATURE, &data, indices, 6000, &calibration), 0);
        expect_near(calibration.temperature, temperatures[i], 0.06 * temperatures[i],
                    "temperature");
        assert_int_equal(calibration.count, 0);
        calibration_init(&calibration);
        assert_int_equal(calibration_choose(&data, &calibration, &choice), 0);
        assert_int_equal(choice.examples, 6000);
        assert_int_equal(choice.held_out, 2000);
        assert_true(choice.after.ece < 0.03);
        assert_true(temperatures[i] == 1 || choice.after.ece < choice.before.ece / 2);
        assert_true((choice.method == CALIBRATION_AS_IT_IS) == (temperatures[i] == 1));
        assert_true(choice.after.brier < choice.before.brier + 0.001);
        expect_near(choice.after.accuracy, choice.before.accuracy, 1e-12, "the answers stay");
        assert_true(calibration_is_sound(&choice.calibration));
        answers_fini(&answers);
        free(indices);
    }
}

/* Logits and truths once more by numpy: the T that minimises the mean of -log softmax(z/T)[truth],
 * found by bisection of its derivative to 1e-12. */
static void test_golden_temperature(void **state)
{
    static const float logits[8][3] = {{2, 0, -1},      {0.5f, 1.5f, 0}, {-1, 3, 1},
                                       {4, 1, 2},       {0, 0.25f, 2},   {1, -2, 0.5f},
                                       {1.5f, 2.5f, 0}, {-0.5f, 0, 3}};
    static const uint32_t truths[8] = {0, 1, 1, 2, 2, 0, 0, 2};
    struct calibration calibration;
    struct calibration_data data;
    size_t *indices = all_indices(8);
    struct answers answers;

    (void)state;
    answers_init(&answers);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(answers_add_class(&answers, logits[i], 3, truths[i]), 0);
    }
    data = answers_data(&answers);
    assert_int_equal(calibration_fit(CALIBRATION_TEMPERATURE, &data, indices, 8, &calibration), 0);
    expect_near(calibration.temperature, 1.046771181, 1e-5, "temperature");
    calibration_init(&calibration);
    calibration.temperature = 2;
    expect_near(calibration_confidence(&calibration, &data, 2), 0.665240956, 1e-7, "confidence");
    answers_fini(&answers);
    free(indices);
}

/* Texts that are right as often as `raw` to the power of `power`. */
static void texts_make(struct answers *answers, size_t count, double power)
{
    struct random_source random;

    random_seed(&random, 11);
    for (size_t i = 0; i < count; i++) {
        const double raw = random_unit(&random);
        const bool right = random_unit(&random) < pow(raw, power);

        assert_int_equal(answers_add_text(answers, raw, right), 0);
    }
}

static void test_known_curve(void **state)
{
    static const double powers[] = {0.25, 1, 3};
    size_t *indices = all_indices(8000);

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct calibration_data data;
        struct answers answers;

        answers_init(&answers);
        texts_make(&answers, 8000, powers[i]);
        data = answers_data(&answers);
        assert_false(calibration_method_fits(CALIBRATION_TEMPERATURE, &data));
        for (enum calibration_method m = CALIBRATION_LOGISTIC; m < CALIBRATION_METHODS; m++) {
            struct calibration calibration;

            assert_int_equal(calibration_fit(m, &data, indices, 8000, &calibration), 0);
            assert_true(calibration_is_sound(&calibration) && calibration.count > 2);
            assert_true(calibration.temperature == 1);
            for (double raw = 0.1; raw < 0.95; raw += 0.1) {
                expect_near(calibration_apply(&calibration, raw), pow(raw, powers[i]), 0.06,
                            calibration_method_text(m));
            }
        }
        answers_fini(&answers);
    }
    free(indices);
}

/* A gain that may be chance is not taken: of forty sets of examples that are right as they are, one
 * in twenty or so is bent. */
static void test_chance(void **state)
{
    struct random_source random;
    struct calibration none;
    int bent = 0;

    (void)state;
    random_seed(&random, 3);
    calibration_init(&none);
    for (int set = 0; set < 40; set++) {
        struct calibration_choice choice;
        struct calibration_data data;
        struct answers answers;

        answers_init(&answers);
        for (int i = 0; i < 300; i++) {
            const double raw = random_unit(&random);
            const bool right = random_unit(&random) < raw;

            assert_int_equal(answers_add_text(&answers, raw, right), 0);
        }
        data = answers_data(&answers);
        assert_int_equal(calibration_choose(&data, &none, &choice), 0);
        bent += choice.method != CALIBRATION_AS_IT_IS;
        assert_true(choice.gain_errors[CALIBRATION_AS_IT_IS] == 0);
        answers_fini(&answers);
    }
    assert_true(bent <= 4);
}

/* One map must be found where nothing can be learned from: all alike, all right, all wrong, and
 * the surer the worse. All are sound, and none is certain. */
static void test_odd_data(void **state)
{
    size_t *indices = all_indices(200);

    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        struct calibration_data data;
        struct answers answers;

        answers_init(&answers);
        for (int i = 0; i < 200; i++) {
            const double raw = kind == 0 ? 1 : (double)i / 199;
            const bool right = kind == 0 ? i % 4 != 0 : kind == 1 ? true : kind == 3 && i < 60;

            assert_int_equal(answers_add_text(&answers, raw, right), 0);
        }
        data = answers_data(&answers);
        for (enum calibration_method m = CALIBRATION_LOGISTIC; m < CALIBRATION_METHODS; m++) {
            static const double wanted[] = {0.75, 1, 0, 0.3};
            struct calibration calibration;
            double sure;

            assert_int_equal(calibration_fit(m, &data, indices, 200, &calibration), 0);
            assert_true(calibration_is_sound(&calibration) && calibration.count > 0);
            sure = calibration_apply(&calibration, 0.9);
            expect_near(sure, wanted[kind], 0.06, calibration_method_text(m));
            assert_true(sure > 0 && sure < 1);
        }
        answers_fini(&answers);
    }
    free(indices);
}

/* A row that is one too many changes nothing, nor does one of another kind. */
static void test_bounds(void **state)
{
    const uint32_t classes = LIMIT_MODEL_CLASSES;
    const size_t rows = LIMIT_CALIBRATION_BYTES / (classes * sizeof(float));
    float *logits = calloc(classes, sizeof(*logits));
    struct answers answers;

    (void)state;
    assert_non_null(logits);
    answers_init(&answers);
    logits[3] = 30;
    for (size_t i = 0; i < rows; i++) {
        assert_int_equal(answers_add_class(&answers, logits, classes, 3), 0);
    }
    assert_int_equal(answers_add_class(&answers, logits, classes, 3), TANDEM_ETOOBIG);
    assert_int_equal(answers_add_class(&answers, logits, 2, 1), TANDEM_EINVAL);
    assert_int_equal(answers_add_class(&answers, logits, classes, classes), TANDEM_EINVAL);
    assert_int_equal(answers_data(&answers).count, rows);
    assert_int_equal(answers.truths.bytes, rows * sizeof(uint32_t));
    assert_true(answers_data(&answers).raw[rows - 1] > 0.999 &&
                answers_data(&answers).right[rows - 1]);
    answers_fini(&answers);
    free(logits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_known_temperature),
        cmocka_unit_test(test_golden_temperature),
        cmocka_unit_test(test_known_curve),
        cmocka_unit_test(test_chance),
        cmocka_unit_test(test_odd_data),
        cmocka_unit_test(test_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
