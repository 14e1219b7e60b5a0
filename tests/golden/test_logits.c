/* The engine's outputs against PyTorch's, all at once, in chunks and token by token, on one thread
 * and on three that share every piece of work. */
#include "common/engine/engine.h"
#include "tests/golden/golden_run.h"

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
    const float worst = encoder_worst(model, &golden, threads);

    print_message("%s: %.2g\n", name, (double)worst);
    assert_true(worst < TOLERANCE_F32);
    free(golden.file);
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
    const float worst = vit_worst(model, &golden, threads);

    print_message("%s: %.2g\n", name, (double)worst);
    assert_true(worst < TOLERANCE_F32);
    free(golden.file);
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
        "decoder_qkv_f32",
        "decoder_qk_f32",
        "decoder_kv_f32",
        "decoder_q_f32",
        "decoder_qkv_g2_f32",
        "decoder_qkv_g1_f32",
        "decoder_kv_g2_f32",
        "decoder_kv_g1_f32",
        "decoder_qkv_f16",
        "decoder_qk_f16",
        "decoder_kv_f16",
        "decoder_q_f16",
        "decoder_qkv_g2_f16",
        "decoder_qkv_g1_f16",
        "decoder_kv_g2_f16",
        "decoder_kv_g1_f16",
        "llama_qkv",
        "llama_qkv_halves",
        "llama_qkv_g2",
        "llama_qkv_g1_part",
        "llama_fused",
        "llama_kv",
        "llama_kv_g2_halves",
        "llama_kv_relative",
        "llama_kv_g1_relative",
        "llama_qk",
        "llama_q",
        "llama_q_relative",
        "llama_kv_g2_f16",
        "encoder_qkv",
        "encoder_kv",
        "encoder_qk_x",
        "encoder_q_x",
        "vit_patch_cls",
        "vit_patch_seq_x",
        "vit_conv_cls_x",
        "vit_conv_seq",
        "vit_patch_grey",
    };
    struct CMUnitTest tests[sizeof names / sizeof names[0]];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        tests[i] = (struct CMUnitTest){
            .name = names[i],
            .test_func = names[i][0] == 'd' || names[i][0] == 'l' ? decoder_check
                         : names[i][0] == 'e'                     ? encoder_check
                                                                  : vit_check,
            .initial_state = names[i],
        };
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
