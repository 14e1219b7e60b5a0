/* transport.h: one byte stream as conn sees it, behind a small table of functions: NNG byte streams
 * (transport_nng.c), TLS over any other (tls.c). Inside common/stream only.
 *
 * NNG's sockets (its SP layer) are not used: in the versions that are about, one connection that is
 * opened and dropped at the wrong moment stops a listener for good, replies over a queue's depth
 * are dropped silently, and requests are sent again by themselves. Byte streams have none of that.
 *
 * Threads: all functions and events on the loop's thread. No event comes out of the call that
 * caused it, except on_read and on_error, which TLS may raise from another transport's event. Life:
 * from dial or accept until on_closed returns. */
#ifndef TANDEM_STREAM_TRANSPORT_H
#define TANDEM_STREAM_TRANSPORT_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define TRANSPORT_ERROR_BYTES 256
#define TRANSPORT_SPANS_MAX   8 /* in one write */
#define TRANSPORT_DONE        1 /* of write: nothing is left under way */

struct transport;
struct transport_listener;

struct transport_span {
    const void *data;
    size_t bytes;
};

struct transport_events {
    /* Both sides may speak. */
    void (*on_open)(void *user);
    /* Borrowed for the call. */
    void (*on_read)(void *user, const uint8_t *data, size_t bytes);
    /* All of the last write was taken: its memory is free again and another may start. */
    void (*on_written)(void *user);
    /* The stream is of no more use. Nothing but close may follow; it may be raised again. */
    void (*on_error)(void *user, int error, const char *why);
    /* The answer to close; after it the transport is gone. */
    void (*on_closed)(void *user);
};

struct transport_ops {
    /* Starts an accepted transport; dialed ones start themselves. on_open follows. */
    void (*start)(struct transport *transport);
    /* One write at a time, after on_open. TRANSPORT_DONE: all of it was taken at once, no
     * on_written follows and another may start. 0: the spans' memory is borrowed until on_written
     * or on_closed. Or TANDEM_E*. */
    int (*write)(struct transport *transport, const struct transport_span *spans, size_t count);
    /* What was not taken is lost. Once; on_closed follows. */
    void (*close)(struct transport *transport);
    /* As conn_peer_name and conn_peer_address. */
    const char *(*peer_name)(const struct transport *transport);
    const char *(*peer_address)(const struct transport *transport);
    /* Bytes handed to the stream below and received from it, all that a layer adds included. */
    void (*bytes)(const struct transport *transport, uint64_t *ret_sent, uint64_t *ret_received);
};

/* Starts every implementation's struct. Who owns the transport sets events and user before the loop
 * runs again. */
struct transport {
    const struct transport_ops *ops;
    const struct transport_events *events;
    void *user;
};

struct transport_listener_events {
    /* A new transport, *taken*: set its events and start it, or transport_discard it. */
    void (*on_accept)(void *user, struct transport *transport);
    /* Accepting failed and is tried again (descriptors used up); at most ten a second. */
    void (*on_accept_error)(void *user, const char *why);
    void (*on_closed)(void *user);
};

struct transport_kind {
    /* Names are resolved anew at each call; `connect_ns` is shared among the addresses tried. */
    int (*dial)(uv_loop_t *loop, const char *url, int64_t connect_ns,
                const struct transport_events *events, void *user, struct transport **ret_transport,
                char error[TRANSPORT_ERROR_BYTES]);
    int (*listen)(uv_loop_t *loop, const char *url, uint32_t ipc_mode,
                  const struct transport_listener_events *events, void *user,
                  struct transport_listener **ret_listener, char error[TRANSPORT_ERROR_BYTES]);
    const char *(*listener_url)(const struct transport_listener *listener);
    void (*listener_close)(struct transport_listener *listener);
};

extern const struct transport_kind transport_nng;

/* Closes a transport in which nobody is interested. */
void transport_discard(struct transport *transport);

#endif
