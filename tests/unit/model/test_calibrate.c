/* calibrate: the copy says what was fitted and is the same model otherwise; lists and files that
 * are refused; what is not written then. */
#include "tests/unit/model/model_tool.h"

#include <dirent.h>
#include <math.h>

#define STORIES "tests/golden/data/stories260k.gguf"
#define OBJECTS "deploy/models/objects-local.gguf"
#define SAMPLES "deploy/models/samples"
#define ENCODER "tests/golden/data/encoder_kv.gguf"
#define TOKENS  "4" /* of an answer */

static const char *const who[] = {"Lily",     "Tim",        "The cat", "A dog", "Mom",
                                  "The girl", "One day he", "Sam",     "Dad",   "The bird"};
static const char *const does[] = {"went to the", "was very",  "had a big", "said",
                                   "liked to",    "wanted to", "saw a",     "ran"};
enum { PROMPTS = 80 };

static void prompt_make(int i, char ret_prompt[64])
{
    snprintf(ret_prompt, 64, "%s %s", who[i % 10], does[i / 10]);
}

/* What `run` says, and how sure it is. */
static double run_sure(const char *model, const char *prompt, char ret_text[256])
{
    struct tool_result result = TOOL("run", model, "--prompt", prompt, "--max-tokens", TOKENS);
    const char *sure = strstr(result.notes, "sure to ");
    double value;

    assert_int_equal(result.status, TOOL_DONE);
    assert_non_null(sure);
    value = strtod(sure + strlen("sure to "), NULL);
    snprintf(ret_text, 256, "%.*s", (int)strcspn(result.out, "\n"), result.out);
    tool_free(&result);
    return value;
}

/* Every third answer is wrong; nothing that the model says of itself tells which. */
static const char *stories_list(void)
{
    const char *path = work_path("stories.tsv");
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    for (int i = 0; i < PROMPTS; i++) {
        char prompt[64], text[256];

        prompt_make(i, prompt);
        (void)run_sure(STORIES, prompt, text);
        assert_null(strchr(text, '\t'));
        fprintf(file, "%s\t%s\n", prompt, i % 7 % 3 ? text : "no");
    }
    fclose(file);
    return path;
}

static struct calibration calibration_of(const char *path)
{
    char error[ENGINE_ERROR_BYTES] = "";
    struct calibration calibration;
    struct engine_model *model;

    if (engine_model_open(path, &model, error) != 0) {
        fail_msg("%s", error);
    }
    calibration = engine_model_info(model)->calibration;
    engine_model_unref(model);
    return calibration;
}

/* Every pair of `from` is in `to`, but for general.alignment, and every tensor, bit by bit. */
static void expect_copy(const char *from_path, const char *to_path)
{
    struct engine_file *from = file_get(from_path), *to = file_get(to_path);
    size_t at = 0;

    for (size_t i = 0; i < engine_file_pair_count(from); i++) {
        const struct engine_file_pair pair = engine_file_pair(from, i);
        struct engine_file_pair same = {.bytes = 0};

        if (strncmp(pair.key, "general.alignment", pair.key_bytes) == 0) {
            continue;
        }
        assert_true(at < engine_file_pair_count(to));
        same = engine_file_pair(to, at++);
        assert_int_equal(same.bytes, pair.bytes);
        assert_memory_equal(same.data, pair.data, pair.bytes);
    }
    assert_int_equal(engine_file_tensor_count(from), engine_file_tensor_count(to));
    for (size_t i = 0; i < engine_file_tensor_count(from); i++) {
        const struct engine_file_tensor a = engine_file_tensor(from, i),
                                        b = engine_file_tensor(to, i);

        assert_int_equal(a.name_bytes, b.name_bytes);
        assert_memory_equal(a.name, b.name, a.name_bytes);
        assert_int_equal(a.type, b.type);
        assert_memory_equal(a.dimensions, b.dimensions, sizeof(a.dimensions));
        assert_memory_equal(a.data, b.data, engine_weight_bytes(a.type, a.elements));
    }
    engine_file_close(from);
    engine_file_close(to);
}

