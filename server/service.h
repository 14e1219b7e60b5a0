/* service.h: the requests of a server, from admission to the last frame: it owns them, feeds the
 * compute thread with the batches that the batcher picks, carries out what the session state
 * machine says, and knows how busy the server is. Loop thread. */
#ifndef TANDEM_SERVER_SERVICE_H
#define TANDEM_SERVER_SERVICE_H

#include "common/stream/conn.h"
#include "server/catalog.h"
#include "server/conversation.h"

#include <uv.h>

/* The part of a connection that requests need. Embedded in the listener's peer. */
struct service_peer {
    struct conn *conn;
    char tenant[LIMIT_NAME_BYTES + 1];
    uint8_t boot_id[EDGE_BOOT_ID_BYTES];
    char off[LIMIT_TASKS][LIMIT_NAME_BYTES + 1]; /* tasks whose contracts differ */
    size_t off_count;
    uint32_t requests;    /* live */
    size_t payload_bytes; /* charged by them */
};

struct service_counts {
    uint64_t accepted, answered, failed, refused, cancelled, late;
    uint64_t steps, step_requests,
        step_requests_max; /* batches of the engine, and requests in them */
    uint64_t prompt_tokens, cached_tokens, answer_tokens, pictures;
};

struct service;
/* Takes one reference of `catalog`. *returns owned*. */
int service_new(uv_loop_t *loop, struct catalog *catalog, struct service **ret_service);
/* Ends what still runs with TANDEM_EDRAINING, joins the compute thread, closes the handles (run the
 * loop once more). */
void service_free(struct service *service);
/* A reload: new requests use `catalog` (one reference taken); accepted ones end on the old one. */
void service_set_catalog(struct service *service, struct catalog *catalog);
struct catalog *service_catalog(struct service *service);

/* One frame of a peer whose hello is done: REQUEST, DATA or CANCEL. Negative: the peer broke the
 * protocol, close it. */
int service_frame(struct service *service, struct service_peer *peer, const struct frame *frame);
/* The peer is gone: its requests end without a word. */
void service_peer_gone(struct service *service, struct service_peer *peer);

/* Draining: nothing new is accepted; `on_idle` runs (once) when the last request has ended. */
void service_drain(struct service *service, void (*on_idle)(void *user), void *user);
/* Ends every request now with TANDEM_EDRAINING. */
void service_end_all(struct service *service);
void service_load(struct service *service, struct edge_load *ret_load);
const struct service_counts *service_counts(const struct service *service);
size_t service_sessions(const struct service *service);
bool service_is_alive(struct service *service, int64_t now_ns, int64_t patience_ns);

#endif
