#include "client/daemon/requests.h"

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/log.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct session {
    struct session *next;
    char name[LIMIT_NAME_BYTES + 1];
    uid_t uid;
    struct buf transcript;
    size_t edge_bytes[LIMIT_EDGES]; /* of the transcript that each edge is believed to hold */
    bool busy;
    int64_t used_ns;
};
struct request {
    struct request *next;
    struct requests *all;
    struct app_peer *peer; /* NULL: gone */
    uint64_t app_id;
    struct client_task *task;
    struct local_submit submit;
    struct app_input input;
    struct session *session;
    struct buf transcript; /* with this turn's text; sessions only */
    struct job job;
    struct choice choice;
    struct decision decision;
    uv_timer_t timer;
    struct runner_job local;
    bool local_out, ended, timer_closed, resent;
    struct answer answers[JOB_SIDES];
    bool has_answer[JOB_SIDES];
    int64_t start_ns, edge_sent_ns;
    char why[256];
};

static double ms_between(int64_t from_ns, int64_t to_ns)
{
    return (double)(to_ns - from_ns) / (double)NS_PER_MS;
}

static void request_event(struct request *request, const struct job_event_data *event);

/* ---- deciding ---- */

static void edges_fill(struct requests *all, const struct client_task *task, uint64_t up_bytes, struct decide_edge *edges,
                       size_t *ret_count)
{
    const size_t task_index = (size_t)(task - all->tasks->items);
    const size_t count = all->links ? links_count(all->links) : 0;

    for (size_t i = 0; i < count; i++) {
        struct link_view view;
        double hint_ms;

        links_view(all->links, i, &view);
        edges[i].name = view.name;
        edges[i].unusable = links_unusable(all->links, i, task_index);
        hint_ms = (double)view.load->picture_us / 1000.0;
        if (task->config->kind == TASK_GENERATE) {
            hint_ms = view.load->decode_tokens_per_s > 0 ? 1000.0 * 32 / view.load->decode_tokens_per_s : 0;
        }
        /* An edge that has said nothing about itself yet is tried on the belief that it is as fast as this device. */
        if (hint_ms <= 0 && task->estimate.run.count > 0) {
            hint_ms = task->estimate.run.mean;
        }
        edges[i].latency_known = estimate_edge_get(&task->edges[i], view.estimate, up_bytes,
                                                   (double)view.load->predicted_wait_us / 1000.0, hint_ms, &edges[i].latency);
    }
    *ret_count = count;
}

static size_t insured_fill(const struct requests *all, struct decide_insured *insured, size_t max)
{
    size_t count = 0;

    for (const struct request *at = all->list; at && count < max; at = at->next) {
        const double bound_ms = estimate_local_bound_ms(&at->task->estimate);

        if (at->ended || at->job.plan.deadline_ns == 0 || isnan(bound_ms) ||
            (!at->local_out && (at->job.plan.insure_at_ns == 0 || at->job.side[JOB_SIDE_LOCAL] != JOB_SIDE_IDLE))) {
            continue;
        }
        insured[count].start_ns = at->local_out ? 0 : at->job.plan.insure_at_ns;
        insured[count].deadline_ns = at->job.plan.deadline_ns;
        insured[count++].run_ns = (int64_t)(bound_ms * (double)NS_PER_MS);
    }
    return count;
}

static void forced_fill(const struct local_submit *submit, struct decide_input *input)
{
    input->forced = strcmp(submit->route, "local") == 0       ? FORCED_LOCAL
                    : strncmp(submit->route, "edge", 4) == 0  ? FORCED_EDGE
                    : strcmp(submit->route, "cascade") == 0   ? FORCED_CASCADE
                                                              : FORCED_AUTO;
    input->forced_edge = strncmp(submit->route, "edge:", 5) == 0 ? submit->route + 5 : NULL;
}

