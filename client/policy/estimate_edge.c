#include "client/policy/estimate_edge.h"

#include "common/base/clock.h"

#include <math.h>
#include <string.h>

#define BANDWIDTH_BYTES_MIN  4096 /* less is dominated by the round trip */
#define STALL_FACTOR         4
#define STALL_SLACK_MS       150 /* a busy peer may take a breath */
#define OVERDUE_HALF_LIFE_NS (5 * NS_PER_S)
#define OVERDUE_FACTOR       2  /* what was waited for in vain is believed to take twice as long */
#define OVERDUE_MAX          30 /* more say nothing more */
#define BEST_AGE_NS          (60 * NS_PER_S)
#define BEST_SAMPLES         8 /* fewer answers do not refute what the edge says of itself */
#define RETRY_FIRST_NS       (500 * NS_PER_MS)
#define RETRY_DOUBLINGS      6 /* at most every 32 s */

void estimate_link_init(struct estimate_link *link)
{
    memset(link, 0, sizeof(*link));
}

double estimate_link_stall_ms(const struct estimate_link *link, int64_t now_ns)
{
    const double p95 = estimate_samples_quantile(&link->rtt_ms, 0.95, NAN, now_ns);

    return STALL_SLACK_MS + (isnan(p95) ? 0 : STALL_FACTOR * p95);
}

bool estimate_link_rtt(struct estimate_link *link, double rtt_ms, int64_t now_ns)
{
    const int64_t sent_ns = now_ns - (int64_t)(rtt_ms * (double)NS_PER_MS);

    if (link->rtt_ms.count > 0 && rtt_ms > estimate_link_stall_ms(link, now_ns)) {
        if (sent_ns < link->recovered_ns) {
            return false; /* it waited through the silence that has just ended */
        }
        if (!link->outlier) {
            link->outlier = true;
            link->recovered_ns = now_ns;
            return true;
        }
    }
    link->outlier = false;
    estimate_samples_add(&link->rtt_ms, rtt_ms, now_ns);
    return false;
}

void estimate_link_acked(struct estimate_link *link, uint64_t bytes, double elapsed_ms,
                         int64_t now_ns)
{
    if (bytes >= BANDWIDTH_BYTES_MIN && elapsed_ms > 0) {
        estimate_samples_add(&link->up_bytes_per_ms, (double)bytes / elapsed_ms, now_ns);
    }
}

static double up_ms_of(double up_bytes, double bytes_per_ms)
{
    return bytes_per_ms > 0 ? up_bytes / bytes_per_ms : 0; /* NAN: not measured yet */
}

double estimate_link_ms(const struct estimate_link *link, uint64_t up_bytes, int64_t now_ns)
{
    return up_ms_of((double)up_bytes, estimate_samples_mean(&link->up_bytes_per_ms, NAN, now_ns)) +
           estimate_samples_mean(&link->rtt_ms, NAN, now_ns);
}

void estimate_edge_init(struct estimate_edge *edge)
{
    memset(edge, 0, sizeof(*edge));
}

void estimate_edge_sent(struct estimate_edge *edge, int64_t now_ns)
{
    edge->sent_ns = now_ns;
}

void estimate_edge_add(struct estimate_edge *edge, double total_ms, double wait_ms, double link_ms,
                       int64_t now_ns)
{
    const double rest_ms = total_ms - wait_ms - (isnan(link_ms) ? 0 : link_ms);

    edge->overdue = 0;
    edge->overdue_ms = 0;
    estimate_samples_add(&edge->rest, fmax(rest_ms, 0), now_ns);
}

/* Whether the link was silent and came back since the last overdue request was sent. */
static bool overdue_is_over(const struct estimate_edge *edge, const struct estimate_link *link)
{
    return link->recovered_ns >= edge->overdue_sent_ns;
}

