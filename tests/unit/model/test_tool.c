#include "common/model/tool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define DATA "tests/golden/data/"

struct result {
    int status;
    char *out, *notes;
};

/* Runs the tool with up to seven arguments. */
static struct result tool(const char *a, const char *b, const char *c, const char *d, const char *e)
{
    const char *words[] = {"tandem-model", a, b, c, d, e, NULL};
    size_t out_bytes, notes_bytes;
    struct result result = {0};
    FILE *out = open_memstream(&result.out, &out_bytes);
    FILE *notes = open_memstream(&result.notes, &notes_bytes);
    int count = 1;

    while (words[count]) {
        count++;
    }
    result.status = tool_main(count, (char **)(uintptr_t)words, out, notes);
    fclose(out);
    fclose(notes);
    return result;
}

static void result_free(struct result *result)
{
    free(result->out);
    free(result->notes);
}

static size_t lines(const char *text)
{
    size_t count = 0;

    for (; *text; text++) {
        count += *text == '\n';
    }
    return count;
}

/* The paper's table for the 300M shapes: 20 layers, 16 heads of 64. */
static void test_cache_bytes_are_the_papers(void **state)
{
    static const struct {
        const char *name;
        uint32_t tensors, kv_heads;
        double kib, reduction;
    } rows[] = {
        {"QKV", 2, 16, 80, 0},       {"Q-K=V", 1, 16, 40, 50},     {"Q=K-V", 2, 16, 80, 0},
        {"Q=K=V", 1, 16, 40, 50},    {"GQA-4", 2, 4, 20, 75},      {"MQA", 2, 1, 5, 93.75},
        {"Q-GQA-4", 1, 4, 10, 87.5}, {"Q-MQA", 1, 1, 2.5, 96.875},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(info_kv_bytes(rows[i].tensors, 20, rows[i].kv_heads, 64),
                         (uint64_t)(rows[i].kib * 1024));
        assert_true(info_kv_reduction(rows[i].tensors, rows[i].kv_heads, 16) == rows[i].reduction);
    }
}

/* What the engine says of its own files is that formula. */
static void test_info(void **state)
{
    struct result result = tool("info", DATA "decoder_kv_g1_f16.gguf", "--json", NULL, NULL);
    char expected[64];

    (void)state;
    assert_int_equal(result.status, TOOL_DONE);
    snprintf(expected, sizeof expected, "\"kv_bytes_per_token\":%u",
             (unsigned)info_kv_bytes(1, 2, 1, 8));
    assert_non_null(strstr(result.out, expected));
    assert_non_null(strstr(result.out, "\"projection\":\"Q-K=V\""));
    assert_non_null(strstr(result.out, "\"kv_tensors_per_layer\":1"));
    assert_non_null(strstr(result.out, "\"n_head_kv\":1"));
    assert_int_equal(lines(result.out), 1);
    assert_string_equal(result.notes, "");
    result_free(&result);
    result = tool("info", DATA "decoder_kv_g1_f16.gguf", NULL, NULL, NULL);
    assert_int_equal(result.status, TOOL_DONE);
    assert_non_null(strstr(result.out, "87.5 % less"));
    result_free(&result);
    result = tool("info", DATA "vit_conv_seq.gguf", "--json", NULL, NULL);
    assert_non_null(strstr(result.out, "\"kv_bytes_per_token\":0"));
    result_free(&result);
}

