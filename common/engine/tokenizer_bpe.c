/* tokenizer_bpe.c: byte-level byte-pair encoding as GPT-2 does it.
 *
 * The text is cut into pieces (bpe_piece_end), each piece starts as its bytes, and the adjacent
 * pair of the lowest rank is merged everywhere in the piece, left to right, until no pair has a
 * rank. A heap of (rank, place) finds that pair, so a long piece costs n log n, not n squared: a
 * request may hold a word of LIMIT_TEXT_BYTES.
 *
 *     symbols   h e l l o      next/prev link the living ones; a merge keeps the left symbol and
 * kills the right one heap      (rank of h+e, 0) (rank of l+l, 2) ...      an entry whose symbols
 * have changed is passed over
 */
#include "common/engine/tokenizer_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* ---- the byte alphabet ---- */

#define ALPHABET_POINTS 324 /* 256 + the 68 bytes that have no printable form of their own */

static bool byte_is_printable(uint32_t byte)
{
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) ||
           (byte >= 174 && byte <= 255);
}

/* Code point -> byte, -1 for none: printable bytes stand for themselves, the others for 256, 257,
 * ... in order. */
static void alphabet_init(int16_t inverse[ALPHABET_POINTS])
{
    uint32_t next = 256;

    for (uint32_t point = 0; point < ALPHABET_POINTS; point++) {
        inverse[point] = -1;
    }
    for (uint32_t byte = 0; byte < 256; byte++) {
        inverse[byte_is_printable(byte) ? byte : next++] = (int16_t)byte;
    }
}

/* The code point at `at` (left > 0 bytes) and how many bytes it has; what is not UTF-8 is one byte
 * with UINT32_MAX. */
static size_t utf8_next(const uint8_t *at, size_t left, uint32_t *ret_point)
{
    static const uint32_t smallest[5] = {0, 0, 0x80, 0x800,
                                         0x10000}; /* by length: shorter forms are not UTF-8 */
    const uint8_t lead = at[0];
    const size_t count = lead < 0x80       ? 1
                         : lead >> 5 == 6  ? 2
                         : lead >> 4 == 14 ? 3
                         : lead >> 3 == 30 ? 4
                                           : 0;
    uint32_t point = count == 1 ? lead : lead & (0x7Fu >> count);

    *ret_point = UINT32_MAX;
    if (count == 0 || count > left) {
        return 1;
    }
    for (size_t i = 1; i < count; i++) {
        if (at[i] >> 6 != 2) {
            return 1;
        }
        point = point << 6 | (at[i] & 0x3Fu);
    }
    if (point < smallest[count] || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF)) {
        return 1;
    }
    *ret_point = point;
    return count;
}

ptrdiff_t bpe_bytes_of(struct token_text text, uint8_t *ret_bytes)
{
    int16_t inverse[ALPHABET_POINTS];
    ptrdiff_t count = 0;

    alphabet_init(inverse);
    for (size_t at = 0; at < text.count;) {
        uint32_t point;

        at += utf8_next(text.bytes + at, text.count - at, &point);
        if (point >= ALPHABET_POINTS || inverse[point] < 0) {
            return -1;
        }
        ret_bytes[count++] = (uint8_t)inverse[point];
    }
    return count;
}

/* ---- the pre-tokenizer: 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+|
 * ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ ---- */

static size_t contraction_at(struct token_text text, size_t at)
{
    static const char *const endings[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};

    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        const size_t count = strlen(endings[i]);

        if (text.count - at >= count && memcmp(text.bytes + at, endings[i], count) == 0) {
            return count;
        }
    }
    return 0;
}

/* The end of the run of `wanted` characters that starts at `at`; *ret_last is where its last
 * character starts. */
static size_t run_end(struct token_text text, size_t at, enum text_class wanted, size_t *ret_last)
{
    while (at < text.count) {
        uint32_t point;
        const size_t count = utf8_next(text.bytes + at, text.count - at, &point);

        if (unicode_class(point) != wanted) {
            break;
        }
        *ret_last = at;
        at += count;
    }
    return at;
}

size_t bpe_piece_end(struct token_text text, size_t start)
{
    const size_t contraction = start < text.count ? contraction_at(text, start) : 0;
    size_t at = start, last = start, end;
    enum text_class class;
    uint32_t point;

    if (start >= text.count || contraction > 0) {
        return start + contraction;
    }
    if (text.bytes[at] == ' ' && at + 1 < text.count) {
        at++;
    }
    utf8_next(text.bytes + at, text.count - at, &point);
    class = unicode_class(point);
    if (class != TEXT_SPACE) {
        return run_end(text, at, class, &last);
    }
    /* White space leaves its last character to the word that follows, unless it has only one. */
    end = run_end(text, start, TEXT_SPACE, &last);
    return end == text.count || last == start ? end : last;
}

