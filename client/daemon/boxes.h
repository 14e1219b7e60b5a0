/* boxes.h: answers made of boxes, of tasks of kind detect: how sure the local one is
 * (confidence_boxes.h), and whether two of them say the same. Pure; boxes as answer.h has them. */
#ifndef TANDEM_CLIENT_BOXES_H
#define TANDEM_CLIENT_BOXES_H

#include "client/policy/confidence.h"
#include "common/wire/answer.h"

/* Sets the confidence of a local answer from its scores; of one that found nothing to how often
 * such answers are right, as was learned. */
void boxes_judge(struct answer *answer, const struct confidence *confidence);
/* Whether a judged answer found anything, noise left out; and how sure it is among struct
 * confidence's bins: its confidence, or CONFIDENCE_NOTHING. */
bool boxes_found(const struct answer *answer);
double boxes_sure(const struct answer *answer);

#define BOXES_COUNTED 0.5 /* a score from here on says that something is there */
#define BOXES_OVERLAP 0.5 /* intersection over union of two boxes that are of one thing */
/* Whether every box that counts has a partner of its own in the other answer: of the same label,
 * and on the same place. As detections are matched with the truth in evaluations (PASCAL VOC,
 * Everingham et al., IJCV 2010): the surest first takes the free one it overlaps most. Two that
 * count nothing agree. Boxes of one label are held against each other: with LIMIT_BOXES of one
 * label on both sides, half a million pairs, that took 1.2 ms when it was written. */
bool boxes_agree(const struct answer *a, const struct answer *b);

#endif
