/* The timer of a connection: heartbeat, silence, a peer that does not read, opening and closing
 * that take too long. It ticks a few times in the shortest of these spans and compares times, so
 * traffic costs no timer work. */
#include "common/stream/conn_parts.h"

#include "common/base/clock.h"
#include "common/base/error.h"

#define TICKS         8
#define TICK_LEAST_MS 1
#define TICK_MOST_MS  250

static int64_t shortest_ns(const struct conn_params *params)
{
    int64_t shortest =
        params->heartbeat_ns < params->idle_ns ? params->heartbeat_ns : params->idle_ns;

    return params->connect_ns < shortest ? params->connect_ns : shortest;
}

static void ping_send(struct conn *conn, size_t padding_bytes)
{
    struct buf header;

    buf_init(&header, LIMIT_FRAME_HEADER_BYTES);
    if (conn->state == CONN_OPEN && edge_ping_pack(conn->ping_nonce, padding_bytes, &header) == 0 &&
        conn_send(conn, FRAME_PING, 0, 0, header.data, header.bytes) == 0) {
        conn->pinged_ns = clock_now_ns();
        conn->ping_sent_ns[conn->ping_nonce % CONN_PINGS] = conn->pinged_ns;
        conn->ping_padding[conn->ping_nonce % CONN_PINGS] = padding_bytes;
        conn->ping_end[conn->ping_nonce % CONN_PINGS] = conn->control_left + conn->control.bytes;
        conn->ping_nonce++;
    }
    buf_fini(&header);
}

/* The newest ping that has not left. */
static bool ping_is_held(const struct conn *conn)
{
    return conn->ping_nonce > 0 &&
           conn->ping_sent_ns[(conn->ping_nonce - 1) % CONN_PINGS] == CONN_PING_HELD;
}

void conn_ping(struct conn *conn)
{
    if (!ping_is_held(conn)) { /* else that one asks */
        ping_send(conn, 0);
    }
}

void conn_pings_hold(struct conn *conn)
{
    for (size_t i = 0; i < CONN_PINGS; i++) {
        if (conn->ping_sent_ns[i] != 0 && conn->ping_end[i] > conn->control_left) {
            conn->ping_sent_ns[i] = CONN_PING_HELD;
        }
    }
}

void conn_pings_leave(struct conn *conn)
{
    for (size_t i = 0; i < CONN_PINGS; i++) {
        if (conn->ping_sent_ns[i] == CONN_PING_HELD && conn->ping_end[i] <= conn->control_left) {
            conn->ping_sent_ns[i] = clock_now_ns();
        }
    }
}

void conn_probe(struct conn *conn, size_t bytes)
{
    ping_send(conn, bytes);
}

void conn_pong_received(struct conn *conn, uint64_t nonce, const struct edge_load *load)
{
    const struct conn_callbacks *callbacks = &conn->params.callbacks;
    const int64_t sent_ns = conn->ping_sent_ns[nonce % CONN_PINGS];
    const int64_t rtt_ns = clock_now_ns() - sent_ns;
    const size_t padding = conn->ping_padding[nonce % CONN_PINGS];

    if (nonce >= conn->ping_nonce || conn->ping_nonce - nonce > CONN_PINGS || sent_ns <= 0) {
        return; /* not ours, or so old that it says nothing */
    }
    conn->ping_sent_ns[nonce % CONN_PINGS] = 0;
    if (padding > 0 && callbacks->on_probed) {
        callbacks->on_probed(conn, padding, rtt_ns, conn->user);
    } else if (padding == 0 && callbacks->on_pong) {
        callbacks->on_pong(conn, rtt_ns, load, conn->user);
    }
}

int64_t conn_owed_ns(const struct conn *conn, int64_t now_ns)
{
    int64_t since_ns = INT64_MAX;

    for (size_t i = 0; i < CONN_PINGS; i++) {
        if (conn->ping_sent_ns[i] > 0 && conn->ping_sent_ns[i] < since_ns) {
            since_ns = conn->ping_sent_ns[i];
        }
    }
    if (since_ns == INT64_MAX) {
        return 0;
    }
    return now_ns - (since_ns > conn->received_ns ? since_ns : conn->received_ns);
}

static void watch_open(struct conn *conn, int64_t now_ns)
{
    const int64_t silent_ns = now_ns - conn->received_ns;

    if (!conn->received_frame && now_ns - conn->opened_ns >= conn->params.connect_ns) {
        conn_fail(conn, TANDEM_ETIMEDOUT, false, "no hello within %lld ms",
                  (long long)(conn->params.connect_ns / NS_PER_MS));
    } else if (silent_ns >= conn->params.idle_ns) {
        conn_fail(conn, TANDEM_ETIMEDOUT, false, "nothing heard for %lld ms",
                  (long long)(silent_ns / NS_PER_MS));
    } else if (conn->writing && now_ns - conn->written_ns >= conn->params.idle_ns) {
        conn_fail(conn, TANDEM_ETIMEDOUT, false, "the peer has not read for %lld ms",
                  (long long)((now_ns - conn->written_ns) / NS_PER_MS));
    } else if (silent_ns >= conn->params.heartbeat_ns &&
               now_ns - conn->pinged_ns >= conn->params.heartbeat_ns) {
        conn_ping(conn);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct conn *conn = timer->data;
    const int64_t now_ns = clock_now_ns();

    switch (conn->state) {
    case CONN_OPENING:
        if (now_ns - conn->started_ns >= conn->params.connect_ns) {
            conn_fail(conn, TANDEM_ETIMEDOUT, false, "no connection within %lld ms",
                      (long long)(conn->params.connect_ns / NS_PER_MS));
        }
        break;
    case CONN_OPEN:
        watch_open(conn, now_ns);
        break;
    case CONN_FLUSHING:
        if (now_ns - conn->closing_ns >= conn->params.idle_ns) {
            conn_close_now(conn);
        }
        break;
    case CONN_LINGERING:
        if (now_ns - conn->closing_ns >= LIMIT_LINGER_MS * NS_PER_MS) {
            conn_close_now(conn);
        }
        break;
    case CONN_CLOSING:
        break;
    }
}

void conn_watch_start(struct conn *conn)
{
    const int64_t tick_ms = shortest_ns(&conn->params) / TICKS / NS_PER_MS;
    const uint64_t period_ms = tick_ms < TICK_LEAST_MS  ? TICK_LEAST_MS
                               : tick_ms > TICK_MOST_MS ? TICK_MOST_MS
                                                        : (uint64_t)tick_ms;

    uv_timer_start(&conn->timer, on_tick, period_ms, period_ms);
}