/* ---- the merge table ---- */

static size_t pair_slot(const struct tokenizer *tokenizer, uint32_t left, uint32_t right)
{
    const uint32_t pair[2] = {left, right};

    return (size_t)XXH3_64bits(pair, sizeof pair) & tokenizer->merge_mask;
}

/* The rank of a pair, or TOKEN_NONE. */
static uint32_t pair_rank(const struct tokenizer *tokenizer, uint32_t left, uint32_t right)
{
    size_t slot = pair_slot(tokenizer, left, right);

    while (tokenizer->merge_slots[slot] != TOKEN_NONE) {
        const struct bpe_merge *merge = &tokenizer->merges[tokenizer->merge_slots[slot]];

        if (merge->left == left && merge->right == right) {
            return tokenizer->merge_slots[slot];
        }
        slot = (slot + 1) & tokenizer->merge_mask;
    }
    return TOKEN_NONE;
}

int bpe_init(struct tokenizer *tokenizer, char error[ENGINE_ERROR_BYTES])
{
    size_t slots = 16;

    for (uint32_t byte = 0; byte < 256; byte++) {
        const uint8_t one = (uint8_t)byte;

        tokenizer->byte_ids[byte] = tokenizer_find(tokenizer, (struct token_text){&one, 1});
    }
    while (slots < 2 * tokenizer->merge_count) {
        slots *= 2;
    }
    tokenizer->merge_mask = slots - 1;
    tokenizer->merge_slots = malloc(slots * sizeof *tokenizer->merge_slots);
    if (!tokenizer->merge_slots) {
        snprintf(error, ENGINE_ERROR_BYTES, "no memory for %zu merges", tokenizer->merge_count);
        return TANDEM_ENOMEM;
    }
    memset(tokenizer->merge_slots, 0xFF, slots * sizeof *tokenizer->merge_slots);
    for (size_t rank = 0; rank < tokenizer->merge_count; rank++) {
        const struct bpe_merge *merge = &tokenizer->merges[rank];
        size_t slot = pair_slot(tokenizer, merge->left, merge->right);

        if (pair_rank(tokenizer, merge->left, merge->right) != TOKEN_NONE) {
            snprintf(error, ENGINE_ERROR_BYTES, "tokenizer.ggml.merges: merge %zu stands twice",
                     rank);
            return TANDEM_EFORMAT;
        }
        while (tokenizer->merge_slots[slot] != TOKEN_NONE) {
            slot = (slot + 1) & tokenizer->merge_mask;
        }
        tokenizer->merge_slots[slot] = (uint32_t)rank;
    }
    return 0;
}

int bpe_merge_parse(const struct tokenizer *tokenizer, size_t rank, struct token_text text,
                    uint8_t *scratch, struct bpe_merge *ret_merge, char error[ENGINE_ERROR_BYTES])
{
    const uint8_t *space = text.count > 0 ? memchr(text.bytes, ' ', text.count) : NULL;
    const size_t left_text = space ? (size_t)(space - text.bytes) : 0;
    const ptrdiff_t left = bpe_bytes_of((struct token_text){text.bytes, left_text}, scratch);
    ptrdiff_t right = 0;

    if (left > 0) { /* a second space is not in the alphabet, so it fails here */
        right = bpe_bytes_of((struct token_text){space + 1, text.count - left_text - 1},
                             scratch + left);
    }
    if (left <= 0 || right <= 0) {
        snprintf(error, ENGINE_ERROR_BYTES,
                 "tokenizer.ggml.merges: merge %zu does not split in two", rank);
        return TANDEM_EFORMAT;
    }
    ret_merge->left = tokenizer_find(tokenizer, (struct token_text){scratch, (size_t)left});
    ret_merge->right =
        tokenizer_find(tokenizer, (struct token_text){scratch + left, (size_t)right});
    ret_merge->product =
        tokenizer_find(tokenizer, (struct token_text){scratch, (size_t)(left + right)});
    if (ret_merge->left == TOKEN_NONE || ret_merge->right == TOKEN_NONE ||
        ret_merge->product == TOKEN_NONE) {
        snprintf(error, ENGINE_ERROR_BYTES,
                 "tokenizer.ggml.merges: merge %zu names a token that is not there", rank);
        return TANDEM_EFORMAT;
    }
    return 0;
}

/* ---- merging one piece ---- */

/* One block for the longest piece a text can have: n symbols, and heap entries rank << 32 | place.
 * A piece of n symbols starts with n - 1 pairs and each of its n - 1 merges makes at most two new
 * ones. */
struct bpe_work {
    uint64_t *heap;    /* [3n] */
    uint64_t *pending; /* [2n]: made while one rank is merged, pushed after it */
    size_t heap_count, pending_count;
    uint32_t *ids;         /* [n], TOKEN_NONE: merged away, or a byte without a token */
    uint32_t *next, *prev; /* [n]; n stands for none */
    uint32_t count;
};

