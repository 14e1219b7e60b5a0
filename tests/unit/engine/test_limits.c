/* Every bound of limits.h that stands on model files, pictures and steps: at the bound the file is
 * read on, one over it is the stated error, whose line names what was too much. */
#include "common/base/limits.h"
#include "common/engine/mapping.h"
#include "common/engine/picture.h"
#include "tests/unit/engine/gguf_keys.h"
#include "tests/unit/engine/models.h"

#include <fcntl.h>
#include <jpeglib.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- model files ---- */

/* Whether a file of so many bytes can be mapped at all: qemu's user mode and ulimit -v give fewer.
 */
static bool addresses_hold(size_t bytes)
{
    char name[] = "/tmp/tandem_large_XXXXXX";
    const int fd = mkstemp(name);
    void *at = MAP_FAILED;

    unlink(name);
    if (ftruncate(fd, (off_t)bytes) == 0) {
        at = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    }
    close(fd);
    return at != MAP_FAILED && munmap(at, bytes) == 0;
}

static int open_of_size(int64_t bytes, char error[ENGINE_ERROR_BYTES])
{
    char name[] = "/tmp/tandem_large_XXXXXX";
    struct mapping *mapping = NULL;
    const int fd = mkstemp(name);
    const int sparse = ftruncate(fd, (off_t)bytes);
    const int rc = mapping_open(name, &mapping, error);

    if (rc == 0) {
        assert_int_equal(mapping_bytes(mapping), bytes);
        mapping_close(mapping);
    }
    close(fd);
    unlink(name);
    if (sparse != 0) {
        skip(); /* this file system has no files of that size, not even empty ones */
    }
    return rc;
}

static void test_file_bytes(void **state)
{
    char error[ENGINE_ERROR_BYTES] = "";

    (void)state;
    assert_int_equal(open_of_size(LIMIT_MODEL_FILE_BYTES + 1, error), TANDEM_ETOOBIG);
    assert_non_null(strstr(error, "larger than 68719476736 bytes"));
    if (!addresses_hold((size_t)LIMIT_MODEL_FILE_BYTES)) {
        skip();
    }
    assert_int_equal(open_of_size(LIMIT_MODEL_FILE_BYTES, error), 0);
}

static int keys_load(struct gguf_keys *keys)
{
    char error[ENGINE_ERROR_BYTES] = "";
    struct gguf *gguf = NULL;
    struct buf file;
    int rc;

    keys_end(keys, &file);
    rc = gguf_load(file.data, file.bytes, &gguf, error);
    assert_true(rc == 0 || error[0]);
    gguf_free(gguf);
    buf_fini(&file);
    return rc;
}

static int text_load_of(size_t bytes)
{
    char *text = malloc(bytes + 1);
    struct gguf_keys keys = {0};

    memset(text, 'a', bytes);
    text[bytes] = '\0';
    keys_put_text(&keys, "text", text);
    free(text);
    return keys_load(&keys);
}

static int texts_load_of(size_t bytes)
{
    char *text = malloc(bytes + 1);
    const char *texts[] = {"first", text};
    struct gguf_keys keys = {0};

    memset(text, 'a', bytes);
    text[bytes] = '\0';
    keys_put_texts(&keys, "texts", texts, 2);
    free(text);
    return keys_load(&keys);
}

static void test_text_bytes(void **state)
{
    (void)state;
    assert_int_equal(text_load_of(LIMIT_GGUF_TEXT_BYTES), 0);
    assert_int_equal(text_load_of(LIMIT_GGUF_TEXT_BYTES + 1), TANDEM_ETOOBIG);
    assert_int_equal(texts_load_of(LIMIT_GGUF_TEXT_BYTES), 0);
    assert_int_equal(texts_load_of(LIMIT_GGUF_TEXT_BYTES + 1), TANDEM_ETOOBIG);
}

static int array_load_of(size_t items)
{
    uint8_t *zeros = calloc(1, items);
    struct gguf_keys keys = {0};

    keys_key(&keys, "list", GGUF_ARRAY);
    (void)buf_append_le32(&keys.body, GGUF_U8);
    (void)buf_append_le64(&keys.body, items);
    (void)buf_append(&keys.body, zeros, items);
    free(zeros);
    return keys_load(&keys);
}

static void test_array_items(void **state)
{
    (void)state;
    assert_int_equal(array_load_of(LIMIT_GGUF_ARRAY_ITEMS), 0);
    assert_int_equal(array_load_of(LIMIT_GGUF_ARRAY_ITEMS + 1), TANDEM_ETOOBIG);
}

/* ---- what a model may be ---- */

struct shape {
    uint32_t layers, width, ff, heads, context;
};

/* Opens a decoder of keys alone. It always fails, tensors are missing at the latest; the line says
 * at what. */
