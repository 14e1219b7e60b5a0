/* worker.h: the compute thread. The loop hands it one job, a batch for one model, and gets it back
 * by uv_async. While a job is out, what it points to belongs to the thread; the loop may only set
 * `abort`. The engine's own threads work inside a step. */
#ifndef TANDEM_SERVER_WORKER_H
#define TANDEM_SERVER_WORKER_H

#include "common/engine/engine.h"
#include "common/wire/answer.h"

#include <uv.h>

enum worker_kind { WORKER_PREPARE, WORKER_STEP, WORKER_PICTURES };

/* One request in a job. */
struct worker_entry {
    void *user; /* the caller's */
    /* PREPARE: text or, with `transcript`, the turns of a conversation, to owned ids. PICTURES: the
     * picture's bytes. */
    const uint8_t *input;
    size_t input_bytes;
    bool transcript;
    uint32_t *ret_ids; /* malloc; passes to the caller */
    size_t ret_count;
    /* PICTURES */
    struct wire_picture picture;
    float *scores; /* [n_class] softmax, the caller's memory */
    /* STEP: chunks[i] belongs to entries[i]; a chunk that wants logits is sampled. */
    struct engine_sampler sampler;
    uint32_t ret_id;
    float ret_logprob;
    /* Of this entry alone */
    int error;
    char why[ENGINE_ERROR_BYTES];
};

struct worker_job {
    enum worker_kind kind;
    struct engine_model *model;
    struct engine_context *context;
    struct worker_entry entries[LIMIT_BATCH_SEQUENCES];
    struct engine_chunk chunks[LIMIT_BATCH_SEQUENCES];
    uint32_t count;
    atomic_bool abort;
    int error; /* of the whole step */
    int64_t run_ns;
};

struct worker;
/* `on_done` runs on the loop's thread, once per submitted job. *returns owned*. */
int worker_new(uv_loop_t *loop, void (*on_done)(struct worker_job *job, void *user), void *user,
               struct worker **ret_worker);
/* Waits for a running job, stops the thread and closes the handle; run the loop once more before it
 * is closed. */
void worker_free(struct worker *worker);
/* The job that the next submit will hand over; NULL while one is out. */
struct worker_job *worker_job_get(struct worker *worker);
void worker_submit(struct worker *worker);
/* The job that is out, or NULL: only its kind, its entries' `user` and `abort` may be touched. */
struct worker_job *worker_running(struct worker *worker);
/* Whether the thread is idle or its job is younger than `patience_ns`: the watchdog asks. */
bool worker_is_alive(struct worker *worker, int64_t now_ns, int64_t patience_ns);

#endif
