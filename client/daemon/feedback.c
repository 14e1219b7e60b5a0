#include "client/daemon/feedback.h"
#include "client/daemon/learn.h"
#include "client/daemon/result_cache.h"

#include "common/base/error.h"

#include <stdio.h>
#include <string.h>

static bool is_running(const struct requests *all, uint64_t id)
{
    for (const struct request *at = all->list; at; at = at->next) {
        if (!at->ended && at->decision.id == id) {
            return true;
        }
    }
    return false;
}

static void told_set(struct requests *all, struct decision *decision, bool correct)
{
    struct told_answers *answers = &decision->answers;
    const enum told told = correct ? TOLD_RIGHT : TOLD_WRONG;
    struct decision *origin =
        answers->origin_same ? requests_ring_find(all, answers->origin) : NULL;

    if (answers->told != told) {
        if (answers->taught) {
            learn_told(all, decision, answers->told == TOLD_RIGHT, false);
        }
        learn_told(all, decision, correct, true);
        answers->told = told;
        answers->taught = true;
        all->on_amended(decision, decision_correct_json, all->user);
    }
    if (!correct && all->results) {
        result_cache_forget_decision(all->results,
                                     answers->origin ? answers->origin : decision->id);
    }
    if (origin) {
        told_set(all, origin, correct); /* which has none itself */
    }
}

int feedback_take(struct requests *all, uid_t uid, uint64_t id, bool correct, const char **ret_why)
{
    struct decision *decision = requests_ring_find(all, id);

    if (!decision && is_running(all, id)) {
        *ret_why = "the request has no answer yet";
        return TANDEM_EINVAL;
    }
    if (!decision) {
        *ret_why = "there is no decision of this id, or it is too old";
        return TANDEM_ENOTFOUND;
    }
    if (uid != 0 && uid != decision->answers.uid) {
        *ret_why = "another user asked";
        return TANDEM_EAUTH;
    }
    if (decision->answers.by == JOB_SIDES) {
        *ret_why = "the request ended without an answer";
        return TANDEM_EINVAL;
    }
    told_set(all, decision, correct);
    return 0;
}

void feedback_both(struct requests *all, uint64_t id, const char *local_digest, double confidence,
                   const char *edge, const char *edge_digest, bool agreed)
{
    struct decision *decision = requests_ring_find(all, id);
    struct told_answers *answers;
    bool right;

    if (!decision) {
        return;
    }
    answers = &decision->answers;
    right = answers->told == TOLD_RIGHT;
    if (answers->taught) {
        learn_told(all, decision, right, false);
    }
    answers->whole[JOB_SIDE_LOCAL] = answers->whole[JOB_SIDE_EDGE] = true;
    answers->agreed = agreed;
    answers->confidence = confidence;
    snprintf(answers->local_digest, sizeof(answers->local_digest), "%s", local_digest);
    snprintf(answers->edge, sizeof(answers->edge), "%s", edge);
    snprintf(answers->edge_digest, sizeof(answers->edge_digest), "%s", edge_digest);
    if (answers->taught) {
        learn_told(all, decision, right, true);
    }
}

void feedback_forget(struct requests *all, const char *task)
{
    for (size_t i = 0; i < all->ring_count; i++) {
        if (strcmp(all->ring[i].task, task) == 0) {
            all->ring[i].answers.taught = false;
        }
    }
}