static int shape_open(const struct shape *shape, char error[ENGINE_ERROR_BYTES])
{
    char name[] = "/tmp/tandem_shape_XXXXXX";
    struct engine_model *model = NULL;
    struct gguf_keys keys = {0};
    struct buf file;
    const int fd = mkstemp(name);
    int rc;

    keys_put_text(&keys, "general.architecture", "gpt2");
    keys_put_u32(&keys, "gpt2.block_count", shape->layers);
    keys_put_u32(&keys, "gpt2.embedding_length", shape->width);
    keys_put_u32(&keys, "gpt2.feed_forward_length", shape->ff);
    keys_put_u32(&keys, "gpt2.attention.head_count", shape->heads);
    keys_put_f32(&keys, "gpt2.attention.layer_norm_epsilon", 1e-5f);
    keys_put_u32(&keys, "gpt2.context_length", shape->context);
    keys_end(&keys, &file);
    assert_int_equal(write(fd, file.data, file.bytes), file.bytes);
    rc = engine_model_open(name, &model, error);
    assert_null(model);
    buf_fini(&file);
    close(fd);
    unlink(name);
    return rc;
}

static void test_shapes(void **state)
{
    const struct shape most = {LIMIT_MODEL_LAYERS, LIMIT_MODEL_WIDTH, LIMIT_MODEL_WIDTH,
                               LIMIT_MODEL_HEADS, LIMIT_MODEL_CONTEXT_TOKENS};
    const struct {
        size_t member;
        const char *line;
    } cases[] = {
        {offsetof(struct shape, layers), "gpt2.block_count is 1025; it must be from 1 to 1024"},
        {offsetof(struct shape, width),
         "gpt2.embedding_length is 65537; it must be from 1 to 65536"},
        {offsetof(struct shape, ff),
         "gpt2.feed_forward_length is 65537; it must be from 1 to 65536"},
        {offsetof(struct shape, heads),
         "gpt2.attention.head_count is 1025; it must be from 1 to 1024"},
        {offsetof(struct shape, context),
         "gpt2.context_length is 1048577; it must be from 1 to 1048576"},
    };
    char error[ENGINE_ERROR_BYTES];

    (void)state;
    assert_int_equal(shape_open(&most, error), TANDEM_EFORMAT);
    assert_non_null(
        strstr(error, "tensor token_embd.weight is missing")); /* all the keys are fine */
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct shape shape = most;

        ++*(uint32_t *)(void *)((char *)&shape + cases[i].member);
        assert_int_equal(shape_open(&shape, error), TANDEM_EFORMAT);
        if (!strstr(error, cases[i].line)) {
            fail_msg("\"%s\" instead of \"%s\"", error, cases[i].line);
        }
    }
}

static void put_f32s(struct gguf_keys *keys, const char *key, float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    keys_put_u32s(keys, key, GGUF_F32, &bits, 1);
}

/* An image encoder of keys alone, whose stem says the channels of so many layers and nothing else.
 */
static int stem_open(size_t layers, char error[ENGINE_ERROR_BYTES])
{
    char name[] = "/tmp/tandem_stem_XXXXXX";
    uint32_t channels[LIMIT_STEM_LAYERS + 1];
    struct engine_model *model = NULL;
    struct gguf_keys keys = {0};
    struct buf file;
    const int fd = mkstemp(name);
    int rc;

    for (size_t i = 0; i < layers; i++) {
        channels[i] = 8;
    }
    keys_put_text(&keys, "general.architecture", "tandem-vit");
    keys_put_u32(&keys, "tandem-vit.block_count", 1);
    keys_put_u32(&keys, "tandem-vit.embedding_length", 8);
    keys_put_u32(&keys, "tandem-vit.feed_forward_length", 8);
    keys_put_u32(&keys, "tandem-vit.attention.head_count", 1);
    keys_put_f32(&keys, "tandem-vit.attention.layer_norm_epsilon", 1e-5f);
    keys_put_u32(&keys, "tandem-vit.image.width", 8);
    keys_put_u32(&keys, "tandem-vit.image.height", 8);
    keys_put_u32(&keys, "tandem-vit.image.channels", 1);
    put_f32s(&keys, "tandem-vit.image.mean", 0);
    put_f32s(&keys, "tandem-vit.image.std", 1);
    keys_put_text(&keys, "tandem-vit.stem", "conv");
    keys_put_u32s(&keys, "tandem-vit.stem.conv.channels", GGUF_U32, channels, layers);
    keys_end(&keys, &file);
    assert_int_equal(write(fd, file.data, file.bytes), file.bytes);
    rc = engine_model_open(name, &model, error);
    assert_null(model);
    buf_fini(&file);
    close(fd);
    unlink(name);
    return rc;
}

static void test_stem_layers(void **state)
{
    char error[ENGINE_ERROR_BYTES];

    (void)state;
    assert_int_equal(stem_open(LIMIT_STEM_LAYERS, error), TANDEM_EFORMAT);
    assert_non_null(strstr(error, "tandem-vit.stem.conv.kernel")); /* the next key is asked for */
    assert_int_equal(stem_open(LIMIT_STEM_LAYERS + 1, error), TANDEM_EFORMAT);
    assert_non_null(strstr(error, "tandem-vit.stem.conv.channels"));
}

