/* quantize: what is copied, what is packed anew and by which rule, and that a file appears whole or
 * not at all. */
#include "common/model/gguf_write.h"
#include "tests/unit/model/model_tool.h"

#define EDGE "deploy/models/commands-edge.gguf"
#define DATA "tests/golden/data/"

static bool key_is(const struct engine_file_pair *pair, const char *key)
{
    return pair->key_bytes == strlen(key) && memcmp(pair->key, key, pair->key_bytes) == 0;
}

/* Index of a pair with these bytes, or SIZE_MAX. */
static size_t pair_find(const struct engine_file *file, const struct engine_file_pair *wanted)
{
    for (size_t i = 0; i < engine_file_pair_count(file); i++) {
        const struct engine_file_pair pair = engine_file_pair(file, i);

        if (pair.bytes == wanted->bytes && memcmp(pair.data, wanted->data, pair.bytes) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

static void test_pairs_are_copied(void **state)
{
    struct engine_file *from, *to;
    size_t types = 0, order = 0;

    (void)state;
    EXPECT(TOOL_DONE, NULL, "quantize", EDGE, work_path("pairs.gguf"), "Q8_0");
    from = file_get(EDGE);
    to = file_get(work_path("pairs.gguf"));
    assert_true(engine_file_pair_count(from) > 10);
    for (size_t i = 0; i < engine_file_pair_count(from); i++) {
        const struct engine_file_pair pair = engine_file_pair(from, i);
        const size_t at = pair_find(to, &pair);

        assert_true(at != SIZE_MAX && at >= order); /* and in the same order */
        order = at;
    }
    for (size_t i = 0; i < engine_file_pair_count(to); i++) {
        const struct engine_file_pair pair = engine_file_pair(to, i);

        if (key_is(&pair, "general.file_type")) {
            types++;
            assert_int_equal(le32_load((const uint8_t *)pair.data + pair.bytes - 4), 7);
        }
    }
    assert_int_equal(types, 1);
    engine_file_close(from);
    engine_file_close(to);
}

/* Old values of the keys that describe the file do not stay beside the new ones. */
static void test_file_keys_are_replaced(void **state)
{
    struct engine_file *file;
    size_t types = 0, versions = 0;

    (void)state;
    EXPECT(TOOL_DONE, NULL, "quantize", EDGE, work_path("first.gguf"), "Q8_0");
    EXPECT(TOOL_DONE, NULL, "quantize", work_path("first.gguf"), work_path("second.gguf"), "F16");
    file = file_get(work_path("second.gguf"));
    for (size_t i = 0; i < engine_file_pair_count(file); i++) {
        const struct engine_file_pair pair = engine_file_pair(file, i);

        versions += key_is(&pair, "general.quantization_version");
        if (key_is(&pair, "general.file_type")) {
            types++;
            assert_int_equal(le32_load((const uint8_t *)pair.data + pair.bytes - 4), 1);
        }
    }
    assert_int_equal(types, 1);
    assert_int_equal(versions, 0);
    engine_file_close(file);
}

static uint8_t *file_bytes(const char *path, size_t *ret_bytes)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data;

    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *ret_bytes = (size_t)ftell(file);
    rewind(file);
    data = malloc(*ret_bytes);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *ret_bytes, file), *ret_bytes);
    (void)fclose(file);
    return data;
}

/* By its own name, by another, or by a link: nothing is written over the file that is read. */
static void test_the_input_is_not_written_over(void **state)
{
    static const char *const ways[] = {"in.gguf", "./in.gguf", "link.gguf"};
    size_t bytes = 0, after = 0;
    uint8_t *before, *now;
    char path[3][128];

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        snprintf(path[i], sizeof(path[i]), "%s", work_path(ways[i]));
    }
    EXPECT(TOOL_DONE, NULL, "quantize", EDGE, path[0], "F16");
    assert_int_equal(symlink(path[0], path[2]), 0);
    before = file_bytes(path[0], &bytes);
    for (size_t i = 0; i < 3; i++) {
        EXPECT(TOOL_WRONG_USE, "OUT is a file that is read", "quantize", path[0], path[i], "Q8_0");
        now = file_bytes(path[0], &after);
        assert_int_equal(after, bytes);
        assert_memory_equal(now, before, bytes);
        free(now);
    }
    EXPECT(TOOL_DONE, NULL, "quantize", path[0], work_path("other.gguf"), "Q8_0");
    EXPECT(TOOL_DONE, NULL, "quantize", path[0], work_path("other.gguf"), "Q4_0"); /* replaced */
    free(before);
}

