/* confidence.h: how often the local answer is wrong, learned per bin of its own confidence. Two
 * things teach it: requests that both sides answered, where the edge's answer stands for the truth
 * (*agreement*), and what the application says of an answer (*accuracy*, the truth itself, which
 * outweighs agreement in its bin as soon as there is some). Simple counts with a prior. A surer
 * answer is never believed to be worse: bins whose errors rise with the confidence share one (pool
 * adjacent violators), so that a few bad answers of a rare bin are weighed with its neighbours.
 *
 * Of answers made of boxes (confidence_boxes.h) the first bin is of those that found nothing: such
 * an answer has no score to speak of how sure it is, so its error is learned apart from all others'
 * and none is believed better or worse because of it. Before anything was compared it is as likely
 * wrong as right (the rule of succession), which is enough to ask an edge where errors are dear;
 * where edges find nothing either, a few comparisons end that.
 * Pure state, loop thread, no memory. */
#ifndef TANDEM_POLICY_CONFIDENCE_H
#define TANDEM_POLICY_CONFIDENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIDENCE_BINS 10
struct confidence {
    /* How the bins lie: of even width in odds * c / (odds * c + 1 - c), so that c = 1 / (1 + odds)
     * is in the middle of them (cascade_two.h). 0, and 1: of even width in c itself. */
    double odds;
    /* The first bin is of answers that found nothing, the others share 0..1 evenly; odds is 0. */
    bool nothing;
    uint32_t both[CONFIDENCE_BINS];   /* requests answered by both sides */
    uint32_t agreed[CONFIDENCE_BINS]; /* of these, with the same answer */
    uint32_t seen[CONFIDENCE_BINS];   /* every local answer: how confidences fall */
    double claimed[CONFIDENCE_BINS];  /* of `both`: the sum of their confidences */
    uint32_t told[CONFIDENCE_BINS];   /* local answers whose truth was told */
    uint32_t right[CONFIDENCE_BINS];  /* of these */
};
/* The part of the agreement that is owed to one edge: it goes when that edge's model does. */
struct confidence_pair {
    uint32_t both[CONFIDENCE_BINS], agreed[CONFIDENCE_BINS];
    double claimed[CONFIDENCE_BINS];
};
/* So many comparisons of one bin with one edge, and so many words about one bin, are kept: then
 * they are halved, their shares stay. So what is learned follows models that fit what they see less
 * than they did, however long they did. */
#define CONFIDENCE_MEMORY 8000
void confidence_init(struct confidence *confidence);
/* In place of the confidence of an answer that found nothing: before all others. */
#define CONFIDENCE_NOTHING        (-1.0 / (CONFIDENCE_BINS - 1))
#define CONFIDENCE_NOTHING_BORDER 1u /* the first bin of the others */
/* Where among the bins a confidence stands, 0..1, bin i from i / CONFIDENCE_BINS on; and back: of
 * 0 with `nothing` that is CONFIDENCE_NOTHING. */
double confidence_place(const struct confidence *confidence, double local_confidence);
double confidence_at_place(const struct confidence *confidence, double place);
void confidence_see(struct confidence *confidence, double local_confidence);
void confidence_compare(struct confidence *confidence, double local_confidence, bool agreed);
/* The same, kept in `pair` too; what a pair of before holds is added; and what `pair` holds is
 * taken back, which leaves it empty. */
void confidence_pair_compare(struct confidence *confidence, struct confidence_pair *pair,
                             double local_confidence, bool agreed);
void confidence_pair_add(struct confidence *confidence, const struct confidence_pair *pair);
void confidence_pair_forget(struct confidence *confidence, struct confidence_pair *pair);
/* A local answer this sure was right, or wrong: the application knows. And the same taken back. */
void confidence_tell(struct confidence *confidence, double local_confidence, bool right);
void confidence_untell(struct confidence *confidence, double local_confidence, bool right);
/* Expected error of a local answer this sure. The prior is calibration (one minus the mean
 * confidence of the bin) with the weight of some samples; of answers that found nothing an even
 * chance, with that of two. What agreement says weighs as much as it
 * has samples, and as at most CONFIDENCE_AGREEMENT_WEIGHT of them against the truth. */
#define CONFIDENCE_AGREEMENT_WEIGHT 10.0
double confidence_error(const struct confidence *confidence, double local_confidence);

/* One bin: its share of all answers, the expected error, and an upper confidence bound of it
 * (HI-LCB: one minus the lower bound of the accuracy, arXiv 2508.08985): sqrt(a * v * ln(1 + n) /
 * w) above the mean, where n is all comparisons, w those of the bins that share the mean with their
 * priors, and v the variance of one; and no higher than the bound of any less sure bin, since the
 * accuracy rises with the confidence. What was seldom compared is believed to be worse, so that it
 * is compared. */
struct confidence_bin {
    double middle; /* its place */
    double share, error, error_bound;
    /* Of the likeliest answer, which is the one that is given unless errors cost unequally
     * (cascade_two.h): its error, and that which its confidence claims. */
    double doubt, claimed_error;
    /* What an error costs, times one_error_ms: of the answer that is given, and, as often as each
     * may happen, of either kind. 1 but in cascade_two.h. */
    double factor, any_factor;
};
/* All bins, the least sure first. */
void confidence_bins(const struct confidence *confidence,
                     struct confidence_bin ret_bins[CONFIDENCE_BINS]);
#endif
