#include "client/daemon/feedback.h"
#include "client/daemon/learn.h"

#include "common/base/error.h"
#include "common/base/log.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static void pair_forget(struct client_task *task, size_t edge)
{
    confidence_pair_forget(&task->confidence, &task->known[edge].agreement);
    memset(&task->watch.agreement, 0, sizeof(task->watch.agreement)); /* with whichever edge */
    memset(&task->known[edge], 0, sizeof(task->known[edge]));
    estimate_edge_init(&task->edges[edge]);
}

void learn_edge_fresh(struct requests *all, size_t edge)
{
    for (size_t i = 0; i < all->tasks->count; i++) {
        pair_forget(&all->tasks->items[i], edge);
    }
}

void learn_edge_model(struct requests *all, size_t edge, size_t index, const char *digest)
{
    struct client_task *task = &all->tasks->items[index];
    struct task_edge *known = &task->known[edge];
    char route[ROUTE_BYTES];
    struct link_view view;

    if (strcmp(known->digest, digest) == 0) {
        return;
    }
    if (known->digest[0]) {
        links_view(all->links, edge, &view);
        log_info("edge %s: task %s: another model, what was learned of the one before is forgotten",
                 view.name, task->config->name);
        snprintf(route, sizeof(route), "edge:%.63s", view.name);
        pair_forget(task, edge);
        if (all->results) {
            result_cache_forget(all->results, task->config->name, route);
        }
        all->learned++;
    }
    snprintf(known->digest, sizeof(known->digest), "%s", digest);
}

static bool model_is(const struct task_edge *known, const char *digest)
{
    return !known->digest[0] || !digest[0] || strcmp(known->digest, digest) == 0;
}

bool learn_edge_model_is(const struct request *request)
{
    return model_is(&request->task->known[request->choice.edge], request->edge_digest);
}

/* What the answer said of itself: of one that found nothing that was what had been learned. */
static double shown_of(const struct client_task *task, double sure)
{
    return sure < 0 ? 1 - confidence_error(&task->confidence, sure) : sure;
}

void learn_agreement_of(struct client_task *task, size_t edge, const char *digest,
                        uint64_t decision, double confidence, bool agreed)
{
    struct task_edge *known = &task->known[edge];

    if (model_is(known, digest)) {
        confidence_watch_add(&task->watch.agreement, decision, shown_of(task, confidence), agreed);
        confidence_pair_compare(&task->confidence, &known->agreement, confidence, agreed);
    }
}

void learn_agreement(struct request *request, double confidence, bool agreed)
{
    learn_agreement_of(request->task, (size_t)request->choice.edge, request->edge_digest,
                       request->decision.id, confidence, agreed);
}

