/* status_history.c: which answers of the status socket come from disk. */
#include "client/daemon/decision_history.h"
#include "client/daemon/status.h"
#include "common/base/limits.h"

/* What the files do not have: what waits to be written, or all that memory has where no file can be
 * written. */
static void recent_fill(const struct status_view *view, struct buf *recent)
{
    const struct decision_file *file = view->decisions;
    const struct requests *requests = view->requests;

    if (file->fd >= 0) {
        (void)buf_append(recent, file->pending.data, file->pending.bytes);
        return;
    }
    for (size_t age = requests->ring_count; age > 0; age--) {
        const size_t at = requests->ring_next + LIMIT_DECISION_RING - age;

        (void)status_decision(&requests->ring[at % LIMIT_DECISION_RING], recent);
    }
}

struct status_source *status_stream(const struct status_view *view, uv_loop_t *loop,
                                    const char *line)
{
    static const char nothing[] =
        "{\"schema\":1,\"daemon\":\"" STATUS_DAEMON "\",\"error\":\"" STATUS_NO_DECISION "\"}\n";
    struct history_query query = {.count = UINT64_MAX, .until_ns = INT64_MAX};
    struct status_source *source;
    struct buf recent;
    const bool one = status_number_after(line, "explain", &query.id);

    if (one ? query.id == 0 || status_find(view->requests, query.id) != NULL
            : !history_query_parse(line, &query)) {
        return NULL;
    }
    buf_init(&recent, 0);
    recent_fill(view, &recent);
    source = history_new(loop, view->decisions, &query, &recent, one ? nothing : NULL);
    buf_fini(&recent);
    return source;
}
