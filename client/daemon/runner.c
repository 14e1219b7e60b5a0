#include "client/daemon/runner_parts.h"

#include "common/base/clock.h"

#include <stdlib.h>

struct runner {
    uv_async_t async;
    uv_thread_t thread;
    uv_mutex_t mutex;
    uv_cond_t wake;
    struct runner_job *arrived, *done, *talking; /* under the mutex */
    bool stop;                                   /* under the mutex */
    _Atomic int64_t step_since_ns;               /* 0: between steps */
    _Atomic int64_t busy_ns;                     /* of the steps before */
    struct runner_queue queue;                   /* the thread's */
    struct runner_callbacks callbacks;
    void *user;
};

static void job_append(struct runner_job **list, struct runner_job *job)
{
    while (*list) {
        list = &(*list)->next;
    }
    job->next = NULL;
    *list = job;
}

void runner_run_now(struct runner_job *job, const atomic_bool *abort)
{
    struct runner_queue queue = {.first = NULL};

    runner_queue_add(&queue, job);
    do {
        if (abort && atomic_load(abort)) {
            atomic_store(&job->abort, true);
        }
    } while (!runner_queue_step(&queue));
}

/* ---- the thread ---- */

/* Takes what the last step has added to a text. A piece that cannot be kept is left out: the answer
 * has it. */
static bool text_add(struct runner_job *job)
{
    const uint8_t *text;
    size_t bytes;

    if (!job->stream) {
        return false;
    }
    text = generation_text(job, &bytes);
    return bytes > 0 && buf_append(&job->pieces, text, bytes) == 0;
}

/* Whether the text has just become less sure than its owner wants to know of. */
static bool doubt_rises(struct runner_job *job)
{
    uint32_t tokens;
    double sure;

    if (!(job->doubt_below > 0) || job->doubt_tokens > 0) {
        return false;
    }
    sure = generation_sure(job, &tokens);
    if (tokens == 0 || sure >= job->doubt_below) {
        return false;
    }
    job->doubt = sure;
    job->doubt_tokens = tokens;
    job->doubt_new = true;
    return true;
}

/* Hands on what the last step has brought, under the mutex; true: there is something. */
static bool step_publish(struct runner *runner, struct runner_job *job)
{
    bool news = false;

    if (job && job->generation) {
        news = text_add(job);
        news |= doubt_rises(job);
    }
    if (news && !job->talking) {
        job->talking = true;
        job->next_talking = runner->talking;
        runner->talking = job;
    }
    return news;
}

static void runner_main(void *argument)
{
    struct runner *runner = argument;
    struct runner_job *job;

    uv_mutex_lock(&runner->mutex);
    while (!runner->stop) {
        while ((job = runner->arrived) != NULL) {
            runner->arrived = job->next;
            runner_queue_add(&runner->queue, job);
        }
        if (!runner->queue.first) {
            uv_cond_wait(&runner->wake, &runner->mutex);
            continue;
        }
        uv_mutex_unlock(&runner->mutex);
        atomic_store(&runner->step_since_ns, clock_now_ns());
        job = runner_queue_step(&runner->queue);
        (void)atomic_fetch_add(&runner->busy_ns,
                               clock_now_ns() - atomic_exchange(&runner->step_since_ns, 0));
        uv_mutex_lock(&runner->mutex);
        if (job) {
            job->others_ns = atomic_load(&runner->busy_ns) - job->busy_before_ns - job->run_ns;
            job_append(&runner->done, job);
        }
        if (step_publish(runner, runner->queue.stepped) || job) {
            (void)uv_async_send(&runner->async);
        }
    }
    uv_mutex_unlock(&runner->mutex);
}

/* ---- the loop ---- */

static void talk_hand_on(struct runner *runner, struct runner_job *job)
{
    if (job->taken.bytes > 0) {
        runner->callbacks.on_text(job, job->taken.data, job->taken.bytes, runner->user);
    }
    buf_fini(&job->taken);
    if (job->doubt_taken) {
        runner->callbacks.on_doubt(job, job->doubt_tokens, job->doubt, runner->user);
    }
}

