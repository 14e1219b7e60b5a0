#include "common/stream/conn_parts.h"

#include "common/base/clock.h"
#include "common/base/error.h"

#define PONG_BYTES 128

static void receive_data(struct conn *conn, const struct frame *frame)
{
    const int result = flow_receive(conn, frame);

    if (result < 0) {
        conn_fail(conn, TANDEM_EPROTO, true, "more payload for request %llu than it may send",
                  (unsigned long long)frame->request_id);
    } else if (result == 0) {
        conn->params.callbacks.on_frame(conn, frame, conn->user);
    }
}

static void receive_ack(struct conn *conn, const struct frame *frame)
{
    uint64_t acked_bytes;

    if (edge_data_ack_unpack(frame->header, frame->header_bytes, &acked_bytes) != 0) {
        conn_fail(conn, TANDEM_EPROTO, true, "malformed DATA_ACK");
        return;
    }
    flow_acked(conn, frame->request_id, acked_bytes);
}

static void receive_ping(struct conn *conn, const struct frame *frame)
{
    uint8_t bytes[PONG_BYTES];
    struct buf header = {.data = bytes, .capacity = sizeof(bytes), .max_bytes = sizeof(bytes)};
    struct edge_load load;
    uint64_t nonce;
    bool has_load = false;

    if (edge_ping_unpack(frame->header, frame->header_bytes, &nonce) != 0) {
        conn_fail(conn, TANDEM_EPROTO, true, "malformed PING");
        return;
    }
    if (conn->params.callbacks.get_load) {
        has_load = conn->params.callbacks.get_load(conn, &load, conn->user);
    }
    if (edge_pong_pack(nonce, has_load ? &load : NULL, &header) == 0) {
        (void)conn_send(conn, FRAME_PONG, 0, 0, header.data, header.bytes);
    }
}

static void receive_pong(struct conn *conn, const struct frame *frame)
{
    struct edge_load load;
    uint64_t nonce;
    bool has_load;

    if (edge_pong_unpack(frame->header, frame->header_bytes, &nonce, &has_load, &load) != 0) {
        conn_fail(conn, TANDEM_EPROTO, true, "malformed PONG");
        return;
    }
    conn_pong_received(conn, nonce, has_load ? &load : NULL);
}

static void receive_request(struct conn *conn, const struct frame *frame)
{
    struct flow *flow = flow_find(conn, frame->request_id);

    if (flow) {
        conn_fail(conn, TANDEM_EPROTO, true, "request id %llu is in use",
                  (unsigned long long)frame->request_id);
        return;
    }
    flow = flow_get(conn, frame->request_id);
    if (!flow) {
        conn_fail(conn, TANDEM_EPROTO, true, "more than %d requests at once", LIMIT_FLOWS);
        return;
    }
    flow->receiving = true;
    conn->params.callbacks.on_frame(conn, frame, conn->user);
}

/* The frame that ends a request: the owner hears it, then nothing more of it is sent or taken. */
static void receive_end(struct conn *conn, const struct frame *frame)
{
    if (conn->state == CONN_OPEN) {
        conn->params.callbacks.on_frame(conn, frame, conn->user);
    }
    if (frame->request_id != 0) {
        flow_end(conn, frame->request_id);
    }
}

static void receive_other(struct conn *conn, const struct frame *frame)
{
    if (frame_kind_is_known(frame->kind)) {
        conn->params.callbacks.on_frame(conn, frame, conn->user);
    } else if (frame->flags & FRAME_FLAG_MANDATORY) {
        conn_fail(conn, TANDEM_EPROTO, true, "frame kind %u is not known here but must be",
                  frame->kind);
    }
}

/* While closing by our own wish, only what lets our own payload out counts. */
static void receive_frame(struct conn *conn, const struct frame *frame)
{
    conn->received_frame = true;
    if (frame->kind == FRAME_DATA_ACK) {
        receive_ack(conn, frame);
        return;
    }
    if (conn->state != CONN_OPEN) {
        return;
    }
    switch (frame->kind) {
    case FRAME_DATA:
        receive_data(conn, frame);
        break;
    case FRAME_PING:
        receive_ping(conn, frame);
        break;
    case FRAME_PONG:
        receive_pong(conn, frame);
        break;
    case FRAME_REQUEST:
        receive_request(conn, frame);
        break;
    case FRAME_RESULT:
    case FRAME_ERROR:
    case FRAME_CANCEL:
        receive_end(conn, frame);
        break;
    default:
        receive_other(conn, frame);
        break;
    }
}

/* A peer that broke the protocol is not listened to any more, whatever else it has sent. */
static bool conn_listens(const struct conn *conn)
{
    return (conn->state == CONN_OPEN || conn->state == CONN_FLUSHING) && conn->error == 0;
}

/* A handshake or an alert of TLS: its kind, and the highest byte of its version. */
static bool is_tls(const uint8_t *data, size_t bytes)
{
    return bytes >= 2 && (data[0] == 0x16 || data[0] == 0x15) && data[1] == 3;
}

/* Takes one frame off the front of `data`. 0 and the bytes it had, 1 and the bytes that must be
 * there, or TANDEM_EPROTO. */
static int receive_one(struct conn *conn, const uint8_t *data, size_t bytes, size_t *ret_used)
{
    struct frame frame;
    const int result = frame_decode(data, bytes, &frame, ret_used);

    if (result == 0) {
        receive_frame(conn, &frame);
    } else if (result < 0 && !conn->received_frame && is_tls(data, bytes)) {
        conn_fail(conn, TANDEM_EPROTO, true,
                  "the peer speaks TLS, and on this side there is no [tls] section");
    } else if (result < 0) {
        conn_fail(conn, TANDEM_EPROTO, true, "not a frame of this protocol");
    }
    return result;
}

/* Completes the frame that began in an earlier read; only what it lacks is copied. Returns the
 * bytes taken. */
static size_t receive_rest(struct conn *conn, const uint8_t *data, size_t bytes)
{
    size_t taken = 0;
    size_t needed;

    while (conn->received.bytes > 0 && conn_listens(conn)) {
        size_t more;
        int result = receive_one(conn, conn->received.data, conn->received.bytes, &needed);

        if (result <= 0) {
            buf_clear(&conn->received);
            break;
        }
        more = needed - conn->received.bytes;
        more = more > bytes - taken ? bytes - taken : more;
        if (more == 0) {
            break;
        }
        if (buf_append(&conn->received, data + taken, more) != 0) {
            conn_fail(conn, TANDEM_ENOMEM, false, "no memory to receive");
            break;
        }
        taken += more;
    }
    return taken;
}

void conn_on_read(void *user, const uint8_t *data, size_t bytes)
{
    struct conn *conn = user;
    size_t at;

    conn->received_ns = clock_now_ns();
    conn->received_bytes += bytes;
    conn_count(conn);
    if (!conn_listens(conn)) {
        return;
    }
    at = receive_rest(conn, data, bytes);
    while (at < bytes && conn_listens(conn)) {
        size_t used;
        const int result = receive_one(conn, data + at, bytes - at, &used);

        if (result == 0) {
            at += used;
        } else if (result > 0) {
            if (buf_append(&conn->received, data + at, bytes - at) != 0) {
                conn_fail(conn, TANDEM_ENOMEM, false, "no memory to receive");
            }
            break;
        }
    }
}
