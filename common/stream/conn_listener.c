#include "common/stream/conn_parts.h"

#include "common/base/error.h"
#include "common/base/log.h"

#include <stdio.h>
#include <stdlib.h>

struct conn_listener {
    uv_loop_t *loop;
    struct transport_listener *transport;
    struct conn_listener_params params; /* the TLS referenced */
    void *user;
    size_t connections;
    size_t references;  /* its own, until closed, and one of each connection */
    bool accept_failed; /* said in the log; said again after the next success */
    void (*done)(void *user);
    void *done_user;
};

static void listener_unref(struct conn_listener *listener)
{
    if (--listener->references == 0) {
        conn_tls_unref(listener->params.conn.tls);
        free(listener);
    }
}

void conn_listener_forget(struct conn_listener *listener)
{
    listener->connections--;
    listener_unref(listener);
}

static void on_accept(void *user, struct transport *transport)
{
    struct conn_listener *listener = user;
    struct conn *conn;

    listener->accept_failed = false;
    if (listener->connections >= listener->params.connections_max ||
        conn_new(listener->loop, &listener->params.conn, NULL, &conn) != 0) {
        transport_discard(transport);
        return;
    }
    conn->listener = listener;
    listener->connections++;
    listener->references++;
    if (conn_attach(conn, transport, NULL) != 0) {
        transport_discard(transport);
        conn->params.callbacks.on_close = NULL;
        conn_close_now(conn);
    } else if (!listener->params.on_accept(conn, listener->user, &conn->user)) {
        conn->params.callbacks.on_close = NULL;
        conn_close_now(conn);
    } else {
        conn->transport->ops->start(conn->transport);
    }
}

static void on_accept_error(void *user, const char *why)
{
    struct conn_listener *listener = user;

    if (!listener->accept_failed) {
        log_warning("stream: connections to %s cannot be accepted and wait: %s",
                    conn_listener_url(listener), why);
        listener->accept_failed = true;
    }
}

static void on_closed(void *user)
{
    struct conn_listener *listener = user;

    listener->transport = NULL;
    if (listener->done) {
        listener->done(listener->done_user);
    }
    listener_unref(listener);
}

static const struct transport_listener_events listener_events = {on_accept, on_accept_error,
                                                                 on_closed};

int conn_listener_new(uv_loop_t *loop, const char *url, const struct conn_listener_params *params,
                      void *user, struct conn_listener **ret_listener, char error[CONN_ERROR_BYTES])
{
    struct conn_listener *listener = calloc(1, sizeof(*listener));
    int result;

    if (!listener) {
        snprintf(error, CONN_ERROR_BYTES, "no memory to listen");
        return TANDEM_ENOMEM;
    }
    listener->loop = loop;
    listener->params = *params;
    listener->params.conn.tls = conn_tls_ref(params->conn.tls);
    listener->user = user;
    listener->references = 1;
    result = transport_nng.listen(loop, url, params->ipc_mode, &listener_events, listener,
                                  &listener->transport, error);
    if (result != 0) {
        listener_unref(listener);
        return result;
    }
    *ret_listener = listener;
    return 0;
}

const char *conn_listener_url(const struct conn_listener *listener)
{
    return transport_nng.listener_url(listener->transport);
}

void conn_listener_set_tls(struct conn_listener *listener, struct conn_tls *tls)
{
    struct conn_tls *old = listener->params.conn.tls;

    listener->params.conn.tls = conn_tls_ref(tls);
    conn_tls_unref(old);
}

void conn_listener_close(struct conn_listener *listener, void (*done)(void *user), void *user)
{
    listener->done = done;
    listener->done_user = user;
    transport_nng.listener_close(listener->transport);
}
