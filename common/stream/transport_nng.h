/* transport_nng.h: what the dialing and listening halves of the NNG transport share with the stream
 * itself. Inside common/stream only. */
#ifndef TANDEM_STREAM_TRANSPORT_NNG_H
#define TANDEM_STREAM_TRANSPORT_NNG_H

#include "common/stream/nng_hub.h"
#include "common/stream/transport.h"
#include "common/stream/url.h"

#define NNG_PEER_BYTES 64
#define NNG_DIAL_WAYS  3

struct nng_transport {
    struct transport base;
    struct nng_hub *hub; /* referenced */
    nng_stream *stream;  /* NULL while dialing */
    struct nng_event opening;
    struct nng_event receiving;
    struct nng_event sending;
    nng_aio
        *trying; /* without a callback: sends what the kernel takes at once, see transport_try */
    nng_aio *taking;  /* the same for receiving */
    bool tried;       /* `sending` was raised by hand, with this result */
    unsigned at_once; /* writes done within the call since the loop last came by */
    int tried_result;
    struct nng_event closing;
    bool closed; /* close was called */
    uint64_t sent_bytes, received_bytes;
    uint8_t *input;
    nng_iov output[TRANSPORT_SPANS_MAX]; /* what is left of the write under way */
    unsigned output_count;
    char address[NNG_PEER_BYTES];
    /* dialing */
    nng_stream_dialer *dialer;
    struct url url;
    int64_t connect_ns;
    unsigned ways_tried;
    int first_result; /* of the first way, the one worth telling */
};

/* A transport without a stream. NULL: no memory. */
struct nng_transport *nng_transport_new(struct nng_hub *hub,
                                        void (*on_opening)(struct nng_event *event));
/* Gives it its stream, *taken*, and its peer's address. */
void nng_transport_adopt(struct nng_transport *transport, nng_stream *stream);
/* Raises on_open and starts to read. */
void nng_transport_begin(struct nng_transport *transport);
/* TANDEM_E* of an NNG result. */
int nng_result_error(int result);

int nng_transport_dial(uv_loop_t *loop, const char *url, int64_t connect_ns,
                       const struct transport_events *events, void *user,
                       struct transport **ret_transport, char error[TRANSPORT_ERROR_BYTES]);
int nng_transport_listen(uv_loop_t *loop, const char *url, uint32_t ipc_mode,
                         const struct transport_listener_events *events, void *user,
                         struct transport_listener **ret_listener,
                         char error[TRANSPORT_ERROR_BYTES]);
const char *nng_transport_listener_url(const struct transport_listener *listener);
void nng_transport_listener_close(struct transport_listener *listener);

#endif
