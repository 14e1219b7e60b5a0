/* Readers of checkpoints against damaged and hostile files. */
#include "common/base/limits.h"
#include "common/model/convert.h"
#include "common/model/pickle.h"
#include "common/model/pt.h"
#include "common/model/tool.h"
#include "common/model/zip.h"
#include "tests/unit/model/checkpoint_file.h"

#define CHECKPOINT "tests/golden/checkpoints/lm_q_gqa.pt"

static char folder[] = "/tmp/tandem-checkpoint.XXXXXX";
static char in[64], out[64];

/* Runs the converter; its exit status, and what it said in `said`. */
static int convert(const char *from, const char *option, const char *value, char said[1024])
{
    const char *words[] = {"tandem-model", "convert", from, out, option, value, NULL};
    size_t bytes = 0;
    char *text = NULL;
    FILE *notes = open_memstream(&text, &bytes);
    const int status = tool_main(option ? 6 : 4, (char **)(uintptr_t)words, stdout, notes);

    fclose(notes);
    snprintf(said, 1024, "%s", text);
    free(text);
    return status;
}

static void assert_refused(const char *part)
{
    char said[1024];

    assert_int_equal(convert(in, NULL, NULL, said), TOOL_FAILED);
    if (!strstr(said, part) || strchr(said, '\n') != said + strlen(said) - 1) {
        fail_msg("not one line with \"%s\": %s", part, said);
    }
    assert_int_not_equal(access(out, F_OK), 0);
}

/* A checkpoint with this pickle and `stored` floats. */
static void checkpoint_write(const struct buf *pickle, size_t stored)
{
    float *floats = calloc(stored + 1, sizeof(*floats));
    const struct entry entries[] = {{"a/data.pkl", pickle->data, pickle->bytes, 0, 0, 0},
                                    {"a/data/0", floats, stored * sizeof(*floats), 0, 0, 0}};
    struct buf zip;

    zip_build(&zip, entries, 2);
    file_write(in, zip.data, zip.bytes);
    buf_fini(&zip);
    free(floats);
}

static void assert_pickle_refused(struct buf *pickle, size_t stored, const char *part)
{
    checkpoint_write(pickle, stored);
    buf_fini(pickle);
    assert_refused(part);
}

/* OUT is a link to the checkpoint: it is not taken for a new file. */
static void test_the_checkpoint_is_not_written_over(void **state)
{
    char said[1024], *whole = realpath(CHECKPOINT, NULL);

    (void)state;
    assert_non_null(whole);
    (void)unlink(out);
    assert_int_equal(symlink(whole, out), 0);
    assert_int_equal(convert(CHECKPOINT, NULL, NULL, said), TOOL_WRONG_USE);
    assert_non_null(strstr(said, "OUT is a file that is read"));
    assert_int_equal(unlink(out), 0);
    free(whole);
}

static void test_a_name_that_executes_is_refused(void **state)
{
    struct buf pickle;

    (void)state;
    pickle_begin(&pickle);
    pickle_ops(&pickle, "cposix\nsystem\n(");
    pickle_text(&pickle, "true");
    pickle_ops(&pickle, "tR.");
    assert_pickle_refused(&pickle, 1,
                          "posix.system is not something a checkpoint of weights needs");
    pickle_begin(&pickle);
    pickle_text(&pickle, "builtins");
    pickle_text(&pickle, "eval");
    pickle_ops(&pickle, "\x93.");
    assert_pickle_refused(&pickle, 1, "builtins.eval");
}

static void test_opcodes_that_checkpoints_do_not_use_are_refused(void **state)
{
    struct buf pickle;

    (void)state;
    pickle_begin(&pickle);
    pickle_ops(&pickle, "iposix\nsystem\n.");
    assert_pickle_refused(&pickle, 1, "opcode 0x69");
}

static void test_a_pickle_that_contains_itself_ends(void **state)
{
    struct buf pickle;

    (void)state;
    pickle_begin(&pickle);
    pickle_ops(&pickle, "]");
    assert_int_equal(buf_append(&pickle, "q\0h\0a.", 6), 0);
    assert_pickle_refused(&pickle, 1, "no dictionary of tensors");
    pickle_begin(&pickle); /* a dictionary that is its own state dictionary */
    pickle_ops(&pickle, "}");
    assert_int_equal(buf_append(&pickle, "q\0", 2), 0);
    pickle_text(&pickle, "model_state_dict");
    assert_int_equal(buf_append(&pickle, "h\0s.", 4), 0);
    assert_pickle_refused(&pickle, 1, "holds no tensors");
}

