/* synth: the paper's parameter counts to the last one, and files that open and run. */
#include "common/model/synth.h"
#include "tests/unit/model/model_tool.h"

static uint64_t parameters_of(const char *shape, const char *projection, uint32_t kv_heads)
{
    const struct synth_options options = {
        .shape = shape, .projection = projection, .kv_heads = kv_heads};
    char error[ENGINE_ERROR_BYTES] = "";
    struct target target;
    uint64_t sum = 0;

    target_init(&target);
    assert_int_equal(synth_describe(&options, &target, error), 0);
    for (size_t i = 0; i < target.count; i++) {
        uint64_t elements = 1;

        for (uint32_t j = 0; j < target.tensors[i].dimension_count; j++) {
            elements *= target.tensors[i].dimensions[j];
        }
        sum += elements;
    }
    target_fini(&target);
    return sum;
}

static void test_parameters_are_the_papers(void **state)
{
    static const struct {
        const char *shape, *projection;
        uint32_t kv_heads;
        uint64_t parameters;
    } rows[] = {
        {"300M", "QKV", 0, 305534976},    {"300M", "Q=K-V", 0, 284542976},
        {"300M", "Q-K=V", 0, 284542976},  {"300M", "Q=K=V", 0, 263550976},
        {"300M", "QKV", 4, 274046976},    {"300M", "QKV", 8, 284542976},
        {"300M", "QKV", 1, 266174976},    {"300M", "Q-K=V", 4, 268798976},
        {"300M", "Q-K=V", 8, 274046976},  {"300M", "Q-K=V", 1, 264862976},
        {"1.2B", "QKV", 0, 1215102976},   {"1.2B", "Q-K=V", 0, 1122783232},
        {"1.2B", "QKV", 8, 1076623360},   {"1.2B", "QKV", 1, 1036233472},
        {"1.2B", "Q-K=V", 8, 1053543424}, {"1.2B", "Q-K=V", 1, 1033348480},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(parameters_of(rows[i].shape, rows[i].projection, rows[i].kv_heads),
                         rows[i].parameters);
    }
}

static void model_check(const char *projection, const char *kv_heads, const char *type)
{
    const uint32_t g = (uint32_t)strtoul(kv_heads, NULL, 10);
    char error[ENGINE_ERROR_BYTES] = "";
    struct engine_model *model = NULL;
    const struct engine_model_info *info;
    struct tool_result result;

    EXPECT(TOOL_DONE, "", "synth", "--shape", "tiny", "--projection", projection, "--kv-heads",
           kv_heads, "--type", type, work_path("m.gguf"));
    assert_int_equal(engine_model_open(work_path("m.gguf"), &model, error), 0);
    info = engine_model_info(model);
    assert_int_equal(info->parameters, parameters_of("tiny", projection, g));
    assert_string_equal(info->projection_text, projection);
    assert_int_equal(info->n_head_kv, g);
    assert_string_equal(info->type_text, type);
    engine_model_unref(model);
    result = TOOL("logits", work_path("m.gguf"), "--tokens", "1,2,3,4,5,6,7,8,9,10");
    assert_int_equal(result.status, TOOL_DONE);
    assert_null(strstr(result.out, "null")); /* finite */
    tool_free(&result);
    EXPECT(TOOL_DONE, "prompt: 5 tokens", "run", work_path("m.gguf"), "--prompt", "bytes",
           "--max-tokens", "3");
}

static void test_tiny_models_run(void **state)
{
    (void)state;
    model_check("QKV", "4", "F32");
    model_check("QKV", "1", "F16");
    model_check("Q=K-V", "4", "BF16");
    model_check("Q-K=V", "2", "Q8_0");
    model_check("Q=K=V", "4", "Q4_0");
}

/* Another number of layers, positions and tokens in place of the shape's. */
static void test_parts_of_a_shape(void **state)
{
    char error[ENGINE_ERROR_BYTES] = "";
    struct engine_model *model = NULL;
    const struct engine_model_info *info;

    (void)state;
    EXPECT(TOOL_DONE, "", "synth", "--shape", "tiny", "--layers", "3", "--context", "77",
           "--vocabulary", "256", work_path("m.gguf"));
    assert_int_equal(engine_model_open(work_path("m.gguf"), &model, error), 0);
    info = engine_model_info(model);
    assert_int_equal(info->n_layer, 3);
    assert_int_equal(info->n_context, 77);
    assert_int_equal(info->n_vocab, 256);
    assert_int_equal(info->n_embd, 64);
    engine_model_unref(model);
}

