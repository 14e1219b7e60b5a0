/* golden_run.h: runs a model on the inputs of a golden case; the largest difference from what
 * PyTorch computed. */
#ifndef TANDEM_TESTS_GOLDEN_RUN_H
#define TANDEM_TESTS_GOLDEN_RUN_H

#include "common/engine/engine.h"
#include "common/engine/forward.h"
#include "tests/golden/golden.h"

#include <math.h>

static inline struct engine_context *context_new(struct engine_model *model, uint32_t max_tokens,
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

static inline float worst_of(const float *values, const float *expected, size_t count)
{
    float worst = 0;

    for (size_t i = 0; i < count; i++) {
        const float off = fabsf(values[i] - expected[i]);

        worst = off <= worst ? worst : off; /* NaN sticks */
    }
    return worst;
}

/* Runs the case's tokens in chunks of `chunk`; the largest difference over all rows. */
static inline float decoder_worst(struct engine_model *model, const struct golden *golden,
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

static inline float encoder_worst(struct engine_model *model, const struct golden *golden,
                                  uint32_t threads)
{
    struct engine_context *context = context_new(model, golden->count, threads);
    const float *logits = NULL;
    float worst;

    assert_int_equal(engine_encode_tokens(context, (const uint32_t *)(const void *)golden->inputs,
                                          golden->count, NULL, &logits),
                     0);
    worst = worst_of(logits, golden->values, (size_t)golden->rows * golden->columns);
    engine_context_free(context);
    return worst;
}

/* Two pictures at once, both the case's. */
static inline float vit_worst(struct engine_model *model, const struct golden *golden,
                              uint32_t threads)
{
    struct engine_context *context =
        context_new(model, 4 * engine_model_info(model)->n_context, threads);
    const float *pictures[2] = {(const float *)(const void *)golden->inputs,
                                (const float *)(const void *)golden->inputs};
    const float *logits = NULL;
    float first, second;

    assert_int_equal(engine_picture_floats(model), golden->count);
    assert_int_equal(engine_encode_pictures(context, pictures, 2, NULL, &logits), 0);
    first = worst_of(logits, golden->values, golden->columns);
    second = worst_of(logits + golden->columns, golden->values, golden->columns);
    engine_context_free(context);
    return first <= second ? second : first; /* NaN sticks */
}

#endif