static void test_shapes_and_places_are_checked(void **state)
{
    static const struct {
        int32_t offset, rows, columns, stored;
        const char *part;
    } cases[] = {
        {0, -1, 4, 16, "not made of counts"},
        {-4, 2, 4, 16, "described in an unknown way"},
        {0, 5, 4, 16, "reaches past the end"},
        {9, 2, 4, 16, "reaches past the end"},
        {0, INT32_MAX, INT32_MAX, 16, "reaches past the end"},
    };
    struct buf pickle;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        pickle_begin(&pickle);
        pickle_ops(&pickle, "}");
        pickle_text(&pickle, "wte.weight");
        pickle_tensor(&pickle, cases[i].offset, cases[i].rows, cases[i].columns, cases[i].stored);
        pickle_ops(&pickle, "s.");
        assert_pickle_refused(&pickle, 16, cases[i].part);
    }
}

static void test_stack_tricks_are_refused(void **state)
{
    static const char *const programs[] = {".",
                                           "R.",
                                           "t.",
                                           "(",
                                           "a.",
                                           "]a.",
                                           "(]a.",
                                           "0.",
                                           "}]s.",
                                           "}(Nu.",
                                           "N(R.",
                                           "1.",
                                           "h\x05.",
                                           "r\x01\x01\x01\x01.",
                                           "X\xff\xff\xff\xff.",
                                           "NNb.",
                                           "\x85.",
                                           "N\x87.",
                                           "c\n\n.",
                                           "Q."};
    struct pickle *pickle;
    char error[ENGINE_ERROR_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
        error[0] = '\0';
        assert_int_not_equal(pickle_load(programs[i], strlen(programs[i]), &pickle, error), 0);
        assert_true(error[0] != '\0');
    }
}

static void test_too_many_values_are_refused(void **state)
{
    const size_t count = LIMIT_PICKLE_VALUES;
    uint8_t *data = malloc(count + 2);
    struct pickle *pickle = NULL;
    char error[ENGINE_ERROR_BYTES] = "";

    (void)state;
    assert_non_null(data);
    memset(data, 'N', count + 1);
    data[count] = '.';
    assert_int_equal(pickle_load(data, count + 1, &pickle, error), 0);
    pickle_free(pickle);
    data[count] = 'N';
    data[count + 1] = '.';
    assert_int_equal(pickle_load(data, count + 2, &pickle, error), TANDEM_ETOOBIG);
    assert_non_null(strstr(error, "too many values"));
    free(data);
}

static void test_zip_tricks_are_refused(void **state)
{
    const struct {
        struct entry second;
        const char *part;
    } cases[] = {
        {{"a/data/0", "abcd", 4, 0, 1, 0}, "without its header"},
        {{"a/data/0", "abcd", 4, 1u << 20, 0, 0}, "reaches past the end"},
        {{"a/data/0", "abcd", 4, 0, 0, 8}, "compressed or encrypted"},
        {{"a/byteorder", "big", 3, 0, 0, 0}, "big-endian"},
        {{"a/data/00", "abcd", 4, 40, 0, 0}, "reaches past the end"},
    };
    struct buf zip;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct entry entries[] = {{"a/data.pkl", "}.", 2, 0, 0, 0}, cases[i].second};

        zip_build(&zip, entries, 2);
        if (i == 4) {
            zip.bytes -= 22 + 20; /* the end record is gone too: first that is said */
        }
        file_write(in, zip.data, zip.bytes);
        buf_fini(&zip);
        assert_refused(i == 4 ? "no end record" : cases[i].part);
    }
}

static void test_overlapping_entries_are_refused(void **state)
{
    const struct entry entries[] = {{"a/data.pkl", "}.", 2, 60, 0, 0},
                                    {"a/data/0", "abcd", 4, 0, 0, 0}};
    struct buf zip;

    (void)state;
    zip_build(&zip, entries, 2);
    file_write(in, zip.data, zip.bytes);
    buf_fini(&zip);
    assert_refused("overlap");
}

