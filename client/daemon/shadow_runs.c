/* shadow_runs.c: the two sides of a shadow: a run here and one at an edge. */
#include "client/daemon/shadow_parts.h"

#include "client/daemon/learn.h"
#include "client/policy/candidates.h"
#include "common/base/error.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is so of both sides: the tasks are those that edges and models were compared with, and the
 * hour has something left for what nobody asked for. */
static struct shadow_place place_of(const struct shadow *shadow)
{
    return (struct shadow_place){.usable = shadow->tasks == shadow->all->tasks,
                                 .within_budget = budgets_allow_extra(shadow->all->budgets),
                                 .since_ns = shadow->since_ns,
                                 .now_ns = clock_now_ns()};
}

/* By the device's model; NAN: it says nothing. */
static double joule_of(const struct shadow *shadow, double run_ms, double bytes)
{
    const struct decide_energy energy = requests_energy(shadow->all);

    return candidate_joule(&energy, run_ms, bytes, 0);
}

/* ---- here ---- */

static struct estimate_task run_of(const struct shadow *shadow)
{
    const struct estimate_text_work work = {
        .prompt_bytes = (double)shadow->input.bytes,
        .most_tokens = (double)request_most_tokens(shadow->task, &shadow->submit)};

    return task_estimate(shadow->task, &work);
}

/* What the run is believed to take; 0 where the device has no model of it. */
static double run_joule_of(const struct shadow *shadow)
{
    const struct estimate_task run = run_of(shadow);

    return fmax(joule_of(shadow, estimate_task_ms(&run), 0), 0);
}

enum shadow_verdict shadow_local_judge(const struct shadow *shadow)
{
    struct shadow_place place = place_of(shadow);

    place.within_budget =
        place.within_budget && requests_joule_left(shadow->all, run_joule_of(shadow));
    place.wanted = shadow->local_out || requests_local_wanted(shadow->all);
    for (const struct shadow *at = shadow->all->shadows.list; at; at = at->next) {
        place.wanted |= at->local_out;
    }
    return shadow_judge(&place);
}

void shadow_local_start(struct shadow *shadow)
{
    struct runner_job *job = &shadow->local;

    memset(job, 0, sizeof(*job));
    job->owner = shadow;
    job->model = &shadow->task->local;
    job->input = shadow->input.data;
    job->input_bytes = shadow->input.bytes;
    job->picture = shadow->submit.picture;
    job->sampling = shadow->submit.sampling;
    job->max_new_tokens = request_most_tokens(shadow->task, &shadow->submit);
    job->shadow = true;
    shadow->state[JOB_SIDE_LOCAL] = SHADOW_RUNNING;
    shadow->local_out = true;
    shadow->reserved_j = run_joule_of(shadow);
    budgets_reserve(shadow->all->budgets, BUDGET_JOULE, shadow->reserved_j);
    runner_submit(shadow->all->runner, job);
}

/* A text is set aside by the runner; a picture is one step, and begins anew later. */
void shadows_make_way_here(struct requests *all)
{
    for (struct shadow *at = all->shadows.list; at; at = at->next) {
        if (at->local_out && at->task->config->kind != TASK_GENERATE) {
            runner_cancel(all->runner, &at->local);
        }
    }
}

/* Only its step can be in a request's way. */
size_t shadows_insured(const struct requests *all, struct decide_insured *insured, size_t count,
                       size_t max)
{
    for (const struct shadow *at = all->shadows.list; at && count < max; at = at->next) {
        const struct estimate_task run = run_of(at);
        const double bound_ms = estimate_task_bound_ms(&run);

        if (at->local_out && !isnan(bound_ms)) {
            insured[count] = (struct decide_insured){
                .deadline_ns = INSURED_NO_DEADLINE,
                .run_ns = (int64_t)(bound_ms * (double)NS_PER_MS),
                .step_ns = (int64_t)(estimate_task_step_ms(&run) * (double)NS_PER_MS)};
            runner_job_credit(&at->local, clock_now_ns(), &insured[count++]);
        }
    }
    return count;
}