int requests_decide(struct requests *all, const struct client_task *task, const struct local_submit *submit, uint64_t up_bytes,
                    int64_t now_ns, struct choice *ret_choice)
{
    struct decide_edge edges[LIMIT_EDGES];
    struct decide_insured insured[INSURED_MAX];
    struct decide_input input = {.weights = client_config_weights(all->config), .has_local = task->has_local,
                                 .threshold = task->config->confidence_threshold, .confidence = &task->confidence,
                                 .edge_error = all->config->edge_error, .up_bytes = up_bytes, .now_ns = now_ns,
                                 .edges = edges, .insured = insured};
    const double queue_ms = all->runner && task->estimate.run.count > 0
                                ? (double)runner_queued(all->runner) * task->estimate.run.mean : 0;
    int64_t budget_ns = submit->deadline_us > 0 ? (int64_t)submit->deadline_us * NS_PER_US
                                                : task->config->default_deadline_ms * NS_PER_MS;

    forced_fill(submit, &input);
    input.never_leaves = submit->leaves_device == 1 || strcmp(task->config->leaves_device, "never") == 0 || up_bytes > LIMIT_PAYLOAD_BYTES;
    input.only_edge = strcmp(task->config->leaves_device, "any_edge") == 0 ? NULL : task->config->leaves_device;
    if (budget_ns > 0) {
        budget_ns -= (int64_t)submit->capture_age_us * NS_PER_US;
        input.deadline_ns = now_ns + (budget_ns > 1 ? budget_ns : 1);
    }
    input.deliver_late = submit->deliver_late || task->config->late == TASK_LATE_DELIVER;
    input.local_known = estimate_local_get(&task->estimate, queue_ms, &input.local);
    input.local_bound_ms = estimate_local_bound_ms(&task->estimate);
    edges_fill(all, task, up_bytes, edges, &input.edge_count);
    input.insured_count = insured_fill(all, insured, INSURED_MAX);
    return decide(&input, ret_choice);
}

/* ---- sessions ---- */

static struct session *session_get(struct requests *all, const char *name, uid_t uid)
{
    struct session **oldest = NULL, *session;

    for (struct session **at = &all->sessions; *at; at = &(*at)->next) {
        if ((*at)->uid == uid && strcmp((*at)->name, name) == 0) {
            return *at;
        }
        if (!(*at)->busy && (!oldest || (*at)->used_ns < (*oldest)->used_ns)) {
            oldest = at;
        }
    }
    if (all->session_count >= LIMIT_SESSIONS) {
        if (!oldest) {
            return NULL;
        }
        session = *oldest;
        *oldest = session->next;
        buf_fini(&session->transcript);
        free(session);
        all->session_count--;
    }
    session = calloc(1, sizeof(*session));
    if (session) {
        strcpy(session->name, name);
        session->uid = uid;
        buf_init(&session->transcript, LIMIT_TRANSCRIPT_BYTES);
        session->next = all->sessions;
        all->sessions = session;
        all->session_count++;
    }
    return session;
}

static int session_begin(struct request *request)
{
    struct session *session = session_get(request->all, request->submit.session, app_peer_uid(request->peer));
    int result;

    if (!session || session->busy) {
        snprintf(request->why, sizeof(request->why), "another turn of this session is under way");
        return TANDEM_EBUSY;
    }
    buf_init(&request->transcript, LIMIT_TRANSCRIPT_BYTES);
    result = buf_append(&request->transcript, session->transcript.data, session->transcript.bytes);
    if (result == 0) {
        result = transcript_append(&request->transcript, TURN_USER, (const char *)request->input.data, request->input.bytes);
    }
    if (result == 0) {
        session->busy = true;
        request->session = session;
    }
    return result;
}

static void session_end(struct request *request, const struct answer *answer, int edge)
{
    struct session *session = request->session;

    if (!session) {
        return;
    }
    if (answer && transcript_append(&request->transcript, TURN_ANSWER, answer->text, answer->text_bytes) == 0) {
        buf_fini(&session->transcript);
        session->transcript = request->transcript;
        request->transcript = (struct buf){0};
        if (edge >= 0) {
            session->edge_bytes[edge] = session->transcript.bytes;
        }
    }
    session->busy = false;
    session->used_ns = clock_now_ns();
    request->session = NULL;
}

/* ---- the two sides ---- */

