/* The small messages of edge.proto that keep a connection and its requests going: Load, Accepted,
 * Error, DataAck, Ping, Pong. */
#include "common/base/error.h"
#include "common/wire/edge_pb.h"

#include <string.h>

#define RATE_LAST 1e12 /* tokens a second */

#define AT(member) PB_AT(Tandem__Edge__Load, member, struct edge_load, member)
static const struct pb_field load_fields[] = {
    {AT(queued), .type = PB_U32, .max = UINT32_MAX},
    {AT(running), .type = PB_U32, .max = UINT32_MAX},
    {AT(predicted_wait_us), .type = PB_U64, .max = LIMIT_DURATION_US, .clamp = true},
    {AT(prefill_tokens_per_s), .type = PB_DOUBLE, .low = 0, .high = RATE_LAST},
    {AT(decode_tokens_per_s), .type = PB_DOUBLE, .low = 0, .high = RATE_LAST},
    {AT(picture_us), .type = PB_U64, .max = LIMIT_DURATION_US, .clamp = true},
    {AT(draining), .type = PB_BOOL},
    {AT(kv_pages_free), .type = PB_U64, .max = UINT64_MAX},
};
#undef AT
#define AT(member) PB_AT(Tandem__Edge__Error, member, struct edge_error, member)
static const struct pb_field error_fields[] = {
    {AT(text), .type = PB_TEXT, .capacity = LIMIT_LINE_BYTES + 1, .rule = PB_RULE_LINE},
    {AT(retry_after_ms), .type = PB_U64, .max = LIMIT_DEADLINE_MS, .clamp = true},
};
#undef AT

int edge_pb_load_load(const Tandem__Edge__Load *message, struct edge_load *ret_load)
{
    struct edge_load load = {0};
    const int result = message ? PB_LOAD(load_fields, message, &load) : 0;

    if (result == 0) {
        *ret_load = load;
    }
    return result;
}

int edge_pb_load_store(const struct edge_load *load, Tandem__Edge__Load *message)
{
    return PB_STORE(load_fields, load, message);
}

int edge_accepted_pack(const struct edge_load *load, struct buf *out)
{
    Tandem__Edge__Accepted message = TANDEM__EDGE__ACCEPTED__INIT;
    Tandem__Edge__Load load_message = TANDEM__EDGE__LOAD__INIT;
    const int result = edge_pb_load_store(load, &load_message);

    message.load = &load_message;
    return result == 0 ? pb_pack(&message.base, out) : result;
}

int edge_accepted_unpack(const uint8_t *data, size_t bytes, struct edge_load *ret_load)
{
    struct pb_arena arena;
    ProtobufCMessage *message;
    int result;

    pb_arena_init(&arena);
    result = pb_unpack(&tandem__edge__accepted__descriptor, data, bytes, &arena, &message);
    if (result == 0) {
        result = edge_pb_load_load(((const Tandem__Edge__Accepted *)message)->load, ret_load);
    }
    pb_arena_fini(&arena);
    return result;
}

int edge_error_pack(const struct edge_error *error, struct buf *out)
{
    Tandem__Edge__Error message = TANDEM__EDGE__ERROR__INIT;
    Tandem__Edge__Load load = TANDEM__EDGE__LOAD__INIT;
    int result = error->code < 0 ? PB_STORE(error_fields, error, &message) : TANDEM_EINVAL;

    message.code = error->code;
    if (result == 0 && error->has_load) {
        result = edge_pb_load_store(&error->load, &load);
        message.load = &load;
    }
    return result == 0 ? pb_pack(&message.base, out) : result;
}

static int error_load(const Tandem__Edge__Error *message, struct edge_error *ret_error)
{
    struct edge_error error = {.code = message->code, .has_load = message->load != NULL};
    int result = message->code < 0 ? PB_LOAD(error_fields, message, &error) : TANDEM_EPROTO;

    if (result == 0) {
        result = edge_pb_load_load(message->load, &error.load);
    }
    if (result == 0) {
        *ret_error = error;
    }
    return result;
}

int edge_error_unpack(const uint8_t *data, size_t bytes, struct edge_error *ret_error)
{
    struct pb_arena arena;
    ProtobufCMessage *message;
    int result;

    pb_arena_init(&arena);
    result = pb_unpack(&tandem__edge__error__descriptor, data, bytes, &arena, &message);
    if (result == 0) {
        result = error_load((const Tandem__Edge__Error *)message, ret_error);
    }
    pb_arena_fini(&arena);
    return result;
}

int edge_data_ack_pack(uint64_t acked_bytes, struct buf *out)
{
    Tandem__Edge__DataAck message = TANDEM__EDGE__DATA_ACK__INIT;

    message.bytes = acked_bytes;
    return acked_bytes <= LIMIT_PAYLOAD_BYTES ? pb_pack(&message.base, out) : TANDEM_EINVAL;
}

int edge_data_ack_unpack(const uint8_t *data, size_t bytes, uint64_t *ret_acked_bytes)
{
    struct pb_arena arena;
    ProtobufCMessage *message;
    int result;

    pb_arena_init(&arena);
    result = pb_unpack(&tandem__edge__data_ack__descriptor, data, bytes, &arena, &message);
    if (result == 0) {
        const uint64_t acked_bytes = ((const Tandem__Edge__DataAck *)message)->bytes;

        if (acked_bytes > LIMIT_PAYLOAD_BYTES) {
            result = TANDEM_ETOOBIG;
        } else {
            *ret_acked_bytes = acked_bytes;
        }
    }
    pb_arena_fini(&arena);
    return result;
}

int edge_ping_pack(uint64_t nonce, struct buf *out)
{
    Tandem__Edge__Ping message = TANDEM__EDGE__PING__INIT;

    message.nonce = nonce;
    return pb_pack(&message.base, out);
}

int edge_ping_unpack(const uint8_t *data, size_t bytes, uint64_t *ret_nonce)
{
    struct pb_arena arena;
    ProtobufCMessage *message;
    int result;

    pb_arena_init(&arena);
    result = pb_unpack(&tandem__edge__ping__descriptor, data, bytes, &arena, &message);
    if (result == 0) {
        *ret_nonce = ((const Tandem__Edge__Ping *)message)->nonce;
    }
    pb_arena_fini(&arena);
    return result;
}

int edge_pong_pack(uint64_t nonce, const struct edge_load *load, struct buf *out)
{
    Tandem__Edge__Pong message = TANDEM__EDGE__PONG__INIT;
    Tandem__Edge__Load load_message = TANDEM__EDGE__LOAD__INIT;
    int result = 0;

    message.nonce = nonce;
    if (load) {
        result = edge_pb_load_store(load, &load_message);
        message.load = &load_message;
    }
    return result == 0 ? pb_pack(&message.base, out) : result;
}

int edge_pong_unpack(const uint8_t *data, size_t bytes, uint64_t *ret_nonce, bool *ret_has_load,
                     struct edge_load *ret_load)
{
    struct pb_arena arena;
    ProtobufCMessage *message;
    int result;

    pb_arena_init(&arena);
    result = pb_unpack(&tandem__edge__pong__descriptor, data, bytes, &arena, &message);
    if (result == 0) {
        const Tandem__Edge__Pong *pong = (const Tandem__Edge__Pong *)message;

        result = edge_pb_load_load(pong->load, ret_load);
        if (result == 0) {
            *ret_nonce = pong->nonce;
            *ret_has_load = pong->load != NULL;
        }
    }
    pb_arena_fini(&arena);
    return result;
}
