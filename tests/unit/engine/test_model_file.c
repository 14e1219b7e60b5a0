/* Model files that are cut short, damaged, hostile, or cut while they are in use: one clear error
 * each, never a crash. */
#include "common/base/limits.h"
#include "common/engine/mapping.h"
#include "tests/unit/engine/gguf_keys.h"
#include "tests/unit/engine/models.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

static int load(const void *data, size_t bytes, char error[ENGINE_ERROR_BYTES])
{
    struct gguf *gguf = NULL;
    const int rc = gguf_load(data, bytes, &gguf, error);

    if (rc == 0) {
        gguf_free(gguf);
    }
    return rc;
}

/* A copy of exactly `bytes`, so that a sanitizer sees one byte too far. */
static int load_exact(const uint8_t *data, size_t bytes)
{
    char error[ENGINE_ERROR_BYTES] = "";
    uint8_t *copy = malloc(bytes ? bytes : 1);
    int rc;

    memcpy(copy, data, bytes);
    rc = load(copy, bytes, error);
    free(copy);
    if (rc != 0) {
        assert_true(strlen(error) > 0);
    }
    return rc;
}

static void test_every_cut(void **state)
{
    char path[512];
    size_t bytes;
    uint8_t *data;

    (void)state;
    model_path(path, "bpe");
    data = file_get(path, &bytes);
    assert_int_equal(load_exact(data, bytes), 0);
    for (size_t i = 0; i < bytes - 32; i++) { /* the last tensor may be followed by padding */
        if (load_exact(data, i) == 0) {
            fail_msg("a file cut at byte %zu of %zu was taken", i, bytes);
        }
    }
    free(data);
}

/* Every byte of the header changed in three ways: an error or a file that reads, nothing else. */
static void test_every_byte(void **state)
{
    static const uint8_t masks[] = {0x01, 0x80, 0xff};
    char path[512], error[ENGINE_ERROR_BYTES];
    size_t bytes, errors = 0;
    uint8_t *data;

    (void)state;
    model_path(path, "vit_patch_grey");
    data = file_get(path, &bytes);
    for (size_t i = 0; i < 4096 && i < bytes; i++) {
        for (size_t j = 0; j < sizeof(masks); j++) {
            data[i] ^= masks[j];
            errors += load(data, bytes, error) != 0;
            data[i] ^= masks[j];
        }
    }
    assert_true(errors > 100);
    free(data);
}

/* The same through engine_model_open, which checks what the numbers mean. */
static void test_every_byte_opened(void **state)
{
    char path[512], error[ENGINE_ERROR_BYTES], name[] = "/tmp/tandem_model_XXXXXX";
    size_t bytes, errors = 0;
    uint8_t *data;
    const int fd = mkstemp(name);

    (void)state;
    model_path(path, "vit_conv_seq");
    data = file_get(path, &bytes);
    assert_int_equal(write(fd, data, bytes), bytes);
    for (size_t i = 0; i < 3500 && i < bytes; i++) {
        const uint8_t broken = data[i] ^ 0xff;
        struct engine_model *model = NULL;

        assert_int_equal(pwrite(fd, &broken, 1, (off_t)i), 1);
        errors += engine_model_open(name, &model, error) != 0;
        engine_model_unref(model);
        assert_int_equal(pwrite(fd, data + i, 1, (off_t)i), 1);
    }
    assert_true(errors > 1000);
    close(fd);
    unlink(name);
    free(data);
}

static void put_tensor(struct buf *file, const char *name, uint32_t dimension_count,
                       const uint64_t *dimensions, uint32_t type, uint64_t offset)
{
    (void)buf_append_le64(file, strlen(name));
    (void)buf_append_text(file, name);
    (void)buf_append_le32(file, dimension_count);
    for (uint32_t i = 0; i < dimension_count; i++) {
        (void)buf_append_le64(file, dimensions[i]);
    }
    (void)buf_append_le32(file, type);
    (void)buf_append_le64(file, offset);
}

static void head_put(struct buf *file, uint32_t version, uint64_t tensors, uint64_t keys)
{
    buf_init(file, 0);
    (void)buf_append(file, "GGUF", 4);
    (void)buf_append_le32(file, version);
    (void)buf_append_le64(file, tensors);
    (void)buf_append_le64(file, keys);
}

static int file_end(struct buf *file)
{
    static const uint8_t zeros[256];
    char error[ENGINE_ERROR_BYTES];
    int rc;

    (void)buf_append(file, zeros, 32 - file->bytes % 32);
    (void)buf_append(file, zeros, 128);
    rc = load(file->data, file->bytes, error);
    buf_fini(file);
    return rc;
}

