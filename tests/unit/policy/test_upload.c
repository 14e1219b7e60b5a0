#include "client/policy/upload.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const struct upload_source photo = {
    .kind = UPLOAD_JPEG, .width = 640, .height = 480, .bytes = 60000};

/* What smaller pictures do to answers, as if it had been measured. */
static const struct picture_effects measured = {.model_digest = "m",
                                                .pictures = 1000,
                                                .count = 9,
                                                .items = {{4, 90, 0.005},
                                                          {4, 75, 0.010},
                                                          {4, 50, 0.015},
                                                          {2, 90, 0.015},
                                                          {2, 75, 0.025},
                                                          {2, 50, 0.040},
                                                          {1, 90, 0.030},
                                                          {1, 75, 0.060},
                                                          {1, 50, 0.120}}};

#define THIN 20.0 /* bytes/ms */
#define WIDE 1000.0

static struct upload_terms terms_of(double bytes_per_ms)
{
    return (struct upload_terms){.width = 32,
                                 .height = 32,
                                 .ms_per_byte = 1 / bytes_per_ms,
                                 .ms_per_prepare_ms = 1,
                                 .one_error_ms = 200};
}

/* What is offered is what tandem-model measures. */
static bool is_one_of(unsigned scale, uint32_t quality)
{
    for (size_t i = 0; i < PICTURE_SCALES * PICTURE_QUALITIES; i++) {
        if (picture_scales[i / PICTURE_QUALITIES] == scale &&
            picture_qualities[i % PICTURE_QUALITIES] == quality) {
            return true;
        }
    }
    return false;
}

static void test_the_table_makes_sense(void **state)
{
    (void)state;
    for (size_t i = 0; i < UPLOAD_ROWS; i++) {
        const struct upload_prior *row = &upload_priors[i];

        assert_true(row->quality >= 1 && row->quality <= 100);
        assert_true(row->bits_per_pixel > 0.05 && row->bits_per_pixel < 24);
        assert_true(row->scale == 0 || is_one_of(row->scale, row->quality));
        for (size_t j = 0; j < i; j++) {
            assert_true(row->scale != upload_priors[j].scale ||
                        row->quality != upload_priors[j].quality);
        }
    }
}

/* No form is larger than the picture or, on either side, smaller than the model's; none is worse
 * than another; what came is among the first two. */
static void test_forms(void **state)
{
    struct upload_form forms[LIMIT_UPLOAD_FORMS];
    const struct upload_state nothing = {0};

    (void)state;
    for (double rate = 10; rate < 1e6; rate *= 3) {
        const struct upload_terms terms = terms_of(rate);
        const size_t count = upload_forms(&nothing, &measured, &photo, &terms, forms);

        assert_in_range(count, 1, LIMIT_UPLOAD_FORMS);
        assert_true(forms[0].width == 0 || forms[1].width == 0);
        for (size_t i = 0; i < count; i++) {
            if (forms[i].width == 0) {
                assert_true(forms[i].bytes == 60000 && forms[i].prepare_ms <= 0);
                continue;
            }
            assert_in_range(forms[i].width, 32, 640);
            assert_in_range(forms[i].height, 32, 480);
            assert_true(fabs(forms[i].width / 640.0 - forms[i].height / 480.0) < 0.02);
            assert_true(forms[i].bytes < 60000 && forms[i].prepare_ms > 0);
            for (size_t j = 0; j < count; j++) {
                assert_true(i == j || forms[j].bytes < forms[i].bytes ||
                            forms[j].prepare_ms < forms[i].prepare_ms ||
                            forms[j].error < forms[i].error);
            }
        }
    }
}

static void test_the_thinner_the_smaller(void **state)
{
    struct upload_form thin[LIMIT_UPLOAD_FORMS], fast[LIMIT_UPLOAD_FORMS];
    const struct upload_state nothing = {0};
    const struct upload_terms thin_terms = terms_of(50), fast_terms = terms_of(125000);
    const double error_before = 0;

    (void)state;
    assert_true(upload_forms(&nothing, &measured, &photo, &thin_terms, thin) > 1);
    assert_true(upload_forms(&nothing, &measured, &photo, &fast_terms, fast) > 0);
    assert_int_equal(fast[0].width, 0);
    assert_in_range(thin[0].width, 1, 320);
    assert_true(thin[0].bytes < 60000 / 4.0);
    assert_true(thin[0].error > error_before);
}

