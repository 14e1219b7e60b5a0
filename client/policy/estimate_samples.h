/* estimate_samples.h: the last measurements of one quantity, each worth less the newer ones came
 * after it and the older it is. What they no longer say is filled in by the caller's prior, so old
 * or few samples lead back to what was believed before, neither to hope nor to despair. Pure state,
 * loop thread. */
#ifndef TANDEM_POLICY_ESTIMATE_SAMPLES_H
#define TANDEM_POLICY_ESTIMATE_SAMPLES_H

#include <stddef.h>
#include <stdint.h>

#define ESTIMATE_SAMPLES 32

struct estimate_samples {
    double values[ESTIMATE_SAMPLES];
    int64_t at_ns[ESTIMATE_SAMPLES];
    size_t next;
    uint64_t count; /* ever added */
};
/* A zeroed struct is empty. What is not finite is ignored. */
void estimate_samples_add(struct estimate_samples *samples, double value, int64_t now_ns);
/* Mean with `prior` (NAN: none) as a sample of small weight; NAN without any. */
double estimate_samples_mean(const struct estimate_samples *samples, double prior, int64_t now_ns);
/* The geometric mean, each newer sample worth much more than the one before: of a rate that may
 * have changed, neither ruled by its slow moments nor by its fast ones. NAN without any. */
double estimate_samples_geometric(const struct estimate_samples *samples, int64_t now_ns);
/* The value that a share `q` of the weight does not exceed, `prior` as above; NAN without any. */
double estimate_samples_quantile(const struct estimate_samples *samples, double q, double prior,
                                 int64_t now_ns);
/* The same of those not older than `since_ns`, each counted alike: of what happens seldom the
 * newest say too little. NAN without any. */
double estimate_samples_high(const struct estimate_samples *samples, double q, int64_t since_ns);
/* Forgets all but the newest `count`. */
void estimate_samples_keep(struct estimate_samples *samples, size_t count);
/* When the newest came; 0 without any. */
int64_t estimate_samples_newest_ns(const struct estimate_samples *samples);
/* The smallest of those from `since_ns` on, and how many these are; NAN without any. */
double estimate_samples_least(const struct estimate_samples *samples, int64_t since_ns,
                              size_t *ret_count);

#endif
