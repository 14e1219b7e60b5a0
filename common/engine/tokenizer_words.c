/* tokenizer_words.c: one token a word, words end at ASCII white space. */
#include "common/engine/tokenizer_parts.h"

#include <stdio.h>

#define WORD_SHOWN_BYTES 64 /* of a refused word, in the error line */

static bool is_space(uint8_t byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static int words_encode(const struct tokenizer *tokenizer, struct token_text text,
                        struct id_writer *writer, char error[ENGINE_ERROR_BYTES])
{
    size_t at = 0;

    for (;;) {
        struct token_text word;
        uint32_t id;

        while (at < text.count && is_space(text.bytes[at])) {
            at++;
        }
        if (at == text.count) {
            return 0;
        }
        word.bytes = text.bytes + at;
        while (at < text.count && !is_space(text.bytes[at])) {
            at++;
        }
        word.count = (size_t)(text.bytes + at - word.bytes);
        id = tokenizer_find(tokenizer, word);
        if (id == TOKEN_NONE) {
            id = tokenizer->unknown;
        }
        if (id == TOKEN_NONE) {
            const int shown = word.count < WORD_SHOWN_BYTES ? (int)word.count : WORD_SHOWN_BYTES;

            snprintf(error, ENGINE_ERROR_BYTES, "this model does not know the word \"%.*s\"", shown,
                     (const char *)word.bytes);
            return TANDEM_EINVAL;
        }
        id_writer_add(writer, id);
    }
}

const struct tokenizer_kind tokenizer_kind_words = {
    .name = "tandem-words", .spaced = true, .encode = words_encode};
