#include "client/policy/told.h"

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
