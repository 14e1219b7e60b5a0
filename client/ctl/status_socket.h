/* status_socket.h: asks a daemon's status socket: one request line out, one JSON object a line
 * back, closed by the daemon after the last. One thread. */
#ifndef TANDEM_CTL_STATUS_SOCKET_H
#define TANDEM_CTL_STATUS_SOCKET_H

#include "common/base/buf.h"

#include <cjson/cJSON.h>
#include <stdbool.h>

struct status_socket {
    int fd;
    struct buf inbox;
    size_t used;      /* of the inbox: the line that was handed out last */
    const char *path; /* borrowed */
    bool quiet;       /* that it refuses or is an application socket is a code without a word */
};

/* Connects and sends `request` (without its newline). 0, or TANDEM_EGONE (nobody there), EAUTH,
 * EINVAL (the path is too long, or of a file), EIO, ENOMEM, and one line on standard error. After
 * failure there is nothing to close. */
int status_socket_open(struct status_socket *status, const char *path, const char *request);
void status_socket_close(struct status_socket *status);

/* The next line, NUL-terminated, which lives until the next call, and the object it holds (returns
 * owned, cJSON_Delete). Waits at most `timeout_ms` (-1: for ever). 0; 1 at the end;
 * TANDEM_ETIMEDOUT, EUNSUPPORTED (an application socket), EPROTO (not a JSON object, or over
 * LIMIT_CTL_LINE_BYTES), EIO or ENOMEM; or TANDEM_EINVAL when the object is the daemon's refusal
 * ({"error": "..."}): with one line on standard error. */
int status_socket_next(struct status_socket *status, int timeout_ms, const char **ret_line,
                       cJSON **ret_object);

/* Asks for one object. As above, and the end before it is TANDEM_EPROTO; the line (returns owned,
 * free) may be asked for with `ret_line`. */
int status_socket_ask(const char *path, const char *request, char **ret_line, cJSON **ret_object);
/* Asks for the status, of the `daemon` of this name (NULL: of either): TANDEM_EINVAL, said, when
 * the other one answers. `ret_line` may be NULL. */
int status_socket_status(const char *path, const char *daemon, char **ret_line, cJSON **ret_object);
/* As status_socket_ask, but without a word TANDEM_EUNSUPPORTED when `path` is an application
 * socket, and TANDEM_ENOTFOUND when the daemon refuses. */
int status_socket_try(const char *path, const char *request, char **ret_line, cJSON **ret_object);
/* Says that; returns TANDEM_EUNSUPPORTED. */
int status_socket_is_application(const char *path);

#endif
