#include "common/stream/transport_nng.h"

#include "common/base/error.h"

#include <stdio.h>
#include <stdlib.h>

#define MS_PER_NS 1000000

/* NNG takes only the first address a name has. A name is therefore tried as the resolver orders it,
 * then by each family. */
static const char *const schemes[NNG_DIAL_WAYS] = {"tcp", "tcp4", "tcp6"};

static unsigned ways_count(const struct url *url)
{
    return !url->is_ipc && url->host_kind == URL_HOST_NAME ? NNG_DIAL_WAYS : 1;
}

static void dial_url(const struct nng_transport *transport, char *text, size_t text_bytes)
{
    const struct url *url = &transport->url;

    if (url->is_ipc) {
        snprintf(text, text_bytes, "ipc://%s", url->path);
    } else {
        snprintf(text, text_bytes, url->host_kind == URL_HOST_IPV6 ? "%s://[%s]:%u" : "%s://%s:%u",
                 schemes[transport->ways_tried], url->host, url->port);
    }
}

/* Starts the next way. An NNG result. A new dialer each time: the name is resolved by the system
 * again. */
static int dial_next(struct nng_transport *transport)
{
    const int64_t left = (int64_t)(ways_count(&transport->url) - transport->ways_tried);
    char text[URL_HOST_BYTES + 32];
    int result;

    dial_url(transport, text, sizeof(text));
    result = nng_stream_dialer_alloc(&transport->dialer, text);
    if (result != 0) {
        transport->dialer = NULL;
        return result;
    }
    if (!transport->url.is_ipc) {
        (void)nng_stream_dialer_set_bool(transport->dialer, NNG_OPT_TCP_NODELAY, true);
        (void)nng_stream_dialer_set_bool(transport->dialer, NNG_OPT_TCP_KEEPALIVE, true);
    }
    nng_aio_set_timeout(transport->opening.aio,
                        (nng_duration)(transport->connect_ns / left / MS_PER_NS) + 1);
    transport->opening.busy = true;
    nng_stream_dialer_dial(transport->dialer, transport->opening.aio);
    return 0;
}

/* A name that does not exist will not exist by another family either. */
static bool dial_may_go_on(const struct nng_transport *transport, int result)
{
    return transport->ways_tried + 1 < ways_count(&transport->url) && result != NNG_EADDRINVAL &&
           result != NNG_EAGAIN;
}

static void dial_fail(struct nng_transport *transport, int result)
{
    char why[TRANSPORT_ERROR_BYTES];
    const char *text = result == NNG_EADDRINVAL ? "no such host" : nng_strerror(result);

    if (transport->url.is_ipc) {
        snprintf(why, sizeof(why), "cannot connect to %s: %s", transport->url.path, text);
    } else {
        snprintf(why, sizeof(why), "cannot connect to %.160s port %u: %s", transport->url.host,
                 transport->url.port, text);
    }
    transport->base.events->on_error(transport->base.user, nng_result_error(result), why);
}

static void dial_take(struct nng_transport *transport)
{
    nng_transport_adopt(transport, nng_aio_get_output(transport->opening.aio, 0));
    if (transport->closed) {
        nng_stream_close(transport->stream); /* close came while it was on its way here */
    }
}

static void on_dialed(struct nng_event *event)
{
    struct nng_transport *transport = event->owner;
    int result = nng_aio_result(event->aio);

    nng_stream_dialer_free(transport->dialer);
    transport->dialer = NULL;
    if (result == 0) {
        dial_take(transport);
    }
    if (transport->closed) {
        if (!transport->closing.busy) {
            nng_event_post(
                &transport->closing); /* the last thing under way is done: let it finish */
        }
        return;
    }
    if (result == 0) {
        nng_transport_begin(transport);
        return;
    }
    if (transport->ways_tried == 0) {
        transport->first_result = result;
    }
    if (dial_may_go_on(transport, result)) {
        transport->ways_tried++;
        result = dial_next(transport);
        if (result == 0) {
            return;
        }
    }
    dial_fail(transport, transport->first_result);
}

int nng_transport_dial(uv_loop_t *loop, const char *url, int64_t connect_ns,
                       const struct transport_events *events, void *user,
                       struct transport **ret_transport, char error[TRANSPORT_ERROR_BYTES])
{
    struct nng_transport *transport = NULL;
    struct nng_hub *hub;
    struct url parsed;
    int result;

    if (url_parse(url, &parsed) != 0 ||
        (!parsed.is_ipc && (parsed.port == 0 || parsed.host_kind == URL_HOST_ANY))) {
        snprintf(error, TRANSPORT_ERROR_BYTES,
                 "not an address to connect to (tcp://HOST:PORT or ipc:///PATH): %.120s", url);
        return TANDEM_EINVAL;
    }
    hub = nng_hub_new(loop);
    if (hub) {
        transport = nng_transport_new(hub, on_dialed);
        nng_hub_unref(hub); /* the transport has its own reference */
    }
    if (!transport) {
        snprintf(error, TRANSPORT_ERROR_BYTES, "no memory or descriptor to connect");
        return TANDEM_ENOMEM;
    }
    transport->base.events = events;
    transport->base.user = user;
    transport->url = parsed;
    transport->connect_ns = connect_ns;
    result = dial_next(transport);
    if (result != 0) {
        snprintf(error, TRANSPORT_ERROR_BYTES, "%.120s: %s", url, nng_strerror(result));
        transport_discard(&transport->base);
        return nng_result_error(result);
    }
    *ret_transport = &transport->base;
    return 0;
}
