/* runner.h: local compute on one thread of its own, earliest deadline first. The loop thread makes a job, hands it over and gets it back
 * in `on_done`; in between the job and the input it points to belong to the runner. Models, contexts and pages are touched by the
 * runner's thread only, from local_model_open on until runner_free has returned. */
#ifndef TANDEM_CLIENT_RUNNER_H
#define TANDEM_CLIENT_RUNNER_H

#include "common/engine/engine.h"
#include "common/base/limits.h"
#include "common/wire/answer.h"

#include <uv.h>

struct local_model {
    struct engine_model *model;
    struct engine_context *context;
    struct engine_pool *pool; /* decoders */
    uint32_t kind;            /* WIRE_* */
    const char *const *labels;
    size_t label_count;
};
int local_model_open(const char *path, uint32_t kind, uint32_t threads, uint64_t kv_bytes, struct local_model *ret_model,
                     char error[ENGINE_ERROR_BYTES]);
void local_model_close(struct local_model *model); /* a zeroed one is fine */

struct runner_job {
    struct runner_job *next; /* the runner's */
    void *owner;             /* the caller's */
    const struct local_model *model;
    const uint8_t *input; /* borrowed */
    size_t input_bytes;
    bool transcript; /* input is a transcript, not one text */
    struct wire_picture picture;
    struct wire_sampling sampling;
    uint32_t max_new_tokens;
    int64_t deadline_ns; /* 0: none, goes last */
    atomic_bool abort;
    /* results */
    int error;
    char why[ENGINE_ERROR_BYTES];
    struct answer answer; /* owned by the job's owner after on_done */
    int64_t queued_ns, started_ns, ended_ns;
};

struct runner;
int runner_new(uv_loop_t *loop, void (*on_done)(struct runner_job *job, void *user), void *user, struct runner **ret_runner);
void runner_submit(struct runner *runner, struct runner_job *job);
/* Asks it to end soon with ECANCELED; on_done still comes. */
void runner_cancel(struct runner *runner, struct runner_job *job);
size_t runner_queued(const struct runner *runner); /* handed over and not back yet */
/* Runs on the calling thread; at start, before jobs. */
void runner_run_now(struct runner_job *job);
/* Stops the thread (aborting its job), closes the handle; on_done no longer comes. Call before the loop ends. */
void runner_free(struct runner *runner);

#endif
