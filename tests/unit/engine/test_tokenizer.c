#include "common/base/limits.h"
#include "common/engine/tokenizer_parts.h"
#include "tests/unit/engine/gguf_keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

/* Loads what `keys` says (and empties it); the code, and the tokenizer on 0. */
static int load(struct gguf_keys *keys, uint32_t n_vocab, struct tokenizer **ret_tokenizer,
                char error[ENGINE_ERROR_BYTES])
{
    struct gguf *gguf = NULL;
    struct buf file;
    int rc;

    keys_end(keys, &file);
    assert_int_equal(gguf_load(file.data, file.bytes, &gguf, error), 0);
    rc = tokenizer_load(gguf, n_vocab, ret_tokenizer, error);
    gguf_free(gguf);
    buf_fini(&file);
    return rc;
}

static const char *const words[] = {"<end>", "walk", "turn", "left", "?"};

static struct tokenizer *words_make(bool unknown)
{
    static const uint32_t types[] = {3, 1, 1, 1, 1}, prefix[] = {2, 3}, suffix[] = {0};
    struct gguf_keys keys = {0};
    struct tokenizer *tokenizer = NULL;
    char error[ENGINE_ERROR_BYTES];

    keys_put_text(&keys, "tokenizer.ggml.model", "tandem-words");
    keys_put_texts(&keys, "tokenizer.ggml.tokens", words, 5);
    keys_put_u32s(&keys, "tokenizer.ggml.token_type", GGUF_I32, types, 5);
    keys_put_u32(&keys, "tokenizer.ggml.bos_token_id", 1);
    keys_put_u32(&keys, "tokenizer.ggml.eos_token_id", 0);
    keys_put_bool(&keys, "tokenizer.ggml.add_bos_token", true);
    keys_put_u32s(&keys, "tandem.prompt.prefix", GGUF_U32, prefix, 2);
    keys_put_u32s(&keys, "tandem.prompt.suffix", GGUF_U32, suffix, 1);
    if (unknown) {
        keys_put_u32(&keys, "tokenizer.ggml.unknown_token_id", 4);
    }
    assert_int_equal(load(&keys, 6, &tokenizer, error), 0);
    return tokenizer;
}

static void test_words(void **state)
{
    struct tokenizer *tokenizer = words_make(false);
    char error[ENGINE_ERROR_BYTES] = "";
    uint32_t ids[8] = {0};
    size_t count = 0;

    (void)state;
    assert_int_equal(tokenizer_encode(tokenizer, " walk\tleft\n left ", 17, ids, 8, &count, error),
                     0);
    assert_int_equal(count, 3);
    assert_int_equal(ids[0], 1);
    assert_int_equal(ids[1], 3);
    assert_int_equal(ids[2], 3);
    assert_int_equal(tokenizer_encode(tokenizer, "", 0, ids, 8, &count, error), 0);
    assert_int_equal(count, 0);
    assert_int_equal(tokenizer_encode(tokenizer, "walk fast", 9, ids, 8, &count, error),
                     TANDEM_EINVAL);
    assert_non_null(strstr(error, "\"fast\""));
    assert_int_equal(tokenizer_encode(tokenizer, "\x01\x7f", 2, ids, 8, &count, error),
                     TANDEM_EINVAL);
    assert_non_null(strstr(error, "\"??\"")); /* quoted as one line */
    /* a control token's text is a word that is not known */
    assert_int_equal(tokenizer_encode(tokenizer, "<end>", 5, ids, 8, &count, error), TANDEM_EINVAL);
    tokenizer_free(tokenizer);
    tokenizer = words_make(true);
    assert_int_equal(tokenizer_encode(tokenizer, "walk fast", 9, ids, 8, &count, error), 0);
    assert_int_equal(ids[1], 4);
    tokenizer_free(tokenizer);
}

static void test_prompt_and_capacity(void **state)
{
    static const uint32_t expected[] = {1, 2, 3, 1, 0};
    struct tokenizer *tokenizer = words_make(false);
    char error[ENGINE_ERROR_BYTES];
    uint32_t ids[8] = {9, 9, 9, 9, 9, 9, 9, 9};
    size_t count = 0;

    (void)state;
    assert_int_equal(tokenizer_encode_prompt(tokenizer, "walk", 4, ids, 8, &count, error), 0);
    assert_int_equal(count, 5);
    assert_memory_equal(ids, expected, sizeof expected);
    ids[3] = 9;
    assert_int_equal(tokenizer_encode_prompt(tokenizer, "walk", 4, ids, 3, &count, error),
                     TANDEM_ETOOBIG);
    assert_int_equal(count, 5);
    assert_int_equal(ids[3], 9);
    tokenizer_free(tokenizer);
}

