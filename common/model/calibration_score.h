/* calibration_score.h: how well what a model says of its answers agrees with how often they are
 * right. Pure; any thread.
 *
 * ECE is the expected calibration error over 15 bins of equal width (Guo et al., On Calibration of
 * Modern Neural Networks, 2017); the Brier score is the mean of (confidence - right)^2; AUC is the
 * chance that a right answer is surer than a wrong one, ties counted half. */
#ifndef TANDEM_MODEL_CALIBRATION_SCORE_H
#define TANDEM_MODEL_CALIBRATION_SCORE_H

#include <stdbool.h>
#include <stddef.h>

#define CALIBRATION_BINS 15

struct calibration_point {
    double confidence; /* 0..1 */
    bool right;
};
struct calibration_score {
    double accuracy, confidence /* mean */, ece, brier;
    double auc; /* NAN without a right or without a wrong answer */
};

/* The least sure first. */
void calibration_points_sort(struct calibration_point *points, size_t count);
/* Of `count` answers, 1 or more; puts them in order of confidence. */
void calibration_score(struct calibration_point *points, size_t count,
                       struct calibration_score *ret_score);

#endif
