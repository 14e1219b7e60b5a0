#include "client/daemon/shadows.h"

#include "client/daemon/feedback.h"
#include "client/daemon/learn.h"
#include "client/daemon/shadow_parts.h"
#include "common/base/error.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- of which requests ---- */

void shadow_choose(struct request *request, enum job_side by)
{
    struct requests *all = request->all;
    const struct privacy privacy = request_privacy(request->task, &request->submit);
    const struct decision *decision = &request->decision;
    const enum job_side_state local = request->job.side[JOB_SIDE_LOCAL];
    const struct shadow_request asked = {
        .percent = all->config->shadow_percent,
        .unit = random_unit(&all->random),
        .answered = by != JOB_SIDES,
        .session = request->session != NULL,
        .has_local = request->task->has_local,
        .ran_local = local == JOB_SIDE_DONE || local == JOB_SIDE_FAILED,
        .asked_edge = request->job.side[JOB_SIDE_EDGE] != JOB_SIDE_IDLE,
        .forced_local = strcmp(request->submit.route, "local") == 0,
        .never_leaves = privacy.never_leaves,
        .only_edge = privacy.only_edge,
        .trouble = request->shadow_trouble,
        .route = decision->route,
        .candidates = decision->candidates,
        .candidate_count = decision->candidate_count};

    request->shadow = shadow_plan(&asked, &request->shadow_plan) && !all->shadows.stopped;
    request->shadow_by = by;
    if (request->shadow_plan.missed != SHADOW_STARTS && !all->shadows.stopped) {
        all->shadows.counts.dropped[request->shadow_plan.missed]++;
    }
}

/* ---- one ---- */

static void shadow_free_if_done(struct shadow *shadow)
{
    struct shadows *shadows = &shadow->all->shadows;
    struct shadow **at = &shadows->list;

    for (int side = 0; side < SHADOW_SIDES; side++) {
        if (shadow->state[side] == SHADOW_WAITING || shadow->state[side] == SHADOW_RUNNING) {
            return;
        }
    }
    if (shadow->local_out || shadow->upload.out) {
        return;
    }
    while (*at != shadow) {
        at = &(*at)->next;
    }
    *at = shadow->next;
    shadows->count--;
    shadows->held_bytes -= shadow->input.bytes;
    app_input_release(&shadow->input);
    free(shadow->upload.data);
    answer_fini(&shadow->delivered);
    answer_fini(&shadow->answers[JOB_SIDE_LOCAL]);
    answer_fini(&shadow->answers[JOB_SIDE_EDGE]);
    tasks_unref(shadow->tasks);
    free(shadow);
}

static struct shadow *shadow_new(struct request *request)
{
    struct requests *all = request->all;
    struct shadow *shadow = calloc(1, sizeof(*shadow)), **end;
    const struct decision *decision = &request->decision;
    const struct shadow_plan *plan = &request->shadow_plan;

    if (!shadow) {
        return NULL;
    }
    shadow->all = all;
    shadow->tasks = tasks_ref(request->tasks);
    shadow->task = request->task;
    shadow->id = decision->id;
    shadow->submit = request->submit;
    shadow->by = request->shadow_by;
    shadow->since_ns = clock_now_ns();
    shadow->input = request->input;
    shadow->upload = request->upload;
    shadow->delivered = request->answers[shadow->by];
    memcpy(shadow->edge_digest, request->edge_digest, sizeof(shadow->edge_digest));
    request->input = (struct app_input){0};
    request->upload.data = NULL;
    request->answers[shadow->by] = (struct answer){0};
    shadow->state[JOB_SIDE_LOCAL] = plan->local ? SHADOW_WAITING : SHADOW_NOT;
    shadow->edge = request->choice.edge >= 0 ? (size_t)request->choice.edge : 0;
    if (plan->edge < decision->candidate_count) {
        shadow->state[JOB_SIDE_EDGE] = SHADOW_WAITING;
        shadow->edge = (size_t)decision->candidates[plan->edge].edge;
        shadow->upload.form = decision->candidates[plan->edge].upload;
        strcpy(shadow->measured[JOB_SIDE_EDGE].route, decision->candidates[plan->edge].route);
    }
    strcpy(shadow->measured[JOB_SIDE_LOCAL].route, "local");
    for (end = &all->shadows.list; *end; end = &(*end)->next) {
    }
    *end = shadow;
    all->shadows.count++;
    all->shadows.held_bytes += shadow->input.bytes;
    return shadow;
}

void shadow_begin(struct request *request)
{
    struct shadows *shadows = &request->all->shadows;

    if (!request->shadow || shadows->stopped) {
        return;
    }
    if (!shadow_has_room(shadows->count, shadows->held_bytes, request->input.bytes) ||
        !shadow_new(request)) {
        shadows->counts.dropped[SHADOW_DROPPED_ROOM] +=
            (uint64_t)request->shadow_plan.local +
            (request->shadow_plan.edge < request->decision.candidate_count);
    }
}

/* ---- what it brought ---- */

/* The answer of one side, be it this shadow's or the delivered one; NULL: there is none that could
 * be compared. */
static const struct answer *answer_of(const struct shadow *shadow, enum job_side side)
{
    const struct answer *answer = shadow->by == side ? &shadow->delivered : &shadow->answers[side];

    return answer->kind != 0 && answer->finish != WIRE_FINISH_DEADLINE ? answer : NULL;
}

