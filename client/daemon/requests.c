#include "client/daemon/feedback.h"
#include "client/daemon/request.h"

#include "common/base/clock.h"
#include "common/base/error.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void request_free_if_done(struct request *request)
{
    struct request **at = &request->all->list;
    struct requests *all = request->all;

    if (!request->ended || request->local_out || request->upload.out || !request->timer_closed) {
        return;
    }
    while (*at != request) {
        at = &(*at)->next;
    }
    *at = request->next;
    all->live--;
    shadow_begin(request);
    app_input_release(&request->input);
    buf_fini(&request->transcript);
    answer_fini(&request->answers[JOB_SIDE_LOCAL]);
    answer_fini(&request->answers[JOB_SIDE_EDGE]);
    answer_fini(&request->answers[JOB_SIDE_CACHE]);
    free(request->cache_print);
    free(request->upload.data);
    buf_fini(&request->said[JOB_SIDE_LOCAL]);
    buf_fini(&request->said[JOB_SIDE_EDGE]);
    tasks_unref(request->tasks);
    free(request);
    shadows_look(all);
    if (all->live == 0) {
        all->on_idle(all->user);
    }
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct request *request = handle->data;

    request->timer_closed = true;
    request_free_if_done(request);
}

/* Whether what this request sends at once measures the rate of this edge's link: a picture that was
 * made smaller may be too small. */
static bool is_measured(const struct request *request, size_t edge)
{
    const struct choice *choice = &request->choice;
    struct link_view view;

    if (choice->edge != (int)edge || (choice->plan.route == JOB_CASCADE && !choice->plan.race)) {
        return false;
    }
    links_view(request->all->links, edge, &view);
    return !choice->upload_reason ||
           estimate_link_measured_by(view.estimate,
                                     (uint64_t)choice->candidates[choice->asked].upload.bytes,
                                     clock_now_ns());
}

/* The links that it has not measured are probed, for the next request: behind it, since on a thin
 * link a probe in front of it would be in its way. */
static void links_look(const struct request *request)
{
    struct links *links = request->all->links;

    for (size_t i = 0; links && i < links_count(links); i++) {
        if (!is_measured(request, i)) {
            links_probe(links, i);
        }
    }
}

/* `now_ns` is the reading of the clock that `action` came from: what is said of the latency and of
 * the deadline can never disagree. */
static void request_end(struct request *request, const struct job_action *action, int64_t now_ns)
{
    struct decision_outcome *outcome = &request->decision.outcome;
    struct link_view view;

    request->ended = true;
    request_edge_release(request);
    if (!request->local_out) {
        request_local_release(request);
    }
    request->decision.has_outcome = true;
    request->decision.hedged =
        request->job.hedged && (request->job.plan.route == JOB_EDGE || request->job.plan.race);
    outcome->latency_ms = ms_between(request->start_ns, now_ns);
    outcome->met_deadline = action->kind == JOB_DELIVER && !(action->flags & JOB_FLAG_LATE);
    outcome->error_code = action->kind == JOB_FAIL ? action->error : 0;
    if (action->kind == JOB_FAIL) {
        snprintf(outcome->error_text, sizeof(outcome->error_text), "%s",
                 request->why_kept ? request->why_kept : request->why);
    }
    if (action->kind == JOB_DELIVER && action->side == JOB_SIDE_CACHE) {
        strcpy(outcome->route, "cache");
        strcpy(outcome->model_digest, request->cached.model_digest);
    } else if (action->kind == JOB_DELIVER && action->side == JOB_SIDE_EDGE) {
        links_view(request->all->links, (size_t)request->choice.edge, &view);
        snprintf(outcome->route, sizeof(outcome->route), "edge:%.63s", view.name);
    } else if (action->kind == JOB_DELIVER) {
        strcpy(outcome->route, "local");
        snprintf(outcome->model_digest, sizeof(outcome->model_digest), "%s",
                 engine_model_digest(request->task->local.model));
    }
    decision_end(&request->decision, &request->job, action, now_ns);
    request_compare(request);
    request_answers_note(request, action);
    shadow_choose(request, action->kind == JOB_DELIVER ? action->side : JOB_SIDES);
    request_waste_note(request, action);
    if (action->kind == JOB_DELIVER) {
        request_cache_keep(request, action->side);
    }
    if (request->peer && action->kind == JOB_DELIVER) {
        request_stream_finish(request, action->side);
        request_answer_send(request, action);
    } else if (request->peer) {
        request_error_send(request, action->error);
    }
    session_end(request, action->kind == JOB_DELIVER ? &request->answers[action->side] : NULL,
                action->kind == JOB_DELIVER && action->side == JOB_SIDE_EDGE ? request->choice.edge
                                                                             : -1);
    request_count(request, action);
    request->all->learned++;
    request_decision_keep(request);
    if (request->job.started) { /* else nothing was decided */
        links_look(request);
    }
    uv_close((uv_handle_t *)&request->timer, on_timer_closed);
}

