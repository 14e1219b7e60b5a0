#include "client/lib/handle.h"

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/wire/frame.h"

#include <stdio.h>
#include <string.h>

static int feedback_encode(struct tandem *tandem, uint64_t id, const struct local_feedback *said)
{
    struct frame frame = {.kind = FRAME_FEEDBACK, .request_id = id};
    struct buf header;
    int result;

    buf_init(&header, LIMIT_FRAME_HEADER_BYTES);
    result = local_feedback_pack(said, &header);
    if (result == 0) {
        frame.header = header.data;
        frame.header_bytes = (uint32_t)header.bytes;
        result = frame_encode(&frame, &tandem->outbox.bytes);
    }
    buf_fini(&header);
    /* It is small, so what is full is the queue of those before it. */
    return result == TANDEM_ETOOBIG ? TANDEM_EBUSY : result;
}

int feedback_start(struct tandem *tandem, const char *id, bool correct, const struct pending *like)
{
    struct local_feedback said = {.correct = correct};
    struct pending *pending;
    int result;

    if (!id || !id[0] || strlen(id) >= sizeof(said.id) || id[strspn(id, "0123456789")] != '\0') {
        return handle_fail(tandem, TANDEM_EINVAL, "the id of a decision is a decimal number");
    }
    snprintf(said.id, sizeof(said.id), "%s", id);
    result = connection_ready(tandem);
    if (result == 0) {
        result = request_room_check(tandem, 0);
    }
    if (result != 0) {
        return result;
    }
    result = feedback_encode(tandem, tandem->last_id + 1, &said);
    if (result != 0) {
        return handle_fail(tandem, result, "%s", tandem_strerror(result));
    }
    pending = pending_new(tandem);
    pending->done = like->done;
    pending->user = like->user;
    pending->feedback = true;
    pending->start_ns = clock_now_ns();
    pending->guard_ns = pending->start_ns + LIMIT_LIB_GRACE_MS * NS_PER_MS;
    (void)connection_flush(tandem); /* what breaks here is noticed by who waits */
    return 0;
}
