/* confidence_text.h: how sure a local model is of the text it has said so far, from the
 * log-probabilities of its tokens. Pure state; one thread.
 *
 * The raw confidence is the product of the tokens' probabilities: the probability that the model
 * gives the whole text. Of product, mean and least token it told right answers from wrong ones
 * best, at the end and on the way, with the shipped commands model. The model's calibration turns
 * it into how often such texts are right. Both can only fall from token to token, so a text that is
 * not sure enough before its end will not be sure enough at its end. */
#ifndef TANDEM_POLICY_CONFIDENCE_TEXT_H
#define TANDEM_POLICY_CONFIDENCE_TEXT_H

#include "common/base/calibration.h"

#include <stdint.h>

struct confidence_text {
    double logprob_sum;
    uint32_t tokens;
};
void confidence_text_init(struct confidence_text *text);
/* `logprob`: the natural logarithm of one token's probability at temperature 1, the end's too. */
void confidence_text_add(struct confidence_text *text, double logprob);
/* 0..1. Before the first token: that of a text of certain tokens. */
double confidence_text_get(const struct confidence_text *text,
                           const struct calibration *calibration);

#endif
