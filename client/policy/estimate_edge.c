#include "client/policy/estimate_edge.h"

#include "common/base/clock.h"

#include <math.h>
#include <string.h>

#define BANDWIDTH_BYTES     4096 /* that many measure it in any case, less where the link is thin */
#define BANDWIDTH_BYTES_MIN 256
#define BANDWIDTH_RTT_SHARE 0.35 /* what takes less than this of a round trip is lost in it */
#define PROBE_MS            2.0
#define TRANSFER_SHARE_MIN                                                                         \
    0.1 /* of the time to an acknowledgement, whatever the round trip says                         \
         */
#define RATE_UNKNOWN      1250.0 /* bytes/ms: 10 Mbit/s */
#define RATE_PRIOR        1.0    /* standard deviations of logarithms, where little was measured */
#define RTT_AGE_NS        (60 * NS_PER_S)
#define RTT_PRIOR         0.3
#define REST_PRIOR        0.5
#define REST_GRAIN_MS     1.0              /* no rest is so small that a part of this matters */
#define LOAD_HALF_LIFE_NS (50 * NS_PER_MS) /* queues of short requests change as fast */
#define TAIL_STEP         0.5 /* of the logarithm of the spread, for one that was over it, */
#define TAIL_STEP_FIRST                                                                            \
    1.5 /* and for the first: later ones less, with the root of their number                       \
         */
#define TAIL_LOG_FIRST       0.4 /* few samples show less than there is */
#define TAIL_LOG_MAX         3.0
#define TAIL_SHARE_MIN       0.02 /* of the mean: no spread is smaller */
#define STALL_FACTOR         4
#define STALL_SLACK_MS       150 /* a busy peer may take a breath */
#define OVERDUE_HALF_LIFE_NS (5 * NS_PER_S)
#define OVERDUE_FACTOR       2  /* what was waited for in vain is believed to take twice as long */
#define OVERDUE_MAX          30 /* more say nothing more */
#define FAILED_HALF_LIFE_NS                                                                        \
    (2 * NS_PER_S) /* a link that was gone comes back as soon as it likes                          \
                    */
#define BEST_AGE_NS     (60 * NS_PER_S)
#define BEST_SAMPLES    8 /* fewer answers do not refute what the edge says of itself */
#define PROBE_AGE_NS    (400 * NS_PER_MS)
#define RETRY_FIRST_NS  (500 * NS_PER_MS)
#define RETRY_DOUBLINGS 3 /* at most every 4 s */

void estimate_link_init(struct estimate_link *link)
{
    memset(link, 0, sizeof(*link));
}

double estimate_link_stall_ms(const struct estimate_link *link, int64_t now_ns)
{
    const double p95 = estimate_samples_quantile(&link->rtt_ms, 0.95, NAN, now_ns);

    return STALL_SLACK_MS + (isnan(p95) ? 0 : STALL_FACTOR * p95);
}

static void rtt_add(struct estimate_link *link, double rtt_ms, int64_t now_ns)
{
    estimate_spread_add(&link->rtt_spread, estimate_samples_geometric(&link->rtt_ms, now_ns),
                        rtt_ms, now_ns);
    estimate_samples_add(&link->rtt_ms, rtt_ms, now_ns);
}

