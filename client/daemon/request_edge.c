#include "client/daemon/learn.h"
#include "client/daemon/request.h"

#include "common/base/clock.h"
#include "common/base/error.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* What the edge may take: it sends what it has when that has passed, and that must be here by the
 * deadline, so the way there and back is kept from it. A request that is welcome late has no
 * budget: it is not to be cut short. */
static uint64_t edge_budget_us(const struct request *request)
{
    const struct job_plan *plan = &request->job.plan;
    const int64_t left_ns = plan->deadline_ns - clock_now_ns();
    struct link_view view;
    int64_t way_ns = LIMIT_HANDOVER_US * NS_PER_US;

    if (plan->deadline_ns == 0 || plan->deliver_late) {
        return 0;
    }
    links_view(request->all->links, (size_t)request->choice.edge, &view);
    if (view.estimate->rtt_ms.count > 0) {
        way_ns +=
            (int64_t)(estimate_samples_quantile(&view.estimate->rtt_ms, 0.95, NAN, clock_now_ns()) *
                      (double)NS_PER_MS);
    }
    way_ns = way_ns < left_ns / 2 ? way_ns : left_ns / 2;
    return left_ns - way_ns > NS_PER_US ? (uint64_t)((left_ns - way_ns) / NS_PER_US) : 1;
}

/* The part of a session that the edge is believed to hold stays here. */
static int edge_send(struct request *request)
{
    const bool session = request->session != NULL, made = request->upload.data != NULL;
    const uint8_t *data = session ? request->transcript.data
                          : made  ? request->upload.data
                                  : request->input.data;
    const size_t bytes = session ? request->transcript.bytes
                         : made  ? request->upload.bytes
                                 : request->input.bytes;
    const size_t prefix = session ? request->session->edge_bytes[request->choice.edge] : 0;
    struct edge_request message = {.has_picture = request->submit.has_picture,
                                   .picture = request->submit.picture,
                                   .sampling = request->submit.sampling,
                                   .max_new_tokens = request->submit.max_new_tokens,
                                   .stream = request->submit.stream,
                                   .payload_bytes = bytes - prefix,
                                   .prefix_bytes = prefix};
    uint8_t *payload = malloc(bytes - prefix);
    int result = payload ? 0 : TANDEM_ENOMEM;

    if (made) {
        message.picture = (struct wire_picture){.format = ENGINE_PIXELS_ENCODED};
    }
    request->decision.edge_refused[0] = '\0';
    if (!request_edge_reserve(request, bytes - prefix)) {
        free(payload);
        return TANDEM_ENOROUTE;
    }
    strcpy(message.task, request->submit.task);
    strcpy(message.session, request->submit.session);
    snprintf(message.decision_id, sizeof(message.decision_id), "%" PRIu64, request->decision.id);
    message.budget_us = edge_budget_us(request);
    if (prefix > 0) {
        const XXH128_hash_t hash = XXH3_128bits(data, prefix);

        snprintf(message.prefix_digest, sizeof(message.prefix_digest), "%016llx%016llx",
                 (unsigned long long)hash.high64, (unsigned long long)hash.low64);
    }
    if (result == 0) {
        memcpy(payload, data + prefix, bytes - prefix);
        request->held_before_ms =
            links_held_ms(request->all->links, (size_t)request->choice.edge, clock_now_ns());
        request->wire_id = request->all->next_wire_id++;
        result = links_send(request->all->links, (size_t)request->choice.edge, request->wire_id,
                            &message, payload, bytes - prefix);
    }
    if (result != 0) {
        free(payload);
        request_edge_release(request);
        return result;
    }
    request->edge_sent_ns = clock_now_ns();
    estimate_edge_sent(&request->task->edges[request->choice.edge], request->edge_sent_ns);
    if (request->choice.hoped_ms > 0) {
        estimate_edge_hoped(&request->task->edges[request->choice.edge], request->edge_sent_ns);
    }
    request->decision.outcome.bytes_up = (double)(bytes - prefix);
    request->decision.outcome.up_ms = request->decision.outcome.paced_ms =
        NAN; /* of this sending */
    return 0;
}

static void edge_gone_say(struct request *request)
{
    struct link_view view;

    links_view(request->all->links, (size_t)request->choice.edge, &view);
    snprintf(request->why, sizeof(request->why), "edge %s went away with the request", view.name);
    request->why_kept = NULL;
}

void request_edge_start(struct request *request)
{
    shadows_make_way_there(request->all, (size_t)request->choice.edge);
    if (!request_upload_begin(request)) {
        request_edge_send(request);
    }
}

void request_edge_send(struct request *request)
{
    const int result = edge_send(request);

    if (result == TANDEM_EGONE) {
        edge_gone_say(request);
    } else if (result == TANDEM_ENOROUTE) {
        snprintf(request->why, sizeof(request->why), "no route: %s",
                 request->decision.edge_refused);
        request->why_kept = NULL;
    }
    if (result != 0) {
        request_event(request, &(struct job_event_data){
                                   .kind = result == TANDEM_EGONE ? JOB_EDGE_GONE : JOB_EDGE_FAILED,
                                   .error = result});
    }
}

