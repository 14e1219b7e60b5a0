/* The pace of a connection: its owner says how much may leave when, and hears what has. Control
 * frames go first, as ever; what may not leave stays in its queue, where a cancel still finds it.
 */
#include "common/stream/conn_parts.h"

#include "common/base/clock.h"

#define TLS_RECORD_BYTES (16u << 10) /* of plaintext, at most */
#define TLS_RECORD_EXTRA 22          /* TLS 1.3: header 5, kind 1, tag 16 */

uint64_t conn_wire_bytes(const struct conn *conn, uint64_t bytes, unsigned writes)
{
    return conn->params.tls ? bytes + TLS_RECORD_EXTRA * (bytes / TLS_RECORD_BYTES + writes)
                            : bytes;
}

void conn_on_pace_timer(uv_timer_t *timer)
{
    conn_want_flush(timer->data);
}

static void pace_wait(struct conn *conn, int64_t again_ns)
{
    const int64_t wait_ns = again_ns - clock_now_ns();

    if (again_ns == INT64_MAX) {
        return;
    }
    uv_update_time(conn->loop);
    (void)uv_timer_start(&conn->pace_timer, conn_on_pace_timer,
                         wait_ns > 0 ? (uint64_t)((wait_ns + NS_PER_MS - 1) / NS_PER_MS) : 1, 0);
}

/* Small pieces cost more than they bring: what is to leave waits until all of it, or a piece that
 * is worth it, may. */
size_t conn_pace(struct conn *conn, bool payload, uint64_t batched, size_t bytes)
{
    const uint64_t least = bytes < CONN_PACE_LEAST ? bytes : CONN_PACE_LEAST;
    const uint64_t wanted = batched + conn_wire_bytes(conn, bytes, 1);
    const uint64_t enough = batched + conn_wire_bytes(conn, least, 1);
    int64_t again_ns = INT64_MAX;
    uint64_t left;

    if (bytes == 0 || !conn->params.callbacks.may_send) {
        return bytes;
    }
    left = conn->params.callbacks.may_send(conn, payload, enough, &again_ns, conn->user);
    if (left < enough) {
        pace_wait(conn, again_ns);
        return 0;
    }
    left -= enough;
    return left >= wanted - enough ? bytes
           : conn->params.tls      ? least + (size_t)(left - left / 100) /* its records */
                                   : least + (size_t)left;
}

void conn_count(struct conn *conn)
{
    uint64_t sent, received;

    if (!conn->transport || !conn->params.callbacks.on_moved || conn->state == CONN_CLOSING) {
        return;
    }
    conn->transport->ops->bytes(conn->transport, &sent, &received);
    if (sent != conn->counted_sent || received != conn->counted_received) {
        const uint64_t more_sent = sent - conn->counted_sent,
                       more_received = received - conn->counted_received;

        conn->counted_sent = sent;
        conn->counted_received = received;
        conn->params.callbacks.on_moved(conn, more_sent, more_received, conn->user);
    }
}
