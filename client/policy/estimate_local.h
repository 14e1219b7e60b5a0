/* estimate_local.h: how long this device takes for one task whose requests are all alike, pictures.
 * A text's time depends on its length: estimate_text.h. Pure state, loop thread; times in ms. */
#ifndef TANDEM_POLICY_ESTIMATE_LOCAL_H
#define TANDEM_POLICY_ESTIMATE_LOCAL_H

#include "common/base/limits.h"
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
/* What lies around a run that starts at a last moment: the timer that starts it is late by up to
 * LIMIT_TIMER_US on an idle loop, and the answer is handed over within LIMIT_HANDOVER_US. */
#define ESTIMATE_MARGIN_MS ((LIMIT_TIMER_US + LIMIT_HANDOVER_US) / 1000.0)
/* The bound of a run's compute: half as much again as the worst that was seen. */
double estimate_bound_ms(double worst_ms);
/* Of one run, by the worst of the last 64; NAN before the first sample. A picture is one step, so
 * this is also how long it can stand in another's way. */
double estimate_local_bound_ms(const struct estimate_local *estimate);

#endif
