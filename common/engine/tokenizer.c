/* tokenizer.c: a tokenizer from a model file's keys, and what all kinds of it have in common. */
#include "common/engine/tokenizer_parts.h"

#include "common/base/limits.h"
#include "common/engine/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static int fail(int code, char error[ENGINE_ERROR_BYTES], const char *text)
{
    snprintf(error, ENGINE_ERROR_BYTES, "tokenizer: %s", text);
    return code;
}

/* What a line quotes from a file or a text stays one line. */
static int line_clean(int code, char error[ENGINE_ERROR_BYTES])
{
    if (code != 0) {
        gguf_line_clean(error);
    }
    return code;
}

/* ---- texts and ids ---- */

void id_writer_add(struct id_writer *writer, uint32_t id)
{
    if (writer->count < writer->capacity) {
        writer->ids[writer->count] = id;
    }
    writer->count++;
}

struct token_text tokenizer_text(const struct tokenizer *tokenizer, uint32_t id)
{
    const size_t first = tokenizer->offsets[id];

    return (struct token_text){tokenizer->bytes + first, tokenizer->offsets[id + 1] - first};
}

/* The slot of a text: its own, or the empty one where it would go. */
static size_t slot_find(const struct tokenizer *tokenizer, struct token_text text)
{
    size_t slot = (size_t)XXH3_64bits(text.bytes, text.count) & tokenizer->slot_mask;

    while (tokenizer->slots[slot] != TOKEN_NONE) {
        const struct token_text found = tokenizer_text(tokenizer, tokenizer->slots[slot]);

        if (found.count == text.count && memcmp(found.bytes, text.bytes, text.count) == 0) {
            break;
        }
        slot = (slot + 1) & tokenizer->slot_mask;
    }
    return slot;
}

uint32_t tokenizer_find(const struct tokenizer *tokenizer, struct token_text text)
{
    return text.count > 0 ? tokenizer->slots[slot_find(tokenizer, text)] : TOKEN_NONE;
}

/* ---- reading the keys ---- */

static const struct tokenizer_kind *const kinds[] = {&tokenizer_kind_bpe, &tokenizer_kind_scored,
                                                     &tokenizer_kind_words};

static int kind_read(const struct gguf *gguf, struct tokenizer *tokenizer,
                     char error[ENGINE_ERROR_BYTES])
{
    struct gguf_text name;
    const int rc = gguf_get_text(gguf, "tokenizer.ggml.model", &name, error);

    if (rc != 0) {
        return rc;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (gguf_text_is(name, kinds[i]->name)) {
            tokenizer->kind = kinds[i];
            return 0;
        }
    }
    snprintf(error, ENGINE_ERROR_BYTES,
             "tokenizer.ggml.model: \"%.*s\" is none of gpt2, llama and tandem-words",
             name.bytes < LIMIT_NAME_BYTES ? (int)name.bytes : LIMIT_NAME_BYTES, name.data);
    return TANDEM_EUNSUPPORTED;
}

/* A text array that must be there. */
static int texts_get(const struct gguf *gguf, const char *key, struct gguf_array *ret_array,
                     char error[ENGINE_ERROR_BYTES])
{
    struct gguf_array array;
    const int rc = gguf_get_array(gguf, key, &array, error);

    if (rc == 0 && array.type != GGUF_TEXT) {
        snprintf(error, ENGINE_ERROR_BYTES, "%s: not an array of texts", key);
        return TANDEM_EFORMAT;
    }
    if (rc == 0) {
        *ret_array = array;
    }
    return rc == TANDEM_ENOTFOUND ? TANDEM_EFORMAT : rc;
}

