/* decide_fill.h: what decide() is told of this device and of an edge, from what is estimated of
 * them. Pure; the daemon and the simulator fill by it, and add what only they know. */
#ifndef TANDEM_POLICY_DECIDE_FILL_H
#define TANDEM_POLICY_DECIDE_FILL_H

#include "client/policy/decide.h"
#include "client/policy/estimate_task.h"

/* How long a local run takes, behind `wait_ms` of others. `late_ms`: how late the timers of this
 * device are, over what an idle loop may be. */
void decide_fill_local(const struct estimate_task *task, double wait_ms, double late_ms,
                       struct decide_input *input);

struct edge_estimates {
    const struct estimate_edge *edge;
    const struct estimate_link *link;
    double hint_ms; /* what the edge says of its own speed; not positive: nothing yet, */
    double here_ms; /* then it is believed to be as fast as this device; 0: not known either */
};
/* How long `up_bytes` take to it and its answer back, and each of the forms that it has already
 * (with the time to make it); how likely it fails, and whether it is due for another try. */
void decide_fill_edge(const struct edge_estimates *estimates, uint64_t up_bytes, int64_t now_ns,
                      struct decide_edge *edge);

/* What forms of a picture are weighed by on this link, which lets `most_bytes_per_ms` through
 * (INFINITY: no cap). What the edge's model looks at is the caller's. */
struct upload_terms decide_fill_terms(const struct decide_weights *weights,
                                      const struct decide_energy *energy,
                                      const struct estimate_link *link, double most_bytes_per_ms,
                                      int64_t now_ns);

#endif