bool shadow_local_done(struct requests *all, struct runner_job *job)
{
    struct shadow *shadow = job->owner;
    struct measured *measured;

    if (!job->shadow) {
        return false;
    }
    measured = &shadow->measured[JOB_SIDE_LOCAL];
    shadow->local_out = false;
    all->shadows.counts.run_ms += ms_between(0, job->run_ns);
    budgets_release(all->budgets, BUDGET_JOULE, shadow->reserved_j);
    shadow->reserved_j = 0;
    requests_computed(all, ms_between(0, job->run_ns));
    if (job->error == TANDEM_ECANCELED) {
        answer_fini(&job->answer);
        if (shadow->state[JOB_SIDE_LOCAL] == SHADOW_RUNNING) {
            shadow->state[JOB_SIDE_LOCAL] = SHADOW_WAITING; /* it made way */
        } else {
            shadow_side_drop(shadow, JOB_SIDE_LOCAL, SHADOW_DROPPED_STOPPED);
        }
        shadows_look(all);
        return true;
    }
    measured->latency_ms = ms_between(0, job->run_ns);
    measured->energy_j = joule_of(shadow, measured->latency_ms, 0);
    measured->bytes = 0;
    measured->error_code = job->error;
    measured->confidence = NAN;
    if (job->error == 0) {
        answer_judge(shadow->task, &job->answer);
        request_run_learn(shadow->task, job);
        measured->confidence = shadow->task->asks ? NAN : job->answer.confidence;
        shadow->answers[JOB_SIDE_LOCAL] = job->answer;
    } else {
        answer_fini(&job->answer);
    }
    shadow_side_end(shadow, JOB_SIDE_LOCAL);
    return true;
}

/* ---- there ---- */

static size_t task_index(const struct shadow *shadow)
{
    return (size_t)(shadow->task - shadow->tasks->items);
}

/* What making its picture smaller, sending it and what comes back are believed to take. */
static double ask_joule_of(const struct shadow *shadow)
{
    const struct request_upload *upload = &shadow->upload;
    const struct decide_energy energy = requests_energy(shadow->all);
    const struct estimate_task run = run_of(shadow);
    const bool makes = !upload->data && upload->form.width != 0;
    const double bytes = upload->data ? (double)upload->bytes
                         : makes      ? upload->form.bytes
                                      : (double)shadow->input.bytes;

    return candidate_joule(
        &energy, makes ? upload->form.prepare_ms : 0, bytes,
        requests_down_bytes(shadow->task, &shadow->submit, run.work.most_tokens));
}

enum shadow_verdict shadow_edge_judge(const struct shadow *shadow)
{
    struct shadow_place place = place_of(shadow);
    enum edge_trouble trouble;
    struct link_view view;

    links_view(shadow->all->links, shadow->edge, &view);
    place.usable =
        place.usable && !view.silent &&
        links_unusable(shadow->all->links, shadow->edge, task_index(shadow), &trouble) == NULL;
    place.within_budget =
        place.within_budget && requests_joule_left(shadow->all, ask_joule_of(shadow));
    place.wanted = requests_edge_wanted(shadow->all, shadow->edge);
    for (const struct shadow *at = shadow->all->shadows.list; at; at = at->next) {
        place.wanted |= at->state[JOB_SIDE_EDGE] == SHADOW_RUNNING && at->edge == shadow->edge;
    }
    return shadow_judge(&place);
}

/* Sent without a deadline, so that what it takes is known also where that would be too late; what
 * has one goes first there. */
