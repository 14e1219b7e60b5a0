/* tokenizer_scored.c: pieces with scores, as SentencePiece makes them: a text is cut in characters,
 * and the neighbours whose piece has the highest score are joined until no two make a piece. What
 * is no piece then is written byte by byte. */
#include "common/engine/tokenizer_parts.h"

#include "common/engine/gguf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPACE_SIGN       "\xE2\x96\x81" /* U+2581 */
#define SPACE_SIGN_BYTES 3
#define UNKNOWN_PRINTED  " \xE2\x81\x87 " /* U+2047, as SentencePiece prints it */

/* ---- reading ---- */

/* <0xXX> */
static bool byte_text(struct token_text text, uint8_t *ret_byte)
{
    char digits[3] = "", *end;

    if (text.count != 6 || memcmp(text.bytes, "<0x", 3) != 0 || text.bytes[5] != '>') {
        return false;
    }
    memcpy(digits, text.bytes + 3, 2);
    *ret_byte = (uint8_t)strtoul(digits, &end, 16);
    return end == digits + 2 && digits[0] != '+' && digits[0] != '-' && digits[0] != ' ';
}

static int bytes_find(struct tokenizer *tokenizer, char error[ENGINE_ERROR_BYTES])
{
    memset(tokenizer->byte_ids, 0xFF, sizeof tokenizer->byte_ids);
    for (uint32_t id = 0; id < tokenizer->count; id++) {
        uint8_t byte;

        if (tokenizer->types[id] != TOKEN_TYPE_BYTE) {
            continue;
        }
        if (!byte_text(tokenizer_text(tokenizer, id), &byte) ||
            tokenizer->byte_ids[byte] != TOKEN_NONE) {
            snprintf(error, ENGINE_ERROR_BYTES,
                     "tokenizer.ggml.tokens: token %u is no byte, or one that another token is",
                     id);
            return TANDEM_EFORMAT;
        }
        tokenizer->byte_ids[byte] = id;
    }
    return 0;
}

int scored_init(struct tokenizer *tokenizer, const struct gguf *gguf,
                char error[ENGINE_ERROR_BYTES])
{
    struct gguf_array array;
    int rc = gguf_get_array(gguf, "tokenizer.ggml.scores", &array, error);

    if (rc != 0) {
        return TANDEM_EFORMAT;
    }
    if (array.count != tokenizer->count) {
        snprintf(error, ENGINE_ERROR_BYTES, "tokenizer.ggml.scores has not one score a token");
        return TANDEM_EFORMAT;
    }
    tokenizer->scores = malloc(tokenizer->count * sizeof *tokenizer->scores);
    if (!tokenizer->scores) {
        snprintf(error, ENGINE_ERROR_BYTES, "no memory for the tokens");
        return TANDEM_ENOMEM;
    }
    for (uint32_t id = 0; id < tokenizer->count; id++) {
        if (!gguf_next_f32(&array, &tokenizer->scores[id]) || isnan(tokenizer->scores[id])) {
            snprintf(error, ENGINE_ERROR_BYTES, "tokenizer.ggml.scores: token %u has no number",
                     id);
            return TANDEM_EFORMAT;
        }
    }
    tokenizer->add_space = true;
    if (gguf_has(gguf, "tokenizer.ggml.add_space_prefix")) {
        rc = gguf_get_bool(gguf, "tokenizer.ggml.add_space_prefix", &tokenizer->add_space, error);
    }
    return rc == 0 ? bytes_find(tokenizer, error) : rc;
}

/* ---- text to ids ---- */

struct scored_work {
    uint8_t *text; /* [bytes] with signs for spaces */
    size_t bytes;
    uint64_t *heap; /* [3 * count]: (order of the score, place) */
    size_t heap_count;
    uint32_t *from;        /* [count + 1] a symbol's first byte */
    uint32_t *length;      /* [count], 0: joined to the left */
    uint32_t *next, *prev; /* [count]; count stands for none */
    uint32_t count;        /* symbols, at first characters */
};

/* Bytes of the character at `at`; what is not well-formed counts as one byte. */
static size_t character_bytes(const uint8_t *text, size_t left)
{
    const uint8_t lead = text[0];
    const size_t bytes = lead < 0x80 ? 1 : lead < 0xC2 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;

    if (lead > 0xF4 || bytes > left) {
        return 1;
    }
    for (size_t i = 1; i < bytes; i++) {
        if ((text[i] & 0xC0) != 0x80) {
            return 1;
        }
    }
    return bytes;
}

/* The text as pieces are written, cut in characters. */
static int work_init(struct scored_work *work, struct token_text text, bool add_space)
{
    const size_t bytes = (text.count + 1) * SPACE_SIGN_BYTES, symbols = text.count + 1;

    work->heap = malloc(symbols * (3 * sizeof(uint64_t) + 4 * sizeof(uint32_t)) + bytes);
    if (!work->heap) {
        return TANDEM_ENOMEM;
    }
    work->from = (uint32_t *)(work->heap + 3 * symbols);
    work->length = work->from + symbols;
    work->next = work->length + symbols;
    work->prev = work->next + symbols;
    work->text = (uint8_t *)(work->prev + symbols);
    for (size_t i = add_space ? 0 : 1; i <= text.count; i++) {
        if (i == 0 || text.bytes[i - 1] == ' ') {
            memcpy(work->text + work->bytes, SPACE_SIGN, SPACE_SIGN_BYTES);
            work->bytes += SPACE_SIGN_BYTES;
        } else {
            work->text[work->bytes++] = text.bytes[i - 1];
        }
    }
    for (size_t at = 0; at < work->bytes; work->count++) {
        work->from[work->count] = (uint32_t)at;
        work->length[work->count] = (uint32_t)character_bytes(work->text + at, work->bytes - at);
        at += work->length[work->count];
    }
    for (uint32_t i = 0; i < work->count; i++) {
        work->next[i] = i + 1;
        work->prev[i] = i > 0 ? i - 1 : work->count;
    }
    return 0;
}

