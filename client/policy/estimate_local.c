#include "client/policy/estimate_local.h"

#include <math.h>

#define ALPHA        0.2
#define WINDOW       64
#define BOUND_FACTOR 1.5 /* a run may be slower than every one that was seen */

void estimate_local_init(struct estimate_local *estimate)
{
    ewma_init(&estimate->run, ALPHA);
    quantile_window_init(&estimate->window, WINDOW);
}

void estimate_local_add(struct estimate_local *estimate, double run_ms)
{
    ewma_add(&estimate->run, run_ms);
    quantile_window_add(&estimate->window, run_ms);
}

bool estimate_local_get(const struct estimate_local *estimate, double wait_ms,
                        struct latency *ret_latency)
{
    if (estimate->run.count == 0) {
        return false;
    }
    ret_latency->mean_ms = wait_ms + estimate->run.mean;
    ret_latency->p95_ms = wait_ms + fmax(quantile_window_get(&estimate->window, 0.95),
                                         estimate->run.mean + 2 * estimate->run.deviation);
    return true;
}

double estimate_bound_ms(double worst_ms)
{
    return BOUND_FACTOR * worst_ms;
}

double estimate_local_bound_ms(const struct estimate_local *estimate)
{
    if (estimate->run.count == 0) {
        return NAN;
    }
    return estimate_bound_ms(quantile_window_get(&estimate->window, 1.0));
}
