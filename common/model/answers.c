#include "common/model/answers.h"

#include "common/base/error.h"
#include "common/base/limits.h"

#include <math.h>

void answers_init(struct answers *answers)
{
    *answers = (struct answers){.count = 0};
    buf_init(&answers->raw, 0);
    buf_init(&answers->right, 0);
    buf_init(&answers->logits, LIMIT_CALIBRATION_BYTES);
    buf_init(&answers->truths, 0);
}

void answers_fini(struct answers *answers)
{
    buf_fini(&answers->raw);
    buf_fini(&answers->right);
    buf_fini(&answers->logits);
    buf_fini(&answers->truths);
}

int answers_add_text(struct answers *answers, double raw, bool right)
{
    int result = buf_append(&answers->raw, &raw, sizeof(raw));

    if (result == 0) {
        result = buf_append(&answers->right, &right, sizeof(right));
    }
    if (result != 0) {
        answers->raw.bytes = answers->count * sizeof(raw);
        return result;
    }
    answers->count++;
    return 0;
}

int answers_add_class(struct answers *answers, const float *logits, uint32_t n_class,
                      uint32_t truth)
{
    uint32_t best = 0;
    double sum = 0;
    int result;

    if (truth >= n_class || (answers->count > 0 && answers->n_class != n_class)) {
        return TANDEM_EINVAL;
    }
    for (uint32_t i = 1; i < n_class; i++) {
        best = logits[i] > logits[best] ? i : best;
    }
    for (uint32_t i = 0; i < n_class; i++) {
        sum += exp((double)(logits[i] - logits[best]));
    }
    result = buf_append(&answers->logits, logits, sizeof(*logits) * n_class);
    if (result == 0) {
        result = buf_append(&answers->truths, &truth, sizeof(truth));
    }
    if (result == 0) {
        answers->n_class = n_class;
        result = answers_add_text(answers, 1 / sum, best == truth);
    }
    if (result != 0) {
        answers->logits.bytes = answers->count * sizeof(*logits) * n_class;
        answers->truths.bytes = answers->count * sizeof(truth);
    }
    return result;
}

struct calibration_data answers_data(const struct answers *answers)
{
    return (struct calibration_data){
        .count = answers->count,
        .raw = (const double *)(const void *)answers->raw.data,
        .right = (const bool *)(const void *)answers->right.data,
        .n_class = answers->n_class,
        .logits = (const float *)(const void *)answers->logits.data,
        .truths = (const uint32_t *)(const void *)answers->truths.data,
    };
}
