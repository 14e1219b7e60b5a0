#include "common/model/llama2c.h"

#include "common/base/limits.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_NUMBERS 7
#define HEADER_BYTES   (4 * HEADER_NUMBERS)
#define MAGIC          0x616b3432u /* of the later layouts */
#define EPSILON        1e-5        /* of its norms: not in the file */

/* ---- weights ---- */

/* Letters as in the converter; `own_output`: the vocabulary's size is written negative. */
struct header {
    uint64_t d, ff, layers, heads, kv_heads, vocabulary, context, head_dim;
    bool own_output;
};

static bool header_parse(const uint8_t bytes[HEADER_BYTES], struct header *header)
{
    static const int64_t largest[HEADER_NUMBERS] = {
        LIMIT_MODEL_WIDTH, LIMIT_MODEL_WIDTH,      LIMIT_MODEL_LAYERS,        LIMIT_MODEL_HEADS,
        LIMIT_MODEL_HEADS, LIMIT_MODEL_VOCABULARY, LIMIT_MODEL_CONTEXT_TOKENS};
    uint64_t *const fields[HEADER_NUMBERS] = {
        &header->d,        &header->ff,         &header->layers, &header->heads,
        &header->kv_heads, &header->vocabulary, &header->context};

    for (size_t i = 0; i < HEADER_NUMBERS; i++) {
        int64_t value = (int32_t)le32_load(bytes + 4 * i);

        if (fields[i] == &header->vocabulary) {
            header->own_output = value < 0;
            value = value < 0 ? -value : value;
        }
        if (value < 1 || value > largest[i]) {
            return false;
        }
        *fields[i] = (uint64_t)value;
    }
    if (header->d % header->heads != 0 || header->heads % header->kv_heads != 0) {
        return false;
    }
    header->head_dim = header->d / header->heads;
    return true;
}

/* What stands in the file, in its order: one matrix for every layer, or one of the model. */
struct piece {
    const char *name; /* with the layer's number when there is one; NULL: passed over */
    bool layered;
    uint64_t rows, columns; /* rows 0: one dimension */
};
#define PIECES 14

static void pieces_make(const struct header *h, struct piece pieces[PIECES])
{
    const uint64_t kv = h->kv_heads * h->head_dim;
    const struct piece all[PIECES] = {
        {"model.embed_tokens.weight", false, h->vocabulary, h->d},
        {"model.layers.%u.input_layernorm.weight", true, 0, h->d},
        {"model.layers.%u.self_attn.q_proj.weight", true, h->d, h->d},
        {"model.layers.%u.self_attn.k_proj.weight", true, kv, h->d},
        {"model.layers.%u.self_attn.v_proj.weight", true, kv, h->d},
        {"model.layers.%u.self_attn.o_proj.weight", true, h->d, h->d},
        {"model.layers.%u.post_attention_layernorm.weight", true, 0, h->d},
        {"model.layers.%u.mlp.gate_proj.weight", true, h->ff, h->d},
        {"model.layers.%u.mlp.down_proj.weight", true, h->d, h->ff},
        {"model.layers.%u.mlp.up_proj.weight", true, h->ff, h->d},
        {"model.norm.weight", false, 0, h->d},
        {NULL, false, h->context, h->head_dim / 2}, /* cosines and */
        {NULL, false, h->context, h->head_dim / 2}, /* sines of the positions */
        {h->own_output ? "lm_head.weight" : NULL, false, h->own_output ? h->vocabulary : 0,
         h->own_output ? h->d : 0},
    };

    memcpy(pieces, all, sizeof(all));
}

/* No overflow: every factor is within limits.h. */
static uint64_t piece_bytes(const struct piece *piece)
{
    return 4 * (piece->rows ? piece->rows : 1) * piece->columns;
}

static uint64_t file_bytes(const struct header *header, const struct piece pieces[PIECES])
{
    uint64_t bytes = HEADER_BYTES;

    for (size_t i = 0; i < PIECES; i++) {
        bytes += piece_bytes(&pieces[i]) * (pieces[i].layered ? header->layers : 1);
    }
    return bytes;
}

