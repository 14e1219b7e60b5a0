/* SentencePiece's tokenizer.model: what of it becomes which pair, and that what is damaged, hostile
 * or of another kind is refused with one line. */
#include "common/base/limits.h"
#include "common/model/tokenizer_files.h"
#include "tests/unit/model/model_tool.h"

#include <cjson/cJSON.h>

/* ---- writing messages ---- */

static void varint_put(struct buf *out, uint64_t value)
{
    for (; value > 127; value >>= 7) {
        assert_int_equal(buf_append_u8(out, (uint8_t)(value | 128)), 0);
    }
    assert_int_equal(buf_append_u8(out, (uint8_t)value), 0);
}

static void number_put(struct buf *out, uint32_t id, uint64_t value)
{
    varint_put(out, (uint64_t)id << 3);
    varint_put(out, value);
}

static void bytes_put(struct buf *out, uint32_t id, const void *data, size_t bytes)
{
    varint_put(out, (uint64_t)id << 3 | 2);
    varint_put(out, bytes);
    assert_int_equal(buf_append(out, data, bytes), 0);
}

/* `type` 0: left out. */
static void piece_put(struct buf *out, const char *text, float score, uint64_t type)
{
    struct buf piece;
    uint32_t bits;

    memcpy(&bits, &score, sizeof(bits));
    buf_init(&piece, 0);
    bytes_put(&piece, 1, text, strlen(text));
    varint_put(&piece, 2 << 3 | 5);
    assert_int_equal(buf_append_le32(&piece, bits), 0);
    if (type) {
        number_put(&piece, 3, type);
    }
    bytes_put(out, 1, piece.data, piece.bytes);
    buf_fini(&piece);
}

static void part_put(struct buf *out, uint32_t id, const uint64_t (*numbers)[2], size_t count)
{
    struct buf part;

    buf_init(&part, 0);
    for (size_t i = 0; i < count; i++) {
        number_put(&part, (uint32_t)numbers[i][0], numbers[i][1]);
    }
    bytes_put(out, id, part.data, part.bytes);
    buf_fini(&part);
}
#define PART(out, id, ...)                                                                         \
    part_put(out, id, (const uint64_t[][2]){__VA_ARGS__},                                          \
             sizeof((const uint64_t[][2]){__VA_ARGS__}) / sizeof(uint64_t[2]))
#define TRAINING   PART(&file, 2, {3, 2}, {40, 0}, {41, 1}, {42, 2})
#define NORMALIZER PART(&file, 3, {3, 1}, {4, 0}, {5, 1})

static void pieces_put(struct buf *out)
{
    piece_put(out, "<unk>", 0, 2);
    piece_put(out, "<s>", 0, 3);
    piece_put(out, "</s>", 0, 3);
    piece_put(out, "<0x0A>", 0, 6);
    piece_put(out, "a", -1.5f, 0);
}

/* ---- reading them ---- */

/* TANDEM_E* of the bytes as --tokenizer of a model of `vocabulary` tokens; a line with `word`. The
 * pairs go to *ret_pairs unless that is NULL. */
static int put(const void *data, size_t bytes, uint32_t vocabulary, const char *word,
               struct buf *ret_pairs)
{
    char error[ENGINE_ERROR_BYTES] = "";
    const char *path = work_path("tokenizer.model");
    struct source source = {0};
    struct target target;
    const struct convert_options options = {.tokenizer = path};
    const struct convert convert = {
        .source = &source, .target = &target, .options = &options, .error = error};
    FILE *file = fopen(path, "wb");
    int code;

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    fclose(file);
    target_init(&target);
    code = tokenizer_files_put(&convert, vocabulary);
    if (code != 0 && (!strstr(error, word) || strchr(error, '\n'))) {
        fail_msg("\"%s\" without \"%s\"", error, word);
    }
    if (ret_pairs) {
        assert_int_equal(buf_append(ret_pairs, target.writer.pairs.data, target.writer.pairs.bytes),
                         0);
    }
    target_fini(&target);
    return code;
}

static bool pairs_have(const struct buf *pairs, const char *key, const void *value, size_t bytes)
{
    const uint8_t *at = memmem(pairs->data, pairs->bytes, key, strlen(key));

    return at && memmem(at, pairs->bytes - (size_t)(at - (uint8_t *)pairs->data), value, bytes) ==
                     at + strlen(key);
}

static void test_pairs(void **state)
{
    /* type and count of an array, then its numbers; type and value else */
    static const uint8_t scores[36] = {9, 0, 0, 0, 6, 0, 0, 0, 5, [34] = 0xc0, 0xbf};
    static const uint8_t types[] = {9, 0, 0, 0, 5, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 2, 0,
                                    0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 6, 0, 0, 0, 1, 0, 0, 0};
    static const uint8_t one[] = {4, 0, 0, 0, 1, 0, 0, 0}, two[] = {4, 0, 0, 0, 2, 0, 0, 0},
                         yes[] = {7, 0, 0, 0, 1}, no[] = {7, 0, 0, 0, 0};
    struct buf file, pairs;

    (void)state;
    buf_init(&file, 0);
    buf_init(&pairs, 0);
    pieces_put(&file);
    number_put(&file, 77, 5); /* a later field, stepped over */
    bytes_put(&file, 4, "self test", 9);
    TRAINING;
    NORMALIZER;
    assert_int_equal(put(file.data, file.bytes, 5, "", &pairs), 0);
    assert_true(pairs_have(&pairs, "tokenizer.ggml.scores", scores, sizeof(scores)));
    assert_true(pairs_have(&pairs, "tokenizer.ggml.token_type", types, sizeof(types)));
    assert_true(pairs_have(&pairs, "tokenizer.ggml.bos_token_id", one, sizeof(one)));
    assert_true(pairs_have(&pairs, "tokenizer.ggml.eos_token_id", two, sizeof(two)));
    assert_true(pairs_have(&pairs, "tokenizer.ggml.add_bos_token", yes, sizeof(yes)));
    assert_true(pairs_have(&pairs, "tokenizer.ggml.add_space_prefix", yes, sizeof(yes)));
    buf_fini(&pairs);
    buf_init(&pairs, 0);
    PART(&file, 2, {41, UINT64_MAX}, {42, UINT64_MAX}); /* -1: there is none */
    PART(&file, 3, {3, 0});
    assert_int_equal(put(file.data, file.bytes, 9, "", &pairs), 0); /* rows to spare are fine */
    assert_null(memmem(pairs.data, pairs.bytes, "bos_token_id", 12));
    assert_null(memmem(pairs.data, pairs.bytes, "eos_token_id", 12));
    assert_true(pairs_have(&pairs, "tokenizer.ggml.add_bos_token", no, sizeof(no)));
    assert_true(pairs_have(&pairs, "tokenizer.ggml.add_space_prefix", no, sizeof(no)));
    buf_fini(&pairs);
    buf_fini(&file);
}

