/* Hostile .safetensors and llama2.c files: each is refused with one line and leaves nothing behind,
 * or is read within its bounds. */
#include "common/base/limits.h"
#include "common/model/llama2c.h"
#include "common/model/safetensors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char folder[] = "/tmp/tandem-readers.XXXXXX";

static void path_of(char path[256], const char *name)
{
    snprintf(path, 256, "%s/%s", folder, name);
}

static void file_put(const char *name, const void *data, size_t bytes)
{
    char path[256];
    FILE *file;

    path_of(path, name);
    file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static void file_drop(const char *name)
{
    char path[256];

    path_of(path, name);
    unlink(path);
}

/* Whether every tensor of what was read can be read: no check was too weak. */
static void tensors_read(const struct source *source)
{
    for (size_t i = 0; i < source->tensor_count; i++) {
        const struct source_tensor *tensor = &source->tensors[i];
        float *values = calloc(tensor->elements + 1, sizeof(*values));
        const uint64_t rows = tensor->dimension_count ? tensor->shape[0] : 1;

        assert_non_null(values);
        if (tensor->type != SOURCE_OTHER) {
            assert_int_equal(source_rows(source, tensor, 0, rows, values), 0);
        }
        free(values);
    }
}

static int load_as(int (*load)(struct source *, const char *, char *), const char *name,
                   const char *word)
{
    char path[256], error[ENGINE_ERROR_BYTES] = "";
    struct source source = {0};
    int code;

    path_of(path, name);
    code = load(&source, path, error);
    if (code == 0) {
        tensors_read(&source);
    } else if (code != TANDEM_ENOTFOUND &&
               (error[0] == '\0' || strchr(error, '\n') || (word && !strstr(error, word)))) {
        fail_msg("code %d: \"%s\" without \"%s\"", code, error, word ? word : "");
    }
    source_fini(&source);
    return code;
}

/* ---- safetensors ---- */

static int header_try(const char *json, size_t data_bytes, const char *word)
{
    uint8_t file[4096] = {0};
    const size_t bytes = strlen(json);
    int code;

    le64_store(file, bytes);
    memcpy(file + 8, json, bytes);
    file_put("a.safetensors", file, 8 + bytes + data_bytes);
    code = load_as(safetensors_load, "a.safetensors", word);
    file_drop("a.safetensors");
    return code;
}

#define ENTRY(name, type, shape, first, end)                                                       \
    "\"" name "\":{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":[" first "," end "]}"