static int pieces_add(struct source *source, uint32_t file, const struct header *header,
                      const struct piece pieces[PIECES], char error[ENGINE_ERROR_BYTES])
{
    uint64_t at = HEADER_BYTES;
    int result = 0;

    for (size_t i = 0; i < PIECES; i++) {
        const struct piece *piece = &pieces[i];
        const uint32_t count = piece->layered ? (uint32_t)header->layers : 1;

        for (uint32_t layer = 0; result == 0 && layer < count; layer++) {
            char name[96];
            struct source_tensor tensor = {.name = name,
                                           .type = SOURCE_F32,
                                           .dimension_count = piece->rows ? 2 : 1,
                                           .file = file,
                                           .at_bytes = at};

            at += piece_bytes(piece);
            if (!piece->name) {
                continue;
            }
            tensor.shape[0] = piece->rows ? piece->rows : piece->columns;
            tensor.shape[1] = piece->columns;
            tensor.stride[0] = piece->rows ? piece->columns : 1;
            tensor.stride[1] = 1;
            if (piece->layered) {
                const char *mark = strstr(piece->name, "%u");

                snprintf(name, sizeof(name), "%.*s%u%s", (int)(mark - piece->name), piece->name,
                         layer, mark + 2);
            } else {
                snprintf(name, sizeof(name), "%s", piece->name);
            }
            result = source_add(source, &tensor, error);
        }
    }
    return result;
}

int llama2c_load(struct source *source, const char *path, char error[ENGINE_ERROR_BYTES])
{
    uint8_t bytes[HEADER_BYTES];
    struct header header = {0};
    struct piece pieces[PIECES];
    uint32_t file;
    int result = source_open(source, path, &file, error);

    if (result != 0) {
        return result;
    }
    if (source_read(source, file, 0, bytes, sizeof(bytes)) != 0) {
        return TANDEM_ENOTFOUND;
    }
    if (le32_load(bytes) == MAGIC) {
        snprintf(error, ENGINE_ERROR_BYTES,
                 "a llama2.c file of layout %u; only its first, without a magic number, is read",
                 le32_load(bytes + 4));
        return TANDEM_EUNSUPPORTED;
    }
    if (!header_parse(bytes, &header)) {
        return TANDEM_ENOTFOUND;
    }
    pieces_make(&header, pieces);
    if (file_bytes(&header, pieces) != source->file_bytes[file]) {
        return TANDEM_ENOTFOUND;
    }
    source->pairs_adjacent = true;
    source->config = cJSON_CreateObject();
    if (!cJSON_AddNumberToObject(source->config, "num_attention_heads", (double)header.heads) ||
        !cJSON_AddNumberToObject(source->config, "max_position_embeddings",
                                 (double)header.context) ||
        !cJSON_AddNumberToObject(source->config, "rms_norm_eps", EPSILON)) {
        snprintf(error, ENGINE_ERROR_BYTES, "no memory for the configuration");
        return TANDEM_ENOMEM;
    }
    return pieces_add(source, file, &header, pieces, error);
}

/* ---- tokenizer: u32 longest, then {f32 score, u32 bytes, text} for each token ---- */

enum { ID_UNKNOWN = 0, ID_BOS = 1, ID_EOS = 2 };
#define SPACE_SIGN       "\xE2\x96\x81"
#define SPACE_SIGN_BYTES 3

/* The tokens in the form of GGUF files: what is special by its name, spaces by their sign. */
struct pieces {
    char *texts;         /* one after the other */
    const char **starts; /* [count] */
    size_t *lengths;     /* [count] */
    float *scores;       /* [count] */
    int32_t *types;      /* [count] */
};

static bool text_is_byte(const char *text, size_t bytes)
{
    return bytes == 6 && memcmp(text, "<0x", 3) == 0 && text[5] == '>';
}

/* Appends one token's text at `to`; how many bytes it has there. */
static size_t piece_put(uint32_t id, const char *text, size_t bytes, char *to, int32_t *ret_type)
{
    static const char *const names[] = {"<unk>", "<s>", "</s>"};
    static const int32_t types[] = {2, 3, 3};
    size_t used = 0;

    if (id <= ID_EOS) {
        *ret_type = types[id];
        used = strlen(names[id]);
        memcpy(to, names[id], used);
        return used;
    }
    *ret_type = text_is_byte(text, bytes) ? 6 : 1;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == ' ') {
            memcpy(to + used, SPACE_SIGN, SPACE_SIGN_BYTES);
            used += SPACE_SIGN_BYTES;
        } else {
            to[used++] = text[i];
        }
    }
    return used;
}

