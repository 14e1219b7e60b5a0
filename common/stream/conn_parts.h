/* conn_parts.h: what the files of conn share: the struct, its flows, its sending and receiving
 * halves. Inside common/stream only.
 *
 * A flow is one request's payload in either direction. It begins with REQUEST (sent or received) or
 * conn_send_payload, and ends with RESULT, ERROR, CANCEL or conn_forget; DATA and DATA_ACK of a
 * request without a flow are late and are dropped.
 *
 *   conn_send ──> control ─┐ first                      (encoded frames)
 *                          ├─> batch ──> transport      (one write of about 64 KiB at a time)
 *   payload ──> chunks ────┘ rest, one DATA frame per flow in turn, within its credits */
#ifndef TANDEM_STREAM_CONN_PARTS_H
#define TANDEM_STREAM_CONN_PARTS_H

#include "common/base/buf.h"
#include "common/base/limits.h"
#include "common/stream/conn.h"
#include "common/stream/transport.h"

#define FLOW_BUCKETS           64
#define CONN_PINGS             8 /* under way at once */
#define CONN_PING_HELD         (-1)
#define CONN_BATCH_DATA_FRAMES 2

enum conn_state {
    CONN_OPENING, /* dialing, handshake */
    CONN_OPEN,
    CONN_FLUSHING,  /* closed by the owner; what is queued still goes out */
    CONN_LINGERING, /* all is out; what the peer still sends is thrown away, so that our last words
                       are not lost to a reset */
    CONN_CLOSING,   /* waiting for the transport and the handles to go */
};

/* A piece of payload, kept while queued or in the hands of the transport. */
struct chunk {
    struct chunk *next;
    uint8_t *data;
    size_t bytes;
    size_t offset; /* sent so far */
    unsigned references;
    bool last; /* of its request */
};

struct flow {
    uint64_t id;
    struct flow *next_in_bucket;
    /* sending */
    struct chunk *chunks;
    struct chunk **chunks_end;
    struct flow
        *next_ready; /* in the ring of flows that have something to send and credits to send it */
    bool ready;
    bool queued_last;
    uint64_t queued_bytes, sent_bytes, acked_bytes; /* from the start of the payload */
    int64_t first_sent_ns;
    /* receiving */
    bool receiving;
    bool received_last;
    uint64_t received_bytes, consumed_bytes, ack_sent_bytes;
};

struct conn {
    uv_loop_t *loop;
    struct transport *transport; /* NULL once closed */
    struct conn_params params;   /* defaults filled in; the TLS referenced */
    void *user;
    struct conn_listener *listener; /* that accepted it, referenced; NULL when dialed */
    enum conn_state state;
    int error; /* for on_close */
    char why[CONN_ERROR_BYTES];
    bool said_last_words; /* ERROR of the connection is among what was sent */
    char peer_name[CONN_ERROR_BYTES];
    char peer_address[64];
    uv_timer_t timer;
    uv_prepare_t prepare;
    unsigned handles_open;

    /* sending */
    struct buf control;
    uint64_t control_left; /* bytes of it that are with the transport */
    struct buf batch;      /* prefixes and control frames of the write under way */
    struct chunk *batch_chunks[CONN_BATCH_DATA_FRAMES];
    unsigned batch_chunk_count;
    bool writing;
    bool flush_wanted;
    struct flow *ready_first, **ready_end;
    size_t chunks_queued; /* of all flows, with or without credits */
    uint64_t sent_bytes;
    uint64_t payload_queued;                 /* bytes of chunks that have not left */
    uv_timer_t pace_timer;                   /* when more may leave */
    uint64_t counted_sent, counted_received; /* of the transport, told to on_moved */

    /* receiving */
    struct buf received; /* a frame that has not arrived whole */
    bool received_frame;
    uint64_t received_bytes;

    struct flow *flows[FLOW_BUCKETS];
    size_t flow_count;