/* FORMAT.md's rule, on a vision model that has everything it names. */
static void test_types_follow_the_rule(void **state)
{
    struct engine_file *file;
    size_t quantised = 0;

    (void)state;
    EXPECT(TOOL_DONE, NULL, "quantize", "deploy/models/objects-local.gguf", work_path("rule.gguf"),
           "Q4_0");
    file = file_get(work_path("rule.gguf"));
    for (size_t i = 0; i < engine_file_tensor_count(file); i++) {
        const struct engine_file_tensor tensor = engine_file_tensor(file, i);
        const bool kept = strncmp(tensor.name, "stem.", 5) == 0 ||
                          strncmp(tensor.name, "position_embd.", 14) == 0;
        const enum engine_weight_type wanted = tensor.dimension_count == 1 ? ENGINE_WEIGHT_F32
                                               : kept || tensor.dimensions[0] % 32 != 0
                                                   ? ENGINE_WEIGHT_F16
                                                   : ENGINE_WEIGHT_Q4_0;

        assert_int_equal(tensor.type, wanted);
        quantised += wanted == ENGINE_WEIGHT_Q4_0;
    }
    assert_true(quantised > 3);
    engine_file_close(file);
}

static void test_same_bytes(void **state)
{
    static const char *const types[] = {"F32", "F16", "BF16", "Q8_0", "Q4_0"};

    (void)state;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        EXPECT(TOOL_DONE, NULL, "quantize", EDGE, work_path("a.gguf"), types[i]);
        EXPECT(TOOL_DONE, NULL, "quantize", EDGE, work_path("b.gguf"), types[i]);
        assert_true(files_same(work_path("a.gguf"), work_path("b.gguf")));
        EXPECT(TOOL_DONE, NULL, "quantize", work_path("a.gguf"), work_path("b.gguf"), types[i]);
        assert_true(files_same(work_path("a.gguf"), work_path("b.gguf")));
    }
    /* F16 to F32 and back loses nothing */
    EXPECT(TOOL_DONE, NULL, "quantize", EDGE, work_path("wide.gguf"), "F32");
    EXPECT(TOOL_DONE, NULL, "quantize", work_path("wide.gguf"), work_path("b.gguf"), "F16");
    EXPECT(TOOL_DONE, NULL, "quantize", EDGE, work_path("a.gguf"), "F16");
    assert_true(files_same(work_path("a.gguf"), work_path("b.gguf")));
}

/* A file of one row of two blocks as another program may have rounded them: scale 1 and small
 * numbers, where our packing would take the smallest scale that fits. */
static void odd_write(const char *path, enum engine_weight_type type, uint8_t *block, size_t bytes)
{
    const uint64_t dimensions[2] = {64, 1};
    char error[ENGINE_ERROR_BYTES] = "";
    struct gguf_writer writer;
    struct gguf_file *file = NULL;

    gguf_writer_init(&writer);
    gguf_put_tensor(&writer, "row", type, dimensions, 2);
    assert_int_equal(gguf_file_create(&writer, path, &file, error), 0);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(gguf_file_append_packed(file, block, bytes, error), 0);
    }
    assert_int_equal(gguf_file_tensor_end(file, error), 0);
    assert_int_equal(gguf_file_commit(file, error), 0);
    gguf_writer_fini(&writer);
}

static void test_same_type_is_not_packed_again(void **state)
{
    static const enum engine_weight_type types[] = {ENGINE_WEIGHT_Q8_0, ENGINE_WEIGHT_Q4_0};
    uint8_t block[2 + 32] = {0x00, 0x3c}; /* 1 as F16 */

    (void)state;
    for (size_t i = 2; i < sizeof(block); i++) {
        block[i] = (uint8_t)(0x88 + i % 3 * 0x11); /* as Q8_0 -120 to -86, as Q4_0 0 to 2 */
    }
    for (size_t i = 0; i < 2; i++) {
        const size_t bytes = (size_t)engine_weight_bytes(types[i], 32);
        uint8_t again[2 * sizeof(block)];
        float values[64];
        struct engine_file *file;

        odd_write(work_path("odd.gguf"), types[i], block, bytes);
        EXPECT(TOOL_DONE, NULL, "quantize", work_path("odd.gguf"), work_path("kept.gguf"),
               engine_weight_text(types[i]));
        file = file_get(work_path("kept.gguf"));
        assert_memory_equal(engine_file_tensor(file, 0).data, block, bytes);
        assert_memory_equal((const uint8_t *)engine_file_tensor(file, 0).data + bytes, block,
                            bytes);
        engine_weight_unpack(types[i], engine_file_tensor(file, 0).data, 64, values);
        engine_weight_pack(types[i], values, 64, again);
        assert_memory_not_equal(again, block, bytes); /* else this test could not fail */
        engine_file_close(file);
    }
}

