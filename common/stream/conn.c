#include "common/stream/conn_parts.h"

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/stream/url.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t or_default(int64_t value_ns, int64_t default_ms)
{
    return value_ns > 0 ? value_ns : default_ms * NS_PER_MS;
}

int conn_new(uv_loop_t *loop, const struct conn_params *params, void *user, struct conn **ret_conn)
{
    struct conn *conn = calloc(1, sizeof(*conn));

    if (!conn) {
        return TANDEM_ENOMEM;
    }
    conn->loop = loop;
    conn->params = *params;
    conn->params.heartbeat_ns = or_default(params->heartbeat_ns, LIMIT_HEARTBEAT_MS);
    conn->params.idle_ns = or_default(params->idle_ns, LIMIT_IDLE_MS);
    conn->params.connect_ns = or_default(params->connect_ns, LIMIT_HELLO_MS);
    conn->params.tls = conn_tls_ref(params->tls);
    conn->user = user;
    conn->ready_end = &conn->ready_first;
    conn->started_ns = clock_now_ns();
    conn->ping_nonce = 1;
    buf_init(&conn->control, LIMIT_SEND_QUEUE_BYTES);
    buf_init(&conn->batch, LIMIT_SEND_QUEUE_BYTES);
    buf_init(&conn->received,
             FRAME_PREFIX_BYTES + LIMIT_FRAME_HEADER_BYTES + LIMIT_FRAME_DATA_BYTES);
    (void)uv_timer_init(loop, &conn->timer); /* neither can fail */
    (void)uv_timer_init(loop, &conn->pace_timer);
    (void)uv_prepare_init(loop, &conn->prepare);
    conn->timer.data = conn;
    conn->pace_timer.data = conn;
    conn->prepare.data = conn;
    conn->handles_open = 3;
    conn_watch_start(conn);
    *ret_conn = conn;
    return 0;
}

static void conn_free(struct conn *conn)
{
    conn_drop_output(conn);
    buf_fini(&conn->received);
    conn_tls_unref(conn->params.tls);
    if (conn->listener) {
        conn_listener_forget(conn->listener);
    }
    free(conn);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct conn *conn = handle->data;

    if (--conn->handles_open == 0) {
        if (conn->params.callbacks.on_close) {
            conn->params.callbacks.on_close(conn, conn->error, conn->why, conn->user);
        }
        conn_free(conn);
    }
}

static void conn_close_handles(struct conn *conn)
{
    uv_close((uv_handle_t *)&conn->timer, on_handle_closed);
    uv_close((uv_handle_t *)&conn->pace_timer, on_handle_closed);
    uv_close((uv_handle_t *)&conn->prepare, on_handle_closed);
}

void conn_close_now(struct conn *conn)
{
    if (conn->state == CONN_CLOSING) {
        return;
    }
    conn_count(conn);
    conn->state = CONN_CLOSING;
    if (conn->transport) {
        conn->transport->ops->close(conn->transport); /* the rest in on_transport_closed */
    } else {
        conn_close_handles(conn);
    }
}

static void conn_linger(struct conn *conn)
{
    conn->state = CONN_LINGERING;
    conn->closing_ns = clock_now_ns();
}

void conn_flushed(struct conn *conn)
{
    if (conn->state != CONN_FLUSHING || conn_has_output(conn)) {
        return;
    }
    if (conn->said_last_words) {
        conn_linger(conn);
    } else {
        conn_close_now(conn);
    }
}

static void conn_flush_and_close(struct conn *conn)
{
    conn->state = CONN_FLUSHING;
    conn->closing_ns = clock_now_ns();
    if (conn_has_output(conn)) {
        conn_want_flush(conn);
    } else {
        conn_flushed(conn);
    }
}

/* The peer hears why, unless it cannot. */
static void conn_say(struct conn *conn)
{
    struct edge_error error = {.code = conn->error};
    struct buf header = {0};

    snprintf(error.text, sizeof(error.text), "%s", conn->why);
    if (edge_error_pack(&error, &header) == 0) {
        (void)conn_send(conn, FRAME_ERROR, 0, 0, header.data, header.bytes);
    }
    buf_fini(&header);
}

void conn_fail(struct conn *conn, int error, bool say, const char *format, ...)
{
    va_list arguments;

    if (conn->state == CONN_FLUSHING || conn->state == CONN_LINGERING) {
        conn_close_now(conn);
        return;
    }
    if (conn->state == CONN_CLOSING || conn->error != 0) {
        return;
    }
    conn->error = error;
    va_start(arguments, format);
    vsnprintf(conn->why, sizeof(conn->why), format, arguments);
    va_end(arguments);
    if (say && conn->state == CONN_OPEN) {
        flow_end_all(conn);
        conn_say(conn);
        conn_flush_and_close(conn);
    } else {
        conn_close_now(conn);
    }
}

