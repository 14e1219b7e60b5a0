/* tokenizer_pieces.c: a tokenizer.json that was made from SentencePiece's pieces, turned back into
 * pieces with scores: what an earlier merge makes has the higher score. */
#include "common/model/tokenizer_files.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE_NORMAL = 1, PIECE_UNKNOWN = 2, PIECE_CONTROL = 3, PIECE_UNUSED = 5, PIECE_BYTE = 6 };

struct named {
    const char *text;
    uint32_t id;
};

static int named_compare(const void *a, const void *b)
{
    const struct named *left = a, *right = b;

    return strcmp(left->text, right->text);
}

static bool id_find(const struct named *names, uint32_t count, const char *text, uint32_t *ret_id)
{
    const struct named key = {text, 0};
    const struct named *found =
        text ? bsearch(&key, names, count, sizeof(*names), named_compare) : NULL;

    if (found) {
        *ret_id = found->id;
    }
    return found != NULL;
}

/* scores[id] = -(the first merge that makes the token + 1); 0 stays for what no merge makes. */
static int scores_fill(const struct convert *convert, const struct named *names, uint32_t count,
                       const char *const *merges, size_t merge_count, float *scores)
{
    for (size_t i = 0; i < merge_count; i++) {
        const char *space = strchr(merges[i], ' ');
        char *product = NULL;
        uint32_t id = 0;
        bool found;

        if (!space ||
            asprintf(&product, "%.*s%s", (int)(space - merges[i]), merges[i], space + 1) < 0) {
            return convert_fail(convert, space ? TANDEM_ENOMEM : TANDEM_EFORMAT,
                                "%.200s: merge %zu is no pair", convert->options->tokenizer, i);
        }
        found = id_find(names, count, product, &id);
        free(product);
        if (!found) {
            return convert_fail(convert, TANDEM_EFORMAT, "%.200s: merge %zu makes no token",
                                convert->options->tokenizer, i);
        }
        if (scores[id] == 0) {
            scores[id] = -(float)(i + 1);
        }
    }
    return 0;
}

static bool is_character(const char *text)
{
    const unsigned char lead = (unsigned char)text[0];
    const size_t bytes = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;

    return lead != 0 && strlen(text) == bytes;
}

static bool is_byte(const char *text)
{
    return strlen(text) == 6 && strncmp(text, "<0x", 3) == 0 && text[5] == '>';
}

/* A token of several characters that no merge makes is never found in a text. */
static void types_fill(const char *const *tokens, int32_t *types, uint32_t count,
                       const float *scores)
{
    for (uint32_t i = 0; i < count; i++) {
        if (is_byte(tokens[i])) {
            types[i] = PIECE_BYTE;
        } else if (types[i] == PIECE_NORMAL && scores[i] == 0 && !is_character(tokens[i])) {
            types[i] = PIECE_UNUSED;
        }
    }
}

/* The token that is put before a text, by the file's own template; NULL: none is. */
static const char *bos_name(const cJSON *json)
{
    const cJSON *after = cJSON_GetObjectItemCaseSensitive(json, "post_processor");
    const cJSON *first = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(after, "single"), 0);

    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(
        cJSON_GetObjectItemCaseSensitive(first, "SpecialToken"), "id"));
}

/* Whether a space is put before a text: by the normalizer, or by the cutting into words. */
static bool space_added(const cJSON *json)
{
    const cJSON *normalizer = cJSON_GetObjectItemCaseSensitive(json, "normalizer");
    const cJSON *before = cJSON_GetObjectItemCaseSensitive(json, "pre_tokenizer");
    const char *scheme =
        cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(before, "prepend_scheme"));
    const cJSON *step;

    cJSON_ArrayForEach(step, cJSON_GetObjectItemCaseSensitive(normalizer, "normalizers"))
    {
        if (cJSON_GetObjectItemCaseSensitive(step, "prepend")) {
            return true;
        }
    }
    return cJSON_GetObjectItemCaseSensitive(normalizer, "prepend") ||
           (scheme && strcmp(scheme, "never") != 0) ||
           cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(before, "add_prefix_space"));
}

static void specials_put(const struct convert *convert, const cJSON *json,
                         const struct named *names, uint32_t count, int32_t *types)
{
    struct gguf_writer *writer = &convert->target->writer;
    const char *unknown = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(
        cJSON_GetObjectItemCaseSensitive(json, "model"), "unk_token"));
    const cJSON *end = cJSON_GetObjectItemCaseSensitive(convert->source->config, "eos_token_id");
    uint32_t id;
    bool bos;

    if (id_find(names, count, unknown, &id)) {
        types[id] = PIECE_UNKNOWN;
        gguf_put_u32(writer, "tokenizer.ggml.unknown_token_id", id);
    }
    bos = id_find(names, count, bos_name(json), &id);
    if (bos) {
        gguf_put_u32(writer, "tokenizer.ggml.bos_token_id", id);
    }
    if (cJSON_IsNumber(end) && end->valuedouble >= 0 && end->valuedouble < count) {
        gguf_put_u32(writer, "tokenizer.ggml.eos_token_id", (uint32_t)end->valuedouble);
    } else if (id_find(names, count, "</s>", &id)) {
        gguf_put_u32(writer, "tokenizer.ggml.eos_token_id", id);
    }
    gguf_put_bool(writer, "tokenizer.ggml.add_bos_token", bos);
    gguf_put_bool(writer, "tokenizer.ggml.add_space_prefix", space_added(json));
}

int tokenizer_pieces_put(const struct convert *convert, const cJSON *json,
                         const char *const *tokens, int32_t *types, uint32_t count,
                         const char *const *merges, size_t merge_count)
{
    struct gguf_writer *writer = &convert->target->writer;
    struct named *names = calloc(count, sizeof(*names));
    float *scores = calloc(count, sizeof(*scores));
    int result = 0;

    if (!names || !scores) {
        result = convert_fail(convert, TANDEM_ENOMEM, "no memory for the tokenizer");
        goto out;
    }
    for (uint32_t i = 0; i < count; i++) {
        names[i] = (struct named){tokens[i], i};
    }
    qsort(names, count, sizeof(*names), named_compare);
    result = scores_fill(convert, names, count, merges, merge_count, scores);
    if (result != 0) {
        goto out;
    }
    types_fill(tokens, types, count, scores);
    gguf_put_text(writer, "tokenizer.ggml.model", "llama");
    gguf_put_texts(writer, "tokenizer.ggml.tokens", tokens, NULL, count);
    gguf_put_f32s(writer, "tokenizer.ggml.scores", scores, count);
    specials_put(convert, json, names, count, types);
    gguf_put_i32s(writer, "tokenizer.ggml.token_type", types, count);
out:
    free(names);
    free(scores);
    return result;
}
