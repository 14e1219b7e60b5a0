/* estimate_local.h: how long this device takes for one task whose requests are all alike, pictures.
 * A text's time depends on its length: estimate_text.h. Pure state, loop thread; times in ms. */
#ifndef TANDEM_POLICY_ESTIMATE_LOCAL_H
#define TANDEM_POLICY_ESTIMATE_LOCAL_H

#include "common/base/stats.h"

#include <stdbool.h>

struct latency {
    double mean_ms, p95_ms;
};
struct estimate_local {
    struct ewma run;               /* ms a request */
    struct quantile_window window; /* the same, for the tail */
};
void estimate_local_init(struct estimate_local *estimate);
void estimate_local_add(struct estimate_local *estimate, double run_ms);
/* Run time with `wait_ms` of queue before it. False, nothing written, before the first sample. */
bool estimate_local_get(const struct estimate_local *estimate, double wait_ms,
                        struct latency *ret_latency);
/* What lies between the moment an insured run is due to start and its answer with the caller, at
 * most: the timer that starts it is late by up to LIMIT_TIMER_US, the run takes up to half as much
 * again as `worst_ms`, and the answer is handed over within LIMIT_HANDOVER_US. */
double estimate_bound_ms(double worst_ms);
/* The same for a run as slow as the worst of the window. NAN before the first sample. */
double estimate_local_bound_ms(const struct estimate_local *estimate);

#endif
