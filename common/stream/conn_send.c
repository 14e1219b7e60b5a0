#include "common/stream/conn_parts.h"

#include "common/base/clock.h"
#include "common/base/error.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_BYTES                                                                                \
    (64u << 10) /* in the transport's hands at a time; a control frame waits behind no more than   \
                   this */

bool conn_has_output(const struct conn *conn)
{
    return conn->writing || conn->control.bytes > 0 || conn->chunks_queued > 0;
}

/* Frames are gathered until the loop is about to wait, so that a request and its payload, or
 * answers to many, leave together. */
void conn_want_flush(struct conn *conn)
{
    if (!conn->flush_wanted && !conn->writing &&
        (conn->state == CONN_OPEN || conn->state == CONN_FLUSHING)) {
        conn->flush_wanted = true;
        uv_prepare_start(&conn->prepare, conn_on_prepare);
    }
}

/* Moves as much of `control` as one batch takes, and as may leave, into the empty `batch`. A frame
 * may be cut: then nothing else joins the batch. */
static int batch_take_control(struct conn *conn)
{
    const struct buf empty = conn->batch;
    const size_t most = conn->control.bytes < BATCH_BYTES ? conn->control.bytes : BATCH_BYTES;
    const size_t bytes = conn_pace(conn, false, 0, most);
    int result;

    conn->control_left += bytes;
    conn_pings_leave(conn);
    if (bytes < most) {
        conn_pings_hold(conn);
    }
    if (bytes == conn->control.bytes) {
        conn->batch = conn->control;
        conn->control = empty;
    } else {
        result = buf_append(&conn->batch, conn->control.data, bytes);
        if (result != 0) {
            return result;
        }
        buf_consume(&conn->control, bytes);
    }
    return buf_reserve(&conn->batch, CONN_BATCH_DATA_FRAMES * FRAME_PREFIX_BYTES);
}

/* The payload of the flow's next DATA frame, if nothing holds it back. */
static size_t data_bytes(const struct flow *flow)
{
    const uint64_t credit = LIMIT_CREDIT_BYTES - (flow->sent_bytes - flow->acked_bytes);
    const size_t bytes = flow->chunks->bytes - flow->chunks->offset;
    const size_t most = bytes > LIMIT_FRAME_DATA_BYTES ? LIMIT_FRAME_DATA_BYTES : bytes;

    return most > credit ? (size_t)credit : most;
}

/* One DATA frame of the flow with so much payload: its prefix goes to the batch, its payload stays
 * where it is. */
static struct transport_span batch_take_data(struct conn *conn, struct flow *flow, size_t bytes)
{
    struct chunk *chunk = flow->chunks;
    const struct transport_span span = {chunk->data + chunk->offset, bytes};
    struct frame frame = {.kind = FRAME_DATA, .request_id = flow->id};

    chunk->offset += bytes;
    conn->payload_queued -= bytes;
    chunk->references++;
    conn->batch_chunks[conn->batch_chunk_count++] = chunk;
    if (flow->sent_bytes == 0) {
        flow->first_sent_ns = clock_now_ns();
    }
    flow->sent_bytes += bytes;
    frame.payload_bytes = (uint32_t)bytes;
    if (chunk->offset == chunk->bytes) {
        frame.flags = chunk->last ? FRAME_FLAG_LAST : 0;
        flow->chunks = chunk->next;
        if (!flow->chunks) {
            flow->chunks_end = &flow->chunks;
        }
        chunk_unref(chunk);
        conn->chunks_queued--;
    }
    frame_prefix_store(&frame, conn->batch.data + conn->batch.bytes);
    conn->batch.bytes += FRAME_PREFIX_BYTES;
    return span;
}

/* Payload that fits, once no control frame is left over: prefix and payload alternate; the first
 * span also has the control frames. */
static size_t batch_fill(struct conn *conn, struct transport_span spans[TRANSPORT_SPANS_MAX])
{
    size_t begin = 0;
    size_t count = 0;
    size_t total = conn->batch.bytes;

    while (conn->control.bytes == 0 && conn->batch_chunk_count < CONN_BATCH_DATA_FRAMES &&
           total < BATCH_BYTES && conn->ready_first) {
        const uint64_t batched =
            conn_wire_bytes(conn, total + FRAME_PREFIX_BYTES, conn->batch_chunk_count * 2 + 2);
        const size_t wanted = data_bytes(conn->ready_first);
        const size_t bytes = conn_pace(conn, true, batched, wanted);
        struct transport_span payload;
        struct flow *flow;

        if (bytes == 0 && wanted > 0) {
            break;
        }
        flow = flow_next_ready(conn);
        payload = batch_take_data(conn, flow, bytes);
        spans[count++] =
            (struct transport_span){conn->batch.data + begin, conn->batch.bytes - begin};
        spans[count++] = payload;
        begin = conn->batch.bytes;
        total += FRAME_PREFIX_BYTES + payload.bytes;
        flow_wake(conn, flow);
    }
    if (begin < conn->batch.bytes) {
        spans[count++] =
            (struct transport_span){conn->batch.data + begin, conn->batch.bytes - begin};
    }
    return count;
}

static void batch_release(struct conn *conn)
{
    for (unsigned i = 0; i < conn->batch_chunk_count; i++) {
        chunk_unref(conn->batch_chunks[i]);
    }
    conn->batch_chunk_count = 0;
}