/* What our tokenizer would cut otherwise is refused, by name; so are settings that are absent and
 * mean just that. */
static void test_other_kinds(void **state)
{
    struct buf file, part;

    (void)state;
    buf_init(&file, 0);
    pieces_put(&file);
    NORMALIZER;
    assert_int_equal(put(file.data, file.bytes, 5, "algorithm 1", NULL), TANDEM_EUNSUPPORTED);
    TRAINING;
    assert_int_equal(put(file.data, file.bytes, 5, "", NULL), 0);
    assert_int_equal(put(file.data, file.bytes, 4, "more than the model's 4", NULL),
                     TANDEM_EFORMAT);
    PART(&file, 3, {4, 1});
    assert_int_equal(put(file.data, file.bytes, 5, "collapsed", NULL), TANDEM_EUNSUPPORTED);
    PART(&file, 3, {4, 0}, {5, 0});
    assert_int_equal(put(file.data, file.bytes, 5, "escaped", NULL), TANDEM_EUNSUPPORTED);
    PART(&file, 3, {5, 1});
    buf_init(&part, 0);
    bytes_put(&part, 2, "rules", 5);
    bytes_put(&file, 3, part.data, part.bytes);
    assert_int_equal(put(file.data, file.bytes, 5, "character rules", NULL), TANDEM_EUNSUPPORTED);
    buf_fini(&part);
    buf_fini(&file);
    buf_init(&file, 0);
    piece_put(&file, "own", 0, 4);
    TRAINING;
    NORMALIZER;
    assert_int_equal(put(file.data, file.bytes, 5, "piece 0 is a symbol", NULL),
                     TANDEM_EUNSUPPORTED);
    buf_fini(&file);
}

static void piece_refused(const char *text, float score, uint64_t type)
{
    struct buf file;

    buf_init(&file, 0);
    piece_put(&file, "<unk>", 0, 2);
    piece_put(&file, text, score, type);
    TRAINING;
    NORMALIZER;
    assert_int_equal(put(file.data, file.bytes, 5, "piece 1", NULL), TANDEM_EFORMAT);
    buf_fini(&file);
}

static void test_pieces_refused(void **state)
{
    char *large = malloc(LIMIT_GGUF_TEXT_BYTES + 2);

    (void)state;
    assert_non_null(large);
    memset(large, 'x', LIMIT_GGUF_TEXT_BYTES + 1);
    large[LIMIT_GGUF_TEXT_BYTES + 1] = '\0';
    piece_refused("", 0, 0);
    piece_refused("a", 1.0f / 0.0f, 0);
    piece_refused("a", 0, 7);
    piece_refused("a", 0, UINT64_MAX);
    piece_refused(large, 0, 0);
    free(large);
}

/* Every cut and many flips; bytes that are no message at all. */
static void test_damaged(void **state)
{
    static const char *const nothing[] = {
        "\x0a",                                                 /* a length is missing */
        "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", /* one of more than 64 bits */
        "\x0a\xff\xff\xff\xff\x0f",                             /* 4 GiB */
        "\x0a\x03\x0a\x05x",                                    /* a text longer than its piece */
        "\x0a\x03\x0b\x01x",                                    /* a group */
        "\x0a\x01\x02",                                         /* field 0 */
        "\n[1]",
    };
    struct buf file;
    uint8_t *bytes;
    size_t refused = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(nothing) / sizeof(nothing[0]); i++) {
        assert_int_equal(put(nothing[i], strlen(nothing[i]), 5, "tokenizer.model", NULL),
                         TANDEM_EFORMAT);
    }
    buf_init(&file, 0);
    pieces_put(&file);
    TRAINING;
    NORMALIZER;
    bytes = file.data;
    for (size_t cut = 0; cut < file.bytes; cut++) {
        assert_int_not_equal(put(bytes, cut, 5, "tokenizer.model", NULL), 0);
    }
    for (size_t i = 0; i < file.bytes; i++) {
        bytes[i] ^= 0x81;
        refused += put(bytes, file.bytes, 5, "tokenizer.model", NULL) != 0;
        bytes[i] ^= 0x81;
    }
    assert_true(refused > file.bytes / 3);
    assert_int_equal(put(bytes, file.bytes, 5, "", NULL), 0);
    buf_fini(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_other_kinds),
        cmocka_unit_test(test_pieces_refused),
        cmocka_unit_test(test_damaged),
    };

    return cmocka_run_group_tests(tests, work_begin, work_end);
}