static int tensor_try(uint32_t dimension_count, const uint64_t *dimensions, uint32_t type,
                      uint64_t offset)
{
    struct buf file;

    head_put(&file, 3, 1, 0);
    put_tensor(&file, "t", dimension_count, dimensions, type, offset);
    return file_end(&file);
}

static void test_hostile_tensors(void **state)
{
    const uint64_t ok[] = {4, 4}, huge[] = {UINT64_C(1) << 32, UINT64_C(1) << 32},
                   wide[] = {UINT64_MAX / 2}, none[] = {0, 4}, five[] = {1, 1, 1, 1, 1},
                   blocks[] = {32, 2}, half_blocks[] = {16, 2};
    struct buf file;

    (void)state;
    assert_int_equal(tensor_try(2, ok, 0, 0), 0);
    assert_int_equal(tensor_try(2, ok, 0, 64), 0);
    assert_int_equal(tensor_try(2, ok, 0, 96), TANDEM_EFORMAT);              /* past the end */
    assert_int_equal(tensor_try(2, ok, 0, UINT64_MAX - 31), TANDEM_EFORMAT); /* wraps around */
    assert_int_equal(tensor_try(2, ok, 0, 4), TANDEM_EFORMAT);               /* off the border */
    assert_int_equal(tensor_try(2, huge, 0, 0), TANDEM_EFORMAT);             /* product overflows */
    assert_int_equal(tensor_try(1, wide, 0, 0), TANDEM_EFORMAT);             /* bytes overflow */
    assert_int_equal(tensor_try(2, none, 0, 0), TANDEM_EFORMAT);
    assert_int_equal(tensor_try(0, ok, 0, 0), TANDEM_EFORMAT);
    assert_int_equal(tensor_try(5, five, 0, 0), TANDEM_EFORMAT);
    assert_int_equal(tensor_try(2, ok, 3, 0), TANDEM_EUNSUPPORTED); /* Q4_1 */
    assert_int_equal(tensor_try(2, blocks, ENGINE_WEIGHT_Q4_0, 0), 0);
    assert_int_equal(tensor_try(2, blocks, ENGINE_WEIGHT_Q8_0, 0), 0);
    assert_int_equal(tensor_try(2, blocks, ENGINE_WEIGHT_Q8_0, 96),
                     TANDEM_EFORMAT); /* past the end */
    assert_int_equal(tensor_try(2, half_blocks, ENGINE_WEIGHT_Q8_0, 0), TANDEM_EFORMAT);
    assert_int_equal(tensor_try(2, half_blocks, ENGINE_WEIGHT_Q4_0, 0), TANDEM_EFORMAT);
    assert_int_equal(tensor_try(2, half_blocks, ENGINE_WEIGHT_BF16, 0), 0);
    head_put(&file, 3, 2, 0);
    put_tensor(&file, "t", 2, ok, 0, 0);
    put_tensor(&file, "t", 2, ok, 0, 64);
    assert_int_equal(file_end(&file), TANDEM_EFORMAT); /* the same name twice */
}

static void test_overlapping_tensors(void **state)
{
    static const struct {
        uint64_t a, b;
        int code;
    } cases[] = {
        {0, 64, 0},
        {64, 0, 0},
        {0, 32, TANDEM_EFORMAT},
        {32, 0, TANDEM_EFORMAT},
        {64, 64, TANDEM_EFORMAT},
    };
    const uint64_t shape[] = {4, 4}; /* 64 bytes */

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf file;

        head_put(&file, 3, 2, 0);
        put_tensor(&file, "a", 2, shape, 0, cases[i].a);
        put_tensor(&file, "b", 2, shape, 0, cases[i].b);
        assert_int_equal(file_end(&file), cases[i].code);
    }
}

