/* evaluate --forms against what logits prints for every form of every picture, made one by one; the
 * file it writes as the client reads it; and the shipped file against the shipped model. */
#include "tests/unit/model/model_tool.h"

#include "common/base/picture_effects.h"

#include <inttypes.h>
#include <math.h>

#define EDGE     "deploy/models/objects-edge.gguf"
#define EFFECTS  "deploy/models/objects-edge.forms.csv"
#define LOCAL    "deploy/models/objects-local.gguf"
#define ENCODER  "tests/golden/data/encoder_kv.gguf"
#define PICTURES 6
#define WIDTH    96
#define HEIGHT   72 /* 2.25 times the 32 pixels that the model looks at */

static void file_write(const char *path, const void *data, size_t bytes)
{
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

/* Blobs of colour with some noise, each picture others. */
static void picture_make(unsigned number, const char *path)
{
    static uint8_t rgb[HEIGHT * WIDTH * 3];
    const struct engine_picture picture = {ENGINE_PIXELS_RGB, WIDTH, HEIGHT, 0, rgb, sizeof(rgb)};
    char error[ENGINE_ERROR_BYTES];
    uint8_t *data;
    size_t bytes;
    unsigned seed = number + 1;

    for (unsigned i = 0; i < WIDTH * HEIGHT; i++) {
        const double x = (double)(i % WIDTH) / WIDTH, y = (double)(i / WIDTH) / HEIGHT;

        seed = seed * 1103515245u + 12345u;
        for (unsigned c = 0; c < 3; c++) {
            rgb[3 * i + c] =
                (uint8_t)(110 + 80 * sin(9 * x + number + c) * cos(7 * y * (1 + number % 3)) +
                          (seed >> 16) % 32);
        }
    }
    assert_int_equal(engine_picture_encode(&picture, WIDTH, HEIGHT, 92, &data, &bytes, error), 0);
    file_write(path, data, bytes);
    free(data);
}

static unsigned class_of(const char *path)
{
    struct tool_result result = TOOL("logits", LOCAL, "--image", path);
    double most = -INFINITY;
    unsigned best = 0;
    const char *at;

    assert_int_equal(result.status, TOOL_DONE);
    at = strchr(result.out, '[') + 1;
    for (unsigned i = 0; i < 10; i++, at++) {
        char *end;
        const double value = strtod(at, &end);

        best = value > most ? i : best;
        most = fmax(value, most);
        at = end;
    }
    tool_free(&result);
    return best;
}

static size_t form_make(const char *path, unsigned scale, uint32_t quality, const char *out)
{
    struct engine_picture picture = {.format = ENGINE_PIXELS_ENCODED};
    char error[ENGINE_ERROR_BYTES];
    struct buf file;
    uint8_t *data;
    size_t bytes;

    buf_init(&file, 1 << 20);
    assert_int_equal(input_file(path, 1 << 20, &file, error), 0);
    picture.data = file.data;
    picture.bytes = file.bytes;
    /* the lower side is `scale` times the model's */
    assert_int_equal(engine_picture_encode(&picture, (scale * 128 + 1) / 3, scale * 32, quality,
                                           &data, &bytes, error),
                     TANDEM_EINVAL * (scale > 2));
    if (scale <= 2) {
        file_write(out, data, bytes);
        free(data);
    }
    buf_fini(&file);
    return bytes;
}

/* What each form of each picture comes to, by other means, and what the tool says of it. */
static void test_each(void **state)
{
    struct tool_result result;
    char list[PICTURES * 32] = "", path[160];
    size_t used = 0;
    unsigned truths[PICTURES], lines = 0;
    const char *at;

    (void)state;
    for (unsigned i = 0; i < PICTURES; i++) {
        snprintf(path, sizeof(path), "%s/%u.jpg", work_folder, i);
        picture_make(i, path);
        truths[i] = (class_of(path) + i % 2) % 10; /* every second is right */
        used += (size_t)snprintf(list + used, sizeof(list) - used, "%u.jpg\t%u\n", i, truths[i]);
    }
    text_write(work_path("list.tsv"), list);
    result = TOOL("evaluate", LOCAL, work_path("list.tsv"), "--forms", "--each");
    assert_int_equal(result.status, TOOL_DONE);
    at = strchr(result.out, '\n') + 1;
    assert_int_equal(strncmp(result.out, "picture,scale,quality,bytes,answer,truth\n", 41), 0);
    for (; *at; at = strchr(at, '\n') + 1, lines++) {
        unsigned picture, scale, answer, truth;
        uint32_t quality;
        uint64_t bytes;
        char form[160];

        assert_int_equal(sscanf(at, "%u,%u,%" SCNu32 ",%" SCNu64 ",%u,%u\n", &picture, &scale,
                                &quality, &bytes, &answer, &truth),
                         6);
        assert_true(picture < PICTURES);
        assert_int_equal(truth, truths[picture]);
        snprintf(path, sizeof(path), "%s/%u.jpg", work_folder, picture);
        if (scale > 0) {
            snprintf(form, sizeof(form), "%s/form.jpg", work_folder);
            assert_int_equal(form_make(path, scale, quality, form), bytes);
        }
        assert_int_equal(answer, class_of(scale > 0 ? form : path));
    }
    assert_int_equal(lines, PICTURES * (1 + 2 * PICTURE_QUALITIES)); /* four times is too large */
    tool_free(&result);
}

/* The file's rows are the sums of the lines above. */
static void test_sums(void **state)
{
    struct tool_result each = TOOL("evaluate", LOCAL, work_path("list.tsv"), "--forms", "--each");
    struct tool_result csv = TOOL("evaluate", LOCAL, work_path("list.tsv"), "--forms", "--csv");
    struct picture_effects effects;
    char why[256];

    (void)state;
    assert_int_equal(csv.status, TOOL_DONE);
    text_write(work_path("effects.csv"), csv.out);
    assert_int_equal(picture_effects_load(work_path("effects.csv"), &effects, why, sizeof(why)), 0);
    assert_int_equal(effects.count, 2 * PICTURE_QUALITIES);
    assert_int_equal(effects.pictures, PICTURES);
    for (size_t i = 0; i < effects.count; i++) {
        uint64_t lost = 0, won = 0;
        unsigned original = 0;

        for (const char *at = strchr(each.out, '\n') + 1; *at; at = strchr(at, '\n') + 1) {
            unsigned picture, scale, quality, bytes, answer, truth;

            assert_int_equal(sscanf(at, "%u,%u,%u,%u,%u,%u", &picture, &scale, &quality, &bytes,
                                    &answer, &truth),
                             6);
            original = scale == 0 ? answer : original;
            if (scale == effects.items[i].scale && quality == effects.items[i].quality) {
                lost += original == truth && answer != truth;
                won += original != truth && answer == truth;
            }
        }
        assert_true(fabs(effects.items[i].error - picture_effect_error(PICTURES, lost, won)) <
                    5.1e-5);
    }
    tool_free(&each);
    tool_free(&csv);
}

/* Without truths every answer that differs is lost; the table is for people. */
static void test_no_truths(void **state)
{
    struct tool_result result;

    (void)state;
    text_write(work_path("plain.tsv"), "0.jpg\n1.jpg\n2.jpg\n");
    result = TOOL("evaluate", LOCAL, work_path("plain.tsv"), "--forms");
    assert_int_equal(result.status, TOOL_DONE);
    assert_non_null(strstr(result.out, "as they came"));
    assert_non_null(strstr(result.out, "2x the model, quality 50"));
    assert_null(strstr(result.out, "4x the model"));
    tool_free(&result);
    result = TOOL("evaluate", LOCAL, work_path("plain.tsv"), "--forms", "--csv");
    assert_non_null(strstr(result.out, ",0,0,3,"));
    assert_non_null(strstr(result.out, ",1.0000,,0.0000\n"));
    tool_free(&result);
}

static void test_refusals(void **state)
{
    static uint8_t rgb[8 * 8 * 3];
    const struct engine_picture tiny = {ENGINE_PIXELS_RGB, 8, 8, 0, rgb, sizeof(rgb)};
    char error[ENGINE_ERROR_BYTES];
    uint8_t *data;
    size_t bytes;

    (void)state;
    assert_int_equal(engine_picture_encode(&tiny, 8, 8, 90, &data, &bytes, error), 0);
    file_write(work_path("tiny.jpg"), data, bytes);
    free(data);
    text_write(work_path("tiny.tsv"), "tiny.jpg\n");
    EXPECT(TOOL_FAILED, "no picture is as large as the 32 x 32", "evaluate", LOCAL,
           work_path("tiny.tsv"), "--forms");
    text_write(work_path("bad.tsv"), "tiny.tsv\n");
    EXPECT(TOOL_FAILED, "bad.tsv:1: ", "evaluate", LOCAL, work_path("bad.tsv"), "--forms");
    text_write(work_path("bad.tsv"), "0.jpg\tunicorn\n");
    EXPECT(TOOL_FAILED, "\"unicorn\" is no class", "evaluate", LOCAL, work_path("bad.tsv"),
           "--forms");
    EXPECT(TOOL_FAILED, "models that look at pictures", "evaluate", ENCODER, work_path("plain.tsv"),
           "--forms");
    EXPECT(TOOL_WRONG_USE, "are of --forms", "evaluate", LOCAL, work_path("plain.tsv"), "--csv");
    EXPECT(TOOL_WRONG_USE, "are of --forms", "evaluate", LOCAL, work_path("plain.tsv"), "--each");
}

/* What was measured of a model holds for this file alone. Where nothing but its metadata changed,
 * so does nothing but the digest; else measure again (objects-edge.md says how). */
static void test_the_shipped_file_is_of_the_shipped_model(void **state)
{
    struct picture_effects effects;
    struct engine_model *model;
    char why[256], error[ENGINE_ERROR_BYTES];

    (void)state;
    assert_int_equal(picture_effects_load(EFFECTS, &effects, why, sizeof(why)), 0);
    assert_int_equal(engine_model_open(EDGE, &model, error), 0);
    assert_string_equal(effects.model_digest, engine_model_digest(model));
    assert_int_equal(effects.count, PICTURE_SCALES * PICTURE_QUALITIES);
    assert_true(effects.pictures >= 1000);
    engine_model_unref(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each),
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_no_truths),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_the_shipped_file_is_of_the_shipped_model),
    };

    return cmocka_run_group_tests(tests, work_begin, work_end);
}
