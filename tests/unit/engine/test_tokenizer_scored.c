/* Scored pieces (tokenizer.ggml.model `llama`): what a file leaves out, bytes, and hostile keys.
 * How texts are cut is compared with another implementation in tests/golden/test_inputs.c. */
#include "common/base/limits.h"
#include "common/engine/tokenizer.h"
#include "tests/unit/engine/gguf_keys.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define SIGN "\xE2\x96\x81"

static const char *const texts[] = {"<unk>", "<s>", "</s>", "<0x41>", SIGN,
                                    "a",     "b",   "ab",   SIGN "a"};
static const uint32_t types[] = {2, 3, 3, 6, 1, 1, 1, 1, 1};
static const float scores[] = {0, 0, 0, 0, -5, -6, -7, -1, -2};
#define TOKENS (sizeof texts / sizeof texts[0])

static void keys_put_scores(struct gguf_keys *keys, const float *values, size_t count)
{
    uint32_t bits[TOKENS];

    memcpy(bits, values, count * sizeof *bits);
    keys_put_u32s(keys, "tokenizer.ggml.scores", GGUF_F32, bits, count);
}

static void keys_start(struct gguf_keys *keys)
{
    keys_put_text(keys, "tokenizer.ggml.model", "llama");
    keys_put_texts(keys, "tokenizer.ggml.tokens", texts, TOKENS);
}

static int load(struct gguf_keys *keys, struct tokenizer **ret_tokenizer)
{
    char error[ENGINE_ERROR_BYTES] = "";
    struct gguf *gguf = NULL;
    struct buf file;
    int rc;

    keys_end(keys, &file);
    assert_int_equal(gguf_load(file.data, file.bytes, &gguf, error), 0);
    rc = tokenizer_load(gguf, TOKENS, ret_tokenizer, error);
    assert_true(rc == 0 || (error[0] != '\0' && !strchr(error, '\n')));
    gguf_free(gguf);
    buf_fini(&file);
    return rc;
}

static struct tokenizer *make(void (*more)(struct gguf_keys *keys))
{
    struct tokenizer *tokenizer = NULL;
    struct gguf_keys keys = {0};

    keys_start(&keys);
    keys_put_scores(&keys, scores, TOKENS);
    keys_put_u32s(&keys, "tokenizer.ggml.token_type", GGUF_I32, types, TOKENS);
    if (more) {
        more(&keys);
    }
    assert_int_equal(load(&keys, &tokenizer), 0);
    return tokenizer;
}

static void ids_check(const struct tokenizer *tokenizer, bool prompt, const char *text,
                      const uint32_t *wanted, size_t count)
{
    char error[ENGINE_ERROR_BYTES] = "";
    uint32_t ids[16];
    size_t found = 0;
    const int rc =
        prompt ? tokenizer_encode_prompt(tokenizer, text, strlen(text), ids, 16, &found, error)
               : tokenizer_encode(tokenizer, text, strlen(text), ids, 16, &found, error);

    assert_int_equal(rc, 0);
    assert_int_equal(found, count);
    assert_memory_equal(ids, wanted, count * sizeof *ids);
}

static void no_bos(struct gguf_keys *keys)
{
    keys_put_bool(keys, "tokenizer.ggml.add_bos_token", false);
    keys_put_bool(keys, "tokenizer.ggml.add_space_prefix", false);
}

static void test_what_a_file_leaves_out(void **state)
{
    struct tokenizer *tokenizer = make(NULL);

    (void)state;
    ids_check(tokenizer, true, "ab", (const uint32_t[]){1, 4, 7}, 3); /* bos, the unseen space */
    ids_check(tokenizer, true, "", (const uint32_t[]){1}, 1);
    assert_true(tokenizer_is_end(tokenizer, 2));
    tokenizer_free(tokenizer);
    tokenizer = make(no_bos);
    ids_check(tokenizer, true, "ab a", (const uint32_t[]){7, 8}, 2);
    tokenizer_free(tokenizer);
}

/* A character that is no piece: its bytes if all have tokens, else the unknown token once. Control
 * tokens, bytes and the unknown token are never found by their text. */
