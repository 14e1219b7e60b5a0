#include "client/lib/handle.h"

#include "common/base/error.h"
#include "common/wire/frame.h"

typedef int receive_fn(struct tandem *tandem, const struct frame *frame);

/* The request a frame speaks of: NULL in *ret_pending when it is over for this side (late, or
 * cancelled); an id that was never given out is an error. */
static int receive_find(struct tandem *tandem, const struct frame *frame,
                        struct pending **ret_pending)
{
    struct pending *pending;

    if (frame->request_id > tandem->last_id) {
        return handle_fail(tandem, TANDEM_EPROTO,
                           "the daemon answers a request that was never made");
    }
    pending = pending_find(tandem, frame->request_id);
    *ret_pending = pending && !pending->ended ? pending : NULL;
    return 0;
}

static int receive_accepted(struct tandem *tandem, const struct frame *frame)
{
    struct pending *pending;

    return receive_find(tandem, frame, &pending);
}

static int receive_partial(struct tandem *tandem, const struct frame *frame)
{
    struct answer_piece piece = {0};
    struct pending *pending;
    int result = receive_find(tandem, frame, &pending);

    if (result != 0 || !pending) {
        return result;
    }
    result = answer_piece_unpack(frame->header, frame->header_bytes, &piece);
    if (result != 0) {
        return handle_fail(tandem, result, "a piece of text from the daemon is damaged");
    }
    if (piece.restart) {
        pending->text_bytes = 0;
    }
    if (pending->partial) {
        size_t offset = pending->text_bytes;

        pending->text_bytes += piece.text_bytes;
        tandem->callback_depth++;
        pending->partial(tandem, pending->id, offset, (const char *)piece.text, piece.text_bytes,
                         pending->user);
        tandem->callback_depth--;
    }
    answer_piece_fini(&piece);
    return 0;
}

static int receive_answer(struct tandem *tandem, const struct frame *frame)
{
    struct local_answer wire = {0};
    struct tandem_answer *answer;
    struct pending *pending;
    int result = receive_find(tandem, frame, &pending);

    if (result != 0 || !pending) {
        return result;
    }
    if (pending->feedback) {
        return handle_fail(tandem, TANDEM_EPROTO, "the daemon takes feedback for a request");
    }
    result = local_answer_unpack(frame->header, frame->header_bytes, &wire);
    if (result == TANDEM_ENOMEM) {
        pending_end(tandem, pending, result, tandem_strerror(result), NULL);
        return 0;
    }
    if (result != 0) {
        return handle_fail(tandem, result, "an answer from the daemon is damaged");
    }
    result = answer_new(&wire, pending, &answer);
    pending_end(tandem, pending, result, result == 0 ? "" : tandem_strerror(result),
                result == 0 ? answer : NULL);
    return 0;
}

static int receive_error(struct tandem *tandem, const struct frame *frame)
{
    struct local_error error = {0};
    struct pending *pending = NULL;
    int result = frame->request_id != 0 ? receive_find(tandem, frame, &pending) : 0;

    if (result != 0) {
        return result;
    }
    result = local_error_unpack(frame->header, frame->header_bytes, &error);
    if (result != 0 || error.code >= 0) {
        return handle_fail(tandem, TANDEM_EPROTO, "an error from the daemon is damaged");
    }
    if (frame->request_id == 0) {
        return handle_fail(tandem, error.code, "%s", error.text);
    }
    if (pending) {
        pending_end(tandem, pending, error.code,
                    error.text[0] ? error.text : tandem_strerror(error.code),
                    answer_from_error(&error, pending));
    }
    return 0;
}

static int receive_feedback(struct tandem *tandem, const struct frame *frame)
{
    struct pending *pending;
    int result = receive_find(tandem, frame, &pending);

    if (result != 0 || !pending) {
        return result;
    }
    if (!pending->feedback) {
        return handle_fail(tandem, TANDEM_EPROTO, "the daemon takes a request for feedback");
    }
    pending_end(tandem, pending, 0, "", NULL);
    return 0;
}

static int receive_goodbye(struct tandem *tandem, const struct frame *frame)
{
    (void)frame;
    tandem->draining = true;
    return 0;
}

/* What a daemon may send after its hello. */
static receive_fn *const receivers[] = {
    [FRAME_ACCEPTED] = receive_accepted, [FRAME_TOKENS] = receive_partial,
    [FRAME_RESULT] = receive_answer,     [FRAME_ERROR] = receive_error,
    [FRAME_GOODBYE] = receive_goodbye,   [FRAME_FEEDBACK] = receive_feedback,
};

static int receive_frame(struct tandem *tandem, const struct frame *frame)
{
    receive_fn *receiver =
        frame->kind < sizeof(receivers) / sizeof(receivers[0]) ? receivers[frame->kind] : NULL;

    if (receiver) {
        return receiver(tandem, frame);
    }
    if (frame_kind_is_known(frame->kind) || (frame->flags & FRAME_FLAG_MANDATORY)) {
        return handle_fail(tandem, TANDEM_EPROTO,
                           "the daemon sent a frame of kind %u, which has no meaning here",
                           frame->kind);
    }
    return 0; /* of a later version, and marked as one that may be skipped */
}

int receive_frames(struct tandem *tandem)
{
    uint64_t generation = tandem->generation;
    size_t offset = 0;
    int result = 0;

    while (result == 0) {
        struct frame frame;
        size_t used;

        result =
            frame_decode(tandem->inbox.data + offset, tandem->inbox.bytes - offset, &frame, &used);
        if (result < 0) {
            return handle_fail(tandem, TANDEM_EPROTO, "what the daemon sends is not a frame");
        }
        if (result == 0) {
            result = receive_frame(tandem, &frame);
            if (tandem->generation != generation) {
                return 0; /* a callback has reconnected: this inbox is another's */
            }
            offset += used;
        }
    }
    if (result < 0) {
        return result;
    }
    buf_consume(&tandem->inbox, offset);
    return 0;
}