static int edge_send(struct shadow *shadow)
{
    struct requests *all = shadow->all;
    const bool made = shadow->upload.data != NULL;
    const uint8_t *data = made ? shadow->upload.data : shadow->input.data;
    const size_t bytes = made ? shadow->upload.bytes : shadow->input.bytes;
    struct edge_request message = {.has_picture = shadow->submit.has_picture,
                                   .picture = shadow->submit.picture,
                                   .sampling = shadow->submit.sampling,
                                   .max_new_tokens = shadow->submit.max_new_tokens,
                                   .budget_us = LIMIT_SHADOW_RUN_MS * UINT64_C(1000),
                                   .payload_bytes = bytes};
    const struct edge_ask ask = {.task = shadow->task,
                                 .submit = &shadow->submit,
                                 .edge = shadow->edge,
                                 .up_bytes = bytes,
                                 .extra = true};
    char why[BUDGET_TEXT_BYTES]; /* the counts say enough */
    uint8_t *payload;
    int result;

    if (!edge_hold(all, &ask, &shadow->hold, why)) {
        return TANDEM_ENOROUTE;
    }
    payload = malloc(bytes);
    result = payload ? 0 : TANDEM_ENOMEM;
    if (made) {
        message.picture = (struct wire_picture){.format = ENGINE_PIXELS_ENCODED};
    }
    strcpy(message.task, shadow->submit.task);
    snprintf(message.decision_id, sizeof(message.decision_id), "%" PRIu64, shadow->id);
    if (result == 0) {
        memcpy(payload, data, bytes);
        shadow->wire_id = all->next_wire_id++;
        result = links_send(all->links, shadow->edge, shadow->wire_id, &message, payload, bytes);
    }
    if (result != 0) {
        free(payload);
        return result; /* what was reserved goes with the side */
    }
    shadow->sent_ns = clock_now_ns();
    shadow->up_ms = NAN;
    shadow->bytes_up = (double)bytes;
    all->shadows.counts.bytes_up += shadow->bytes_up;
    estimate_edge_sent(&shadow->task->edges[shadow->edge], shadow->sent_ns);
    return 0;
}

static void edge_begin(struct shadow *shadow)
{
    const int result = edge_send(shadow);

    if (result != 0) {
        shadow_side_drop(shadow, JOB_SIDE_EDGE,
                         result == TANDEM_ENOROUTE ? SHADOW_DROPPED_BUDGET : SHADOW_DROPPED_GONE);
    }
}

/* On a thread of the pool. */
static void on_make(uv_work_t *work)
{
    struct shadow *shadow = work->data;

    request_upload_make(&shadow->upload);
}

static void on_made(uv_work_t *work, int status)
{
    struct shadow *shadow = work->data;
    struct requests *all = shadow->all;

    shadow->upload.out = false;
    if (status != 0) {
        shadow->upload.error = TANDEM_ECANCELED;
    }
    request_upload_made(all, shadow->task, &shadow->upload);
    all->shadows.counts.run_ms += ms_between(0, shadow->upload.made_ns);
    if (shadow->state[JOB_SIDE_EDGE] == SHADOW_RUNNING && !shadow->unwanted) {
        edge_begin(shadow); /* one that could not be made smaller goes as it came */
    } else {
        shadow_side_drop(shadow, JOB_SIDE_EDGE, SHADOW_DROPPED_STOPPED);
    }
    shadows_look(all);
}

void shadow_edge_start(struct shadow *shadow)
{
    struct request_upload *upload = &shadow->upload;

    shadow->state[JOB_SIDE_EDGE] = SHADOW_RUNNING;
    shadow->asked_ns = clock_now_ns();
    if (shadow->submit.has_picture && upload->form.width != 0 && !upload->data) {
        upload->picture = request_picture(&shadow->submit, &shadow->input);
        upload->work.data = shadow;
        upload->out = uv_queue_work(shadow->all->loop, &upload->work, on_make, on_made) == 0;
    }
    if (!upload->out) {
        edge_begin(shadow);
    }
}

