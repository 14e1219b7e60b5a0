/* bench: which tests a model gets, that they run what they say, and the three forms of the result.
 */
#include "common/base/limits.h"
#include "common/model/timing.h"
#include "tests/unit/model/model_tool.h"

#include <cjson/cJSON.h>

#define STORIES "tests/golden/data/stories260k.gguf"

static void names_check(uint32_t context, uint32_t prompt, uint32_t generate,
                        const char *const *wanted, size_t count)
{
    const struct engine_model_info info = {.architecture = ENGINE_LLAMA, .n_context = context};
    struct timing_test tests[TIMING_TESTS];

    assert_int_equal(timing_tests(&info, prompt, generate, tests), count);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(tests[i].name, wanted[i]);
        assert_true(tests[i].before + tests[i].count <= context);
    }
}
#define NAMES(context, prompt, generate, ...)                                                      \
    names_check(context, prompt, generate, (const char *const[]){__VA_ARGS__},                     \
                sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

static void test_names(void **state)
{
    struct timing_test tests[TIMING_TESTS];
    struct engine_model_info info = {.architecture = ENGINE_VIT, .n_context = 65};

    (void)state;
    NAMES(4096, 512, 128, "pp512", "tg128", "tg128@2048", "batch8");
    NAMES(2176, 512, 128, "pp512", "tg128", "tg128@2048", "batch8");
    NAMES(2175, 512, 128, "pp512", "tg128", "batch8");
    NAMES(511, 512, 128, "pp511", "tg128", "batch8");
    NAMES(64, 512, 128, "pp64", "tg64", "batch8");
    NAMES(4096, 0, 9, "tg9", "tg9@2048", "batch8");
    NAMES(4096, 7, 0, "pp7");
    assert_int_equal(timing_tests(&info, 0, 0, tests), 1);
    assert_string_equal(tests[0].name, "image");
    info.architecture = ENGINE_ENCODER;
    assert_int_equal(timing_tests(&info, 0, 0, tests), 1);
    assert_string_equal(tests[0].name, "pp65");
    info.n_context = LIMIT_BATCH_TOKENS + 1; /* more than a step takes */
    assert_int_equal(timing_tests(&info, 0, 0, tests), 1);
    assert_int_equal(tests[0].chunk, LIMIT_BATCH_TOKENS);
}

/* Lines of CSV: as many as names, each with a rate. */
static void csv_check(const char *path, const char *type, const char *const *names, size_t count)
{
    struct tool_result result =
        TOOL("bench", path, "-p", "40", "-n", "16", "-t", "2", "-r", "1", "--csv");
    char *at = result.out, *next;

    assert_int_equal(result.status, TOOL_DONE);
    assert_int_equal(strncmp(at, "model,type,threads,test,tokens_per_s\n", 37), 0);
    at += 37;
    for (size_t i = 0; i < count; i++) {
        char test[32] = "", kind[16] = "";
        unsigned threads = 0;
        double rate = 0;

        next = strchr(at, '\n');
        assert_non_null(next);
        assert_int_equal(
            sscanf(strchr(at, ','), ",%15[^,],%u,%31[^,],%lf", kind, &threads, test, &rate), 4);
        assert_string_equal(kind, type);
        assert_int_equal(threads, 2);
        assert_string_equal(test, names[i]);
        assert_true(rate > 0);
        at = next + 1;
    }
    assert_int_equal(*at, '\0');
    tool_free(&result);
}

static void test_csv(void **state)
{
    static const char *const decoder[] = {"pp40", "tg16", "batch8"}, *const image[] = {"image"},
                             *const encoder[] = {"pp24"};

    (void)state;
    csv_check(STORIES, "F16", decoder, 3);
    csv_check("tests/golden/data/vit_patch_grey.gguf", "F16", image, 1);
    csv_check("tests/golden/data/encoder_kv.gguf", "F32", encoder, 1);
}

static void test_deep(void **state)
{
    struct tool_result result;

    (void)state;
    EXPECT(TOOL_DONE, "", "synth", "--shape", "tiny", "--context", "2052", "--vocabulary", "256",
           work_path("deep.gguf"));
    result = TOOL("bench", work_path("deep.gguf"), "-p", "0", "-n", "4", "-r", "1");
    assert_int_equal(result.status, TOOL_DONE);
    assert_non_null(strstr(result.out, "deep"));
    assert_non_null(strstr(result.out, "tg4@2048"));
    assert_null(strstr(result.out, "pp"));
    tool_free(&result);
}

static void test_json(void **state)
{
    struct tool_result result = TOOL("bench", STORIES, "-p", "8", "-n", "0", "-r", "2", "--json");
    cJSON *json = cJSON_Parse(result.out);
    const cJSON *tests = cJSON_GetObjectItem(json, "tests");

    (void)state;
    assert_int_equal(result.status, TOOL_DONE);
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(json, "model")), "stories260k");
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(json, "type")), "F16");
    assert_int_equal(cJSON_GetArraySize(tests), 1);
    assert_true(cJSON_GetNumberValue(
                    cJSON_GetObjectItem(cJSON_GetArrayItem(tests, 0), "tokens_per_s")) > 0);
    cJSON_Delete(json);
    tool_free(&result);
}

static void test_wrong_use(void **state)
{
    char most[16], over[16];

    (void)state;
    snprintf(most, sizeof(most), "%d", LIMIT_STEP_THREADS);
    snprintf(over, sizeof(over), "%d", LIMIT_STEP_THREADS + 1);
    EXPECT(TOOL_WRONG_USE, "nothing to run", "bench", STORIES, "-p", "0", "-n", "0");
    EXPECT(TOOL_WRONG_USE, "-r is one", "bench", STORIES, "-r", "0");
    EXPECT(TOOL_WRONG_USE, "exclude", "bench", STORIES, "--csv", "--json");
    EXPECT(TOOL_WRONG_USE, "-t: ", "bench", STORIES, "-t", over);
    EXPECT(TOOL_WRONG_USE, "does not know \"-p\"", "info", STORIES, "-p", "1");
    EXPECT(TOOL_DONE, "", "bench", STORIES, "-t", most, "-p", "1", "-n", "0", "-r", "1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names), cmocka_unit_test(test_csv),       cmocka_unit_test(test_deep),
        cmocka_unit_test(test_json),  cmocka_unit_test(test_wrong_use),
    };

    return cmocka_run_group_tests(tests, work_begin, work_end);
}