/* Remembers the pair at `place` when it has a rank. */
static void pair_note(const struct tokenizer *tokenizer, struct bpe_work *work, uint32_t place)
{
    const uint32_t next = place < work->count ? work->next[place] : work->count;
    uint32_t rank;

    if (next == work->count || work->ids[place] == TOKEN_NONE || work->ids[next] == TOKEN_NONE) {
        return;
    }
    rank = pair_rank(tokenizer, work->ids[place], work->ids[next]);
    if (rank != TOKEN_NONE) {
        work->pending[work->pending_count++] = (uint64_t)rank << 32 | place;
    }
}

static void pair_merge(const struct tokenizer *tokenizer, struct bpe_work *work, uint64_t entry)
{
    const struct bpe_merge *merge = &tokenizer->merges[entry >> 32];
    const uint32_t place = (uint32_t)entry, right = work->next[place];

    if (work->ids[place] != merge->left || right == work->count ||
        work->ids[right] != merge->right) {
        return; /* one of the two has been merged since */
    }
    work->ids[place] = merge->product;
    work->ids[right] = TOKEN_NONE;
    work->next[place] = work->next[right];
    if (work->next[place] < work->count) {
        work->prev[work->next[place]] = place;
    }
    pair_note(tokenizer, work, work->prev[place]);
    pair_note(tokenizer, work, place);
}

static void pending_push(struct bpe_work *work)
{
    for (size_t i = 0; i < work->pending_count; i++) {
        entry_heap_push(work->heap, &work->heap_count, work->pending[i]);
    }
    work->pending_count = 0;
}

static void piece_merge(const struct tokenizer *tokenizer, struct bpe_work *work,
                        struct token_text piece)
{
    work->count = (uint32_t)piece.count;
    work->heap_count = work->pending_count = 0;
    for (uint32_t i = 0; i < work->count; i++) {
        work->ids[i] = tokenizer->byte_ids[piece.bytes[i]];
        work->next[i] = i + 1;
        work->prev[i] = i > 0 ? i - 1 : work->count;
    }
    for (uint32_t i = 0; i < work->count; i++) {
        pair_note(tokenizer, work, i);
    }
    pending_push(work);
    while (work->heap_count > 0) {
        const uint64_t rank = work->heap[0] >> 32;

        /* All places of one rank before any pair that these merges make, as the original does: it
         * matters for tables that are not in the order they were learned. Equal ranks come off the
         * heap left to right. */
        while (work->heap_count > 0 && work->heap[0] >> 32 == rank) {
            pair_merge(tokenizer, work, entry_heap_pop(work->heap, &work->heap_count));
        }
        pending_push(work);
    }
}

static int piece_write(const struct tokenizer *tokenizer, const struct bpe_work *work,
                       struct token_text piece, struct id_writer *writer,
                       char error[ENGINE_ERROR_BYTES])
{
    for (uint32_t i = 0; i < work->count; i = work->next[i]) {
        const uint32_t id = work->ids[i] == TOKEN_NONE ? tokenizer->unknown : work->ids[i];

        if (id == TOKEN_NONE) {
            snprintf(error, ENGINE_ERROR_BYTES, "this model has no token for the byte 0x%02x",
                     piece.bytes[i]);
            return TANDEM_EINVAL;
        }
        id_writer_add(writer, id);
    }
    return 0;
}

static int bpe_encode(const struct tokenizer *tokenizer, struct token_text text,
                      struct id_writer *writer, char error[ENGINE_ERROR_BYTES])
{
    const size_t n = text.count;
    struct bpe_work work = {0};
    int rc = 0;

    if (n == 0) {
        return 0;
    }
    work.heap = malloc(n * (5 * sizeof(uint64_t) + 3 * sizeof(uint32_t)));
    if (!work.heap) {
        snprintf(error, ENGINE_ERROR_BYTES, "no memory to tokenize %zu bytes", n);
        return TANDEM_ENOMEM;
    }
    work.pending = work.heap + 3 * n;
    work.ids = (uint32_t *)(work.pending + 2 * n);
    work.next = work.ids + n;
    work.prev = work.next + n;
    for (size_t start = 0; start < n && rc == 0;) {
        const size_t end = bpe_piece_end(text, start);
        const struct token_text piece = {text.bytes + start, end - start};

        piece_merge(tokenizer, &work, piece);
        rc = piece_write(tokenizer, &work, piece, writer, error);
        start = end;
    }
    free(work.heap);
    return rc;
}

const struct tokenizer_kind tokenizer_kind_bpe = {
    .name = "gpt2", .byte_alphabet = true, .encode = bpe_encode};
