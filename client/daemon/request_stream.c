#include "client/daemon/request.h"

#include "common/base/utf8.h"

#include <string.h>

static bool piece_send(struct request *request, const uint8_t *text, size_t bytes, bool restart)
{
    const struct answer_piece piece = {.text = text, .text_bytes = bytes, .restart = restart};
    struct buf header;
    bool sent = false;

    buf_init(&header, LIMIT_FRAME_HEADER_BYTES);
    if (answer_piece_pack(&piece, &header) == 0) {
        app_send(request->peer, FRAME_TOKENS, request->app_id, &header);
        sent = true;
    }
    buf_fini(&header);
    return sent;
}

/* Shows `side`'s `text` from where the caller is in it, or from its beginning when the caller has
 * seen another's. `last`: nothing follows, so a cut character goes too. */
static void text_show(struct request *request, enum job_side side, const uint8_t *text,
                      size_t bytes, bool last)
{
    bool restart = false;

    if (request->shown_side != side) {
        restart = request->shown_bytes > 0;
        request->shown_side = side;
        request->shown_bytes = 0;
    }
    while (restart || request->shown_bytes < bytes) {
        const uint8_t *at = text + request->shown_bytes;
        const size_t left = bytes - request->shown_bytes;
        const size_t part = left > LIMIT_TOKENS_BYTES ? utf8_whole_bytes(at, LIMIT_TOKENS_BYTES)
                            : last                    ? left
                                                      : utf8_whole_bytes(at, left);

        if ((part == 0 && !restart) || !piece_send(request, at, part, restart)) {
            return;
        }
        request->shown_bytes += part;
        restart = false;
    }
}

void request_stream_add(struct request *request, enum job_side side, const uint8_t *text,
                        size_t bytes)
{
    if (request->submit.stream && !request->ended) {
        request->said[side].max_bytes = LIMIT_ANSWER_TEXT_BYTES + LIMIT_TOKENS_BYTES;
        (void)buf_append(&request->said[side], text, bytes); /* else the answer has it */
    }
}

void request_stream_show(struct request *request, enum job_side side)
{
    const struct buf *said = &request->said[side];

    if (request->submit.stream && request->peer) {
        text_show(request, side, said->data, said->bytes, false);
    }
}

void request_stream_finish(struct request *request, enum job_side side)
{
    const struct answer *answer = &request->answers[side];
    const uint8_t *text = (const uint8_t *)answer->text;

    if (!request->submit.stream || !request->peer || answer->kind != WIRE_GENERATE) {
        return;
    }
    if (request->shown_side == side &&
        (request->shown_bytes > answer->text_bytes ||
         (request->shown_bytes > 0 &&
          memcmp(request->said[side].data, text, request->shown_bytes) != 0))) {
        request->shown_side = JOB_SIDES; /* it said something else than it answers */
    }
    text_show(request, side, text, answer->text_bytes, true);
}
