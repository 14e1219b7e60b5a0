/* decision_ids.h: the ids of decisions. They rise and are never given twice, not even when the
 * daemon is killed and the wall clock is set back: state_dir/decision-ids holds a number that no
 * given id has reached. It is raised by LIMIT_DECISION_ID_BLOCK at a time, so a request hardly ever
 * waits for the disk; what is left of a block is skipped at the next start. Loop thread. */
#ifndef TANDEM_CLIENT_DECISION_IDS_H
#define TANDEM_CLIENT_DECISION_IDS_H

#include "client/daemon/state_file.h"

#include <stdbool.h>
#include <stdint.h>

struct decision_ids {
    char path[STATE_PATH_BYTES]; /* "": nothing is kept */
    uint64_t next, reserved;     /* ids below `reserved` may be given */
    bool failed;                 /* the last attempt to keep the mark, and it was said */
};

/* Finds where ids go on: behind the mark, behind `last_id` (the last one in decisions.jsonl; 0:
 * none), and not before the microseconds of `unix_ns`, the wall clock: with an empty or unwritable
 * `state_dir` the clock alone is left. A mark that is missing, damaged or cannot be kept is said
 * once; a damaged one is set aside as decision-ids.damaged. Never fails. */
void decision_ids_open(struct decision_ids *ids, const char *state_dir, uint64_t last_id,
                       int64_t unix_ns);
/* The next id; every few thousand calls it waits for the disk. */
uint64_t decision_ids_take(struct decision_ids *ids);

#endif