static void test_safetensors_header(void **state)
{
    static const struct {
        const char *json;
        int code;
        const char *word;
        size_t data_bytes;
    } cases[] = {
        {"{" ENTRY("w", "F32", "[2,2]", "0", "16") "}", 0, NULL, 16},
        {"{" ENTRY("w", "BF16", "[]", "0", "2") "," ENTRY("e", "F32", "[0,7]", "2", "2") "}", 0,
         NULL, 2},
        {"{" ENTRY("w", "F32", "[2,2]", "0", "16") "," ENTRY("x", "I64", "[1]", "16", "24") "}", 0,
         NULL, 24},
        {"{" ENTRY("x", "I64", "[1]", "16", "24") "," ENTRY("w", "F32", "[2,2]", "0", "16") "}", 0,
         NULL, 24}, /* in any order */
        {"{" ENTRY("w", "F32", "[2,2]", "4", "20") "}", TANDEM_EFORMAT, "hole of 4 bytes before",
         20},
        {"{" ENTRY("w", "F32", "[1]", "0", "4") "," ENTRY("x", "F32", "[1]", "12", "16") "}",
         TANDEM_EFORMAT, "hole of 8 bytes before tensor x", 16},
        {"{" ENTRY("w", "F32", "[2,2]", "0", "16") "}", TANDEM_EFORMAT, "1 bytes behind", 17},
        {"{" ENTRY("w", "F32", "[2,2]", "0", "12") "}", TANDEM_EFORMAT, "w", 32},
        {"{" ENTRY("w", "F32", "[9]", "0", "36") "}", TANDEM_EFORMAT, "past the end", 32},
        {"{" ENTRY("w", "F32", "[2]", "8", "0") "}", TANDEM_EFORMAT, "w", 32},
        {"{" ENTRY("w", "F32", "[-2]", "0", "8") "}", TANDEM_EFORMAT, "w", 32},
        {"{" ENTRY("w", "F32", "[1.5]", "0", "6") "}", TANDEM_EFORMAT, "w", 32},
        {"{" ENTRY("w", "F32", "[1e18]", "0", "8") "}", TANDEM_EFORMAT, "w", 32},
        {"{" ENTRY("w", "F32", "[4294967296,4294967296,2]", "0", "0") "}", TANDEM_EFORMAT, "w", 32},
        {"{" ENTRY("w", "F32", "[4503599627370496,1024]", "0", "0") "}", TANDEM_EFORMAT, "w", 32},
        {"{" ENTRY("w", "F32", "[1,1,1,1,1]", "0", "4") "}", TANDEM_EFORMAT, "four", 32},
        {"{" ENTRY("w", "F8_E4M3", "[1]", "0", "1") "}", TANDEM_EUNSUPPORTED, "F8_E4M3", 32},
        {"{" ENTRY("w", "F32", "[1]", "0", "4") "," ENTRY("w", "F32", "[1]", "4", "8") "}",
         TANDEM_EFORMAT, "twice", 32},
        {"{" ENTRY("a", "F32", "[2]", "0", "8") "," ENTRY("b", "F32", "[2]", "4", "12") "}",
         TANDEM_EFORMAT, "overlap", 32},
        {"{" ENTRY("a", "F32", "[3]", "0", "12") "," ENTRY("e", "F32", "[0]", "4", "4") "," ENTRY(
             "b", "F32", "[1]", "8", "12") "}",
         TANDEM_EFORMAT, "overlap", 32},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[1]}}", TANDEM_EFORMAT, "w", 32},
        {"{" ENTRY("w", "I64", "[9]", "0", "72") "}", TANDEM_EFORMAT, "past the end", 32},
        {"{\"w\":7}", TANDEM_EFORMAT, "w", 32},
        {"{\"__metadata__\":{\"a\":\"b\"}}", TANDEM_EFORMAT, "32 bytes", 32},
        {"{\"__metadata__\":{\"a\":\"b\"}}", TANDEM_EFORMAT, "no tensors", 0},
        {"[]", TANDEM_EFORMAT, "JSON", 32},
        {"{\"w\":", TANDEM_EFORMAT, "JSON", 32},
        {"", TANDEM_EFORMAT, "JSON", 32},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const int code = header_try(cases[i].json, cases[i].data_bytes, cases[i].word);

        if (code != cases[i].code) {
            fail_msg("%s: code %d, wanted %d", cases[i].json, code, cases[i].code);
        }
    }
}

static void test_safetensors_lengths(void **state)
{
    static uint8_t file[LIMIT_SHARD_HEADER_BYTES + 16];

    (void)state;
    file_put("a.safetensors", file, 7);
    assert_int_equal(load_as(safetensors_load, "a.safetensors", "header"), TANDEM_EFORMAT);
    le64_store(file, UINT64_MAX - 4);
    file_put("a.safetensors", file, 64);
    assert_int_equal(load_as(safetensors_load, "a.safetensors", "header"), TANDEM_EFORMAT);
    le64_store(file, LIMIT_SHARD_HEADER_BYTES + 1);
    file_put("a.safetensors", file, sizeof(file));
    assert_int_equal(load_as(safetensors_load, "a.safetensors", "too large"), TANDEM_ETOOBIG);
    file_drop("a.safetensors");
}

