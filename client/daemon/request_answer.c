#include "client/daemon/boxes.h"
#include "client/daemon/feedback.h"
#include "client/daemon/learn.h"
#include "client/daemon/request.h"
#include "client/policy/candidates.h"

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/log.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

void request_accepted_send(struct request *request)
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

void request_answer_send(struct request *request, const struct job_action *action)
{
    struct local_answer message = {.answer = request->answers[action->side]};
    struct buf header;

    snprintf(message.id, sizeof(message.id), "%" PRIu64, request->decision.id);
    snprintf(message.route, sizeof(message.route), "%s", request->decision.route);
    snprintf(message.outcome_route, sizeof(message.outcome_route), "%s",
             request->decision.outcome.route);
    snprintf(message.reason, sizeof(message.reason), "%s", request->decision.reason);
    message.latency_us = (uint64_t)(request->decision.outcome.latency_ms * 1000);
    message.predicted_ms =
        isnan(request->decision.predicted_ms) ? -1 : request->decision.predicted_ms;
    message.met_deadline = request->decision.outcome.met_deadline;
    message.partial = (action->flags & JOB_FLAG_PARTIAL) != 0;
    message.hedged = request->decision.hedged;
    buf_init(&header, LIMIT_FRAME_HEADER_BYTES);
    if (local_answer_pack(&message, &header) == 0) {
        app_send(request->peer, FRAME_RESULT, request->app_id, &header);
    } else { /* never silence */
        snprintf(request->why, sizeof(request->why), "the answer does not fit a message");
        log_warning("request %" PRIu64 ": the answer does not fit a message", request->decision.id);
        request_error_send(request, TANDEM_ETOOBIG);
    }
    buf_fini(&header);
}

void request_error_send(struct request *request, int code)
{
    struct local_error message = {
        .code = code, .latency_us = (uint64_t)(request->decision.outcome.latency_ms * 1000)};
    struct buf header;

    snprintf(message.text, sizeof(message.text), "%s",
             request->why[0] ? request->why : tandem_error_text(code));
    snprintf(message.id, sizeof(message.id), "%" PRIu64, request->decision.id);
    snprintf(message.route, sizeof(message.route), "%s", request->decision.route);
    snprintf(message.reason, sizeof(message.reason), "%s", request->decision.reason);
    buf_init(&header, LIMIT_FRAME_HEADER_BYTES);
    if (local_error_pack(&message, &header) == 0) {
        app_send(request->peer, FRAME_ERROR, request->app_id, &header);
    }
    buf_fini(&header);
}

void answer_judge(const struct client_task *task, struct answer *answer)
{
    positive_choose(answer, task_positive(task), task_costs(task));
    if (answer->kind == WIRE_DETECT) {
        boxes_judge(answer, &task->confidence);
    }
}

double answer_sure(const struct client_task *task, const struct answer *answer)
{
    return answer->kind == WIRE_DETECT ? boxes_sure(answer)
                                       : positive_sure(answer, task_positive(task));
}

bool answers_agree(const struct client_task *task, const struct answer *a, const struct answer *b)
{
    const char *positive = task_positive(task);

    if (task->asks) {
        return positive_is_first(a, positive) == positive_is_first(b, positive);
    }
    if (a->kind == WIRE_DETECT) {
        return b->kind == WIRE_DETECT && boxes_agree(a, b); /* or it says nothing of boxes */
    }
    if (a->kind == WIRE_GENERATE) {
        return a->text_bytes == b->text_bytes && memcmp(a->text, b->text, a->text_bytes) == 0;
    }
    return a->label_count && b->label_count && strcmp(a->labels[0].label, b->labels[0].label) == 0;
}

/* The local answer that was not delivered is measured: what it took, and whether it was the same.
 */
static void local_note(struct request *request, bool agreed)
{
    struct decision *decision = &request->decision;
    const struct decision_outcome *outcome = &decision->outcome;
    const struct decide_energy energy = requests_energy(request->all);

    if (strncmp(outcome->route, "edge:", 5) == 0 &&
        request->answers[JOB_SIDE_LOCAL].finish != WIRE_FINISH_DEADLINE) {
        decision->measured[decision->measured_count++] =
            (struct measured){.route = "local",
                              .latency_ms = outcome->local_wait_ms + outcome->local_run_ms,
                              .energy_j = candidate_joule(&energy, outcome->local_run_ms, 0, 0),
                              .confidence = request->task->asks ? NAN : decision->confidence,
                              .agreed = agreed};
    }
}

bool answers_teach(const struct client_task *task, const struct answer *edge, bool agreed)
{
    return task->asks ? positive_is_likely(edge, task_positive(task)) : agreed;
}

void request_compare(struct request *request)
{
    const struct answer *local = &request->answers[JOB_SIDE_LOCAL],
                        *edge = &request->answers[JOB_SIDE_EDGE];

    if (request->has_answer[JOB_SIDE_LOCAL] && request->has_answer[JOB_SIDE_EDGE]) {
        const bool agreed = answers_agree(request->task, local, edge);

        learn_agreement(request, answer_sure(request->task, local),
                        answers_teach(request->task, edge, agreed));
        local_note(request, agreed);
    }
}

