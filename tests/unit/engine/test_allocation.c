/* A step allocates nothing, on any thread, once the first one has run (BLAS takes its buffers
 * then). */
#include "common/engine/forward.h"
#include "tests/unit/engine/models.h"
#include "tests/support/allocations.h"

static struct engine_context *context_get(struct engine_model *model, uint32_t threads)
{
    const struct engine_context_params params = {
        .max_tokens = 96, .max_sequences = 4, .threads = threads};
    struct engine_context *context = NULL;
    char error[ENGINE_ERROR_BYTES];

    assert_int_equal(engine_context_new(model, &params, &context, error), 0);
    context->team_work = 0;
    return context;
}

/* A prefill, and single tokens over the border of a page. */
static void steps_run(struct engine_context *context, struct engine_seq *seq)
{
    static const uint32_t tokens[40] = {1, 2, 3};
    const float *logits;

    for (int i = 0; i < 26; i++) {
        struct engine_chunk chunk = {seq, tokens, i ? 1 : 40, ENGINE_LOGITS_LAST, 0};

        assert_int_equal(engine_step(context, &chunk, 1, NULL, &logits), 0);
    }
}

static void decoder_check(const char *name, uint32_t threads)
{
    struct engine_model *model = model_get(name);
    struct engine_context *context = context_get(model, threads);
    struct engine_pool *pool = NULL;
    struct engine_seq seq;
    char error[ENGINE_ERROR_BYTES];
    unsigned before;

    assert_int_equal(engine_pool_new(model, ENGINE_KV_F16, 1u << 20, &pool, error), 0);
    engine_seq_init(&seq, pool);
    assert_int_equal(engine_seq_reserve(&seq, 66), 0);
    steps_run(context, &seq);
    seq.length = 0;
    before = atomic_load(&allocations);
    steps_run(context, &seq);
    assert_int_equal(atomic_load(&allocations), before);
    engine_seq_fini(&seq);
    engine_pool_free(pool);
    engine_context_free(context);
    engine_model_unref(model);
}

static void test_step(void **state)
{
    (void)state;
    allocations_check();
    decoder_check("decoder_qkv_f32", 1);
    decoder_check("decoder_kv_f16", 1);
    decoder_check("decoder_kv_g1_f16", 3);
}

static void picture_check(const char *name, uint32_t threads)
{
    struct engine_model *model = model_get(name);
    struct engine_context *context = context_get(model, threads);
    float *picture = calloc(engine_picture_floats(model), sizeof(float));
    const float *pictures[] = {picture, picture, picture}, *logits;
    unsigned before;

    assert_int_equal(engine_encode_pictures(context, pictures, 3, NULL, &logits), 0);
    before = atomic_load(&allocations);
    assert_int_equal(engine_encode_pictures(context, pictures, 3, NULL, &logits), 0);
    assert_int_equal(atomic_load(&allocations), before);
    free(picture);
    engine_context_free(context);
    engine_model_unref(model);
}

static void test_pictures(void **state)
{
    (void)state;
    allocations_check();
    picture_check("vit_conv_seq", 1);
    picture_check("vit_patch_cls", 3);
}

static void test_tokens(void **state)
{
    static const uint32_t tokens[20] = {1, 2, 3};
    struct engine_context *context;
    struct engine_model *model;
    const float *logits;
    unsigned before;

    (void)state;
    allocations_check(); /* first: where it skips, nothing may be left behind */
    model = model_get("encoder_q_x");
    context = context_get(model, 3);
    assert_int_equal(engine_encode_tokens(context, tokens, 20, NULL, &logits), 0);
    before = atomic_load(&allocations);
    assert_int_equal(engine_encode_tokens(context, tokens, 20, NULL, &logits), 0);
    assert_int_equal(atomic_load(&allocations), before);
    engine_context_free(context);
    engine_model_unref(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_step), cmocka_unit_test(test_pictures),
                                       cmocka_unit_test(test_tokens)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
