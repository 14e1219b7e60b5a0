/* requests.h: every request of this daemon from submit to its one end: decides, carries out what
 * job.h says, keeps the decisions. Loop thread. */
#ifndef TANDEM_CLIENT_REQUESTS_H
#define TANDEM_CLIENT_REQUESTS_H

#include "client/daemon/app.h"
#include "client/daemon/decision_ids.h"
#include "client/daemon/link.h"
#include "client/daemon/shadows.h"
#include "client/daemon/tasks.h"
#include "client/policy/decision.h"
#include "common/base/random.h"

struct request;
struct result_cache;
struct session;
enum counted_route {
    COUNTED_LOCAL,
    COUNTED_EDGE,
    COUNTED_CASCADE,
    COUNTED_CACHE,
    COUNTED_NONE,
    COUNTED_ROUTES
};
enum counted_end {
    COUNTED_IN_TIME, /* an answer within the deadline, or one without a deadline */
    COUNTED_LATE,    /* an answer after it */
    COUNTED_FAILED,
    COUNTED_CANCELLED,
    COUNTED_ENDS
};
struct counts {
    uint64_t requests, local, edge, cascade_stayed, cascade_went, cache;
    uint64_t late, errors, cancelled, hedges;
    uint64_t ended[COUNTED_ROUTES][COUNTED_ENDS]; /* by the route decided on */
    uint64_t bytes_up, answer_tokens, cached_tokens;
    double wasted_local_ms, wasted_edge_ms; /* of compute whose answer nobody got */
    uint64_t wasted_bytes;
};
struct requests {
    uv_loop_t *loop;
    const struct client_config *config;
    struct tasks *tasks;
    struct links *links; /* set after requests_init */
    struct runner *runner;
    struct budgets *budgets;        /* NULL: none */
    double measured_watt;           /* of computing, over idle; 0: not measured */
    struct budget_hour unpriced_ms; /* of computing, while nobody knew what it takes */
    void (*on_decision)(const struct decision *decision, void *user);
    /* More is known of a decision than when it was handed over: `member` writes it. */
    void (*on_amended)(const struct decision *decision, decision_member_fn *member, void *user);
    void (*on_told)(void *user); /* somebody said what an answer was, and waits until it is kept */
    void (*on_idle)(void *user); /* called whenever no request is left */
    void *user;
    struct request *list;
    size_t live;
    struct decision_ids ids;
    uint64_t next_wire_id;
    struct counts counts;
    uint64_t learned;      /* rises with whatever was learned or forgotten */
    struct decision *ring; /* [LIMIT_DECISION_RING] */
    size_t ring_next, ring_count;
    struct told_answers *told; /* [LIMIT_FEEDBACK_KEPT] of what may still be said */
    size_t told_next, told_count;
    struct session *sessions;
    size_t session_count;
    struct estimate_samples late_ms; /* that timers were, over LIMIT_TIMER_US */
    struct result_cache *results;    /* NULL: nothing is kept */
    struct shadows shadows;
    struct random_source random; /* which requests have a shadow */
};
int requests_init(
    struct requests *requests); /* the members above `list` are the caller's; 0 or TANDEM_E* */
/* Forgets all answers that are kept, and keeps as many as the configuration now says. 0 or
 * TANDEM_ENOMEM (then nothing is kept). */
int requests_results_reset(struct requests *requests);
void requests_fini(struct requests *requests);
extern const struct link_callbacks requests_link_callbacks; /* user: struct requests */
extern const struct app_callbacks requests_app_callbacks;
extern const struct runner_callbacks requests_runner_callbacks;
/* Ends every request with `error` (draining is over). */
void requests_end_all(struct requests *requests);
/* The record of one that has ended, as long as memory has it; NULL. */
struct decision *requests_ring_find(struct requests *requests, uint64_t id);
/* How often answers of edges to this task are believed to be wrong before anybody said so. */
double requests_edge_error(const struct requests *requests, const struct task_config *task);
/* Bytes that asking this edge takes at most, up and down: its answer names every label. */
double requests_edge_bytes(const struct requests *requests, const struct client_task *task,
                           const struct local_submit *submit, size_t edge, double most_tokens,
                           double up_bytes);
/* What its answer takes, as far as that is known: by it energy is foreseen. */
double requests_down_bytes(const struct client_task *task, const struct local_submit *submit,
                           double most_tokens);
/* What this device's battery pays, as far as it is known: measured before configured. */
struct decide_energy requests_energy(const struct requests *requests);
/* A thread here has worked so long for a request: charged now, or once it is known what it took. */
void requests_computed(struct requests *requests, double run_ms);
/* `measured_watt` is known now: charges what was computed before, within the hour. */
void requests_price(struct requests *requests);
/* What decide() says of a request of this task now, whose input has so many bytes and was not
 * answered before. `source`: the picture, its sides 0 for what goes as it came. */
int requests_decide(struct requests *requests, const struct client_task *task,
                    const struct local_submit *submit, const struct upload_source *source,
                    uint64_t input_bytes, int64_t now_ns, struct choice *ret_choice);

#endif
