#include "client/policy/estimate_samples.h"

#include "common/base/clock.h"

#include <math.h>
#include <stdlib.h>

#define DECAY        0.8 /* with each newer sample: about the last five count */
#define RATE_DECAY   0.6
#define TAIL_DECAY   0.7 /* what a link did before it changed says little about how it varies now */
#define HALF_LIFE_NS (30 * NS_PER_S)
#define PRIOR_WEIGHT                                                                               \
    0.2 /* against one fresh sample; under 5 % of many, so that it leaves p95 alone */

static size_t held(const struct estimate_samples *samples)
{
    return samples->count < ESTIMATE_SAMPLES ? (size_t)samples->count : ESTIMATE_SAMPLES;
}

static double weight_of(const struct estimate_samples *samples, size_t index, double decay,
                        int64_t now_ns)
{
    const size_t newest = (samples->next + ESTIMATE_SAMPLES - 1) % ESTIMATE_SAMPLES;
    const size_t newer = (newest + ESTIMATE_SAMPLES - index) % ESTIMATE_SAMPLES;
    const double age_ns = fmax((double)(now_ns - samples->at_ns[index]), 0);

    return pow(decay, (double)newer) * exp2(-age_ns / (double)HALF_LIFE_NS);
}

void estimate_samples_add(struct estimate_samples *samples, double value, int64_t now_ns)
{
    if (!isfinite(value)) {
        return;
    }
    samples->values[samples->next] = value;
    samples->at_ns[samples->next] = now_ns;
    samples->next = (samples->next + 1) % ESTIMATE_SAMPLES;
    samples->count++;
}

double estimate_samples_mean(const struct estimate_samples *samples, double prior, int64_t now_ns)
{
    double weight = isnan(prior) ? 0 : PRIOR_WEIGHT, sum = isnan(prior) ? 0 : PRIOR_WEIGHT * prior;

    if (isnan(prior) && samples->count == 0) {
        return NAN;
    }
    for (size_t i = 0; i < held(samples); i++) {
        const double own = weight_of(samples, i, DECAY, now_ns);

        weight += own;
        sum += own * samples->values[i];
    }
    /* Without a prior, ages that underflow would leave nothing: then the newest speaks alone. */
    return weight > 0 ? sum / weight
                      : samples->values[(samples->next + ESTIMATE_SAMPLES - 1) % ESTIMATE_SAMPLES];
}

double estimate_samples_geometric(const struct estimate_samples *samples, int64_t now_ns)
{
    double weight = 0, sum = 0;

    for (size_t i = 0; i < held(samples); i++) {
        const double own = weight_of(samples, i, RATE_DECAY, now_ns);

        weight += own;
        sum += own * log(samples->values[i]);
    }
    /* as above: where all are too old to weigh anything, the newest */
    return weight > 0 ? exp(sum / weight) : estimate_samples_mean(samples, NAN, now_ns);
}

double estimate_samples_quantile(const struct estimate_samples *samples, double q, double prior,
                                 int64_t now_ns)
{
    double weights[ESTIMATE_SAMPLES], all = isnan(prior) ? 0 : PRIOR_WEIGHT;
    double best = isnan(prior) ? -INFINITY : prior;
    const size_t count = held(samples);

    if (isnan(prior) && count == 0) {
        return NAN;
    }
    for (size_t i = 0; i < count; i++) {
        weights[i] = weight_of(samples, i, TAIL_DECAY, now_ns);
        all += weights[i];
        best = fmax(best, samples->values[i]);
    }
    /* The smallest candidate with enough weight at or under it: 33 values, no sorting. */
    for (size_t i = 0; i <= count; i++) {
        const double value = i < count ? samples->values[i] : prior;
        double under = prior <= value ? PRIOR_WEIGHT : 0;

        for (size_t k = 0; k < count; k++) {
            under += samples->values[k] <= value ? weights[k] : 0;
        }
        if (value < best && under >= q * all - 1e-9) {
            best = value;
        }
    }
    return best;
}

static int value_compare(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

double estimate_samples_high(const struct estimate_samples *samples, double q, int64_t since_ns)
{
    double values[ESTIMATE_SAMPLES];
    size_t count = 0;

    for (size_t i = 0; i < held(samples); i++) {
        if (samples->at_ns[i] >= since_ns) {
            values[count++] = samples->values[i];
        }
    }
    qsort(values, count, sizeof(values[0]), value_compare);
    return count > 0 ? values[(size_t)ceil(q * (double)count) - 1] : NAN;
}

void estimate_samples_keep(struct estimate_samples *samples, size_t count)
{
    const size_t newest = count < held(samples) ? count : held(samples);
    struct estimate_samples kept = {0};

    for (size_t i = newest; i > 0; i--) {
        const size_t at = (samples->next + ESTIMATE_SAMPLES - i) % ESTIMATE_SAMPLES;

        estimate_samples_add(&kept, samples->values[at], samples->at_ns[at]);
    }
    *samples = kept;
}

int64_t estimate_samples_newest_ns(const struct estimate_samples *samples)
{
    return samples->at_ns[(samples->next + ESTIMATE_SAMPLES - 1) % ESTIMATE_SAMPLES];
}

double estimate_samples_least(const struct estimate_samples *samples, int64_t since_ns,
                              size_t *ret_count)
{
    double least = NAN;

    *ret_count = 0;
    for (size_t i = 0; i < held(samples); i++) {
        if (samples->at_ns[i] >= since_ns) {
            least = fmin(least, samples->values[i]); /* fmin passes over NAN */
            (*ret_count)++;
        }
    }
    return least;
}
