#include "common/model/calibration_choose.h"

#include "common/base/error.h"

#include <math.h>
#include <stdlib.h>

#define HELD_OUT    3 /* one example in so many */
#define FOLDS       5
#define GAIN_ERRORS 2 /* a gain of so many standard errors is no chance */

/* Indices of the examples, and room for points of each. */
struct parts {
    size_t *fit, *held, *fold; /* [count] */
    size_t fit_count, held_count;
    struct calibration_point *points; /* [count] */
    double *plain;                    /* [fit_count]: squared errors of confidences as they are */
};

static int parts_init(struct parts *parts, size_t count)
{
    parts->fit = calloc(3 * count, sizeof(*parts->fit));
    parts->points = calloc(count, sizeof(*parts->points));
    parts->plain = calloc(count, sizeof(*parts->plain));
    if (!parts->fit || !parts->points || !parts->plain) {
        return TANDEM_ENOMEM;
    }
    parts->held = parts->fit + count;
    parts->fold = parts->held + count;
    for (size_t i = 0; i < count; i++) {
        if (i % HELD_OUT == HELD_OUT - 1) {
            parts->held[parts->held_count++] = i;
        } else {
            parts->fit[parts->fit_count++] = i;
        }
    }
    return 0;
}

static void parts_fini(struct parts *parts)
{
    free(parts->fit);
    free(parts->points);
    free(parts->plain);
}

static struct calibration_point point_of(const struct calibration_data *data,
                                         const struct calibration *calibration, size_t index)
{
    return (struct calibration_point){calibration_confidence(calibration, data, index),
                                      data->right[index]};
}

static double squared_error(const struct calibration_point *point)
{
    const double off = point->confidence - (double)point->right;

    return off * off;
}

/* How much less the squared errors of parts->points are than the plain ones, in standard errors of
 * the mean of the differences: every answer is compared with itself. */
static double gain_errors(const struct parts *parts)
{
    const double count = (double)parts->fit_count;
    double sum = 0, squares = 0, mean, variance;

    for (size_t i = 0; i < parts->fit_count; i++) {
        const double gain = parts->plain[i] - squared_error(&parts->points[i]);

        sum += gain;
        squares += gain * gain;
    }
    mean = sum / count;
    variance = fmax(squares / count - mean * mean, 0);
    return mean / sqrt(variance / count);
}

/* Each answer's confidence from a fit that has not seen it. */
static int folds_score(const struct calibration_data *data, struct parts *parts,
                       enum calibration_method method, struct calibration_score *ret_score,
                       double *ret_gain_errors)
{
    for (size_t fold = 0; fold < FOLDS; fold++) {
        struct calibration calibration;
        size_t count = 0;
        int rc;

        for (size_t i = 0; i < parts->fit_count; i++) {
            if (i % FOLDS != fold) {
                parts->fold[count++] = parts->fit[i];
            }
        }
        rc = calibration_fit(method, data, parts->fold, count, &calibration);
        if (rc != 0) {
            return rc;
        }
        for (size_t i = fold; i < parts->fit_count; i += FOLDS) {
            parts->points[i] = point_of(data, &calibration, parts->fit[i]);
        }
    }
    for (size_t i = 0; method == CALIBRATION_AS_IT_IS && i < parts->fit_count; i++) {
        parts->plain[i] = squared_error(&parts->points[i]);
    }
    *ret_gain_errors = method == CALIBRATION_AS_IT_IS ? 0 : gain_errors(parts);
    calibration_score(parts->points, parts->fit_count, ret_score);
    return 0;
}

static void held_score(const struct calibration_data *data, struct parts *parts,
                       const struct calibration *calibration, struct calibration_score *ret_score)
{
    for (size_t i = 0; i < parts->held_count; i++) {
        parts->points[i] = point_of(data, calibration, parts->held[i]);
    }
    calibration_score(parts->points, parts->held_count, ret_score);
}

int calibration_choose(const struct calibration_data *data, const struct calibration *before,
                       struct calibration_choice *ret_choice)
{
    struct calibration_choice choice = {.method = CALIBRATION_AS_IT_IS};
    struct parts parts = {.fit = NULL};
    int rc = parts_init(&parts, data->count);

    for (enum calibration_method i = CALIBRATION_AS_IT_IS; rc == 0 && i < CALIBRATION_METHODS;
         i++) {
        choice.tried[i] = calibration_method_fits(i, data);
        if (choice.tried[i]) {
            rc = folds_score(data, &parts, i, &choice.folds[i], &choice.gain_errors[i]);
        }
        if (rc == 0 && choice.tried[i] && choice.gain_errors[i] > GAIN_ERRORS &&
            choice.folds[i].brier < choice.folds[choice.method].brier) {
            choice.method = i;
        }
    }
    if (rc == 0) {
        rc = calibration_fit(choice.method, data, parts.fit, parts.fit_count, &choice.calibration);
    }
    if (rc == 0) {
        choice.examples = data->count;
        choice.held_out = parts.held_count;
        held_score(data, &parts, before, &choice.before);
        held_score(data, &parts, &choice.calibration, &choice.after);
        *ret_choice = choice;
    }
    parts_fini(&parts);
    return rc;
}
