#include "common/base/error.h"
#include "common/base/limits.h"
#include "common/wire/answer.h"

#define TURN_PREFIX_BYTES 5 /* u8 role, u32 length */

int transcript_append(struct buf *transcript, enum turn_role role, const char *text, size_t bytes)
{
    int result;

    if (bytes > LIMIT_TEXT_BYTES) {
        return TANDEM_ETOOBIG;
    }
    if (transcript->bytes + TURN_PREFIX_BYTES + bytes > LIMIT_PAYLOAD_BYTES) {
        return TANDEM_ETOOBIG;
    }
    result = buf_reserve(transcript, TURN_PREFIX_BYTES + bytes);
    if (result != 0) {
        return result;
    }
    (void)buf_append_u8(transcript, (uint8_t)role); /* room was reserved for all three */
    (void)buf_append_le32(transcript, (uint32_t)bytes);
    (void)buf_append(transcript, text, bytes);
    return 0;
}

int transcript_next(const uint8_t *data, size_t bytes, size_t *offset, enum turn_role *ret_role,
                    const char **ret_text, size_t *ret_bytes)
{
    const size_t at = *offset;
    uint32_t length;

    if (at >= bytes) {
        return at == bytes ? 1 : TANDEM_EFORMAT;
    }
    if (bytes - at < TURN_PREFIX_BYTES || (data[at] != TURN_USER && data[at] != TURN_ANSWER)) {
        return TANDEM_EFORMAT;
    }
    length = le32_load(data + at + 1);
    if (length > LIMIT_TEXT_BYTES || length > bytes - at - TURN_PREFIX_BYTES) {
        return TANDEM_EFORMAT;
    }
    *ret_role = data[at] == TURN_USER ? TURN_USER : TURN_ANSWER;
    *ret_text = (const char *)data + at + TURN_PREFIX_BYTES;
    *ret_bytes = length;
    *offset = at + TURN_PREFIX_BYTES + length;
    return 0;
}