static void test_decode(void **state)
{
    struct tokenizer *tokenizer = words_make(false);
    struct buf out;

    (void)state;
    buf_init(&out, 0);
    assert_int_equal(tokenizer_decode(tokenizer, 1, true, &out), 0);
    assert_int_equal(tokenizer_decode(tokenizer, 0, false, &out), 0); /* control */
    assert_int_equal(tokenizer_decode(tokenizer, 5, false, &out),
                     0); /* padding of the vocabulary */
    assert_int_equal(tokenizer_decode(tokenizer, 3, false, &out), 0);
    assert_int_equal(tokenizer_decode(tokenizer, 6, false, &out), TANDEM_EINVAL);
    assert_int_equal(out.bytes, 9);
    assert_memory_equal(out.data, "walk left", 9);
    assert_true(tokenizer_is_end(tokenizer, 0));
    assert_false(tokenizer_is_end(tokenizer, 1));
    buf_fini(&out);
    tokenizer_free(tokenizer);
}

static void test_text_limit(void **state)
{
    struct tokenizer *tokenizer = words_make(true);
    char *text = malloc(LIMIT_TEXT_BYTES + 1);
    char error[ENGINE_ERROR_BYTES];
    uint32_t id;
    size_t count;

    (void)state;
    memset(text, 'x', LIMIT_TEXT_BYTES + 1);
    assert_int_equal(tokenizer_encode(tokenizer, text, LIMIT_TEXT_BYTES, &id, 1, &count, error), 0);
    assert_int_equal(tokenizer_encode(tokenizer, text, LIMIT_TEXT_BYTES + 1, &id, 1, &count, error),
                     TANDEM_ETOOBIG);
    free(text);
    tokenizer_free(tokenizer);
}

static const char *const letters[] = {"a", "b", "ab", "aa", "abab", "aab"};

/* A BPE file with one thing of it replaced. */
static int bpe_load(const char *const *tokens, size_t token_count, const char *const *merges,
                    size_t merge_count, struct tokenizer **ret_tokenizer,
                    char error[ENGINE_ERROR_BYTES])
{
    struct gguf_keys keys = {0};

    keys_put_text(&keys, "tokenizer.ggml.model", "gpt2");
    keys_put_texts(&keys, "tokenizer.ggml.tokens", tokens, token_count);
    keys_put_texts(&keys, "tokenizer.ggml.merges", merges, merge_count);
    return load(&keys, 6, ret_tokenizer, error);
}

static void test_merges(void **state)
{
    static const char *const merges[] = {"a b", "a a", "ab ab"};
    struct tokenizer *tokenizer = NULL;
    char error[ENGINE_ERROR_BYTES];
    uint32_t ids[8];
    size_t count;

    (void)state;
    assert_int_equal(bpe_load(letters, 6, merges, 3, &tokenizer, error), 0);
    assert_int_equal(tokenizer_encode(tokenizer, "aaaab", 5, ids, 8, &count, error),
                     0); /* aa a ab */
    assert_int_equal(count, 3);
    assert_int_equal(ids[0], 3);
    assert_int_equal(ids[1], 0);
    assert_int_equal(ids[2], 2);
    assert_int_equal(tokenizer_encode(tokenizer, "abababab", 8, ids, 8, &count, error), 0);
    assert_int_equal(count, 2);
    assert_int_equal(ids[0], 4);
    assert_int_equal(tokenizer_encode(tokenizer, "abc", 3, ids, 8, &count, error), TANDEM_EINVAL);
    assert_non_null(strstr(error, "0x63"));
    tokenizer_free(tokenizer);
}

/* The ids of `text` by these merges over the letters a, b, c, d, as texts one after another with a
 * bar between. */
static void merged(const char *const *merges, size_t merge_count, const char *text,
                   const char *wanted)
{
    static const char *const parts[] = {"a",  "b",   "c",   "d",   "ab",   "bc",
                                        "cd", "aba", "abc", "bcd", "abcd", "aa"};
    const size_t part_count = sizeof parts / sizeof parts[0];
    struct gguf_keys keys = {0};
    struct tokenizer *tokenizer = NULL;
    char error[ENGINE_ERROR_BYTES] = "", found[128] = "";
    uint32_t ids[32];
    size_t count = 0;

    keys_put_text(&keys, "tokenizer.ggml.model", "gpt2");
    keys_put_texts(&keys, "tokenizer.ggml.tokens", parts, part_count);
    keys_put_texts(&keys, "tokenizer.ggml.merges", merges, merge_count);
    assert_int_equal(load(&keys, (uint32_t)part_count, &tokenizer, error), 0);
    assert_int_equal(tokenizer_encode(tokenizer, text, strlen(text), ids, 32, &count, error), 0);
    for (size_t i = 0; i < count; i++) {
        snprintf(found + strlen(found), sizeof found - strlen(found), "%s%s", i ? "|" : "",
                 parts[ids[i]]);
    }
    assert_string_equal(found, wanted);
    tokenizer_free(tokenizer);
}

