#include "common/stream/transport_nng.h"

#include "common/base/error.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_BYTES      (64u << 10)
#define INPUT_MANY_BYTES (16u << 10) /* a read of this size is likely to have more behind it */
#define INPUT_MORE       4           /* reads in a row, then other connections have their turn */
#define OUTPUT_MORE      4           /* the same for writes done within the call */

const struct transport_kind transport_nng = {
    .dial = nng_transport_dial,
    .listen = nng_transport_listen,
    .listener_url = nng_transport_listener_url,
    .listener_close = nng_transport_listener_close,
};

int nng_result_error(int result)
{
    static const struct {
        int result;
        int error;
    } table[] = {
        {0, TANDEM_OK},
        {NNG_ENOMEM, TANDEM_ENOMEM},
        {NNG_ETIMEDOUT, TANDEM_ETIMEDOUT},
        {NNG_ECONNREFUSED, TANDEM_EGONE},
        {NNG_ECONNRESET, TANDEM_EGONE},
        {NNG_ECONNABORTED, TANDEM_EGONE},
        {NNG_ECONNSHUT, TANDEM_EGONE},
        {NNG_ECLOSED, TANDEM_EGONE},
        {NNG_ENOENT, TANDEM_EGONE},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (table[i].result == result) {
            return table[i].error;
        }
    }
    return TANDEM_EIO;
}

static void transport_fail(struct nng_transport *transport, int result)
{
    const int error = nng_result_error(result);

    transport->base.events->on_error(transport->base.user, error,
                                     result == NNG_ECONNSHUT ? "the peer closed the connection"
                                                             : nng_strerror(result));
}

static void transport_receive(struct nng_transport *transport)
{
    const nng_iov where = {.iov_buf = transport->input, .iov_len = INPUT_BYTES};

    nng_aio_set_iov(transport->receiving.aio, 1, &where);
    transport->receiving.busy = true;
    nng_stream_recv(transport->stream, transport->receiving.aio);
}

/* When nothing of NNG's is under way any more, the rest cannot be touched by its threads. */
static bool transport_finish(struct nng_transport *transport)
{
    struct nng_hub *hub = transport->hub;

    if (!transport->closed || transport->opening.busy || transport->receiving.busy ||
        transport->sending.busy || transport->closing.busy) {
        return false;
    }
    nng_event_fini(&transport->opening);
    nng_event_fini(&transport->receiving);
    nng_event_fini(&transport->sending);
    nng_aio_free(transport->trying);
    nng_aio_free(transport->taking);
    if (transport->dialer) {
        nng_stream_dialer_free(transport->dialer);
    }
    if (transport->stream) {
        nng_stream_free(transport->stream);
    }
    transport->base.events->on_closed(transport->base.user);
    free(transport->input);
    free(transport);
    nng_hub_unref(hub);
    return true;
}

/* What has arrived meanwhile, without NNG's threads (see transport_try); 0 when there is nothing,
 * or an error that the next receive meets. */
static size_t transport_take(struct nng_transport *transport)
{
    const nng_iov where = {.iov_buf = transport->input, .iov_len = INPUT_BYTES};

    nng_aio_set_iov(transport->taking, 1, &where);
    nng_stream_recv(transport->stream, transport->taking);
    nng_aio_cancel(transport->taking);
    nng_aio_wait(transport->taking);
    return nng_aio_result(transport->taking) == 0 ? nng_aio_count(transport->taking) : 0;
}

static void on_received(struct nng_event *event)
{
    struct nng_transport *transport = event->owner;
    const int result = nng_aio_result(event->aio);
    size_t bytes;

    if (transport_finish(transport) || transport->closed) {
        return;
    }
    if (result != 0) {
        transport_fail(transport, result);
        return;
    }
    bytes = nng_aio_count(event->aio);
    transport->at_once = 0;
    for (unsigned more = 0; bytes > 0; more++) {
        transport->received_bytes += bytes;
        transport->base.events->on_read(transport->base.user, transport->input, bytes);
        bytes = !transport->closed && bytes >= INPUT_MANY_BYTES && more < INPUT_MORE
                    ? transport_take(transport)
                    : 0;
    }
    if (!transport->closed) {
        transport_receive(transport);
    }
}

