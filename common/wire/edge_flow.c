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

static int accepted_load(const void *from, void *to)
{
    const Tandem__Edge__Accepted *message = from;

    return edge_pb_load_load(message->load, to);
}

int edge_accepted_unpack(const uint8_t *data, size_t bytes, struct edge_load *ret_load)
{
    return pb_read(&tandem__edge__accepted__descriptor, data, bytes, accepted_load, ret_load);
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

static int error_load(const void *from, void *to)
{
    const Tandem__Edge__Error *message = from;
    struct edge_error *ret_error = to;
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
    return pb_read(&tandem__edge__error__descriptor, data, bytes, error_load, ret_error);
}

int edge_data_ack_pack(uint64_t acked_bytes, struct buf *out)
{
    Tandem__Edge__DataAck message = TANDEM__EDGE__DATA_ACK__INIT;

    message.bytes = acked_bytes;
    return acked_bytes <= LIMIT_PAYLOAD_BYTES ? pb_pack(&message.base, out) : TANDEM_EINVAL;
}

static int data_ack_load(const void *from, void *to)
{
    const Tandem__Edge__DataAck *message = from;

    if (message->bytes > LIMIT_PAYLOAD_BYTES) {
        return TANDEM_ETOOBIG;
    }
    *(uint64_t *)to = message->bytes;
    return 0;
}

int edge_data_ack_unpack(const uint8_t *data, size_t bytes, uint64_t *ret_acked_bytes)
{
    return pb_read(&tandem__edge__data_ack__descriptor, data, bytes, data_ack_load,
                   ret_acked_bytes);
}

int edge_ping_pack(uint64_t nonce, size_t padding_bytes, struct buf *out)
{
    static const uint8_t zeros[LIMIT_PROBE_BYTES];
    Tandem__Edge__Ping message = TANDEM__EDGE__PING__INIT;

    if (padding_bytes > sizeof(zeros)) {
        return TANDEM_ETOOBIG;
    }
    message.nonce = nonce;
    message.padding.data = (uint8_t *)zeros; /* packing only reads */
    message.padding.len = padding_bytes;
    return pb_pack(&message.base, out);
}

static int ping_load(const void *from, void *to)
{
    const Tandem__Edge__Ping *message = from;

    if (message->padding.len > LIMIT_PROBE_BYTES) {
        return TANDEM_ETOOBIG;
    }
    *(uint64_t *)to = message->nonce;
    return 0;
}

int edge_ping_unpack(const uint8_t *data, size_t bytes, uint64_t *ret_nonce)
{
    return pb_read(&tandem__edge__ping__descriptor, data, bytes, ping_load, ret_nonce);
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

struct pong { /* as one value, because pb_read fills one */
    uint64_t nonce;
    bool has_load;
    struct edge_load load;
};

static int pong_load(const void *from, void *to)
{
    const Tandem__Edge__Pong *message = from;
    struct pong *pong = to;

    pong->nonce = message->nonce;
    pong->has_load = message->load != NULL;
    return edge_pb_load_load(message->load, &pong->load);
}

int edge_pong_unpack(const uint8_t *data, size_t bytes, uint64_t *ret_nonce, bool *ret_has_load,
                     struct edge_load *ret_load)
{
    struct pong pong;
    const int result = pb_read(&tandem__edge__pong__descriptor, data, bytes, pong_load, &pong);

    if (result == 0) {
        *ret_nonce = pong.nonce;
        *ret_has_load = pong.has_load;
        *ret_load = pong.load;
    }
    return result;
}