/* Takes the memory of all token tables. */
static int tables_init(struct tokenizer *tokenizer, struct gguf_array texts,
                       char error[ENGINE_ERROR_BYTES])
{
    struct gguf_text text;
    size_t bytes = 1, slots = 16;

    tokenizer->count = (uint32_t)texts.count;
    while (gguf_next_text(&texts, &text)) {
        bytes += text.bytes;
    }
    while (slots < 2 * (size_t)tokenizer->count) {
        slots *= 2;
    }
    tokenizer->slot_mask = slots - 1;
    tokenizer->bytes = malloc(bytes);
    tokenizer->offsets = calloc((size_t)tokenizer->count + 1, sizeof *tokenizer->offsets);
    tokenizer->types = malloc(tokenizer->count);
    tokenizer->slots = malloc(slots * sizeof *tokenizer->slots);
    if (!tokenizer->bytes || !tokenizer->offsets || !tokenizer->types || !tokenizer->slots) {
        return fail(TANDEM_ENOMEM, error, "no memory for the tokens");
    }
    memset(tokenizer->types, TOKEN_TYPE_NORMAL, tokenizer->count);
    memset(tokenizer->slots, 0xFF, slots * sizeof *tokenizer->slots);
    return 0;
}

static int types_read(const struct gguf *gguf, struct tokenizer *tokenizer,
                      char error[ENGINE_ERROR_BYTES])
{
    struct gguf_array array;
    int rc;

    if (!gguf_has(gguf, "tokenizer.ggml.token_type")) {
        return 0;
    }
    rc = gguf_get_array(gguf, "tokenizer.ggml.token_type", &array, error);
    if (rc != 0) {
        return rc;
    }
    if (array.count != tokenizer->count) {
        return fail(TANDEM_EFORMAT, error, "tokenizer.ggml.token_type has not one type a token");
    }
    for (uint32_t id = 0; id < tokenizer->count; id++) {
        int32_t type;

        if (!gguf_next_i32(&array, &type) || type < TOKEN_TYPE_NORMAL || type > TOKEN_TYPE_LAST) {
            return fail(TANDEM_EFORMAT, error, "tokenizer.ggml.token_type has a type that is none");
        }
        tokenizer->types[id] = (uint8_t)type;
    }
    return 0;
}

/* Whether a token may be found in text. */
static bool type_matched(const struct tokenizer *tokenizer, uint32_t id)
{
    const uint8_t type = tokenizer->types[id];

    return tokenizer->kind->scored ? type == TOKEN_TYPE_NORMAL || type == TOKEN_TYPE_USER
                                   : type != TOKEN_TYPE_CONTROL;
}

/* Appends the bytes that token `id` stands for at offsets[id] and enters it into the hash table. A
 * text outside the byte alphabet (tokens that other tools add) prints as it stands and is never
 * matched. */
static int token_add(struct tokenizer *tokenizer, uint32_t id, struct gguf_text text,
                     char error[ENGINE_ERROR_BYTES])
{
    uint8_t *at = tokenizer->bytes + tokenizer->offsets[id];
    const struct token_text written = {(const uint8_t *)text.data, text.bytes};
    ptrdiff_t count = tokenizer->kind->byte_alphabet ? bpe_bytes_of(written, at) : -1;
    const bool matched =
        type_matched(tokenizer, id) && (count >= 0 || !tokenizer->kind->byte_alphabet);
    struct token_text token;
    size_t slot;

    if (count < 0) {
        memcpy(at, text.data, text.bytes);
        count = (ptrdiff_t)text.bytes;
    }
    tokenizer->offsets[id + 1] = tokenizer->offsets[id] + (size_t)count;
    if (!matched) {
        return 0;
    }
    token = tokenizer_text(tokenizer, id);
    slot = slot_find(tokenizer, token);
    if (token.count == 0 || tokenizer->slots[slot] != TOKEN_NONE) {
        snprintf(error, ENGINE_ERROR_BYTES, "tokenizer.ggml.tokens: token %u is %s", id,
                 token.count == 0 ? "empty" : "there twice");
        return TANDEM_EFORMAT;
    }
    tokenizer->slots[slot] = id;
    return 0;
}

