#include "client/policy/confidence.h"

#include "common/base/limits.h"

#include <math.h>
#include <string.h>

#define PRIOR_WEIGHT   10.0 /* models are calibrated when they are made: few answers say less */
#define BOUND_ALPHA    0.01
#define NOTHING_ERROR  0.5 /* of an answer that found nothing, and nobody knows: Laplace's rule */
#define NOTHING_WEIGHT 2.0
#define TOP_CLAIM      0.98 /* what the answers of the surest bin say of themselves: most are near 1 */
#define SEEN_PRIOR                                                                                 \
    1.0 /* each bin is believed to have been seen this often before the first request */

static double odds_of(const struct confidence *confidence)
{
    return confidence->odds > 0 ? confidence->odds : 1;
}

/* Odds times as likely as it was. */
static double odds_apply(double odds, double value)
{
    return !(value > 0) ? 0 /* NAN: 0 */
           : value >= 1 ? 1
                        : odds * value / (odds * value + 1 - value);
}

double confidence_place(const struct confidence *confidence, double local_confidence)
{
    const double odds = odds_of(confidence);

    if (confidence->nothing) {
        return (1 + (CONFIDENCE_BINS - 1) * local_confidence) / CONFIDENCE_BINS;
    }
    return odds == 1 ? local_confidence : odds_apply(odds, local_confidence);
}

double confidence_at_place(const struct confidence *confidence, double place)
{
    const double odds = odds_of(confidence);

    if (confidence->nothing) {
        return (CONFIDENCE_BINS * place - 1) / (CONFIDENCE_BINS - 1);
    }
    return odds == 1 ? place : odds_apply(1 / odds, place);
}

static size_t bin_of(const struct confidence *confidence, double value)
{
    const double at = confidence_place(confidence, value) * CONFIDENCE_BINS;

    return !(at > 0) ? 0 : at >= CONFIDENCE_BINS ? CONFIDENCE_BINS - 1 : (size_t)at;
}

static double bin_middle(size_t bin)
{
    return ((double)bin + 0.5) / CONFIDENCE_BINS;
}

static bool is_of_nothing(const struct confidence *confidence, size_t bin)
{
    return confidence->nothing && bin < CONFIDENCE_NOTHING_BORDER;
}

struct pool {
    double wrong, weight; /* of all comparisons in it, with the prior */
    size_t bins;
};

static double pool_error(const struct pool *pool)
{
    return pool->wrong / pool->weight;
}

/* What answers of this bin say of themselves: those that were compared, and one before them. */
static double claimed_error(const struct confidence *confidence, size_t bin)
{
    const double first =
        confidence_at_place(confidence, bin + 1 == CONFIDENCE_BINS ? TOP_CLAIM : bin_middle(bin));

    return 1.0 - (first + confidence->claimed[bin]) / (1.0 + (double)confidence->both[bin]);
}

/* The same, where truth was told of some of them: then that, too. */
static double known_error(const struct confidence *confidence, size_t bin)
{
    const double told = (double)confidence->told[bin];

    return (CONFIDENCE_AGREEMENT_WEIGHT * claimed_error(confidence, bin) + told -
            (double)confidence->right[bin]) /
           (CONFIDENCE_AGREEMENT_WEIGHT + told);
}

/* How often a bin is wrong, and how much that weighs: agreement with its prior, which is at most a
 * few samples against the truth. */
static struct pool pool_of(const struct confidence *confidence, size_t bin)
{
    const bool nothing = is_of_nothing(confidence, bin);
    const double prior = nothing ? NOTHING_ERROR : claimed_error(confidence, bin);
    const double weight = nothing ? NOTHING_WEIGHT : PRIOR_WEIGHT;
    const double told = (double)confidence->told[bin];
    struct pool pool = {.wrong = weight * prior +
                                 (double)(confidence->both[bin] - confidence->agreed[bin]),
                        .weight = weight + (double)confidence->both[bin],
                        .bins = 1};

    if (told > 0) {
        const double agreement = fmin(pool.weight, CONFIDENCE_AGREEMENT_WEIGHT);

        pool.wrong = pool_error(&pool) * agreement + told - (double)confidence->right[bin];
        pool.weight = agreement + told;
    }
    return pool;
}

/* The errors that are nearest to what was seen among those that fall as the confidence rises: bins
 * that rise are one (pool adjacent violators), all but the one of answers that found nothing. Bin
 * by bin, with the weight of its pool. */
