/* What sending pictures smaller costs in answers: the formula, the look-up, and files that are
 * right or wrong. */
#include "common/base/error.h"
#include "common/base/picture_effects.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define DIGEST "0123456789abcdef0123456789abcdef"
#define OTHER  "0123456789abcdef0123456789abcdee"

static char path[] = "/tmp/effects-XXXXXX";

static void file_write(const char *text)
{
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int setup(void **state)
{
    const int fd = mkstemp(path);

    (void)state;
    return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

/* 20 lost and 5 won of 1000: 15 and the root of 26 more are wrong. */
static void test_error(void **state)
{
    (void)state;
    assert_true(fabs(picture_effect_error(1000, 20, 5) - (15 + sqrt(26)) / 1000) < 1e-12);
    assert_true(picture_effect_error(10, 0, 0) >= 0.1 - 1e-12); /* few prove little */
    assert_true(picture_effect_error(1000, 0, 0) < 0.0011);
    assert_true(picture_effect_error(1000, 5, 20) <= 0); /* never a gain */
    assert_true(picture_effect_error(0, 0, 0) >= 1);
    assert_true(picture_effect_error(3, 3, 0) <= 1);
}

static void test_good_file(void **state)
{
    struct picture_effects effects;
    char why[256] = "";
    double error = -1;

    (void)state;
    file_write(PICTURE_EFFECTS_HEADER "\n" DIGEST ",0,0,500,30000,1.0000,0.8700,0.0000\n" DIGEST
                                      ",1,75,500,600,0.9100,0.8500,0.0250\n" DIGEST
                                      ",2,75,400,900,0.9500,,0.0150\r\n");
    assert_int_equal(picture_effects_load(path, &effects, why, sizeof(why)), 0);
    assert_string_equal(effects.model_digest, DIGEST);
    assert_int_equal(effects.pictures, 400);
    assert_int_equal(effects.count, 2);
    assert_true(picture_effects_find(&effects, 1, 75, &error) && fabs(error - 0.025) < 1e-12);
    assert_true(picture_effects_find(&effects, sqrt(2), 75, &error) && fabs(error - 0.02) < 1e-12);
    assert_true(picture_effects_find(&effects, 2, 75, &error) && fabs(error - 0.015) < 1e-12);
    assert_true(picture_effects_find(&effects, 100, 75, &error) && fabs(error - 0.015) < 1e-12);
    error = -1;
    assert_false(picture_effects_find(&effects, 0.9, 75, &error));
    assert_false(picture_effects_find(&effects, 2, 50, &error));
    assert_true(error < 0);
}

/* Chance may have it that what was compressed more lost fewer answers. */
static void test_compressed_more_is_no_better(void **state)
{
    static const struct picture_effects lucky = {
        .model_digest = DIGEST,
        .count = 4,
        .items = {{1, 90, 0.02}, {1, 75, 0.03}, {1, 50, 0.01}, {2, 50, 0.005}}};
    double error;

    (void)state;
    assert_true(picture_effects_find(&lucky, 1, 90, &error) && fabs(error - 0.02) < 1e-12);
    assert_true(picture_effects_find(&lucky, 1, 75, &error) && fabs(error - 0.03) < 1e-12);
    assert_true(picture_effects_find(&lucky, 1, 50, &error) && fabs(error - 0.03) < 1e-12);
    assert_true(picture_effects_find(&lucky, 2, 50, &error) && fabs(error - 0.005) < 1e-12);
}

static void test_bad_files(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "no form was measured"},
        {PICTURE_EFFECTS_HEADER "\n", "no form was measured"},
        {PICTURE_EFFECTS_HEADER "\n" DIGEST ",0,0,5,3,1,1,0\n", "no form was measured"},
        {"a,b\n", ":1: the first line"},
        {PICTURE_EFFECTS_HEADER "\n\n", ":2: no row"},
        {PICTURE_EFFECTS_HEADER "\n" DIGEST ",1,75,5,600,0.9,0.8\n", ":2: no row"},
        {PICTURE_EFFECTS_HEADER "\n" DIGEST ",1,75,5,600,0.9,0.8,0.1,\n", ":2: no row"},
        {PICTURE_EFFECTS_HEADER "\n" DIGEST ",1,75,5,600,0.9,0.8,1.1\n", ":2: no row"},
        {PICTURE_EFFECTS_HEADER "\n" DIGEST ",1,75,5,600,0.9,0.8,-0.1\n", ":2: no row"},
        {PICTURE_EFFECTS_HEADER "\n" DIGEST ",1,75,5,600,0.9,0.8,nan\n", ":2: no row"},
        {PICTURE_EFFECTS_HEADER "\n" DIGEST ",1,101,5,600,0.9,0.8,0.1\n", ":2: no row"},
        {PICTURE_EFFECTS_HEADER "\n" DIGEST ",1,0,5,600,0.9,0.8,0.1\n", ":2: no row"},
        {PICTURE_EFFECTS_HEADER "\n" DIGEST ",1,75,0,600,0.9,0.8,0.1\n", ":2: no row"},
        {PICTURE_EFFECTS_HEADER "\nabc,1,75,5,600,0.9,0.8,0.1\n", ":2: no row"},
        {PICTURE_EFFECTS_HEADER "\n" DIGEST ",1,75,5,6,0.9,,0.1\n" OTHER ",2,75,5,6,0.9,,0.1\n",
         ":3: another model"},
        {PICTURE_EFFECTS_HEADER "\n" DIGEST ",1,75,5,6,0.9,,0.1\n" DIGEST ",1,75,5,6,0.9,,0.1\n",
         ":3: this scale and quality"},
    };
    struct picture_effects effects = {.count = 77};
    char why[256];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        file_write(cases[i].text);
        if (picture_effects_load(path, &effects, why, sizeof(why)) != TANDEM_EFORMAT ||
            !strstr(why, cases[i].says) || strncmp(why, path, strlen(path)) != 0) {
            fail_msg("case %zu: %s", i, why);
        }
        assert_int_equal(effects.count, 77);
    }
    assert_int_equal(picture_effects_load("/no/such.csv", &effects, why, sizeof(why)), TANDEM_EIO);
    assert_string_equal(why, "/no/such.csv: No such file or directory");
}

