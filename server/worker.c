#include "server/worker.h"

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/log.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct worker {
    uv_async_t async;
    uv_thread_t thread;
    uv_mutex_t mutex;
    uv_cond_t wake;
    bool stop, has_job, is_done; /* under the mutex */
    bool out;                    /* the loop's: a job is handed over and not back */
    int64_t since_ns;            /* the loop's: when it was handed over */
    void (*on_done)(struct worker_job *job, void *user);
    void *user;
    struct worker_job job;
    void *sample_scratch; /* the thread's */
    size_t sample_scratch_n;
};

static int ids_append(const struct engine_model *model, enum turn_role role, const char *text,
                      size_t bytes, struct worker_entry *entry)
{
    const struct engine_model_info *info = engine_model_info(model);
    const size_t room = info->n_context > entry->ret_count ? info->n_context - entry->ret_count : 0;
    size_t count = 0;
    const int result =
        role == TURN_USER
            ? engine_tokenize_prompt(model, text, bytes, entry->ret_ids + entry->ret_count, room,
                                     &count, entry->why)
            : engine_tokenize(model, text, bytes, entry->ret_ids + entry->ret_count, room, &count,
                              entry->why);

    if (result == TANDEM_ETOOBIG) {
        snprintf(entry->why, sizeof(entry->why),
                 "the text has more than the %u tokens of the model's context", info->n_context);
    }
    if (result == 0) {
        entry->ret_count += count;
    }
    return result;
}

static int entry_prepare(const struct engine_model *model, struct worker_entry *entry)
{
    const struct engine_model_info *info = engine_model_info(model);
    enum turn_role role = TURN_ANSWER;
    const char *text;
    size_t at = 0, bytes;
    int result = 0;

    entry->ret_count = 0;
    entry->ret_ids = malloc(sizeof(*entry->ret_ids) * info->n_context);
    if (!entry->ret_ids) {
        return TANDEM_ENOMEM;
    }
    if (!entry->transcript) {
        result =
            ids_append(model, TURN_USER, (const char *)entry->input, entry->input_bytes, entry);
    }
    while (entry->transcript && (result = transcript_next(entry->input, entry->input_bytes, &at,
                                                          &role, &text, &bytes)) == 0) {
        result = ids_append(model, role, text, bytes, entry);
        if (result != 0) {
            break;
        }
    }
    if (entry->transcript && result == TANDEM_EFORMAT) {
        snprintf(entry->why, sizeof(entry->why), "the transcript is damaged");
    } else if (entry->transcript && result == 1) {
        result = role == TURN_USER ? 0 : TANDEM_EINVAL;
        snprintf(entry->why, sizeof(entry->why),
                 "the transcript does not end with the user's turn");
    }
    if (result == 0 && entry->ret_count == 0) {
        snprintf(entry->why, sizeof(entry->why), "the text is empty");
        result = TANDEM_EINVAL;
    }
    if (result == 0 && entry->ret_count >= info->n_context) {
        snprintf(entry->why, sizeof(entry->why), "the text fills the model's context of %u tokens",
                 info->n_context);
        result = TANDEM_ETOOBIG;
    }
    return result;
}

static void job_prepare(struct worker_job *job)
{
    for (uint32_t i = 0; i < job->count; i++) {
        struct worker_entry *entry = &job->entries[i];

        entry->error = entry_prepare(job->model, entry);
        if (entry->error != 0) {
            free(entry->ret_ids);
            entry->ret_ids = NULL;
        }
    }
}

static void entry_sample(struct worker *worker, struct worker_job *job, uint32_t index,
                         const float *logits)
{
    struct worker_entry *entry = &job->entries[index];
    const size_t n = engine_model_info(job->model)->n_class;
    const float *row = logits + (size_t)job->chunks[index].ret_row * n;

    if (!engine_logits_are_sound(row, n)) {
        entry->error = TANDEM_EINTERNAL;
        snprintf(entry->why, sizeof(entry->why), "the model computes what is no number");
        return;
    }
    if (entry->sampler.params.temperature > 0 && worker->sample_scratch_n < n) {
        void *grown = realloc(worker->sample_scratch, n * 8);

        if (!grown) {
            entry->error = TANDEM_ENOMEM;
            return;
        }
        worker->sample_scratch = grown;
        worker->sample_scratch_n = n;
    }
    entry->ret_id =
        engine_sample(&entry->sampler, row, n, worker->sample_scratch, &entry->ret_logprob);
}

static void job_step(struct worker *worker, struct worker_job *job)
{
    const float *logits = NULL;

    job->error = engine_step(job->context, job->chunks, job->count, &job->abort, &logits);
    for (uint32_t i = 0; job->error == 0 && i < job->count; i++) {
        if (job->chunks[i].want == ENGINE_LOGITS_LAST) {
            entry_sample(worker, job, i, logits);
        }
    }
}