static void local_start(struct request *request)
{
    struct runner_job *job = &request->local;

    job->owner = request;
    job->model = &request->task->local;
    job->input = request->session ? request->transcript.data : request->input.data;
    job->input_bytes = request->session ? request->transcript.bytes : request->input.bytes;
    job->transcript = request->session != NULL;
    job->picture = request->submit.picture;
    job->sampling = request->submit.sampling;
    job->max_new_tokens = request->submit.max_new_tokens ? request->submit.max_new_tokens
                                                         : (uint32_t)request->task->config->max_new_tokens;
    job->deadline_ns = request->job.plan.deadline_ns;
    request->local_out = true;
    runner_submit(request->all->runner, job);
}

static int edge_send(struct request *request, bool whole)
{
    const bool session = request->session != NULL;
    const uint8_t *data = session ? request->transcript.data : request->input.data;
    size_t bytes = session ? request->transcript.bytes : request->input.bytes;
    const size_t prefix = session && !whole ? request->session->edge_bytes[request->choice.edge] : 0;
    const int64_t left_ns = request->job.plan.deadline_ns ? request->job.plan.deadline_ns - clock_now_ns() : 0;
    struct edge_request message = {.has_picture = request->submit.has_picture, .picture = request->submit.picture,
                                   .sampling = request->submit.sampling, .max_new_tokens = request->submit.max_new_tokens,
                                   .stream = request->submit.stream, .payload_bytes = bytes - prefix, .prefix_bytes = prefix};
    uint8_t *payload = malloc(bytes - prefix);
    int result = payload ? 0 : TANDEM_ENOMEM;

    strcpy(message.task, request->submit.task);
    strcpy(message.session, request->submit.session);
    snprintf(message.decision_id, sizeof(message.decision_id), "%" PRIu64, request->decision.id);
    message.budget_us = request->job.plan.deadline_ns ? (uint64_t)(left_ns > NS_PER_US ? left_ns / NS_PER_US : 1) : 0;
    if (prefix > 0) {
        const XXH128_hash_t hash = XXH3_128bits(data, prefix);

        snprintf(message.prefix_digest, sizeof(message.prefix_digest), "%016llx%016llx", (unsigned long long)hash.high64,
                 (unsigned long long)hash.low64);
    }
    if (result == 0) {
        memcpy(payload, data + prefix, bytes - prefix);
        result = links_send(request->all->links, (size_t)request->choice.edge, request->decision.id, &message, payload, bytes - prefix);
    }
    if (result != 0) {
        free(payload);
        return result;
    }
    request->edge_sent_ns = clock_now_ns();
    request->decision.outcome.bytes_up = (double)(bytes - prefix);
    return 0;
}

static void edge_start(struct request *request)
{
    const int result = edge_send(request, false);

    if (result != 0) {
        request_event(request, &(struct job_event_data){.kind = result == TANDEM_EGONE ? JOB_EDGE_GONE : JOB_EDGE_FAILED, .error = result});
    }
}

/* ---- the end ---- */

static void decision_keep(struct request *request)
{
    struct requests *all = request->all;

    all->ring[all->ring_next] = request->decision;
    all->ring_next = (all->ring_next + 1) % LIMIT_DECISION_RING;
    all->ring_count += all->ring_count < LIMIT_DECISION_RING;
    all->on_decision(&request->decision, all->user);
}