/* An end record that promises more than the bounds; the file is as long as it says, with a hole. */
static void test_directories_over_the_bounds_are_refused(void **state)
{
    struct buf end;
    FILE *file;

    (void)state;
    buf_init(&end, 0);
    append_u32(&end, 0x06064b50); /* the 64-bit end record, at 0 */
    assert_int_equal(buf_append_le64(&end, 44), 0);
    append_u32(&end, 0);
    append_u32(&end, 0);
    append_u32(&end, 0);
    assert_int_equal(buf_append_le64(&end, (uint64_t)LIMIT_ZIP_ENTRIES + 1), 0);
    assert_int_equal(buf_append_le64(&end, (uint64_t)LIMIT_ZIP_ENTRIES + 1), 0);
    assert_int_equal(buf_append_le64(&end, 0), 0);
    assert_int_equal(buf_append_le64(&end, 0), 0);
    append_u32(&end, 0x07064b50); /* its locator */
    append_u32(&end, 0);
    assert_int_equal(buf_append_le64(&end, 0), 0);
    append_u32(&end, 1);
    append_u32(&end, 0x06054b50);
    append_u32(&end, 0);
    append_u32(&end, UINT32_MAX);
    append_u32(&end, UINT32_MAX);
    append_u32(&end, UINT32_MAX);
    append_u16(&end, 0);
    memcpy(end.data, "PK\003\004", 4);
    file_write(in, end.data, end.bytes);
    assert_refused("no 64-bit end record");
    le32_store(end.data, 0x06064b50);
    {
        struct source source = {0};
        struct zip zip;
        char error[ENGINE_ERROR_BYTES] = "";
        uint32_t number;

        file_write(in, end.data, end.bytes);
        assert_int_equal(source_open(&source, in, &number, error), 0);
        assert_int_equal(zip_load(&source, number, &zip, error), TANDEM_ETOOBIG);
        zip_fini(&zip);
        source_fini(&source);
        /* One entry, but a directory of too many bytes. */
        le64_store(end.data + 32, 1);
        le64_store(end.data + 40, (uint64_t)LIMIT_ZIP_DIRECTORY_BYTES + 1);
        file = fopen(in, "wb");
        assert_non_null(file);
        assert_int_equal(ftruncate(fileno(file), (off_t)LIMIT_ZIP_DIRECTORY_BYTES + 1), 0);
        assert_int_equal(fseek(file, 0, SEEK_END), 0);
        le64_store(end.data + 64, (uint64_t)LIMIT_ZIP_DIRECTORY_BYTES + 1);
        assert_int_equal(fwrite(end.data, 1, end.bytes, file), end.bytes);
        fclose(file);
        assert_int_equal(source_open(&source, in, &number, error), 0);
        assert_int_equal(zip_load(&source, number, &zip, error), TANDEM_ETOOBIG);
        zip_fini(&zip);
        source_fini(&source);
    }
    buf_fini(&end);
}

static void test_a_pickle_over_the_bound_is_refused(void **state)
{
    const size_t bytes = (size_t)LIMIT_PICKLE_BYTES + 1;
    uint8_t *data = calloc(1, bytes);
    const struct entry entries[] = {{"a/data.pkl", data, bytes, 0, 0, 0}};
    struct buf zip;

    (void)state;
    assert_non_null(data);
    zip_build(&zip, entries, 1);
    file_write(in, zip.data, zip.bytes);
    buf_fini(&zip);
    free(data);
    assert_refused("too large");
}

static void test_too_many_tensors_are_refused(void **state)
{
    struct source source = {0};
    struct source_tensor tensor = {.type = SOURCE_F32, .dimension_count = 1};
    char name[32], error[ENGINE_ERROR_BYTES] = "";
    int result = 0;

    (void)state;
    file_write(in, "", 0);
    assert_int_equal(source_open(&source, in, &tensor.file, error), 0);
    tensor.name = name;
    for (int i = 0; result == 0 && i < LIMIT_CHECKPOINT_TENSORS; i++) {
        snprintf(name, sizeof(name), "%d", i);
        result = source_add(&source, &tensor, error);
    }
    assert_int_equal(result, 0);
    assert_int_equal(source_add(&source, &tensor, error), TANDEM_EFORMAT); /* stands twice */
    snprintf(name, sizeof(name), "one more");
    assert_int_equal(source_add(&source, &tensor, error), TANDEM_ETOOBIG);
    source_fini(&source);
}

static void test_a_tokenizer_file_over_the_bound_is_refused(void **state)
{
    char path[96], said[1024];
    FILE *file;

    (void)state;
    snprintf(path, sizeof(path), "%s/tokenizer.json", folder);
    file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), (off_t)LIMIT_TOKENIZER_FILE_BYTES + 1), 0);
    fclose(file);
    assert_int_equal(convert(CHECKPOINT, "--tokenizer", path, said), TOOL_FAILED);
    assert_non_null(strstr(said, "too large"));
    file_write(path, "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 41}, \"merges\": []}}",
               60);
    assert_int_equal(convert(CHECKPOINT, "--tokenizer", path, said), TOOL_FAILED);
    assert_non_null(strstr(said, "an id outside the model's 41 tokens"));
    assert_int_equal(unlink(path), 0);
    assert_int_not_equal(access(out, F_OK), 0);
}

/* A token encoder whose table would be computed from more numbers than the bound. The file is a
 * hole. */