double requests_late_ms(const struct requests *all, int64_t now_ns)
{
    const double late_ms = estimate_samples_quantile(&all->late_ms, 0.95, 0, now_ns);

    return fmin(late_ms, LIMIT_LATENESS_MS);
}

/* On a device that has too much to do a timer comes late, and so would what waits for it. */
static void on_timer(uv_timer_t *timer)
{
    struct request *request = timer->data;
    const int64_t now_ns = clock_now_ns(),
                  late_ns = now_ns - request->due_ns - LIMIT_TIMER_US * NS_PER_US;

    estimate_samples_add(&request->all->late_ms, fmax(ms_between(0, late_ns), 0), now_ns);
    request_event(timer->data, &(struct job_event_data){.kind = JOB_TIMER});
}

static void timer_arm(struct request *request, int64_t at_ns)
{
    const int64_t wait_ns = at_ns - clock_now_ns();

    request->due_ns = at_ns;
    uv_update_time(request->all->loop);
    (void)uv_timer_start(&request->timer, on_timer,
                         wait_ns > 0 ? (uint64_t)((wait_ns + NS_PER_MS - 1) / NS_PER_MS) : 0, 0);
}

/* Carries the actions out in order; an action may cause an event of its own (the link is gone),
 * which then runs to its end first. */
void request_event(struct request *request, const struct job_event_data *event)
{
    const int64_t now_ns = clock_now_ns();
    struct job_actions actions;

    if (request->print.out) {
        if (event->kind == JOB_CANCEL || event->kind == JOB_APP_GONE) {
            request_print_cancel(request);
        }
        return;
    }
    if (request->ended || job_event(&request->job, event, now_ns, &actions) != 0) {
        return;
    }
    for (size_t i = 0; i < actions.count && !request->ended; i++) {
        const struct job_action *action = &actions.items[i];

        switch (action->kind) {
        case JOB_START_LOCAL:
            request_local_start(request);
            break;
        case JOB_CANCEL_LOCAL:
            runner_cancel(request->all->runner, &request->local);
            break;
        case JOB_SEND_EDGE:
            request_edge_start(request);
            break;
        case JOB_CANCEL_EDGE:
            request_edge_release(request);
            if (!request_upload_cancel(request)) {
                request_edge_given_up(request);
                request->decision.outcome.bytes_up -= (double)links_cancel(
                    request->all->links, (size_t)request->choice.edge, request->wire_id);
            }
            break;
        case JOB_ARM_TIMER:
            timer_arm(request, action->at_ns);
            break;
        case JOB_PASS_TOKENS:
            request_stream_show(request, action->side);
            break;
        case JOB_DELIVER:
        case JOB_FAIL:
            request_end(request, action, now_ns);
            break;
        }
    }
}

/* ---- from the applications ---- */

