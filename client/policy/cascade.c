#include "client/policy/cascade.h"

#include <math.h>

static struct cascade_error error_mean(const struct confidence_bin bins[CONFIDENCE_BINS])
{
    struct cascade_error mean = {0, 0};

    for (size_t i = 0; i < CONFIDENCE_BINS; i++) {
        mean.probability += bins[i].share * bins[i].error;
        mean.weight += bins[i].share * bins[i].error * bins[i].factor;
    }
    return mean;
}

double cascade_any_factor(const struct confidence_bin bins[CONFIDENCE_BINS])
{
    double sum = 0;

    for (size_t i = 0; i < CONFIDENCE_BINS; i++) {
        sum += bins[i].share * bins[i].any_factor;
    }
    return sum;
}

/* The part of what is learned as local errors that the edge mends. They are learned as answers that
 * differ, and where they differ the edge may be the one that is wrong: over all, it mends what
 * local answers are wrong more often than its own. */
static double mended(const struct confidence_bin bins[CONFIDENCE_BINS],
                     const struct edge_belief *edge)
{
    double differ = 0, claimed = 0, part;

    for (size_t i = 0; i < CONFIDENCE_BINS; i++) {
        differ += bins[i].share * bins[i].doubt;
        claimed += bins[i].share * bins[i].claimed_error;
    }
    part = differ > 0 ? (claimed - edge->error) / differ : 0;
    return fmin(fmax(part, edge->mended_min), 1);
}

void cascade_errors(const struct confidence_bin bins[CONFIDENCE_BINS],
                    const struct edge_belief *edge, struct cascade_error *ret_local,
                    struct cascade_error *ret_edge)
{
    const double left = 1 - mended(bins, edge);

    *ret_local = error_mean(bins);
    *ret_edge = (struct cascade_error){ret_local->probability * left, ret_local->weight * left};
}

/* How long an edge's answer is waited for, on average. */
static double waited_ms(const struct cascade_terms *terms)
{
    return (1 - terms->failure) * terms->edge_ms + terms->failure * terms->edge_p95_ms;
}

/* What is neither before `below` nor at `threshold` or after it asks. */
static void expect(const struct cascade_terms *terms, const struct confidence_bin *bins,
                   double part, struct cascade *cascade)
{
    double gain = 0;

    cascade->asked = 0;
    cascade->error = (struct cascade_error){0, 0};
    for (size_t i = 0; i < CONFIDENCE_BINS; i++) {
        const bool asks = bins[i].middle >= cascade->below && bins[i].middle < cascade->threshold;
        const double share = bins[i].share, error = share * bins[i].error;
        const double left = error * (asks ? 1 - part : 1);

        cascade->asked += asks ? share : 0;
        cascade->error.probability += left + (asks ? share * terms->upload_error : 0);
        cascade->error.weight +=
            left * bins[i].factor + (asks ? share * terms->upload_error * bins[i].any_factor : 0);
        gain += asks ? error * part * bins[i].factor : 0;
    }
    cascade->sent = cascade->at_once ? 1 : cascade->asked;
    cascade->latency_ms =
        terms->local_ms +
        cascade->asked *
            (cascade->at_once ? fmax(waited_ms(terms) - terms->local_ms, 0) : waited_ms(terms));
    cascade->gain_ms = cascade->asked > 0 ? terms->one_error_ms * gain / cascade->asked : 0;
}

/* Whether an answer of this bin is worth less to mend than asking costs. */
static bool bin_stays(const struct cascade_terms *terms, const struct confidence_bin *bin,
                      double part, double price_ms)
{
    const double bound = terms->checks ? 1 : bin->error_bound;

    return terms->one_error_ms *
               (part * bound * bin->factor - terms->upload_error * bin->any_factor) <=
           price_ms;
}

/* What stays: from either end, as far as every answer does. */
static void thresholds_best(const struct cascade_terms *terms, const struct confidence_bin *bins,
                            double part, double price_ms, struct cascade *cascade)
{
    size_t low = 0, high = CONFIDENCE_BINS;

    while (low < terms->border && bin_stays(terms, &bins[low], part, price_ms)) {
        low++;
    }
    while (high > terms->border && bin_stays(terms, &bins[high - 1], part, price_ms)) {
        high--;
    }
    cascade->below = (double)low / CONFIDENCE_BINS;
    cascade->threshold = (double)high / CONFIDENCE_BINS;
}

static void thresholds_given(const struct cascade_terms *terms, struct cascade *cascade)
{
    const double border = (double)terms->border / CONFIDENCE_BINS;

    if (terms->nothing) {
        cascade->threshold = border + (1 - border) * terms->threshold;
        cascade->below = 1 - terms->bins[0].error >= terms->threshold ? border : 0;
        return;
    }
    cascade->threshold = fmax(terms->threshold, border);
    cascade->below = fmin(1 - terms->threshold, border);
}

static double cost_of(const struct cascade_terms *terms, const struct cascade *cascade)
{
    return cascade->latency_ms + terms->one_error_ms * cascade->error.weight +
           cascade->sent * terms->send_ms;
}

void cascade_plan(const struct cascade_terms *terms, struct cascade *ret_cascade)
{
    const struct confidence_bin *bins = terms->bins;
    const double part = mended(bins, &terms->edge) * (1 - terms->failure);

    for (int at_once = 0; at_once <= (terms->in_turn ? 0 : 1); at_once++) {
        const double price_ms = at_once ? fmax(waited_ms(terms) - terms->local_ms, 0)
                                        : waited_ms(terms) + terms->send_ms;
        struct cascade tried = {.at_once = at_once != 0};

        if (isnan(terms->threshold)) {
            thresholds_best(terms, bins, part, price_ms, &tried);
        } else {
            thresholds_given(terms, &tried);
        }
        expect(terms, bins, part, &tried);
        if (!at_once || cost_of(terms, &tried) < cost_of(terms, ret_cascade)) {
            *ret_cascade = tried;
        }
    }
}