/* The number of the edge of this name, -1: there is none. */
static int edge_find(const struct requests *all, const char *name, struct link_view *ret_view)
{
    for (size_t i = 0; i < links_count(all->links); i++) {
        links_view(all->links, i, ret_view);
        if (strcmp(ret_view->name, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

uint64_t learn_question(const struct client_task *task)
{
    const char *label = task_positive(task);

    return task->asks ? XXH3_64bits_withSeed(label, strlen(label),
                                             XXH3_64bits(&task->confidence.odds, sizeof(double)))
                      : 0;
}

/* Of a question it is told whether it was that label. */
static void local_told(struct client_task *task, const char *digest,
                       const struct told_answers *answers, bool right, bool tell)
{
    const double sure = answers->confidence;

    if (strcmp(digest, answers->local_digest) != 0 || answers->question != learn_question(task)) {
        return;
    }
    right = task->asks ? right == cascade_two_is_yes(&task->costs, sure) : right;
    if (tell) {
        confidence_watch_add(&task->watch.truth, answers->decision, shown_of(task, sure), right);
        confidence_tell(&task->confidence, sure, right);
    } else {
        confidence_untell(&task->confidence, sure, right);
        confidence_watch_remove(&task->watch.truth, answers->decision);
    }
}

/* What is told of an edge is how often its likeliest answer is wrong, whatever errors cost. */
static void edge_told(struct task_edge *known, const struct told_answers *answers, bool right,
                      bool tell)
{
    if (strcmp(known->digest, answers->edge_digest) == 0) {
        (tell ? edge_truth_tell : edge_truth_untell)(&known->truth, right != answers->edge_turned);
    }
}

void learn_told(struct requests *all, const struct told_answers *answers, enum job_side side,
                bool correct, bool tell)
{
    const enum told told = told_of(answers, side, correct);
    const int index = tasks_find(all->tasks, answers->task);
    struct client_task *task = index >= 0 ? &all->tasks->items[index] : NULL;
    struct link_view view;
    int link;

    if (!task || told == TOLD_NOTHING) {
        return;
    }
    if (side == JOB_SIDE_LOCAL && task->has_local) {
        local_told(task, engine_model_digest(task->local.model), answers, told == TOLD_RIGHT, tell);
    }
    link = side == JOB_SIDE_EDGE ? edge_find(all, answers->edge, &view) : -1;
    if (link >= 0) {
        edge_told(&task->known[link], answers, told == TOLD_RIGHT, tell);
    }
    all->learned++;
}

/* ---- kept over a restart ---- */

static void text_digest(const char *text, char ret_digest[LEARNED_DIGEST_BYTES])
{
    snprintf(ret_digest, LEARNED_DIGEST_BYTES, "%016llx",
             (unsigned long long)XXH3_64bits(text, strlen(text)));
}

static const char *local_digest(const struct requests *all, const struct client_task *task)
{
    return all->tasks->contracts[task - all->tasks->items].model_digest;
}

/* "": there is no question. */
static void question_digest(const struct client_task *task, char ret_digest[LEARNED_DIGEST_BYTES])
{
    ret_digest[0] = '\0';
    if (task->asks) {
        text_digest(task_positive(task), ret_digest);
    }
}

static void task_take(const struct requests *all, const struct client_task *task,
                      struct learned_task *kept)
{
    snprintf(kept->name, sizeof(kept->name), "%s", task->config->name);
    kept->kind = (int)task->config->kind;
    if (task->has_local) {
        snprintf(kept->digest, sizeof(kept->digest), "%s", local_digest(all, task));
    }
    question_digest(task, kept->question);
    kept->run = task->estimate;
    kept->text = task->text;
    kept->confidence = task->confidence;
    for (size_t i = 0; all->links && i < links_count(all->links); i++) {
        struct learned_pair *pair = &kept->pairs[kept->pair_count];
        struct link_view view;

        links_view(all->links, i, &view);
        if (!view.name[0]) {
            continue;
        }
        snprintf(pair->edge, sizeof(pair->edge), "%s", view.name);
        memcpy(pair->digest, task->known[i].digest, sizeof(pair->digest));
        pair->estimate = task->edges[i];
        pair->agreement = task->known[i].agreement;
        pair->truth = task->known[i].truth;
        kept->pair_count++;
    }
}

int learn_take(const struct requests *all, struct learned *ret_learned)
{
    struct learned *learned = ret_learned;

    memset(learned, 0, sizeof(*learned));
    learned->tasks = calloc(all->tasks->count, sizeof(*learned->tasks));
    if (!learned->tasks) {
        return TANDEM_ENOMEM;
    }
    for (size_t i = 0; all->links && i < links_count(all->links); i++) {
        struct learned_link *link = &learned->links[learned->link_count];
        struct link_view view;

        links_view(all->links, i, &view);
        if (view.name[0]) {
            snprintf(link->name, sizeof(link->name), "%s", view.name);
            text_digest(view.url, link->digest);
            link->link = *view.estimate;
            learned->link_count++;
        }
    }
    for (size_t i = 0; i < all->tasks->count; i++) {
        task_take(all, &all->tasks->items[i], &learned->tasks[i]);
    }
    learned->task_count = all->tasks->count;
    return 0;
}

/* Whether the edge of this name is still where it was. */
static bool link_is_same(const struct learned *learned, const struct link_view *view)
{
    char digest[LEARNED_DIGEST_BYTES];

    text_digest(view->url, digest);
    for (size_t i = 0; i < learned->link_count; i++) {
        if (strcmp(learned->links[i].name, view->name) == 0) {
            return strcmp(learned->links[i].digest, digest) == 0;
        }
    }
    return false;
}

/* The samples of the first runs of this start, on top of what was kept. */
static void rate_join(struct ewma *mean, struct quantile_window *window,
                      const struct ewma *kept_mean, const struct quantile_window *kept)
{
    const struct quantile_window first = *window;

    if (kept_mean->count == 0) {
        return;
    }
    *mean = *kept_mean;
    *window = *kept;
    for (size_t i = 0; i < first.count; i++) {
        ewma_add(mean, first.samples[i]);
        quantile_window_add(window, first.samples[i]);
    }
}

static void text_join(struct estimate_text *text, const struct estimate_text *kept)
{
    rate_join(&text->density.mean, &text->density.window, &kept->density.mean,
              &kept->density.window);
    rate_join(&text->prefill.mean, &text->prefill.window, &kept->prefill.mean,
              &kept->prefill.window);
    rate_join(&text->decode.mean, &text->decode.window, &kept->decode.mean, &kept->decode.window);
    rate_join(&text->answer.mean, &text->answer.window, &kept->answer.mean, &kept->answer.window);
}

static bool question_is_same(const struct learned_task *kept, const struct client_task *task)
{
    char digest[LEARNED_DIGEST_BYTES];

    question_digest(task, digest);
    return strcmp(kept->question, digest) == 0 &&
           (!task->asks ||
            fabs(kept->confidence.odds / task->confidence.odds - 1) < 1e-6); /* as written */
}

static void task_give(struct requests *all, const struct learned *learned,
                      const struct learned_task *kept, struct client_task *task)
{
    const bool same = strcmp(kept->digest, task->has_local ? local_digest(all, task) : "") == 0;
    const bool asks_the_same = same && question_is_same(kept, task);

    if (kept->kind != (int)task->config->kind) {
        return;
    }
    if (!same) {
        log_info("task %s: another local model, what was learned of the one before is forgotten",
                 task->config->name);
    } else {
        rate_join(&task->estimate.run, &task->estimate.window, &kept->run.run, &kept->run.window);
        text_join(&task->text, &kept->text);
    }
    if (same && !asks_the_same) {
        log_info("task %s: another question, what was learned of the one before is forgotten",
                 task->config->name);
    } else if (same) {
        memcpy(task->confidence.seen, kept->confidence.seen, sizeof(task->confidence.seen));
        memcpy(task->confidence.told, kept->confidence.told, sizeof(task->confidence.told));
        memcpy(task->confidence.right, kept->confidence.right, sizeof(task->confidence.right));
    }
    for (size_t i = 0; i < kept->pair_count; i++) {
        const struct learned_pair *pair = &kept->pairs[i];
        struct link_view view;
        const int edge = edge_find(all, pair->edge, &view);

        if (edge < 0 || !link_is_same(learned, &view)) {
            continue;
        }
        memcpy(task->known[edge].digest, pair->digest, sizeof(pair->digest));
        task->edges[edge] = pair->estimate;
        task->known[edge].truth = pair->truth;
        if (asks_the_same) {
            task->known[edge].agreement = pair->agreement;
            confidence_pair_add(&task->confidence, &pair->agreement);
        }
    }
}

void learn_give(struct requests *all, const struct learned *learned)
{
    for (size_t i = 0; i < learned->link_count; i++) {
        struct link_view view;
        const int edge = edge_find(all, learned->links[i].name, &view);

        if (edge >= 0 && link_is_same(learned, &view)) {
            links_estimate_give(all->links, (size_t)edge, &learned->links[i].link);
        }
    }
    for (size_t i = 0; i < learned->task_count; i++) {
        const int index = tasks_find(all->tasks, learned->tasks[i].name);

        if (index >= 0) {
            task_give(all, learned, &learned->tasks[i], &all->tasks->items[index]);
        }
    }
}

/* ---- forgotten ---- */

int learn_forget(struct requests *all, const char *name)
{
    const int index = tasks_find(all->tasks, name);
    struct client_task *task;

    if (index < 0) {
        return TANDEM_ENOTASK;
    }
    task = &all->tasks->items[index];
    for (size_t i = 0; i < LIMIT_EDGES; i++) {
        char digest[LEARNED_DIGEST_BYTES];

        memcpy(digest, task->known[i].digest, sizeof(digest));
        pair_forget(task, i);
        memcpy(task->known[i].digest, digest, sizeof(digest)); /* that is known, not learned */
    }
    task_confidence_init(task);
    memset(&task->watch, 0, sizeof(task->watch));
    feedback_forget(all, name);
    task->estimate = task->first_estimate;
    task->text = task->first_text;
    if (all->results) {
        result_cache_forget(all->results, name, NULL);
    }
    all->learned++;
    log_info("task %s: what was learned is forgotten", name);
    return 0;
}