/* Which pair is merged is a matter of rank, not of place, and ranks are what the file's order says.
 */
static void test_merge_order(void **state)
{
    static const char *const right_first[] = {"b c", "a b", "ab c"}, *const left_first[] = {
                                                                         "a b", "b c", "ab c"};
    static const char *const middle[] = {"b c", "a b", "c d", "a bc", "bc d", "abc d"};
    static const char *const pairs[] = {"c d", "b c", "a b"};
    static const char *const out_of_order[] = {"ab a", "a b"}, *const same[] = {"a a"};

    (void)state;
    merged(right_first, 3, "abc", "a|bc");
    merged(left_first, 3, "abc", "abc");
    merged(left_first, 2, "abc", "ab|c");
    merged(middle, 6, "abcd", "abcd");
    merged(middle, 3, "abcd", "a|bc|d");
    merged(pairs, 3, "abcd", "ab|cd");
    merged(pairs, 3, "abc", "a|bc");
    merged(out_of_order, 2, "abab",
           "ab|ab"); /* all of one rank before what the first of them made */
    merged(out_of_order, 2, "aba", "aba");
    merged(same, 1, "aaaaa", "aa|aa|a"); /* left to right */
}

static void test_end_tokens(void **state)
{
    struct gguf_keys keys = {0};
    struct tokenizer *tokenizer = NULL;
    char error[ENGINE_ERROR_BYTES];

    (void)state;
    keys_put_text(&keys, "tokenizer.ggml.model", "tandem-words");
    keys_put_texts(&keys, "tokenizer.ggml.tokens", words, 5);
    keys_put_u32(&keys, "tokenizer.ggml.eos_token_id", 1);
    keys_put_u32(&keys, "tokenizer.ggml.eot_token_id", 3);
    keys_put_u32(&keys, "tokenizer.ggml.eom_token_id", 4);
    assert_int_equal(load(&keys, 5, &tokenizer, error), 0);
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(tokenizer_is_end(tokenizer, i), i == 1 || i >= 3);
    }
    tokenizer_free(tokenizer);
    keys_put_text(&keys, "tokenizer.ggml.model", "tandem-words");
    keys_put_texts(&keys, "tokenizer.ggml.tokens", words, 5);
    assert_int_equal(load(&keys, 5, &tokenizer, error), 0);
    assert_false(tokenizer_is_end(tokenizer, 0) || tokenizer_is_end(tokenizer, UINT32_MAX));
    tokenizer_free(tokenizer);
}

static void test_hostile_bpe(void **state)
{
    static const char *const twice[] = {"a", "b", "a"}, *const empty[] = {"a", ""};
    static const char *const bad_merges[][2] = {
        {"ab", NULL}, {"a b c", NULL}, {" b", NULL},  {"a ", NULL},
        {"", NULL},   {"a c", NULL},   {"b a", NULL}, {"a b", "a b"},
    };
    struct tokenizer *tokenizer = NULL;
    char error[ENGINE_ERROR_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof bad_merges / sizeof bad_merges[0]; i++) {
        assert_int_equal(
            bpe_load(letters, 6, bad_merges[i], bad_merges[i][1] ? 2 : 1, &tokenizer, error),
            TANDEM_EFORMAT);
    }
    assert_int_equal(bpe_load(twice, 3, bad_merges[0], 0, &tokenizer, error), TANDEM_EFORMAT);
    assert_int_equal(bpe_load(empty, 2, bad_merges[0], 0, &tokenizer, error), TANDEM_EFORMAT);
    assert_null(tokenizer);
}