static void test_folding_is_bounded(void **state)
{
    static const struct {
        const char *name;
        uint32_t rows, columns;
    } tensors[] = {
        {"embed.weight", 4, LIMIT_FOLDED_ELEMENTS / 4 + 1},
        {"embed.bias", 0, 4},
        {"pos_emb.weight", 2, 4},
        {"head.weight", 3, 4},
        {"blocks.0.ln1.weight", 0, 4},
        {"blocks.0.ln2.weight", 0, 4},
        {"blocks.0.attn.c_qkv.weight", 4, 4},
        {"blocks.0.attn.c_proj.weight", 4, 4},
        {"blocks.0.mlp.0.weight", 8, 4},
        {"blocks.0.mlp.2.weight", 4, 8},
        {"ln_f.weight", 0, 4},
    };
    struct source source = {0};
    struct target target;
    const struct convert_options options = {.heads = 2};
    char error[ENGINE_ERROR_BYTES] = "";
    struct convert convert = {
        .source = &source, .target = &target, .options = &options, .error = error};
    uint32_t number;

    (void)state;
    target_init(&target);
    file_write(in, "", 0);
    assert_int_equal(truncate(in, 4 * ((off_t)LIMIT_FOLDED_ELEMENTS + 4)), 0);
    assert_int_equal(source_open(&source, in, &number, error), 0);
    for (size_t i = 0; i < sizeof(tensors) / sizeof(tensors[0]); i++) {
        const bool matrix = tensors[i].rows != 0;
        const struct source_tensor tensor = {
            .name = (char *)(uintptr_t)tensors[i].name,
            .type = SOURCE_F32,
            .dimension_count = matrix ? 2 : 1,
            .shape = {matrix ? tensors[i].rows : tensors[i].columns, tensors[i].columns},
            .stride = {matrix ? tensors[i].columns : 1, 1},
            .file = number};

        assert_int_equal(source_add(&source, &tensor, error), 0);
    }
    assert_true(convert_is_encoder(&source));
    assert_int_equal(convert_encoder(&convert), TANDEM_ETOOBIG);
    assert_non_null(strstr(error, "embed.weight is too large"));
    target_fini(&target);
    source_fini(&source);
}

/* Whatever is cut off or flipped: one line and no file, or a file that is whole. */
static void test_damaged_checkpoints_never_do_harm(void **state)
{
    uint8_t *data = malloc(1u << 20), *copy = malloc(1u << 20);
    FILE *file = fopen(CHECKPOINT, "rb");
    uint64_t random = 1;
    char said[1024];
    size_t bytes;

    (void)state;
    assert_true(data && copy && file);
    bytes = fread(data, 1, 1u << 20, file);
    fclose(file);
    for (size_t cut = 0; cut < bytes; cut += 977) {
        file_write(in, data, cut);
        assert_int_equal(convert(in, NULL, NULL, said), TOOL_FAILED);
        assert_true(said[0] != '\0');
        assert_int_not_equal(access(out, F_OK), 0);
    }
    for (int i = 0; i < 300; i++) {
        size_t at;

        random = random * 6364136223846793005u + 1442695040888963407u;
        /* In the pickle (the first 16 KiB) or the directory (the last 16 KiB): that is what is
         * parsed. */
        at = (size_t)(random >> 33) % (16u << 10);
        memcpy(copy, data, bytes);
        copy[i % 2 ? at : bytes - 1 - at] ^= (uint8_t)(1u << (random >> 60 & 7));
        file_write(in, copy, bytes);
        if (convert(in, NULL, NULL, said) == TOOL_DONE) {
            assert_int_equal(unlink(out), 0);
        } else {
            assert_true(said[0] != '\0');
            assert_int_not_equal(access(out, F_OK), 0);
        }
    }
    free(data);
    free(copy);
}

static int folder_make(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) {
        return -1;
    }
    snprintf(in, sizeof(in), "%s/in.pt", folder);
    snprintf(out, sizeof(out), "%s/out.gguf", folder);
    return 0;
}

static int folder_remove(void **state)
{
    (void)state;
    (void)unlink(in);
    return rmdir(folder); /* fails when anything half-written was left */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_checkpoint_is_not_written_over),
        cmocka_unit_test(test_a_name_that_executes_is_refused),
        cmocka_unit_test(test_opcodes_that_checkpoints_do_not_use_are_refused),
        cmocka_unit_test(test_a_pickle_that_contains_itself_ends),
        cmocka_unit_test(test_shapes_and_places_are_checked),
        cmocka_unit_test(test_stack_tricks_are_refused),
        cmocka_unit_test(test_too_many_values_are_refused),
        cmocka_unit_test(test_zip_tricks_are_refused),
        cmocka_unit_test(test_overlapping_entries_are_refused),
        cmocka_unit_test(test_directories_over_the_bounds_are_refused),
        cmocka_unit_test(test_a_pickle_over_the_bound_is_refused),
        cmocka_unit_test(test_too_many_tensors_are_refused),
        cmocka_unit_test(test_a_tokenizer_file_over_the_bound_is_refused),
        cmocka_unit_test(test_folding_is_bounded),
        cmocka_unit_test(test_damaged_checkpoints_never_do_harm),
    };

    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
