#include "common/base/error.h"
#include "common/wire/edge_pb.h"

#include <stdlib.h>

#define AT(member) PB_AT(Tandem__Edge__Result, member, struct edge_result, member)
static const struct pb_field result_fields[] = {
    {AT(wait_us), .type = PB_U64, .max = LIMIT_DURATION_US, .clamp = true},
    {AT(run_us), .type = PB_U64, .max = LIMIT_DURATION_US, .clamp = true},
    {AT(cached_tokens), .type = PB_U32, .max = UINT32_MAX},
    {AT(prompt_tokens), .type = PB_U32, .max = UINT32_MAX},
    {AT(model_digest), .type = PB_TEXT, .capacity = 33, .rule = PB_RULE_DIGEST},
};
#undef AT
#define AT(member) PB_AT(Tandem__Edge__Result, member, struct answer, member)
static const struct pb_field answer_fields[] = {
    {AT(kind), .type = PB_U32, .min = WIRE_CLASSIFY, .max = WIRE_GENERATE},
    {AT(tokens), .type = PB_U32, .max = LIMIT_MAX_NEW_TOKENS},
    {AT(finish), .type = PB_U32, .max = WIRE_FINISH_DEADLINE},
    {AT(confidence), .type = PB_DOUBLE, .low = 0, .high = 1, .clamp = true},
};
#undef AT
static const struct pb_field tokens_fields[] = {
    {PB_AT(Tandem__Edge__Tokens, count, struct edge_tokens, count), .type = PB_U32,
     .max = LIMIT_MAX_NEW_TOKENS},
};

int edge_tokens_pack(const struct edge_tokens *tokens, struct buf *out)
{
    Tandem__Edge__Tokens message = TANDEM__EDGE__TOKENS__INIT;
    const int result = PB_STORE(tokens_fields, tokens, &message);

    if (result != 0) {
        return result;
    }
    if (tokens->text_bytes > LIMIT_TOKENS_BYTES) {
        return TANDEM_ETOOBIG;
    }
    message.text = (ProtobufCBinaryData){tokens->text_bytes, (uint8_t *)tokens->text};
    return pb_pack(&message.base, out);
}

static int tokens_load(const Tandem__Edge__Tokens *message, struct edge_tokens *ret_tokens)
{
    struct edge_tokens tokens = {.text_bytes = message->text.len};
    uint8_t *text;
    int result = PB_LOAD(tokens_fields, message, &tokens);

    if (result == 0) {
        result = pb_bytes_copy(message->text, LIMIT_TOKENS_BYTES, &text);
    }
    if (result == 0) {
        tokens.text = text;
        *ret_tokens = tokens;
    }
    return result;
}

int edge_tokens_unpack(const uint8_t *data, size_t bytes, struct edge_tokens *ret_tokens)
{
    struct pb_arena arena;
    ProtobufCMessage *message;
    int result;

    pb_arena_init(&arena);
    result = pb_unpack(&tandem__edge__tokens__descriptor, data, bytes, &arena, &message);
    if (result == 0) {
        result = tokens_load((const Tandem__Edge__Tokens *)message, ret_tokens);
    }
    pb_arena_fini(&arena);
    return result;
}

void edge_tokens_fini(struct edge_tokens *tokens)
{
    free((void *)tokens->text); /* ours after unpack */
    *tokens = (struct edge_tokens){0};
}

int edge_result_pack(const struct edge_result *result_plain, struct buf *out)
{
    Tandem__Edge__Result message = TANDEM__EDGE__RESULT__INIT;
    Tandem__Edge__Load load = TANDEM__EDGE__LOAD__INIT;
    struct pb_answer parts;
    int result = PB_STORE(result_fields, result_plain, &message);

    if (result == 0) {
        result = PB_STORE(answer_fields, &result_plain->answer, &message);
    }
    if (result == 0) {
        result = edge_pb_load_store(&result_plain->load, &load);
    }
    if (result == 0) {
        result = pb_answer_store(&result_plain->answer, &parts);
    }
    if (result != 0) {
        return result;
    }
    message.n_scores = parts.score_count;
    message.scores = parts.scores;
    message.n_boxes = parts.box_count;
    message.boxes = parts.boxes;
    message.text = parts.text;
    message.load = &load;
    result = pb_pack(&message.base, out);
    pb_answer_fini(&parts);
    return result;
}

static int result_load(const Tandem__Edge__Result *message, struct edge_result *result_plain)
{
    const struct pb_answer parts = {message->n_scores, message->n_boxes, message->scores,
                                    message->boxes, message->text};
    int result = PB_LOAD(result_fields, message, result_plain);

    if (result == 0) {
        result = PB_LOAD(answer_fields, message, &result_plain->answer);
    }
    if (result == 0) {
        result = edge_pb_load_load(message->load, &result_plain->load);
    }
    return result == 0 ? pb_answer_load(&parts, &result_plain->answer) : result;
}

int edge_result_unpack(const uint8_t *data, size_t bytes, struct edge_result *ret_result)
{
    struct edge_result result_plain = {0};
    struct pb_arena arena;
    ProtobufCMessage *message;
    int result;

    pb_arena_init(&arena);
    result = pb_unpack(&tandem__edge__result__descriptor, data, bytes, &arena, &message);
    if (result == 0) {
        result = result_load((const Tandem__Edge__Result *)message, &result_plain);
    }
    pb_arena_fini(&arena);
    if (result != 0) {
        edge_result_fini(&result_plain);
        return result;
    }
    *ret_result = result_plain;
    return 0;
}

void edge_result_fini(struct edge_result *result)
{
    answer_fini(&result->answer);
    *result = (struct edge_result){0};
}