static void test_hostile_ids(void **state)
{
    static const char *const ids[] = {"tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id",
                                      "tokenizer.ggml.unknown_token_id"};
    static const char *const arrays[] = {"tandem.prompt.prefix", "tandem.prompt.suffix"};
    static const uint32_t outside[] = {1, 6}, types[] = {1, 1, 1, 1, 7};
    uint32_t *many = calloc(LIMIT_PROMPT_TOKENS + 1, sizeof *many);
    struct tokenizer *tokenizer = NULL;
    char error[ENGINE_ERROR_BYTES];

    (void)state;
    for (size_t i = 0; i < 12; i++) {
        struct gguf_keys keys = {0};
        const int expected = i == 7 ? TANDEM_EUNSUPPORTED : i == 11 ? 0 : TANDEM_EFORMAT;

        keys_put_text(&keys, "tokenizer.ggml.model", i == 7 ? "bert" : "tandem-words");
        if (i != 8) {
            keys_put_texts(&keys, "tokenizer.ggml.tokens", words, 5);
        }
        if (i < 3) {
            keys_put_u32(&keys, ids[i], 6);
        } else if (i < 5) {
            keys_put_u32s(&keys, arrays[i - 3], GGUF_U32, outside, 2);
        } else if (i == 5) {
            keys_put_bool(&keys, "tokenizer.ggml.add_bos_token", true); /* without a bos */
        } else if (i == 6) {
            keys_put_u32s(&keys, "tokenizer.ggml.token_type", GGUF_I32, types, 5);
        } else if (i == 9) {
            keys_put_u32s(&keys, "tokenizer.ggml.token_type", GGUF_I32, types, 4);
        } else if (i >= 10) {
            keys_put_u32s(&keys, "tandem.prompt.prefix", GGUF_U32, many,
                          LIMIT_PROMPT_TOKENS + (i == 10));
        }
        assert_int_equal(load(&keys, 6, &tokenizer, error), expected);
    }
    tokenizer_free(tokenizer);
    free(many);
}

static void test_more_tokens_than_vocabulary(void **state)
{
    struct gguf_keys keys = {0};
    struct tokenizer *tokenizer = NULL;
    char error[ENGINE_ERROR_BYTES];

    (void)state;
    keys_put_text(&keys, "tokenizer.ggml.model", "tandem-words");
    keys_put_texts(&keys, "tokenizer.ggml.tokens", words, 5);
    assert_int_equal(load(&keys, 4, &tokenizer, error), TANDEM_EFORMAT);
    keys_put_text(&keys, "general.name", "nothing of texts");
    assert_int_equal(load(&keys, 4, &tokenizer, error), 0);
    assert_null(tokenizer);
}

/* One word as long as a request may be: n log n, not n squared (which would take minutes). */
static void test_long_word(void **state)
{
    static const char *const merges[] = {"a b", "a a", "ab ab"};
    struct tokenizer *tokenizer = NULL;
    char *text = malloc(LIMIT_TEXT_BYTES);
    char error[ENGINE_ERROR_BYTES];
    size_t count = 0;
    clock_t start;

    (void)state;
    assert_int_equal(bpe_load(letters, 6, merges, 3, &tokenizer, error), 0);
    for (size_t i = 0; i < LIMIT_TEXT_BYTES; i++) {
        text[i] = i % 2 ? 'b' : 'a';
    }
    start = clock();
    assert_int_equal(tokenizer_encode(tokenizer, text, LIMIT_TEXT_BYTES, NULL, 0, &count, error),
                     TANDEM_ETOOBIG);
    assert_int_equal(count, LIMIT_TEXT_BYTES / 4);
    assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 10);
    free(text);
    tokenizer_free(tokenizer);
}

static void test_classes(void **state)
{
    (void)state;
    assert_int_equal(unicode_class('a'), TEXT_LETTER);
    assert_int_equal(unicode_class(0xE9), TEXT_LETTER);
    assert_int_equal(unicode_class(0x65E5), TEXT_LETTER);
    assert_int_equal(unicode_class(0x2FA1D), TEXT_LETTER);
    assert_int_equal(unicode_class('7'), TEXT_NUMBER);
    assert_int_equal(unicode_class(0xBD), TEXT_NUMBER);
    assert_int_equal(unicode_class(0x3000), TEXT_SPACE);
    assert_int_equal(unicode_class(0x1C), TEXT_OTHER);
    assert_int_equal(unicode_class(0x1F600), TEXT_OTHER);
    assert_int_equal(unicode_class(UINT32_MAX), TEXT_OTHER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),       cmocka_unit_test(test_prompt_and_capacity),
        cmocka_unit_test(test_decode),      cmocka_unit_test(test_text_limit),
        cmocka_unit_test(test_merges),      cmocka_unit_test(test_hostile_bpe),
        cmocka_unit_test(test_merge_order), cmocka_unit_test(test_end_tokens),
        cmocka_unit_test(test_hostile_ids), cmocka_unit_test(test_more_tokens_than_vocabulary),
        cmocka_unit_test(test_long_word),   cmocka_unit_test(test_classes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
