#include "common/base/error.h"
#include "common/wire/local_msg.h"
#include "common/wire/pb.h"
#include "local.pb-c.h"

#include <stdlib.h>

#define PREDICTED_LAST_MS 3.6e6

#define ROUTE_BYTES (LIMIT_NAME_BYTES + 8)
#define ID_BYTES    21

#define AT(member) PB_AT(Tandem__Local__Answer, member, struct local_answer, member)
static const struct pb_field answer_fields[] = {
    {AT(id), .type = PB_TEXT, .capacity = ID_BYTES, .rule = PB_RULE_DECIMAL},
    {AT(route), .type = PB_TEXT, .capacity = ROUTE_BYTES, .rule = PB_RULE_ROUTE},
    {AT(outcome_route), .type = PB_TEXT, .capacity = ROUTE_BYTES, .rule = PB_RULE_ROUTE},
    {AT(reason), .type = PB_TEXT, .capacity = LIMIT_LINE_BYTES + 1, .rule = PB_RULE_LINE},
    {AT(latency_us), .type = PB_U64, .max = LIMIT_DURATION_US, .clamp = true},
    {AT(predicted_ms), .type = PB_DOUBLE, .low = -1, .high = PREDICTED_LAST_MS, .clamp = true},
    {AT(met_deadline), .type = PB_BOOL},
    {AT(partial), .type = PB_BOOL},
    {AT(hedged), .type = PB_BOOL},
};
#undef AT
#define AT(member) PB_AT(Tandem__Local__Answer, member, struct answer, member)
static const struct pb_field value_fields[] = {
    {AT(kind), .type = PB_U32, .min = WIRE_CLASSIFY, .max = WIRE_GENERATE},
    {AT(tokens), .type = PB_U32, .max = LIMIT_MAX_NEW_TOKENS},
    {AT(finish), .type = PB_U32, .max = WIRE_FINISH_DEADLINE},
    {AT(confidence), .type = PB_DOUBLE, .low = 0, .high = 1, .clamp = true},
};
#undef AT
#define AT(member) PB_AT(Tandem__Local__Error, member, struct local_error, member)
static const struct pb_field error_fields[] = {
    {AT(text), .type = PB_TEXT, .capacity = LIMIT_LINE_BYTES + 1, .rule = PB_RULE_LINE},
    {AT(id), .type = PB_TEXT, .capacity = ID_BYTES, .rule = PB_RULE_DECIMAL},
    {AT(route), .type = PB_TEXT, .capacity = ROUTE_BYTES, .rule = PB_RULE_ROUTE},
    {AT(outcome_route), .type = PB_TEXT, .capacity = ROUTE_BYTES, .rule = PB_RULE_ROUTE},
    {AT(reason), .type = PB_TEXT, .capacity = LIMIT_LINE_BYTES + 1, .rule = PB_RULE_LINE},
    {AT(latency_us), .type = PB_U64, .max = LIMIT_DURATION_US, .clamp = true},
};
#undef AT
static const struct pb_field partial_fields[] = {
    {PB_AT(Tandem__Local__Partial, count, struct local_partial, count), .type = PB_U32,
     .max = LIMIT_MAX_NEW_TOKENS},
};
static const struct pb_field id_fields[] = {
    {.message_offset = offsetof(Tandem__Local__Accepted, id),
     .type = PB_TEXT,
     .capacity = ID_BYTES,
     .rule = PB_RULE_DECIMAL},
};

int local_accepted_pack(const char *id, struct buf *out)
{
    Tandem__Local__Accepted message = TANDEM__LOCAL__ACCEPTED__INIT;
    const int result = PB_STORE(id_fields, id, &message);

    return result == 0 ? pb_pack(&message.base, out) : result;
}

int local_accepted_unpack(const uint8_t *data, size_t bytes, char ret_id[21])
{
    struct pb_arena arena;
    ProtobufCMessage *message;
    int result;

    pb_arena_init(&arena);
    result = pb_unpack(&tandem__local__accepted__descriptor, data, bytes, &arena, &message);
    if (result == 0) {
        result = PB_LOAD(id_fields, message, ret_id);
    }
    pb_arena_fini(&arena);
    return result;
}

