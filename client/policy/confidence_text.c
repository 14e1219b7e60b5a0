#include "client/policy/confidence_text.h"

#include <math.h>

void confidence_text_init(struct confidence_text *text)
{
    *text = (struct confidence_text){0};
}

void confidence_text_add(struct confidence_text *text, double logprob)
{
    text->logprob_sum += fmin(logprob, 0); /* rounding */
    text->tokens++;
}

double confidence_text_get(const struct confidence_text *text,
                           const struct calibration *calibration)
{
    return calibration_apply(calibration, exp(text->logprob_sum));
}
