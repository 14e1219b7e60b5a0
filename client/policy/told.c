#include "client/policy/told.h"

#include <string.h>

enum told told_of(const struct told_answers *answers, enum job_side side, bool correct)
{
    const bool delivered = answers->by == JOB_SIDE_LOCAL || answers->by == JOB_SIDE_EDGE;

    if (!delivered || !answers->whole[answers->by] || !answers->whole[side]) {
        return TOLD_NOTHING;
    }
    if (side == answers->by || answers->agreed) {
        return correct ? TOLD_RIGHT : TOLD_WRONG;
    }
    return correct && answers->one_right ? TOLD_WRONG : TOLD_NOTHING;
}

bool told_same(const struct told_answers *a, const struct told_answers *b, enum job_side side)
{
    if (!(a->content[0] | a->content[1]) || memcmp(a->content, b->content, sizeof(a->content)) ||
        strcmp(a->task, b->task) != 0) {
        return false;
    }
    return side == JOB_SIDE_EDGE
               ? strcmp(a->edge, b->edge) == 0 && strcmp(a->edge_digest, b->edge_digest) == 0
               : strcmp(a->local_digest, b->local_digest) == 0 && a->question == b->question;
}
