#include "client/policy/prediction_watch.h"

#include "client/policy/confidence.h"

#include <math.h>

/* ---- latency ---- */

static void window_add(struct quantile_window *window, double sample)
{
    if (window->capacity == 0) {
        quantile_window_init(window, PREDICTION_WATCH);
    }
    quantile_window_add(window, sample);
}

void prediction_watch_add(struct prediction_watch *watch, const struct latency *predicted,
                          double took_ms)
{
    if (took_ms > 0 && predicted->p95_ms > 0) {
        window_add(&watch->of_p95, took_ms / predicted->p95_ms);
        window_add(&watch->error, fabs(predicted->mean_ms - took_ms) / took_ms);
    }
}

void prediction_watch_given_up(struct prediction_watch *watch, const struct latency *predicted,
                               double waited_ms)
{
    if (waited_ms > predicted->p95_ms && predicted->p95_ms > 0) {
        window_add(&watch->of_p95, waited_ms / predicted->p95_ms);
    }
}

struct prediction_figures prediction_watch_get(const struct prediction_watch *watch)
{
    return (struct prediction_figures){.answers = watch->of_p95.count,
                                       .within_p95 =
                                           1 - quantile_window_share_above(&watch->of_p95, 1),
                                       .median_error = quantile_window_get(&watch->error, 0.5)};
}

/* ---- confidence ---- */

static size_t place_of(const struct confidence_watch *watch, uint64_t decision)
{
    size_t at = 0;

    while (at < watch->count && watch->items[at].decision != decision) {
        at++;
    }
    return at;
}

void confidence_watch_add(struct confidence_watch *watch, uint64_t decision, double confidence,
                          bool right)
{
    size_t at = place_of(watch, decision);

    if (!(confidence >= 0 && confidence <= 1) || decision == 0) {
        return;
    }
    if (at == watch->count) {
        at = watch->next;
        watch->next = (watch->next + 1) % PREDICTION_WATCH;
        watch->count += watch->count < PREDICTION_WATCH;
    }
    watch->items[at].decision = decision;
    watch->items[at].confidence = (float)confidence;
    watch->items[at].right = right;
}

void confidence_watch_remove(struct confidence_watch *watch, uint64_t decision)
{
    const size_t at = place_of(watch, decision);

    if (at < watch->count) {
        watch->items[at].decision = 0;
    }
}

double confidence_watch_ece(const struct confidence_watch *watch, size_t *ret_answers)
{
    double gap[CONFIDENCE_BINS] = {0}, sum = 0; /* of right ones over their confidences, by bin */
    size_t answers = 0;

    for (size_t i = 0; i < watch->count; i++) {
        const double confidence = (double)watch->items[i].confidence;
        const size_t bin = (size_t)(confidence * CONFIDENCE_BINS);

        if (watch->items[i].decision != 0) {
            gap[bin < CONFIDENCE_BINS ? bin : CONFIDENCE_BINS - 1] +=
                (watch->items[i].right ? 1 : 0) - confidence;
            answers++;
        }
    }
    for (size_t bin = 0; bin < CONFIDENCE_BINS; bin++) {
        sum += fabs(gap[bin]);
    }
    *ret_answers = answers;
    return answers > 0 ? sum / (double)answers : NAN;
}
