/* shadows.h: the shadow runs of this daemon (client/policy/shadow.h). A shadow takes over the input
 * and the answer of a request that is being freed; it has no part in any other request's life. Here
 * it runs behind everything that the runner has, begins only while no request has or awaits a local
 * run, and a picture is stopped when one comes. An edge is sent it only while no request is there,
 * and not to the end when one comes. It teaches the estimates and the agreement; what it measured
 * is added to the decision. Loop thread. */
#ifndef TANDEM_CLIENT_SHADOWS_H
#define TANDEM_CLIENT_SHADOWS_H

#include "client/policy/shadow.h"
#include "common/wire/edge_msg.h"

struct request;
struct requests;
struct runner_job;
struct shadow;
struct shadow_counts {
    uint64_t local, edge;              /* sides that ran to their end, with an answer or an error */
    uint64_t dropped[SHADOW_VERDICTS]; /* sides, by reason */
    double bytes_up, run_ms;           /* what they took */
};
struct shadows {
    struct shadow *list; /* the oldest first */
    size_t count;
    uint64_t held_bytes;
    bool stopped;
    struct shadow_counts counts;
};

/* A request has ended: whether it will have a shadow; `by` answered it, JOB_SIDES: nobody. */
void shadow_choose(struct request *request, enum job_side by);
/* It is being freed: its shadow takes what it needs of it. */
void shadow_begin(struct request *request);
/* Something has ended: what waits may begin. */
void shadows_look(struct requests *all);
/* A request is about to run here, or to be sent to this edge. */
void shadows_make_way_here(struct requests *all);
void shadows_make_way_there(struct requests *all, size_t edge);
/* The local runs that are with the runner, for requests_insured: written behind `count`. */
size_t shadows_insured(const struct requests *all, struct decide_insured *insured, size_t count,
                       size_t max);

/* What the runner and the links say of runs that are a shadow's. False: it is none. */
bool shadow_local_done(struct requests *all, struct runner_job *job);
bool shadow_edge_result(struct requests *all, size_t edge, uint64_t id, struct edge_result *result);
bool shadow_edge_error(struct requests *all, size_t edge, uint64_t id, int error);
void shadow_edge_acked(struct requests *all, size_t edge, uint64_t id);
void shadows_edge_gone(struct requests *all, size_t edge);

/* No new ones; those that run are given up. */
void shadows_stop(struct requests *all);
/* After the runner and the loop have ended. */
void shadows_free(struct requests *all);

#endif
