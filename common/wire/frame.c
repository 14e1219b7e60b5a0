#include "common/wire/frame.h"

#include "common/base/error.h"
#include "common/base/limits.h"

#include <stdbool.h>

struct frame_rule {
    const char *name;
    bool of_request;   /* its id is a request's, never 0 */
    bool with_payload; /* may have a payload */
};

static const struct frame_rule rules[] = {
    [FRAME_HELLO] = {"HELLO", false, false},  [FRAME_REQUEST] = {"REQUEST", true, false},
    [FRAME_DATA] = {"DATA", true, true},      [FRAME_DATA_ACK] = {"DATA_ACK", true, false},
    [FRAME_CANCEL] = {"CANCEL", true, false}, [FRAME_ACCEPTED] = {"ACCEPTED", true, false},
    [FRAME_TOKENS] = {"TOKENS", true, false}, [FRAME_RESULT] = {"RESULT", true, false},
    [FRAME_ERROR] = {"ERROR", false, false},  [FRAME_PING] = {"PING", false, false},
    [FRAME_PONG] = {"PONG", false, false},    [FRAME_GOODBYE] = {"GOODBYE", false, false},
    [FRAME_TASKS] = {"TASKS", false, false},  [FRAME_FEEDBACK] = {"FEEDBACK", true, false},
};

/* NULL for a kind this version does not know. */
static const struct frame_rule *frame_rule_find(unsigned kind)
{
    if (kind >= sizeof(rules) / sizeof(rules[0]) || !rules[kind].name) {
        return NULL;
    }
    return &rules[kind];
}

const char *frame_kind_name(unsigned kind)
{
    const struct frame_rule *rule = frame_rule_find(kind);

    return rule ? rule->name : "?";
}

bool frame_kind_is_known(unsigned kind)
{
    return frame_rule_find(kind) != NULL;
}

/* What kind, id and sizes must have to do with each other. A later version's kinds may have a
 * payload. */
static bool frame_is_consistent(const struct frame *frame)
{
    const struct frame_rule *rule = frame_rule_find(frame->kind);

    if (frame->kind == 0) {
        return false;
    }
    if (!rule) {
        return true;
    }
    return (frame->request_id != 0 || !rule->of_request) &&
           (frame->payload_bytes == 0 || rule->with_payload);
}

void frame_prefix_store(const struct frame *frame, uint8_t out[FRAME_PREFIX_BYTES])
{
    le32_store(out, FRAME_MAGIC);
    out[4] = FRAME_VERSION;
    out[5] = frame->kind;
    le16_store(out + 6, frame->flags);
    le32_store(out + 8, frame->header_bytes);
    le32_store(out + 12, frame->payload_bytes);
    le64_store(out + 16, frame->request_id);
}

int frame_encode(const struct frame *frame, struct buf *out)
{
    uint8_t prefix[FRAME_PREFIX_BYTES];
    int result;

    if (frame->header_bytes > LIMIT_FRAME_HEADER_BYTES ||
        frame->payload_bytes > LIMIT_FRAME_DATA_BYTES) {
        return TANDEM_ETOOBIG;
    }
    if (!frame_is_consistent(frame)) {
        return TANDEM_EINVAL;
    }
    result =
        buf_reserve(out, FRAME_PREFIX_BYTES + (size_t)frame->header_bytes + frame->payload_bytes);
    if (result != 0) {
        return result;
    }
    frame_prefix_store(frame, prefix);
    (void)buf_append(out, prefix, sizeof(prefix)); /* room was reserved for all three */
    (void)buf_append(out, frame->header, frame->header_bytes);
    (void)buf_append(out, frame->payload, frame->payload_bytes);
    return 0;
}

/* Magic and version are compared as soon as they are there, so that a stranger is sent away at
 * once. */
static bool frame_start_is_ours(const uint8_t *data, size_t bytes)
{
    static const uint8_t start[] = {'T', 'N', 'D', 'M', FRAME_VERSION};

    for (size_t i = 0; i < sizeof(start) && i < bytes; i++) {
        if (data[i] != start[i]) {
            return false;
        }
    }
    return true;
}

int frame_decode(const uint8_t *data, size_t bytes, struct frame *ret_frame, size_t *ret_used)
{
    struct frame frame;
    size_t whole;

    if (!frame_start_is_ours(data, bytes)) {
        return TANDEM_EPROTO;
    }
    if (bytes < FRAME_PREFIX_BYTES) {
        *ret_used = FRAME_PREFIX_BYTES;
        return 1;
    }
    frame = (struct frame){
        .kind = data[5],
        .flags = le16_load(data + 6),
        .header_bytes = le32_load(data + 8),
        .payload_bytes = le32_load(data + 12),
        .request_id = le64_load(data + 16),
    };
    if (frame.header_bytes > LIMIT_FRAME_HEADER_BYTES ||
        frame.payload_bytes > LIMIT_FRAME_DATA_BYTES || !frame_is_consistent(&frame)) {
        return TANDEM_EPROTO;
    }
    whole = FRAME_PREFIX_BYTES + (size_t)frame.header_bytes + frame.payload_bytes;
    *ret_used = whole;
    if (bytes < whole) {
        return 1;
    }
    frame.header = data + FRAME_PREFIX_BYTES;
    frame.payload = frame.header + frame.header_bytes;
    *ret_frame = frame;
    return 0;
}