static int pieces_parse(const struct convert *convert, const uint8_t *file, size_t size,
                        uint32_t count, struct pieces *pieces)
{
    const char *path = convert->options->tokenizer;
    size_t at = 4, used = 0;

    for (uint32_t id = 0; id < count; id++) {
        uint32_t bits, bytes;

        if (at > size || size - at < 8 || (bytes = le32_load(file + at + 4)) > size - at - 8 ||
            bytes > LIMIT_GGUF_TEXT_BYTES) {
            return convert_fail(convert, TANDEM_EFORMAT,
                                "%.200s: ends inside token %u; the model has %u", path, id, count);
        }
        bits = le32_load(file + at);
        memcpy(&pieces->scores[id], &bits, sizeof(bits));
        if (!isfinite(pieces->scores[id])) {
            return convert_fail(convert, TANDEM_EFORMAT, "%.200s: token %u has no finite score",
                                path, id);
        }
        pieces->starts[id] = pieces->texts + used;
        pieces->lengths[id] = piece_put(id, (const char *)file + at + 8, bytes,
                                        pieces->texts + used, &pieces->types[id]);
        used += pieces->lengths[id];
        at += 8 + (size_t)bytes;
    }
    return at == size ? 0
                      : convert_fail(convert, TANDEM_EFORMAT,
                                     "%.200s: more than the model's %u tokens", path, count);
}

static int pieces_put(const struct convert *convert, const uint8_t *file, size_t size,
                      uint32_t count)
{
    struct gguf_writer *writer = &convert->target->writer;
    struct pieces pieces = {
        .texts = malloc(SPACE_SIGN_BYTES * size + 64),
        .starts = calloc(count, sizeof(*pieces.starts)),
        .lengths = calloc(count, sizeof(*pieces.lengths)),
        .scores = calloc(count, sizeof(*pieces.scores)),
        .types = calloc(count, sizeof(*pieces.types)),
    };
    int result;

    if (!pieces.texts || !pieces.starts || !pieces.lengths || !pieces.scores || !pieces.types) {
        result = convert_fail(convert, TANDEM_ENOMEM, "no memory for the tokenizer");
    } else {
        result = pieces_parse(convert, file, size, count, &pieces);
    }
    if (result == 0) {
        gguf_put_text(writer, "tokenizer.ggml.model", "llama");
        gguf_put_texts(writer, "tokenizer.ggml.tokens", pieces.starts, pieces.lengths, count);
        gguf_put_f32s(writer, "tokenizer.ggml.scores", pieces.scores, count);
        gguf_put_i32s(writer, "tokenizer.ggml.token_type", pieces.types, count);
        gguf_put_u32(writer, "tokenizer.ggml.unknown_token_id", ID_UNKNOWN);
        gguf_put_u32(writer, "tokenizer.ggml.bos_token_id", ID_BOS);
        gguf_put_u32(writer, "tokenizer.ggml.eos_token_id", ID_EOS);
        gguf_put_bool(writer, "tokenizer.ggml.add_bos_token", true);
    }
    free(pieces.texts);
    free(pieces.starts);
    free(pieces.lengths);
    free(pieces.scores);
    free(pieces.types);
    return result;
}

int llama2c_tokenizer_put(const struct convert *convert, uint32_t vocabulary)
{
    char *file = NULL;
    size_t size = 0;
    int result;

    if (!convert->options->tokenizer) {
        return 0;
    }
    if (vocabulary <= ID_EOS) {
        return convert_fail(convert, TANDEM_EFORMAT, "%.200s: for a model of %u tokens",
                            convert->options->tokenizer, vocabulary);
    }
    result = source_text(convert->options->tokenizer, LIMIT_TOKENIZER_FILE_BYTES, &file, &size,
                         convert->error);
    result = result ? result : pieces_put(convert, (const uint8_t *)file, size, vocabulary);
    free(file);
    return result;
}