/* A link whose rate nobody knows is taken as fast: what came goes. */
static void test_unknown(void **state)
{
    struct upload_form forms[LIMIT_UPLOAD_FORMS];
    const struct upload_state nothing = {0};
    struct upload_terms terms = terms_of(100);
    struct upload_source source = photo;

    (void)state;
    terms.ms_per_byte = 0;
    assert_true(upload_forms(&nothing, &measured, &photo, &terms, forms) > 0);
    assert_int_equal(forms[0].width, 0);
    terms = terms_of(100);
    source.width = source.height = 0;
    assert_int_equal(upload_forms(&nothing, &measured, &source, &terms, forms), 1);
    assert_int_equal(forms[0].width, 0);
    /* without the model's size nobody knows what was measured of it */
    terms.width = terms.height = 0;
    assert_int_equal(upload_forms(&nothing, &measured, &photo, &terms, forms), 1);
    assert_int_equal(forms[0].width, 0);
}

/* A form that was not measured is none, and its error is what was measured. */
static void test_only_what_was_measured(void **state)
{
    static const struct picture_effects few = {
        .model_digest = "m", .count = 2, .items = {{4, 75, 0.011}, {2, 50, 0.041}}};
    static const struct picture_effects none;
    struct upload_form forms[LIMIT_UPLOAD_FORMS];
    const struct upload_state nothing = {0};
    const struct upload_terms terms = terms_of(50);
    size_t count = upload_forms(&nothing, &few, &photo, &terms, forms);

    (void)state;
    assert_int_equal(count, 3); /* and what came */
    for (size_t i = 0; i < count; i++) {
        const double error = forms[i].width == 0 ? 0 : forms[i].quality == 75 ? 0.011 : 0.041;

        assert_true(fabs(forms[i].error - error) < 1e-12);
        assert_true(forms[i].width != 0 || forms[i].quality == 0);
        assert_true(forms[i].quality != 75 || forms[i].height == 128);
        assert_true(forms[i].quality != 50 || forms[i].height == 64);
    }
    count = upload_forms(&nothing, &none, &photo, &terms, forms);
    assert_int_equal(count, 1);
    assert_int_equal(forms[0].width, 0);
}

/* A picture as large as it came loses less than a smaller one, by the measured scales that its own
 * lies between. */
static void test_compressed_only(void **state)
{
    struct upload_form forms[LIMIT_UPLOAD_FORMS];
    const struct upload_state nothing = {0};
    struct upload_terms terms = terms_of(10);
    const struct upload_source source = {
        .kind = UPLOAD_JPEG, .width = 100, .height = 90, .bytes = 9000};
    size_t count;

    (void)state;
    terms.one_error_ms = 20000;
    count = upload_forms(&nothing, &measured, &source, &terms, forms);
    assert_true(count > 1);
    for (size_t i = 0; i < count; i++) {
        if (forms[i].width == 100 && forms[i].quality == 90) { /* 2.8 times the model */
            assert_true(fabs(forms[i].error - (0.015 + (0.005 - 0.015) * log2(90 / 64.0))) < 1e-12);
            return;
        }
    }
    fail_msg("as large as it came, with quality 90, is worth no thought");
}

/* A raw frame over what the wire takes has smaller forms, and none that is as it came. */
static void test_too_big(void **state)
{
    struct upload_form forms[LIMIT_UPLOAD_FORMS];
    const struct upload_state nothing = {0};
    const struct upload_terms terms = terms_of(125000);
    struct upload_source source = {.kind = UPLOAD_RAW,
                                   .width = 3840,
                                   .height = 2160,
                                   .bytes = 3 * 3840 * 2160,
                                   .too_big = true};
    const size_t count = upload_forms(&nothing, &measured, &source, &terms, forms);

    (void)state;
    assert_in_range(count, 1, LIMIT_UPLOAD_FORMS);
    for (size_t i = 0; i < count; i++) {
        assert_true(forms[i].width > 0 && forms[i].bytes <= LIMIT_PAYLOAD_BYTES);
    }
    source.width = source.height = 0;
    assert_int_equal(upload_forms(&nothing, &measured, &source, &terms, forms), 0);
}

static const struct upload_form *form_find(const struct upload_form *forms, size_t count,
                                           uint32_t row)
{
    for (size_t i = 0; i < count; i++) {
        if (forms[i].width > 0 && forms[i].row == row) {
            return &forms[i];
        }
    }
    return NULL;
}

/* Every picture that was made corrects what is believed of the next: all of its own form, half of
 * it at once of the others. */
