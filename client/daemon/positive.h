/* positive.h: answers of a task with `positive_label`, whose question is whether that label is the
 * right one (cascade_two.h). Whoever computed it, an answer names first the label of least expected
 * cost: the positive one, or the likeliest of the others, which then stand for "no". The scores
 * stay as the model gave them. `label` "": the task has no such question. Pure. */
#ifndef TANDEM_CLIENT_POSITIVE_H
#define TANDEM_CLIENT_POSITIVE_H

#include "client/policy/cascade_two.h"
#include "common/wire/answer.h"

/* Makes of an answer as its model gave it the one of least expected cost: its first label, and its
 * confidence, which is then the probability that this answer to the question is right. The
 * probability of the label is its score, all scores scaled so that the likeliest label's is what
 * the calibrated confidence says of it; 0 where the answer does not name it. Once for each answer.
 * `costs` NULL or an answer without labels: nothing changes. */
void positive_choose(struct answer *answer, const char *label, const struct cascade_costs *costs);

/* Of a chosen answer: the probability of the label (""; how sure the answer is), whether it is the
 * answer, and whether it is likelier than any other, whatever the costs. */
double positive_sure(const struct answer *answer, const char *label);
bool positive_is_first(const struct answer *answer, const char *label);
bool positive_is_likely(const struct answer *answer, const char *label);

#endif