static void test_hostile_head(void **state)
{
    struct gguf_keys keys = {0};
    struct buf file;
    char error[ENGINE_ERROR_BYTES];

    (void)state;
    head_put(&file, 2, 0, 0);
    assert_int_equal(file_end(&file), TANDEM_EUNSUPPORTED);
    head_put(&file, 3, LIMIT_GGUF_TENSORS + 1, 0);
    assert_int_equal(file_end(&file), TANDEM_ETOOBIG);
    head_put(&file, 3, 0, LIMIT_GGUF_KEYS + 1);
    assert_int_equal(file_end(&file), TANDEM_ETOOBIG);
    head_put(&file, 3, 0, UINT64_MAX);
    assert_int_equal(file_end(&file), TANDEM_ETOOBIG);
    head_put(&file, 3, 0, 1);
    (void)buf_append_le64(&file, LIMIT_GGUF_KEY_BYTES + 1);
    assert_int_equal(file_end(&file), TANDEM_ETOOBIG);
    head_put(&file, 3, 0, 1); /* an array of an array */
    (void)buf_append_le64(&file, 1);
    (void)buf_append_text(&file, "a");
    (void)buf_append_le32(&file, GGUF_ARRAY);
    (void)buf_append_le32(&file, GGUF_ARRAY);
    (void)buf_append_le64(&file, 1);
    assert_int_equal(file_end(&file), TANDEM_EUNSUPPORTED);
    head_put(&file, 3, 0, 1);
    (void)buf_append_le64(&file, 1);
    (void)buf_append_text(&file, "a");
    (void)buf_append_le32(&file, GGUF_ARRAY);
    (void)buf_append_le32(&file, GGUF_U64);
    (void)buf_append_le64(&file, UINT64_MAX / 8);
    assert_int_equal(file_end(&file), TANDEM_ETOOBIG);
    keys_put_u32(&keys, "same", 1);
    keys_put_u32(&keys, "same", 2);
    keys_end(&keys, &file);
    assert_int_equal(load(file.data, file.bytes, error), TANDEM_EFORMAT);
    assert_non_null(strstr(error, "same"));
    buf_fini(&file);
    keys_put_u32(&keys, "general.alignment", 24);
    keys_end(&keys, &file);
    assert_int_equal(load(file.data, file.bytes, error), TANDEM_EFORMAT);
    buf_fini(&file);
}

static void test_kinds(void **state)
{
    const uint32_t numbers[] = {1, 2, 3};
    struct gguf_keys keys = {0};
    struct gguf *gguf = NULL;
    struct gguf_text text;
    struct buf file;
    char error[ENGINE_ERROR_BYTES];
    uint32_t value = 9, values[3];
    size_t count;
    bool yes;

    (void)state;
    keys_put_u32(&keys, "number", 7);
    keys_key(&keys, "negative", GGUF_I32);
    (void)buf_append_le32(&keys.body, UINT32_MAX); /* -1 */
    keys_put_text(&keys, "text", "word");
    keys_put_bool(&keys, "flag", true);
    keys_put_u32s(&keys, "list", GGUF_U32, numbers, 3);
    keys_end(&keys, &file);
    assert_int_equal(gguf_load(file.data, file.bytes, &gguf, error), 0);
    assert_int_equal(gguf_get_u32(gguf, "text", &value, error), TANDEM_EFORMAT);
    assert_int_equal(gguf_get_u32(gguf, "negative", &value, error), TANDEM_EFORMAT);
    assert_int_equal(gguf_get_u32(gguf, "none", &value, error), TANDEM_ENOTFOUND);
    assert_int_equal(value, 9);
    assert_int_equal(gguf_get_u32(gguf, "number", &value, error), 0);
    assert_int_equal(value, 7);
    assert_int_equal(gguf_get_text(gguf, "number", &text, error), TANDEM_EFORMAT);
    assert_int_equal(gguf_get_text(gguf, "text", &text, error), 0);
    assert_true(gguf_text_is(text, "word"));
    assert_int_equal(gguf_get_bool(gguf, "flag", &yes, error), 0);
    assert_true(yes);
    assert_int_equal(gguf_get_u32s(gguf, "list", values, 2, &count, error), TANDEM_EFORMAT);
    assert_int_equal(gguf_get_u32s(gguf, "list", values, 3, &count, error), 0);
    assert_int_equal(count, 3);
    assert_int_equal(values[2], 3);
    gguf_free(gguf);
    buf_fini(&file);
}

/* ---- truncated underneath ---- */

static void copy_file(const char *from, char name[])
{
    size_t bytes;
    uint8_t *data = file_get(from, &bytes);
    const int fd = mkstemp(name);

    assert_int_equal(write(fd, data, bytes), bytes);
    close(fd);
    free(data);
}

static void test_mapping_cut(void **state)
{
    char name[] = "/tmp/tandem_cut_XXXXXX", error[ENGINE_ERROR_BYTES];
    struct mapping *mapping = NULL;
    const int fd = mkstemp(name);

    (void)state;
    assert_int_equal(ftruncate(fd, 3 * 65536), 0);
    assert_int_equal(pwrite(fd, "x", 1, 2 * 65536), 1);
    assert_int_equal(mapping_open(name, &mapping, error), 0);
    assert_int_equal(mapping_data(mapping)[2 * 65536], 'x');
    assert_false(mapping_truncated(mapping));
    assert_int_equal(ftruncate(fd, 65536), 0);
    assert_int_equal(mapping_data(mapping)[2 * 65536], 0); /* SIGBUS without the handler */
    assert_int_equal(ftruncate(fd, 3 * 65536), 0);
    assert_true(mapping_truncated(mapping)); /* stays so when the length comes back */
    mapping_close(mapping);
    close(fd);
    unlink(name);
}

