/* team.h: threads that share the work of one step.
 *
 * The thread that runs a step is member 0 and hands out pieces; the others sleep between pieces.
 * Whoever is awake takes the next piece, so a member that the machine leaves waiting holds nobody
 * up. Nothing is allocated after team_new. One caller at a time. The members take no signals but
 * the ones their own faults raise. */
#ifndef TANDEM_ENGINE_TEAM_H
#define TANDEM_ENGINE_TEAM_H

#include <stddef.h>
#include <stdint.h>

struct team; /* opaque; NULL is a team of one */

/* Does items from .. to-1. `member` is below the count given to team_new and names scratch that no
 * other running piece uses. */
typedef void (*team_fn)(void *user, uint32_t member, size_t from, size_t to);

/* `members` with the caller, at least 2. TANDEM_ENOMEM when memory or threads are refused. *returns
 * owned*. */
int team_new(uint32_t members, struct team **ret_team);
void team_free(struct team *team); /* NULL is fine */

/* Does items 0 .. items-1 in pieces of at most `piece` and returns when all are done. One piece or
 * a NULL team: done by the caller alone, in pieces all the same. */
void team_run(struct team *team, size_t items, size_t piece, team_fn run, void *user);

#endif
