/* calibration_choose.h: which way of calibration_fit.h is best for a model's answers, and how much
 * better it is. Pure but for memory; one thread.
 *
 * Every third example is held out. On the others each way is tried in five folds, and the one with
 * the least Brier score is taken: it asks for confidences that are right and that tell right from
 * wrong answers, where the least ECE can be had by saying the same of every answer. A way whose
 * gain over confidences as they are may be chance is not taken: it must be more than two standard
 * errors of the answers' differences. */
#ifndef TANDEM_MODEL_CALIBRATION_CHOOSE_H
#define TANDEM_MODEL_CALIBRATION_CHOOSE_H

#include "common/model/calibration_fit.h"

struct calibration_choice {
    size_t examples, held_out;
    struct calibration_score folds[CALIBRATION_METHODS]; /* of those that fit, each in its fold */
    bool tried[CALIBRATION_METHODS];
    double gain_errors[CALIBRATION_METHODS]; /* how many standard errors less Brier score than as it
                                                is; 0 of that itself, NAN: no answer differs */
    enum calibration_method method;          /* the best */
    struct calibration calibration;          /* by it, of all examples but those held out */
    struct calibration_score before, after;  /* of those held out */
};

/* `before` is what the model has been calibrated with so far. There are 3 examples or more, so that
 * each part has one. TANDEM_ENOMEM. */
int calibration_choose(const struct calibration_data *data, const struct calibration *before,
                       struct calibration_choice *ret_choice);

#endif