static void test_logits(void **state)
{
    struct result last, all;

    (void)state;
    last = tool("logits", DATA "decoder_kv_f32.gguf", "--tokens", "1,2,3", NULL);
    all = tool("logits", DATA "decoder_kv_f32.gguf", "--tokens", "1,2,3", "--all");
    assert_int_equal(last.status, TOOL_DONE);
    assert_int_equal(all.status, TOOL_DONE);
    assert_memory_equal(last.out, "{\"logits\": [", 12);
    assert_memory_equal(all.out, "{\"logits\": [[", 13);
    assert_int_equal(lines(all.out), 3);
    result_free(&last);
    result_free(&all);
    last = tool("logits", DATA "encoder_kv.gguf", "--tokens", "1,2", NULL);
    assert_int_equal(last.status, TOOL_DONE);
    assert_int_equal(lines(last.out), 2);
    result_free(&last);
    last = tool("logits", DATA "vit_conv_seq.gguf", "--image", DATA "picture.jpg", NULL);
    assert_int_equal(last.status, TOOL_DONE);
    result_free(&last);
}

static void test_run(void **state)
{
    struct result first, again;

    (void)state;
    first = tool("run", DATA "vit_conv_seq.gguf", "--image", DATA "picture.jpg", NULL);
    assert_int_equal(first.status, TOOL_DONE);
    assert_int_equal(lines(first.out), 5);
    assert_memory_equal(first.out, "c", 1);
    result_free(&first);
    first = tool("run", DATA "bpe.gguf", "--prompt", "the robot", NULL);
    again = tool("run", DATA "bpe.gguf", "--prompt", "the robot", NULL);
    assert_int_equal(first.status, TOOL_DONE);
    assert_string_equal(first.out, again.out);
    assert_non_null(strstr(first.notes, "prompt: "));
    result_free(&first);
    result_free(&again);
}

/* Exit status 2: wrong use; 1: failed. Both: one line, nothing on standard output. */
static void test_errors(void **state)
{
    static const struct {
        int status;
        const char *words[5];
    } cases[] = {
        {2, {"perplexity", "x"}},
        {2, {"info"}},
        {2, {"info", "x", "--all"}},
        {2, {"logits", DATA "decoder_kv_f32.gguf"}},
        {2, {"logits", DATA "decoder_kv_f32.gguf", "--tokens"}},
        {2, {"run", "x", "--prompt", "x", "--top-p=2"}},
        {1, {"info", "tests/golden/no-such.gguf"}},
        {1, {"info", DATA "picture.png"}},
        {1, {"logits", DATA "decoder_kv_f32.gguf", "--tokens", "1,,2"}},
        {1, {"logits", DATA "decoder_kv_f32.gguf", "--tokens", "41"}},
        {1, {"logits", DATA "decoder_kv_f32.gguf", "--image", "x"}},
        {1, {"run", DATA "decoder_kv_f32.gguf", "--prompt", "x"}}, /* no tokenizer */
        {1, {"run", DATA "vit_conv_seq.gguf", "--image", DATA "bpe.golden"}},
        {1, {"run", DATA "encoder_kv.gguf", "--prompt", "x"}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *const *words = cases[i].words;
        struct result result = tool(words[0], words[1], words[2], words[3], words[4]);

        if (result.status != cases[i].status || lines(result.notes) != 1 || result.out[0]) {
            fail_msg("case %zu: status %d, \"%s\"", i, result.status, result.notes);
        }
        result_free(&result);
    }
}

static void test_help(void **state)
{
    static const char *const commands[] = {"\n  info FILE ",
                                           "\n  run FILE ",
                                           "\n  logits FILE ",
                                           "\n  perplexity FILE TEXT ",
                                           "\n  convert IN OUT ",
                                           "\n  synth OUT ",
                                           "\n  quantize IN OUT TYPE ",
                                           "\n  evaluate FILE LIST "};
    struct result result = tool("help", NULL, NULL, NULL, NULL);

    (void)state;
    assert_int_equal(result.status, TOOL_DONE);
    assert_non_null(strstr(result.out, "--max-tokens N"));
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        assert_non_null(strstr(result.out, commands[i]));
    }
    result_free(&result);
    result = tool(NULL, NULL, NULL, NULL, NULL);
    assert_int_equal(result.status, TOOL_WRONG_USE);
    result_free(&result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cache_bytes_are_the_papers),
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_logits),
        cmocka_unit_test(test_run),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_help),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
