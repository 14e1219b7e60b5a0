/* amendment.h: what is told of a decision after its line was written: what a shadow run measured,
 * or truth that an application supplied. Such a line names the decision and one member that the
 * decision's object gets besides:
 *
 *   {"schema":1,"daemon":"tandem-client","id":"17","measured":[{"route":"edge:den",...}]}
 *
 * Nothing follows that member, and of several lines with the same member the last one counts. Who
 * reads decisions reads twice: first the amendments are gathered, then every decision gets its own.
 * Works on the text of lines, so that both daemon and tools can use it. One thread at a time. */
#ifndef TANDEM_POLICY_AMENDMENT_H
#define TANDEM_POLICY_AMENDMENT_H

#include "common/base/buf.h"

#include <stdbool.h>

struct amendment { /* one line's part in amendments.texts */
    uint64_t id;
    size_t at, bytes;
};
struct amendments {
    struct buf texts; /* "member":value of each */
    struct amendment *items;
    size_t count, capacity;
    bool sorted;
};
void amendments_init(struct amendments *amendments);
void amendments_fini(struct amendments *amendments);
/* Whether a line (its end is a NUL) is an amendment, and of which decision. A decision itself
 * names its task, an amendment none. */
bool amendment_is(const char *line, uint64_t *ret_id);
/* The id that a line gives itself; 0: none. */
uint64_t amendment_id(const char *line);
/* Keeps a copy of what an amendment's line says. 0; TANDEM_EINVAL: it is none; TANDEM_ENOMEM;
 * TANDEM_ETOOBIG over LIMIT_AMENDMENTS_BYTES. */
int amendments_add(struct amendments *amendments, const char *line);
/* Appends a decision's line (its end is a NUL, without newline) with what was told of it. 0 or what
 * the buffer's limit says; then `out` is as it was. */
int amendments_apply(struct amendments *amendments, const char *line, struct buf *out);

#endif