static void request_free_if_done(struct request *request)
{
    struct request **at = &request->all->list;
    struct requests *all = request->all;

    if (!request->ended || request->local_out || !request->timer_closed) {
        return;
    }
    while (*at != request) {
        at = &(*at)->next;
    }
    *at = request->next;
    all->live--;
    app_input_release(&request->input);
    buf_fini(&request->transcript);
    answer_fini(&request->answers[JOB_SIDE_LOCAL]);
    answer_fini(&request->answers[JOB_SIDE_EDGE]);
    free(request);
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

static void answer_send(struct request *request, const struct job_action *action)
{
    struct local_answer message = {.answer = request->answers[action->side]};
    struct buf header;

    snprintf(message.id, sizeof(message.id), "%" PRIu64, request->decision.id);
    snprintf(message.route, sizeof(message.route), "%s", request->decision.route);
    snprintf(message.outcome_route, sizeof(message.outcome_route), "%s", request->decision.outcome.route);
    snprintf(message.reason, sizeof(message.reason), "%s", request->decision.reason);
    message.latency_us = (uint64_t)(request->decision.outcome.latency_ms * 1000);
    message.predicted_ms = isnan(request->decision.predicted_ms) ? -1 : request->decision.predicted_ms;
    message.met_deadline = !(action->flags & JOB_FLAG_LATE);
    message.partial = (action->flags & JOB_FLAG_PARTIAL) != 0;
    message.hedged = (action->flags & JOB_FLAG_HEDGED) != 0;
    buf_init(&header, LIMIT_FRAME_HEADER_BYTES);
    if (local_answer_pack(&message, &header) == 0) {
        app_send(request->peer, FRAME_RESULT, request->app_id, &header);
    }
    buf_fini(&header);
}

static void error_send(struct request *request, int code)
{
    struct local_error message = {.code = code, .latency_us = (uint64_t)((clock_now_ns() - request->start_ns) / NS_PER_US)};
    struct buf header;

    snprintf(message.text, sizeof(message.text), "%s", request->why[0] ? request->why : tandem_error_text(code));
    snprintf(message.id, sizeof(message.id), "%" PRIu64, request->decision.id);
    snprintf(message.route, sizeof(message.route), "%s", request->decision.route);
    snprintf(message.reason, sizeof(message.reason), "%s", request->decision.reason);
    buf_init(&header, LIMIT_FRAME_HEADER_BYTES);
    if (local_error_pack(&message, &header) == 0) {
        app_send(request->peer, FRAME_ERROR, request->app_id, &header);
    }
    buf_fini(&header);
}

static bool answers_agree(const struct answer *a, const struct answer *b)
{
    if (a->kind == WIRE_GENERATE) {
        return a->text_bytes == b->text_bytes && memcmp(a->text, b->text, a->text_bytes) == 0;
    }
    return a->label_count && b->label_count && strcmp(a->labels[0].label, b->labels[0].label) == 0;
}

static void counts_add(struct request *request, const struct job_action *action)
{
    struct counts *counts = &request->all->counts;

    if (action->kind == JOB_FAIL) {
        counts->errors++;
        counts->late += action->error == TANDEM_ELATE;
        return;
    }
    counts->late += (action->flags & JOB_FLAG_LATE) != 0;
    counts->hedges += request->job.plan.route == JOB_EDGE && (action->flags & JOB_FLAG_HEDGED);
    if (request->job.plan.route == JOB_CASCADE) {
        counts->cascade_stayed += request->job.side[JOB_SIDE_EDGE] == JOB_SIDE_IDLE;
        counts->cascade_went += request->job.side[JOB_SIDE_EDGE] != JOB_SIDE_IDLE;
    } else if (action->side == JOB_SIDE_LOCAL) {
        counts->local++;
    } else {
        counts->edge++;
    }
}

static void request_end(struct request *request, const struct job_action *action)
{
    struct decision_outcome *outcome = &request->decision.outcome;
    struct link_view view;

    request->ended = true;
    request->decision.has_outcome = true;
    request->decision.hedged = request->job.hedged && request->job.plan.route == JOB_EDGE;
    outcome->latency_ms = ms_between(request->start_ns, clock_now_ns());
    outcome->met_deadline = action->kind == JOB_DELIVER && !(action->flags & JOB_FLAG_LATE);
    outcome->error_code = action->kind == JOB_FAIL ? action->error : 0;
    if (action->kind == JOB_DELIVER && action->side == JOB_SIDE_EDGE) {
        links_view(request->all->links, (size_t)request->choice.edge, &view);
        snprintf(outcome->route, sizeof(outcome->route), "edge:%.63s", view.name);
    } else if (action->kind == JOB_DELIVER) {
        strcpy(outcome->route, "local");
        snprintf(outcome->model_digest, sizeof(outcome->model_digest), "%s", engine_model_info(request->task->local.model)->digest);
    }
    if (request->has_answer[JOB_SIDE_LOCAL] && request->has_answer[JOB_SIDE_EDGE]) {
        confidence_compare(&request->task->confidence, request->answers[JOB_SIDE_LOCAL].confidence,
                           answers_agree(&request->answers[JOB_SIDE_LOCAL], &request->answers[JOB_SIDE_EDGE]));
    }
    if (request->peer && action->kind == JOB_DELIVER) {
        answer_send(request, action);
    } else if (request->peer) {
        error_send(request, action->error);
    }
    session_end(request, action->kind == JOB_DELIVER ? &request->answers[action->side] : NULL,
                action->kind == JOB_DELIVER && action->side == JOB_SIDE_EDGE ? request->choice.edge : -1);
    counts_add(request, action);
    decision_keep(request);
    uv_close((uv_handle_t *)&request->timer, on_timer_closed);
}

static void on_timer(uv_timer_t *timer)
{
    request_event(timer->data, &(struct job_event_data){.kind = JOB_TIMER});
}

static void timer_arm(struct request *request, int64_t at_ns)
{
    const int64_t wait_ns = at_ns - clock_now_ns();

    uv_update_time(request->all->loop);
    (void)uv_timer_start(&request->timer, on_timer, wait_ns > 0 ? (uint64_t)((wait_ns + NS_PER_MS - 1) / NS_PER_MS) : 0, 0);
}

/* Carries the actions out in order; an action may cause an event of its own (the link is gone), which then runs to its end first. */
static void request_event(struct request *request, const struct job_event_data *event)
{
    struct job_actions actions;

    if (request->ended || job_event(&request->job, event, clock_now_ns(), &actions) != 0) {
        return;
    }
    for (size_t i = 0; i < actions.count && !request->ended; i++) {
        const struct job_action *action = &actions.items[i];

        switch (action->kind) {
        case JOB_START_LOCAL:
            local_start(request);
            break;
        case JOB_CANCEL_LOCAL:
            runner_cancel(request->all->runner, &request->local);
            break;
        case JOB_SEND_EDGE:
            edge_start(request);
            break;
        case JOB_CANCEL_EDGE:
            links_cancel(request->all->links, (size_t)request->choice.edge, request->decision.id);
            break;
        case JOB_ARM_TIMER:
            timer_arm(request, action->at_ns);
            break;
        case JOB_PASS_TOKENS:
            break; /* on_edge_tokens has the piece and asks job.speaking */
        case JOB_DELIVER:
        case JOB_FAIL:
            request_end(request, action);
            break;
        }
    }
}

/* ---- from the runner ---- */

void requests_runner_done(struct runner_job *job, void *user)
{
    struct request *request = job->owner;
    struct decision_outcome *outcome = &request->decision.outcome;
    struct job_event_data event = {.kind = JOB_LOCAL_FAILED, .error = job->error};

    (void)user;
    request->local_out = false;
    if (job->error == 0) {
        estimate_local_add(&request->task->estimate, ms_between(job->started_ns, job->ended_ns));
        confidence_see(&request->task->confidence, job->answer.confidence);
    }
    if (request->ended) {
        answer_fini(&job->answer);
        request_free_if_done(request);
        return;
    }
    outcome->local_wait_ms = ms_between(job->queued_ns, job->started_ns);
    outcome->local_run_ms = ms_between(job->started_ns, job->ended_ns);
    if (job->error == 0) {
        request->answers[JOB_SIDE_LOCAL] = job->answer;
        request->has_answer[JOB_SIDE_LOCAL] = true;
        request->decision.confidence = job->answer.confidence;
        event = (struct job_event_data){.kind = JOB_LOCAL_DONE, .confidence = job->answer.confidence};
    } else {
        snprintf(request->why, sizeof(request->why), "%.250s", job->why);
    }
    request_event(request, &event);
}

/* ---- from the links ---- */

static struct request *request_find(struct requests *all, size_t edge, uint64_t id)
{
    for (struct request *at = all->list; at; at = at->next) {
        if (at->decision.id == id && at->choice.edge == (int)edge && !at->ended) {
            return at;
        }
    }
    return NULL;
}

static void on_edge_accepted(size_t edge, uint64_t id, void *user)
{
    struct request *request = request_find(user, edge, id);

    if (request) {
        request_event(request, &(struct job_event_data){.kind = JOB_EDGE_ACCEPTED});
    }
}

static void on_edge_tokens(size_t edge, uint64_t id, const struct edge_tokens *tokens, void *user)
{
    struct request *request = request_find(user, edge, id);
    const struct local_partial partial = {tokens->text, tokens->text_bytes, tokens->count};
    struct buf header;

    if (!request) {
        return;
    }
    request_event(request, &(struct job_event_data){.kind = JOB_EDGE_TOKENS});
    /* Only a request that no local run can overtake is shown as it comes: the application protocol cannot take a piece back. */
    if (request->ended || !request->submit.stream || !request->peer || request->job.plan.local_allowed) {
        return;
    }
    buf_init(&header, LIMIT_FRAME_HEADER_BYTES);
    if (local_partial_pack(&partial, &header) == 0) {
        app_send(request->peer, FRAME_TOKENS, request->app_id, &header);
    }
    buf_fini(&header);
}

static void on_edge_result(size_t edge, uint64_t id, struct edge_result *result, void *user)
{
    struct request *request = request_find(user, edge, id);
    const double total_ms = request ? ms_between(request->edge_sent_ns, clock_now_ns()) : 0;
    const double wait_ms = (double)result->wait_us / 1000, run_ms = (double)result->run_us / 1000;
    struct decision_outcome *outcome;
    struct link_view view;

    if (!request || request->has_answer[JOB_SIDE_EDGE]) {
        return;
    }
    outcome = &request->decision.outcome;
    links_view(request->all->links, edge, &view);
    outcome->edge_wait_ms = wait_ms;
    outcome->edge_run_ms = run_ms;
    outcome->cached_tokens = result->cached_tokens;
    outcome->bytes_down = (double)result->answer.text_bytes;
    memcpy(outcome->model_digest, result->model_digest, sizeof(outcome->model_digest));
    estimate_edge_add(&request->task->edges[edge], run_ms,
                      total_ms - wait_ms - run_ms - (view.estimate->rtt_ms.count ? view.estimate->rtt_ms.mean : 0));
    request->answers[JOB_SIDE_EDGE] = result->answer;
    request->has_answer[JOB_SIDE_EDGE] = true;
    result->answer = (struct answer){0};
    request_event(request, &(struct job_event_data){.kind = JOB_EDGE_DONE,
                                                    .partial = request->answers[JOB_SIDE_EDGE].finish == WIRE_FINISH_DEADLINE});
}

static void on_edge_error(size_t edge, uint64_t id, const struct edge_error *error, void *user)
{
    struct request *request = request_find(user, edge, id);

    if (!request) {
        return;
    }
    if (error->code == TANDEM_EPREFIX && request->session && !request->resent) {
        request->resent = true;
        request->decision.id = request->all->next_id++; /* the old id is spent on the edge */
        request->session->edge_bytes[edge] = 0;
        edge_start(request);
        return;
    }
    snprintf(request->why, sizeof(request->why), "%s", error->text);
    request_event(request, &(struct job_event_data){.kind = JOB_EDGE_FAILED, .error = error->code});
}

static void on_edge_acked(size_t edge, uint64_t id, int64_t elapsed_ns, void *user)
{
    struct request *request = request_find(user, edge, id);

    if (request) {
        request->decision.outcome.up_ms = (double)elapsed_ns / (double)NS_PER_MS;
    }
}

static void on_edge_gone(size_t edge, void *user)
{
    struct requests *all = user;
    struct request *next;

    for (struct request *at = all->list; at; at = next) {
        next = at->next;
        if (at->choice.edge == (int)edge && at->job.side[JOB_SIDE_EDGE] == JOB_SIDE_RUNNING) {
            request_event(at, &(struct job_event_data){.kind = JOB_EDGE_GONE});
        }
    }
}

const struct link_callbacks requests_link_callbacks = {on_edge_accepted, on_edge_tokens, on_edge_result,
                                                       on_edge_error,    on_edge_acked,  on_edge_gone};

/* ---- from the applications ---- */

static void accepted_send(struct request *request)
{
    char id[21];
    struct buf header;

    snprintf(id, sizeof(id), "%" PRIu64, request->decision.id);
    buf_init(&header, LIMIT_FRAME_HEADER_BYTES);
    if (local_accepted_pack(id, &header) == 0) {
        app_send(request->peer, FRAME_ACCEPTED, request->app_id, &header);
    }
    buf_fini(&header);
}

static void decision_fill(struct request *request)
{
    struct decision *decision = &request->decision;
    const struct candidate *chosen = &request->choice.candidates[request->choice.chosen];

    decision->time_unix_ns = clock_unix_ns();
    strcpy(decision->task, request->submit.task);
    strcpy(decision->session, request->submit.session);
    decision->confidence = NAN;
    decision->predicted_ms = NAN;
    decision_outcome_init(&decision->outcome);
    decision->candidate_count = request->choice.count;
    memcpy(decision->candidates, request->choice.candidates, sizeof(decision->candidates));
    snprintf(decision->reason, sizeof(decision->reason), "%s", request->choice.reason ? request->choice.reason : "");
    if (request->choice.plan.deadline_ns != 0) {
        decision->deadline_ms = ms_between(request->start_ns, request->choice.plan.deadline_ns);
    }
    if (request->choice.chosen < request->choice.count) {
        strcpy(decision->route, chosen->route);
        decision->predicted_ms = chosen->latency_known ? chosen->latency.mean_ms : NAN;
    }
}

static struct request *request_new(struct requests *all, struct app_peer *peer, uint64_t id, const struct local_submit *submit,
                                   struct app_input input)
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
    request->decision.id = all->next_id++;
    request->choice.edge = -1;
    (void)uv_timer_init(all->loop, &request->timer);
    request->timer.data = request;
    request->next = all->list;
    all->list = request;
    all->live++;
    all->counts.requests++;
    return request;
}

