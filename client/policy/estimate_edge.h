/* estimate_edge.h: how long an edge takes: its link (round trip, bandwidth up) and, per task, its run time there. Pure state, loop
 * thread; the time of day enters as an argument so that old samples can be told from fresh ones. */
#ifndef TANDEM_POLICY_ESTIMATE_EDGE_H
#define TANDEM_POLICY_ESTIMATE_EDGE_H

#include "client/policy/estimate_local.h"

#include <stdint.h>

struct estimate_link {
    struct ewma rtt_ms;
    struct ewma up_bytes_per_ms;
    struct quantile_window rtt_window;
    int64_t rtt_at_ns; /* of the last sample; 0: none */
};
struct estimate_edge {
    struct ewma run;               /* ms on the edge, without its queue */
    struct ewma other;             /* ms that the link model did not explain */
    struct quantile_window window; /* of run + other */
};
void estimate_link_init(struct estimate_link *link);
void estimate_link_rtt(struct estimate_link *link, double rtt_ms, int64_t now_ns);
/* `bytes` were acknowledged `elapsed_ms` after the first of them left. Small pieces say nothing about bandwidth and are ignored. */
void estimate_link_acked(struct estimate_link *link, uint64_t bytes, double elapsed_ms);

void estimate_edge_init(struct estimate_edge *edge);
void estimate_edge_add(struct estimate_edge *edge, double run_ms, double other_ms);
/* up bytes / bandwidth + round trip + `wait_ms` of the edge's queue + run. `run_hint_ms` (<= 0: none) is what the edge says of itself and
 * stands in before the first answer; without either, false. */
bool estimate_edge_get(const struct estimate_edge *edge, const struct estimate_link *link, uint64_t up_bytes, double wait_ms,
                       double run_hint_ms, struct latency *ret_latency);

#endif
