#include "client/daemon/runner_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int label_compare(const void *a, const void *b)
{
    const struct answer_label *left = a, *right = b;

    return (left->score < right->score) - (left->score > right->score);
}

static int classify_answer(struct runner_job *job, float *scores, size_t classes)
{
    struct answer_label *labels = calloc(classes, sizeof(*labels));
    char number[24];

    if (!labels) {
        return TANDEM_ENOMEM;
    }
    job->answer.kind = WIRE_CLASSIFY;
    job->answer.labels = labels;
    job->answer.label_count = classes;
    for (size_t i = 0; i < classes; i++) {
        snprintf(number, sizeof(number), "%zu", i);
        labels[i].score = (double)scores[i];
        labels[i].label = strdup(i < job->model->label_count ? job->model->labels[i] : number);
        if (!labels[i].label) {
            return TANDEM_ENOMEM;
        }
    }
    qsort(labels, classes, sizeof(*labels), label_compare);
    for (; job->answer.label_count > LIMIT_LABELS; job->answer.label_count--) {
        free(labels[job->answer.label_count - 1].label);
    }
    job->answer.confidence =
        calibration_apply(&engine_model_info(job->model->model)->calibration, labels[0].score);
    return 0;
}

int classify_run(struct runner_job *job)
{
    const struct engine_model_info *info = engine_model_info(job->model->model);
    const struct engine_picture picture = {(enum engine_pixel_format)job->picture.format,
                                           job->picture.width,
                                           job->picture.height,
                                           job->picture.stride_bytes,
                                           job->input,
                                           job->input_bytes};
    float *pixels = malloc(sizeof(*pixels) * engine_picture_floats(job->model->model));
    float *scores = malloc(sizeof(*scores) * info->n_class);
    const float *row = pixels, *logits;
    int result = pixels && scores ? 0 : TANDEM_ENOMEM;

    if (result == 0) {
        result = engine_picture_prepare(job->model->model, &picture, pixels, job->why);
    }
    if (result == 0) {
        result = engine_encode_pictures(job->model->context, &row, 1, &job->abort, &logits);
    }
    if (result == 0) {
        memcpy(scores, logits, sizeof(*scores) * info->n_class);
        if (isfinite(
                scores[engine_softmax(scores, info->n_class, info->calibration.temperature)])) {
            result = classify_answer(job, scores, info->n_class);
        } else {
            snprintf(job->why, sizeof(job->why), "the model computes what is no number");
            result = TANDEM_EINTERNAL;
        }
    }
    free(pixels);
    free(scores);
    return result;
}