static struct request *request_new(struct requests *all, struct app_peer *peer, uint64_t id,
                                   const struct local_submit *submit, struct app_input input)
{
    struct request *request = calloc(1, sizeof(*request));

    if (!request) {
        return NULL;
    }
    request->all = all;
    request->peer = peer;
    request->app_id = id;
    request->submit = *submit;
    request->input = input;
    request->start_ns = clock_now_ns();
    request->decision.id = decision_ids_take(&all->ids);
    request->decision.answers = (struct told_answers){.uid = app_peer_uid(peer), .by = JOB_SIDES};
    request->choice.edge = -1;
    (void)uv_timer_init(all->loop, &request->timer);
    request->timer.data = request;
    request->next = all->list;
    all->list = request;
    all->live++;
    all->counts.requests++;
    return request;
}

/* Whether there is room for `request`, which is in the list already: no application takes all of
 * it, and no memory is held without a bound. */
static int room_check(struct request *request)
{
    size_t of_peer = 0, bytes = 0;

    for (const struct request *at = request->all->list; at; at = at->next) {
        of_peer += at->peer == request->peer;
        bytes += at->input.mapped ? 0 : at->input.bytes;
    }
    if (of_peer > LIMIT_REQUESTS_PER_CONNECTION) {
        snprintf(request->why, sizeof(request->why), "%d requests of this connection are under way",
                 LIMIT_REQUESTS_PER_CONNECTION);
        return TANDEM_EBUSY;
    }
    return request->all->live > LIMIT_REQUESTS || bytes > LIMIT_APP_INPUT_BYTES ? TANDEM_EBUSY : 0;
}

/* Whether the input is what the task takes. */
static int submit_check(struct request *request)
{
    const struct task_config *task = request->task->config;
    const bool picture = task->kind != TASK_GENERATE;

    if (picture != request->submit.has_picture) {
        snprintf(request->why, sizeof(request->why), "task %s takes a %s, not a %s", task->name,
                 picture ? "picture" : "text", picture ? "text" : "picture");
        return TANDEM_EINVAL;
    }
    return !picture && request->input.bytes > LIMIT_TEXT_BYTES ? TANDEM_ETOOBIG : 0;
}

/* There is no request to end, so the caller is told by hand. */
static void no_memory_say(struct app_peer *peer, uint64_t id)
{
    struct local_error message = {.code = TANDEM_ENOMEM};
    struct buf header;

    snprintf(message.text, sizeof(message.text), "%s", tandem_error_text(TANDEM_ENOMEM));
    buf_init(&header, LIMIT_FRAME_HEADER_BYTES);
    if (local_error_pack(&message, &header) == 0) {
        app_send(peer, FRAME_ERROR, id, &header);
    }
    buf_fini(&header);
}

/* The tasks were read anew while its print was made: nothing is decided by what held before, least
 * of all who may see it. What it was compared by belongs to the task of before. */
static int task_renew(struct request *request)
{
    struct requests *all = request->all;
    const int index = tasks_find(all->tasks, request->submit.task);

    request->cacheable = false;
    if (index < 0) {
        return TANDEM_ENOTASK;
    }
    tasks_unref(request->tasks);
    request->tasks = tasks_ref(all->tasks);
    request->task = &all->tasks->items[index];
    return submit_check(request);
}

void request_begin(struct request *request, int result)
{
    struct requests *all = request->all;
    struct decide_cached cached;
    struct result_hit hit;
    bool has_hit;

    if (result == 0 && request->tasks != all->tasks) {
        result = task_renew(request);
    }

    request->decide_ns = clock_now_ns();
    request->submit.capture_age_us +=
        (uint64_t)(request->decide_ns - request->start_ns) / NS_PER_US; /* what is left is less */
    has_hit = result == 0 && request_cache_look(request, &hit, &cached);
    if (result == 0) {
        request_upload_look(request);
        result = request_decide(request, has_hit ? &cached : NULL);
    } else {
        request_decision_fill(request);
    }
    if (result == TANDEM_ENOTASK) {
        snprintf(request->why, sizeof(request->why), "there is no task '%s'", request->submit.task);
    }
    if (result == 0 && request->choice.plan.route == JOB_CACHE) {
        result = request_cache_take(request, &hit);
    }
    if (result == TANDEM_ENOROUTE) {
        snprintf(request->why, sizeof(request->why), "no route: %.240s", request->decision.reason);
    } else if (result == TANDEM_EBUSY && request->choice.reserve == RESERVE_NONE) {
        snprintf(request->why, sizeof(request->why), "%.240s", request->decision.reason);
    }
    job_init(&request->job, &request->choice.plan);
    if (result != 0) {
        request_end(request, &(struct job_action){.kind = JOB_FAIL, .error = result},
                    clock_now_ns());
        return;
    }
    if (request->choice.pull_in) {
        requests_pull_in(all);
    }
    if (request->choice.plan.insure_at_ns != 0) {
        request_local_reserve(request); /* its place, with what it takes */
    }
    request_accepted_send(request);
    request_event(request, &(struct job_event_data){.kind = JOB_START});
}

