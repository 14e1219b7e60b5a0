#include "client/daemon/request.h"

#include <string.h>

/* How much of `text` can be shown without cutting a UTF-8 character in two: all of it, but for the
 * beginning of a character at its end. What is not UTF-8 passes as it is. */
static size_t whole_characters(const uint8_t *text, size_t bytes)
{
    size_t back = 1;

    while (back < 4 && back < bytes && (text[bytes - back] & 0xc0) == 0x80) {
        back++;
    }
    if (bytes > 0) {
        const uint8_t lead = text[bytes - back];
        const size_t length = lead >= 0xf0 && lead < 0xf8   ? 4
                              : lead >= 0xe0 && lead < 0xf0 ? 3
                              : lead >= 0xc0 && lead < 0xe0 ? 2
                                                            : 1;

        return length > back ? bytes - back : bytes;
    }
    return 0;
}

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
        const size_t part = left > LIMIT_TOKENS_BYTES ? whole_characters(at, LIMIT_TOKENS_BYTES)
                            : last                    ? left
                                                      : whole_characters(at, left);

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