static double number_after(const char *text, const char *key)
{
    const char *at = strstr(text, key);

    assert_non_null(at);
    return strtod(at + strlen(key), NULL);
}

/* The confidence of the copy's answers is what the table in it makes of the model's own; calibrated
 * once more, it gives the same file. */
static void test_texts(void **state)
{
    char list[160], out[160], again[160];
    struct calibration calibration;
    struct tool_result result;
    const char *before, *after;

    (void)state;
    snprintf(list, sizeof(list), "%s", stories_list());
    snprintf(out, sizeof(out), "%s", work_path("stories.gguf"));
    snprintf(again, sizeof(again), "%s", work_path("again.gguf"));
    result = TOOL("calibrate", STORIES, list, out, "--max-tokens", TOKENS, "--json");
    assert_int_equal(result.status, TOOL_DONE);
    assert_int_equal((int)number_after(result.out, "\"examples\":"), PROMPTS);
    assert_int_equal((int)number_after(result.out, "\"held_out\":"), PROMPTS / 3);
    before = strstr(result.out, "\"before\":");
    after = strstr(result.out, "\"after\":");
    assert_non_null(before);
    assert_non_null(after);
    assert_true(number_after(after, "\"brier\":") < number_after(before, "\"brier\":"));
    assert_true(number_after(after, "\"ece\":") < number_after(before, "\"ece\":"));
    tool_free(&result);
    calibration = calibration_of(out);
    assert_true(calibration_is_sound(&calibration) && calibration.count > 0);
    assert_int_equal(calibration_of(STORIES).count, 0);
    expect_copy(STORIES, out);
    result = TOOL("info", out, "--json");
    assert_int_equal((size_t)number_after(result.out, "\"calibration_points\":"),
                     calibration.count);
    tool_free(&result);
    result = TOOL("info", out);
    assert_non_null(strstr(result.out, "calibration            temperature 1, a table of "));
    tool_free(&result);
    for (int i = 0; i < PROMPTS; i += 9) {
        char prompt[64], text[256], same[256];
        double raw, sure;

        prompt_make(i, prompt);
        raw = run_sure(STORIES, prompt, text);
        sure = run_sure(out, prompt, same);
        assert_string_equal(text, same);
        assert_true(fabs(sure - calibration_apply(&calibration, raw)) < 1e-3);
        assert_true(fabs(sure - raw) > 0.05); /* it was not right before */
    }
    EXPECT(TOOL_DONE, NULL, "calibrate", out, list, again, "--max-tokens", TOKENS);
    assert_true(files_same(out, again));
}

/* The picture of SAMPLES with `more` bytes behind it, which no decoder minds: another file. */
static void picture_copy(const char *name, int more, char ret_path[320])
{
    char from[320], block[8192];
    FILE *in, *out;
    size_t got;

    snprintf(from, sizeof(from), SAMPLES "/%s", name);
    snprintf(ret_path, 320, "%s", work_path(name));
    in = fopen(from, "rb");
    out = fopen(ret_path, "wb");
    assert_non_null(in);
    assert_non_null(out);
    got = fread(block, 1, sizeof(block) - 8, in);
    assert_true(got > 0 && feof(in));
    memset(block + got, 0, (size_t)more);
    assert_int_equal(fwrite(block, 1, got + (size_t)more, out), got + (size_t)more);
    fclose(in);
    fclose(out);
}

/* Three lines for each of the pictures in SAMPLES: itself, a file that differs, and itself. */
static const char *pictures_list(void)
{
    static char path[160];
    DIR *folder = opendir(SAMPLES);
    char here[256];
    FILE *file;

    snprintf(path, sizeof(path), "%s", work_path("pictures.tsv"));
    file = fopen(path, "w");
    assert_non_null(getcwd(here, sizeof(here)));
    assert_non_null(folder);
    assert_non_null(file);
    for (const struct dirent *at; (at = readdir(folder));) {
        const int label = (int)strcspn(at->d_name, "-");

        if (strstr(at->d_name, ".jpg")) {
            char copy[320];

            picture_copy(at->d_name, 1, copy);
            fprintf(file, "%s/" SAMPLES "/%s\t%.*s\n", here, at->d_name, label, at->d_name);
            fprintf(file, "%s\t%.*s\n", copy, label, at->d_name);
            fprintf(file, "%s/" SAMPLES "/%s\t%.*s\n", here, at->d_name, label, at->d_name);
        }
    }
    closedir(folder);
    fclose(file);
    return path;
}