static void errors_fit(const struct confidence *confidence, double ret_errors[CONFIDENCE_BINS],
                       double ret_weights[CONFIDENCE_BINS])
{
    const size_t alone = confidence->nothing ? CONFIDENCE_NOTHING_BORDER : 0;
    struct pool pools[CONFIDENCE_BINS];
    size_t count = 0, at = 0;

    for (size_t bin = 0; bin < CONFIDENCE_BINS; bin++) {
        pools[count++] = pool_of(confidence, bin);
        while (count > alone + 1 && pool_error(&pools[count - 2]) < pool_error(&pools[count - 1])) {
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

/* Small models are sure more often than not: the prior leans to the upper bins. That nothing is
 * there is as likely as that one of them is right about what is. */
static double bin_weight(const struct confidence *confidence, size_t bin)
{
    const double prior = is_of_nothing(confidence, bin) ? 1 : bin_middle(bin);

    return SEEN_PRIOR * prior + (double)confidence->seen[bin];
}

void confidence_init(struct confidence *confidence)
{
    memset(confidence, 0, sizeof(*confidence));
}

void confidence_see(struct confidence *confidence, double local_confidence)
{
    const size_t seen = bin_of(confidence, local_confidence);

    if (confidence->seen[seen] >= LIMIT_LEARNED_COUNT) { /* the shares stay */
        for (size_t bin = 0; bin < CONFIDENCE_BINS; bin++) {
            confidence->seen[bin] /= 2;
        }
    }
    confidence->seen[seen]++;
}

void confidence_compare(struct confidence *confidence, double local_confidence, bool agreed)
{
    struct confidence_pair all;

    memcpy(all.both, confidence->both, sizeof(all.both));
    memcpy(all.agreed, confidence->agreed, sizeof(all.agreed));
    memcpy(all.claimed, confidence->claimed, sizeof(all.claimed));
    confidence_pair_compare(confidence, &all, local_confidence, agreed);
}

/* Half as many, of both kinds alike. */
static void counts_halve(uint32_t *all, uint32_t *right)
{
    const uint32_t wrong = *all - *right;

    *right /= 2;
    *all = *right + wrong / 2;
}

/* One bin of a pair, and with it of the whole. */
static void pair_halve(struct confidence *confidence, struct confidence_pair *pair, size_t bin)
{
    const uint32_t both = pair->both[bin], agreed = pair->agreed[bin];
    const double claimed = pair->claimed[bin];

    counts_halve(&pair->both[bin], &pair->agreed[bin]);
    pair->claimed[bin] *= (double)pair->both[bin] / both;
    confidence->both[bin] -= both - pair->both[bin];
    confidence->agreed[bin] -= agreed - pair->agreed[bin];
    confidence->claimed[bin] = fmax(confidence->claimed[bin] - (claimed - pair->claimed[bin]), 0);
}

void confidence_pair_compare(struct confidence *confidence, struct confidence_pair *pair,
                             double local_confidence, bool agreed)
{
    const size_t bin = bin_of(confidence, local_confidence);
    const double claimed = local_confidence > 0 ? fmin(local_confidence, 1) : 0; /* NAN: 0 */

    if (pair->both[bin] >= CONFIDENCE_MEMORY) {
        pair_halve(confidence, pair, bin);
    }
    confidence->both[bin]++;
    confidence->agreed[bin] += agreed;
    confidence->claimed[bin] += claimed;
    pair->both[bin]++;
    pair->agreed[bin] += agreed;
    pair->claimed[bin] += claimed;
}

void confidence_pair_add(struct confidence *confidence, const struct confidence_pair *pair)
{
    for (size_t bin = 0; bin < CONFIDENCE_BINS; bin++) {
        confidence->both[bin] += pair->both[bin];
        confidence->agreed[bin] += pair->agreed[bin];
        confidence->claimed[bin] += pair->claimed[bin];
    }
}

void confidence_pair_forget(struct confidence *confidence, struct confidence_pair *pair)
{
    for (size_t bin = 0; bin < CONFIDENCE_BINS; bin++) {
        confidence->both[bin] -= pair->both[bin];
        confidence->agreed[bin] -= pair->agreed[bin];
        confidence->claimed[bin] = fmax(confidence->claimed[bin] - pair->claimed[bin], 0);
    }
    memset(pair, 0, sizeof(*pair));
}

void confidence_tell(struct confidence *confidence, double local_confidence, bool right)
{
    const size_t bin = bin_of(confidence, local_confidence);

    if (confidence->told[bin] >= CONFIDENCE_MEMORY) {
        counts_halve(&confidence->told[bin], &confidence->right[bin]);
    }
    confidence->told[bin]++;
    confidence->right[bin] += right;
}

void confidence_untell(struct confidence *confidence, double local_confidence, bool right)
{
    const size_t bin = bin_of(confidence, local_confidence);

    confidence->told[bin] -= confidence->told[bin] > 0;
    confidence->right[bin] -= right && confidence->right[bin] > 0;
    confidence->right[bin] = confidence->right[bin] < confidence->told[bin] ? confidence->right[bin]
                                                                            : confidence->told[bin];
}

double confidence_error(const struct confidence *confidence, double local_confidence)
{
    double errors[CONFIDENCE_BINS], weights[CONFIDENCE_BINS];

    errors_fit(confidence, errors, weights);
    return errors[bin_of(confidence, local_confidence)];
}

void confidence_bins(const struct confidence *confidence,
                     struct confidence_bin ret_bins[CONFIDENCE_BINS])
{
    double errors[CONFIDENCE_BINS], weights[CONFIDENCE_BINS];
    double all = 0, both = 1, bound = 1;

    errors_fit(confidence, errors, weights);
    for (size_t bin = 0; bin < CONFIDENCE_BINS; bin++) {
        all += bin_weight(confidence, bin);
        both += (double)confidence->both[bin] + (double)confidence->told[bin];
    }
    for (size_t bin = 0; bin < CONFIDENCE_BINS; bin++) {
        const bool nothing = is_of_nothing(confidence, bin);
        const double error = errors[bin];
        const double bonus = sqrt(BOUND_ALPHA * error * (1 - error) * log(both) / weights[bin]);
        const double own_bound = fmin(error + bonus, 1);

        bound = nothing ? bound : fmin(bound, own_bound); /* what holds for the less sure holds */
        ret_bins[bin] =
            (struct confidence_bin){.middle = bin_middle(bin),
                                    .share = bin_weight(confidence, bin) / all,
                                    .claimed_error = nothing ? error /* it claims nothing */
                                                             : known_error(confidence, bin),
                                    .error = error,
                                    .error_bound = nothing ? own_bound : bound,
                                    .doubt = error,
                                    .factor = 1,
                                    .any_factor = 1};
    }
}
