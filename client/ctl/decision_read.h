/* decision_read.h: a decision's JSON as client/policy/replay.h has it. Pure. */
#ifndef TANDEM_CTL_DECISION_READ_H
#define TANDEM_CTL_DECISION_READ_H

#include "client/policy/replay.h"

#include <cjson/cJSON.h>
#include <stdbool.h>

/* Members that are missing, null or of another kind count as not recorded, what is too long is cut,
 * and of candidates and sides the first LIMIT_CANDIDATES count. 0; TANDEM_EUNSUPPORTED: it is no
 * decision (but speaks of one); TANDEM_ENOTFOUND: its request had not ended, was cancelled or
 * superseded, or was at fault itself, so that no route could have made more of it (the record is
 * filled then, too). */
int decision_read(const cJSON *object, struct replay_record *ret_record);
/* Of the error of a request that was cancelled, superseded or at fault itself (an input that nobody
 * could have used, an unknown task): no route could have made more of it, so it is no miss. */
bool decision_is_beyond_routes(int error_code);

#endif