void conn_close(struct conn *conn, bool flush)
{
    if (conn->state == CONN_CLOSING) {
        return;
    }
    if (flush && conn->state == CONN_OPEN) {
        conn_flush_and_close(conn);
    } else if (!flush || conn->state == CONN_OPENING) {
        conn_close_now(conn);
    }
}

static void on_transport_open(void *user)
{
    struct conn *conn = user;
    const int64_t now_ns = clock_now_ns();

    if (conn->state != CONN_OPENING) {
        return;
    }
    conn->state = CONN_OPEN;
    conn_count(conn);
    conn->opened_ns = now_ns;
    conn->received_ns = now_ns;
    conn->pinged_ns = now_ns;
    snprintf(conn->peer_name, sizeof(conn->peer_name), "%s",
             conn->transport->ops->peer_name(conn->transport));
    snprintf(conn->peer_address, sizeof(conn->peer_address), "%s",
             conn->transport->ops->peer_address(conn->transport));
    if (conn->params.callbacks.on_open) {
        conn->params.callbacks.on_open(conn, conn->user);
    }
    conn_want_flush(conn); /* what was sent before */
}

/* A handshake that failed leaves an alert on its way to the peer: give it the time to arrive. */
static void on_transport_error(void *user, int error, const char *why)
{
    struct conn *conn = user;

    if (conn->error == 0 && (conn->state == CONN_OPENING || conn->state == CONN_OPEN) &&
        (error == TANDEM_EAUTH || error == TANDEM_EPROTO)) {
        conn->error = error;
        snprintf(conn->why, sizeof(conn->why), "%s", why);
        conn_linger(conn);
        return;
    }
    conn_fail(conn, error, false, "%s", why);
}

static void on_transport_closed(void *user)
{
    struct conn *conn = user;

    conn->transport = NULL;
    conn_close_handles(conn);
}

const struct transport_events conn_transport_events = {
    .on_open = on_transport_open,
    .on_read = conn_on_read,
    .on_written = conn_on_written,
    .on_error = on_transport_error,
    .on_closed = on_transport_closed,
};

int conn_attach(struct conn *conn, struct transport *transport, const char *host)
{
    if (conn->params.tls) {
        const int result = tls_wrap(transport, conn->params.tls, host, &transport);

        if (result != 0) {
            return result;
        }
    }
    transport->events = &conn_transport_events;
    transport->user = conn;
    conn->transport = transport;
    snprintf(conn->peer_address, sizeof(conn->peer_address), "%s",
             transport->ops->peer_address(transport));
    return 0;
}

/* Undoes conn_new before anyone has seen the conn. */
static void conn_discard(struct conn *conn)
{
    conn->params.callbacks.on_close = NULL;
    conn_close_now(conn);
}

int conn_dial(uv_loop_t *loop, const char *url, const struct conn_params *params, void *user,
              struct conn **ret_conn, char error[CONN_ERROR_BYTES])
{
    struct transport *transport;
    struct conn *conn;
    struct url parsed;
    int result = conn_new(loop, params, user, &conn);

    if (result != 0) {
        snprintf(error, CONN_ERROR_BYTES, "no memory to connect");
        return result;
    }
    result = transport_nng.dial(loop, url, conn->params.connect_ns, &conn_transport_events, conn,
                                &transport, error);
    if (result == 0) {
        result = url_parse(url, &parsed) == 0
                     ? conn_attach(conn, transport, parsed.is_ipc ? "" : parsed.host)
                     : TANDEM_EINVAL;
        if (result != 0) {
            snprintf(error, CONN_ERROR_BYTES, "TLS cannot be set up for %.120s", url);
            transport_discard(transport);
        }
    }
    if (result != 0) {
        conn_discard(conn);
        return result;
    }
    *ret_conn = conn;
    return 0;
}

const char *conn_peer_name(const struct conn *conn)
{
    return conn->peer_name;
}

const char *conn_peer_address(const struct conn *conn)
{
    return conn->peer_address;
}

uint64_t conn_queued_bytes(const struct conn *conn)
{
    return conn->control.bytes + conn->payload_queued;
}

void conn_bytes(const struct conn *conn, uint64_t *ret_sent, uint64_t *ret_received)
{
    *ret_sent = conn->sent_bytes;
    *ret_received = conn->received_bytes;
}