int local_partial_pack(const struct local_partial *partial, struct buf *out)
{
    Tandem__Local__Partial message = TANDEM__LOCAL__PARTIAL__INIT;
    const int result = PB_STORE(partial_fields, partial, &message);

    if (result != 0) {
        return result;
    }
    if (partial->text_bytes > LIMIT_TOKENS_BYTES) {
        return TANDEM_ETOOBIG;
    }
    message.text = (ProtobufCBinaryData){partial->text_bytes, (uint8_t *)partial->text};
    return pb_pack(&message.base, out);
}

static int partial_load(const Tandem__Local__Partial *message, struct local_partial *ret_partial)
{
    struct local_partial partial = {.text_bytes = message->text.len};
    uint8_t *text;
    int result = PB_LOAD(partial_fields, message, &partial);

    if (result == 0) {
        result = pb_bytes_copy(message->text, LIMIT_TOKENS_BYTES, &text);
    }
    if (result == 0) {
        partial.text = text;
        *ret_partial = partial;
    }
    return result;
}

int local_partial_unpack(const uint8_t *data, size_t bytes, struct local_partial *ret_partial)
{
    struct pb_arena arena;
    ProtobufCMessage *message;
    int result;

    pb_arena_init(&arena);
    result = pb_unpack(&tandem__local__partial__descriptor, data, bytes, &arena, &message);
    if (result == 0) {
        result = partial_load((const Tandem__Local__Partial *)message, ret_partial);
    }
    pb_arena_fini(&arena);
    return result;
}

void local_partial_fini(struct local_partial *partial)
{
    free((void *)partial->text); /* ours after unpack */
    *partial = (struct local_partial){0};
}

int local_answer_pack(const struct local_answer *answer, struct buf *out)
{
    Tandem__Local__Answer message = TANDEM__LOCAL__ANSWER__INIT;
    struct pb_answer parts;
    int result = PB_STORE(answer_fields, answer, &message);

    if (result == 0) {
        result = PB_STORE(value_fields, &answer->answer, &message);
    }
    if (result == 0) {
        result = pb_answer_store(&answer->answer, &parts);
    }
    if (result != 0) {
        return result;
    }
    message.n_scores = parts.score_count;
    message.scores = parts.scores;
    message.n_boxes = parts.box_count;
    message.boxes = parts.boxes;
    message.text = parts.text;
    result = pb_pack(&message.base, out);
    pb_answer_fini(&parts);
    return result;
}

static int answer_load(const Tandem__Local__Answer *message, struct local_answer *answer)
{
    const struct pb_answer parts = {message->n_scores, message->n_boxes, message->scores,
                                    message->boxes, message->text};
    int result = PB_LOAD(answer_fields, message, answer);

    if (result == 0) {
        result = PB_LOAD(value_fields, message, &answer->answer);
    }
    return result == 0 ? pb_answer_load(&parts, &answer->answer) : result;
}

int local_answer_unpack(const uint8_t *data, size_t bytes, struct local_answer *ret_answer)
{
    struct local_answer answer = {0};
    struct pb_arena arena;
    ProtobufCMessage *message;
    int result;

    pb_arena_init(&arena);
    result = pb_unpack(&tandem__local__answer__descriptor, data, bytes, &arena, &message);
    if (result == 0) {
        result = answer_load((const Tandem__Local__Answer *)message, &answer);
    }
    pb_arena_fini(&arena);
    if (result != 0) {
        local_answer_fini(&answer);
        return result;
    }
    *ret_answer = answer;
    return 0;
}

void local_answer_fini(struct local_answer *answer)
{
    answer_fini(&answer->answer);
    *answer = (struct local_answer){0};
}

int local_error_pack(const struct local_error *error, struct buf *out)
{
    Tandem__Local__Error message = TANDEM__LOCAL__ERROR__INIT;
    const int result = error->code < 0 ? PB_STORE(error_fields, error, &message) : TANDEM_EINVAL;

    message.code = error->code;
    return result == 0 ? pb_pack(&message.base, out) : result;
}

int local_error_unpack(const uint8_t *data, size_t bytes, struct local_error *ret_error)
{
    struct local_error error = {0};
    struct pb_arena arena;
    ProtobufCMessage *message;
    int result;

    pb_arena_init(&arena);
    result = pb_unpack(&tandem__local__error__descriptor, data, bytes, &arena, &message);
    if (result == 0) {
        error.code = ((const Tandem__Local__Error *)message)->code;
        result = error.code < 0 ? PB_LOAD(error_fields, message, &error) : TANDEM_EPROTO;
    }
    pb_arena_fini(&arena);
    if (result == 0) {
        *ret_error = error;
    }
    return result;
}