bool estimate_link_rtt(struct estimate_link *link, double rtt_ms, int64_t now_ns)
{
    const int64_t sent_ns = now_ns - (int64_t)(rtt_ms * (double)NS_PER_MS);

    if (rtt_ms > estimate_link_stall_ms(link, now_ns)) {
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
    rtt_add(link, rtt_ms, now_ns);
    return false;
}

void estimate_link_back(struct estimate_link *link, int64_t now_ns)
{
    link->outlier = false;
    link->recovered_ns = now_ns;
}

/* The rate that is expected, in bytes/ms. */
static double rate_usual(const struct estimate_link *link, int64_t now_ns)
{
    return link->up_bytes_per_ms.count > 0
               ? estimate_samples_geometric(&link->up_bytes_per_ms, now_ns)
               : RATE_UNKNOWN;
}

double estimate_link_ms(const struct estimate_link *link, uint64_t up_bytes, int64_t now_ns)
{
    return (double)up_bytes / rate_usual(link, now_ns) +
           estimate_samples_geometric(&link->rtt_ms, now_ns);
}

/* A transfer that took far longer than usual has sat through a silence and is no measure of the
 * rate, unless the next one, which began after it, takes as long. */
static bool transfer_is_outlier(struct estimate_link *link, uint64_t bytes, double piece_ms,
                                int64_t now_ns)
{
    const int64_t began_ns = now_ns - (int64_t)(piece_ms * (double)NS_PER_MS);
    const double usual_ms = estimate_link_ms(link, bytes, now_ns);

    if (link->up_bytes_per_ms.count == 0 || isnan(usual_ms) ||
        piece_ms <= STALL_SLACK_MS + STALL_FACTOR * usual_ms) {
        link->slow_ns = 0;
        return false;
    }
    if (began_ns < link->recovered_ns || link->slow_ns == 0 || began_ns < link->slow_ns) {
        link->slow_ns = link->slow_ns == 0 ? now_ns : link->slow_ns;
        return true;
    }
    return false;
}

/* The first that is far off widens the spread: the second is judged by what was believed before it.
 */
static void rate_add(struct estimate_link *link, double bytes_per_ms, int64_t now_ns)
{
    const double usual = estimate_samples_geometric(&link->up_bytes_per_ms, now_ns);
    const double factor = estimate_spread_factor(&link->up_spread, RATE_PRIOR, now_ns);
    int side;

    if (link->rate_side == 0) {
        link->rate_low = usual / factor;
        link->rate_high = usual * factor;
    }
    side = bytes_per_ms < link->rate_low ? -1 : bytes_per_ms > link->rate_high ? 1 : 0;
    if (side != 0 && side == link->rate_side) {
        estimate_samples_keep(&link->up_bytes_per_ms, 1);
        side = 0;
    }
    link->rate_side = side;
    estimate_spread_add(&link->up_spread, bytes_per_ms, usual, now_ns); /* of the time it takes */
    estimate_samples_add(&link->up_bytes_per_ms, bytes_per_ms, now_ns);
}

bool estimate_link_measured_by(const struct estimate_link *link, uint64_t bytes, int64_t now_ns)
{
    return bytes >= BANDWIDTH_BYTES ||
           (bytes >= BANDWIDTH_BYTES_MIN && link->up_bytes_per_ms.count > 0 &&
            (double)bytes >= BANDWIDTH_RTT_SHARE *
                                 estimate_samples_geometric(&link->rtt_ms, now_ns) *
                                 rate_usual(link, now_ns));
}

void estimate_link_acked(struct estimate_link *link, uint64_t bytes, double elapsed_ms,
                         int64_t now_ns)
{
    const double since_ms = (double)(now_ns - link->acked_ns) / (double)NS_PER_MS;
    const double rtt_ms =
        link->rtt_ms.count > 0 ? estimate_samples_geometric(&link->rtt_ms, now_ns) : 0;
    const bool busy = link->acked_ns != 0 && since_ms < elapsed_ms - rtt_ms;
    const double piece_ms = busy ? since_ms : elapsed_ms;
    const double took_ms = busy ? since_ms : elapsed_ms - rtt_ms;
    const double least_ms = TRANSFER_SHARE_MIN * (busy ? fmin(rtt_ms, elapsed_ms) : elapsed_ms);

    if (!estimate_link_measured_by(link, bytes, now_ns) || !(elapsed_ms > 0)) {
        return;
    }
    link->acked_ns = now_ns;
    if (link->rtt_ms.count > 0 && elapsed_ms < rtt_ms) {
        rtt_add(link, elapsed_ms, now_ns); /* it is not longer than that */
    }
    if (!transfer_is_outlier(link, bytes, piece_ms, now_ns)) {
        rate_add(link, (double)bytes / fmax(took_ms, least_ms), now_ns);
    }
}

void estimate_link_probed(struct estimate_link *link, uint64_t bytes, double rtt_ms, int64_t now_ns)
{
    estimate_link_acked(link, bytes, rtt_ms, now_ns);
}

uint64_t estimate_link_probe_bytes(const struct estimate_link *link, uint64_t most, int64_t now_ns)
{
    const double rtt_ms =
        link->rtt_ms.count > 0 ? estimate_samples_geometric(&link->rtt_ms, now_ns) : 0;
    const double bytes =
        ceil(fmax(PROBE_MS, BANDWIDTH_RTT_SHARE * rtt_ms) * rate_usual(link, now_ns));
    const uint64_t enough = (uint64_t)fmin(fmax(bytes, BANDWIDTH_BYTES_MIN), (double)UINT32_MAX);

    return enough < most ? enough : most;
}

bool estimate_link_probe_due(const struct estimate_link *link, int64_t now_ns)
{
    return link->rtt_ms.count > 0 && now_ns - link->acked_ns >= PROBE_AGE_NS;
}

void estimate_link_load(struct estimate_link *link, double wait_ms, int64_t now_ns)
{
    link->reported_wait_ms = wait_ms;
    link->reported_ns = now_ns;
}

void estimate_link_waited(struct estimate_link *link, double wait_ms, int64_t now_ns)
{
    estimate_samples_add(&link->wait_ms, wait_ms, now_ns);
}

double estimate_link_wait_ms(const struct estimate_link *link, int64_t now_ns)
{
    const double age_ns = (double)(now_ns - link->reported_ns);
    const double fresh = link->reported_ns == 0 ? 0 : exp2(-age_ns / (double)LOAD_HALF_LIFE_NS);
    const double others_ms = estimate_samples_mean(&link->wait_ms, NAN, now_ns);

    return isnan(others_ms) ? link->reported_wait_ms
                            : fresh * link->reported_wait_ms + (1 - fresh) * others_ms;
}

void estimate_edge_init(struct estimate_edge *edge)
{
    memset(edge, 0, sizeof(*edge));
    edge->tail_log = TAIL_LOG_FIRST;
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
    estimate_samples_add(&edge->failed, 0, now_ns);
    estimate_spread_add(&edge->rest_spread,
                        estimate_samples_mean(&edge->rest, NAN, now_ns) + REST_GRAIN_MS,
                        fmax(rest_ms, 0) + REST_GRAIN_MS, now_ns);
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

/* How far the edge's wait may lie over what is expected of it. */
static double wait_above(const struct estimate_link *link, double wait_ms, int64_t now_ns)
{
    return link->wait_ms.count == 0
               ? wait_ms
               : fmax(estimate_samples_quantile(&link->wait_ms, 0.95, NAN, now_ns) -
                          estimate_samples_mean(&link->wait_ms, NAN, now_ns),
                      0);
}

/* How far the round trip may lie over the usual one. Most of them are alike and a few are long, in
 * which case it is the few that were seen. */
static double rtt_above(const struct estimate_link *link, int64_t now_ns)
{
    const double usual = estimate_samples_geometric(&link->rtt_ms, now_ns);
    const double high = estimate_samples_high(&link->rtt_ms, 0.95, now_ns - RTT_AGE_NS);

    return fmax(usual * (estimate_spread_factor(&link->rtt_spread, RTT_PRIOR, now_ns) - 1),
                high - usual); /* fmax passes over NAN */
}

/* How far the 95 % point lies over the mean: the parts vary by themselves, so their squares add. */
static double tail_of(const struct estimate_edge *edge, const struct estimate_link *link,
                      uint64_t up_bytes, double wait_ms, double hint_ms, int64_t now_ns)
{
    const double up = (double)up_bytes / rate_usual(link, now_ns) *
                      (estimate_spread_factor(&link->up_spread, RATE_PRIOR, now_ns) - 1);
    const double rtt = rtt_above(link, now_ns);
    const double wait = wait_above(link, wait_ms, now_ns);
    const double rest = (estimate_samples_mean(&edge->rest, hint_ms, now_ns) + REST_GRAIN_MS) *
                        (estimate_spread_factor(&edge->rest_spread, REST_PRIOR, now_ns) - 1);

    return sqrt(up * up + rtt * rtt + wait * wait + rest * rest);
}

void estimate_edge_failed(struct estimate_edge *edge, double waited_ms, int64_t now_ns)
{
    edge->failed_sent_ns = now_ns - (int64_t)(waited_ms * (double)NS_PER_MS);
    estimate_samples_add(&edge->failed, 1, now_ns);
}

double estimate_edge_failure(const struct estimate_edge *edge, const struct estimate_link *link,
                             int64_t now_ns)
{
    const double age_ns = (double)(now_ns - estimate_samples_newest_ns(&edge->failed));

    if (link->recovered_ns >= edge->failed_sent_ns) {
        return 0;
    }
    return estimate_samples_mean(&edge->failed, 0, now_ns) *
           exp2(-age_ns / (double)FAILED_HALF_LIFE_NS);
}

void estimate_edge_check(struct estimate_edge *edge, const struct latency *predicted,
                         double total_ms)
{
    const double step = fmax(TAIL_STEP, TAIL_STEP_FIRST / sqrt((double)edge->rest.count + 1));

    edge->tail_log += total_ms > predicted->p95_ms ? step : -step / 19;
    edge->tail_log = fmin(fmax(edge->tail_log, -TAIL_LOG_MAX), TAIL_LOG_MAX);
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
    tail_ms = tail_of(edge, link, up_bytes, wait_ms, hint_ms, now_ns);
    ret_latency->mean_ms = link_ms + wait_ms + rest_ms;
    ret_latency->p95_ms =
        ret_latency->mean_ms +
        fmax(tail_ms, TAIL_SHARE_MIN * ret_latency->mean_ms) * exp(edge->tail_log);
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
    return estimate_link_ms(link, up_bytes, now_ns) + rest_ms;
}

void estimate_edge_hoped(struct estimate_edge *edge, int64_t now_ns)
{
    edge->hopes += edge->hopes < RETRY_DOUBLINGS;
    edge->hoped_ns = now_ns;
}

void estimate_edge_hope_came_true(struct estimate_edge *edge)
{
    edge->hopes = 0;
}

bool estimate_edge_retry_due(const struct estimate_edge *edge, int64_t now_ns)
{
    const unsigned vain = edge->overdue > edge->hopes ? edge->overdue : edge->hopes;
    const unsigned doublings = vain < RETRY_DOUBLINGS ? vain : RETRY_DOUBLINGS;
    const int64_t asked_ns = edge->hopes > edge->overdue ? edge->hoped_ns : edge->sent_ns;

    return edge->sent_ns == 0 || now_ns - asked_ns >= RETRY_FIRST_NS << doublings;
}
