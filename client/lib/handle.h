/* handle.h: what is behind `struct tandem`, and the doors between the files of the library. A
 * handle belongs to one thread at a time. Nothing here is exported.
 *
 *   request.c, request_check.c  a caller's request: checked, copied, encoded
 *   outbox.c, memfd.c           what waits to be written, with its sealed memory
 *   pending.c                   the requests under way, and how each ends once
 *   connection.c                the socket: connect, hello, read, write
 *   receive.c                   frames from the daemon
 *   answer.c                    what the caller reads
 *   handle.c                    open, close, errors
 *   loop.c, blocking.c          process and wait; the blocking calls
 *   feedback.c                  what the caller says of an answer */
#ifndef TANDEM_LIB_HANDLE_H
#define TANDEM_LIB_HANDLE_H

#include "tandem.h"

#include "client/lib/outbox.h"
#include "common/base/limits.h"
#include "common/wire/local_msg.h"

#include <stdbool.h>
#include <sys/un.h>

struct tandem_answer {
    struct local_answer wire; /* owned */
    struct tandem_box *boxes; /* owned array; its labels live in `wire` */
    int64_t timestamp_ns;
    uint64_t cookie;
    double elapsed_ms;
};

/* A request from the moment it was accepted until its callback has run. */
struct pending {
    uint64_t id; /* 0: this place is free */
    tandem_done_fn done;
    tandem_partial_fn partial;
    void *user;
    int64_t timestamp_ns;
    uint64_t cookie;
    int64_t start_ns;
    int64_t guard_ns;  /* the daemon must have answered by then; INT64_MAX: no guard */
    size_t bytes;      /* of the input, counted against LIMIT_LIB_BYTES */
    size_t text_bytes; /* generated text that came so far, since the last restart */
    bool feedback;     /* it is not a request, but what is said of one */
    bool cancelled;
    bool ended; /* the rest is how; `done` has still to run */
    uint64_t end_order;
    int error;
    struct tandem_answer
        *answer; /* owned: the answer, or with an error the decision behind it, or NULL */
    char text[LIMIT_LINE_BYTES + 1]; /* about the error */
};

struct tandem {
    struct sockaddr_un address;
    int fd;              /* -1: not connected */
    uint64_t generation; /* of the connection, so that a loop notices a callback that reconnected */
    bool draining;       /* the daemon said goodbye: nothing new on this connection */
    struct outbox outbox;
    struct buf inbox;
    struct local_hello hello; /* the daemon's */
    struct pending pending[LIMIT_LIB_REQUESTS];
    size_t pending_count;
    size_t pending_bytes;
    uint64_t last_id;
    uint64_t last_end_order;
    unsigned callback_depth;
    bool closing;
    char error[LIMIT_LINE_BYTES + 1];
    struct tandem_answer *failure; /* owned */
};

/* ---- handle.c ---- */
/* Keeps the text for tandem_last_error and returns `code`. */
int handle_fail(struct tandem *tandem, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- connection.c ---- */
/* Connected when it returns 0; waits at most LIMIT_LIB_CONNECT_MS. Notices a peer that has left and
 * connects again. */
int connection_ready(struct tandem *tandem);
/* Writes what the socket takes. 0, or an error after which the connection is of no use. */
int connection_flush(struct tandem *tandem);
/* Reads what is there and handles the frames. 0, or an error after which the connection is of no
 * use. */
int connection_read(struct tandem *tandem);
/* Closes it; every request under way ends with `code` and `text`, to be delivered later. */
void connection_drop(struct tandem *tandem, int code, const char *text);

/* ---- receive.c ---- */
/* Handles the whole frames at the start of the inbox. 0, or an error with its text as handle_fail
 * leaves it. */
int receive_frames(struct tandem *tandem);

/* ---- pending.c ---- */
struct pending *pending_find(struct tandem *tandem, uint64_t id);
/* A place for a new request; there must be one. */
struct pending *pending_new(struct tandem *tandem);
void pending_remove(struct tandem *tandem, struct pending *pending);
/* Takes `answer`. Nothing happens to one that has already ended, but that `answer` is freed. */
void pending_end(struct tandem *tandem, struct pending *pending, int error, const char *text,
                 struct tandem_answer *answer);
void pending_end_all(struct tandem *tandem, int error, const char *text);
/* Ends what the daemon should have answered by now. */
void pending_guard(struct tandem *tandem, int64_t now_ns);
/* Runs the callbacks of all that have ended, in that order; returns how many. */
int pending_deliver(struct tandem *tandem);

/* ---- request.c ---- */
/* Appends a CANCEL to the outbox, if it can be. */
void request_cancel_send(struct tandem *tandem, const struct pending *pending);

/* Whether there is a place for one more, with so many bytes. 0 or TANDEM_EBUSY, said. */
int request_room_check(struct tandem *tandem, size_t bytes);

/* ---- feedback.c ---- */
/* Puts what is said of decision `id` (decimal) into the outbox and among what is under way, to end
 * as `like` says. 0 or TANDEM_E*, said. */
int feedback_start(struct tandem *tandem, const char *id, bool correct, const struct pending *like);

/* ---- answer.c ---- */
/* Takes the members of `wire`, also on failure. */
int answer_new(struct local_answer *wire, const struct pending *pending,
               struct tandem_answer **ret_answer);
/* The decision behind a failure; NULL when there was none, or no memory. */
struct tandem_answer *answer_from_error(const struct local_error *error,
                                        const struct pending *pending);

#endif