static int agreed_with_delivered(const struct shadow *shadow, enum job_side side)
{
    const struct answer *answer = answer_of(shadow, side);

    return answer && shadow->delivered.finish != WIRE_FINISH_DEADLINE
               ? answers_agree(shadow->task, answer, &shadow->delivered)
               : -1;
}

/* The record's entry, and the line that tells of it. */
static void record_add(struct shadow *shadow)
{
    struct requests *all = shadow->all;
    struct decision alone = {.id = shadow->id}, *decision = requests_ring_find(all, shadow->id);

    decision = decision ? decision : &alone; /* the line is all that is left of it */
    decision->measured_count = 0;
    for (int side = 0; side < SHADOW_SIDES; side++) {
        if (shadow->has_measured[side]) {
            decision->measured[decision->measured_count++] = shadow->measured[side];
        }
    }
    if (decision->measured_count > 0) {
        all->on_amended(decision, decision_measured_json, all->user);
    }
}

static void agreement_learn(struct shadow *shadow)
{
    const struct answer *local = answer_of(shadow, JOB_SIDE_LOCAL),
                        *edge = answer_of(shadow, JOB_SIDE_EDGE);

    if (local && edge) {
        const bool agreed = answers_agree(shadow->task, local, edge);
        struct link_view view;

        links_view(shadow->all->links, shadow->edge, &view);
        feedback_both(shadow->all, shadow->id, engine_model_digest(shadow->task->local.model),
                      answer_sure(shadow->task, local), view.name, shadow->edge_digest, agreed);
        learn_agreement_of(shadow->task, shadow->edge, shadow->edge_digest, shadow->id,
                           answer_sure(shadow->task, local),
                           answers_teach(shadow->task, edge, agreed));
    }
}

static void shadow_settle(struct shadow *shadow)
{
    for (int side = 0; side < SHADOW_SIDES; side++) {
        if (shadow->state[side] == SHADOW_WAITING || shadow->state[side] == SHADOW_RUNNING) {
            return; /* not yet */
        }
    }
    if (!shadow->all->shadows.stopped) {
        agreement_learn(shadow);
        record_add(shadow);
    }
    shadow_free_if_done(shadow);
}

void shadow_side_end(struct shadow *shadow, enum job_side side)
{
    struct requests *all = shadow->all;
    struct measured *measured = &shadow->measured[side];

    shadow->state[side] = SHADOW_ENDED;
    if (side == JOB_SIDE_EDGE) {
        edge_hold_release(all, &shadow->hold);
    }
    shadow->has_measured[side] = true;
    measured->agreed = agreed_with_delivered(shadow, side);
    if (side == JOB_SIDE_LOCAL) {
        all->shadows.counts.local++;
    } else {
        all->shadows.counts.edge++;
    }
    all->learned++;
    shadow_settle(shadow);
    shadows_look(all);
}

void shadow_side_drop(struct shadow *shadow, enum job_side side, enum shadow_verdict why)
{
    shadow->state[side] = SHADOW_ENDED;
    if (side == JOB_SIDE_EDGE) {
        edge_hold_release(shadow->all, &shadow->hold);
    }
    shadow->all->shadows.counts.dropped[why]++;
    shadow_settle(shadow);
}

/* ---- when ---- */

/* Judges one side; false: the list is not what it was. */
static bool side_look(struct shadow *shadow, enum job_side side)
{
    static enum shadow_verdict (*const judge[SHADOW_SIDES])(const struct shadow *shadow) = {
        [JOB_SIDE_LOCAL] = shadow_local_judge, [JOB_SIDE_EDGE] = shadow_edge_judge};
    static void (*const start[SHADOW_SIDES])(struct shadow * shadow) = {
        [JOB_SIDE_LOCAL] = shadow_local_start, [JOB_SIDE_EDGE] = shadow_edge_start};
    enum shadow_verdict verdict;

    if (shadow->state[side] != SHADOW_WAITING) {
        return true;
    }
    verdict = judge[side](shadow);
    if (verdict == SHADOW_WAITS) {
        return true;
    }
    if (verdict == SHADOW_STARTS) {
        start[side](shadow);
    } else {
        shadow_side_drop(shadow, side, verdict);
    }
    return false;
}

void shadows_look(struct requests *all)
{
    struct shadow *at = all->shadows.list;

    while (at && !all->shadows.stopped) {
        const bool same = side_look(at, JOB_SIDE_LOCAL) && side_look(at, JOB_SIDE_EDGE);

        at = same ? at->next : all->shadows.list; /* each side leaves its wait at most once here */
    }
}

/* ---- the end ---- */

void shadows_stop(struct requests *all)
{
    struct shadow *next;

    all->shadows.stopped = true;
    for (struct shadow *at = all->shadows.list; at; at = next) {
        next = at->next;
        if (at->local_out) {
            runner_cancel(all->runner, &at->local);
        }
        if (at->state[JOB_SIDE_EDGE] == SHADOW_RUNNING && !at->upload.out) {
            links_cancel(all->links, at->edge, at->wire_id);
        }
        edge_hold_release(all, &at->hold);
        at->state[JOB_SIDE_LOCAL] = at->state[JOB_SIDE_EDGE] = SHADOW_ENDED;
        shadow_free_if_done(at);
    }
}

void shadows_free(struct requests *all)
{
    shadows_stop(all);
    while (all->shadows.list) {
        struct shadow *const first = all->shadows.list;

        first->local_out = false; /* the runner is gone, its jobs are ours again */
        shadow_free_if_done(first);
    }
}
