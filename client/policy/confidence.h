/* confidence.h: how often the local answer is wrong, learned per bin of its own confidence from
 * requests that both sides answered (the edge's answer stands for the truth). Simple counts with a
 * prior. A surer answer is never believed to be worse: bins whose errors rise with the confidence
 * share one (pool adjacent violators), so that a few bad answers of a rare bin are weighed with its
 * neighbours. Pure state, loop thread, no memory. */
#ifndef TANDEM_POLICY_CONFIDENCE_H
#define TANDEM_POLICY_CONFIDENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIDENCE_BINS 10
struct confidence {
    uint32_t both[CONFIDENCE_BINS];   /* requests answered by both sides */
    uint32_t agreed[CONFIDENCE_BINS]; /* of these, with the same answer */
    uint32_t seen[CONFIDENCE_BINS];   /* every local answer: how confidences fall */
};
void confidence_init(struct confidence *confidence);
void confidence_see(struct confidence *confidence, double local_confidence);
void confidence_compare(struct confidence *confidence, double local_confidence, bool agreed);
/* Expected error of a local answer this sure. The prior is calibration (1 - confidence) with the
 * weight of a few samples. */
double confidence_error(const struct confidence *confidence, double local_confidence);
/* Over the confidences seen so far: the expected error of a local answer before it is known, the
 * share that is less sure than `threshold`, and the expected error of those that are not. Before
 * anything was seen: a prior. */
void confidence_expect(const struct confidence *confidence, double threshold, double *ret_error,
                       double *ret_share_below, double *ret_error_above);

/* One bin: its share of all answers, the expected error, and an upper confidence bound of it
 * (HI-LCB: one minus the lower bound of the accuracy, arXiv 2508.08985): sqrt(a * v * ln(1 + n) /
 * w) above the mean, where n is all comparisons, w those of the bins that share the mean with their
 * priors, and v the variance of one; and no higher than the bound of any less sure bin, since the
 * accuracy rises with the confidence. What was seldom compared is believed to be worse, so that it
 * is compared. */
struct confidence_bin {
    double middle, share, error, error_bound;
};
/* All bins, the least sure first. */
void confidence_bins(const struct confidence *confidence,
                     struct confidence_bin ret_bins[CONFIDENCE_BINS]);
#endif
