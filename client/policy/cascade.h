/* cascade.h: what local-first costs at the best threshold for this very request. Pure.
 *
 * With c a bin of local confidence, w its share, d its error as learned from where both sides
 * answered (an upper bound where it is compared with a price, HI-LCB), k the part of it that the
 * edge mends, an answer of the bin stays unless
 *
 *   one_error_ms * k * d(c) > price of asking the edge now
 *
 * where the price is the time, the bytes and the joule that asking costs this request, and the
 * errors that come from sending a smaller picture than there is. k follows from how wrong edges are
 * believed to be: where both differ, either may be wrong. With l the error that local answers claim
 * of themselves (they are calibrated) and e the edge's, asking mends l - e over all, and in each
 * bin in proportion to d, so k = (mean l - e) / mean d, at most 1, and at least EDGE_MENDED_MIN
 * while nothing was told of this edge's errors (edge_truth.h).
 *
 * Of answers made of boxes the first bin is of those that found nothing: it stays or asks by its
 * own error, whatever becomes of the others.
 *
 * Where errors cost unequally the bins are those of cascade_two.h, one_error_ms is taken `factor`
 * times, and what stays is a range at either end of them: two thresholds in place of one.
 *
 * The edge is asked one after the other (it costs local time and the edge's, but only where it is
 * needed), or at once (the longer of both, but the bytes always): whichever is cheaper. */
#ifndef TANDEM_POLICY_CASCADE_H
#define TANDEM_POLICY_CASCADE_H

#include "client/policy/confidence.h"
#include "client/policy/edge_truth.h"

#include <stdbool.h>

struct cascade_terms {
    const struct confidence_bin *bins; /* CONFIDENCE_BINS, borrowed */
    size_t border; /* the first bin of the upper answer; 0: there is one answer, one threshold */
    bool nothing;  /* the bin before the border is of answers that found nothing */
    double one_error_ms;
    struct edge_belief edge;
    double local_ms;     /* with its queue */
    double edge_ms;      /* with its queue and the link */
    double edge_p95_ms;  /* after that it is given up, which happens */
    double failure;      /* with this chance, 0..1, and mends nothing */
    double upload_error; /* of an edge's answers, because of what it is sent */
    double send_ms;      /* bytes and joule of asking, in the ms they are worth */
    double threshold;    /* the one to take, or NAN: the best. With two answers: how far into its
                            own side of the bins an answer has to be, and never before the border.
                            With `nothing`: how far behind the border; and what found nothing stays
                            where it is right so often */
    bool checks;         /* nothing of how wrong bins are is believed: to learn it, every bin asks
                            whose answers may be worth it */
    bool in_turn;        /* only one after the other */
};
struct cascade_error {
    double probability; /* that the answer is wrong */
    double weight;      /* the same, each error as many times as it costs of one_error_ms */
};
struct cascade {
    double threshold; /* what is at this place or after it stays, */
    double below;     /* and what is before this one; 0: nothing */
    bool at_once;
    struct cascade_error error; /* expected, as are */
    double latency_ms, asked;   /* asked: the share that needs the edge's answer */
    double sent;                /* the share that is sent */
    double gain_ms;             /* what an edge's answer is worth where it is asked, on average */
};
/* Expected error of a local answer and of an edge's, before either is known. */
void cascade_errors(const struct confidence_bin bins[CONFIDENCE_BINS],
                    const struct edge_belief *edge, struct cascade_error *ret_local,
                    struct cascade_error *ret_edge);
/* What errors cost on average that an edge makes whatever the input, times one_error_ms: those that
 * come from what it is sent. */
double cascade_any_factor(const struct confidence_bin bins[CONFIDENCE_BINS]);
void cascade_plan(const struct cascade_terms *terms, struct cascade *ret_cascade);

#endif
