/* A model of every type of weights against the same model whose numbers were packed and unpacked
 * again into F32: what is left is the order of sums. All at once, which widens panels, and token by
 * token, which reads the stored bytes. The models have rows of 48 too, which are F16 in the
 * quantised files. */
#include "common/model/tool.h"
#include "tests/golden/golden_run.h"

#include <unistd.h>

#define TOLERANCE 1e-4f

static char packed_path[64], rounded_path[64];

static void quantize(const char *from, const char *to, const char *type)
{
    const char *words[] = {"tandem-model", "quantize", from, to, type, NULL};

    assert_int_equal(tool_main(5, (char **)(uintptr_t)words, stdout, stderr), TOOL_DONE);
}

static struct engine_model *open_at(const char *path)
{
    char error[ENGINE_ERROR_BYTES] = "";
    struct engine_model *model = NULL;

    if (engine_model_open(path, &model, error) != 0) {
        fail_msg("%s", error);
    }
    return model;
}

/* The golden case's inputs with the rounded model's own outputs; *returns owned* values. */
static float *decoder_values(struct engine_model *model, const struct golden *golden)
{
    struct engine_context *context = context_new(model, golden->count, 1);
    struct engine_pool *pool = NULL;
    struct engine_seq seq;
    const size_t bytes = (size_t)golden->count * golden->columns * sizeof(float);
    float *values = malloc(bytes);
    char error[ENGINE_ERROR_BYTES];
    struct engine_chunk chunk = {.seq = &seq,
                                 .count = golden->count,
                                 .want = ENGINE_LOGITS_ALL,
                                 .tokens = (const uint32_t *)(const void *)golden->inputs};
    const float *logits = NULL;

    assert_non_null(values);
    assert_int_equal(engine_pool_new(model, ENGINE_KV_F32, 1u << 20, &pool, error), 0);
    engine_seq_init(&seq, pool);
    assert_int_equal(engine_seq_reserve(&seq, golden->count), 0);
    assert_int_equal(engine_step(context, &chunk, 1, NULL, &logits), 0);
    memcpy(values, logits, bytes);
    engine_seq_fini(&seq);
    engine_pool_free(pool);
    engine_context_free(context);
    return values;
}

static float *vit_values(struct engine_model *model, const struct golden *golden)
{
    struct engine_context *context = context_new(model, engine_model_info(model)->n_context, 1);
    const float *picture = (const float *)(const void *)golden->inputs;
    float *values = malloc(golden->columns * sizeof(float));
    const float *logits = NULL;

    assert_non_null(values);
    assert_int_equal(engine_encode_pictures(context, &picture, 1, NULL, &logits), 0);
    memcpy(values, logits, golden->columns * sizeof(float));
    engine_context_free(context);
    return values;
}

struct weights_case {
    const char *model, *type;
    bool vision;
};

static void weights_check(void **state)
{
    const struct weights_case *c = *state;
    struct golden golden = golden_load(c->model);
    struct engine_model *packed, *rounded;
    const float *truth = golden.values;
    char file[128], path[512];
    float *values, off = 0;

    snprintf(file, sizeof(file), "%s.gguf", c->model);
    golden_path(path, file);
    quantize(path, packed_path, c->type);
    quantize(packed_path, rounded_path, "F32");
    packed = open_at(packed_path);
    rounded = open_at(rounded_path);
    assert_string_equal(engine_model_info(packed)->type_text, c->type);
    assert_string_equal(engine_model_info(rounded)->type_text, "F32");
    values = c->vision ? vit_values(rounded, &golden) : decoder_values(rounded, &golden);
    golden.values = values;
    if (c->vision) {
        off = vit_worst(packed, &golden, 1);
    } else {
        for (uint32_t chunk = 1; chunk <= 1000; chunk += 999) {
            for (uint32_t threads = 1; threads <= 3; threads += 2) {
                const float here = decoder_worst(packed, &golden, ENGINE_KV_F32, chunk, threads);

                off = here <= off ? off : here; /* NaN sticks */
            }
        }
    }
    print_message("%s as %s: %.2g from the rounded model, %.2g from PyTorch's F32\n", c->model,
                  c->type, (double)off,
                  (double)worst_of(values, truth, (size_t)golden.rows * golden.columns));
    assert_true(off <= TOLERANCE);
    free(values);
    free(golden.file);
    engine_model_unref(packed);
    engine_model_unref(rounded);
}

static int files_make(void **state)
{
    (void)state;
    strcpy(packed_path, "/tmp/tandem-packed-XXXXXX");
    strcpy(rounded_path, "/tmp/tandem-rounded-XXXXXX");
    return close(mkstemp(packed_path)) || close(mkstemp(rounded_path));
}

static int files_remove(void **state)
{
    (void)state;
    return unlink(packed_path) || unlink(rounded_path);
}

#define CASE(NAME, TYPE, VISION)                                                                   \
    {                                                                                              \
        NAME " " TYPE, weights_check, NULL, NULL, &(struct weights_case)                           \
        {                                                                                          \
            NAME, TYPE, VISION                                                                     \
        }                                                                                          \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE("decoder_qkv_f32", "F16", false),    CASE("decoder_qkv_f32", "BF16", false),
        CASE("decoder_qkv_f32", "Q8_0", false),   CASE("decoder_qkv_f32", "Q4_0", false),
        CASE("decoder_kv_g1_f32", "BF16", false), CASE("decoder_kv_g1_f32", "Q8_0", false),
        CASE("decoder_kv_g1_f32", "Q4_0", false), CASE("decoder_q_f32", "Q8_0", false),
        CASE("vit_conv_cls_x", "BF16", true),     CASE("vit_conv_cls_x", "Q8_0", true),
        CASE("vit_conv_cls_x", "Q4_0", true),
    };

    return cmocka_run_group_tests(tests, files_make, files_remove);
}