static void on_async(uv_async_t *async)
{
    struct runner *runner = async->data;
    struct runner_job *done, *talking, *next;

    uv_mutex_lock(&runner->mutex);
    done = runner->done;
    talking = runner->talking;
    runner->done = runner->talking = NULL;
    for (struct runner_job *job = talking; job; job = job->next_talking) {
        job->taken = job->pieces;
        job->next_taken = job->next_talking; /* the thread may set that one again from now on */
        job->talking = false;
        job->doubt_taken = job->doubt_new;
        job->doubt_new = false;
        buf_init(&job->pieces, LIMIT_ANSWER_TEXT_BYTES);
    }
    uv_mutex_unlock(&runner->mutex);
    for (; talking; talking = next) {
        next = talking->next_taken;
        talk_hand_on(runner, talking);
    }
    for (; done; done = next) {
        next = done->next;
        runner->callbacks.on_done(done, runner->user);
    }
}

int runner_new(uv_loop_t *loop, const struct runner_callbacks *callbacks, void *user,
               struct runner **ret_runner)
{
    struct runner *runner = calloc(1, sizeof(*runner));

    if (!runner) {
        return TANDEM_ENOMEM;
    }
    runner->callbacks = *callbacks;
    runner->user = user;
    runner->async.data = runner;
    if (uv_mutex_init(&runner->mutex) != 0 || uv_cond_init(&runner->wake) != 0 ||
        uv_async_init(loop, &runner->async, on_async) != 0 ||
        uv_thread_create(&runner->thread, runner_main, runner) != 0) {
        return TANDEM_EIO; /* out of handles at start: the process ends with this error */
    }
    *ret_runner = runner;
    return 0;
}

void runner_submit(struct runner *runner, struct runner_job *job)
{
    job->queued_ns = clock_now_ns();
    job->busy_before_ns = runner_busy_ns(runner, job->queued_ns);
    buf_init(&job->pieces, LIMIT_ANSWER_TEXT_BYTES);
    uv_mutex_lock(&runner->mutex);
    job_append(&runner->arrived, job);
    uv_cond_signal(&runner->wake);
    uv_mutex_unlock(&runner->mutex);
}

void runner_cancel(struct runner *runner, struct runner_job *job)
{
    (void)runner;
    atomic_store(&job->abort, true);
}

bool runner_is_stuck(const struct runner *runner, int64_t now_ns)
{
    const int64_t since_ns = atomic_load(&runner->step_since_ns);

    return since_ns != 0 && now_ns - since_ns > LIMIT_STEP_MS * NS_PER_MS;
}

int64_t runner_busy_ns(const struct runner *runner, int64_t now_ns)
{
    const int64_t busy_ns = atomic_load(&runner->busy_ns),
                  since_ns = atomic_load(&runner->step_since_ns);

    return busy_ns + (since_ns != 0 && now_ns > since_ns ? now_ns - since_ns : 0);
}

static void jobs_return(struct runner_job *list)
{
    for (struct runner_job *next; list; list = next) {
        next = list->next;
        generation_free(list);
        buf_fini(&list->pieces);
        answer_fini(&list->answer);
        list->error = TANDEM_ECANCELED;
    }
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void runner_free(struct runner *runner)
{
    if (!runner) {
        return;
    }
    uv_mutex_lock(&runner->mutex);
    runner->stop = true;
    uv_cond_signal(&runner->wake);
    uv_mutex_unlock(&runner->mutex);
    (void)uv_thread_join(&runner->thread);
    jobs_return(runner->arrived);
    jobs_return(runner->queue.first);
    jobs_return(runner->done);
    uv_mutex_destroy(&runner->mutex);
    uv_cond_destroy(&runner->wake);
    uv_close((uv_handle_t *)&runner->async, on_closed);
}
