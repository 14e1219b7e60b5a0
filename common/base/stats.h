/* stats.h: running statistics: EWMA with variance, and quantiles of a sliding window. Plain state,
 * no clock and no locks: the owner thread passes time in. */
#ifndef TANDEM_BASE_STATS_H
#define TANDEM_BASE_STATS_H

#include <stddef.h>
#include <stdint.h>

/* Exponentially weighted mean and mean absolute deviation. `alpha` in (0,1] is the weight of a new
 * sample. */
struct ewma {
    double alpha;
    double mean;
    double deviation; /* EWMA of |sample - mean| */
    uint64_t count;   /* samples seen; mean and deviation mean nothing at 0 */
};
void ewma_init(struct ewma *ewma, double alpha);
void ewma_add(struct ewma *ewma, double sample);

/* The last `capacity` samples in a ring; quantiles by copying and selecting (capacity <=
 * QUANTILE_WINDOW_MAX). */
#define QUANTILE_WINDOW_MAX 256
struct quantile_window {
    double samples[QUANTILE_WINDOW_MAX];
    size_t capacity;
    size_t count; /* filled, <= capacity */
    size_t next;
};
void quantile_window_init(struct quantile_window *window, size_t capacity);
void quantile_window_add(struct quantile_window *window, double sample);
/* q in [0,1], nearest rank; NAN when empty. */
double quantile_window_get(const struct quantile_window *window, double q);
/* Share of samples > threshold; NAN when empty. */
double quantile_window_share_above(const struct quantile_window *window, double threshold);

/* Quantile of an array in place (sorts it), nearest rank; NAN when count is 0. */
double quantile_of(double *samples, size_t count, double q);

#endif
