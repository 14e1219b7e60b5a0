#include "client/policy/cascade.h"

#include <math.h>

static double error_mean(const struct confidence_bin bins[CONFIDENCE_BINS])
{
    double sum = 0;

    for (size_t i = 0; i < CONFIDENCE_BINS; i++) {
        sum += bins[i].share * bins[i].error;
    }
    return sum;
}

static double claimed_mean(const struct confidence_bin bins[CONFIDENCE_BINS])
{
    double sum = 0;

    for (size_t i = 0; i < CONFIDENCE_BINS; i++) {
        sum += bins[i].share * bins[i].claimed_error;
    }
    return sum;
}

/* The part of what is learned as local errors that the edge mends. They are learned as answers that
 * differ, and where they differ the edge may be the one that is wrong: over all, it mends what
 * local answers are wrong more often than its own. */
static double mended(const struct confidence_bin bins[CONFIDENCE_BINS],
                     const struct edge_belief *edge)
{
    const double differ = error_mean(bins);
    const double part = differ > 0 ? (claimed_mean(bins) - edge->error) / differ : 0;

    return fmin(fmax(part, edge->mended_min), 1);
}

void cascade_errors(const struct confidence_bin bins[CONFIDENCE_BINS],
                    const struct edge_belief *edge, double *ret_local, double *ret_edge)
{
    *ret_local = error_mean(bins);
    *ret_edge = *ret_local * (1 - mended(bins, edge));
}

/* How long an edge's answer is waited for, on average. */
static double waited_ms(const struct cascade_terms *terms)
{
    return (1 - terms->failure) * terms->edge_ms + terms->failure * terms->edge_p95_ms;
}

/* Everything less sure than `threshold` asks. */
static void expect(const struct cascade_terms *terms, const struct confidence_bin *bins,
                   double part, struct cascade *cascade)
{
    double gain = 0;

    cascade->asked = cascade->error = 0;
    for (size_t i = 0; i < CONFIDENCE_BINS; i++) {
        const bool asks = bins[i].middle < cascade->threshold;

        cascade->asked += asks ? bins[i].share : 0;
        cascade->error += bins[i].share * bins[i].error * (asks ? 1 - part : 1);
        cascade->error += asks ? bins[i].share * terms->upload_error : 0;
        gain += asks ? bins[i].share * bins[i].error * part : 0;
    }
    cascade->sent = cascade->at_once ? 1 : cascade->asked;
    cascade->latency_ms =
        terms->local_ms +
        cascade->asked *
            (cascade->at_once ? fmax(waited_ms(terms) - terms->local_ms, 0) : waited_ms(terms));
    cascade->gain_ms = cascade->asked > 0 ? terms->one_error_ms * gain / cascade->asked : 0;
}

/* The lowest threshold above which every answer is worth less to mend than asking costs. */
static double threshold_best(const struct cascade_terms *terms, const struct confidence_bin *bins,
                             double part, double price_ms)
{
    size_t bin = CONFIDENCE_BINS;

    while (bin > 0 && terms->one_error_ms * part * bins[bin - 1].error_bound <= price_ms) {
        bin--;
    }
    return (double)bin / CONFIDENCE_BINS;
}

static double cost_of(const struct cascade_terms *terms, const struct cascade *cascade)
{
    return cascade->latency_ms + terms->one_error_ms * cascade->error +
           cascade->sent * terms->send_ms;
}

void cascade_plan(const struct cascade_terms *terms, struct cascade *ret_cascade)
{
    const struct confidence_bin *bins = terms->bins;
    const double part = mended(bins, &terms->edge) * (1 - terms->failure);

    for (int at_once = 0; at_once <= (terms->in_turn ? 0 : 1); at_once++) {
        const double price_ms = terms->one_error_ms * terms->upload_error +
                                (at_once ? fmax(waited_ms(terms) - terms->local_ms, 0)
                                         : waited_ms(terms) + terms->send_ms);
        struct cascade tried = {.at_once = at_once != 0,
                                .threshold = isnan(terms->threshold)
                                                 ? threshold_best(terms, bins, part, price_ms)
                                                 : terms->threshold};

        expect(terms, bins, part, &tried);
        if (!at_once || cost_of(terms, &tried) < cost_of(terms, ret_cascade)) {
            *ret_cascade = tried;
        }
    }
}