/* What was sent of it is lost. */
void shadows_make_way_there(struct requests *all, size_t edge)
{
    for (struct shadow *at = all->shadows.list; at; at = at->next) {
        if (at->state[JOB_SIDE_EDGE] != SHADOW_RUNNING || at->edge != edge) {
            continue;
        }
        if (at->upload.out) {
            at->unwanted = true; /* on_made drops it */
        } else {
            links_cancel(all->links, edge, at->wire_id);
            shadow_side_drop(at, JOB_SIDE_EDGE, SHADOW_DROPPED_STOPPED);
        }
        return; /* an edge has one at a time */
    }
}

static struct shadow *edge_find(struct requests *all, size_t edge, uint64_t id)
{
    for (struct shadow *at = all->shadows.list; at; at = at->next) {
        if (at->state[JOB_SIDE_EDGE] == SHADOW_RUNNING && !at->upload.out && at->edge == edge &&
            at->wire_id == id) {
            return at;
        }
    }
    return NULL;
}

static void edge_measure(struct shadow *shadow, int error)
{
    struct measured *measured = &shadow->measured[JOB_SIDE_EDGE];

    measured->latency_ms = ms_between(shadow->asked_ns, clock_now_ns());
    measured->bytes = shadow->bytes_up;
    measured->energy_j = joule_of(shadow, ms_between(0, shadow->upload.made_ns), measured->bytes);
    measured->confidence = NAN;
    measured->error_code = error;
}

bool shadow_edge_result(struct requests *all, size_t edge, uint64_t id, struct edge_result *result)
{
    struct shadow *shadow = edge_find(all, edge, id);
    const int64_t now_ns = clock_now_ns();
    const double wait_ms = (double)result->wait_us / 1000;
    struct link_view view;

    if (!shadow) {
        return false;
    }
    links_view(all->links, edge, &view);
    estimate_edge_add(&shadow->task->edges[edge], ms_between(shadow->sent_ns, now_ns), wait_ms,
                      isnan(shadow->up_ms)
                          ? estimate_link_ms(view.estimate, (uint64_t)shadow->bytes_up, now_ns)
                          : shadow->up_ms,
                      now_ns);
    links_waited(all->links, edge, wait_ms);
    if (result->answer.kind == WIRE_GENERATE) {
        estimate_text_answer_add(&shadow->task->text, result->answer.tokens,
                                 result->answer.finish == WIRE_FINISH_DEADLINE);
    }
    memcpy(shadow->edge_digest, result->model_digest, sizeof(shadow->edge_digest));
    request_upload_boxes(&shadow->upload, &result->answer);
    positive_choose(&result->answer, task_positive(shadow->task), task_costs(shadow->task));
    shadow->answers[JOB_SIDE_EDGE] = result->answer;
    result->answer = (struct answer){0};
    edge_measure(shadow, 0);
    shadow_side_end(shadow, JOB_SIDE_EDGE);
    return true;
}

bool shadow_edge_error(struct requests *all, size_t edge, uint64_t id, int error)
{
    struct shadow *shadow = edge_find(all, edge, id);

    if (!shadow) {
        return false;
    }
    edge_measure(shadow, error);
    shadow_side_end(shadow, JOB_SIDE_EDGE);
    return true;
}

void shadow_edge_acked(struct requests *all, size_t edge, uint64_t id)
{
    struct shadow *shadow = edge_find(all, edge, id);

    if (shadow) {
        shadow->up_ms = ms_between(shadow->sent_ns, clock_now_ns());
    }
}

void shadows_edge_gone(struct requests *all, size_t edge)
{
    struct shadow *next;

    for (struct shadow *at = all->shadows.list; at; at = next) {
        next = at->next;
        if (at->state[JOB_SIDE_EDGE] == SHADOW_RUNNING && !at->upload.out && at->edge == edge) {
            shadow_side_drop(at, JOB_SIDE_EDGE, SHADOW_DROPPED_GONE);
        }
    }
    shadows_look(all);
}
