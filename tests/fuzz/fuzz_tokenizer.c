/* Any text through byte-level BPE: what it gives decodes to the same bytes. The file is made here,
 * with merges of the letters a to d, so that mutated text meets many of them. */
#include "common/engine/gguf.h"
#include "common/engine/tokenizer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void text_add(struct buf *out, const char *text)
{
    (void)buf_append_le64(out, strlen(text));
    (void)buf_append_text(out, text);
}

/* The n-th byte's stand-in in GPT-2's alphabet as UTF-8. */
static void byte_text(uint32_t byte, char text[4])
{
    uint32_t point = byte, hidden = 0;

    for (uint32_t i = 0; i <= byte; i++) {
        const int shown = (i >= 33 && i <= 126) || (i >= 161 && i <= 172) || i >= 174;

        if (i == byte && !shown) {
            point = 256 + hidden;
        }
        hidden += !shown;
    }
    if (point < 0x80) {
        memcpy(text, (char[]){(char)point, 0}, 2);
    } else {
        memcpy(text, (char[]){(char)(0xC0 | point >> 6), (char)(0x80 | (point & 0x3F)), 0}, 3);
    }
}

static struct tokenizer *tokenizer_make(void)
{
    static const char *const pairs[] = {"a b",  "ab ab", "c d", "a a",
                                        "aa a", "b c",   "d c", "abab a"};
    const size_t pair_count = sizeof pairs / sizeof pairs[0];
    char text[16], error[ENGINE_ERROR_BYTES];
    struct tokenizer *tokenizer = NULL;
    struct gguf *gguf = NULL;
    struct buf file;

    buf_init(&file, 0);
    (void)buf_append(&file, "GGUF\3\0\0\0", 8);
    (void)buf_append_le64(&file, 0);
    (void)buf_append_le64(&file, 3);
    text_add(&file, "tokenizer.ggml.model");
    (void)buf_append_le32(&file, GGUF_TEXT);
    text_add(&file, "gpt2");
    text_add(&file, "tokenizer.ggml.tokens");
    (void)buf_append_le32(&file, GGUF_ARRAY);
    (void)buf_append_le32(&file, GGUF_TEXT);
    (void)buf_append_le64(&file, 256 + pair_count);
    for (uint32_t byte = 0; byte < 256; byte++) {
        byte_text(byte, text);
        text_add(&file, text);
    }
    for (size_t i = 0; i < pair_count; i++) {
        const char *space = strchr(pairs[i], ' ');

        memcpy(text, pairs[i], (size_t)(space - pairs[i]));
        strcpy(text + (space - pairs[i]), space + 1);
        text_add(&file, text);
    }
    text_add(&file, "tokenizer.ggml.merges");
    (void)buf_append_le32(&file, GGUF_ARRAY);
    (void)buf_append_le32(&file, GGUF_TEXT);
    (void)buf_append_le64(&file, pair_count);
    for (size_t i = 0; i < pair_count; i++) {
        text_add(&file, pairs[i]);
    }
    while (file.bytes % 32) {
        (void)buf_append_u8(&file, 0);
    }
    if (gguf_load(file.data, file.bytes, &gguf, error) != 0 ||
        tokenizer_load(gguf, 512, &tokenizer, error) != 0) {
        abort();
    }
    gguf_free(gguf);
    buf_fini(&file);
    return tokenizer;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct tokenizer *tokenizer = tokenizer_make();
    uint32_t *ids = malloc((bytes + 1) * sizeof *ids);
    char error[ENGINE_ERROR_BYTES];
    struct buf back;
    size_t count = 0;

    buf_init(&back, 0);
    if (ids &&
        tokenizer_encode(tokenizer, (const char *)data, bytes, ids, bytes, &count, error) == 0) {
        for (size_t i = 0; i < count; i++) {
            assert(tokenizer_decode(tokenizer, ids[i], i == 0, &back) == 0);
        }
        assert(back.bytes == bytes && (bytes == 0 || memcmp(back.data, data, bytes) == 0));
    }
    buf_fini(&back);
    free(ids);
    tokenizer_free(tokenizer);
    return 0;
}
