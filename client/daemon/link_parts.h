/* link_parts.h: one connection to one edge, for link.c and link_*.c and nobody else. Loop thread.
 */
#ifndef TANDEM_CLIENT_LINK_PARTS_H
#define TANDEM_CLIENT_LINK_PARTS_H

#include "client/daemon/backoff.h"
#include "client/daemon/link.h"
#include "client/daemon/spare.h"
#include "client/policy/budget.h"
#include "common/base/random.h"

#define TROUBLE_BYTES   96
#define TOKEN_BYTES_MAX 255

struct link {
    struct links *links;
    size_t index;
    char *name, *url;
    char token[TOKEN_BYTES_MAX + 1];
    struct conn *conn;
    uv_timer_t timer;
    struct conn *other; /* tried beside `conn` while that is silent (link_spare.c); NULL */
    bool other_open;    /* its handshake is done */
    uv_timer_t watch;   /* while it is up */
    struct spare spare;
    struct budget_rate rate; /* of both connections together */
    uint64_t unheard_bytes;  /* sent since the edge was last heard, */
    int64_t unheard_ns;      /* and when the first of them was */
    int64_t held_ns;         /* when the cap last held something back */
    int64_t hold_from_ns;    /* since when it does; 0: it does not, */
    int64_t hold_until_ns;   /* and until when it will */
    int64_t holds_ns;        /* how long it did before that */
    bool greeted;            /* our hello is out */
    bool up, draining;
    struct backoff backoff;
    uint64_t reconnects;
    char why[CONN_ERROR_BYTES];  /* the last failure; "" while up */
    char said[CONN_ERROR_BYTES]; /* the one that the log has */
    bool refused;                /* the last attempt failed over who we are, or who it is */
    int64_t up_ns;               /* since when it is up */
    bool told;                   /* `why` is the peer's own word of why it closes */
    struct edge_load load;
    struct estimate_link estimate;
    uint64_t acked_id, acked_bytes; /* of the last acknowledgement */
    struct edge_task *theirs;       /* of the edge's hello */
    size_t their_count;
    enum edge_trouble trouble[LIMIT_TASKS]; /* by our task's number; EDGE_FINE: agreed */
    char unusable[LIMIT_TASKS][TROUBLE_BYTES];
};
struct links {
    uv_loop_t *loop;
    struct conn_tls *tls;
    struct budgets *budgets; /* NULL: none */
    const struct edge_task *tasks;
    size_t task_count;
    struct link_callbacks callbacks;
    void *user;
    uint8_t boot_id[EDGE_BOOT_ID_BYTES];
    struct random_source random;
    size_t probe_bytes;
    bool closing;
    size_t count;
    struct link items[LIMIT_EDGES];
};

/* link.c: starts to connect. 0, or TANDEM_E* with a line. */
int link_connect(struct link *link, struct conn **ret_conn, char error[CONN_ERROR_BYTES]);
/* Ends the connection and makes another when there may be one. The requests on it are lost. */
void link_hang_up(struct link *link, const char *why);

/* link_spare.c: a second connection beside one that is silent. _watch while the link is up;
 * _drop gives the second up; _takes_over says whether `conn`, whose hello is here, is the second
 * one: then it is the link's, which is not up before that hello was read, and the silent one is
 * closed. */
void link_spare_watch(struct link *link);
void link_spare_drop(struct link *link);
bool link_spare_takes_over(struct link *link, const struct conn *conn);

/* link_pace.c: the callbacks of a connection, *user* the link. */
uint64_t link_may_send(struct conn *conn, bool payload, uint64_t wanted, int64_t *ret_again_ns,
                       void *user);
void link_moved(struct conn *conn, uint64_t sent_bytes, uint64_t received_bytes, void *user);
/* When the cap leaves room for one more handshake, and the byte budget for one more connection (or
 * when to look again); now_ns: now. */
int64_t link_dial_at_ns(const struct link *link, int64_t now_ns);
/* Whether the cap has held something back since then: what was sent meanwhile says how fast the cap
 * is, not the link. */
bool link_was_held(const struct link *link, int64_t since_ns);
/* Whether the byte budget lets no connection be made. */
bool link_is_over_budget(const struct link *link);
bool link_may_probe(const struct link *link, uint64_t bytes, int64_t now_ns);

#endif