/* One batch. TRANSPORT_DONE when it is out already and another may follow. */
static int conn_flush_batch(struct conn *conn)
{
    struct transport_span spans[TRANSPORT_SPANS_MAX];
    size_t count;
    int result;

    if (conn->writing || (conn->state != CONN_OPEN && conn->state != CONN_FLUSHING)) {
        return 0;
    }
    buf_clear(&conn->batch);
    if (batch_take_control(conn) != 0) {
        conn_fail(conn, TANDEM_ENOMEM, false, "no memory to send");
        return 0;
    }
    conn->writing = true;
    count = batch_fill(conn, spans);
    if (count == 0) {
        conn->writing = false;
        conn_flushed(conn);
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        conn->sent_bytes += spans[i].bytes;
    }
    conn->written_ns = clock_now_ns();
    result = conn->transport->ops->write(conn->transport, spans, count);
    conn_count(conn);
    if (result < 0) {
        conn_fail(conn, result, false, "the stream takes nothing more");
    } else if (result == TRANSPORT_DONE) {
        conn->writing = false;
        batch_release(conn);
    }
    return result;
}

/* The transport sees to it that a fast peer does not keep the loop here. */
static void conn_flush(struct conn *conn)
{
    while (conn_flush_batch(conn) == TRANSPORT_DONE) {
    }
}

void conn_on_prepare(uv_prepare_t *prepare)
{
    struct conn *conn = prepare->data;

    uv_prepare_stop(prepare);
    conn->flush_wanted = false;
    conn_flush(conn);
}

void conn_on_written(void *user)
{
    struct conn *conn = user;

    conn->writing = false;
    batch_release(conn);
    conn_flush(conn);
}

void conn_drop_output(struct conn *conn)
{
    flow_end_all(conn);
    batch_release(conn);
    buf_fini(&conn->control);
    buf_fini(&conn->batch);
}

/* Follows the requests by the frames that begin and end them. `header` says nothing to it. */
static int send_follow(struct conn *conn, enum frame_kind kind, uint64_t request_id)
{
    struct flow *flow;

    if (request_id == 0) {
        conn->said_last_words = conn->said_last_words || kind == FRAME_ERROR;
        return 0;
    }
    switch (kind) {
    case FRAME_REQUEST:
        flow = flow_get(conn, request_id);
        if (!flow) {
            return TANDEM_EBUSY;
        }
        flow->receiving = true;
        return 0;
    case FRAME_RESULT:
    case FRAME_ERROR:
    case FRAME_CANCEL:
        flow_end(conn, request_id);
        return 0;
    default:
        return 0;
    }
}

int conn_send(struct conn *conn, enum frame_kind kind, uint16_t flags, uint64_t request_id,
              const void *header, size_t header_bytes)
{
    struct frame frame = {
        .kind = (uint8_t)kind, .flags = flags, .request_id = request_id, .header = header};
    int result;

    if (conn->state != CONN_OPENING && conn->state != CONN_OPEN) {
        return TANDEM_EGONE;
    }
    if (header_bytes > LIMIT_FRAME_HEADER_BYTES) {
        return TANDEM_ETOOBIG;
    }
    frame.header_bytes = (uint32_t)header_bytes;
    if (conn->control.bytes + FRAME_PREFIX_BYTES + header_bytes > LIMIT_SEND_QUEUE_BYTES) {
        conn_fail(conn, TANDEM_ETIMEDOUT, false,
                  "the peer reads too slowly: %u bytes are waiting for it", LIMIT_SEND_QUEUE_BYTES);
        return TANDEM_EBUSY;
    }
    result = send_follow(conn, kind, request_id);
    if (result == 0) {
        result = frame_encode(&frame, &conn->control);
    }
    if (result == 0) {
        conn_want_flush(conn);
    }
    return result;
}

int conn_send_payload_part(struct conn *conn, uint64_t request_id, uint8_t *data, size_t bytes,
                           bool last)
{
    struct chunk *chunk;
    struct flow *flow;

    if (conn->state != CONN_OPENING && conn->state != CONN_OPEN) {
        return TANDEM_EGONE;
    }
    flow = request_id == 0 ? NULL : flow_get(conn, request_id);
    if (!flow) {
        return request_id == 0 ? TANDEM_EINVAL : TANDEM_EBUSY;
    }
    if (flow->queued_last || (bytes == 0 && !last)) {
        return TANDEM_EINVAL;
    }
    if (bytes > LIMIT_PAYLOAD_BYTES - flow->queued_bytes) {
        return TANDEM_ETOOBIG;
    }
    chunk = malloc(sizeof(*chunk));
    if (!chunk) {
        return TANDEM_ENOMEM;
    }
    *chunk = (struct chunk){.data = data, .bytes = bytes, .references = 1, .last = last};
    flow->queued_bytes += bytes;
    flow->queued_last = last;
    *flow->chunks_end = chunk;
    flow->chunks_end = &chunk->next;
    conn->chunks_queued++;
    conn->payload_queued += bytes;
    flow_wake(conn, flow);
    return 0;
}

int conn_send_payload(struct conn *conn, uint64_t request_id, uint8_t *data, size_t bytes)
{
    return conn_send_payload_part(conn, request_id, data, bytes, true);
}

uint64_t conn_unsent_bytes(const struct conn *conn, uint64_t request_id)
{
    const struct flow *flow = flow_find(conn, request_id);

    return flow ? flow->queued_bytes - flow->sent_bytes : 0;
}

void conn_cancel(struct conn *conn, uint64_t request_id)
{
    (void)conn_send(conn, FRAME_CANCEL, 0, request_id, NULL, 0);
}

void conn_forget(struct conn *conn, uint64_t request_id)
{
    if (conn->state == CONN_OPENING || conn->state == CONN_OPEN) {
        flow_end(conn, request_id);
    }
}
