#include "common/stream/transport_nng.h"

#include "common/base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACCEPT_RETRY_MS 100
#define IPC_MODE        0660

struct transport_listener {
    struct nng_hub *hub; /* shared with the transports it accepts */
    nng_stream_listener *listener;
    struct nng_event accepting;
    struct nng_event closing;
    uv_timer_t retry;
    bool retry_closed;
    bool closed;
    const struct transport_listener_events *events;
    void *user;
    char url[URL_HOST_BYTES + 32];
};

static void listener_accept(struct transport_listener *listener)
{
    listener->accepting.busy = true;
    nng_stream_listener_accept(listener->listener, listener->accepting.aio);
}

static void listener_finish(struct transport_listener *listener)
{
    if (!listener->closed || listener->accepting.busy || listener->closing.busy ||
        !listener->retry_closed) {
        return;
    }
    nng_event_fini(&listener->accepting);
    nng_stream_listener_free(listener->listener);
    nng_hub_unref(listener->hub);
    if (listener->events) {
        listener->events->on_closed(listener->user);
    }
    free(listener);
}

static void on_retry(uv_timer_t *timer)
{
    struct transport_listener *listener = timer->data;

    if (!listener->closed) {
        listener_accept(listener);
    }
}

static void listener_take(struct transport_listener *listener, nng_stream *stream)
{
    struct nng_transport *transport =
        listener->closed ? NULL : nng_transport_new(listener->hub, NULL);

    if (!transport) {
        nng_stream_free(stream);
        return;
    }
    nng_transport_adopt(transport, stream);
    listener->events->on_accept(listener->user, &transport->base);
}

static void on_accepted(struct nng_event *event)
{
    struct transport_listener *listener = event->owner;
    const int result = nng_aio_result(event->aio);

    if (result == 0) {
        listener_take(listener, nng_aio_get_output(event->aio, 0));
    }
    if (listener->closed) {
        listener_finish(listener);
    } else if (result == 0) {
        listener_accept(listener);
    } else {
        /* Out of descriptors or memory: the connection waits in the kernel; asking again at once
         * would only spin. */
        listener->events->on_accept_error(listener->user, nng_strerror(result));
        uv_timer_start(&listener->retry, on_retry, ACCEPT_RETRY_MS, 0);
    }
}

static void on_closing(struct nng_event *event)
{
    listener_finish(event->owner);
}

static void on_retry_closed(uv_handle_t *handle)
{
    struct transport_listener *listener = handle->data;

    listener->retry_closed = true;
    listener_finish(listener);
}

void nng_transport_listener_close(struct transport_listener *listener)
{
    listener->closed = true;
    nng_event_post(&listener->closing);
    uv_close((uv_handle_t *)&listener->retry, on_retry_closed);
    nng_stream_listener_close(listener->listener);
    if (listener->accepting.busy) {
        nng_aio_cancel(listener->accepting.aio);
    }
}

const char *nng_transport_listener_url(const struct transport_listener *listener)
{
    return listener->url;
}

/* An NNG result. */
static int listener_bind(struct transport_listener *listener, const struct url *url,
                         const char *text, uint32_t ipc_mode)
{
    int port = (int)url->port;
    int result = nng_stream_listener_alloc(&listener->listener, text);

    if (result != 0) {
        listener->listener = NULL;
        return result;
    }
    if (url->is_ipc) {
        result = nng_stream_listener_set_int(listener->listener, NNG_OPT_IPC_PERMISSIONS,
                                             (int)(ipc_mode ? ipc_mode : IPC_MODE));
    } else {
        result = nng_stream_listener_set_bool(listener->listener, NNG_OPT_TCP_NODELAY, true);
        (void)nng_stream_listener_set_bool(listener->listener, NNG_OPT_TCP_KEEPALIVE, true);
    }
    if (result == 0) {
        result = nng_stream_listener_listen(listener->listener);
    }
    if (result != 0) {
        return result;
    }
    if (url->is_ipc) {
        snprintf(listener->url, sizeof(listener->url), "ipc://%s", url->path);
        return 0;
    }
    result = nng_stream_listener_get_int(listener->listener, NNG_OPT_TCP_BOUND_PORT, &port);
    snprintf(listener->url, sizeof(listener->url),
             url->host_kind == URL_HOST_IPV6 ? "tcp://[%s]:%d" : "tcp://%s:%d", url->host, port);
    return result;
}

int nng_transport_listen(uv_loop_t *loop, const char *url, uint32_t ipc_mode,
                         const struct transport_listener_events *events, void *user,
                         struct transport_listener **ret_listener,
                         char error[TRANSPORT_ERROR_BYTES])
{
    struct transport_listener *listener;
    struct url parsed;
    int result;

    if (url_parse(url, &parsed) != 0) {
        snprintf(error, TRANSPORT_ERROR_BYTES,
                 "not an address to listen on (tcp://HOST:PORT or ipc:///PATH): %.120s", url);
        return TANDEM_EINVAL;
    }
    listener = calloc(1, sizeof(*listener));
    if (listener) {
        listener->hub = nng_hub_new(loop);
    }
    if (!listener || !listener->hub) {
        snprintf(error, TRANSPORT_ERROR_BYTES, "no memory or descriptor to listen");
        free(listener);
        return TANDEM_ENOMEM;
    }
    result = nng_event_init(&listener->accepting, listener->hub, true, on_accepted, listener) != 0
                 ? NNG_ENOMEM
                 : 0;
    (void)nng_event_init(&listener->closing, listener->hub, false, on_closing, listener);
    if (result == 0) {
        result = listener_bind(listener, &parsed, url, ipc_mode);
    }
    if (result != 0) {
        snprintf(error, TRANSPORT_ERROR_BYTES, "cannot listen on %.120s: %s", url,
                 result == NNG_EADDRINVAL ? "no such address here" : nng_strerror(result));
        nng_event_fini(&listener->accepting);
        if (listener->listener) {
            nng_stream_listener_free(listener->listener);
        }
        nng_hub_unref(listener->hub);
        free(listener);
        return TANDEM_EIO;
    }
    (void)uv_timer_init(loop, &listener->retry); /* cannot fail */
    listener->retry.data = listener;
    listener->events = events;
    listener->user = user;
    listener_accept(listener);
    *ret_listener = listener;
    return 0;
}
