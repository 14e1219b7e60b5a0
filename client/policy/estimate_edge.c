#include "client/policy/estimate_edge.h"

#include <math.h>

#define ALPHA 0.2
#define WINDOW 64
#define BANDWIDTH_BYTES_MIN 4096 /* less is dominated by the round trip */

void estimate_link_init(struct estimate_link *link)
{
    ewma_init(&link->rtt_ms, ALPHA);
    ewma_init(&link->up_bytes_per_ms, ALPHA);
    quantile_window_init(&link->rtt_window, WINDOW);
    link->rtt_at_ns = 0;
}

void estimate_link_rtt(struct estimate_link *link, double rtt_ms, int64_t now_ns)
{
    ewma_add(&link->rtt_ms, rtt_ms);
    quantile_window_add(&link->rtt_window, rtt_ms);
    link->rtt_at_ns = now_ns;
}

void estimate_link_acked(struct estimate_link *link, uint64_t bytes, double elapsed_ms)
{
    if (bytes >= BANDWIDTH_BYTES_MIN && elapsed_ms > 0) {
        ewma_add(&link->up_bytes_per_ms, (double)bytes / elapsed_ms);
    }
}

void estimate_edge_init(struct estimate_edge *edge)
{
    ewma_init(&edge->run, ALPHA);
    ewma_init(&edge->other, ALPHA);
    quantile_window_init(&edge->window, WINDOW);
}

void estimate_edge_add(struct estimate_edge *edge, double run_ms, double other_ms)
{
    ewma_add(&edge->run, run_ms);
    ewma_add(&edge->other, fmax(other_ms, 0));
    quantile_window_add(&edge->window, run_ms + fmax(other_ms, 0));
}

bool estimate_edge_get(const struct estimate_edge *edge, const struct estimate_link *link, uint64_t up_bytes, double wait_ms,
                       double run_hint_ms, struct latency *ret_latency)
{
    double link_ms, link_p95_ms, up_ms = 0;

    if (link->rtt_ms.count == 0 || (edge->run.count == 0 && run_hint_ms <= 0)) {
        return false;
    }
    link_ms = link->rtt_ms.mean;
    link_p95_ms = fmax(quantile_window_get(&link->rtt_window, 0.95), link_ms + 2 * link->rtt_ms.deviation);
    if (link->up_bytes_per_ms.count > 0 && link->up_bytes_per_ms.mean > 0) {
        up_ms = (double)up_bytes / link->up_bytes_per_ms.mean;
    }
    if (edge->run.count == 0) {
        ret_latency->mean_ms = up_ms + link_ms + wait_ms + run_hint_ms;
        ret_latency->p95_ms = up_ms + link_p95_ms + 2 * wait_ms + 2 * run_hint_ms;
        return true;
    }
    ret_latency->mean_ms = up_ms + link_ms + wait_ms + edge->run.mean + edge->other.mean;
    ret_latency->p95_ms = up_ms + link_p95_ms + 2 * wait_ms +
                          fmax(quantile_window_get(&edge->window, 0.95), edge->run.mean + edge->other.mean);
    return true;
}
