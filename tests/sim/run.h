/* run.h: one run of the simulator; see sim.h. */
#ifndef TANDEM_SIM_RUN_H
#define TANDEM_SIM_RUN_H

#include "client/policy/decide_fill.h"
#include "tests/sim/sim.h"

#define PINGS         8
#define EDGE_BATCH    16
#define SWITCH_WINDOW 16
#define FLOWS_MAX     512 /* of one link: requests whose input waits to be sent */
#define QUEUE_BYTES                                                                                \
    65536.0 /* the link holds no more; what is over it waits in the daemon, where it can be        \
               cancelled */

enum event_kind {
    EVENT_ARRIVE,   /* index: request */
    EVENT_TIMER,    /* index: request */
    EVENT_STEP,     /* client: its runner has ended a step */
    EVENT_PULL,     /* client, edge: the link has room */
    EVENT_UPLOADED, /* index: request, edge: its input is there whole */
    EVENT_ACKED,    /* index: request */
    EVENT_BATCH,    /* edge: its step has ended */
    EVENT_ANSWER,   /* index: request */
    EVENT_REFUSED,  /* index: request */
    EVENT_PING,     /* client, edge: arrived there; index: number */
    EVENT_PONG,     /* client, edge, index: number */
    EVENT_WATCH,    /* client: look after the connections */
    EVENT_MADE,     /* index: request, whose picture has the form to be sent */
    EVENT_HELLO,    /* client, edge: the connection is there again */
};
struct event {
    int64_t at_ns;
    uint64_t order;
    enum event_kind kind;
    int client, edge;
    size_t index;
    double wait_ms;          /* of this request, at the edge */
    double run_ms, token_ms; /* what the edge says of itself */
    double load_ms, bytes;
    int64_t sent_ns; /* tells a sending from one before, a connection from the next */
    uint64_t epoch;
};
struct link {
    struct pipe up, down;
    struct estimate_link estimate;
    bool up_now;
    int64_t heard_ns, pinged_ns, redial_ns;
    int64_t ping_sent_ns[PINGS];
    size_t ping_next;
    double run_ms, token_ms; /* and its time for a picture, and for a token */
    size_t flows[FLOWS_MAX];
    size_t flow_count;
    double in_link_bytes; /* put in and not out at its front yet */
    uint64_t epoch;       /* of the connection */
};
struct client {
    struct link links[SIM_EDGES_MAX];
    struct estimate_local pictures;
    struct estimate_text text;
    struct estimate_edge edges[SIM_TASKS][SIM_EDGES_MAX];
    struct confidence confidence[SIM_TASKS];
    struct upload_state upload;
    size_t queue[FLOWS_MAX]; /* of the local runner */
    size_t queue_count;
    bool stepping;
    size_t stepped;
    double step_ms;
    int64_t step_began_ns;
    size_t open[FLOWS_MAX]; /* requests that may not have ended */
    size_t open_count;
    double probe_bytes;
    struct check_purse checks[SIM_TASKS];
    /* what single policies keep */
    double edge_window_ms[SWITCH_WINDOW], local_window_ms[SWITCH_WINDOW];
    size_t edge_windowed, local_windowed;
    bool on_edge;
    int64_t probed_ns;
    double price_sum;
    size_t price_count;
};
struct edge {
    size_t *queue; /* requests that wait, [requests] */
    size_t count;
    size_t batch[EDGE_BATCH];
    size_t batch_count;
    double queued_ms;
    int64_t step_ends_ns;
    double picture_ms, token_ms; /* moving means, what it says of itself */
};
struct run;
struct policy {
    const char *name;
    /* Fills request->plan and request->edge. */
    void (*choose)(struct run *run, struct request *request);
    bool cascade_threshold; /* takes run->threshold */
    bool probes;            /* measures the rate of a link that is new */
};
struct run {
    const struct scene *scene;
    const struct policy *policy;
    const struct pairs *pairs;
    double threshold, random_rate;
    bool as_they_came; /* informed sends no picture smaller */
    size_t client_count;
    uint64_t seed;
    struct random_source random;
    int64_t now_ns, length_ns;
    struct request *requests;
    size_t count;
    struct client *clients;
    struct edge edges[SIM_EDGES_MAX];
    struct event *heap;
    size_t heap_count, heap_size;
    uint64_t order;
    bool failed; /* no memory */
};
int run_make(struct run *run); /* the members up to seed are the caller's; 0 or TANDEM_ENOMEM */
void run_go(struct run *run);
void run_fini(struct run *run);

void event_add(struct run *run, const struct event *event);
bool event_take(struct run *run, struct event *ret_event);

/* run_request.c */
void request_event(struct run *run, struct request *request, const struct job_event_data *event);
void on_arrive(struct run *run, const struct event *event);
void on_timer(struct run *run, const struct event *event);
/* run_local.c */
void local_start(struct run *run, struct request *request);
void local_cancel(struct run *run, struct request *request);
void on_step(struct run *run, const struct event *event);
/* What `than` would wait for here, from what is estimated or from what will be. */
double local_queue_ms(const struct run *run, const struct request *than, bool truth);
/* What a run of this request is estimated to take here. */
struct estimate_task local_estimate(const struct client *client, const struct request *request);
/* What the edge says of its own speed, for this request; 0: nothing. */
double edge_hint_ms(const struct client *client, const struct link *link,
                    const struct request *request);
/* What a run teaches; `answered`: also how long answers are. */
void local_learn(struct client *client, const struct request *request, bool answered);
/* Which requests would have been in time had they all been run here alone, by the same clock. */
int alone_replay(struct run *run);
/* forms.c: the forms that the picture may be sent in to this edge (the latencies are the caller's);
 * the one that was chosen (one as it came changes nothing); whether it is being made now, then
 * edge_send follows. */
void forms_fill(const struct run *run, const struct request *request, size_t edge,
                struct decide_edge *ret_edge);
void form_take(const struct run *run, struct request *request, const struct upload_form *form);
/* The same of forms by their number in `pairs`, for who knows all of them; what making one takes.
 */
void form_take_number(const struct run *run, struct request *request, size_t form);
double form_made_ms(const struct pairs *pairs, size_t form);
bool form_begin(struct run *run, struct request *request);
void on_made(struct run *run, const struct event *event);
/* run_link.c */
void edge_send(struct run *run, struct request *request);
void edge_cancel(struct run *run, struct request *request);
void on_pull(struct run *run, const struct event *event);
void on_acked(struct run *run, const struct event *event);
void on_ping(struct run *run, const struct event *event);
void on_pong(struct run *run, const struct event *event);
void on_watch(struct run *run, const struct event *event);
void on_hello(struct run *run, const struct event *event);
/* Measures the rate of a link that nothing was sent on of late. */
void link_probe(struct run *run, int client, int edge);
bool link_silent(const struct run *run, const struct link *link);
/* run_edge.c */
void on_uploaded(struct run *run, const struct event *event);
void on_batch(struct run *run, const struct event *event);
void on_answer(struct run *run, const struct event *event);
void on_refused(struct run *run, const struct event *event);
double edge_wait_ms(const struct run *run, size_t edge);

/* policies.c; the last has no name. */
extern const struct policy policies[];
const struct policy *policy_find(const char *name);
/* Whether this request, as it arrives, would go to an edge with perfect knowledge. */
bool informed_would_ask(struct run *run, const struct request *request);
/* tandem.c: filled by client/policy/decide_fill.h, as client/daemon/request_decide.c does. */
void tandem_choose(struct run *run, struct request *request);
#endif
