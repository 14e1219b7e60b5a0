/* confidence_boxes.h: how sure a local model is of an answer made of boxes, from their scores. Pure
 * state; one thread.
 *
 * A score p is the calibrated probability that its box is one of the things to be found. An answer
 * says of each box it lists that it is one (p at least one half) or that it is none, and is right
 * about it with max(p, 1 - p). The whole answer is right where it is right about each of them: with
 * independent boxes the product,
 *
 *   c = prod_i max(p_i, 1 - p_i),
 *
 * so one doubtful box makes the answer doubtful however many sure ones stand beside it, which their
 * mean would hide; and of many boxes some are wrong sooner than of a few. In truth boxes of one
 * picture are right and wrong together more often than that, and c claims too little: how often
 * answers of a bin of c are wrong is learned (confidence.h).
 *
 * What is less likely than CONFIDENCE_BOXES_LEAST is noise that models list or cut off as they
 * please; alone it would not take an answer out of the surest bin. An answer that lists nothing
 * else has found nothing. No score tells what it has missed, so it has no c of its own: it is
 * CONFIDENCE_NOTHING, a bin for itself, and how sure it is follows from what was learned of that.
 */
#ifndef TANDEM_POLICY_CONFIDENCE_BOXES_H
#define TANDEM_POLICY_CONFIDENCE_BOXES_H

#include <stdint.h>

#define CONFIDENCE_BOXES_LEAST 0.1

struct confidence_boxes {
    double sure;
    uint32_t found; /* boxes that are no noise */
};
void confidence_boxes_init(struct confidence_boxes *boxes);
/* `score`: 0..1. One that is no number is as doubtful as can be. */
void confidence_boxes_add(struct confidence_boxes *boxes, double score);
/* 0..1, or CONFIDENCE_NOTHING. */
double confidence_boxes_get(const struct confidence_boxes *boxes);

#endif
