/* status.h: what the server says on its status socket: `status` and `metrics`. Every key is
 * described in tandem-status(5). Only reads. Loop thread. */
#ifndef TANDEM_SERVER_STATUS_H
#define TANDEM_SERVER_STATUS_H

#include "server/listener.h"
#include "server/service.h"

struct status_view { /* borrowed, for one call */
    struct service *service;
    struct listener *listener; /* NULL: closed */
    int64_t started_ns;
    bool draining;
    uint64_t reloads, reload_failures;
};
/* Appends the answer to one request line: one whole line. Always false: nobody follows here. */
bool status_answer(const struct status_view *view, const char *line, struct buf *out);

#endif
