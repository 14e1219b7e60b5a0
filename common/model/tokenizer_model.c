/* tokenizer_model.c: SentencePiece's tokenizer.model, a protobuf message of pieces with scores:
 *
 *   1 pieces[]    {1 text, 2 score (f32), 3 type}
 *   2 training    {3 algorithm, 40 unknown, 41 begin, 42 end}
 *   3 normalizer  {2 rules, 3 a space before the text, 4 spaces collapsed, 5 spaces escaped}
 *
 * (sentencepiece_model.proto, public). Other fields are stepped over. The reader keeps pointers
 * into the file, nothing in it is nested deeper than that, and every length is held against what is
 * left.
 */
#include "common/base/limits.h"
#include "common/model/tokenizer_files.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };
enum { ALGORITHM_UNIGRAM = 1, ALGORITHM_BPE = 2 };
enum { PIECE_NORMAL = 1, PIECE_USER = 4, PIECE_BYTE = 6 }; /* the lowest, the highest, and one */

struct message {
    const uint8_t *at, *end;
};
/* One field: `number` holds a varint or the bits of a fixed one, `body` the bytes of the third. */
struct field {
    uint32_t id, wire;
    uint64_t number;
    struct message body;
};

static bool varint_read(struct message *message, uint64_t *ret_value)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 64 && message->at < message->end; shift += 7) {
        const uint8_t byte = *message->at++;

        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

/* The next field; false at the end and at what is no field, which leaves `at` before the end or
 * `*ret_wrong` set. */
static bool field_read(struct message *message, struct field *ret_field, bool *ret_wrong)
{
    uint64_t tag = 0, bytes = 0;
    bool good;

    if (message->at == message->end) {
        return false;
    }
    *ret_wrong = true;
    if (!varint_read(message, &tag) || tag >> 3 == 0 || tag >> 3 > UINT32_MAX) {
        return false;
    }
    *ret_field = (struct field){.id = (uint32_t)(tag >> 3), .wire = (uint32_t)(tag & 7)};
    if (ret_field->wire == WIRE_VARINT) {
        good = varint_read(message, &ret_field->number);
    } else {
        bytes = ret_field->wire == WIRE_FIXED64 ? 8 : 4;
        good = ret_field->wire == WIRE_FIXED64 || ret_field->wire == WIRE_FIXED32 ||
               (ret_field->wire == WIRE_BYTES && varint_read(message, &bytes));
        good = good && bytes <= (uint64_t)(message->end - message->at);
    }
    if (!good) {
        return false;
    }
    ret_field->body = (struct message){message->at, message->at + bytes};
    if (ret_field->wire == WIRE_FIXED32) {
        ret_field->number = le32_load(message->at);
    }
    message->at += bytes;
    *ret_wrong = false;
    return true;
}

struct piece_model {
    const char **texts; /* [count], borrowed from the file, no NUL behind them */
    size_t *lengths;
    float *scores;
    int32_t *types;
    uint32_t count, capacity;
    uint64_t algorithm, unknown, begin, end; /* ids; over `count`: there is none */
    bool rules, space_before, collapses, escapes;
};

static int broken(const struct convert *convert, const char *what)
{
    return convert_fail(convert, TANDEM_EFORMAT, "%.200s: damaged inside %s",
                        convert->options->tokenizer, what);
}

static int piece_read(const struct convert *convert, struct message message,
                      struct piece_model *model)
{
    const uint32_t id = model->count;
    struct field field;
    bool wrong = false;
    uint64_t type = PIECE_NORMAL;

    if (id == model->capacity) {
        return convert_fail(convert, TANDEM_EFORMAT, "%.200s: more than the model's %u tokens",
                            convert->options->tokenizer, model->capacity);
    }
    model->texts[id] = "";
    while (field_read(&message, &field, &wrong)) {
        if (field.id == 1 && field.wire == WIRE_BYTES) {
            model->texts[id] = (const char *)field.body.at;
            model->lengths[id] = (size_t)(field.body.end - field.body.at);
        } else if (field.id == 2 && field.wire == WIRE_FIXED32) {
            const uint32_t bits = (uint32_t)field.number;

            memcpy(&model->scores[id], &bits, sizeof(bits));
        } else if (field.id == 3 && field.wire == WIRE_VARINT) {
            type = field.number;
        }
    }
    if (wrong) {
        return broken(convert, "a piece");
    }
    if (model->lengths[id] == 0 || model->lengths[id] > LIMIT_GGUF_TEXT_BYTES ||
        memchr(model->texts[id], '\0', model->lengths[id]) || !isfinite(model->scores[id]) ||
        type < PIECE_NORMAL || type > PIECE_BYTE) {
        return convert_fail(convert, TANDEM_EFORMAT,
                            "%.200s: piece %u has no text, no finite score or no type that is "
                            "known",
                            convert->options->tokenizer, id);
    }
    if (type == PIECE_USER) { /* cut out before all others, which our tokenizer does not do */
        return convert_fail(convert, TANDEM_EUNSUPPORTED,
                            "%.200s: piece %u is a symbol of the user's own, which is not read",
                            convert->options->tokenizer, id);
    }
    model->types[id] = (int32_t)type;
    model->count++;
    return 0;
}

/* Where the numbers of a part go. */
struct number_place {
    uint32_t id;
    uint64_t *number; /* or */
    bool *flag;
};

static int numbers_read(const struct convert *convert, struct message message,
                        const struct number_place *places, size_t count)
{
    struct field field;
    bool wrong = false;

    while (field_read(&message, &field, &wrong)) {
        for (size_t i = 0; i < count; i++) {
            if (places[i].id != field.id || field.wire != WIRE_VARINT) {
                continue;
            }
            if (places[i].number) {
                *places[i].number = field.number;
            } else {
                *places[i].flag = field.number != 0;
            }
        }
    }
    return wrong ? broken(convert, "its settings") : 0;
}

static bool has_rules(struct message message)
{
    struct field field;
    bool wrong = false, found = false;

    while (field_read(&message, &field, &wrong)) {
        found =
            found || (field.id == 2 && field.wire == WIRE_BYTES && field.body.at != field.body.end);
    }
    return found;
}

static int part_read(const struct convert *convert, const struct field *field,
                     struct piece_model *model)
{
    const struct number_place training[] = {
        {3, &model->algorithm, NULL},
        {40, &model->unknown, NULL},
        {41, &model->begin, NULL},
        {42, &model->end, NULL},
    };
    const struct number_place normalizer[] = {
        {3, NULL, &model->space_before},
        {4, NULL, &model->collapses},
        {5, NULL, &model->escapes},
    };

    if (field->wire != WIRE_BYTES) {
        return 0;
    }
    switch (field->id) {
    case 1:
        return piece_read(convert, field->body, model);
    case 2:
        return numbers_read(convert, field->body, training, 4);
    case 3:
        model->rules = model->rules || has_rules(field->body);
        return numbers_read(convert, field->body, normalizer, 3);
    default:
        return 0;
    }
}

/* Only what our tokenizer does in the same way. */
static int model_check(const struct convert *convert, const struct piece_model *model)
{
    const char *path = convert->options->tokenizer;

    if (model->count == 0) {
        return convert_fail(convert, TANDEM_EFORMAT, "%.200s: no pieces in it", path);
    }
    if (model->algorithm != ALGORITHM_BPE) {
        return convert_fail(convert, TANDEM_EUNSUPPORTED,
                            "%.200s: pieces of algorithm %llu; only BPE (2) is read", path,
                            (unsigned long long)model->algorithm);
    }
    if (model->rules || model->collapses || !model->escapes) {
        return convert_fail(convert, TANDEM_EUNSUPPORTED,
                            "%.200s: it changes texts before it cuts them (%s); only texts as they "
                            "are can be read",
                            path,
                            model->rules       ? "character rules"
                            : model->collapses ? "spaces are collapsed"
                                               : "spaces are not escaped");
    }
    return 0;
}

static void pairs_put(const struct convert *convert, const struct piece_model *model)
{
    struct gguf_writer *writer = &convert->target->writer;
    const cJSON *named = cJSON_GetObjectItemCaseSensitive(convert->source->config, "eos_token_id");
    const bool other =
        cJSON_IsNumber(named) && named->valuedouble >= 0 && named->valuedouble < model->count;
    const uint64_t end = other ? (uint64_t)named->valuedouble : model->end;
    const struct {
        const char *key;
        uint64_t id;
    } ids[] = {
        {"tokenizer.ggml.unknown_token_id", model->unknown},
        {"tokenizer.ggml.bos_token_id", model->begin},
        {"tokenizer.ggml.eos_token_id", end},
    };

    gguf_put_text(writer, "tokenizer.ggml.model", "llama");
    gguf_put_texts(writer, "tokenizer.ggml.tokens", model->texts, model->lengths, model->count);
    gguf_put_f32s(writer, "tokenizer.ggml.scores", model->scores, model->count);
    gguf_put_i32s(writer, "tokenizer.ggml.token_type", model->types, model->count);
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        if (ids[i].id < model->count) { /* -1 says that there is none */
            gguf_put_u32(writer, ids[i].key, (uint32_t)ids[i].id);
        }
    }
    gguf_put_bool(writer, "tokenizer.ggml.add_bos_token", model->begin < model->count);
    gguf_put_bool(writer, "tokenizer.ggml.add_space_prefix", model->space_before);
}