    /* watching; all times CLOCK_MONOTONIC */
    int64_t started_ns, opened_ns, received_ns, pinged_ns, written_ns, closing_ns;
    uint64_t ping_nonce;
    int64_t ping_sent_ns[CONN_PINGS]; /* by nonce modulo; 0 when answered, or CONN_PING_HELD */
    uint64_t ping_end[CONN_PINGS];    /* of the control frames, as control_left counts */
    size_t ping_padding[CONN_PINGS];  /* bytes; 0: not a probe */
};

/* conn.c */
int conn_new(uv_loop_t *loop, const struct conn_params *params, void *user, struct conn **ret_conn);
/* Gives the conn its stream, *taken*; with TLS wraps it. `host` is whom a dialer expects, NULL for
 * the accepting side. */
int conn_attach(struct conn *conn, struct transport *transport, const char *host);
extern const struct transport_events conn_transport_events;
/* Ends the connection for this reason. `say` tells the peer in an ERROR frame first. May be called
 * at any time; the first one counts. */
void conn_fail(struct conn *conn, int error, bool say, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Everything queued is out and nothing is under way. */
void conn_flushed(struct conn *conn);
void conn_close_now(struct conn *conn);

/* conn_listener.c */
void conn_listener_forget(struct conn_listener *listener);

/* conn_flow.c */
struct flow *flow_find(const struct conn *conn, uint64_t id);
struct flow *flow_get(struct conn *conn,
                      uint64_t id); /* finds or makes; NULL: no memory, or over LIMIT_FLOWS */
void flow_end(struct conn *conn, uint64_t id);
void flow_end_all(struct conn *conn);
void flow_wake(struct conn *conn,
               struct flow *flow); /* into the ring, if it has something it may send */
struct flow *flow_next_ready(struct conn *conn); /* out of the ring; NULL when it is empty */
void chunk_unref(struct chunk *chunk);
/* DATA came. 0 deliver, 1 drop silently, TANDEM_EPROTO when the peer has no credits for it. */
int flow_receive(struct conn *conn, const struct frame *frame);
void flow_acked(struct conn *conn, uint64_t id, uint64_t acked_bytes);

/* conn_send.c */
void conn_want_flush(struct conn *conn);
void conn_on_written(void *user);
void conn_drop_output(
    struct conn *conn); /* all that was queued, and what the transport no longer holds */
bool conn_has_output(const struct conn *conn);
void conn_on_prepare(uv_prepare_t *prepare);

/* conn_pace.c: how much may leave now, and what has. */
#define CONN_PACE_LEAST                                                                            \
    512 /* nothing is cut into smaller pieces than this, because of the pace                       \
         */
/* Of `bytes` that are to leave beside `batched` more (as conn_wire_bytes counts): how many may. 0:
 * the timer wakes the conn when it may go on. */
size_t conn_pace(struct conn *conn, bool payload, uint64_t batched, size_t bytes);
/* What so many bytes in so many writes become on the stream. */
uint64_t conn_wire_bytes(const struct conn *conn, uint64_t bytes, unsigned writes);
void conn_count(struct conn *conn);
void conn_on_pace_timer(uv_timer_t *timer);

/* conn_receive.c */
void conn_on_read(void *user, const uint8_t *data, size_t bytes);

/* conn_watch.c: the timer of a connection. */
void conn_watch_start(struct conn *conn);
/* What is queued waits for the pace: pings among it are not under way, and nobody owes us a pong.
 */
void conn_pings_hold(struct conn *conn);
/* Control frames have left: those of the pings among them that were held are under way now. */
void conn_pings_leave(struct conn *conn);
void conn_pong_received(struct conn *conn, uint64_t nonce, const struct edge_load *load);

/* tls.c */
/* A transport that encrypts over `inner`, *taken* on success. `host` is the name or address a
 * dialer expects, NULL on the accepting side. */
int tls_wrap(struct transport *inner, struct conn_tls *tls, const char *host,
             struct transport **ret_transport);
struct conn_tls *conn_tls_ref(struct conn_tls *tls);

#endif
