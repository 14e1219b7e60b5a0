/* tokenizer_parts.h: what the files of the tokenizer share among themselves. Nothing outside of
 * them includes it.
 *
 * A token's text is kept as the bytes it stands for: the byte alphabet of GPT-2 files is undone
 * once, when the file is read, and everything after works on plain bytes. Scored pieces keep their
 * sign for a space, because a space that was typed and that sign are the same to them. */
#ifndef TANDEM_ENGINE_TOKENIZER_PARTS_H
#define TANDEM_ENGINE_TOKENIZER_PARTS_H

#include "common/engine/tokenizer.h"

#define TOKEN_NONE UINT32_MAX

/* ---- characters (tokenizer_unicode.c, made by make_unicode.py) ---- */

enum text_class { TEXT_OTHER, TEXT_LETTER, TEXT_NUMBER, TEXT_SPACE };
/* The class of a code point; what is none is TEXT_OTHER. */
enum text_class unicode_class(uint32_t point);

/* ---- the tokenizer ---- */

struct token_text {
    const uint8_t *bytes; /* borrowed */
    size_t count;
};

/* Numbers of the file. */
enum token_type {
    TOKEN_TYPE_NORMAL = 1,
    TOKEN_TYPE_UNKNOWN, /* scored: never matched */
    TOKEN_TYPE_CONTROL, /* never printed, never matched */
    TOKEN_TYPE_USER,
    TOKEN_TYPE_UNUSED, /* scored: never matched */
    TOKEN_TYPE_BYTE,   /* scored: <0xXX> stands for one byte, never matched */
    TOKEN_TYPE_LAST = TOKEN_TYPE_BYTE
};

struct bpe_merge {
    uint32_t left, right, product; /* ids */
};

/* Ids as they are found: all are counted, those that fit are written. */
struct id_writer {
    uint32_t *ids;
    size_t capacity, count;
};
void id_writer_add(struct id_writer *writer, uint32_t id);

/* A binary heap in the caller's memory, smallest entry first; push needs room for one more, pop one
 * entry. */
void entry_heap_push(uint64_t *heap, size_t *count, uint64_t entry);
uint64_t entry_heap_pop(uint64_t *heap, size_t *count);

/* One way to cut text, named by tokenizer.ggml.model. */
struct tokenizer_kind {
    const char *name;
    bool byte_alphabet; /* token texts are written in GPT-2's printable alphabet */
    bool spaced;        /* decoding puts a space between tokens */
    bool scored;        /* tokens have scores, bytes have tokens of their own, spaces are U+2581 */
    int (*encode)(const struct tokenizer *tokenizer, struct token_text text,
                  struct id_writer *writer, char error[ENGINE_ERROR_BYTES]);
};

struct tokenizer {
    const struct tokenizer_kind *kind;
    uint32_t n_vocab; /* V of the model */
    uint32_t count;   /* tokens named by the file, <= V */
    uint8_t *bytes;   /* all texts, one after the other */
    size_t *offsets;  /* [count + 1] into bytes */
    uint8_t *types;   /* [count] of enum token_type */
    uint32_t *slots;  /* [slot_mask + 1]: text -> id, open addressing, TOKEN_NONE when empty */
    size_t slot_mask;
    uint32_t bos, unknown;  /* TOKEN_NONE when the file has none, like the next */
    uint32_t eos, eot, eom; /* each ends a text */
    bool add_bos;
    uint32_t *prefix, *suffix; /* around the text of a prompt */
    size_t prefix_count, suffix_count;
    uint32_t byte_ids[256]; /* BPE of both kinds; TOKEN_NONE: no token for this byte */
    /* scored only */
    float *scores;  /* [count], higher ones merge first */
    bool add_space; /* a text begins with a space that nobody typed */
    /* byte-level BPE only */
    struct bpe_merge *merges; /* [merge_count], by rank */
    size_t merge_count;
    uint32_t *merge_slots; /* [merge_mask + 1]: (left, right) -> rank */
    size_t merge_mask;
};

struct token_text tokenizer_text(const struct tokenizer *tokenizer, uint32_t id);
/* The id of a text, or TOKEN_NONE. Control tokens are not found. */
uint32_t tokenizer_find(const struct tokenizer *tokenizer, struct token_text text);

/* ---- tokenizer_bpe.c ---- */

extern const struct tokenizer_kind tokenizer_kind_bpe;

/* Undoes the byte alphabet: `text` is UTF-8 of the 256 printable stand-ins. Writes at most
 * text.count bytes to `ret_bytes` and returns how many, or -1 when a character is none of them. */
ptrdiff_t bpe_bytes_of(struct token_text text, uint8_t *ret_bytes);
/* Fills byte_ids and the merge table from merges[0..merge_count). TANDEM_EFORMAT for a pair that
 * comes twice, ENOMEM. */
int bpe_init(struct tokenizer *tokenizer, char error[ENGINE_ERROR_BYTES]);
/* Splits "left right" at rank `rank` into ids. TANDEM_EFORMAT with a line when it does not split in
 * two known tokens that make a known one. `scratch` holds text.count bytes. */
int bpe_merge_parse(const struct tokenizer *tokenizer, size_t rank, struct token_text text,
                    uint8_t *scratch, struct bpe_merge *ret_merge, char error[ENGINE_ERROR_BYTES]);
/* The end of the piece that GPT-2's pre-tokenizer cuts off `text` at `start` (> start unless at the
 * end). */
size_t bpe_piece_end(struct token_text text, size_t start);

/* ---- tokenizer_scored.c ---- */

extern const struct tokenizer_kind tokenizer_kind_scored;

/* Reads the scores and finds the byte tokens, after the tokens are in. TANDEM_EFORMAT, ENOMEM. */
int scored_init(struct tokenizer *tokenizer, const struct gguf *gguf,
                char error[ENGINE_ERROR_BYTES]);
/* Appends what the token prints. */
int scored_decode(const struct tokenizer *tokenizer, uint32_t id, bool first, struct buf *out);

/* ---- tokenizer_words.c ---- */

extern const struct tokenizer_kind tokenizer_kind_words;

#endif
