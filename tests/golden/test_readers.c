/* llama2.c and .safetensors checkpoints converted by tandem-model, against the outputs that PyTorch
 * computes from the same numbers (make_readers.py). */
#include "common/model/tool.h"
#include "tests/golden/golden_run.h"

#include <unistd.h>

#define TOLERANCE 1e-3f /* of F32 files; seen below 1e-5 */

struct reader_case {
    const char *name, *file, *architecture;
    uint32_t kv_heads;
};

static const struct reader_case cases[] = {
    {"llama2c", "llama2c.bin", "llama", 2},
    {"llama2c_own", "llama2c_own.bin", "llama", 4},
    {"llama_hf", "llama_hf", "llama", 2},
    {"llama_hf", "llama_hf/model.safetensors", "llama", 2},
    {"llama_shards", "llama_shards", "llama", 1},
    {"llama_shards", "llama_shards/model.safetensors.index.json", "llama", 1},
    {"llama_f64", "llama_f64", "llama", 4},
    {"gpt2_hf", "gpt2_hf", "gpt2", 4},
};
#define CASES (sizeof(cases) / sizeof(cases[0]))

static void test_converted_computes_what_pytorch_does(void **state)
{
    const struct reader_case *reader = *state;
    char from[512], name[100], to[] = "/tmp/tandem-reader.XXXXXX", error[ENGINE_ERROR_BYTES] = "";
    const char *words[] = {"tandem-model", "convert", from, to, "--type", "F32", NULL};
    struct engine_model *model = NULL;
    struct golden golden;
    float worst;
    int file = mkstemp(to);

    assert_true(file >= 0);
    close(file);
    snprintf(name, sizeof(name), "../checkpoints/%s", reader->file);
    golden_path(from, name);
    assert_int_equal(tool_main(6, (char **)(uintptr_t)words, stdout, stderr), TOOL_DONE);
    if (engine_model_open(to, &model, error) != 0) {
        fail_msg("%s", error);
    }
    unlink(to);
    snprintf(name, sizeof(name), "../checkpoints/%s", reader->name);
    golden = golden_load(name);
    assert_string_equal(engine_model_info(model)->architecture_text, reader->architecture);
    assert_int_equal(engine_model_info(model)->n_head_kv, reader->kv_heads);
    worst = decoder_worst(model, &golden, ENGINE_KV_F32, 13, 1);
    print_message("%s: %.2g\n", reader->file, (double)worst);
    assert_true(worst < TOLERANCE);
    free(golden.file);
    engine_model_unref(model);
}

int main(void)
{
    struct CMUnitTest tests[CASES];

    for (size_t i = 0; i < CASES; i++) {
        tests[i] = (struct CMUnitTest){.name = cases[i].file,
                                       .test_func = test_converted_computes_what_pytorch_does,
                                       .initial_state = (void *)(uintptr_t)&cases[i]};
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