/* What was predicted of the edge that was asked, in the form that was sent; NULL: nothing. */
static const struct latency *edge_predicted(const struct request *request)
{
    const struct candidate *asked = &request->choice.candidates[request->choice.asked];

    return request->choice.asked < request->choice.count && asked->edge == request->choice.edge &&
                   asked->latency_known
               ? &asked->latency
               : NULL;
}

/* What of the predicted time had passed when the input was sent. */
static double prepared_ms(const struct request *request)
{
    return request->upload.asked_ns != 0
               ? ms_between(request->upload.asked_ns, request->edge_sent_ns)
               : 0;
}

void request_edge_given_up(struct request *request)
{
    const int64_t now_ns = clock_now_ns(), deadline_ns = request->job.plan.deadline_ns;
    const double waited_ms = ms_between(request->edge_sent_ns, now_ns);
    const double asked_ms = waited_ms + prepared_ms(request);
    const struct latency *predicted = edge_predicted(request);
    struct estimate_edge *edge = &request->task->edges[request->choice.edge];
    struct link_view view;

    if (predicted) {
        prediction_watch_given_up(&request->task->known[request->choice.edge].predictions,
                                  predicted, asked_ms);
    }
    if (predicted && asked_ms > predicted->p95_ms) {
        estimate_edge_check(edge, predicted, asked_ms);
        estimate_edge_failed(edge, waited_ms, now_ns);
    }
    if ((deadline_ns != 0 && now_ns >= deadline_ns) ||
        (predicted && asked_ms > predicted->mean_ms)) {
        links_view(request->all->links, (size_t)request->choice.edge, &view);
        estimate_edge_overdue(edge, view.estimate, waited_ms, now_ns);
    }
}

/* What an answer teaches. Its way is as the acknowledgement measured it, else as estimated. */
static void edge_learn(struct request *request, size_t edge, double total_ms, double wait_ms)
{
    struct estimate_edge *estimate = &request->task->edges[edge];
    const struct decision_outcome *outcome = &request->decision.outcome;
    const struct latency *predicted = edge_predicted(request);
    const double asked_ms = total_ms + prepared_ms(request);
    const int64_t now_ns = clock_now_ns();
    struct link_view view;

    links_view(request->all->links, edge, &view);
    estimate_edge_add(estimate, total_ms, wait_ms,
                      isnan(outcome->up_ms)
                          ? estimate_link_ms(view.estimate, (uint64_t)outcome->bytes_up, now_ns)
                          : outcome->up_ms,
                      now_ns);
    links_waited(request->all->links, edge, wait_ms);
    if (asked_ms < DECIDE_HOPE_FACTOR * request->choice.hoped_ms) {
        estimate_edge_hope_came_true(estimate);
    }
    if (predicted) {
        estimate_edge_check(estimate, predicted, asked_ms);
        prediction_watch_add(&request->task->known[edge].predictions, predicted, asked_ms);
    }
}

bool requests_edge_wanted(const struct requests *all, size_t edge)
{
    for (const struct request *at = all->list; at; at = at->next) {
        if (!at->ended && at->choice.edge == (int)edge &&
            at->job.side[JOB_SIDE_EDGE] == JOB_SIDE_RUNNING) {
            return true;
        }
    }
    return false;
}

