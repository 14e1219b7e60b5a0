#include "common/base/error.h"
#include "common/wire/edge_pb.h"

#define AT(member) PB_AT(Tandem__Edge__Request, member, struct edge_request, member)
static const struct pb_field request_fields[] = {
    {AT(task), .type = PB_TEXT, .capacity = LIMIT_NAME_BYTES + 1, .rule = PB_RULE_NAME},
    {AT(budget_us), .type = PB_U64, .max = LIMIT_DURATION_US, .clamp = true},
    {AT(payload_bytes), .type = PB_U64, .max = LIMIT_PAYLOAD_BYTES},
    {AT(max_new_tokens), .type = PB_U32, .max = LIMIT_MAX_NEW_TOKENS},
    {AT(stream), .type = PB_BOOL},
    {AT(session), .type = PB_TEXT, .capacity = LIMIT_NAME_BYTES + 1, .rule = PB_RULE_NAME_OR_EMPTY},
    {AT(prefix_bytes), .type = PB_U64, .max = LIMIT_PAYLOAD_BYTES},
    {AT(prefix_digest), .type = PB_TEXT, .capacity = 33, .rule = PB_RULE_DIGEST},
    {AT(decision_id), .type = PB_TEXT, .capacity = 21, .rule = PB_RULE_DECIMAL},
};
#undef AT

static bool prefix_is_named(const struct edge_request *request)
{
    return (request->prefix_bytes > 0) == (request->prefix_digest[0] != '\0');
}

int edge_request_pack(const struct edge_request *request, struct buf *out)
{
    Tandem__Edge__Request message = TANDEM__EDGE__REQUEST__INIT;
    Tandem__Parts__Picture picture = TANDEM__PARTS__PICTURE__INIT;
    Tandem__Parts__Sampling sampling = TANDEM__PARTS__SAMPLING__INIT;
    int result =
        prefix_is_named(request) ? PB_STORE(request_fields, request, &message) : TANDEM_EINVAL;

    if (result == 0 && request->has_picture) {
        result = pb_picture_store(&request->picture, &picture);
        message.picture = &picture;
    }
    if (result == 0) {
        result = pb_sampling_store(&request->sampling, &sampling);
        message.sampling = &sampling;
    }
    return result == 0 ? pb_pack(&message.base, out) : result;
}

static int request_load(const void *from, void *to)
{
    const Tandem__Edge__Request *message = from;
    struct edge_request *ret_request = to;
    struct edge_request request = {.has_picture = message->picture != NULL};
    int result = PB_LOAD(request_fields, message, &request);

    if (result == 0 && !prefix_is_named(&request)) {
        result = TANDEM_EPROTO;
    }
    if (result == 0 && message->picture) {
        result = pb_picture_load(message->picture, &request.picture);
    }
    if (result == 0) {
        result = pb_sampling_load(message->sampling, &request.sampling);
    }
    if (result == 0) {
        *ret_request = request;
    }
    return result;
}

int edge_request_unpack(const uint8_t *data, size_t bytes, struct edge_request *ret_request)
{
    return pb_read(&tandem__edge__request__descriptor, data, bytes, request_load, ret_request);
}
