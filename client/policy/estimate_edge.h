/* estimate_edge.h: how long an edge takes: its link (round trip, bandwidth up) and, per task, what
 * is left of an answer's time. Pure state, loop thread; the time of day enters as an argument.
 *
 * Three things keep it honest. Samples age towards the prior, which is what the edge says of
 * itself. An answer that did not come in time is a sample too (it took at least so long): such
 * misses in a row mean an edge that is stuck, and it is believed to stay so until an answer comes,
 * the link was silent and speaks again, or some seconds have passed. And an edge that is not chosen
 * is due for another try now and then, because nothing else would tell that it got better. */
#ifndef TANDEM_POLICY_ESTIMATE_EDGE_H
#define TANDEM_POLICY_ESTIMATE_EDGE_H

#include "client/policy/estimate_local.h"
#include "client/policy/estimate_samples.h"
#include "client/policy/estimate_spread.h"

struct estimate_link {
    struct estimate_samples rtt_ms;
    struct estimate_samples up_bytes_per_ms;
    struct estimate_spread rtt_spread, up_spread;
    struct estimate_samples wait_ms; /* that requests had in the edge's queue */
    double reported_wait_ms;         /* the edge's last word on its queue, */
    int64_t reported_ns;             /* and when it came; 0: none */
    int64_t slow_ns;                 /* the end of a transfer that waits for a second opinion; 0 */
    int64_t acked_ns;                /* the last acknowledgement */
    int rate_side; /* the last rate was far over (1) or under (-1) what was expected; 0: neither, */
    double rate_low, rate_high; /* and the band in which it would not have been */
    bool outlier;         /* the last round trip was far too long and waits for a second opinion */
    int64_t recovered_ns; /* when the link spoke again after a silence; 0: never was silent */
};
struct estimate_edge {
    struct estimate_samples rest; /* ms that the link and the edge's queue do not explain */
    struct estimate_spread rest_spread;
    struct estimate_samples failed; /* 1: it was given up after its 95 % point; 0: it answered */
    int64_t failed_sent_ns;         /* when the last that was given up had been sent */
    unsigned overdue;               /* answers in a row that did not come in time */
    double overdue_ms;              /* the longest that one of them was waited for */
    int64_t overdue_ns;             /* when the last one was given up */
    int64_t overdue_sent_ns;        /* when that one had been sent */
    int64_t sent_ns;                /* the last request; 0: none */
    unsigned hopes;                 /* in a row that it was asked in the hope of better, in vain */
    int64_t hoped_ns;               /* when, the last time */
    double tail_log;                /* how much wider than thought the spread is, see _check */
};
void estimate_link_init(struct estimate_link *link);
/* A round trip that ended now. One that is far longer than usual, or long where nothing is known,
 * is the end of a silence and no measure of the link, unless the next one, sent after it, takes as
 * long. True: ask for that one. */
bool estimate_link_rtt(struct estimate_link *link, double rtt_ms, int64_t now_ns);
/* The link speaks again, over a new connection: what was waited for before it did is explained. */
void estimate_link_back(struct estimate_link *link, int64_t now_ns);
/* `bytes` more were acknowledged, `elapsed_ms` after the request they belong to began to leave. The
 * round trip is taken off, or what the link did for others meanwhile, and for the same request
 * before. Two rates in a row that are far off, both to the same side, mean that the link has
 * changed: what was measured before them is forgotten. What takes little against the round trip
 * says nothing about bandwidth and is ignored. */
void estimate_link_acked(struct estimate_link *link, uint64_t bytes, double elapsed_ms,
                         int64_t now_ns);
/* A round trip that carried `bytes` there took `rtt_ms`: a probe of the rate. */
void estimate_link_probed(struct estimate_link *link, uint64_t bytes, double rtt_ms,
                          int64_t now_ns);
/* Whether the acknowledgement of so many bytes would tell the rate: 4 KiB do, and fewer where they
 * take long against the round trip. */
