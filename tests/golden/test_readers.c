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

/* The texts of a golden file (as bpe.golden) through a converted model's own tokenizer. */
static void texts_check(const struct engine_model *model)
{
    size_t bytes, at = 4;
    uint8_t *expected = golden_read("../checkpoints/llama_pieces.golden", &bytes);

    for (uint32_t i = 0; i < le32_load(expected); i++) {
        const uint32_t text_bytes = le32_load(expected + at);
        const char *text = (const char *)expected + at + 4;
        const uint32_t id_count = le32_load(expected + at + 4 + text_bytes);
        char error[ENGINE_ERROR_BYTES];
        uint32_t ids[1024];
        size_t count = 0;

        at += 8 + text_bytes;
        assert_int_equal(engine_tokenize_prompt(model, text, text_bytes, ids, 1024, &count, error),
                         0);
        assert_int_equal(count, id_count);
        for (size_t j = 0; j < count; j++, at += 4) {
            assert_int_equal(ids[j], le32_load(expected + at));
        }
    }
    assert_int_equal(at, bytes);
    free(expected);
}

/* tokenizer.json or tokenizer.model beside a checkpoint is taken and said, unless told not to. */
static void test_tokenizer_beside(void **state)
{
    static const struct {
        const char *folder, *file, *choice;
    } beside[] = {
        {"llama_pieces", "tokenizer.json", NULL},
        {"llama_pieces", "tokenizer.json", "none"},
        {"llama_sentencepiece", "tokenizer.model", NULL},
        {"llama_sentencepiece", "tokenizer.model", "none"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(beside) / sizeof(beside[0]); i++) {
        const char *choice = beside[i].choice;
        char from[512], name[100], to[] = "/tmp/tandem-reader.XXXXXX", *said = NULL;
        const char *words[] = {"tandem-model", "convert", from, to, choice ? "--tokenizer" : NULL,
                               choice,         NULL};
        struct engine_model *model = NULL;
        char error[ENGINE_ERROR_BYTES] = "";
        size_t said_bytes;
        FILE *notes = open_memstream(&said, &said_bytes);

        close(mkstemp(to));
        snprintf(name, sizeof(name), "../checkpoints/%s", beside[i].folder);
        golden_path(from, name);
        assert_int_equal(tool_main(choice ? 6 : 4, (char **)(uintptr_t)words, stdout, notes),
                         TOOL_DONE);
        fclose(notes);
        assert_int_equal(engine_model_open(to, &model, error), 0);
        assert_int_equal(engine_model_info(model)->has_tokenizer, !choice);
        assert_int_equal(strstr(said, beside[i].file) != NULL, !choice);
        if (!choice) {
            texts_check(model);
            assert_true(engine_is_end_token(model, 2));
        }
        engine_model_unref(model);
        unlink(to);
        free(said);
    }
}

/* A small model that writes stories: the words PyTorch's greedy choice gives. */
static void test_story(void **state)
{
    static const char wanted[] = ", there was a little girl named Lily.";
    struct engine_model *model = NULL;
    struct golden golden = golden_load("stories260k");
    char error[ENGINE_ERROR_BYTES] = "";
    const char *words[] = {"tandem-model",     "run",          NULL, "--prompt",
                           "Once upon a time", "--max-tokens", "20", NULL};
    char path[512], *told = NULL;
    size_t told_bytes;
    FILE *out = open_memstream(&told, &told_bytes);

    (void)state;
    golden_path(path, "stories260k.gguf");
    words[2] = path;
    assert_int_equal(tool_main(7, (char **)(uintptr_t)words, out, stderr), TOOL_DONE);
    fclose(out);
    assert_true(told_bytes > sizeof(wanted) && memcmp(told, wanted, strlen(wanted)) == 0);
    free(told);
    assert_int_equal(engine_model_open(path, &model, error), 0);
    assert_true(decoder_worst(model, &golden, ENGINE_KV_F32, 7, 1) < 1e-4f); /* seen: 2e-5 */
    engine_model_unref(model);
    free(golden.file);
}

int main(void)
{
    struct CMUnitTest tests[CASES + 2] = {[CASES] = cmocka_unit_test(test_tokenizer_beside),
                                          [CASES + 1] = cmocka_unit_test(test_story)};

    for (size_t i = 0; i < CASES; i++) {
        tests[i] = (struct CMUnitTest){.name = cases[i].file,
                                       .test_func = test_converted_computes_what_pytorch_does,
                                       .initial_state = (void *)(uintptr_t)&cases[i]};
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