static void on_submit(struct app_peer *peer, uint64_t id, const struct local_submit *submit,
                      struct app_input input, void *user)
{
    struct requests *all = user;
    const int index = tasks_find(all->tasks, submit->task);
    struct request *request = request_new(all, peer, id, submit, input);
    int result = index >= 0 ? 0 : TANDEM_ENOTASK;

    if (!request) {
        app_input_release(&input);
        no_memory_say(peer, id);
        return;
    }
    request->tasks = tasks_ref(all->tasks);
    request->task = &all->tasks->items[index >= 0 ? index : 0];
    if (result == 0) {
        result = room_check(request);
    }
    if (result == 0) {
        result = submit_check(request);
    }
    if (result == 0 && submit->session[0] && request->task->config->kind == TASK_GENERATE) {
        result = session_begin(request);
    }
    if (result == 0) {
        request_cache_prepare(request);
    }
    if (result == 0 && request_print_begin(request)) {
        request_decision_fill(request); /* what runs is shown */
        return;
    }
    request_begin(request, result);
}

static void on_cancel(struct app_peer *peer, uint64_t id, void *user)
{
    struct requests *all = user;

    for (struct request *at = all->list; at; at = at->next) {
        if (at->peer == peer && at->app_id == id && !at->ended) {
            request_event(at, &(struct job_event_data){.kind = JOB_CANCEL});
            return;
        }
    }
}

static void on_peer_gone(struct app_peer *peer, void *user)
{
    struct requests *all = user;

    for (struct request *at = all->list; at; at = at->next) {
        if (at->peer == peer) {
            at->peer = NULL;
            request_event(at, &(struct job_event_data){.kind = JOB_APP_GONE});
        }
    }
}

static int on_feedback(struct app_peer *peer, uint64_t decision, bool correct, const char **ret_why,
                       void *user)
{
    struct requests *all = user;
    const int result = feedback_take(all, app_peer_uid(peer), decision, correct, ret_why);

    if (result == 0) {
        all->on_told(all->user);
    }
    return result;
}

const struct app_callbacks requests_app_callbacks = {on_submit, on_cancel, on_peer_gone,
                                                     on_feedback};

void requests_end_all(struct requests *all)
{
    for (struct request *at = all->list; at; at = at->next) {
        request_event(at, &(struct job_event_data){.kind = JOB_CANCEL});
    }
}

int requests_init(struct requests *all)
{
    uint64_t seed;
    const int result = random_bytes(&seed, sizeof(seed));

    if (result != 0) {
        return result;
    }
    random_seed(&all->random, seed);
    all->ring = calloc(LIMIT_DECISION_RING, sizeof(*all->ring));
    all->told = calloc(LIMIT_FEEDBACK_KEPT, sizeof(*all->told));
    all->next_wire_id = 1; /* 0 is the connection itself; a restart has another boot id */
    return all->ring && all->told ? requests_results_reset(all) : TANDEM_ENOMEM;
}

int requests_results_reset(struct requests *all)
{
    result_cache_free(all->results);
    all->results = NULL;
    if (all->config->result_cache_bytes > 0) {
        all->results = result_cache_new((size_t)all->config->result_cache_bytes);
        return all->results ? 0 : TANDEM_ENOMEM;
    }
    return 0;
}

void requests_fini(struct requests *all)
{
    shadows_free(all);
    sessions_free(all->sessions);
    result_cache_free(all->results);
    free(all->ring);
    free(all->told);
}