void request_answers_note(struct request *request, const struct job_action *action)
{
    const struct answer *local = &request->answers[JOB_SIDE_LOCAL],
                        *edge = &request->answers[JOB_SIDE_EDGE];
    struct told_answers *answers = &request->decision.answers;
    struct link_view view;

    answers->question = learn_question(request->task);
    answers->decision = request->decision.id;
    snprintf(answers->task, sizeof(answers->task), "%s", request->decision.task);
    answers->by = action->kind == JOB_DELIVER ? action->side : JOB_SIDES;
    for (enum job_side side = JOB_SIDE_LOCAL; side <= JOB_SIDE_EDGE; side++) {
        answers->whole[side] =
            request->has_answer[side] && request->answers[side].finish != WIRE_FINISH_DEADLINE;
    }
    answers->agreed = answers->whole[JOB_SIDE_LOCAL] && answers->whole[JOB_SIDE_EDGE] &&
                      answers_agree(request->task, local, edge);
    answers->one_right = request->task->config->kind == TASK_CLASSIFY;
    if (answers->whole[JOB_SIDE_LOCAL]) {
        answers->confidence = answer_sure(request->task, local);
        snprintf(answers->local_digest, sizeof(answers->local_digest), "%s",
                 engine_model_digest(request->task->local.model));
    }
    if (answers->whole[JOB_SIDE_EDGE]) {
        links_view(request->all->links, (size_t)request->choice.edge, &view);
        snprintf(answers->edge, sizeof(answers->edge), "%s", view.name);
        memcpy(answers->edge_digest, request->edge_digest, sizeof(answers->edge_digest));
    }
    if (answers->by == JOB_SIDE_CACHE) {
        answers->origin = request->cached.decision;
        answers->origin_same = request->cached_same;
    }
}

/* By the decided route and the end; and what the delivered answer took, as far as measured. */
static void ended_count(const struct request *request, const struct job_action *action,
                        struct counts *counts)
{
    static const enum counted_route routes[] = {[JOB_LOCAL] = COUNTED_LOCAL,
                                                [JOB_EDGE] = COUNTED_EDGE,
                                                [JOB_CASCADE] = COUNTED_CASCADE,
                                                [JOB_CACHE] = COUNTED_CACHE};
    const struct decision_outcome *outcome = &request->decision.outcome;
    const enum counted_route route =
        request->decision.route[0] ? routes[request->job.plan.route] : COUNTED_NONE;
    const bool left = action->error == TANDEM_ECANCELED || action->error == TANDEM_EGONE;

    if (action->kind == JOB_FAIL) {
        counts->ended[route][left ? COUNTED_CANCELLED : COUNTED_FAILED]++;
    } else {
        counts->ended[route][action->flags & JOB_FLAG_LATE ? COUNTED_LATE : COUNTED_IN_TIME]++;
        counts->answer_tokens += request->answers[action->side].tokens;
    }
    counts->bytes_up += outcome->bytes_up > 0 ? (uint64_t)outcome->bytes_up : 0;
    counts->cached_tokens += outcome->cached_tokens > 0 ? (uint64_t)outcome->cached_tokens : 0;
}

void request_count(struct request *request, const struct job_action *action)
{
    struct counts *counts = &request->all->counts;

    ended_count(request, action, counts);
    counts->hedges += request->decision.hedged;
    if (action->kind == JOB_FAIL) {
        const bool left = action->error == TANDEM_ECANCELED || action->error == TANDEM_EGONE;

        counts->cancelled += left; /* the caller's own will */
        counts->errors += !left;
        counts->late += action->error == TANDEM_ELATE;
        return;
    }
    counts->late += (action->flags & JOB_FLAG_LATE) != 0;
    if (request->job.plan.route == JOB_CASCADE) {
        const bool stayed = decision_stayed(&request->decision, &request->job, action);

        counts->cascade_stayed += stayed;
        counts->cascade_went += !stayed;
    } else if (action->side == JOB_SIDE_CACHE) {
        counts->cache++;
    } else if (action->side == JOB_SIDE_LOCAL) {
        counts->local++;
    } else {
        counts->edge++;
    }
}

struct decision *requests_ring_find(struct requests *all, uint64_t id)
{
    for (size_t i = 0; i < all->ring_count; i++) {
        if (all->ring[i].id == id) {
            return &all->ring[i];
        }
    }
    return NULL;
}

void request_decision_keep(struct request *request)
{
    struct requests *all = request->all;

    all->ring[all->ring_next] = request->decision;
    all->ring_next = (all->ring_next + 1) % LIMIT_DECISION_RING;
    all->ring_count += all->ring_count < LIMIT_DECISION_RING;
    feedback_keep(all, &request->decision.answers);
    all->on_decision(&request->decision, all->user);
}
