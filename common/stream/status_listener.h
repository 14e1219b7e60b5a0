/* status_listener.h: the status socket of either daemon: one request line in, JSON objects out, one
 * a line, then closed; who follows stays and gets every published line. Mode 0660, peers checked
 * (local_socket.h). A peer that does not ask or read within five seconds, or follows too slowly, is
 * cut off. An answer that is too long for one buffer comes from a source, piece by piece, as the
 * asker reads. Loop thread. */
#ifndef TANDEM_STREAM_STATUS_LISTENER_H
#define TANDEM_STREAM_STATUS_LISTENER_H

#include "common/base/buf.h"
#include "common/base/json.h"
#include "common/base/local_socket.h"

#include <stdbool.h>
#include <uv.h>

struct status_listener;
/* Appends the answer's lines to `out` (at most LIMIT_STATUS_ANSWER_BYTES); true keeps the asker for
 * status_listener_publish. */
typedef bool (*status_answer_fn)(const char *line, struct buf *out, void *user);

/* An answer in pieces. `more`: the asker has room for one; give it, now or later on the loop, with
 * one status_source_put. `gone`: the last call, once, after the last piece was taken or when the
 * asker left; no status_source_put after it. */
struct status_source {
    void (*more)(struct status_source *source);
    void (*gone)(struct status_source *source);
    struct asker *asker; /* the listener's */
};
/* The source (taken; its `gone` gives it back) of the answer to this line, or NULL: the line has an
 * answer of the other kind. At most LIMIT_STATUS_STREAMS at a time; more are refused. */
typedef struct status_source *(*status_stream_fn)(const char *line, void *user);

/* `daemon` (static) names this daemon in refusals. *returns owned*; 0, or TANDEM_E* with one line
 * in `error`. */
int status_listener_new(uv_loop_t *loop, const char *path, const char *daemon,
                        status_answer_fn answer, void *user, struct status_listener **ret_listener,
                        char error[LOCAL_SOCKET_ERROR_BYTES]);
/* `stream` is asked before `answer`, with the same user. */
void status_listener_set_stream(struct status_listener *listener, status_stream_fn stream);
/* Takes what is in `piece`: whole lines. */
void status_source_put(struct status_source *source, struct buf *piece, bool last);
/* One line to everyone who follows. */
void status_listener_publish(struct status_listener *listener, const struct buf *line);
/* Closes everything and removes the socket file; the memory goes when the loop has run the close
 * callbacks. NULL is fine. */
void status_listener_free(struct status_listener *listener);

/* Appends one object of the form {"schema":1,"daemon":...,"error":...} and a newline. 0 or
 * TANDEM_E*. */
int status_error_json(const char *daemon, const char *error, struct buf *out);

#endif