/* Takes `bytes` off the front of what is left to send. */
static void output_advance(struct nng_transport *transport, size_t bytes)
{
    unsigned done = 0;

    while (done < transport->output_count && bytes >= transport->output[done].iov_len) {
        bytes -= transport->output[done++].iov_len;
    }
    transport->output_count -= done;
    memmove(transport->output, transport->output + done,
            transport->output_count * sizeof(transport->output[0]));
    if (transport->output_count > 0) {
        transport->output[0].iov_buf = (uint8_t *)transport->output[0].iov_buf + bytes;
        transport->output[0].iov_len -= bytes;
    }
}

/* NNG writes to the socket within the call when there is room, but says so through two of its
 * threads, which costs more than the write and comes just when the answer does. So a send without a
 * callback is tried first and called back if it did not go through: cancelled, it has taken
 * nothing; otherwise its count stands. Neither can block: the wait is for the end of what another
 * thread is just doing. */
static int transport_try(struct nng_transport *transport)
{
    int result;

    nng_aio_set_iov(transport->trying, transport->output_count, transport->output);
    nng_stream_send(transport->stream, transport->trying);
    nng_aio_cancel(transport->trying);
    nng_aio_wait(transport->trying);
    result = nng_aio_result(transport->trying);
    if (result == 0) {
        output_advance(transport, nng_aio_count(transport->trying));
    }
    return result;
}

/* TRANSPORT_DONE, or 0: `sending` will be raised. */
static int transport_send(struct nng_transport *transport)
{
    const int result = transport_try(transport);

    if (transport->output_count == 0 && transport->at_once < OUTPUT_MORE) {
        transport->at_once++;
        return TRANSPORT_DONE;
    }
    transport->tried = transport->output_count == 0 || (result != 0 && result != NNG_ECANCELED);
    if (transport->tried) {
        transport->tried_result = result;
        nng_event_post(&transport->sending);
        return 0;
    }
    nng_aio_set_iov(transport->sending.aio, transport->output_count, transport->output);
    transport->sending.busy = true;
    nng_stream_send(transport->stream, transport->sending.aio);
    return 0;
}

static void on_sent(struct nng_event *event)
{
    struct nng_transport *transport = event->owner;
    const int result = transport->tried ? transport->tried_result : nng_aio_result(event->aio);

    if (transport_finish(transport) || transport->closed) {
        return;
    }
    if (result != 0) {
        transport_fail(transport, result);
        return;
    }
    if (!transport->tried) {
        output_advance(transport, nng_aio_count(event->aio));
    }
    transport->at_once = 0;
    /* NNG is content with a part of what it was given. */
    if (transport->output_count == 0 || transport_send(transport) == TRANSPORT_DONE) {
        transport->base.events->on_written(transport->base.user);
    }
}

static void on_closing(struct nng_event *event)
{
    (void)transport_finish(event->owner);
}

static int transport_write(struct transport *base, const struct transport_span *spans, size_t count)
{
    struct nng_transport *transport = (struct nng_transport *)base;

    if (transport->closed || !transport->stream) {
        return TANDEM_EGONE;
    }
    if (transport->sending.busy || count > TRANSPORT_SPANS_MAX) {
        return TANDEM_EINVAL;
    }
    transport->output_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (spans[i].bytes > 0) {
            transport->output[transport->output_count++] =
                (nng_iov){(void *)spans[i].data, spans[i].bytes};
            transport->sent_bytes += spans[i].bytes;
        }
    }
    return transport_send(transport);
}

/* Aborting is asynchronous in NNG: the completions come through the hub, and transport_finish waits
 * for them. */
static void transport_close(struct transport *base)
{
    struct nng_transport *transport = (struct nng_transport *)base;

    transport->closed = true;
    nng_event_post(&transport->closing);
    if (transport->opening.busy && transport->opening.aio) {
        nng_aio_cancel(transport->opening.aio);
    }
    if (transport->stream) {
        nng_stream_close(transport->stream);
    }
}

static void on_open_posted(struct nng_event *event)
{
    struct nng_transport *transport = event->owner;

    if (!transport_finish(transport) && !transport->closed) {
        nng_transport_begin(transport);
    }
}

static void transport_start(struct transport *base)
{
    struct nng_transport *transport = (struct nng_transport *)base;

    nng_event_post(&transport->opening);
}

