/* The engine's outputs against PyTorch's, all at once, in chunks and token by token, on one thread
 * and on three that share every piece of work. */
#include "common/engine/engine.h"
#include "common/engine/forward.h"
#include "tests/golden/golden.h"

#include <math.h>

/* Seen: 5e-7 with F32 pages, 3e-4 with F16 ones, which round keys and values to 11 bits, which the
 * softmax and two layers pass on. */
#define TOLERANCE_F32       1e-4f
#define TOLERANCE_F16_PAGES 2e-3f

static struct engine_model *model_open(const char *name)
{
    struct engine_model *model = NULL;
    char file[128], path[512], error[ENGINE_ERROR_BYTES] = "";

    snprintf(file, sizeof file, "%s.gguf", name);
    golden_path(path, file);
    if (engine_model_open(path, &model, error) != 0) {
        fail_msg("%s", error);
    }
    return model;
}

static struct engine_context *context_new(struct engine_model *model, uint32_t max_tokens,
                                          uint32_t threads)
{
    const struct engine_context_params params = {
        .max_tokens = max_tokens, .max_sequences = 4, .threads = threads};
    struct engine_context *context = NULL;
    char error[ENGINE_ERROR_BYTES] = "";

    if (engine_context_new(model, &params, &context, error) != 0) {
        fail_msg("%s", error);
    }
    context->team_work = 0; /* these models are small */
    return context;
}

static float worst_of(const float *values, const float *expected, size_t count)
{
    float worst = 0;

    for (size_t i = 0; i < count; i++) {
        const float off = fabsf(values[i] - expected[i]);

        worst = off <= worst ? worst : off; /* NaN sticks */
    }
    return worst;
}

/* Runs the case's tokens in chunks of `chunk`; the largest difference over all rows. */
static float decoder_worst(struct engine_model *model, const struct golden *golden,
                           enum engine_kv_type type, uint32_t chunk, uint32_t threads)
{
    struct engine_context *context = context_new(model, golden->count, threads);
    struct engine_pool *pool = NULL;
    struct engine_seq seq;
    char error[ENGINE_ERROR_BYTES];
    float worst = 0;

    assert_int_equal(engine_pool_new(model, type, 1u << 20, &pool, error), 0);
    engine_seq_init(&seq, pool);
    for (uint32_t at = 0; at < golden->count; at += chunk) {
        const uint32_t here = golden->count - at < chunk ? golden->count - at : chunk;
        struct engine_chunk piece = {.seq = &seq,
                                     .count = here,
                                     .want = ENGINE_LOGITS_ALL,
                                     .tokens = (const uint32_t *)(const void *)golden->inputs + at};
        const float *logits = NULL;
        float off;

        assert_int_equal(engine_seq_reserve(&seq, here), 0);
        assert_int_equal(engine_step(context, &piece, 1, NULL, &logits), 0);
        off = worst_of(logits, golden->values + (size_t)at * golden->columns,
                       (size_t)here * golden->columns);
        worst = off <= worst ? worst : off;
    }
    assert_int_equal(seq.length, golden->count);
    engine_seq_fini(&seq);
    engine_pool_free(pool);
    engine_context_free(context);
    return worst;
}

static void decoder_check(void **state)
{
    static const uint32_t chunks[] = {1000, 13, 32, 1};
    const char *name = *state;
    struct engine_model *model = model_open(name);
    struct golden golden = golden_load(name);

    assert_int_equal(engine_model_info(model)->n_class, golden.columns);
    for (size_t i = 0; i < sizeof chunks / sizeof chunks[0]; i++) {
        for (uint32_t threads = 1; threads <= 3; threads += 2) {
            const float f32 = decoder_worst(model, &golden, ENGINE_KV_F32, chunks[i], threads);
            const float f16 = decoder_worst(model, &golden, ENGINE_KV_F16, chunks[i], threads);

            print_message("%s chunks of %u, threads %u: F32 pages %.2g, F16 pages %.2g\n", name,
                          chunks[i], threads, (double)f32, (double)f16);
            assert_true(f32 < TOLERANCE_F32);
            assert_true(f16 < TOLERANCE_F16_PAGES);
        }
    }
    free(golden.file);
    engine_model_unref(model);
}

static void encoder_run(const char *name, uint32_t threads)
{
    struct engine_model *model = model_open(name);
    struct golden golden = golden_load(name);
    struct engine_context *context = context_new(model, golden.count, threads);
    const float *logits = NULL;
    float worst;

    assert_int_equal(engine_encode_tokens(context, (const uint32_t *)(const void *)golden.inputs,
                                          golden.count, NULL, &logits),
                     0);
    worst = worst_of(logits, golden.values, (size_t)golden.rows * golden.columns);
    print_message("%s: %.2g\n", name, (double)worst);
    assert_true(worst < TOLERANCE_F32);
    free(golden.file);
    engine_context_free(context);
    engine_model_unref(model);
}

static void encoder_check(void **state)
{
    encoder_run(*state, 1);
    encoder_run(*state, 3);
}

static void vit_run(const char *name, uint32_t threads)
{
    struct engine_model *model = model_open(name);
    struct golden golden = golden_load(name);
    struct engine_context *context =
        context_new(model, 4 * engine_model_info(model)->n_context, threads);
    const float *pictures[2] = {(const float *)(const void *)golden.inputs,
                                (const float *)(const void *)golden.inputs};
    const float *logits = NULL;
    float worst;

    assert_int_equal(engine_picture_floats(model), golden.count);
    assert_int_equal(engine_encode_pictures(context, pictures, 2, NULL, &logits), 0);
    worst = worst_of(logits, golden.values, golden.columns);
    assert_true(worst < TOLERANCE_F32);
    worst = worst_of(logits + golden.columns, golden.values, golden.columns);
    print_message("%s: %.2g\n", name, (double)worst);
    assert_true(worst < TOLERANCE_F32);
    free(golden.file);
    engine_context_free(context);
    engine_model_unref(model);
}

static void vit_check(void **state)
{
    vit_run(*state, 1);
    vit_run(*state, 3);
}

int main(void)
{
    static char names[][32] = {
        "decoder_qkv_f32",    "decoder_qk_f32",     "decoder_kv_f32",    "decoder_q_f32",
        "decoder_qkv_g2_f32", "decoder_qkv_g1_f32", "decoder_kv_g2_f32", "decoder_kv_g1_f32",
        "decoder_qkv_f16",    "decoder_qk_f16",     "decoder_kv_f16",    "decoder_q_f16",
        "decoder_qkv_g2_f16", "decoder_qkv_g1_f16", "decoder_kv_g2_f16", "decoder_kv_g1_f16",
        "encoder_qkv",        "encoder_kv",         "encoder_qk_x",      "encoder_q_x",
        "vit_patch_cls",      "vit_patch_seq_x",    "vit_conv_cls_x",    "vit_conv_seq",
        "vit_patch_grey",
    };
    struct CMUnitTest tests[sizeof names / sizeof names[0]];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        tests[i] = (struct CMUnitTest){
            .name = names[i],
            .test_func = names[i][0] == 'd'   ? decoder_check
                         : names[i][0] == 'e' ? encoder_check
                                              : vit_check,
            .initial_state = names[i],
        };
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
