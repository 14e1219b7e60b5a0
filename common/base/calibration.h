/* calibration.h: from what a model says of itself to how often it is right. Measured once on
 * examples that it has not seen (`tandem-model calibrate`) and kept in its file. Plain data; pure.
 *
 * A classifier may have a temperature: the probabilities are softmax(logits / temperature) (Guo et
 * al., On Calibration of Modern Neural Networks, 2017), and its raw confidence is the largest. A
 * text's raw confidence is the product of the probabilities of its tokens. Both may have a table
 * from raw confidence to probability: between the points x (rising) the probability y (never
 * falling) is on the straight line; before the first and after the last it is theirs. */
#ifndef TANDEM_BASE_CALIBRATION_H
#define TANDEM_BASE_CALIBRATION_H

#include "common/base/limits.h"

#include <stdbool.h>
#include <stddef.h>

#define CALIBRATION_TEMPERATURE_MIN 0.015625 /* a float has both */
#define CALIBRATION_TEMPERATURE_MAX 64.0

struct calibration {
    double temperature; /* CALIBRATION_TEMPERATURE_MIN..MAX; 1: as it is */
    size_t count;       /* of the table; 0: as it is */
    double x[LIMIT_CALIBRATION_POINTS], y[LIMIT_CALIBRATION_POINTS];
};
/* Changes nothing. */
void calibration_init(struct calibration *calibration);
/* Whether the temperature is within its bounds, the table rises in x, never falls in y, and all of
 * it lies within 0..1. */
bool calibration_is_sound(const struct calibration *calibration);
/* `raw` 0..1 by the table. Never falls as `raw` rises. */
double calibration_apply(const struct calibration *calibration, double raw);

#endif
