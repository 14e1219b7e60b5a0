/* perplexity against PyTorch's number, and against a plain computation of the same definition, one
 * chunk and one position after the other. */
#include "common/base/limits.h"
#include "common/model/gguf_write.h"
#include "tests/unit/model/model_tool.h"

#include <math.h>

#define EDGE  "deploy/models/commands-edge.gguf"
#define LOCAL "deploy/models/commands-local.gguf"
#define TEXT  "deploy/models/samples/commands.txt"

static double value_of(const char *out)
{
    const char *at = strstr(out, "perplexity: ");

    assert_non_null(at);
    assert_int_equal(strchr(at, '\n')[1], '\0'); /* the last line */
    return strtod(at + strlen("perplexity: "), NULL);
}

static double tool_value(const char *model, const char *text, const char *ctx)
{
    struct tool_result result = TOOL("perplexity", model, text, "--ctx", ctx);
    double value;

    if (result.status != TOOL_DONE) {
        fail_msg("%s", result.notes);
    }
    assert_null(strchr(result.notes, '\r')); /* progress is for terminals */
    value = value_of(result.out);
    tool_free(&result);
    return value;
}

static void near(double found, double wanted, double relative)
{
    if (!(fabs(found - wanted) <= relative * wanted)) {
        fail_msg("%.9g, not %.9g", found, wanted);
    }
}

/* tests/golden/make_perplexity.py EDGE TEXT 64, and LOCAL ... 32 */
static void test_pytorch(void **state)
{
    (void)state;
    near(tool_value(EDGE, TEXT, "64"), 15740.959961, 1e-3);
    near(tool_value(LOCAL, TEXT, "32"), 246053.046875, 1e-3);
}

/* ---- the definition, plainly ---- */

static double row_surprise(const float *row, uint32_t n, uint32_t id)
{
    double sum = 0;

    for (uint32_t i = 0; i < n; i++) {
        sum += exp((double)row[i]);
    }
    return log(sum) - (double)row[id];
}

static double plain_value(const char *path, const char *text_path, uint32_t ctx)
{
    char error[ENGINE_ERROR_BYTES] = "";
    struct engine_model *model = NULL;
    struct engine_pool *pool = NULL;
    struct engine_context *context = NULL;
    uint32_t ids[4096], bos = 0, start;
    size_t bytes, count = 0, scored = 0;
    uint8_t *text = bytes_of(text_path, &bytes);
    double sum = 0;

    assert_int_equal(engine_model_open(path, &model, error), 0);
    assert_int_equal(engine_pool_new(model, ENGINE_KV_F16, 4u << 20, &pool, error), 0);
    assert_int_equal(input_context(model, 1, &context, error), 0);
    start = engine_bos_token(model, &bos);
    assert_int_equal(
        engine_tokenize(model, (const char *)text, bytes, ids + start, 4095, &count, error), 0);
    for (size_t at = 0; at + ctx <= count + start; at += ctx) {
        struct engine_seq seq;

        ids[at] = start ? bos : ids[at];
        engine_seq_init(&seq, pool);
        assert_int_equal(engine_seq_reserve(&seq, ctx), 0);
        for (uint32_t i = 0; i + 1 < ctx; i++) {
            struct engine_chunk chunk = {
                .seq = &seq, .tokens = ids + at + i, .count = 1, .want = ENGINE_LOGITS_LAST};
            const float *logits = NULL;

            assert_int_equal(engine_step(context, &chunk, 1, NULL, &logits), 0);
            if (i >= ctx / 2) {
                sum += row_surprise(logits, engine_model_info(model)->n_vocab, ids[at + i + 1]);
                scored++;
            }
        }
        engine_seq_fini(&seq);
    }
    free(text);
    engine_context_free(context);
    engine_pool_free(pool);
    engine_model_unref(model);
    assert_true(scored > 0);
    return exp(sum / (double)scored);
}

static void test_definition(void **state)
{
    static const char *const sizes[] = {"4", "7", "16", "63", "64"};

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        near(tool_value(EDGE, TEXT, sizes[i]),
             plain_value(EDGE, TEXT, (uint32_t)strtoul(sizes[i], NULL, 10)), 1e-4);
    }
}