static void test_safetensors_index(void **state)
{
    static const struct {
        const char *json;
        int code;
        const char *word;
    } cases[] = {
        {"{\"weight_map\":{\"w\":\"part.safetensors\",\"x\":\"part.safetensors\"}}", 0, NULL},
        {"{\"weight_map\":{\"w\":\"part.safetensors\",\"y\":\"part.safetensors\"}}", TANDEM_EFORMAT,
         "y"},
        {"{\"weight_map\":{\"w\":\"../part.safetensors\"}}", TANDEM_EFORMAT, "folder"},
        {"{\"weight_map\":{\"w\":\"gone.safetensors\"}}", TANDEM_EIO, "gone"},
        {"{\"weight_map\":{\"w\":\"\"}}", TANDEM_EFORMAT, "w"},
        {"{\"weight_map\":{\"w\":3}}", TANDEM_EFORMAT, "w"},
        {"{\"weight_map\":[]}", TANDEM_EFORMAT, "weight_map"},
        {"{}", TANDEM_EFORMAT, "weight_map"},
        {"nothing", TANDEM_EFORMAT, "JSON"},
    };
    const char header[] =
        "{" ENTRY("w", "F32", "[1]", "0", "4") "," ENTRY("x", "F32", "[1]", "4", "8") "}";
    uint8_t part[512] = {0};

    (void)state;
    le64_store(part, strlen(header));
    memcpy(part + 8, header, strlen(header));
    file_put("part.safetensors", part, 8 + strlen(header) + 8);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int code;

        file_put("m.safetensors.index.json", cases[i].json, strlen(cases[i].json));
        code = load_as(safetensors_load, "m.safetensors.index.json", cases[i].word);
        if (code != cases[i].code) {
            fail_msg("%s: code %d, wanted %d", cases[i].json, code, cases[i].code);
        }
    }
    file_put("config.json", "[1]", 3); /* what lies beside is read too */
    assert_int_equal(load_as(safetensors_load, "part.safetensors", "config.json"), TANDEM_EFORMAT);
    file_drop("config.json");
    file_drop("part.safetensors");
    file_drop("m.safetensors.index.json");
}

/* ---- every cut and many flips of real files ---- */

static uint8_t *real_get(const char *name, size_t *ret_bytes)
{
    const char *data = getenv("TANDEM_TEST_DATA");
    uint8_t *file = malloc(1u << 20);
    char path[512];
    FILE *from;

    snprintf(path, sizeof(path), "%s/../checkpoints/%s", data ? data : "tests/golden/data", name);
    from = fopen(path, "rb");
    assert_non_null(from);
    assert_non_null(file);
    *ret_bytes = fread(file, 1, 1u << 20, from);
    fclose(from);
    return file;
}

static void damage(const char *real, const char *name,
                   int (*load)(struct source *, const char *, char *), size_t head)
{
    static const uint8_t masks[] = {0x01, 0x10, 0x80, 0xff};
    size_t bytes, refused = 0, cuts = 0;
    uint8_t *file = real_get(real, &bytes);

    for (size_t cut = 0; cut < bytes; cut += cut < head ? 7 : bytes / 8 + 1, cuts++) {
        file_put(name, file, cut);
        assert_int_not_equal(load_as(load, name, NULL), 0);
    }
    for (size_t i = 0; i < head; i++) {
        file[i] ^= masks[i % 4];
        file_put(name, file, bytes);
        refused += load_as(load, name, NULL) != 0;
        file[i] ^= masks[i % 4];
    }
    assert_true(cuts > 8 && refused > 8);
    file_put(name, file, bytes);
    assert_int_equal(load_as(load, name, NULL), 0);
    file_drop(name);
    free(file);
}

static void test_damaged_safetensors(void **state)
{
    (void)state;
    damage("llama_shards/model-00001-of-00002.safetensors", "d.safetensors", safetensors_load, 600);
}

static void test_damaged_llama2c(void **state)
{
    size_t bytes;
    uint8_t *file = real_get("llama2c.bin", &bytes);

    (void)state;
    damage("llama2c.bin", "d.bin", llama2c_load, 28);
    file_put("d.bin", file, bytes - 4); /* all tensors are there, not all of the file */
    assert_int_equal(load_as(llama2c_load, "d.bin", NULL), TANDEM_ENOTFOUND);
    file_put("d.bin", file, bytes + 4); /* longer than its numbers say */
    assert_int_equal(load_as(llama2c_load, "d.bin", NULL), TANDEM_ENOTFOUND);
    file_drop("d.bin");
    free(file);
}

