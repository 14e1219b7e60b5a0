/* status.h: the status socket: one request line in, JSON objects out, one a line, then closed; `follow` stays. Loop thread. */
#ifndef TANDEM_CLIENT_STATUS_H
#define TANDEM_CLIENT_STATUS_H

#include "common/base/buf.h"

#include <stdbool.h>
#include <uv.h>

struct status;
/* Appends the answer's lines; true keeps the asker for status_publish. */
typedef bool (*status_answer_fn)(const char *line, struct buf *out, void *user);
int status_new(uv_loop_t *loop, const char *path, status_answer_fn answer, void *user, struct status **ret_status, char error[256]);
/* One line to everyone who follows; who reads too slowly is cut off. */
void status_publish(struct status *status, const struct buf *line);
void status_close(struct status *status); /* the memory goes with the loop's handles */

#endif
