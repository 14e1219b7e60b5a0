/* cascade_two.h: the two thresholds of a question whose two errors cost unequally (H2T2, arXiv
 * 2509.15674). Pure.
 *
 * The question is whether one label, the positive one, is the right one. A "no" that should be a
 * "yes" (false negative) costs c_FN times one_error_ms, a "yes" that should be a "no" (false
 * positive) c_FP times. With p the model's probability of the positive label the answer of least
 * expected cost is "yes" where p * c_FN >= (1 - p) * c_FP. What it is expected to cost,
 *
 *   w(p) = min(c_FN * P(yes | p), c_FP * P(no | p)),
 *
 * rises from p = 0 to the border between the two answers and falls from there to p = 1: so there
 * are two thresholds. A low p stays as "no", a high p stays as "yes", and between them the edge is
 * asked, where k * w(p) is more than asking costs this request (cascade.h, whose price and whose
 * part k of the errors that the edge mends hold here too: an edge that tells the truth with
 * probability k, and else knows no more, leaves (1 - k) * w(p)). With calibrated p, k = 1 and the
 * price beta in units of one error these are the closed forms p < beta / c_FN and p > 1 - beta /
 * c_FP; where the two cross, the edge is never asked.
 *
 * P(yes | p) and P(no | p) are learned by bins of p as the error of an answer is by bins of its
 * confidence, an upper bound of either where it is compared with the price: a "no" is an answer
 * that is 1 - p sure, a "yes" one that is p sure. `struct confidence` holds p in place of a
 * confidence and "the edge said yes" in place of "agreed"; its bins lie so that the border is in
 * their middle (`odds` = c_FN / c_FP): there the resolution is wanted. */
#ifndef TANDEM_POLICY_CASCADE_TWO_H
#define TANDEM_POLICY_CASCADE_TWO_H

#include "client/policy/confidence.h"

#include <stdbool.h>

struct cascade_costs { /* both over 0, times one_error_ms */
    double false_negative, false_positive;
};
/* The first bin whose answers are "yes". */
#define CASCADE_TWO_BORDER (CONFIDENCE_BINS / 2)

/* Where the bins of struct confidence have to lie for these costs. */
double cascade_two_odds(const struct cascade_costs *costs);
/* The answer of least expected cost where the positive label has this probability, 0..1. */
bool cascade_two_is_yes(const struct cascade_costs *costs, double positive);
/* What this answer is expected to cost, times one_error_ms. */
double cascade_two_weight(const struct cascade_costs *costs, bool yes, double error);
/* How often the answer that is given at this probability is wrong, as learned. */
double cascade_two_error(const struct confidence *confidence, const struct cascade_costs *costs,
                         double positive);
/* All bins of p, the lowest first, each with the errors of the answer that is given there. */
void cascade_two_bins(const struct confidence *confidence, const struct cascade_costs *costs,
                      struct confidence_bin ret_bins[CONFIDENCE_BINS]);

#endif