/* ---- llama2.c ---- */

static void test_llama2c_header(void **state)
{
    static const int32_t wrong[][7] = {
        {0, 8, 1, 2, 1, 5, 4},
        {8, -8, 1, 2, 1, 5, 4},
        {8, 8, 1, 3, 1, 5, 4},
        {8, 8, 1, 2, 3, 5, 4},
        {8, 8, 1, 2, 1, 0, 4},
        {8, 8, 1, 2, 1, INT32_MIN, 4},
        {INT32_MAX, INT32_MAX, INT32_MAX, 1, 1, INT32_MAX, INT32_MAX},
        {LIMIT_MODEL_WIDTH + 1, 8, 1, 1, 1, 5, 4},
        {8, 8, LIMIT_MODEL_LAYERS + 1, 2, 1, 5, 4},
    };
    uint8_t file[4096] = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        for (size_t j = 0; j < 7; j++) {
            le32_store(file + 4 * j, (uint32_t)wrong[i][j]);
        }
        file_put("a.bin", file, sizeof(file));
        assert_int_equal(load_as(llama2c_load, "a.bin", NULL), TANDEM_ENOTFOUND);
    }
    memcpy(file, "24ka\1\0\0\0", 8); /* a later layout */
    file_put("a.bin", file, sizeof(file));
    assert_int_equal(load_as(llama2c_load, "a.bin", "layout 1"), TANDEM_EUNSUPPORTED);
    file_drop("a.bin");
}

static int tokenizer_try(const uint8_t *data, size_t bytes, uint32_t vocabulary, const char *word)
{
    char path[256], error[ENGINE_ERROR_BYTES] = "";
    struct target target;
    const struct convert_options options = {.tokenizer = path};
    const struct convert convert = {.target = &target, .options = &options, .error = error};
    int code;

    path_of(path, "t.bin");
    file_put("t.bin", data, bytes);
    target_init(&target);
    code = llama2c_tokenizer_put(&convert, vocabulary);
    if (code != 0 && !strstr(error, word)) {
        fail_msg("\"%s\" without \"%s\"", error, word);
    }
    target_fini(&target);
    file_drop("t.bin");
    return code;
}

static void test_llama2c_tokenizer(void **state)
{
    uint8_t file[4 + 4 * 9 + 8] = {0};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        le32_store(file + 4 + 9 * i + 4, 1);
        file[4 + 9 * i + 8] = (uint8_t)('a' + i);
    }
    assert_int_equal(tokenizer_try(file, 40, 4, ""), 0);
    for (size_t cut = 0; cut < 40; cut++) {
        assert_int_equal(tokenizer_try(file, cut, 4, "ends inside"), TANDEM_EFORMAT);
    }
    assert_int_equal(tokenizer_try(file, 40, 3, "more than"), TANDEM_EFORMAT);
    assert_int_equal(tokenizer_try(file, 40, 2, "2 tokens"), TANDEM_EFORMAT);
    le32_store(file + 8, UINT32_MAX);
    assert_int_equal(tokenizer_try(file, 40, 4, "ends inside"), TANDEM_EFORMAT);
    le32_store(file + 8, 1);
    le32_store(file + 4, 0x7fc00000u); /* a NaN */
    assert_int_equal(tokenizer_try(file, 40, 4, "score"), TANDEM_EFORMAT);
}

static int folder_make(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int folder_remove(void **state)
{
    (void)state;
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_safetensors_header), cmocka_unit_test(test_safetensors_lengths),
        cmocka_unit_test(test_safetensors_index),  cmocka_unit_test(test_damaged_safetensors),
        cmocka_unit_test(test_damaged_llama2c),    cmocka_unit_test(test_llama2c_header),
        cmocka_unit_test(test_llama2c_tokenizer),
    };

    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
