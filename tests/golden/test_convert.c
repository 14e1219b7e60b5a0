/* Checkpoints as the paper's code and release save them, converted by tandem-model, against the
 * outputs of the PyTorch modules they were saved from (make_checkpoints.py). */
#include "common/model/tool.h"
#include "tests/golden/golden_run.h"

#include <unistd.h>

#define TOLERANCE 1e-3f /* of F32 files; seen below 1e-5 */

struct checkpoint {
    const char *name, *projection;
    uint32_t kv_heads;
};

static const struct checkpoint checkpoints[] = {
    {"lm_qkv", "QKV", 4},
    {"lm_qek_v", "Q=K-V", 4},
    {"lm_q_kev", "Q-K=V", 4},
    {"lm_qekev", "Q=K=V", 4},
    {"lm_gqa", "QKV", 2},
    {"lm_mqa", "QKV", 1},
    {"lm_q_gqa", "Q-K=V", 2},
    {"lm_q_mqa", "Q-K=V", 1},
    {"encoder_qkv", "QKV", 4},
    {"encoder_qek_v", "Q=K-V", 4},
    {"encoder_q_kev", "Q-K=V", 4},
    {"encoder_qekev", "Q=K=V", 4},
    {"encoder_qek_v_plus", "Q=K-V", 4},
    {"encoder_qekev_plus", "Q=K=V", 4},
    {"encoder_qvv", "Q-K=V", 4},
    {"vision_qkv", "QKV", 4},
    {"vision_q_kev", "Q-K=V", 4},
    {"vision_qekev_plus", "Q=K=V", 4},
    {"vision_qek_v", "Q=K-V", 4},
    {"vision_qekev", "Q=K=V", 4},
    {"vision_qek_v_plus", "Q=K-V", 4},
};
#define CHECKPOINTS (sizeof(checkpoints) / sizeof(checkpoints[0]))

static char folder[] = "/tmp/tandem-convert.XXXXXX";

/* Runs `tandem-model convert`; 0 or its exit status, with what it said printed. */
static int convert(const char *from, const char *to, const char *type)
{
    const char *words[] = {"tandem-model", "convert", from, to, "--type", type, NULL};

    return tool_main(6, (char **)(uintptr_t)words, stdout, stderr);
}

static void checkpoint_path(char path[512], const struct checkpoint *checkpoint, const char *type)
{
    snprintf(path, 512, "%s/%s-%s.gguf", folder, checkpoint->name, type);
}

static struct engine_model *converted_open(const struct checkpoint *checkpoint, const char *type)
{
    char name[128], from[512], to[512], error[ENGINE_ERROR_BYTES] = "";
    struct engine_model *model = NULL;

    snprintf(name, sizeof(name), "../checkpoints/%s.pt", checkpoint->name);
    golden_path(from, name);
    checkpoint_path(to, checkpoint, type);
    assert_int_equal(convert(from, to, type), TOOL_DONE);
    if (engine_model_open(to, &model, error) != 0) {
        fail_msg("%s", error);
    }
    return model;
}

static void test_variant_computes_what_pytorch_does(void **state)
{
    const struct checkpoint *checkpoint = *state;
    struct engine_model *model = converted_open(checkpoint, "F32");
    const struct engine_model_info *info = engine_model_info(model);
    char name[100];
    struct golden golden;
    float worst;

    snprintf(name, sizeof(name), "../checkpoints/%s", checkpoint->name);
    golden = golden_load(name);
    assert_string_equal(info->projection_text, checkpoint->projection);
    assert_int_equal(info->n_head_kv, checkpoint->kv_heads);
    worst = engine_is_decoder(info->architecture)
                ? decoder_worst(model, &golden, ENGINE_KV_F32, 13, 1)
            : info->architecture == ENGINE_ENCODER ? encoder_worst(model, &golden, 1)
                                                   : vit_worst(model, &golden, 1);
    print_message("%s: %.2g\n", checkpoint->name, (double)worst);
    assert_true(worst < TOLERANCE);
    free(golden.file);
    engine_model_unref(model);
}

static uint8_t *file_read(const char *path, size_t *ret_bytes)
{
    uint8_t *data = malloc(1u << 20);
    FILE *file = fopen(path, "rb");

    assert_non_null(data);
    assert_non_null(file);
    *ret_bytes = fread(data, 1, 1u << 20, file);
    fclose(file);
    return data;
}

static void test_converting_twice_gives_the_same_bytes(void **state)
{
    char path[512];
    uint8_t *first, *second;
    size_t first_bytes, second_bytes;

    (void)state;
    for (size_t i = 0; i < CHECKPOINTS; i++) {
        engine_model_unref(converted_open(&checkpoints[i], "F16"));
        checkpoint_path(path, &checkpoints[i], "F16");
        first = file_read(path, &first_bytes);
        engine_model_unref(converted_open(&checkpoints[i], "F16"));
        second = file_read(path, &second_bytes);
        assert_int_equal(first_bytes, second_bytes);
        assert_memory_equal(first, second, first_bytes);
        free(first);
        free(second);
    }
}

/* What a file says of its type (general.file_type, by the numbers of other engines), once. */
static void test_file_says_its_type(void **state)
{
    static const struct {
        const char *type;
        uint32_t number;
    } types[] = {{"F32", 0}, {"F16", 1}, {"Q4_0", 2}, {"Q8_0", 7}, {"BF16", 32}};
    const char *key = "general.file_type";

    (void)state;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        char path[512], error[ENGINE_ERROR_BYTES] = "";
        struct engine_file *file = NULL;
        uint32_t found = 0;

        engine_model_unref(converted_open(&checkpoints[0], types[i].type));
        checkpoint_path(path, &checkpoints[0], types[i].type);
        assert_int_equal(engine_file_open(path, &file, error), 0);
        for (size_t j = 0; j < engine_file_pair_count(file); j++) {
            const struct engine_file_pair pair = engine_file_pair(file, j);

            if (pair.key_bytes == strlen(key) && memcmp(pair.key, key, pair.key_bytes) == 0) {
                assert_int_equal(le32_load((const uint8_t *)pair.data + pair.bytes - 4),
                                 types[i].number);
                found++;
            }
        }
        assert_int_equal(found, 1);
        engine_file_close(file);
        unlink(path);
    }
}

static int folder_make(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int folder_remove(void **state)
{
    char path[512];

    (void)state;
    for (size_t i = 0; i < CHECKPOINTS; i++) {
        checkpoint_path(path, &checkpoints[i], "F32");
        (void)unlink(path);
        checkpoint_path(path, &checkpoints[i], "F16");
        (void)unlink(path);
    }
    return rmdir(folder); /* fails when a half-written file was left behind */
}

int main(void)
{
    struct CMUnitTest tests[CHECKPOINTS + 2];

    for (size_t i = 0; i < CHECKPOINTS; i++) {
        tests[i] = (struct CMUnitTest){.name = checkpoints[i].name,
                                       .test_func = test_variant_computes_what_pytorch_does,
                                       .initial_state = (void *)(uintptr_t)&checkpoints[i]};
    }
    tests[CHECKPOINTS] =
        (struct CMUnitTest)cmocka_unit_test(test_converting_twice_gives_the_same_bytes);
    tests[CHECKPOINTS + 1] = (struct CMUnitTest)cmocka_unit_test(test_file_says_its_type);
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