static int tokens_read(const struct gguf *gguf, struct tokenizer *tokenizer,
                       char error[ENGINE_ERROR_BYTES])
{
    struct gguf_array texts;
    struct gguf_text text;
    int rc;

    rc = texts_get(gguf, "tokenizer.ggml.tokens", &texts, error);
    if (rc != 0) {
        return rc;
    }
    if (texts.count == 0 || texts.count > tokenizer->n_vocab) {
        snprintf(error, ENGINE_ERROR_BYTES,
                 "tokenizer.ggml.tokens: %zu tokens for a vocabulary of %u", texts.count,
                 tokenizer->n_vocab);
        return TANDEM_EFORMAT;
    }
    rc = tables_init(tokenizer, texts, error);
    if (rc == 0) {
        rc = types_read(gguf, tokenizer, error);
    }
    for (uint32_t id = 0; id < tokenizer->count && rc == 0; id++) {
        rc = gguf_next_text(&texts, &text)
                 ? token_add(tokenizer, id, text, error)
                 : fail(TANDEM_EFORMAT, error, "tokenizer.ggml.tokens ends early");
    }
    return rc;
}

static int merges_read(const struct gguf *gguf, struct tokenizer *tokenizer,
                       char error[ENGINE_ERROR_BYTES])
{
    struct gguf_array texts;
    struct gguf_text text;
    uint8_t *scratch = NULL;
    size_t longest = 1;
    int rc;

    rc = texts_get(gguf, "tokenizer.ggml.merges", &texts, error);
    if (rc != 0) {
        return rc;
    }
    for (struct gguf_array look = texts; gguf_next_text(&look, &text);) {
        longest = text.bytes > longest ? text.bytes : longest;
    }
    tokenizer->merge_count = texts.count;
    tokenizer->merges = calloc(texts.count + 1, sizeof *tokenizer->merges);
    scratch = malloc(longest);
    if (!tokenizer->merges || !scratch) {
        rc = fail(TANDEM_ENOMEM, error, "no memory for the merges");
    }
    for (size_t rank = 0; rank < tokenizer->merge_count && rc == 0; rank++) {
        if (!gguf_next_text(&texts, &text)) {
            rc = fail(TANDEM_EFORMAT, error, "tokenizer.ggml.merges ends early");
        } else {
            rc = bpe_merge_parse(tokenizer, rank,
                                 (struct token_text){(const uint8_t *)text.data, text.bytes},
                                 scratch, &tokenizer->merges[rank], error);
        }
    }
    free(scratch);
    return rc == 0 ? bpe_init(tokenizer, error) : rc;
}

/* An optional id below V. */
static int id_read(const struct gguf *gguf, const char *key, uint32_t n_vocab, uint32_t *ret_id,
                   char error[ENGINE_ERROR_BYTES])
{
    uint32_t id;
    int rc;

    *ret_id = TOKEN_NONE;
    if (!gguf_has(gguf, key)) {
        return 0;
    }
    rc = gguf_get_u32(gguf, key, &id, error);
    if (rc != 0) {
        return rc;
    }
    if (id >= n_vocab) {
        snprintf(error, ENGINE_ERROR_BYTES, "%s: %u is outside a vocabulary of %u", key, id,
                 n_vocab);
        return TANDEM_EFORMAT;
    }
    *ret_id = id;
    return 0;
}

/* An optional array of ids below V. */
static int ids_read(const struct gguf *gguf, const char *key, uint32_t n_vocab, uint32_t **ret_ids,
                    size_t *ret_count, char error[ENGINE_ERROR_BYTES])
{
    uint32_t *ids = NULL;
    size_t count = 0;
    int rc;

    if (!gguf_has(gguf, key)) {
        return 0;
    }
    ids = malloc(LIMIT_PROMPT_TOKENS * sizeof *ids);
    if (!ids) {
        return fail(TANDEM_ENOMEM, error, "no memory for a prompt");
    }
    rc = gguf_get_u32s(gguf, key, ids, LIMIT_PROMPT_TOKENS, &count, error);
    for (size_t i = 0; i < count && rc == 0; i++) {
        if (ids[i] >= n_vocab) {
            snprintf(error, ENGINE_ERROR_BYTES, "%s: %u is outside a vocabulary of %u", key, ids[i],
                     n_vocab);
            rc = TANDEM_EFORMAT;
        }
    }
    if (rc != 0) {
        free(ids);
        return rc;
    }
    *ret_ids = ids;
    *ret_count = count;
    return 0;
}