static int submit_check(const struct requests *all, const struct client_task *task, const struct local_submit *submit,
                        const struct app_input *input)
{
    if (all->live > LIMIT_REQUESTS) {
        return TANDEM_EBUSY;
    }
    if ((task->config->kind == TASK_CLASSIFY) != submit->has_picture) {
        return TANDEM_EINVAL;
    }
    return task->config->kind == TASK_GENERATE && input->bytes > LIMIT_TEXT_BYTES ? TANDEM_ETOOBIG : 0;
}

static void on_submit(struct app_peer *peer, uint64_t id, const struct local_submit *submit, struct app_input input, void *user)
{
    struct requests *all = user;
    const int index = tasks_find(all->tasks, submit->task);
    struct request *request = request_new(all, peer, id, submit, input);
    int result = index >= 0 ? 0 : TANDEM_ENOTASK;

    if (!request) {
        app_input_release(&input);
        return;
    }
    request->task = &all->tasks->items[index >= 0 ? index : 0];
    if (result == 0) {
        result = submit_check(all, request->task, submit, &input);
    }
    if (result == 0 && submit->session[0] && request->task->config->kind == TASK_GENERATE) {
        result = session_begin(request);
    }
    if (result == 0) {
        result = requests_decide(all, request->task, submit, input.bytes, request->start_ns, &request->choice);
    }
    decision_fill(request);
    job_init(&request->job, &request->choice.plan);
    if (result != 0) {
        request_end(request, &(struct job_action){.kind = JOB_FAIL, .error = result});
        return;
    }
    accepted_send(request);
    request_event(request, &(struct job_event_data){.kind = JOB_START});
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

const struct app_callbacks requests_app_callbacks = {on_submit, on_cancel, on_peer_gone};

void requests_end_all(struct requests *all)
{
    for (struct request *at = all->list; at; at = at->next) {
        request_event(at, &(struct job_event_data){.kind = JOB_CANCEL});
    }
}

/* Ids rise from the time of the start in microseconds: unique across restarts as long as the wall clock is not set back. */
int requests_init(struct requests *all)
{
    all->ring = calloc(LIMIT_DECISION_RING, sizeof(*all->ring));
    all->next_id = (uint64_t)(clock_unix_ns() / NS_PER_US);
    return all->ring ? 0 : TANDEM_ENOMEM;
}

void requests_fini(struct requests *all)
{
    while (all->sessions) {
        struct session *next = all->sessions->next;

        buf_fini(&all->sessions->transcript);
        free(all->sessions);
        all->sessions = next;
    }
    free(all->ring);
}
