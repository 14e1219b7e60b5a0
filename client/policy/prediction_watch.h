/* prediction_watch.h: whether what was predicted came true, of the last PREDICTION_WATCH answers of
 * one kind: how many took no longer than their predicted P95 (95 of 100 should), how far the
 * predicted latency was off, and how far the confidence of answers is from how often they are
 * right. It only watches; what is learned from is elsewhere. Zeroed, nothing was looked at. Pure,
 * no memory. */
#ifndef TANDEM_POLICY_PREDICTION_WATCH_H
#define TANDEM_POLICY_PREDICTION_WATCH_H

#include "client/policy/estimate_edge.h"
#include "common/base/stats.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PREDICTION_WATCH 200 /* answers: a share of them is known to a point or two */

/* ---- latency ---- */

struct prediction_watch {
    struct quantile_window of_p95; /* each answer's time by its predicted P95 */
    struct quantile_window error;  /* and how far the predicted one was off, by what it took */
};
struct prediction_figures {
    size_t answers;
    double within_p95;   /* share of them; NAN: none */
    double median_error; /* |predicted - took| / took; NAN: none */
};
void prediction_watch_add(struct prediction_watch *watch, const struct latency *predicted,
                          double took_ms);
/* It was given up after so long: longer than the P95 that was predicted it took for certain; else
 * nothing is known. */
void prediction_watch_given_up(struct prediction_watch *watch, const struct latency *predicted,
                               double waited_ms);
struct prediction_figures prediction_watch_get(const struct prediction_watch *watch);

/* ---- confidence ---- */

struct confidence_watch {
    struct {
        uint64_t decision; /* 0: taken back */
        float confidence;
        bool right;
    } items[PREDICTION_WATCH];
    size_t count, next;
};
/* The answer of this decision, which was so sure, was right, or wrong (or agreed with the edge's,
 * or not: who calls says which). What was said of it before holds no more. */
void confidence_watch_add(struct confidence_watch *watch, uint64_t decision, double confidence,
                          bool right);
/* Nothing is said of it any more. */
void confidence_watch_remove(struct confidence_watch *watch, uint64_t decision);
/* The expected calibration error (Naeini et al., AAAI 2015): over ten bins of confidence, weighted
 * by their answers, |share that was right - mean confidence|. NAN where there is no answer;
 * *ret_answers is how many there are. */
double confidence_watch_ece(const struct confidence_watch *watch, size_t *ret_answers);

#endif
