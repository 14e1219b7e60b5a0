#include "client/policy/estimate_spread.h"

#include "common/base/clock.h"

#include <math.h>

#define KEEP         0.95 /* with each newer one: about the last twenty count */
#define PRIOR_WEIGHT 1.0  /* of one sample */
#define HALF_LIFE_NS (60 * NS_PER_S)
#define NORMAL_95    1.645 /* standard deviations */

/* What the sums are still worth. */
static double share_left(const struct estimate_spread *spread, int64_t now_ns)
{
    return exp2(-fmax((double)(now_ns - spread->newest_ns), 0) / (double)HALF_LIFE_NS);
}

void estimate_spread_add(struct estimate_spread *spread, double expected, double value,
                         int64_t now_ns)
{
    const double keep = KEEP * share_left(spread, now_ns);
    const double error = log(value / expected);
    const double above = fmin(fmax(error, 0), ESTIMATE_SPREAD_ERROR_MAX);

    if (!isfinite(error)) {
        return;
    }
    spread->squares = keep * spread->squares + 2 * above * above;
    spread->weight = keep * spread->weight + 1;
    spread->newest_ns = now_ns;
}

double estimate_spread_factor(const struct estimate_spread *spread, double prior, int64_t now_ns)
{
    const double left = share_left(spread, now_ns);

    return exp(NORMAL_95 * sqrt((PRIOR_WEIGHT * prior * prior + left * spread->squares) /
                                (PRIOR_WEIGHT + left * spread->weight)));
}
