#include "client/policy/confidence.h"

#include <math.h>
#include <string.h>

#define PRIOR_WEIGHT 5.0
#define BOUND_ALPHA  0.02
#define SEEN_PRIOR                                                                                 \
    1.0 /* each bin is believed to have been seen this often before the first request */

static size_t bin_of(double value)
{
    const double at = value * CONFIDENCE_BINS;

    return !(at > 0) ? 0 : at >= CONFIDENCE_BINS ? CONFIDENCE_BINS - 1 : (size_t)at;
}

struct pool {
    double wrong, weight; /* of all comparisons in it, with the prior */
    size_t bins;
};

static double pool_error(const struct pool *pool)
{
    return pool->wrong / pool->weight;
}

/* The errors that are nearest to what was seen among those that fall as the confidence rises: bins
 * that rise are one (pool adjacent violators). Bin by bin, with the weight of its pool. */
static void errors_fit(const struct confidence *confidence, double ret_errors[CONFIDENCE_BINS],
                       double ret_weights[CONFIDENCE_BINS])
{
    struct pool pools[CONFIDENCE_BINS];
    size_t count = 0, at = 0;

    for (size_t bin = 0; bin < CONFIDENCE_BINS; bin++) {
        const double prior = 1.0 - ((double)bin + 0.5) / CONFIDENCE_BINS;

        pools[count++] =
            (struct pool){.wrong = PRIOR_WEIGHT * prior +
                                   (double)(confidence->both[bin] - confidence->agreed[bin]),
                          .weight = PRIOR_WEIGHT + (double)confidence->both[bin],
                          .bins = 1};
        while (count > 1 && pool_error(&pools[count - 2]) < pool_error(&pools[count - 1])) {
            pools[count - 2].wrong += pools[count - 1].wrong;
            pools[count - 2].weight += pools[count - 1].weight;
            pools[count - 2].bins += pools[count - 1].bins;
            count--;
        }
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t bin = 0; bin < pools[i].bins; bin++, at++) {
            ret_errors[at] = pool_error(&pools[i]);
            ret_weights[at] = pools[i].weight;
        }
    }
}

/* Small models are sure more often than not: the prior leans to the upper bins. */
static double bin_weight(const struct confidence *confidence, size_t bin)
{
    return SEEN_PRIOR * ((double)bin + 0.5) / CONFIDENCE_BINS + (double)confidence->seen[bin];
}

void confidence_init(struct confidence *confidence)
{
    memset(confidence, 0, sizeof(*confidence));
}

void confidence_see(struct confidence *confidence, double local_confidence)
{
    confidence->seen[bin_of(local_confidence)]++;
}

void confidence_compare(struct confidence *confidence, double local_confidence, bool agreed)
{
    const size_t bin = bin_of(local_confidence);

    confidence->both[bin]++;
    confidence->agreed[bin] += agreed;
}

double confidence_error(const struct confidence *confidence, double local_confidence)
{
    double errors[CONFIDENCE_BINS], weights[CONFIDENCE_BINS];

    errors_fit(confidence, errors, weights);
    return errors[bin_of(local_confidence)];
}

void confidence_expect(const struct confidence *confidence, double threshold, double *ret_error,
                       double *ret_share_below, double *ret_error_above)
{
    double all = 0, error = 0, below = 0, error_above = 0;
    double errors[CONFIDENCE_BINS], weights[CONFIDENCE_BINS];

    errors_fit(confidence, errors, weights);
    for (size_t bin = 0; bin < CONFIDENCE_BINS; bin++) {
        const double weight = bin_weight(confidence, bin);

        all += weight;
        error += weight * errors[bin];
        if (((double)bin + 0.5) / CONFIDENCE_BINS < threshold) {
            below += weight;
        } else {
            error_above += weight * errors[bin];
        }
    }
    *ret_error = error / all;
    *ret_share_below = below / all;
    *ret_error_above = all > below ? error_above / (all - below) : 0;
}

void confidence_bins(const struct confidence *confidence,
                     struct confidence_bin ret_bins[CONFIDENCE_BINS])
{
    double errors[CONFIDENCE_BINS], weights[CONFIDENCE_BINS];
    double all = 0, both = 1, bound = 1;

    errors_fit(confidence, errors, weights);
    for (size_t bin = 0; bin < CONFIDENCE_BINS; bin++) {
        all += bin_weight(confidence, bin);
        both += (double)confidence->both[bin];
    }
    for (size_t bin = 0; bin < CONFIDENCE_BINS; bin++) {
        const double error = errors[bin];
        const double bonus = sqrt(BOUND_ALPHA * error * (1 - error) * log(both) / weights[bin]);

        bound = fmin(bound, error + bonus); /* what holds for the less sure holds here */
        ret_bins[bin] = (struct confidence_bin){.middle = ((double)bin + 0.5) / CONFIDENCE_BINS,
                                                .share = bin_weight(confidence, bin) / all,
                                                .error = error,
                                                .error_bound = bound};
    }
}
