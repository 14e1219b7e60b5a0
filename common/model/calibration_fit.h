/* calibration_fit.h: the calibration that fits a model's answers to examples. Pure but for memory;
 * one thread.
 *
 * Four ways are tried, each with few numbers, so that some hundred examples are enough:
 *   as it is     none
 *   temperature  of classes: the T with the least cross-entropy of the truths (Guo et al., 2017)
 *   logistic     sigmoid(a * log-odds(raw) + b), a >= 0 (Platt, Probabilistic Outputs for Support
 *                Vector Machines, 1999, with its targets); written as a table
 *   table        raw confidences in groups of equal size: a group's mean and how often its answers
 *                are right, made monotone by pooling neighbours (Ayer et al., 1955)
 */
#ifndef TANDEM_MODEL_CALIBRATION_FIT_H
#define TANDEM_MODEL_CALIBRATION_FIT_H

#include "common/base/calibration.h"
#include "common/model/calibration_score.h"

#include <stdint.h>

/* Answers to examples. */
struct calibration_data {
    size_t count;
    const double *raw;      /* [count] 0..1 at temperature 1 */
    const bool *right;      /* [count] */
    uint32_t n_class;       /* 0: texts, which have no classes */
    const float *logits;    /* [count, n_class]; NULL: texts */
    const uint32_t *truths; /* [count], classes; NULL: texts */
};

enum calibration_method {
    CALIBRATION_AS_IT_IS,
    CALIBRATION_TEMPERATURE,
    CALIBRATION_LOGISTIC,
    CALIBRATION_TABLE,
    CALIBRATION_METHODS
};
const char *calibration_method_text(enum calibration_method method);
/* Whether the method is for this data. */
bool calibration_method_fits(enum calibration_method method, const struct calibration_data *data);

/* Fits to the examples `indices` [count, 1 or more] of the data. The result is sound, and its
 * numbers are what a file's f32 holds. TANDEM_ENOMEM. */
int calibration_fit(enum calibration_method method, const struct calibration_data *data,
                    const size_t *indices, size_t count, struct calibration *ret_calibration);
/* What `calibration` makes of the answer to example `index`. */
double calibration_confidence(const struct calibration *calibration,
                              const struct calibration_data *data, size_t index);

#endif
