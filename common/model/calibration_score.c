#include "common/model/calibration_score.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

static int point_compare(const void *a, const void *b)
{
    const struct calibration_point *left = a, *right = b;

    return (left->confidence > right->confidence) - (left->confidence < right->confidence);
}

void calibration_points_sort(struct calibration_point *points, size_t count)
{
    qsort(points, count, sizeof(*points), point_compare);
}

static double ece_of(const struct calibration_point *points, size_t count)
{
    double claimed[CALIBRATION_BINS] = {0}, right[CALIBRATION_BINS] = {0}, error = 0;

    for (size_t i = 0; i < count; i++) {
        const size_t at = (size_t)(points[i].confidence * CALIBRATION_BINS);
        const size_t bin = at < CALIBRATION_BINS ? at : CALIBRATION_BINS - 1;

        claimed[bin] += points[i].confidence;
        right[bin] += points[i].right;
    }
    for (size_t i = 0; i < CALIBRATION_BINS; i++) {
        error += fabs(claimed[i] - right[i]);
    }
    return error / (double)count;
}

/* Over pairs of a right and a wrong answer, by ranks: those of equal confidence come together. */
static double auc_of(const struct calibration_point *points, size_t count, double right)
{
    const double wrong = (double)count - right;
    double before = 0, won = 0; /* wrong ones that are less sure; pairs */

    for (size_t i = 0, end; i < count; i = end) {
        double here[2] = {0, 0};

        for (end = i; end < count && points[end].confidence <= points[i].confidence; end++) {
            here[points[end].right]++;
        }
        won += here[1] * (before + here[0] / 2);
        before += here[0];
    }
    return right > 0 && wrong > 0 ? won / (right * wrong) : (double)NAN;
}

void calibration_score(struct calibration_point *points, size_t count,
                       struct calibration_score *ret_score)
{
    double right = 0, confidence = 0, brier = 0;

    for (size_t i = 0; i < count; i++) {
        const double off = points[i].confidence - (double)points[i].right;

        right += points[i].right;
        confidence += points[i].confidence;
        brier += off * off;
    }
    calibration_points_sort(points, count);
    *ret_score = (struct calibration_score){.accuracy = right / (double)count,
                                            .confidence = confidence / (double)count,
                                            .ece = ece_of(points, count),
                                            .brier = brier / (double)count,
                                            .auc = auc_of(points, count, right)};
}
