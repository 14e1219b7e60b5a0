/* told.h: what applications say of delivered answers (tandem_feedback), and whose answers that
 * judges. Pure, any thread.
 *
 * What is said of the delivered answer holds for whoever gave it. The other side's answer, where
 * both gave a whole one, is as right when it was the same; when it was another one, it was wrong if
 * the delivered one was right and only one can be (classes), and else nothing is known of it.
 * Nothing follows from what is said of a text that the deadline cut short. */
#ifndef TANDEM_POLICY_TOLD_H
#define TANDEM_POLICY_TOLD_H

#include "client/policy/job.h"
#include "common/base/limits.h"

#include <stdbool.h>
#include <stdint.h>

enum told { TOLD_NOTHING, TOLD_RIGHT, TOLD_WRONG };

/* The answers of one request. Zeroed and with by = JOB_SIDES: there was none. */
struct told_answers {
    uint64_t decision; /* its id */
    char task[LIMIT_NAME_BYTES + 1];
    uint32_t uid;     /* of the user who asked */
    enum job_side by; /* whose answer was delivered; JOB_SIDES: nobody's */
    bool whole[JOB_SIDES];
    double confidence;               /* of a whole local one, or CONFIDENCE_NOTHING */
    bool agreed;                     /* of two whole ones: they were the same */
    bool one_right;                  /* of two different ones one at most is right */
    char edge[LIMIT_NAME_BYTES + 1]; /* that was asked; "": none */
    uint64_t question; /* that the local model's confidence is the probability of; 0: that it is
 right */
    bool edge_turned;  /* the edge's is not its likelier answer to the question */
    char local_digest[33], edge_digest[33]; /* of the models; "": not known */
    uint64_t origin;                        /* by = JOB_SIDE_CACHE: the decision whose answer
                                               it was, */
    bool origin_same;                       /* to the same bytes */
    uint64_t content[2];    /* what was asked, with all that it asks for; zeros: not comparable */
    enum told told;         /* of the delivered answer */
    uint32_t turns;         /* times that this has changed */
    bool taught[JOB_SIDES]; /* and of this side it was learned from */
};

/* Whether both are answers of `side` to the same content by the same model: what is said of the one
 * and of the other is one word about that model, not two. */
bool told_same(const struct told_answers *a, const struct told_answers *b, enum job_side side);
/* What it says of the answer of `side` (local or edge) that the delivered one was right, or wrong.
 */
enum told told_of(const struct told_answers *answers, enum job_side side, bool correct);

#endif
