#include "client/policy/cascade_two.h"

#include <math.h>

double cascade_two_odds(const struct cascade_costs *costs)
{
    return costs->false_negative / costs->false_positive;
}

bool cascade_two_is_yes(const struct cascade_costs *costs, double positive)
{
    return positive * costs->false_negative >= (1 - positive) * costs->false_positive;
}

double cascade_two_weight(const struct cascade_costs *costs, bool yes, double error)
{
    return error * (yes ? costs->false_positive : costs->false_negative);
}

/* The same counts, seen from the other answer: of 1 - p, and "no" where it was "yes". */
static struct confidence mirrored(const struct confidence *confidence)
{
    struct confidence mirror = {.odds = confidence->odds > 0 ? 1 / confidence->odds : 0};

    for (size_t bin = 0; bin < CONFIDENCE_BINS; bin++) {
        const size_t from = CONFIDENCE_BINS - 1 - bin;

        mirror.both[bin] = confidence->both[from];
        mirror.agreed[bin] = confidence->both[from] - confidence->agreed[from];
        mirror.seen[bin] = confidence->seen[from];
        mirror.claimed[bin] = fmax((double)confidence->both[from] - confidence->claimed[from], 0);
        mirror.told[bin] = confidence->told[from];
        mirror.right[bin] = confidence->told[from] - confidence->right[from];
    }
    return mirror;
}

/* A bin as its answer sees it, with what its errors and those of the other answer cost. */
static struct confidence_bin bin_of_answer(const struct confidence_bin *seen, double factor,
                                           double other_factor)
{
    struct confidence_bin bin = *seen;

    bin.doubt = fmin(seen->error, 1 - seen->error);
    bin.claimed_error = fmin(seen->claimed_error, 1 - seen->claimed_error);
    bin.factor = factor;
    bin.any_factor = seen->error * factor + (1 - seen->error) * other_factor;
    return bin;
}

void cascade_two_bins(const struct confidence *confidence, const struct cascade_costs *costs,
                      struct confidence_bin ret_bins[CONFIDENCE_BINS])
{
    const struct confidence mirror = mirrored(confidence);
    struct confidence_bin no[CONFIDENCE_BINS], yes[CONFIDENCE_BINS];
    double all = 0;

    confidence_bins(&mirror, no);
    confidence_bins(confidence, yes);
    for (size_t bin = 0; bin < CONFIDENCE_BINS; bin++) {
        ret_bins[bin] =
            bin < CASCADE_TWO_BORDER
                ? bin_of_answer(&no[CONFIDENCE_BINS - 1 - bin], costs->false_negative,
                                costs->false_positive)
                : bin_of_answer(&yes[bin], costs->false_positive, costs->false_negative);
        ret_bins[bin].middle = yes[bin].middle;
        all += ret_bins[bin].share;
    }
    for (size_t bin = 0; bin < CONFIDENCE_BINS; bin++) {
        ret_bins[bin].share /= all; /* before anything was seen each view leans to its own end */
    }
}

double cascade_two_error(const struct confidence *confidence, const struct cascade_costs *costs,
                         double positive)
{
    const double place = confidence_place(confidence, positive) * CONFIDENCE_BINS;
    struct confidence_bin bins[CONFIDENCE_BINS];

    cascade_two_bins(confidence, costs, bins);
    return bins[(size_t)fmin(place, CONFIDENCE_BINS - 1)].error;
}