bool estimate_link_measured_by(const struct estimate_link *link, uint64_t bytes, int64_t now_ns);
/* How large a probe is worth sending, at most `most`: what this link takes some milliseconds for.
 * On a thin one a larger one would be in the way of the very requests that it is to help. */
uint64_t estimate_link_probe_bytes(const struct estimate_link *link, uint64_t most, int64_t now_ns);
/* Whether a probe is due: the rate was measured too long ago for the next decision. */
bool estimate_link_probe_due(const struct estimate_link *link, int64_t now_ns);
/* What the edge says of the wait in its queue, and what a request has had there. */
void estimate_link_load(struct estimate_link *link, double wait_ms, int64_t now_ns);
void estimate_link_waited(struct estimate_link *link, double wait_ms, int64_t now_ns);
/* The wait that a request sent now may expect: a word is soon old, then what others had counts. */
double estimate_link_wait_ms(const struct estimate_link *link, int64_t now_ns);
/* A link that owes us a reply and says nothing for longer than this is stalled. */
double estimate_link_stall_ms(const struct estimate_link *link, int64_t now_ns);
/* The link's part of a request: `up_bytes` up and the round trip. NAN before the first round trip;
 * a rate that was not measured yet is believed to be a common one, and known to be a guess. */
double estimate_link_ms(const struct estimate_link *link, uint64_t up_bytes, int64_t now_ns);

void estimate_edge_init(struct estimate_edge *edge);
/* A request went out. */
void estimate_edge_sent(struct estimate_edge *edge, int64_t now_ns);
/* An answer came after `total_ms`, of which `wait_ms` in the edge's queue and `link_ms` on the way:
 * as measured, from its first byte to the acknowledgement of its last, else as estimated. */
void estimate_edge_add(struct estimate_edge *edge, double total_ms, double wait_ms, double link_ms,
                       int64_t now_ns);
/* An answer took `total_ms` where `predicted` was said: the spread grows a little where it was over
 * the 95 % point, and shrinks by a nineteenth of that where it was not, so that in the long run one
 * in twenty is over it, whatever the link does (adaptive conformal inference, Gibbs and Candès,
 * NeurIPS 2021; with larger steps at first, Angelopoulos, Barber and Bates, ICML 2024). */
void estimate_edge_check(struct estimate_edge *edge, const struct latency *predicted,
                         double total_ms);
/* It was given up after its 95 % point; and how likely that is for the next request: not at all
 * where the last one was sent into a silence of the link that is over. */
void estimate_edge_failed(struct estimate_edge *edge, double waited_ms, int64_t now_ns);
double estimate_edge_failure(const struct estimate_edge *edge, const struct estimate_link *link,
                             int64_t now_ns);
/* No answer came within `waited_ms`, and that was too long. Says nothing where a silence of the
 * link explains it and is over. */
void estimate_edge_overdue(struct estimate_edge *edge, const struct estimate_link *link,
                           double waited_ms, int64_t now_ns);
/* up bytes / bandwidth + round trip + `wait_ms` of the edge's queue + the rest. `run_hint_ms` (<=
 * 0: none) is what the edge says of itself: the prior. Without it and without an answer so far:
 * false. */
bool estimate_edge_get(const struct estimate_edge *edge, const struct estimate_link *link,
                       uint64_t up_bytes, double wait_ms, double run_hint_ms, int64_t now_ns,
                       struct latency *ret_latency);
/* The same where the edge itself takes the least that was seen of late, or that it claims unless it
 * was asked often of late: worth a try if this would do. NAN when nothing is known. */
double estimate_edge_best_ms(const struct estimate_edge *edge, const struct estimate_link *link,
                             uint64_t up_bytes, double run_hint_ms, int64_t now_ns);
/* It is asked in the hope of a latency that is not believed; and it had that latency. */
void estimate_edge_hoped(struct estimate_edge *edge, int64_t now_ns);
void estimate_edge_hope_came_true(struct estimate_edge *edge);
/* Whether an edge that is not chosen may be asked again, to learn: at most every half second, more
 * seldom with every miss and every hope in vain. */
bool estimate_edge_retry_due(const struct estimate_edge *edge, int64_t now_ns);

#endif