void estimate_edge_overdue(struct estimate_edge *edge, const struct estimate_link *link,
                           double waited_ms, int64_t now_ns)
{
    const int64_t sent_ns = now_ns - (int64_t)(waited_ms * (double)NS_PER_MS);

    if (link->recovered_ns > sent_ns) {
        return;
    }
    if (overdue_is_over(edge, link)) {
        edge->overdue = 0;
        edge->overdue_ms = 0;
    }
    edge->overdue += edge->overdue < OVERDUE_MAX;
    edge->overdue_ms = fmax(edge->overdue_ms, waited_ms);
    edge->overdue_ns = now_ns;
    edge->overdue_sent_ns = sent_ns;
}

/* How sure it is that this edge is stuck: half after one miss, three quarters after two; halved
 * every few seconds. */
static double stuck_probability(const struct estimate_edge *edge, const struct estimate_link *link,
                                int64_t now_ns)
{
    const double age_ns = fmax((double)(now_ns - edge->overdue_ns), 0);

    if (edge->overdue == 0 || overdue_is_over(edge, link)) {
        return 0;
    }
    return (1 - exp2(-(double)edge->overdue)) * exp2(-age_ns / (double)OVERDUE_HALF_LIFE_NS);
}

bool estimate_edge_get(const struct estimate_edge *edge, const struct estimate_link *link,
                       uint64_t up_bytes, double wait_ms, double run_hint_ms, int64_t now_ns,
                       struct latency *ret_latency)
{
    const double hint_ms = run_hint_ms > 0 ? run_hint_ms : NAN;
    const double link_ms = estimate_link_ms(link, up_bytes, now_ns);
    const double rest_ms = estimate_samples_mean(&edge->rest, hint_ms, now_ns);
    const double stuck = stuck_probability(edge, link, now_ns);
    const double stuck_ms = OVERDUE_FACTOR * edge->overdue_ms;
    double tail_ms;

    if (isnan(link_ms) || isnan(rest_ms)) {
        return false;
    }
    tail_ms = estimate_samples_quantile(&link->rtt_ms, 0.95, NAN, now_ns) -
              estimate_samples_mean(&link->rtt_ms, NAN, now_ns) + wait_ms +
              estimate_samples_quantile(&edge->rest, 0.95, 2 * hint_ms, now_ns) - rest_ms;
    ret_latency->mean_ms = link_ms + wait_ms + rest_ms;
    ret_latency->p95_ms = ret_latency->mean_ms + fmax(tail_ms, 0);
    ret_latency->mean_ms += stuck * fmax(stuck_ms - ret_latency->mean_ms, 0);
    if (stuck > 0.05) {
        ret_latency->p95_ms = fmax(ret_latency->p95_ms, 2 * stuck_ms);
    }
    ret_latency->p95_ms = fmax(ret_latency->p95_ms, ret_latency->mean_ms);
    return true;
}

double estimate_edge_best_ms(const struct estimate_edge *edge, const struct estimate_link *link,
                             uint64_t up_bytes, double run_hint_ms, int64_t now_ns)
{
    const int64_t since_ns = now_ns - BEST_AGE_NS;
    size_t fresh;
    double rest_ms = estimate_samples_least(&edge->rest, since_ns, &fresh);

    if (fresh < BEST_SAMPLES && run_hint_ms > 0) {
        rest_ms = fmin(rest_ms, run_hint_ms);
    }
    return estimate_samples_least(&link->rtt_ms, INT64_MIN, &fresh) + rest_ms +
           up_ms_of((double)up_bytes, estimate_samples_most(&link->up_bytes_per_ms));
}

bool estimate_edge_retry_due(const struct estimate_edge *edge, int64_t now_ns)
{
    const unsigned doublings = edge->overdue < RETRY_DOUBLINGS ? edge->overdue : RETRY_DOUBLINGS;

    return edge->sent_ns == 0 || now_ns - edge->sent_ns >= RETRY_FIRST_NS << doublings;
}