static void test_model_cut(void **state)
{
    const struct engine_context_params params = {.max_tokens = 8, .max_sequences = 1};
    const uint32_t tokens[] = {1, 2, 3};
    char path[512], name[] = "/tmp/tandem_cut_XXXXXX", error[ENGINE_ERROR_BYTES];
    struct engine_model *model = NULL;
    struct engine_pool *pool = NULL;
    struct engine_context *context = NULL;
    struct engine_seq seq;
    struct engine_chunk chunk = {
        .seq = &seq, .tokens = tokens, .count = 3, .want = ENGINE_LOGITS_LAST};
    const float *logits;

    (void)state;
    model_path(path, "decoder_kv_f32");
    copy_file(path, name);
    assert_int_equal(engine_model_open(name, &model, error), 0);
    assert_int_equal(engine_pool_new(model, ENGINE_KV_F16, 1u << 20, &pool, error), 0);
    assert_int_equal(engine_context_new(model, &params, &context, error), 0);
    engine_seq_init(&seq, pool);
    assert_int_equal(engine_seq_reserve(&seq, 6), 0);
    assert_int_equal(engine_step(context, &chunk, 1, NULL, &logits), 0);
    assert_int_equal(truncate(name, 4096), 0);
    assert_int_equal(engine_step(context, &chunk, 1, NULL, &logits), TANDEM_EIO);
    assert_int_equal(seq.length, 3);
    engine_seq_fini(&seq);
    engine_context_free(context);
    engine_pool_free(pool);
    engine_model_unref(model);
    unlink(name);
}

static void test_open_wrong(void **state)
{
    char error[ENGINE_ERROR_BYTES];
    struct engine_model *model = NULL;

    (void)state;
    assert_int_equal(engine_model_open("/tmp/tandem-no-such-model", &model, error), TANDEM_EIO);
    assert_non_null(strstr(error, "tandem-no-such-model"));
    assert_int_equal(engine_model_open("/tmp", &model, error), TANDEM_EFORMAT);
    assert_int_equal(engine_model_open("/dev/null", &model, error), TANDEM_EFORMAT);
    assert_null(model);
}

static void test_too_many_mappings(void **state)
{
    struct mapping *mappings[LIMIT_MODEL_MAPPINGS] = {NULL}, *more = NULL;
    char path[512], error[ENGINE_ERROR_BYTES];

    (void)state;
    model_path(path, "bpe");
    for (int i = 0; i < LIMIT_MODEL_MAPPINGS; i++) {
        assert_int_equal(mapping_open(path, &mappings[i], error), 0);
    }
    assert_int_equal(mapping_open(path, &more, error), TANDEM_ENOMEM);
    for (int i = 0; i < LIMIT_MODEL_MAPPINGS; i++) {
        mapping_close(mappings[i]);
    }
    assert_int_equal(mapping_open(path, &more, error), 0);
    mapping_close(more);
}

/* The digest is asked for, not made by opening, and is that of every byte of the file. */
static void test_digest_is_of_the_whole_file(void **state)
{
    char path[512], first[33], hex[33];
    struct engine_model *model = model_get("decoder_kv_f32"), *other = model_get("decoder_kv_f16");
    XXH128_canonical_t canonical;
    size_t bytes;
    uint8_t *data;

    (void)state;
    model_path(path, "decoder_kv_f32");
    data = file_get(path, &bytes);
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(data, bytes));
    for (size_t i = 0; i < sizeof(canonical.digest); i++) {
        snprintf(hex + 2 * i, 3, "%02x", canonical.digest[i]);
    }
    snprintf(first, sizeof(first), "%s", engine_model_digest(model));
    assert_string_equal(first, hex);
    assert_string_equal(engine_model_digest(model), hex);
    assert_string_not_equal(engine_model_digest(other), hex);
    free(data);
    engine_model_unref(model);
    engine_model_unref(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_every_byte_opened),
        cmocka_unit_test(test_hostile_tensors),
        cmocka_unit_test(test_overlapping_tensors),
        cmocka_unit_test(test_hostile_head),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_mapping_cut),
        cmocka_unit_test(test_model_cut),
        cmocka_unit_test(test_open_wrong),
        cmocka_unit_test(test_too_many_mappings),
        cmocka_unit_test(test_digest_is_of_the_whole_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
