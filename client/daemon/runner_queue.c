#include "client/daemon/runner_parts.h"

#include "common/base/clock.h"

#include <stdio.h>

#define MARGIN_STEPS 2 /* steps take the time they took, but not always */

/* Whether `a` goes before `b`, which came later. Equals keep the order they came in. */
static bool job_goes_first(const struct runner_job *a, const struct runner_job *b)
{
    if (a->shadow != b->shadow) {
        return b->shadow;
    }
    if (a->yields != b->yields) {
        return b->yields;
    }
    return b->deadline_ns == 0 || (a->deadline_ns != 0 && a->deadline_ns <= b->deadline_ns);
}

static struct runner_job *queue_earliest(const struct runner_queue *queue)
{
    struct runner_job *best = queue->first;

    for (struct runner_job *at = queue->first; at; at = at->next) {
        best = job_goes_first(best, at) ? best : at;
    }
    return best;
}

/* The last in the order that holds pages of the pool `job` needs; NULL: none. */
static struct runner_job *queue_last_holder(const struct runner_queue *queue,
                                            const struct runner_job *job)
{
    struct runner_job *last = NULL;

    for (struct runner_job *at = queue->first; at; at = at->next) {
        if (at != job && at->model->pool == job->model->pool && generation_has_pages(at) &&
            (!last || job_goes_first(last, at))) {
            last = at;
        }
    }
    return last;
}

static enum step_kind step_next(const struct runner_job *job)
{
    return job->model->kind == WIRE_CLASSIFY ? STEP_PICTURE : generation_next(job);
}

/* Never more than the longest of late: one slow step is forgotten over the next dozen. */
static void step_learn(_Atomic int64_t *step_ns, int64_t took_ns)
{
    const int64_t faded_ns = *step_ns - *step_ns / 8;

    *step_ns = took_ns > faded_ns ? took_ns : faded_ns;
}

static int pages_get(struct runner_queue *queue, struct runner_job *job)
{
    int result;

    while ((result = generation_reserve(job)) == TANDEM_ENOMEM) {
        struct runner_job *holder = queue_last_holder(queue, job);

        if (!holder) {
            snprintf(job->why, sizeof(job->why), "the cache has no page for this text");
            return result;
        }
        generation_drop(holder);
    }
    return result;
}

static int job_step(struct runner_queue *queue, struct runner_job *job, bool *ret_more)
{
    int result = 0;

    *ret_more = false;
    if (job->model->kind == WIRE_CLASSIFY) {
        return classify_run(job);
    }
    if (!job->generation) {
        result = generation_begin(job);
    }
    if (result == 0) {
        result = pages_get(queue, job);
    }
    if (result == 0) {
        result = generation_step(job, ret_more);
    }
    if (result == 0 && !*ret_more) {
        result = generation_finish(job, false);
    }
    return result;
}

static struct runner_job *job_end(struct runner_queue *queue, struct runner_job *job, int error,
                                  int64_t now_ns)
{
    struct runner_job **at = &queue->first;

    while (*at != job) {
        at = &(*at)->next;
    }
    *at = job->next;
    job->next = NULL;
    queue->stepped = queue->stepped == job ? NULL : queue->stepped;
    if (error == TANDEM_ECANCELED && job->doubt_tokens > 0) {
        (void)generation_finish(job, true); /* what it said teaches; without memory it does not */
    } else if (error != 0) {
        answer_fini(&job->answer);
    }
    generation_free(job);
    job->error = error;
    job->started_ns = job->started_ns ? job->started_ns : now_ns;
    job->ended_ns = now_ns;
    return job;
}

/* Ends the first job that must not wait for a step of `step_ns`; NULL: there is none. */
static struct runner_job *queue_end_due(struct runner_queue *queue, int64_t step_ns, int64_t now_ns)
{
    const int64_t margin_ns = MARGIN_STEPS * step_ns + LIMIT_HANDOVER_US * NS_PER_US;

    for (struct runner_job *at = queue->first; at; at = at->next) {
        if (atomic_load(&at->abort)) {
            return job_end(queue, at, TANDEM_ECANCELED, now_ns);
        }
        if (at->deadline_ns == 0 || at->deliver_late) {
            continue;
        }
        if (generation_has_text(at) && now_ns + margin_ns >= at->deadline_ns) {
            return job_end(queue, at, generation_finish(at, true), now_ns);
        }
        if (now_ns >= at->deadline_ns) {
            snprintf(at->why, sizeof(at->why), "the deadline passed before there was an answer");
            return job_end(queue, at, TANDEM_ELATE, now_ns);
        }
    }
    return NULL;
}

void runner_queue_add(struct runner_queue *queue, struct runner_job *job)
{
    struct runner_job **end;

    for (end = &queue->first; *end; end = &(*end)->next) {
    }
    *end = job;
    job->next = NULL;
    job->started_ns = job->run_ns = 0;
    job->work = (struct runner_work){0};
    job->talking = job->doubt_new = false;
    job->doubt_tokens = 0;
}

struct runner_job *runner_queue_step(struct runner_queue *queue)
{
    struct runner_job *job = queue_earliest(queue), *ended;
    const int64_t start_ns = clock_now_ns();
    _Atomic int64_t *step_ns;
    int64_t now_ns;
    bool more;
    int error;

    queue->stepped = NULL;
    if (!job) {
        return NULL;
    }
    step_ns = &job->model->step_ns[step_next(job)];
    ended = queue_end_due(queue, *step_ns, start_ns);
    if (ended) {
        return ended;
    }
    job->started_ns = job->started_ns ? job->started_ns : start_ns;
    queue->stepped = job;
    atomic_store(&job->step_began_ns, start_ns);
    error = job_step(queue, job, &more);
    now_ns = clock_now_ns();
    job->run_ns += now_ns - start_ns;
    atomic_store(&job->ran_ns, job->run_ns);
    atomic_store(&job->step_began_ns, 0);
    if (error == 0) {
        step_learn(step_ns, now_ns - start_ns);
    }
    return error != 0 || !more ? job_end(queue, job, error, now_ns) : NULL;
}
