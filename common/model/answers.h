/* answers.h: what a model answered to examples, kept for a fit. All of one kind: classes or texts.
 * One thread. */
#ifndef TANDEM_MODEL_ANSWERS_H
#define TANDEM_MODEL_ANSWERS_H

#include "common/base/buf.h"
#include "common/model/calibration_fit.h"

struct answers {
    struct buf raw, right, logits, truths; /* of calibration_data */
    uint32_t n_class;
    size_t count;
};

void answers_init(struct answers *answers);
void answers_fini(struct answers *answers);
/* A row of logits [n_class], all finite, and its class in truth. TANDEM_ETOOBIG when all rows
 * together are over LIMIT_CALIBRATION_BYTES, TANDEM_ENOMEM, TANDEM_EINVAL for rows that are
 * not alike; nothing has changed then. */
int answers_add_class(struct answers *answers, const float *logits, uint32_t n_class,
                      uint32_t truth);
/* A text by the product of its tokens' probabilities. TANDEM_ENOMEM. */
int answers_add_text(struct answers *answers, double raw, bool right);
/* Borrowed: until the next answer is added. */
struct calibration_data answers_data(const struct answers *answers);

#endif