static struct request *request_find(struct requests *all, size_t edge, uint64_t id)
{
    for (struct request *at = all->list; at; at = at->next) {
        if (at->wire_id == id && at->choice.edge == (int)edge && !at->ended) {
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

static void on_edge_tokens(size_t edge, uint64_t id, const struct answer_piece *piece, void *user)
{
    struct request *request = request_find(user, edge, id);

    if (request) {
        double *down = &request->decision.outcome.bytes_down;

        *down = (isnan(*down) ? 0 : *down) + (double)piece->text_bytes;
        request_stream_add(request, JOB_SIDE_EDGE, piece->text, piece->text_bytes);
        request_event(request, &(struct job_event_data){.kind = JOB_EDGE_TOKENS});
    }
}

static void on_edge_result(size_t edge, uint64_t id, struct edge_result *result, size_t bytes,
                           void *user)
{
    struct request *request = request_find(user, edge, id);
    const double total_ms = request ? ms_between(request->edge_sent_ns, clock_now_ns()) : 0;
    const double wait_ms = (double)result->wait_us / 1000, run_ms = (double)result->run_us / 1000;
    struct decision_outcome *outcome;
    struct link_view view;
    const char *positive;

    if (!request || request->has_answer[JOB_SIDE_EDGE]) {
        (void)shadow_edge_result(user, edge, id, result);
        return;
    }
    outcome = &request->decision.outcome;
    positive = task_positive(request->task);
    request_edge_release(request);
    links_view(request->all->links, edge, &view);
    outcome->edge_wait_ms = wait_ms;
    outcome->edge_run_ms = run_ms;
    outcome->cached_tokens = result->cached_tokens;
    outcome->bytes_down = (isnan(outcome->bytes_down) ? 0 : outcome->bytes_down) + (double)bytes;
    /* An acknowledgement has its own way back and may wait for other work of the edge: the way up
     * is at most what waiting and running leave of the whole. */
    if (!isnan(outcome->up_ms)) {
        outcome->up_ms = fmin(outcome->up_ms, fmax(total_ms - wait_ms - run_ms, 0));
        outcome->paced_ms =
            isnan(outcome->paced_ms) ? NAN : fmin(outcome->paced_ms, outcome->up_ms);
    }
    memcpy(outcome->model_digest, result->model_digest, sizeof(outcome->model_digest));
    memcpy(request->edge_digest, result->model_digest, sizeof(request->edge_digest));
    edge_learn(request, edge, total_ms, wait_ms);
    if (result->answer.kind == WIRE_GENERATE) { /* as long as ours would be, more or less */
        estimate_text_answer_add(&request->task->text, result->answer.tokens,
                                 result->answer.finish == WIRE_FINISH_DEADLINE);
    }
    request_upload_boxes(&request->upload, &result->answer);
    positive_choose(&result->answer, positive, task_costs(request->task));
    request->decision.answers.edge_turned = positive_is_first(&result->answer, positive) !=
                                            positive_is_likely(&result->answer, positive);
    request->answers[JOB_SIDE_EDGE] = result->answer;
    request->has_answer[JOB_SIDE_EDGE] = true;
    result->answer = (struct answer){0};
    request_event(request,
                  &(struct job_event_data){.kind = JOB_EDGE_DONE,
                                           .partial = request->answers[JOB_SIDE_EDGE].finish ==
                                                      WIRE_FINISH_DEADLINE});
}

static void on_edge_error(size_t edge, uint64_t id, const struct edge_error *error, void *user)
{
    struct request *request = request_find(user, edge, id);

    if (!request) {
        (void)shadow_edge_error(user, edge, id, error->code);
        return;
    }
    request_edge_release(request);
    if (error->code == TANDEM_EPREFIX && request->session && !request->resent) {
        request->resent = true;
        request->session->edge_bytes[edge] = 0;
        request_edge_start(request);
        return;
    }
    if (error->code == TANDEM_ELATE) {
        request_edge_given_up(request);
    }
    snprintf(request->why, sizeof(request->why), "%s", error->text);
    request->why_kept = request->task->config->kind == TASK_GENERATE && error->code != TANDEM_EBUSY
                            ? "the edge refused it and said why, which may quote the text: only "
                              "the application was told"
                            : NULL;
    request_event(request, &(struct job_event_data){.kind = JOB_EDGE_FAILED, .error = error->code});
}

/* What the input waited for its turn to leave, as max_up_kbit makes it, belongs to its way. */
static void up_note(struct request *request)
{
    struct decision_outcome *outcome = &request->decision.outcome;
    const size_t edge = (size_t)request->choice.edge;
    const int64_t now_ns = clock_now_ns();
    struct link_view view;

    links_view(request->all->links, edge, &view);
    outcome->up_ms = ms_between(request->edge_sent_ns, now_ns);
    if (view.max_up_kbit > 0) {
        outcome->paced_ms =
            links_held_ms(request->all->links, edge, now_ns) - request->held_before_ms;
    }
}

static void on_edge_acked(size_t edge, uint64_t id, void *user)
{
    struct request *request = request_find(user, edge, id);

    if (request && !request->has_answer[JOB_SIDE_EDGE]) {
        up_note(request);
    } else if (!request) {
        shadow_edge_acked(user, edge, id);
    }
}

/* The connection is a new one already: what waits on the old one is asked once more, unless the
 * caller has seen a part of its answer. True: that was begun. */
static bool edge_ask_again(struct request *request)
{
    struct link_view view;

    links_view(request->all->links, (size_t)request->choice.edge, &view);
    if (!view.up || request->resent || request->said[JOB_SIDE_EDGE].bytes > 0) {
        return false;
    }
    request->resent = true;
    if (!request->upload.out) { /* else it is sent when it is made */
        request_edge_start(request);
    }
    return true;
}

static void on_edge_gone(size_t edge, void *user)
{
    struct requests *all = user;
    struct request *next;

    shadows_edge_gone(all, edge);
    for (struct request *at = all->list; at; at = next) {
        next = at->next;
        if (at->choice.edge == (int)edge && at->job.side[JOB_SIDE_EDGE] == JOB_SIDE_RUNNING &&
            !edge_ask_again(at)) {
            request_edge_release(at);
            edge_gone_say(at);
            request_event(at, &(struct job_event_data){.kind = JOB_EDGE_GONE});
        }
    }
}

static void on_edge_fresh(size_t edge, void *user)
{
    struct requests *all = user;

    learn_edge_fresh(all, edge);
    for (struct session *at = all->sessions; at; at = at->next) {
        at->edge_bytes[edge] = 0;
    }
}

static void on_edge_model(size_t edge, size_t task, const char *digest, void *user)
{
    learn_edge_model(user, edge, task, digest);
}

const struct link_callbacks requests_link_callbacks = {
    on_edge_accepted, on_edge_tokens, on_edge_result, on_edge_error,
    on_edge_acked,    on_edge_gone,   on_edge_fresh,  on_edge_model};