/* The classes of the copy are those of the model, and both are as often right. */
static void test_pictures(void **state)
{
    char list[160], out[160];
    struct tool_result result, model, copy;

    (void)state;
    snprintf(list, sizeof(list), "%s", pictures_list());
    snprintf(out, sizeof(out), "%s", work_path("pictures.gguf"));
    result = TOOL("calibrate", OBJECTS, list, out);
    assert_int_equal(result.status, TOOL_DONE);
    assert_non_null(strstr(result.out, "examples: 80, of them "));
    assert_non_null(
        strstr(result.out, "\nrepeated: 40 lines with an input that was there before "));
    assert_non_null(strstr(result.out, "\ntemperature "));
    assert_non_null(strstr(result.out, "\nlogistic "));
    assert_non_null(strstr(result.out, "\ntable "));
    assert_non_null(strstr(result.out, "\nmethod: "));
    assert_non_null(strstr(result.out, "\nbefore "));
    assert_non_null(strstr(result.out, "\nafter "));
    tool_free(&result);
    model = TOOL("evaluate", OBJECTS, list);
    copy = TOOL("evaluate", out, list);
    assert_string_equal(model.out, copy.out);
    tool_free(&model);
    tool_free(&copy);
}

static void test_refused(void **state)
{
    char list[160], few[160], out[160], link_path[160];

    (void)state;
    snprintf(list, sizeof(list), "%s", pictures_list());
    snprintf(few, sizeof(few), "%s", work_path("few.tsv"));
    snprintf(out, sizeof(out), "%s", work_path("not.gguf"));
    snprintf(link_path, sizeof(link_path), "%s", work_path("link.gguf"));
    text_write(few, "Lily went\tto\n\nTim was\ta\n");
    EXPECT(TOOL_FAILED, "2 examples are too few", "calibrate", STORIES, few, out);
    text_write(few, "Lily went\tto\n\nTim was\n");
    EXPECT(TOOL_FAILED, "few.tsv:3: ", "calibrate", STORIES, few, out);
    text_write(few, "Lily went\tto\nTim was\ta\n\nLily went\tto\n");
    EXPECT(TOOL_FAILED, "2 examples are too few (1 more are inputs that were there before), 60",
           "calibrate", STORIES, few, out);
    text_write(few, "Lily went\tto\nTim was\ta\n\nLily went\taway\n");
    EXPECT(TOOL_FAILED, "few.tsv:4: the same input was there before with another truth",
           "calibrate", STORIES, few, out);
    text_write(few, "a.jpg\tunicorn\n");
    EXPECT(TOOL_FAILED, "few.tsv:1: \"unicorn\" is no class", "calibrate", OBJECTS, few, out);
    text_write(few, "a.jpg\tcat\n");
    EXPECT(TOOL_FAILED, "a.jpg", "calibrate", OBJECTS, few, out);
    EXPECT(TOOL_FAILED, "no answers", "calibrate", ENCODER, list, out);
    EXPECT(TOOL_WRONG_USE, "no OUT", "calibrate", OBJECTS, list);
    EXPECT(TOOL_WRONG_USE, "another name", "calibrate", OBJECTS, list, OBJECTS);
    EXPECT(TOOL_WRONG_USE, "another name", "calibrate", OBJECTS, list, list);
    assert_int_equal(symlink(list, link_path), 0);
    EXPECT(TOOL_WRONG_USE, "another name", "calibrate", OBJECTS, list, link_path);
    EXPECT(TOOL_FAILED, "nowhere", "calibrate", OBJECTS, list, "/tmp/nowhere/out.gguf");
    assert_int_not_equal(access(out, F_OK), 0); /* none of them has left anything */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_texts),
                                       cmocka_unit_test(test_pictures),
                                       cmocka_unit_test(test_refused)};

    return cmocka_run_group_tests(tests, work_begin, work_end);
}