static const char *transport_peer_name(const struct transport *base)
{
    (void)base;
    return "";
}

static const char *transport_peer_address(const struct transport *base)
{
    return ((const struct nng_transport *)base)->address;
}

static void transport_bytes(const struct transport *base, uint64_t *ret_sent,
                            uint64_t *ret_received)
{
    const struct nng_transport *transport = (const struct nng_transport *)base;

    *ret_sent = transport->sent_bytes;
    *ret_received = transport->received_bytes;
}

static const struct transport_ops operations = {
    .start = transport_start,
    .write = transport_write,
    .close = transport_close,
    .peer_name = transport_peer_name,
    .peer_address = transport_peer_address,
    .bytes = transport_bytes,
};

static void address_describe(struct nng_transport *transport)
{
    char text[INET6_ADDRSTRLEN] = "?";
    uint64_t pid = 0;
    uint64_t uid = 0;
    nng_sockaddr address;

    if (nng_stream_get_uint64(transport->stream, NNG_OPT_IPC_PEER_PID, &pid) == 0) {
        (void)nng_stream_get_uint64(transport->stream, NNG_OPT_IPC_PEER_UID, &uid);
        snprintf(transport->address, sizeof(transport->address), "ipc pid %llu uid %llu",
                 (unsigned long long)pid, (unsigned long long)uid);
        return;
    }
    if (nng_stream_get_addr(transport->stream, NNG_OPT_REMADDR, &address) != 0) {
        snprintf(transport->address, sizeof(transport->address), "gone");
    } else if (address.s_family == NNG_AF_INET) {
        inet_ntop(AF_INET, &address.s_in.sa_addr, text, sizeof(text));
        snprintf(transport->address, sizeof(transport->address), "%s:%u", text,
                 (unsigned)ntohs(address.s_in.sa_port));
    } else if (address.s_family == NNG_AF_INET6) {
        inet_ntop(AF_INET6, address.s_in6.sa_addr, text, sizeof(text));
        snprintf(transport->address, sizeof(transport->address), "[%s]:%u", text,
                 (unsigned)ntohs(address.s_in6.sa_port));
    }
}

struct nng_transport *nng_transport_new(struct nng_hub *hub,
                                        void (*on_opening)(struct nng_event *event))
{
    struct nng_transport *transport = calloc(1, sizeof(*transport));
    bool whole;

    if (!transport) {
        return NULL;
    }
    transport->base.ops = &operations;
    transport->input = malloc(INPUT_BYTES);
    whole = transport->input && nng_aio_alloc(&transport->trying, NULL, NULL) == 0 &&
            nng_aio_alloc(&transport->taking, NULL, NULL) == 0 &&
            nng_event_init(&transport->opening, hub, on_opening != NULL,
                           on_opening ? on_opening : on_open_posted, transport) == 0 &&
            nng_event_init(&transport->receiving, hub, true, on_received, transport) == 0 &&
            nng_event_init(&transport->sending, hub, true, on_sent, transport) == 0 &&
            nng_event_init(&transport->closing, hub, false, on_closing, transport) == 0;
    if (!whole) {
        nng_aio_free(transport->trying);
        nng_aio_free(transport->taking);
        nng_event_fini(&transport->sending);
        nng_event_fini(&transport->receiving);
        nng_event_fini(&transport->opening);
        free(transport->input);
        free(transport);
        return NULL;
    }
    transport->hub = nng_hub_ref(hub);
    return transport;
}

void nng_transport_adopt(struct nng_transport *transport, nng_stream *stream)
{
    transport->stream = stream;
    address_describe(transport);
}

void nng_transport_begin(struct nng_transport *transport)
{
    transport_receive(transport);
    transport->base.events->on_open(transport->base.user);
}

static void discard_event(void *user)
{
    (void)user;
}
static void discard_read(void *user, const uint8_t *data, size_t bytes)
{
    (void)user;
    (void)data;
    (void)bytes;
}
static void discard_error(void *user, int error, const char *why)
{
    (void)user;
    (void)error;
    (void)why;
}

void transport_discard(struct transport *transport)
{
    static const struct transport_events nobody = {discard_event, discard_read, discard_event,
                                                   discard_error, discard_event};

    transport->events = &nobody;
    transport->ops->close(transport);
}
