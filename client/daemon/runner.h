/* runner.h: local compute on one thread of its own, step by step. The loop thread makes a job,
 * hands it over and gets it back in `on_done`; in between the job and the input it points to belong
 * to the runner. Models, contexts and pages are touched by the runner's thread only, from
 * local_model_open on until runner_free has returned.
 *
 * A step is one picture, one chunk of a prompt, or one generated token. Before every step the
 * runner takes the job with the earliest deadline (without one: last; among equals the one that
 * came first; those that yield behind all others, and shadow runs behind these). A generation that
 * is set aside keeps its pages and goes on later as if nothing had been.
 *
 * Pages: the job whose turn it is always gets them. When the pool has none left, the generation
 * that stands last in that order gives up its own, keeps its text, and computes the rows of its
 * tokens again when its turn comes (equal up to rounding). A pool holds one full context at least,
 * so the first in the order never lacks pages.
 *
 * Deadlines: a generation that has text ends with what it has (finish DEADLINE) as soon as one more
 * step, by whomever, might make it late; the margin is twice the time such a step takes, as
 * measured, and LIMIT_HANDOVER_US for the way back. One that has no text yet, and a picture, end
 * with ELATE once the deadline has passed. With `deliver_late` a job goes on to its own end. */
#ifndef TANDEM_CLIENT_RUNNER_H
#define TANDEM_CLIENT_RUNNER_H

#include "common/engine/engine.h"
#include "common/base/limits.h"
#include "common/wire/answer.h"

#include <uv.h>

#define RUNNER_CHUNK_TOKENS 256 /* of a prompt, in one step */

enum step_kind { STEP_TOKEN, STEP_CHUNK, STEP_PICTURE, STEP_KINDS };

struct local_file;
struct local_model {
    struct local_file *file; /* what it was opened from, and who else uses it */
    struct engine_model *model;
    struct engine_context *context;
    struct engine_pool *pool; /* decoders */
    uint32_t kind;            /* WIRE_* */
    const char *const *labels;
    size_t label_count;
    _Atomic int64_t step_ns[STEP_KINDS]; /* what a step takes: the longest of late; 0: not known */
};
int local_model_open(const char *path, uint32_t kind, uint32_t threads, uint64_t kv_bytes,
                     struct local_model *ret_model, char error[ENGINE_ERROR_BYTES]);
/* The same, on model, context and pool of `from`, where opening would only give the same again: the
 * path still is the file it was opened from, not written since, and the rest is as asked for.
 * False: it is not, or `from` is a zeroed one. While the runner uses `from`, any thread may call.
 */
bool local_model_share(struct local_model *from, const char *path, uint32_t kind, uint32_t threads,
                       uint64_t kv_bytes, struct local_model *ret_model);
/* What others share goes with the last of them; a zeroed one is fine. */
void local_model_close(struct local_model *model);

/* What a generation was made of: tokens that were computed in chunks or belong to the prompt, and
 * those that were fed one by one for another. Rows that had to be computed again count again. */
struct runner_work {
    uint32_t prompt_tokens; /* what the input became */
    uint32_t prefill_tokens, decode_tokens;
    int64_t prefill_ns, decode_ns;
};

struct generation;
struct runner_job {
    struct runner_job *next, *next_talking, *next_taken; /* the runner's */
    struct generation *generation;                       /* the runner's */
    struct buf pieces, taken;    /* the runner's: text on its way to on_text */
    bool talking;                /* the runner's: it is in that list */
    uint32_t doubt_tokens;       /* the runner's: doubted after so many; 0: not yet */
    double doubt;                /* the runner's: how sure it was then */
    bool doubt_new, doubt_taken; /* the runner's: on its way to on_doubt */
    void *owner;                 /* the caller's */
    struct local_model *model;
    const uint8_t *input; /* borrowed */
    size_t input_bytes;
    bool transcript; /* input is a transcript, not one text */
    bool stream;     /* text is handed to on_text as it comes */
    bool deliver_late;
    double doubt_below; /* on_doubt once a text is less sure; 0: never */
    bool yields;        /* goes behind all that do not, */
    bool shadow;        /* and this behind everything: nobody waits for it */
    struct wire_picture picture;
    struct wire_sampling sampling;
    uint32_t max_new_tokens;
    int64_t deadline_ns; /* 0: none, goes last */
    atomic_bool abort;
    _Atomic int64_t ran_ns;        /* of its own steps that have ended */
    _Atomic int64_t step_began_ns; /* 0: it is in none */
    /* results */
    int error;
    char why[ENGINE_ERROR_BYTES];
    const char *why_kept; /* static: what may be kept instead, as `why` may quote the text; NULL */
    /* Owned by the job's owner after on_done; finish DEADLINE: cut short. Also of a text that was
     * doubted and then cancelled: what it had said. */
    struct answer answer;
    int64_t busy_before_ns; /* the runner's */
    int64_t queued_ns, started_ns, ended_ns;
    int64_t others_ns; /* of this time, what the thread gave to others */
    int64_t run_ns;    /* of its own steps; the rest it stood in line */
    struct runner_work work;
};

struct runner_callbacks { /* on the loop's thread */
    /* More text of a job with `stream` (borrowed; may end inside a UTF-8 character). What came with
     * the last steps may be missing: the answer has all of it. */
    void (*on_text)(struct runner_job *job, const uint8_t *text, size_t bytes, void *user);
    void (*on_done)(struct runner_job *job, void *user);
    /* A text with `doubt_below` has become less sure than that, before its last token; once. */
    void (*on_doubt)(struct runner_job *job, uint32_t tokens, double confidence, void *user);
};
struct runner;
int runner_new(uv_loop_t *loop, const struct runner_callbacks *callbacks, void *user,
               struct runner **ret_runner);
void runner_submit(struct runner *runner, struct runner_job *job);
/* Asks it to end soon with ECANCELED; on_done still comes. */
void runner_cancel(struct runner *runner, struct runner_job *job);
/* Whether the thread has been inside one step for longer than LIMIT_STEP_MS: then it hangs, and
 * nothing but a restart brings it back. Any thread. */
bool runner_is_stuck(const struct runner *runner, int64_t now_ns);
/* For how long its thread has been inside steps since it began. Any thread. */
int64_t runner_busy_ns(const struct runner *runner, int64_t now_ns);
/* Runs on the calling thread; before the runner has jobs of its model. `abort` (may be NULL) is
 * looked at before each of its steps: it ends with ECANCELED once that is set. */
void runner_run_now(struct runner_job *job, const atomic_bool *abort);
/* Stops the thread after the step that runs and closes the handle. on_done no longer comes: jobs
 * that were not back yet are the caller's again, with ECANCELED and no answer. Call before the loop
 * ends. */
void runner_free(struct runner *runner);

#endif
