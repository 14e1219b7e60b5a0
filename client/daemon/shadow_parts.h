/* shadow_parts.h: one shadow, for shadows.c and shadow_runs.c and nobody else. A shadow is freed
 * when none of its sides waits or runs and no thread has it. Loop thread. */
#ifndef TANDEM_CLIENT_SHADOW_PARTS_H
#define TANDEM_CLIENT_SHADOW_PARTS_H

#include "client/daemon/request.h"

enum shadow_state { SHADOW_NOT, SHADOW_WAITING, SHADOW_RUNNING, SHADOW_ENDED };
enum { SHADOW_SIDES = JOB_SIDE_EDGE + 1 };

struct shadow {
    struct shadow *next;
    struct requests *all;
    struct tasks *tasks; /* its own reference */
    struct client_task *task;
    uint64_t id; /* the decision's */
    struct local_submit submit;
    struct app_input input;
    struct request_upload upload;
    struct answer delivered;
    enum job_side by;
    enum shadow_state state[SHADOW_SIDES];
    struct answer answers[SHADOW_SIDES]; /* kind 0: none; `delivered` is not among them */
    struct measured measured[SHADOW_SIDES];
    bool has_measured[SHADOW_SIDES];
    struct runner_job local;
    bool local_out;
    double reserved_j; /* of the hour's, while it runs here */
    size_t edge;
    char edge_digest[33]; /* of the model that gave the edge's answer, here or before */
    uint64_t wire_id;
    int64_t since_ns; /* it waits, or has waited */
    int64_t asked_ns, sent_ns;
    bool unwanted; /* the edge side, once its picture is made */
    double up_ms, bytes_up;
    struct edge_hold hold; /* of the hourly budgets, while the edge is asked */
};

/* shadows.c: one side has ended with what is in `measured`, or was dropped. The shadow may be gone
 * afterwards. */
void shadow_side_end(struct shadow *shadow, enum job_side side);
void shadow_side_drop(struct shadow *shadow, enum job_side side, enum shadow_verdict why);

/* shadow_runs.c */
enum shadow_verdict shadow_local_judge(const struct shadow *shadow);
enum shadow_verdict shadow_edge_judge(const struct shadow *shadow);
void shadow_local_start(struct shadow *shadow);
void shadow_edge_start(struct shadow *shadow);

#endif
