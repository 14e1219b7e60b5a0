/* picture_resize.c: half-pixel bilinear resampling whose triangle is widened by the scale when
 * shrinking, so that every source pixel counts and fine texture does not alias. A window that
 * reaches over an edge is cut there and its weights add up to one again. The two axes are
 * independent: rows are mixed first, straight from bytes, then the one mixed row is mixed across.
 *
 *     source rows  [h, w·c] bytes ──axis y──→ row [w·c] floats ──axis x──→ target row [tw·c] floats
 * one target row at a time
 */
#include "common/engine/picture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What each target index reads: weights[first_weight[i] ...] times source[start[i] ... start[i] +
 * count[i] - 1]. */
struct axis {
    uint32_t *start, *count; /* [target] */
    size_t *first_weight;    /* [target] */
    float *weights;
};

static void axis_fini(struct axis *axis)
{
    free(axis->start);
    free(axis->count);
    free(axis->first_weight);
    free(axis->weights);
}

static int axis_init(struct axis *axis, uint32_t source, uint32_t target)
{
    const double scale = (double)source / (double)target;
    const double reach = scale > 1 ? scale : 1; /* half the triangle's foot, in source pixels */
    const size_t taps = 2 * (size_t)ceil(reach) + 2;
    size_t used = 0;

    axis->start = calloc(target, sizeof *axis->start);
    axis->count = calloc(target, sizeof *axis->count);
    axis->first_weight = calloc(target, sizeof *axis->first_weight);
    axis->weights = calloc(target * taps, sizeof *axis->weights);
    if (!axis->start || !axis->count || !axis->first_weight || !axis->weights) {
        return TANDEM_ENOMEM;
    }
    for (uint32_t i = 0; i < target; i++) {
        const double center = ((double)i + 0.5) * scale;
        const double low = floor(center - reach + 0.5), high = floor(center + reach + 0.5);
        const uint32_t start = low > 0 ? (uint32_t)low : 0;
        const uint32_t end = high < (double)source ? (uint32_t)high : source;
        double sum = 0;

        axis->start[i] = start;
        axis->count[i] = end - start;
        axis->first_weight[i] = used;
        for (uint32_t j = start; j < end; j++) {
            const double distance = fabs((double)j + 0.5 - center) / reach;

            axis->weights[used + j - start] = (float)(distance < 1 ? 1 - distance : 0);
            sum += distance < 1 ? 1 - distance : 0;
        }
        for (uint32_t j = start; j < end; j++) {
            axis->weights[used + j - start] =
                (float)((double)axis->weights[used + j - start] / sum);
        }
        used += end - start;
    }
    return 0;
}

/* row[i] += weight * source[i] */
static void row_add(float *row, const uint8_t *source, float weight, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        row[i] += weight * (float)source[i];
    }
}

static void mix_across(const struct axis *axis, const float *row, uint32_t target_width,
                       uint32_t channels, float *ret_row)
{
    for (uint32_t x = 0; x < target_width; x++) {
        const float *weights = axis->weights + axis->first_weight[x];
        const float *from = row + (size_t)axis->start[x] * channels;

        for (uint32_t c = 0; c < channels; c++) {
            float sum = 0;

            for (size_t j = 0; j < axis->count[x]; j++) {
                sum += weights[j] * from[j * channels + c];
            }
            ret_row[(size_t)x * channels + c] = sum;
        }
    }
}

int picture_resize(const struct picture_pixels *pixels, uint32_t target_width,
                   uint32_t target_height, float *ret_values)
{
    const size_t row_values = (size_t)pixels->width * pixels->channels;
    struct axis across = {0}, down = {0};
    float *row = NULL;
    int rc;

    if (pixels->width == target_width && pixels->height == target_height) {
        for (size_t i = 0; i < row_values * pixels->height; i++) {
            ret_values[i] = (float)pixels->data[i];
        }
        return 0;
    }
    rc = axis_init(&across, pixels->width, target_width);
    if (rc == 0) {
        rc = axis_init(&down, pixels->height, target_height);
    }
    if (rc != 0) {
        goto out;
    }
    row = calloc(row_values, sizeof *row);
    if (!row) {
        rc = TANDEM_ENOMEM;
        goto out;
    }
    for (uint32_t y = 0; y < target_height; y++) {
        memset(row, 0, row_values * sizeof *row);
        for (uint32_t j = 0; j < down.count[y]; j++) {
            row_add(row, pixels->data + (size_t)(down.start[y] + j) * row_values,
                    down.weights[down.first_weight[y] + j], row_values);
        }
        mix_across(&across, row, target_width, pixels->channels,
                   ret_values + (size_t)y * target_width * pixels->channels);
    }
out:
    free(row);
    axis_fini(&across);
    axis_fini(&down);
    return rc;
}