static void test_seed(void **state)
{
    (void)state;
    EXPECT(TOOL_DONE, NULL, "synth", "--shape", "tiny", work_path("a.gguf"));
    EXPECT(TOOL_DONE, NULL, "synth", "--shape", "tiny", work_path("b.gguf"), "--seed", "0");
    assert_true(files_same(work_path("a.gguf"), work_path("b.gguf")));
    EXPECT(TOOL_DONE, NULL, "synth", "--shape", "tiny", work_path("b.gguf"), "--seed", "1");
    assert_false(files_same(work_path("a.gguf"), work_path("b.gguf")));
}

/* Numbers come from their place alone, look normal, and differ from tensor to tensor. */
static void test_numbers(void **state)
{
    const struct synth_options options = {.shape = "tiny", .projection = "Q-K=V"};
    char error[ENGINE_ERROR_BYTES] = "";
    struct target target;
    const struct target_tensor *tensor, *other;
    static float whole[20000], piece[100];
    double sum = 0, squares = 0;

    (void)state;
    target_init(&target);
    assert_int_equal(synth_describe(&options, &target, error), 0);
    tensor = &target.tensors[0];
    other = &target.tensors[1];
    tensor->make(tensor, 0, whole, 20000);
    tensor->make(tensor, 777, piece, 100);
    assert_memory_equal(whole + 777, piece, sizeof(piece));
    other->make(other, 777, piece, 100);
    assert_memory_not_equal(whole + 777, piece, sizeof(piece));
    for (size_t i = 0; i < 20000; i++) {
        sum += (double)whole[i];
        squares += (double)whole[i] * (double)whole[i];
    }
    assert_true(sum / 20000 < 6e-4 && sum / 20000 > -6e-4); /* four deviations of the mean */
    assert_true(squares / 20000 > 0.0196 * 0.0196 && squares / 20000 < 0.0204 * 0.0204);
    target_fini(&target);
}

static void test_refused(void **state)
{
    (void)state;
    EXPECT(TOOL_WRONG_USE, "synth needs --shape", "synth", work_path("no.gguf"));
    EXPECT(TOOL_WRONG_USE, "300M, 1.2B, tiny", "synth", work_path("no.gguf"), "--shape", "7B");
    EXPECT(TOOL_WRONG_USE, "QKV, Q=K-V", "synth", work_path("no.gguf"), "--shape", "tiny",
           "--projection", "K=V");
    EXPECT(TOOL_WRONG_USE, "3 does not divide the 4 heads", "synth", work_path("no.gguf"),
           "--shape", "tiny", "--kv-heads", "3");
    EXPECT(TOOL_WRONG_USE, "8 does not divide the 4 heads", "synth", work_path("no.gguf"),
           "--shape", "tiny", "--kv-heads", "8");
    EXPECT(TOOL_WRONG_USE, "Q=K) needs as many", "synth", work_path("no.gguf"), "--shape", "tiny",
           "--projection", "Q=K=V", "--kv-heads", "2");
    EXPECT(TOOL_WRONG_USE, "--layers is 1 to 1024", "synth", work_path("no.gguf"), "--shape",
           "tiny", "--layers", "1025");
    EXPECT(TOOL_WRONG_USE, "--vocabulary is 256 to", "synth", work_path("no.gguf"), "--shape",
           "tiny", "--vocabulary", "255");
    EXPECT(TOOL_WRONG_USE, "--context is 1 to", "synth", work_path("no.gguf"), "--shape", "tiny",
           "--context", "1048577");
    EXPECT(TOOL_WRONG_USE, "\"Q3\"", "synth", work_path("no.gguf"), "--shape", "tiny", "--type",
           "Q3");
    EXPECT(TOOL_WRONG_USE, "no OUT", "synth", "--shape", "tiny");
    assert_int_equal(access(work_path("no.gguf"), F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parameters_are_the_papers),
        cmocka_unit_test(test_tiny_models_run),
        cmocka_unit_test(test_parts_of_a_shape),
        cmocka_unit_test(test_seed),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, work_begin, work_end);
}
