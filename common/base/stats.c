#include "common/base/stats.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void ewma_init(struct ewma *ewma, double alpha)
{
    assert(alpha > 0.0 && alpha <= 1.0);
    *ewma = (struct ewma){.alpha = alpha};
}

void ewma_add(struct ewma *ewma, double sample)
{
    if (!isfinite(sample)) {
        return; /* one would poison the mean for good */
    }
    if (ewma->count == 0) {
        ewma->mean = sample;
    } else {
        ewma->deviation += ewma->alpha * (fabs(sample - ewma->mean) - ewma->deviation);
        ewma->mean += ewma->alpha * (sample - ewma->mean);
    }
    ewma->count++;
}

void quantile_window_init(struct quantile_window *window, size_t capacity)
{
    assert(capacity > 0 && capacity <= QUANTILE_WINDOW_MAX);
    *window = (struct quantile_window){.capacity = capacity};
}

void quantile_window_add(struct quantile_window *window, double sample)
{
    if (!isfinite(sample)) {
        return;
    }
    window->samples[window->next] = sample;
    window->next = (window->next + 1) % window->capacity;
    if (window->count < window->capacity) {
        window->count++;
    }
}

double quantile_window_get(const struct quantile_window *window, double q)
{
    double sorted[QUANTILE_WINDOW_MAX];

    memcpy(sorted, window->samples, window->count * sizeof(sorted[0]));
    return quantile_of(sorted, window->count, q);
}

double quantile_window_share_above(const struct quantile_window *window, double threshold)
{
    size_t above = 0;

    if (window->count == 0) {
        return NAN;
    }
    for (size_t i = 0; i < window->count; i++) {
        above += window->samples[i] > threshold;
    }
    return (double)above / (double)window->count;
}

static int double_compare(const void *left, const void *right)
{
    const double a = *(const double *)left;
    const double b = *(const double *)right;

    return (a > b) - (a < b);
}

double quantile_of(double *samples, size_t count, double q)
{
    size_t rank;

    if (count == 0) {
        return NAN;
    }
    qsort(samples, count, sizeof(samples[0]), double_compare);
    if (!(q > 0.0)) {
        return samples[0];
    }
    /* Nearest rank. The small term keeps 0.95 * 20 = 19.000000000000004 from becoming rank 20. */
    rank = q >= 1.0 ? count : (size_t)ceil(q * (double)count - 1e-9);
    return samples[rank > 0 ? rank - 1 : 0];
}