/* EDGE, whose file says now that a text begins with BOS. */
static void bos_model_write(const char *path, uint32_t id)
{
    char error[ENGINE_ERROR_BYTES] = "", name[64];
    struct engine_file *from = NULL;
    struct gguf_file *to = NULL;
    struct gguf_writer writer;

    assert_int_equal(engine_file_open(EDGE, &from, error), 0);
    gguf_writer_init(&writer);
    for (size_t i = 0; i < engine_file_pair_count(from); i++) {
        const struct engine_file_pair pair = engine_file_pair(from, i);

        if (pair.key_bytes != 28 || memcmp(pair.key, "tokenizer.ggml.add_bos_token", 28) != 0) {
            gguf_put_pair(&writer, pair.data, pair.bytes);
        }
    }
    gguf_put_bool(&writer, "tokenizer.ggml.add_bos_token", true);
    gguf_put_u32(&writer, "tokenizer.ggml.bos_token_id", id);
    for (size_t i = 0; i < engine_file_tensor_count(from); i++) {
        const struct engine_file_tensor tensor = engine_file_tensor(from, i);

        snprintf(name, sizeof(name), "%.*s", (int)tensor.name_bytes, tensor.name);
        gguf_put_tensor(&writer, name, tensor.type, tensor.dimensions, tensor.dimension_count);
    }
    assert_int_equal(gguf_file_create(&writer, path, &to, error), 0);
    for (size_t i = 0; i < engine_file_tensor_count(from); i++) {
        const struct engine_file_tensor tensor = engine_file_tensor(from, i);

        assert_int_equal(
            gguf_file_append_packed(
                to, tensor.data, (size_t)engine_weight_bytes(tensor.type, tensor.elements), error),
            0);
        assert_int_equal(gguf_file_tensor_end(to, error), 0);
    }
    assert_int_equal(gguf_file_commit(to, error), 0);
    gguf_writer_fini(&writer);
    engine_file_close(from);
}

static void test_bos(void **state)
{
    double with, without;

    (void)state;
    bos_model_write(work_path("bos.gguf"), 1);
    with = tool_value(work_path("bos.gguf"), TEXT, "16");
    without = tool_value(EDGE, TEXT, "16");
    near(with, plain_value(work_path("bos.gguf"), TEXT, 16), 1e-4);
    assert_true(fabs(with - without) > 0.01 * without);
}

/* Q8_0 within 1 % of the file it was made from. */
static void test_q8_0_is_near(void **state)
{
    (void)state;
    EXPECT(TOOL_DONE, NULL, "quantize", EDGE, work_path("q8.gguf"), "Q8_0");
    near(tool_value(work_path("q8.gguf"), TEXT, "64"), tool_value(EDGE, TEXT, "64"), 0.01);
}

/* A model that was trained on stories, and stories: Q8_0 costs less than one per cent of F32, four
 * bits cost more than eight. */
static void test_types_on_stories(void **state)
{
    static const char stories[] = "tests/golden/data/stories260k.gguf",
                      text[] = "tests/unit/model/data/story.txt";
    double wide, half, eight, four;

    (void)state;
    EXPECT(TOOL_DONE, NULL, "quantize", stories, work_path("wide.gguf"), "F32");
    EXPECT(TOOL_DONE, NULL, "quantize", stories, work_path("eight.gguf"), "Q8_0");
    EXPECT(TOOL_DONE, NULL, "quantize", stories, work_path("four.gguf"), "Q4_0");
    half = tool_value(stories, text, "128");
    wide = tool_value(work_path("wide.gguf"), text, "128");
    eight = tool_value(work_path("eight.gguf"), text, "128");
    four = tool_value(work_path("four.gguf"), text, "128");
    print_message("perplexity: F32 %.4f, F16 %.4f, Q8_0 %.4f, Q4_0 %.4f\n", wide, half, eight,
                  four);
    assert_true(wide > 3 && wide < 6); /* it knows such sentences: of 512 tokens, 4.5 are likely */
    near(half, wide, 1e-4);            /* the same numbers */
    near(eight, wide, 0.01);           /* seen: 0.07 per cent */
    assert_true(eight != wide && four > eight && four < 1.1 * wide);
}

static void test_refused(void **state)
{
    FILE *file;

    (void)state;
    EXPECT(TOOL_FAILED, "4 to 64 tokens", "perplexity", EDGE, TEXT, "--ctx", "65");
    EXPECT(TOOL_FAILED, "4 to 64 tokens", "perplexity", EDGE, TEXT, "--ctx", "3");
    EXPECT(TOOL_FAILED, "an encoder", "perplexity", "deploy/models/objects-local.gguf", TEXT);
    EXPECT(TOOL_FAILED, "No such file", "perplexity", EDGE, work_path("none"));
    EXPECT(TOOL_WRONG_USE, "no TEXT", "perplexity", EDGE);
    text_write(work_path("short"), "walk walk walk");
    EXPECT(TOOL_FAILED, "is 3 tokens; at least one chunk of 4", "perplexity", EDGE,
           work_path("short"), "--ctx", "4");
    text_write(work_path("strange"), "walk with me");
    EXPECT(TOOL_FAILED, "with", "perplexity", EDGE, work_path("strange"), "--ctx", "4");
    file = fopen(work_path("long"), "wb"); /* a hole, which takes no disk */
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), (off_t)LIMIT_TEXT_FILE_BYTES + 1), 0);
    fclose(file);
    EXPECT(TOOL_FAILED, "over the limit", "perplexity", EDGE, work_path("long"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pytorch),
        cmocka_unit_test(test_definition),
        cmocka_unit_test(test_bos),
        cmocka_unit_test(test_q8_0_is_near),
        cmocka_unit_test(test_types_on_stories),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, work_begin, work_end);
}