static uint32_t id_or(const struct tokenizer *tokenizer, uint32_t id, uint32_t otherwise)
{
    return id != TOKEN_NONE || otherwise >= tokenizer->count ? id : otherwise;
}

static int specials_read(const struct gguf *gguf, struct tokenizer *tokenizer,
                         char error[ENGINE_ERROR_BYTES])
{
    const uint32_t n = tokenizer->n_vocab;
    int rc;

    rc = id_read(gguf, "tokenizer.ggml.bos_token_id", n, &tokenizer->bos, error);
    if (rc == 0) {
        rc = id_read(gguf, "tokenizer.ggml.eos_token_id", n, &tokenizer->eos, error);
    }
    if (rc == 0) {
        rc = id_read(gguf, "tokenizer.ggml.eot_token_id", n, &tokenizer->eot, error);
    }
    if (rc == 0) {
        rc = id_read(gguf, "tokenizer.ggml.eom_token_id", n, &tokenizer->eom, error);
    }
    if (rc == 0) {
        rc = id_read(gguf, "tokenizer.ggml.unknown_token_id", n, &tokenizer->unknown, error);
    }
    if (rc == 0 && tokenizer->kind->scored) { /* what files of this kind mean by saying nothing */
        tokenizer->unknown = id_or(tokenizer, tokenizer->unknown, 0);
        tokenizer->bos = id_or(tokenizer, tokenizer->bos, 1);
        tokenizer->eos = id_or(tokenizer, tokenizer->eos, 2);
        tokenizer->add_bos = tokenizer->bos != TOKEN_NONE;
    }
    if (rc == 0 && gguf_has(gguf, "tokenizer.ggml.add_bos_token")) {
        rc = gguf_get_bool(gguf, "tokenizer.ggml.add_bos_token", &tokenizer->add_bos, error);
    }
    if (rc == 0 && tokenizer->add_bos && tokenizer->bos == TOKEN_NONE) {
        rc = fail(TANDEM_EFORMAT, error, "tokenizer.ggml.add_bos_token without a bos_token_id");
    }
    if (rc == 0) {
        rc = ids_read(gguf, "tandem.prompt.prefix", n, &tokenizer->prefix, &tokenizer->prefix_count,
                      error);
    }
    if (rc == 0) {
        rc = ids_read(gguf, "tandem.prompt.suffix", n, &tokenizer->suffix, &tokenizer->suffix_count,
                      error);
    }
    return rc;
}

int tokenizer_load(const struct gguf *gguf, uint32_t n_vocab, struct tokenizer **ret_tokenizer,
                   char error[ENGINE_ERROR_BYTES])
{
    struct tokenizer *tokenizer = NULL;
    int rc;

    if (!gguf_has(gguf, "tokenizer.ggml.model")) {
        *ret_tokenizer = NULL;
        return 0;
    }
    tokenizer = calloc(1, sizeof *tokenizer);
    if (!tokenizer) {
        return fail(TANDEM_ENOMEM, error, "no memory");
    }
    tokenizer->n_vocab = n_vocab;
    rc = kind_read(gguf, tokenizer, error);
    if (rc == 0) {
        rc = tokens_read(gguf, tokenizer, error);
    }
    if (rc == 0 && tokenizer->kind->byte_alphabet) {
        rc = merges_read(gguf, tokenizer, error);
    }
    if (rc == 0 && tokenizer->kind->scored) {
        rc = scored_init(tokenizer, gguf, error);
    }
    if (rc == 0) {
        rc = specials_read(gguf, tokenizer, error);
    }
    if (rc != 0) {
        tokenizer_free(tokenizer);
        return line_clean(rc, error);
    }
    *ret_tokenizer = tokenizer;
    return 0;
}

void tokenizer_free(struct tokenizer *tokenizer)
{
    if (!tokenizer) {
        return;
    }
    free(tokenizer->bytes);
    free(tokenizer->offsets);
    free(tokenizer->types);
    free(tokenizer->scores);
    free(tokenizer->slots);
    free(tokenizer->prefix);
    free(tokenizer->suffix);
    free(tokenizer->merges);
    free(tokenizer->merge_slots);
    free(tokenizer);
}

