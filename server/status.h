/* status.h: the status socket: one request line, one JSON object a line, closed after it. Mode 0660; the peer's credentials are checked
 * too. A peer that does not ask or read within five seconds is cut off. Loop thread. */
#ifndef TANDEM_SERVER_STATUS_H
#define TANDEM_SERVER_STATUS_H

#include "common/base/buf.h"
#include "common/base/json.h"

#include <uv.h>

struct status;
/* Binds `path`; a socket file that nobody listens on is taken over. `fill` writes the members of the `status` object; it runs while
 * a peer waits. One line in `error` on failure. *returns owned*. */
int status_new(uv_loop_t *loop, const char *path, void (*fill)(struct json_writer *json, void *user), void *user,
               struct status **ret_status, char error[256]);
/* Closes everything and removes the socket file; memory goes when the loop has run the close callbacks. NULL is fine. */
void status_free(struct status *status);

#endif
