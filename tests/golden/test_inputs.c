/* Texts and pictures against what Python makes of them. */
#include "common/engine/gguf.h"
#include "common/engine/picture.h"
#include "common/engine/tokenizer.h"
#include "tests/golden/golden.h"

#include <math.h>

/* To scored pieces U+2581 in a text is a space: it comes back as one. */
static void signs_to_spaces(struct buf *back, const char *text, size_t text_bytes)
{
    static const char sign[] = "a\xE2\x96\x81"
                               "b";

    if (text_bytes == 5 && memcmp(text, sign, 5) == 0 && back->bytes == 3) {
        assert_memory_equal(back->data, "a b", 3);
        buf_clear(back);
        (void)buf_append(back, text, text_bytes);
    }
}

static void bpe_check(const char *name)
{
    size_t model_bytes, bytes, at = 4;
    char path[64], error[ENGINE_ERROR_BYTES];
    uint8_t *model, *expected;
    struct tokenizer *tokenizer = NULL;
    struct gguf *gguf = NULL;

    snprintf(path, sizeof path, "%s.gguf", name);
    model = golden_read(path, &model_bytes);
    snprintf(path, sizeof path, "%s.golden", name);
    expected = golden_read(path, &bytes);
    assert_int_equal(gguf_load(model, model_bytes, &gguf, error), 0);
    assert_int_equal(tokenizer_load(gguf, 1000, &tokenizer, error), 0);
    for (uint32_t i = 0; i < le32_load(expected); i++) {
        const uint32_t text_bytes = le32_load(expected + at);
        const char *text = (const char *)expected + at + 4;
        const uint32_t id_count = le32_load(expected + at + 4 + text_bytes);
        uint32_t ids[1024];
        size_t count = 0;
        struct buf back;

        at += 8 + text_bytes;
        assert_int_equal(tokenizer_encode(tokenizer, text, text_bytes, ids, 1024, &count, error),
                         0);
        assert_int_equal(count, id_count);
        buf_init(&back, 0);
        for (size_t j = 0; j < count; j++, at += 4) {
            assert_int_equal(ids[j], le32_load(expected + at));
            assert_int_equal(tokenizer_decode(tokenizer, ids[j], j == 0, &back), 0);
        }
        signs_to_spaces(&back, text, text_bytes);
        assert_int_equal(back.bytes, text_bytes);
        assert_true(text_bytes == 0 || memcmp(back.data, text, text_bytes) == 0);
        buf_fini(&back);
    }
    assert_int_equal(at, bytes);
    tokenizer_free(tokenizer);
    gguf_free(gguf);
    free(model);
    free(expected);
}

static void test_bpe(void **state)
{
    (void)state;
    bpe_check("bpe");
}

static void test_scored(void **state)
{
    (void)state;
    bpe_check("scored");
}

static void test_scored_without_a_first_space(void **state)
{
    (void)state;
    bpe_check("scored_bare");
}

static void test_bpe_out_of_order(void **state)
{
    (void)state;
    bpe_check("bpe_reversed");
}

/* Resampling is compared in units of 8-bit pixels. What PyTorch keeps every `step` rows of is
 * compared there. */
static void picture_check(const char *name, const char *picture_name, uint32_t step)
{
    struct golden golden = golden_load(name);
    const uint32_t width = le32_load(golden.inputs), height = le32_load(golden.inputs + 4);
    const struct picture_target target = {
        width, height, 3, {0, 0, 0}, {1.0f / 255, 1.0f / 255, 1.0f / 255}};
    float *pixels = calloc((size_t)width * height * 3, sizeof *pixels);
    char error[ENGINE_ERROR_BYTES];
    size_t bytes;
    uint8_t *file = golden_read(picture_name, &bytes);
    const struct engine_picture picture = {.data = file, .bytes = bytes};
    float worst = 0;

    assert_int_equal(picture_prepare(&target, &picture, pixels, error), 0);
    assert_int_equal(golden.rows, (height + step - 1) / step);
    for (uint32_t y = 0; y < golden.rows; y++) {
        for (uint32_t i = 0; i < golden.columns; i++) {
            const float off = fabsf(pixels[(size_t)y * step * golden.columns + i] -
                                    golden.values[(size_t)y * golden.columns + i]);

            worst = off > worst ? off : worst;
        }
    }
    print_message("%s: %g\n", name, (double)worst);
    assert_true(worst < 0.01f);
    free(pixels);
    free(file);
    free(golden.file);
}

static void test_pictures(void **state)
{
    (void)state;
    picture_check("jpg_down", "picture.jpg", 1);
    picture_check("jpg_up", "picture.jpg", 7);
    picture_check("jpg_same", "picture.jpg", 7);
    picture_check("jpg_mixed", "progressive.jpg", 1);
    picture_check("png_down", "picture.png", 1);
    picture_check("palette_down", "palette.png", 1);
    picture_check("alpha_down", "alpha.png", 1);
    picture_check("grey_up", "grey.jpg", 7);
}

static void test_cmyk_is_refused(void **state)
{
    const struct picture_target target = {2, 2, 3, {0, 0, 0}, {1, 1, 1}};
    char error[ENGINE_ERROR_BYTES];
    float pixels[12];
    size_t bytes;
    uint8_t *file = golden_read("cmyk.jpg", &bytes);
    const struct engine_picture picture = {.data = file, .bytes = bytes};

    (void)state;
    assert_int_equal(picture_prepare(&target, &picture, pixels, error), TANDEM_EUNSUPPORTED);
    assert_non_null(strstr(error, "CMYK"));
    free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bpe),
        cmocka_unit_test(test_scored),
        cmocka_unit_test(test_scored_without_a_first_space),
        cmocka_unit_test(test_bpe_out_of_order),
        cmocka_unit_test(test_pictures),
        cmocka_unit_test(test_cmyk_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