/* Decodes each picture; those that are none end alone, the others go through the model together. */
static void job_pictures(struct worker_job *job)
{
    const struct engine_model_info *info = engine_model_info(job->model);
    const size_t floats = engine_picture_floats(job->model), classes = info->n_class;
    float *pixels = malloc(floats * job->count * sizeof(*pixels));
    const float *rows[LIMIT_PICTURE_BATCH], *logits = NULL;
    uint32_t owners[LIMIT_PICTURE_BATCH], good = 0;

    job->error = pixels ? 0 : TANDEM_ENOMEM;
    for (uint32_t i = 0; pixels && i < job->count; i++) {
        struct worker_entry *entry = &job->entries[i];
        const struct engine_picture picture = {(enum engine_pixel_format)entry->picture.format,
                                               entry->picture.width,
                                               entry->picture.height,
                                               entry->picture.stride_bytes,
                                               entry->input,
                                               entry->input_bytes};

        entry->error =
            engine_picture_prepare(job->model, &picture, pixels + floats * good, entry->why);
        if (entry->error == 0) {
            rows[good] = pixels + floats * good;
            owners[good++] = i;
        }
    }
    if (job->error == 0 && good > 0) {
        job->error = engine_encode_pictures(job->context, rows, good, &job->abort, &logits);
    }
    for (uint32_t i = 0; job->error == 0 && i < good; i++) {
        float *scores = job->entries[owners[i]].scores;

        memcpy(scores, logits + classes * i, classes * sizeof(*scores));
        if (!isfinite(scores[engine_softmax(scores, classes, info->calibration.temperature)])) {
            job->entries[owners[i]].error = TANDEM_EINTERNAL;
            snprintf(job->entries[owners[i]].why, sizeof(job->entries[owners[i]].why),
                     "the model computes what is no number");
        }
    }
    free(pixels);
}

static void job_run(struct worker *worker, struct worker_job *job)
{
    const int64_t start_ns = clock_now_ns();

    job->error = 0;
    switch (job->kind) {
    case WORKER_PREPARE:
        job_prepare(job);
        break;
    case WORKER_STEP:
        job_step(worker, job);
        break;
    case WORKER_PICTURES:
        job_pictures(job);
        break;
    }
    job->run_ns = clock_now_ns() - start_ns;
}

static void worker_main(void *argument)
{
    struct worker *worker = argument;

    uv_mutex_lock(&worker->mutex);
    for (;;) {
        while (!worker->has_job && !worker->stop) {
            uv_cond_wait(&worker->wake, &worker->mutex);
        }
        if (worker->stop) {
            break;
        }
        uv_mutex_unlock(&worker->mutex);
        job_run(worker, &worker->job);
        uv_mutex_lock(&worker->mutex);
        worker->has_job = false;
        worker->is_done = true;
        (void)uv_async_send(&worker->async);
    }
    uv_mutex_unlock(&worker->mutex);
}

static void worker_on_async(uv_async_t *async)
{
    struct worker *worker = async->data;
    bool done;

    uv_mutex_lock(&worker->mutex);
    done = worker->is_done;
    worker->is_done = false;
    uv_mutex_unlock(&worker->mutex);
    if (done) {
        worker->out = false;
        worker->on_done(&worker->job, worker->user);
    }
}

int worker_new(uv_loop_t *loop, void (*on_done)(struct worker_job *job, void *user), void *user,
               struct worker **ret_worker)
{
    struct worker *worker = calloc(1, sizeof(*worker));

    if (!worker) {
        return TANDEM_ENOMEM;
    }
    worker->on_done = on_done;
    worker->user = user;
    worker->async.data = worker;
    if (uv_mutex_init(&worker->mutex) != 0 || uv_cond_init(&worker->wake) != 0 ||
        uv_async_init(loop, &worker->async, worker_on_async) != 0) {
        free(worker); /* out of handles at start: the process ends with this error */
        return TANDEM_EIO;
    }
    if (uv_thread_create(&worker->thread, worker_main, worker) != 0) {
        log_error("cannot start the compute thread");
        uv_close((uv_handle_t *)&worker->async,
                 (uv_close_cb)free); /* `async` is the first member */
        return TANDEM_EIO;
    }
    *ret_worker = worker;
    return 0;
}

static void worker_on_closed(uv_handle_t *handle)
{
    struct worker *worker = handle->data;

    uv_cond_destroy(&worker->wake);
    uv_mutex_destroy(&worker->mutex);
    free(worker->sample_scratch);
    free(worker);
}

void worker_free(struct worker *worker)
{
    if (!worker) {
        return;
    }
    uv_mutex_lock(&worker->mutex);
    worker->stop = true;
    uv_cond_signal(&worker->wake);
    uv_mutex_unlock(&worker->mutex);
    (void)uv_thread_join(&worker->thread);
    uv_close((uv_handle_t *)&worker->async, worker_on_closed);
}

struct worker_job *worker_job_get(struct worker *worker)
{
    if (worker->out) {
        return NULL;
    }
    worker->job.count = 0;
    atomic_store(&worker->job.abort, false);
    return &worker->job;
}

void worker_submit(struct worker *worker)
{
    worker->out = true;
    worker->since_ns = clock_now_ns();
    uv_mutex_lock(&worker->mutex);
    worker->has_job = true;
    uv_cond_signal(&worker->wake);
    uv_mutex_unlock(&worker->mutex);
}

struct worker_job *worker_running(struct worker *worker)
{
    return worker->out ? &worker->job : NULL;
}

bool worker_is_alive(struct worker *worker, int64_t now_ns, int64_t patience_ns)
{
    return !worker->out || now_ns - worker->since_ns < patience_ns;
}
