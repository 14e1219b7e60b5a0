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

struct estimate_link {
    struct estimate_samples rtt_ms;
    struct estimate_samples up_bytes_per_ms;
    bool outlier;         /* the last round trip was far too long and waits for a second opinion */
    int64_t recovered_ns; /* when the link spoke again after a silence; 0: never was silent */
};
struct estimate_edge {
    struct estimate_samples rest; /* ms that the link and the edge's queue do not explain */
    unsigned overdue;             /* answers in a row that did not come in time */
    double overdue_ms;            /* the longest that one of them was waited for */
    int64_t overdue_ns;           /* when the last one was given up */
    int64_t overdue_sent_ns;      /* when that one had been sent */
    int64_t sent_ns;              /* the last request; 0: none */
};
void estimate_link_init(struct estimate_link *link);
/* A round trip that ended now. One that is far longer than usual is the end of a silence and no
 * measure of the link, unless the next one, sent after it, takes as long. True: ask for that one.
 */
bool estimate_link_rtt(struct estimate_link *link, double rtt_ms, int64_t now_ns);
/* `bytes` were acknowledged `elapsed_ms` after the first of them left. Small pieces say nothing
 * about bandwidth and are ignored. */
void estimate_link_acked(struct estimate_link *link, uint64_t bytes, double elapsed_ms,
                         int64_t now_ns);
/* A link that owes us a reply and says nothing for longer than this is stalled. */
double estimate_link_stall_ms(const struct estimate_link *link, int64_t now_ns);
/* The link's part of a request: `up_bytes` up and the round trip. NAN before the first round trip.
 */
double estimate_link_ms(const struct estimate_link *link, uint64_t up_bytes, int64_t now_ns);

void estimate_edge_init(struct estimate_edge *edge);
/* A request went out. */
void estimate_edge_sent(struct estimate_edge *edge, int64_t now_ns);
/* An answer came after `total_ms`, of which `wait_ms` in the edge's queue; `link_ms`: see above. */
void estimate_edge_add(struct estimate_edge *edge, double total_ms, double wait_ms, double link_ms,
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
/* The same at the best that was seen of late, or that the edge claims unless it was asked often of
 * late: worth a try if this would do. NAN when nothing is known. */
double estimate_edge_best_ms(const struct estimate_edge *edge, const struct estimate_link *link,
                             uint64_t up_bytes, double run_hint_ms, int64_t now_ns);
/* Whether an edge that is not chosen may be asked again, to learn: at most every half second, more
 * seldom with every miss. */
bool estimate_edge_retry_due(const struct estimate_edge *edge, int64_t now_ns);

#endif