static void test_learns(void **state)
{
    struct upload_form forms[LIMIT_UPLOAD_FORMS];
    struct upload_state learned = {0};
    const struct upload_terms terms = terms_of(50);
    size_t count = upload_forms(&learned, &measured, &photo, &terms, forms);
    const struct upload_form made = forms[0];
    const struct upload_form *again;

    (void)state;
    assert_true(made.width > 0);
    upload_made(&learned, &photo, &made, (uint64_t)(1.3 * made.bytes), 2 * made.prepare_ms);
    count = upload_forms(&learned, &measured, &photo, &terms, forms);
    again = form_find(forms, count, made.row);
    assert_non_null(again);
    assert_true(fabs(again->bytes / made.bytes - 1.3) < 0.01);
    assert_true(fabs(again->prepare_ms / made.prepare_ms - 2) < 0.01);
    for (int i = 0; i < 200; i++) {
        upload_made(&learned, &photo, &made, (uint64_t)(0.8 * made.bytes), made.prepare_ms / 2);
    }
    count = upload_forms(&learned, &measured, &photo, &terms, forms);
    again = form_find(forms, count, made.row);
    assert_non_null(again);
    assert_true(fabs(again->bytes / made.bytes - 0.8) < 0.02);
    assert_true(fabs(again->prepare_ms / made.prepare_ms - 0.5) < 0.02);
}

/* What making the form of this row is believed to take; on a link of `bytes_per_ms` it is offered.
 */
static double prepare_of(const struct upload_state *learned, uint32_t row, double bytes_per_ms)
{
    struct upload_form forms[LIMIT_UPLOAD_FORMS];
    const struct upload_terms free_of_time = {
        .width = 32, .height = 32, .ms_per_byte = 1 / bytes_per_ms, .one_error_ms = 200};
    const size_t count = upload_forms(learned, &measured, &photo, &free_of_time, forms);
    const struct upload_form *form = form_find(forms, count, row);

    assert_non_null(form);
    return form->prepare_ms;
}

/* A form that is harder to make than was thought says that of itself, and little of the others. */
static void test_each_form_has_its_time(void **state)
{
    const struct upload_state nothing = {0};
    struct upload_state learned = {0};
    const struct upload_terms thin = terms_of(THIN), wide = terms_of(WIDE);
    struct upload_form small[LIMIT_UPLOAD_FORMS], large[LIMIT_UPLOAD_FORMS];
    double small_ms, large_ms;

    (void)state;
    assert_true(upload_forms(&nothing, &measured, &photo, &thin, small) > 0);
    assert_true(upload_forms(&nothing, &measured, &photo, &wide, large) > 0);
    assert_true(small[0].width > 0 && large[0].width > small[0].width);
    small_ms = small[0].prepare_ms;
    large_ms = 3 * large[0].prepare_ms;
    for (int i = 0; i < 20; i++) {
        upload_made(&learned, &photo, &small[0], 0, small_ms);
    }
    upload_made(&learned, &photo, &large[0], 0, large_ms);
    assert_true(fabs(prepare_of(&learned, large[0].row, WIDE) / large_ms - 1) < 0.01);
    assert_true(fabs(prepare_of(&learned, small[0].row, THIN) / small_ms - 1) < 0.15);
    for (int i = 0; i < 20; i++) {
        upload_made(&learned, &photo, &small[0], 0, small_ms);
        upload_made(&learned, &photo, &large[0], 0, large_ms);
    }
    assert_true(fabs(prepare_of(&learned, large[0].row, WIDE) / large_ms - 1) < 0.1);
    assert_true(fabs(prepare_of(&learned, small[0].row, THIN) / small_ms - 1) < 0.1);
}

/* A making that takes longer than the link saves is not worth it. */
static void test_a_slow_device_sends_it_as_it_came(void **state)
{
    struct upload_form forms[LIMIT_UPLOAD_FORMS];
    struct upload_state learned = {0};
    const struct upload_terms terms = terms_of(2000); /* 30 ms as it came */

    (void)state;
    assert_true(upload_forms(&learned, &measured, &photo, &terms, forms) > 1);
    assert_true(forms[0].width > 0);
    upload_made(&learned, &photo, &forms[0], (uint64_t)forms[0].bytes, 100);
    assert_true(upload_forms(&learned, &measured, &photo, &terms, forms) > 1);
    assert_int_equal(forms[0].width, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_table_makes_sense),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_the_thinner_the_smaller),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_only_what_was_measured),
        cmocka_unit_test(test_compressed_only),
        cmocka_unit_test(test_too_big),
        cmocka_unit_test(test_learns),
        cmocka_unit_test(test_each_form_has_its_time),
        cmocka_unit_test(test_a_slow_device_sends_it_as_it_came),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
