/* link.h: one connection to each configured edge: dialled again with growing, jittered pauses, the
 * contract checked at each hello, round trip and bandwidth measured as it runs. Loop thread.
 * Requests are named by ids of the caller; a lost connection ends all of them. One that is silent
 * for too long is tried anew beside it, and whichever speaks first is used (spare.h). */
#ifndef TANDEM_CLIENT_LINK_H
#define TANDEM_CLIENT_LINK_H

#include "client/daemon/budgets.h"
#include "client/daemon/daemon_config.h"
#include "client/policy/estimate_edge.h"
#include "common/stream/conn.h"

struct links;
struct link_callbacks {
    void (*on_accepted)(size_t edge, uint64_t id, void *user);
    void (*on_tokens)(size_t edge, uint64_t id, const struct answer_piece *piece, void *user);
    /* May take result->answer; `bytes` is what the message took on the wire. */
    void (*on_result)(size_t edge, uint64_t id, struct edge_result *result, size_t bytes,
                      void *user);
    void (*on_error)(size_t edge, uint64_t id, const struct edge_error *error, void *user);
    /* More of its payload is there. */
    void (*on_acked)(size_t edge, uint64_t id, void *user);
    /* Every request on it is lost. The edge may be up again already (a new connection took over
     * from one that was silent): then they can be sent again. */
    void (*on_gone)(size_t edge, void *user);
    /* This number names another edge now: what was known of the old one holds no more. */
    void (*on_fresh)(size_t edge, void *user);
    /* The edge says which model (its digest) it has for our task of this number. */
    void (*on_model)(size_t edge, size_t task, const char *digest, void *user);
};
struct link_view {
    const char *name, *url, *state,
        *why; /* state: "connecting", "up", "silent", "draining", "waiting"; why: what the last
                 attempt failed with, "" while up */
    bool up;
    bool silent; /* up, and owes us a reply for far longer than usual */
    const struct edge_load *load;
    const struct estimate_link *estimate;
    uint64_t reconnects;
    uint64_t max_up_kbit;    /* 0: no cap */
    int64_t next_attempt_ms; /* -1: none is waited for */
};
/* `tasks` (borrowed for the life of the links, or until links_reload) is what this side says in its
 * hello. `budgets` (borrowed for their life, or NULL) are charged with all that goes and comes;
 * when their bytes are used up, the connections end until there is room again. */
int links_new(uv_loop_t *loop, const struct client_config *config, const struct edge_task *tasks,
              size_t task_count, struct budgets *budgets, const struct link_callbacks *callbacks,
              void *user, struct links **ret_links, char error[CONFIG_ERROR_BYTES]);
/* Puts another configuration and other tasks in force, or nothing and one line in `error`. Edges
 * that stay as they were keep their connection, their number and what is known of them; changed and
 * removed ones end theirs (on_gone comes inside this call), and new ones get a free number.
 * Certificates are read again, for connections made from now on. Edges that are connected are
 * told the tasks of now, and contracts are compared anew; what is under way goes on. */
int links_reload(struct links *links, const struct client_config *config,
                 const struct edge_task *tasks, size_t task_count, char error[CONFIG_ERROR_BYTES]);
/* Numbers in use lie below this; a removed edge leaves a gap, with an empty name and never usable.
 */
size_t links_count(const struct links *links);
void links_view(const struct links *links, size_t edge, struct link_view *ret_view);
/* Measures the rate of a link that nothing was sent on of late, within `[policy] probe_bytes`. */
void links_probe(struct links *links, size_t edge);
/* How much later than the link alone would `max_up_kbit` let the last of so many bytes leave,
 * behind all that waits already; 0 without a cap. */
double links_paced_ms(const struct links *links, size_t edge, uint64_t bytes, int64_t now_ns);
/* For how long in all `max_up_kbit` has held back what was to leave. */
double links_held_ms(const struct links *links, size_t edge, int64_t now_ns);
/* What was measured of this link before a restart; before it is connected. */
void links_estimate_give(struct links *links, size_t edge, const struct estimate_link *estimate);
/* What a request has waited in this edge's queue. */
void links_waited(struct links *links, size_t edge, double wait_ms);
/* NULL when task `task` can go to this edge now, else the reason, good until the loop turns. */
const char *links_unusable(const struct links *links, size_t edge, size_t task,
                           enum edge_trouble *ret_trouble);
/* What the edge's model of this task looks at, in pixels; 0: not known, or no pictures. */
void links_picture(const struct links *links, size_t edge, size_t task, uint32_t *ret_width,
                   uint32_t *ret_height);
/* How many labels the edge's model of the task of this name has; 0: not known, or no labels. */
uint32_t links_labels(const struct links *links, size_t edge, const char *task);
/* Sends a request with its payload (takes the memory on success only). Errors as conn_send. */
int links_send(struct links *links, size_t edge, uint64_t id, const struct edge_request *request,
               uint8_t *payload, size_t bytes);
/* Drops the request; returns the payload bytes of it that had not left and now never will. */
uint64_t links_cancel(struct links *links, size_t edge, uint64_t id);
/* Closes every connection; no callback comes any more. The memory goes when the loop has run out
 * its handles. */
void links_close(struct links *links);
void links_free(struct links *links); /* after the loop has run to its end */

#endif
