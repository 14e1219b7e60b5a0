/* learned.h: what the client has learned, as one value and as text: what learned_file.h keeps under
 * state_dir. Pure; any thread.
 *
 * The text is lines of words, one thing a line:
 *
 *   tandem-learned 1
 *   saved_unix_ms N                               the wall clock when it was written
 *   edge NAME DIGEST                              of its url; what follows is of its link:
 *   rtt_ms AGE:VALUE ...                          samples, the oldest first, ages in ms
 *   up_bytes_per_ms AGE:VALUE ...
 *   task NAME KIND DIGEST                         of the local model, "-" without one
 *   question DIGEST ODDS                          of a task with a positive label: of that label;
 *                                                 the bins below are of its probability
 *   run COUNT MEAN DEVIATION VALUE ...            of whole runs, with the last ones
 *   density|prefill|decode|answer COUNT MEAN DEVIATION VALUE ...
 *   seen N ...                                    a number for each bin of confidence; of boxes
 *                                                 the first is of answers that found nothing
 *   told N ...  right N ...
 *   with EDGE DIGEST                              what follows is of this task on this edge:
 *   rest AGE:VALUE ...   failed AGE:VALUE ...   tail_log VALUE
 *   both N ...  agreed N ...  claimed VALUE ...   agreement with this edge's model
 *   truth TOLD WRONG
 *   end
 *
 * An unknown line is an error, as is a number that is not finite or out of its bounds: what is
 * half understood is not believed. Samples that were kept count as old: at least
 * LEARNED_AGE_MIN_NS, and as old as the wall clock says. */
#ifndef TANDEM_CLIENT_LEARNED_H
#define TANDEM_CLIENT_LEARNED_H

#include "client/policy/confidence.h"
#include "client/policy/edge_truth.h"
#include "client/policy/estimate_edge.h"
#include "client/policy/estimate_text.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/limits.h"

#define LEARNED_DIGEST_BYTES 33
#define LEARNED_AGE_MIN_NS   (150 * NS_PER_S) /* five half-lives of a sample */
#define LEARNED_ERROR_BYTES  96

struct learned_link {
    char name[LIMIT_NAME_BYTES + 1];
    char digest[LEARNED_DIGEST_BYTES]; /* of its url */
    struct estimate_link link;         /* only its samples are kept */
};
struct learned_pair {                  /* one task on one edge */
    char edge[LIMIT_NAME_BYTES + 1];   /* "": nothing */
    char digest[LEARNED_DIGEST_BYTES]; /* of the edge's model; "" when not known */
    struct estimate_edge estimate;     /* its samples and tail_log */
    struct confidence_pair agreement;
    struct edge_truth truth;
};
struct learned_task {
    char name[LIMIT_NAME_BYTES + 1];
    int kind;                          /* enum of the task file */
    char digest[LEARNED_DIGEST_BYTES]; /* of the local model; "" without one */
    struct estimate_local run;
    struct estimate_text text;
    char question[LEARNED_DIGEST_BYTES]; /* of the positive label; "" without one */
    struct confidence confidence;        /* agreement in it is the sum over `pairs` */
    struct learned_pair pairs[LIMIT_EDGES];
    size_t pair_count;
};
struct learned {
    struct learned_link links[LIMIT_EDGES];
    size_t link_count;
    struct learned_task *tasks; /* owned */
    size_t task_count;
};

void learned_fini(struct learned *learned); /* a zeroed one is fine */
/* Appends the text. `now_ns` is the clock of the samples, `unix_ns` the wall clock of the same
 * moment. 0, TANDEM_ETOOBIG or TANDEM_ENOMEM. */
int learned_write(const struct learned *learned, int64_t now_ns, int64_t unix_ns, struct buf *out);
/* Reads a text, with the clocks of now. 0 with *ret_learned (owned), or TANDEM_EFORMAT with what is
 * wrong in `error`, or TANDEM_ENOMEM. */
int learned_read(const void *text, size_t bytes, int64_t now_ns, int64_t unix_ns,
                 struct learned *ret_learned, char error[LEARNED_ERROR_BYTES]);

#endif
