/* Frames: whatever the bytes, decoding stays inside them, asks for more only within the limits, and
 * what it accepts encodes to the same bytes. Transcripts are walked over the same input. */
#include "common/base/error.h"
#include "common/base/limits.h"
#include "common/wire/answer.h"
#include "common/wire/frame.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void frames_walk(const uint8_t *data, size_t bytes)
{
    struct buf again = {0};
    struct frame frame;
    size_t at = 0;
    size_t used;
    int result;

    while ((result = frame_decode(data + at, bytes - at, &frame, &used)) == 0) {
        check(used >= FRAME_PREFIX_BYTES && used <= bytes - at);
        check(frame.header + frame.header_bytes + frame.payload_bytes == data + at + used);
        buf_clear(&again);
        check(frame_encode(&frame, &again) == 0);
        check(again.bytes == used && memcmp(again.data, data + at, used) == 0);
        at += used;
    }
    check(result == TANDEM_EPROTO ||
          (result == 1 && used > bytes - at &&
           used <= FRAME_PREFIX_BYTES + LIMIT_FRAME_HEADER_BYTES + LIMIT_FRAME_DATA_BYTES));
    buf_fini(&again);
}

static void transcript_walk(const uint8_t *data, size_t bytes)
{
    enum turn_role role;
    const char *text;
    size_t offset = 0;
    size_t before = 0;
    size_t text_bytes;

    while (transcript_next(data, bytes, &offset, &role, &text, &text_bytes) == 0) {
        check(offset > before && offset <= bytes);
        check((const uint8_t *)text + text_bytes == data + offset);
        before = offset;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    frames_walk(data, bytes);
    transcript_walk(data, bytes);
    return 0;
}