static void test_bytes(void **state)
{
    struct tokenizer *tokenizer = make(no_bos);
    struct buf out;

    (void)state;
    ids_check(tokenizer, false, "A", (const uint32_t[]){3}, 1);
    ids_check(tokenizer, false,
              "bA\xC3\xA9"
              "b",
              (const uint32_t[]){6, 3, 0, 6}, 4);
    ids_check(tokenizer, false, "\xC3", (const uint32_t[]){0}, 1); /* half a character */
    ids_check(tokenizer, false, "<s>", (const uint32_t[]){0, 0, 0}, 3);
    buf_init(&out, 0);
    for (uint32_t id = 0; id < TOKENS; id++) {
        assert_int_equal(tokenizer_decode(tokenizer, id, false, &out), 0);
    }
    assert_int_equal(out.bytes, 5 + 1 + 1 + 1 + 1 + 2 + 2);
    assert_memory_equal(out.data, " \xE2\x81\x87 A abab a", out.bytes);
    buf_fini(&out);
    tokenizer_free(tokenizer);
}

/* Of "ab" and "ba" the higher score joins first, on either side of zero. */
static void test_scores_decide(void **state)
{
    static const char *const names[] = {"<unk>", "<s>", "</s>", "a", "b", "ab", "ba"};
    static const struct {
        float ab, ba;
        bool ab_first;
    } cases[] = {
        {-1, -2, true}, {-2, -1, false}, {2, 1, true}, {1, 2, false},   {1, -9, true},
        {-9, 1, false}, {0, -1, true},   {1, 0, true}, {-0.0f, 0, true} /* equal: the leftmost */};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const float values[] = {0, 0, 0, -20, -20, cases[i].ab, cases[i].ba};
        const uint32_t first[] = {5, 3}, second[] = {3, 6};
        struct tokenizer *tokenizer = NULL;
        struct gguf_keys keys = {0};

        keys_put_text(&keys, "tokenizer.ggml.model", "llama");
        keys_put_texts(&keys, "tokenizer.ggml.tokens", names, 7);
        keys_put_scores(&keys, values, 7);
        no_bos(&keys);
        assert_int_equal(load(&keys, &tokenizer), 0);
        ids_check(tokenizer, false, "aba", cases[i].ab_first ? first : second, 2);
        tokenizer_free(tokenizer);
    }
}

static void test_hostile(void **state)
{
    static const uint32_t two_bytes[] = {2, 3, 6, 6, 1, 1, 1, 1, 1};
    float wrong[TOKENS];
    struct tokenizer *tokenizer = NULL;
    struct gguf_keys keys = {0};

    (void)state;
    keys_start(&keys); /* no scores */
    assert_int_equal(load(&keys, &tokenizer), TANDEM_EFORMAT);
    keys_start(&keys);
    keys_put_scores(&keys, scores, TOKENS - 1);
    assert_int_equal(load(&keys, &tokenizer), TANDEM_EFORMAT);
    memcpy(wrong, scores, sizeof wrong);
    wrong[5] = NAN;
    keys_start(&keys);
    keys_put_scores(&keys, wrong, TOKENS);
    assert_int_equal(load(&keys, &tokenizer), TANDEM_EFORMAT);
    keys_start(&keys); /* a byte that is none */
    keys_put_scores(&keys, scores, TOKENS);
    keys_put_u32s(&keys, "tokenizer.ggml.token_type", GGUF_I32, two_bytes, TOKENS);
    assert_int_equal(load(&keys, &tokenizer), TANDEM_EFORMAT);
    assert_null(tokenizer);
}

/* The longest text takes its time, not its square. */
static void test_long_text(void **state)
{
    struct tokenizer *tokenizer = make(NULL);
    char *text = malloc(LIMIT_TEXT_BYTES), error[ENGINE_ERROR_BYTES];
    size_t count = 0;

    (void)state;
    for (size_t i = 0; i < LIMIT_TEXT_BYTES; i++) {
        text[i] = "ab"[i % 2];
    }
    assert_int_equal(tokenizer_encode(tokenizer, text, LIMIT_TEXT_BYTES, NULL, 0, &count, error),
                     TANDEM_ETOOBIG);
    assert_int_equal(count, LIMIT_TEXT_BYTES / 2 + 1);
    free(text);
    tokenizer_free(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_a_file_leaves_out),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_scores_decide),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_long_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
