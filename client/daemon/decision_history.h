/* decision_history.h: the decisions on disk, for the status socket: decisions.jsonl.1,
 * decisions.jsonl and what waits to be written, in this order. Files are read by a thread of
 * libuv's pool, a piece at a time as the asker reads; the rest is of the loop thread. */
#ifndef TANDEM_CLIENT_DECISION_HISTORY_H
#define TANDEM_CLIENT_DECISION_HISTORY_H

#include "client/daemon/decision_file.h"
#include "common/stream/status_listener.h"

struct history_query {
    uint64_t id;                /* not 0: only this decision */
    uint64_t count;             /* the last so many; UINT64_MAX: all */
    int64_t since_ns, until_ns; /* of time_unix_ns: since_ns <= it < until_ns */
};

/* "decisions N since=S until=U" (either may be missing, not both), S and U in milliseconds since
 * 1970 (UTC). False: it is something else. */
bool history_query_parse(const char *line, struct history_query *ret_query);

/* The lines that match, each with what later lines tell of it (amendment.h). `recent`: whole lines
 * that come after those of the files (taken). `nothing` (static; NULL: an empty answer): one line
 * with its newline that is said where none matches. NULL: out of memory. */
struct status_source *history_new(uv_loop_t *loop, const struct decision_file *file,
                                  const struct history_query *query, struct buf *recent,
                                  const char *nothing);

#endif
