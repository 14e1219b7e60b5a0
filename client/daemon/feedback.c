#include "client/daemon/feedback.h"
#include "client/daemon/learn.h"
#include "client/daemon/result_cache.h"

#include "common/base/error.h"

#include <stdio.h>
#include <string.h>

#define TEXT_OF(number) #number
#define KEPT_TEXT(kept)                                                                            \
    "there is no decision of this id among the last " TEXT_OF(kept) " that can still be judged"

static bool is_running(const struct requests *all, uint64_t id)
{
    for (const struct request *at = all->list; at; at = at->next) {
        if (!at->ended && at->decision.id == id) {
            return true;
        }
    }
    return false;
}

static struct told_answers *answers_find(struct requests *all, uint64_t id)
{
    for (size_t i = 0; i < all->told_count; i++) {
        if (all->told[i].decision == id) {
            return &all->told[i];
        }
    }
    return NULL;
}

void feedback_keep(struct requests *all, const struct told_answers *answers)
{
    all->told[all->told_next] = *answers;
    all->told_next = (all->told_next + 1) % LIMIT_FEEDBACK_KEPT;
    all->told_count += all->told_count < LIMIT_FEEDBACK_KEPT;
}

/* The decision says so from now on, where memory has it, and on disk. */
static void told_show(struct requests *all, const struct told_answers *answers)
{
    struct decision alone = {.id = answers->decision},
                    *decision = requests_ring_find(all, answers->decision);

    decision = decision ? decision : &alone;
    decision->answers.told = answers->told;
    all->on_amended(decision, decision_correct_json, all->user);
}

/* What it has taught is not there any more; a restart has to know it. */
static void forgotten_show(struct requests *all, const struct told_answers *answers)
{
    const struct decision alone = {.id = answers->decision};

    all->on_amended(&alone, decision_forgotten_json, all->user);
}

static void answers_forget(struct requests *all, struct told_answers *answers)
{
    if (answers->taught[JOB_SIDE_LOCAL] || answers->taught[JOB_SIDE_EDGE]) {
        memset(answers->taught, 0, sizeof(answers->taught));
        forgotten_show(all, answers);
    }
}

static bool is_right(const struct told_answers *answers)
{
    return answers->told == TOLD_RIGHT;
}

static void side_untell(struct requests *all, struct told_answers *answers, enum job_side side)
{
    if (answers->taught[side]) {
        learn_told(all, answers, side, is_right(answers), false);
        answers->taught[side] = false;
    }
}

static enum job_side other_side(enum job_side side)
{
    return side == JOB_SIDE_LOCAL ? JOB_SIDE_EDGE : JOB_SIDE_LOCAL;
}

/* An answer that is said to be wrong leaves the cache, so the same content is asked and judged
 * again: its last word takes the place of those before. */
static void side_tell(struct requests *all, struct told_answers *answers, enum job_side side)
{
    const bool says = told_of(answers, side, is_right(answers)) != TOLD_NOTHING;

    for (size_t i = 0; says && i < all->told_count; i++) {
        if (&all->told[i] != answers && told_same(&all->told[i], answers, side) &&
            told_of(&all->told[i], side, is_right(&all->told[i])) != TOLD_NOTHING) {
            const bool taught = all->told[i].taught[side];

            side_untell(all, &all->told[i], side);
            if (taught && !all->told[i].taught[other_side(side)]) {
                forgotten_show(all, &all->told[i]);
            }
        }
    }
    learn_told(all, answers, side, is_right(answers), true);
    answers->taught[side] = true;
}

static void told_set(struct requests *all, struct told_answers *answers, bool correct)
{
    const enum told told = correct ? TOLD_RIGHT : TOLD_WRONG;
    struct told_answers *origin = answers->origin_same ? answers_find(all, answers->origin) : NULL;

    const bool is_new = answers->told != told;
    bool teaches = false; /* anew, after it was forgotten */

    for (enum job_side side = JOB_SIDE_LOCAL; is_new && side <= JOB_SIDE_EDGE; side++) {
        side_untell(all, answers, side);
    }
    answers->told = told;
    answers->turns += is_new;
    for (enum job_side side = JOB_SIDE_LOCAL; side <= JOB_SIDE_EDGE; side++) {
        if (!answers->taught[side]) {
            teaches = true;
            side_tell(all, answers, side);
        }
    }
    if (is_new || teaches) {
        told_show(all, answers);
    }
    if (!correct && all->results) {
        result_cache_forget_decision(all->results,
                                     answers->origin ? answers->origin : answers->decision);
    }
    if (origin) {
        told_set(all, origin, correct); /* which has none itself */
    }
}

int feedback_take(struct requests *all, uid_t uid, uint64_t id, bool correct, const char **ret_why)
{
    struct told_answers *answers = answers_find(all, id);

    if (!answers && is_running(all, id)) {
        *ret_why = "the request has no answer yet";
        return TANDEM_EINVAL;
    }
    if (!answers) {
        *ret_why = KEPT_TEXT(LIMIT_FEEDBACK_KEPT);
        return TANDEM_ENOTFOUND;
    }
    if (uid != 0 && uid != answers->uid) {
        *ret_why = "another user asked";
        return TANDEM_EAUTH;
    }
    if (answers->by == JOB_SIDES) {
        *ret_why = "the request ended without an answer";
        return TANDEM_EINVAL;
    }
    if (answers->turns >= LIMIT_FEEDBACK_TURNS && is_right(answers) != correct) {
        *ret_why = "it was said to be right and wrong too often: the last word stays";
        return TANDEM_EBUSY;
    }
    told_set(all, answers, correct);
    return 0;
}

void feedback_both(struct requests *all, uint64_t id, const char *local_digest, double confidence,
                   const char *edge, const char *edge_digest, bool agreed)
{
    struct told_answers *answers = answers_find(all, id);
    bool taught;

    if (!answers) {
        return;
    }
    taught = answers->taught[JOB_SIDE_LOCAL] || answers->taught[JOB_SIDE_EDGE];
    side_untell(all, answers, JOB_SIDE_LOCAL);
    side_untell(all, answers, JOB_SIDE_EDGE);
    answers->whole[JOB_SIDE_LOCAL] = answers->whole[JOB_SIDE_EDGE] = true;
    answers->agreed = agreed;
    answers->confidence = confidence;
    snprintf(answers->local_digest, sizeof(answers->local_digest), "%s", local_digest);
    snprintf(answers->edge, sizeof(answers->edge), "%s", edge);
    snprintf(answers->edge_digest, sizeof(answers->edge_digest), "%s", edge_digest);
    if (taught) {
        side_tell(all, answers, JOB_SIDE_LOCAL);
        side_tell(all, answers, JOB_SIDE_EDGE);
    }
}

void feedback_forget(struct requests *all, const char *task)
{
    for (size_t i = 0; i < all->told_count; i++) {
        if (strcmp(all->told[i].task, task) == 0) {
            answers_forget(all, &all->told[i]);
        }
    }
}
