/* decision_file.h: state_dir/decisions.jsonl: one JSON object a line, as the status socket shows
 * it. Bounded: before it would grow over LIMIT_DECISION_FILE_BYTES it becomes decisions.jsonl.1,
 * and that one is gone then. Every line in it is whole: what a full disk, or a crash, has cut short
 * is taken back. A line that cannot be written is counted and lost, requests go on; what hinders is
 * said at most once a minute, and once more when there is room again. What comes within a second of
 * the last write waits for the next one, so that the disk is written at most once a second. Loop
 * thread. */
#ifndef TANDEM_CLIENT_DECISION_FILE_H
#define TANDEM_CLIENT_DECISION_FILE_H

#include "common/base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct decision_file {
    char *path; /* NULL: none is kept */
    int fd;     /* -1: not open, tried again with a later line */
    off_t bytes;
    bool torn; /* what is behind `bytes` could not be taken back yet */
    uint64_t lost;
    struct buf pending; /* whole lines that wait for the next write */
    int64_t written_ns; /* when something was written, or tried to be, last; 0: never */
    bool said;          /* what hinders now */
    int64_t said_ns;    /* when something was said last; 0: never */
    int64_t open_ns;    /* when it was tried to be opened, */
    int open_error;     /* and how that ended */
};

/* `state_dir` is copied; empty: no file. What fails now is said, and tried again later. `file` is
 * for decision_file_close in any case. `now_ns` is of the monotonic clock. */
void decision_file_open(struct decision_file *file, const char *state_dir, int64_t now_ns);
void decision_file_close(struct decision_file *file);
/* Takes one whole line with its newline, at most LIMIT_STATUS_QUEUE_BYTES. It is written now when a
 * second has passed since the last write or LIMIT_DECISION_PENDING_BYTES wait; else at
 * decision_file_due_ns, by decision_file_flush. */
void decision_file_write(struct decision_file *file, const void *line, size_t bytes,
                         int64_t now_ns);
/* When what waits is to be written; 0: nothing waits. */
int64_t decision_file_due_ns(const struct decision_file *file);
void decision_file_flush(struct decision_file *file, int64_t now_ns);
/* The largest id in the last lines of the file and the one before it; 0: there is none. */
uint64_t decision_file_last_id(const char *state_dir);

#endif
