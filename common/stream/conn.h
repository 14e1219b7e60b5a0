/* conn.h: framed connections over a byte-stream transport, on a libuv loop. One conn is one peer:
 * it frames, orders (control frames first, payload of several requests interleaved), gives credits
 * both ways, keeps the heartbeat and closes what is silent, slow or hostile. It does not know what
 * the messages mean, except DATA, DATA_ACK, PING and PONG.
 *
 * Threads: every function and every callback here runs on the loop's thread. The transport's own
 * threads only put events in a queue and wake the loop (uv_async_send). Ownership:
 * conn_listener_new and conn_dial return handles; conn_close is asynchronous: on_close comes
 * exactly once, always after the call that caused it has returned, and after it the handle is gone.
 * After conn_close no other callback comes. The SP layer of NNG is not used; see transport.h for
 * why. */
#ifndef TANDEM_STREAM_CONN_H
#define TANDEM_STREAM_CONN_H

#include "common/wire/edge_msg.h"
#include "common/wire/frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct conn;
struct conn_listener;
struct conn_tls; /* certificate, key and CA, loaded and checked once, reference counted */

#define CONN_ERROR_BYTES 256

/* TLS 1.3 only, both sides verified against `ca_path`. TANDEM_ECONFIG with a line naming the file.
 * A dialer also checks the server's name or address from the URL against its certificate. *returns
 * owned*. */
int conn_tls_load(const char *cert_path, const char *key_path, const char *ca_path,
                  struct conn_tls **ret_tls, char error[CONN_ERROR_BYTES]);
void conn_tls_unref(struct conn_tls *tls);

struct conn_callbacks {
    /* The byte stream is up and, with TLS, verified. Send the hello now. */
    void (*on_open)(struct conn *conn, void *user);
    /* One frame other than DATA_ACK, PING, PONG; borrowed for the call. For DATA: call
     * conn_consumed when the bytes have been taken. */
    void (*on_frame)(struct conn *conn, const struct frame *frame, void *user);
    /* Payload of request `id` acknowledged so far, and the time since the first of those bytes
     * left: the bandwidth estimate feeds on it. May be NULL. */
    void (*on_acked)(struct conn *conn, uint64_t request_id, uint64_t acked_bytes,
                     int64_t elapsed_ns, void *user);
    /* A PONG came: round trip and, from a server, its load (else NULL). May be NULL. */
    void (*on_pong)(struct conn *conn, int64_t rtt_ns, const struct edge_load *load, void *user);
    /* The load to put into our PONGs; NULL callback or false: none. */
    bool (*get_load)(struct conn *conn, struct edge_load *ret_load, void *user);
    /* The last that is called, also of a conn that never opened. `error` TANDEM_E* and one line;
     * TANDEM_OK when conn_close was called by us. A peer that broke the protocol has been told in
     * an ERROR frame of id 0. */
    void (*on_close)(struct conn *conn, int error, const char *why, void *user);
    /* As on_pong, for a PING of conn_probe, which carried `bytes`. May be NULL. */
    void (*on_probed)(struct conn *conn, size_t bytes, int64_t rtt_ns, void *user);
    /* How many bytes may leave now, of payload (DATA frames) or of anything, TLS counted in. With
     * less than `wanted`, ret_again_ns is when to ask again; INT64_MAX: never. What may not leave
     * stays queued; conn_cancel and conn_forget take it back. NULL: everything may. */
    uint64_t (*may_send)(struct conn *conn, bool payload, uint64_t wanted, int64_t *ret_again_ns,
                         void *user);
    /* What has left and come since the last call, TLS and its handshake counted in. May be NULL. */
    void (*on_moved)(struct conn *conn, uint64_t sent_bytes, uint64_t received_bytes, void *user);
};

struct conn_params {
    struct conn_tls *tls; /* NULL: plaintext */
    int64_t
        heartbeat_ns;   /* a PING when nothing was received for this long; 0: LIMIT_HEARTBEAT_MS */
    int64_t idle_ns;    /* closed with ETIMEDOUT when nothing was received for this long; 0:
                           LIMIT_IDLE_MS */
    int64_t connect_ns; /* dial and handshake together, and then the peer's first frame; 0:
                           LIMIT_HELLO_MS */
    struct conn_callbacks callbacks;
};

/* Starts connecting to "tcp://host:port" or "ipc:///path". Names are resolved now, anew at every
 * call. Errors after the call come to on_close. TANDEM_EINVAL for a URL that is none. */