/* As many forms as there is room for, and one more; a line that does not end. */
static void test_bounds(void **state)
{
    static char text[LIMIT_PICTURE_EFFECTS * 128];
    struct picture_effects effects;
    char why[256];
    size_t used = (size_t)snprintf(text, sizeof(text), PICTURE_EFFECTS_HEADER "\n");

    (void)state;
    for (unsigned i = 1; i <= LIMIT_PICTURE_EFFECTS; i++) {
        used +=
            (size_t)snprintf(text + used, sizeof(text) - used, DIGEST ",%u,75,5,6,0.9,,0.1\n", i);
    }
    file_write(text);
    assert_int_equal(picture_effects_load(path, &effects, why, sizeof(why)), 0);
    assert_int_equal(effects.count, LIMIT_PICTURE_EFFECTS);
    snprintf(text + used, sizeof(text) - used, DIGEST ",1,90,5,6,0.9,,0.1\n");
    file_write(text);
    assert_int_equal(picture_effects_load(path, &effects, why, sizeof(why)), TANDEM_ETOOBIG);
    memset(text, '7', 1000);
    text[1000] = '\0';
    file_write(text);
    assert_int_equal(picture_effects_load(path, &effects, why, sizeof(why)), TANDEM_EFORMAT);
    assert_non_null(strstr(why, "too long a line"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error),
        cmocka_unit_test(test_good_file),
        cmocka_unit_test(test_compressed_more_is_no_better),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_bounds),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
