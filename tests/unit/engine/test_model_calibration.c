/* What a file may say of its model's confidence: what is read, and every number that is refused. */
#include "tests/unit/engine/gguf_edit.h"

#include <math.h>

#define POINTS (LIMIT_CALIBRATION_POINTS + 1)

struct given {
    float x[POINTS], y[POINTS];
    size_t x_count, y_count; /* 0: no such key */
    float temperature;
    bool has_temperature;
};

static void floats_put(struct gguf_keys *keys, const char *key, const float *values, size_t count)
{
    uint32_t bits[POINTS];

    memcpy(bits, values, sizeof(*values) * count);
    if (count > 0) {
        keys_put_u32s(keys, key, GGUF_F32, bits, count);
    }
}

static int given_open(const struct given *given, const char *model, struct engine_model_info *info,
                      char error[ENGINE_ERROR_BYTES])
{
    struct gguf_edit edit = {0};

    floats_put(&edit.keys, "tandem.calibration.x", given->x, given->x_count);
    floats_put(&edit.keys, "tandem.calibration.y", given->y, given->y_count);
    if (given->has_temperature) {
        keys_put_f32(&edit.keys, "tandem.calibration.temperature", given->temperature);
    }
    return edit_open_info(&edit, model, info, error);
}

static void test_read(void **state)
{
    const struct given full = {{0.25f, 0.5f}, {0.125f, 0.75f}, 2, 2, 1.5f, true};
    const struct given table = {{0.25f, 0.5f}, {0.125f, 0.75f}, 2, 2, 0, false};
    const struct given none = {0};
    char error[ENGINE_ERROR_BYTES] = "";
    struct engine_model_info info;

    (void)state;
    assert_int_equal(given_open(&full, "vit_conv_seq", &info, error), 0);
    assert_true(info.calibration.temperature == 1.5);
    assert_true(calibration_apply(&info.calibration, 0.375) == 0.4375);
    assert_int_equal(given_open(&table, "decoder_qkv_f32", &info, error), 0);
    assert_true(info.calibration.temperature == 1);
    assert_true(calibration_apply(&info.calibration, 0.375) == 0.4375);
    for (int i = 0; i < 2; i++) { /* the ends of what it may be */
        struct given end = {.has_temperature = true};

        end.temperature = (float)(i ? CALIBRATION_TEMPERATURE_MAX : CALIBRATION_TEMPERATURE_MIN);
        assert_int_equal(given_open(&end, "vit_conv_seq", &info, error), 0);
    }
    assert_int_equal(given_open(&none, "vit_conv_seq", &info, error), 0);
    assert_true(info.calibration.temperature == 1 && info.calibration.count == 0);
}

/* The table of as many points as there may be, and one more. */
static void test_many(void **state)
{
    char error[ENGINE_ERROR_BYTES] = "";
    struct engine_model_info info;
    struct given given = {0};

    (void)state;
    for (size_t i = 0; i < POINTS; i++) {
        given.x[i] = given.y[i] = (float)i / POINTS;
    }
    given.x_count = given.y_count = LIMIT_CALIBRATION_POINTS;
    assert_int_equal(given_open(&given, "vit_conv_seq", &info, error), 0);
    assert_int_equal(info.calibration.count, LIMIT_CALIBRATION_POINTS);
    given.x_count = given.y_count = POINTS;
    assert_int_equal(given_open(&given, "vit_conv_seq", &info, error), TANDEM_EFORMAT);
    assert_non_null(strstr(error, "tandem.calibration.x"));
}

static void test_refused(void **state)
{
    static const struct {
        const char *model, *word; /* in the line */
        int code;
        struct given given;
    } cases[] = {
        {"vit_conv_seq",
         "temperature",
         TANDEM_EFORMAT,
         {.temperature = 0, .has_temperature = true}},
        {"vit_conv_seq",
         "from 0.015625 to 64",
         TANDEM_EFORMAT,
         {.temperature = 64.001f, .has_temperature = true}},
        {"vit_conv_seq", "finite", TANDEM_EFORMAT, {.temperature = NAN, .has_temperature = true}},
        {"vit_conv_seq", "have 1 and 2", TANDEM_EFORMAT, {{0.5f}, {0.5f, 0.6f}, 1, 2, 0, false}},
        {"vit_conv_seq", "calibration.y is missing", TANDEM_EFORMAT, {{0.5f}, {0}, 1, 0, 0, false}},
        {"vit_conv_seq", "calibration.x is missing", TANDEM_EFORMAT, {{0}, {0.5f}, 0, 1, 0, false}},
        {"vit_conv_seq", "rising", TANDEM_EFORMAT, {{0.5f, 0.5f}, {0.5f, 0.6f}, 2, 2, 0, false}},
        {"decoder_qkv_f32",
         "falling",
         TANDEM_EFORMAT,
         {{0.5f, 0.6f}, {0.7f, 0.6f}, 2, 2, 0, false}},
        {"decoder_qkv_f32",
         "within 0 to 1",
         TANDEM_EFORMAT,
         {{0.5f, 1.5f}, {0.5f, 0.6f}, 2, 2, 0, false}},
        {"decoder_qkv_f32",
         "within 0 to 1",
         TANDEM_EFORMAT,
         {{0.5f, 0.6f}, {-0.5f, 0.6f}, 2, 2, 0, false}},
        {"decoder_qkv_f32",
         "calibration.y",
         TANDEM_EFORMAT,
         {{0.5f, 0.6f}, {0.5f, INFINITY}, 2, 2, 0, false}},
        /* no softmax of logits is a text's confidence, and an encoder's rows are no answer */
        {"decoder_qkv_f32",
         "temperature has no meaning",
         TANDEM_EUNSUPPORTED,
         {.temperature = 1, .has_temperature = true}},
        {"encoder_qkv",
         "calibration.x has no meaning",
         TANDEM_EUNSUPPORTED,
         {{0.5f}, {0.5f}, 1, 1, 0, false}},
    };
    struct engine_model_info info;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char error[ENGINE_ERROR_BYTES] = "";
        const int code = given_open(&cases[i].given, cases[i].model, &info, error);

        if (code != cases[i].code || !strstr(error, cases[i].word) || strchr(error, '\n')) {
            fail_msg("case %zu: code %d, \"%s\" has no \"%s\"", i, code, error, cases[i].word);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_read), cmocka_unit_test(test_many),
                                       cmocka_unit_test(test_refused)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