/* ---- use ---- */

/* Appends the text's ids to what `writer` has. */
static int text_encode(const struct tokenizer *tokenizer, const char *text, size_t text_bytes,
                       struct id_writer *writer, char error[ENGINE_ERROR_BYTES])
{
    if (text_bytes > LIMIT_TEXT_BYTES) {
        snprintf(error, ENGINE_ERROR_BYTES, "a text of %zu bytes is over the limit of %u",
                 text_bytes, LIMIT_TEXT_BYTES);
        return TANDEM_ETOOBIG;
    }
    return line_clean(
        tokenizer->kind->encode(tokenizer, (struct token_text){(const uint8_t *)text, text_bytes},
                                writer, error),
        error);
}

static int writer_end(const struct id_writer *writer, size_t *ret_count,
                      char error[ENGINE_ERROR_BYTES])
{
    *ret_count = writer->count;
    if (writer->count > writer->capacity) {
        snprintf(error, ENGINE_ERROR_BYTES, "the text has %zu tokens, there is room for %zu",
                 writer->count, writer->capacity);
        return TANDEM_ETOOBIG;
    }
    return 0;
}

int tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t text_bytes,
                     uint32_t *ids, size_t capacity, size_t *ret_count,
                     char error[ENGINE_ERROR_BYTES])
{
    struct id_writer writer = {ids, capacity, 0};
    const int rc = text_encode(tokenizer, text, text_bytes, &writer, error);

    return rc == 0 ? writer_end(&writer, ret_count, error) : rc;
}

int tokenizer_encode_prompt(const struct tokenizer *tokenizer, const char *text, size_t text_bytes,
                            uint32_t *ids, size_t capacity, size_t *ret_count,
                            char error[ENGINE_ERROR_BYTES])
{
    struct id_writer writer = {ids, capacity, 0};
    int rc;

    if (tokenizer->add_bos) {
        id_writer_add(&writer, tokenizer->bos);
    }
    for (size_t i = 0; i < tokenizer->prefix_count; i++) {
        id_writer_add(&writer, tokenizer->prefix[i]);
    }
    rc = text_encode(tokenizer, text, text_bytes, &writer, error);
    if (rc != 0) {
        return rc;
    }
    for (size_t i = 0; i < tokenizer->suffix_count; i++) {
        id_writer_add(&writer, tokenizer->suffix[i]);
    }
    return writer_end(&writer, ret_count, error);
}

int tokenizer_decode(const struct tokenizer *tokenizer, uint32_t id, bool first, struct buf *out)
{
    struct token_text text;
    int rc;

    if (id >= tokenizer->n_vocab) {
        return TANDEM_EINVAL;
    }
    if (id >= tokenizer->count ||
        tokenizer->types[id] ==
            TOKEN_TYPE_CONTROL) { /* padding of the vocabulary prints nothing either */
        return 0;
    }
    if (tokenizer->kind->scored) {
        return scored_decode(tokenizer, id, first, out);
    }
    text = tokenizer_text(tokenizer, id);
    rc = buf_reserve(out, text.count + 1);
    if (rc == 0 && tokenizer->kind->spaced && !first) {
        rc = buf_append_u8(out, ' ');
    }
    return rc == 0 ? buf_append(out, text.bytes, text.count) : rc;
}

bool tokenizer_is_end(const struct tokenizer *tokenizer, uint32_t id)
{
    return id != TOKEN_NONE &&
           (id == tokenizer->eos || id == tokenizer->eot || id == tokenizer->eom);
}

bool tokenizer_is_scored(const struct tokenizer *tokenizer)
{
    return tokenizer && tokenizer->kind->scored;
}

bool tokenizer_bos(const struct tokenizer *tokenizer, uint32_t *ret_id)
{
    if (tokenizer->add_bos) {
        *ret_id = tokenizer->bos;
    }
    return tokenizer->add_bos;
}
