/* estimate_spread.h: how far a measurement may lie above what was expected of it, as a ratio: the
 * size of one-step errors of whatever predicts, whether they come from noise or from change. Few or
 * old errors say little, and the caller's prior stands in for them, so what was measured once or
 * twice is known to be little known. Pure state, loop thread.
 *
 * The upper half of the ratio's logarithm is taken to be that of a normal one around 0: its
 * variance is twice the mean of the squares of what lies above, each newer one worth a little more,
 * with the prior's as one sample among them. What came out better than expected makes nobody less
 * sure. */
#ifndef TANDEM_POLICY_ESTIMATE_SPREAD_H
#define TANDEM_POLICY_ESTIMATE_SPREAD_H

#include <stdint.h>

struct estimate_spread {    /* zeroed: nothing was measured */
    double squares, weight; /* sums: of twice the squares above 0, and of what each is worth */
    int64_t newest_ns;
};
#define ESTIMATE_SPREAD_ERROR_MAX 3.0 /* a factor of 20: more is no more than wrong */

/* `value` came where `expected` was. What is not finite, or not above 0, is ignored. */
void estimate_spread_add(struct estimate_spread *spread, double expected, double value,
                         int64_t now_ns);
/* By what factor a measurement exceeds what is expected of it at most, 95 times of 100. `prior`:
 * the standard deviation of its logarithm where nothing was measured. */
double estimate_spread_factor(const struct estimate_spread *spread, double prior, int64_t now_ns);

#endif