/* Higher scores are smaller numbers. */
static uint32_t score_order(float score)
{
    uint32_t bits;

    score += 0.0f; /* one zero */
    memcpy(&bits, &score, sizeof bits);
    return bits & 0x80000000u ? bits : ~(bits | 0x80000000u);
}

/* The heap's entry of the symbol at `place` with the next one; UINT64_MAX when they make no piece.
 */
static uint64_t pair_entry(const struct tokenizer *tokenizer, const struct scored_work *work,
                           uint32_t place)
{
    const uint32_t next = place < work->count ? work->next[place] : work->count;
    uint32_t id;

    if (next == work->count || work->length[place] == 0) {
        return UINT64_MAX;
    }
    id = tokenizer_find(tokenizer,
                        (struct token_text){work->text + work->from[place],
                                            (size_t)work->length[place] + work->length[next]});
    return id == TOKEN_NONE ? UINT64_MAX
                            : (uint64_t)score_order(tokenizer->scores[id]) << 32 | place;
}

static void pair_note(const struct tokenizer *tokenizer, struct scored_work *work, uint32_t place)
{
    const uint64_t entry = pair_entry(tokenizer, work, place);

    if (entry != UINT64_MAX) {
        entry_heap_push(work->heap, &work->heap_count, entry);
    }
}

static void symbols_join(const struct tokenizer *tokenizer, struct scored_work *work)
{
    for (uint32_t i = 0; i < work->count; i++) {
        pair_note(tokenizer, work, i);
    }
    while (work->heap_count > 0) {
        const uint64_t entry = entry_heap_pop(work->heap, &work->heap_count);
        const uint32_t place = (uint32_t)entry, right = work->next[place];

        if (pair_entry(tokenizer, work, place) != entry) {
            continue; /* one of the two has been joined since */
        }
        work->length[place] += work->length[right];
        work->length[right] = 0;
        work->next[place] = work->next[right];
        if (work->next[place] < work->count) {
            work->prev[work->next[place]] = place;
        }
        pair_note(tokenizer, work, work->prev[place]);
        pair_note(tokenizer, work, place);
    }
}

/* A symbol that is no piece: its bytes, or the unknown token once. */
static int bytes_write(const struct tokenizer *tokenizer, const uint8_t *bytes, size_t count,
                       struct id_writer *writer, char error[ENGINE_ERROR_BYTES])
{
    for (size_t i = 0; i < count; i++) {
        if (tokenizer->byte_ids[bytes[i]] == TOKEN_NONE) {
            if (tokenizer->unknown == TOKEN_NONE) {
                snprintf(error, ENGINE_ERROR_BYTES, "this model has no token for the byte 0x%02x",
                         bytes[i]);
                return TANDEM_EINVAL;
            }
            id_writer_add(writer, tokenizer->unknown);
            return 0;
        }
    }
    for (size_t i = 0; i < count; i++) {
        id_writer_add(writer, tokenizer->byte_ids[bytes[i]]);
    }
    return 0;
}

static int scored_encode(const struct tokenizer *tokenizer, struct token_text text,
                         struct id_writer *writer, char error[ENGINE_ERROR_BYTES])
{
    struct scored_work work = {0};
    int rc;

    if (text.count == 0) {
        return 0;
    }
    rc = work_init(&work, text, tokenizer->add_space);
    if (rc != 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "no memory to tokenize %zu bytes", text.count);
        return rc;
    }
    symbols_join(tokenizer, &work);
    for (uint32_t i = 0; rc == 0 && i < work.count; i = work.next[i]) {
        const struct token_text symbol = {work.text + work.from[i], work.length[i]};
        const uint32_t id = tokenizer_find(tokenizer, symbol);

        if (id != TOKEN_NONE) {
            id_writer_add(writer, id);
        } else {
            rc = bytes_write(tokenizer, symbol.bytes, symbol.count, writer, error);
        }
    }
    free(work.heap);
    return rc;
}

/* ---- ids to text ---- */

int scored_decode(const struct tokenizer *tokenizer, uint32_t id, bool first, struct buf *out)
{
    struct token_text text = tokenizer_text(tokenizer, id);
    uint8_t byte;
    int rc = buf_reserve(out, text.count + sizeof UNKNOWN_PRINTED);

    if (rc != 0) {
        return rc;
    }
    if (tokenizer->types[id] == TOKEN_TYPE_UNKNOWN) {
        return buf_append_text(out, UNKNOWN_PRINTED);
    }
    if (tokenizer->types[id] == TOKEN_TYPE_BYTE && byte_text(text, &byte)) {
        return buf_append_u8(out, byte);
    }
    while (rc == 0 && text.count > 0) {
        const bool space =
            text.count >= SPACE_SIGN_BYTES && memcmp(text.bytes, SPACE_SIGN, SPACE_SIGN_BYTES) == 0;
        const size_t taken = space ? SPACE_SIGN_BYTES : 1;

        if (!space || !first || !tokenizer->add_space) { /* the text's first one was never typed */
            rc = buf_append_u8(out, space ? ' ' : text.bytes[0]);
        }
        first = false;
        text.bytes += taken;
        text.count -= taken;
    }
    return rc;
}

const struct tokenizer_kind tokenizer_kind_scored = {
    .name = "llama", .scored = true, .encode = scored_encode};
