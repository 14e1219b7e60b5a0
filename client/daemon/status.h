/* status.h: what the client daemon says on its status socket: `status`, `metrics`, `decisions N`,
 * `explain ID` and `follow`. Every key is described in tandem-status(5). Only reads. Loop thread.
 */
#ifndef TANDEM_CLIENT_STATUS_H
#define TANDEM_CLIENT_STATUS_H

#include "client/daemon/decision_file.h"
#include "client/daemon/requests.h"

struct status_view { /* borrowed, for one call */
    const struct requests *requests;
    const struct app *app;
    const struct decision_file *decisions;
    int64_t started_ns;
    bool draining;
    uint64_t reloads, reload_failures;
};
/* One decision as one line with its newline. 0 or TANDEM_E*. */
int status_decision(const struct decision *decision, struct buf *out);
/* Appends the answer to one request line: whole lines only. True: the asker follows. */
bool status_answer(const struct status_view *view, const char *line, struct buf *out);

#endif