/* Sample commands that the model answers exactly. */
static unsigned exact_matches(const char *model, unsigned *ret_lines)
{
    FILE *file = fopen("deploy/models/samples/commands.txt", "r");
    char line[1024];
    unsigned exact = 0;

    *ret_lines = 0;
    assert_non_null(file);
    while (fgets(line, sizeof(line), file)) {
        char *answer = strchr(line, '\t');
        struct tool_result result;

        if (!answer) {
            continue;
        }
        *answer++ = '\0';
        result = TOOL("run", model, "--prompt", line);
        assert_int_equal(result.status, TOOL_DONE);
        exact += strcmp(result.out, answer) == 0;
        (*ret_lines)++;
        tool_free(&result);
    }
    fclose(file);
    return exact;
}

static void test_commands_stay_exact(void **state)
{
    unsigned before, after, lines;

    (void)state;
    EXPECT(TOOL_DONE, NULL, "quantize", EDGE, work_path("q8.gguf"), "Q8_0");
    before = exact_matches(EDGE, &lines);
    assert_true(lines >= 20 && before >= lines / 2);
    after = exact_matches(work_path("q8.gguf"), &lines);
    assert_int_equal(after, before);
}

/* ---- what is refused leaves nothing, and what stood there stays ---- */

static void test_refused(void **state)
{
    struct gguf_writer writer;
    struct gguf_file *file = NULL;
    const uint64_t one = 1;
    const float value = 1;
    char name[65], error[ENGINE_ERROR_BYTES] = "", text[16];
    size_t bytes;
    uint8_t *kept;

    (void)state;
    EXPECT(TOOL_WRONG_USE, "Q5_0", "quantize", EDGE, work_path("no.gguf"), "Q5_0");
    EXPECT(TOOL_WRONG_USE, "quantize IN OUT TYPE", "quantize", EDGE, work_path("no.gguf"));
    EXPECT(TOOL_WRONG_USE, "more", "quantize", EDGE, work_path("no.gguf"), "F16", "more");
    EXPECT(TOOL_FAILED, "not a GGUF file", "quantize", DATA "picture.png", work_path("no.gguf"),
           "F16");
    EXPECT(TOOL_FAILED, "No such file", "quantize", work_path("none"), work_path("no.gguf"), "F16");
    EXPECT(TOOL_FAILED, "No such file", "quantize", EDGE, work_path("none/no.gguf"), "F16");
    assert_int_equal(access(work_path("no.gguf"), F_OK), -1);

    memset(name, 'n', 64);
    name[64] = '\0';
    gguf_writer_init(&writer);
    gguf_put_tensor(&writer, name, ENGINE_WEIGHT_F32, &one, 1);
    assert_int_equal(gguf_file_create(&writer, work_path("long.gguf"), &file, error), 0);
    assert_int_equal(gguf_file_append(file, ENGINE_WEIGHT_F32, &value, 1, error), 0);
    assert_int_equal(gguf_file_commit(file, error), 0);
    gguf_writer_fini(&writer);
    text_write(work_path("kept.gguf"), "what was here");
    EXPECT(TOOL_FAILED, "64 bytes, at most 63", "quantize", work_path("long.gguf"),
           work_path("kept.gguf"), "F16");
    kept = bytes_of(work_path("kept.gguf"), &bytes);
    snprintf(text, sizeof(text), "%.*s", (int)bytes, (const char *)kept);
    assert_string_equal(text, "what was here");
    free(kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs_are_copied),
        cmocka_unit_test(test_file_keys_are_replaced),
        cmocka_unit_test(test_the_input_is_not_written_over),
        cmocka_unit_test(test_types_follow_the_rule),
        cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_same_type_is_not_packed_again),
        cmocka_unit_test(test_commands_stay_exact),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, work_begin, work_end);
}