/* ---- inputs ---- */

static void test_picture_pixels(void **state)
{
    const uint32_t width = LIMIT_PICTURE_SIDE_PIXELS, most = LIMIT_PICTURE_PIXELS / width;
    const struct picture_target target = {8, 8, 1, {0}, {1}};
    struct engine_picture picture = {
        .format = ENGINE_PIXELS_GREY, .width = width, .height = most + 1};
    char error[ENGINE_ERROR_BYTES];
    float pixels[64];
    uint8_t *data;

    (void)state;
    assert_true(
        most < LIMIT_PICTURE_SIDE_PIXELS); /* no side is too long: it is the area that is refused */
    picture.bytes = (size_t)width * (most + 1);
    data = malloc(picture.bytes);
    memset(data, 255, picture.bytes);
    picture.data = data;
    assert_int_equal(picture_prepare(&target, &picture, pixels, error), TANDEM_ETOOBIG);
    assert_non_null(strstr(error, "8192 x 4097 pixels is over the limit"));
    picture.height = most;
    picture.bytes = (size_t)width * most;
    assert_int_equal(picture_prepare(&target, &picture, pixels, error), 0);
    assert_true(pixels[0] > 0.999f && pixels[63] > 0.999f);
    free(data);
}

/* A progressive JPEG of so many scans: one with the DC of all components, then one coefficient a
 * scan. *returns owned* (free). */
static uint8_t *jpeg_make(int scans, unsigned long *ret_bytes)
{
    static jpeg_scan_info script[LIMIT_JPEG_SCANS + 1];
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    uint8_t row[3 * 16] = {0, 255, 64}, *data = NULL;
    JSAMPROW rows[] = {row};

    script[0] = (jpeg_scan_info){3, {0, 1, 2, 0}, 0, 0, 0, 0};
    for (int i = 1; i < scans; i++) {
        const int coefficient = 1 + (i - 1) % 63;

        script[i] = (jpeg_scan_info){1, {(i - 1) / 63, 0, 0, 0}, coefficient, coefficient, 0, 0};
    }
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &data, ret_bytes);
    jpeg.image_width = jpeg.image_height = 16;
    jpeg.input_components = 3;
    jpeg.in_color_space = JCS_RGB;
    jpeg_set_defaults(&jpeg);
    jpeg.scan_info = script;
    jpeg.num_scans = scans;
    jpeg_start_compress(&jpeg, TRUE);
    while (jpeg.next_scanline < jpeg.image_height) {
        (void)jpeg_write_scanlines(&jpeg, rows, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    return data;
}

static int scans_read(int scans, char error[ENGINE_ERROR_BYTES])
{
    const struct picture_target target = {8, 8, 3, {0, 0, 0}, {1, 1, 1}};
    struct engine_picture picture = {.format = ENGINE_PIXELS_ENCODED};
    unsigned long bytes = 0;
    uint8_t *data = jpeg_make(scans, &bytes);
    float pixels[3 * 64];
    int rc;

    picture.data = data;
    picture.bytes = bytes;
    rc = picture_prepare(&target, &picture, pixels, error);
    free(data);
    return rc;
}

static void test_jpeg_scans(void **state)
{
    char error[ENGINE_ERROR_BYTES] = "";

    (void)state;
    if (scans_read(LIMIT_JPEG_SCANS, error) != 0) {
        fail_msg("%s", error);
    }
    assert_int_equal(scans_read(LIMIT_JPEG_SCANS + 1, error), TANDEM_ETOOBIG);
    assert_string_equal(error, "JPEG: more than 100 scans");
}

static int context_of(struct engine_model *model, uint32_t tokens, uint32_t sequences)
{
    const struct engine_context_params params = {.max_tokens = tokens, .max_sequences = sequences};
    struct engine_context *context = NULL;
    char error[ENGINE_ERROR_BYTES];
    const int rc = engine_context_new(model, &params, &context, error);

    engine_context_free(context);
    return rc;
}

static void test_batch(void **state)
{
    struct engine_model *model = model_get("decoder_kv_g1_f16");

    (void)state;
    assert_int_equal(context_of(model, LIMIT_BATCH_TOKENS, LIMIT_BATCH_SEQUENCES), 0);
    assert_int_equal(context_of(model, LIMIT_BATCH_TOKENS + 1, 1), TANDEM_EINVAL);
    assert_int_equal(context_of(model, 1, LIMIT_BATCH_SEQUENCES + 1), TANDEM_EINVAL);
    assert_int_equal(context_of(model, 0, 1), TANDEM_EINVAL);
    assert_int_equal(context_of(model, 1, 0), TANDEM_EINVAL);
    engine_model_unref(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file_bytes),  cmocka_unit_test(test_text_bytes),
        cmocka_unit_test(test_array_items), cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_stem_layers), cmocka_unit_test(test_picture_pixels),
        cmocka_unit_test(test_jpeg_scans),  cmocka_unit_test(test_batch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