int tokenizer_model_put(const struct convert *convert, const void *data, size_t bytes,
                        uint32_t vocabulary)
{
    struct message file = {data, (const uint8_t *)data + bytes};
    struct piece_model model = {
        /* what absent fields mean */
        .algorithm = ALGORITHM_UNIGRAM,
        .begin = 1,
        .end = 2,
        .space_before = true,
        .collapses = true,
        .escapes = true,
        .capacity = vocabulary,
        .texts = calloc(vocabulary, sizeof(*model.texts)),
        .lengths = calloc(vocabulary, sizeof(*model.lengths)),
        .scores = calloc(vocabulary, sizeof(*model.scores)),
        .types = calloc(vocabulary, sizeof(*model.types)),
    };
    struct field field;
    bool wrong = false;
    int result = 0;

    if (!model.texts || !model.lengths || !model.scores || !model.types) {
        result = convert_fail(convert, TANDEM_ENOMEM, "no memory for the tokenizer");
    }
    while (result == 0 && field_read(&file, &field, &wrong)) {
        result = part_read(convert, &field, &model);
    }
    if (result == 0 && wrong) {
        result = convert_fail(convert, TANDEM_EFORMAT,
                              "%.200s: neither a JSON object nor a whole SentencePiece model",
                              convert->options->tokenizer);
    }
    result = result ? result : model_check(convert, &model);
    if (result == 0) {
        pairs_put(convert, &model);
    }
    free(model.texts);
    free(model.lengths);
    free(model.scores);
    free(model.types);
    return result;
}