int conn_dial(uv_loop_t *loop, const char *url, const struct conn_params *params, void *user,
              struct conn **ret_conn, char error[CONN_ERROR_BYTES]);

struct conn_listener_params {
    struct conn_params conn; /* of each accepted connection */
    size_t connections_max;  /* over it new ones are closed at once */
    uint32_t ipc_mode;       /* mode bits of an ipc socket, 0660 when 0 */
    /* A new conn before anything was received; return its `user` and true, or false to refuse it.
     */
    bool (*on_accept)(struct conn *conn, void *listener_user, void **ret_user);
};
/* TANDEM_EIO when the address cannot be bound (in use, no such host), with a line. The listener
 * survives any peer. *returns owned* until conn_listener_close. */
int conn_listener_new(uv_loop_t *loop, const char *url, const struct conn_listener_params *params,
                      void *user, struct conn_listener **ret_listener,
                      char error[CONN_ERROR_BYTES]);
/* The URL bound, with the real port when 0 was asked. Lives as long as the listener. */
const char *conn_listener_url(const struct conn_listener *listener);
/* New connections use this from now on (reload); may be NULL for plaintext. Those that are there
 * keep theirs. */
void conn_listener_set_tls(struct conn_listener *listener, struct conn_tls *tls);
/* Stops accepting; connections stay. `done` (may be NULL) when the last resources are gone. */
void conn_listener_close(struct conn_listener *listener, void (*done)(void *user), void *user);

/* Whether plaintext is fine for this URL: ipc, or a tcp host that is a loopback address literal or
 * "localhost". */
bool conn_url_is_local(const char *url);

/* Sends one frame without payload; copied. TANDEM_ETOOBIG over limits, TANDEM_EBUSY when the send
 * queue is full (the peer is too slow: the conn closes itself), TANDEM_EGONE after close began. */
int conn_send(struct conn *conn, enum frame_kind kind, uint16_t flags, uint64_t request_id,
              const void *header, size_t header_bytes);
/* Sends the whole payload of `request_id` as DATA within the peer's credits; the last frame carries
 * FRAME_FLAG_LAST. Takes the memory (free()d when sent or dropped) on success only. TANDEM_ETOOBIG
 * over LIMIT_PAYLOAD_BYTES, TANDEM_EINVAL after the last part, TANDEM_EBUSY over LIMIT_FLOWS,
 * TANDEM_EGONE after close began. The peer's conn delivers DATA only of requests that it knows from
 * a REQUEST frame, whichever side sent that, and that have not ended by RESULT, ERROR or CANCEL. */
int conn_send_payload(struct conn *conn, uint64_t request_id, uint8_t *data, size_t bytes);
/* The same in parts; `last` with the final one (which may be empty, `data` NULL). */
int conn_send_payload_part(struct conn *conn, uint64_t request_id, uint8_t *data, size_t bytes,
                           bool last);
/* Payload bytes of the request that were given to conn and have not left. */
uint64_t conn_unsent_bytes(const struct conn *conn, uint64_t request_id);
/* Drops unsent payload of the request and sends CANCEL. */
void conn_cancel(struct conn *conn, uint64_t request_id);
/* Forgets unsent payload without a word (the request ended). */
void conn_forget(struct conn *conn, uint64_t request_id);
/* The receiver took `bytes` of DATA of this request: credits go back to the sender. */
void conn_consumed(struct conn *conn, uint64_t request_id, uint32_t bytes);
/* An extra PING now. */
void conn_ping(struct conn *conn);
/* One with `bytes` of padding, at most LIMIT_PROBE_BYTES, which measures the rate: its PONG comes
 * to on_probed. */
void conn_probe(struct conn *conn, size_t bytes);
/* For how long a PING has been out with nothing heard since; 0 when none is out. */
int64_t conn_owed_ns(const struct conn *conn, int64_t now_ns);
/* Flushes what is queued when `flush` (for idle_ns at most), else drops it; then closes. The conn
 * may be used by no call but this one and the getters below until on_close. */
void conn_close(struct conn *conn, bool flush);

/* The verified peer: certificate common name with TLS, "" else. Peer address for logs. Live as long
 * as the conn. */
const char *conn_peer_name(const struct conn *conn);
const char *conn_peer_address(const struct conn *conn);
/* Bytes of frames that have been given to conn and have not left. */
uint64_t conn_queued_bytes(const struct conn *conn);
/* Bytes sent and received on the stream, with TLS before encryption. */
void conn_bytes(const struct conn *conn, uint64_t *ret_sent, uint64_t *ret_received);

#endif
