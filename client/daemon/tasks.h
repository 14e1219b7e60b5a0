/* tasks.h: the tasks of this daemon with their local models and what is learned about them. One
 * generation is what one reading of the configuration made; every request holds the generation it
 * began with, so after a reload the old models live until their last request has ended. Loop
 * thread. */
#ifndef TANDEM_CLIENT_TASKS_H
#define TANDEM_CLIENT_TASKS_H

#include "client/daemon/daemon_config.h"
#include "client/daemon/runner.h"
#include "client/policy/cascade_two.h"
#include "client/policy/confidence.h"
#include "client/policy/edge_truth.h"
#include "client/policy/estimate_edge.h"
#include "client/policy/estimate_text.h"
#include "client/policy/prediction_watch.h"
#include "client/policy/upload.h"
#include "common/base/task_config.h"
#include "common/wire/edge_msg.h"

struct task_edge {   /* what is known of one edge's model for a task, besides its speed */
    char digest[33]; /* "": not told yet */
    struct confidence_pair agreement;
    struct edge_truth truth;
    struct prediction_watch predictions;
};
struct task_watch { /* whether what is predicted of local answers comes true */
    struct prediction_watch predictions;
    struct confidence_watch agreement, truth; /* measured by edges, by what applications say */
};
struct client_task {
    const struct task_config *config;
    bool has_local;
    struct local_model local;
    int shares; /* the model is that of this task of the generation before; -1: opened anew */
    struct estimate_local estimate; /* of whole runs */
    struct estimate_text text;      /* `generate`: of their parts; what is believed of a request */
    struct estimate_local handover; /* what a run takes besides: waking the runner, between steps;
                                       zeroed before the first */
    struct estimate_edge edges[LIMIT_EDGES];
    double scores_bytes; /* `classify`: an edge's answer takes at most so many; 0: not known */
    bool asks; /* whether it is the positive label: `confidence` is of that one's probability */
    struct cascade_costs costs; /* of such a task */
    struct check_purse checks;
    struct confidence confidence; /* its bins lie as `costs` want them */
    struct task_watch watch;
    struct upload_state upload;
    struct picture_effects effects; /* of upload_effects; without: pictures go as they came */
    struct task_edge known[LIMIT_EDGES];
    struct estimate_local first_estimate; /* as the first runs left them */
    struct estimate_text first_text;
};
#define TASK_SCORES_BYTES 1024 /* an answer without its scores, acknowledgements, TLS records */
#define TASK_SCORE_BYTES  16   /* parts.LabelScore with the longest of lengths, without its label */
/* What an edge's answer with a score for each of so many labels takes on the wire at most, where
 * their texts have so many bytes together. */
static inline double task_scores_bytes(size_t label_count, size_t text_bytes)
{
    const double bytes =
        TASK_SCORES_BYTES + (double)text_bytes + TASK_SCORE_BYTES * (double)label_count;

    return bytes < LIMIT_FRAME_HEADER_BYTES ? bytes : LIMIT_FRAME_HEADER_BYTES;
}
/* NULL, and "", of a task that has no positive label. */
static inline const struct cascade_costs *task_costs(const struct client_task *task)
{
    return task->asks ? &task->costs : NULL;
}
static inline const char *task_positive(const struct client_task *task)
{
    return task->asks ? task->config->positive_label : "";
}
/* Nothing is known of how often its answers are wrong. */
static inline void task_confidence_init(struct client_task *task)
{
    confidence_init(&task->confidence);
    task->confidence.odds = task->asks ? cascade_two_odds(&task->costs) : 0;
    task->confidence.nothing = task->config->kind == TASK_DETECT;
}
struct tasks {
    unsigned references;
    struct task_config *configs;
    size_t count;
    struct client_task *items;
    struct edge_task *contracts;         /* what the hello to an edge says */
    char (*names)[LIMIT_NAME_BYTES + 1]; /* what the hello to an application says */
    uint32_t *kinds;                     /* the same, enum task_kind_wire of each */
};
/* Opens every local model and runs it once, so that READY means it answers and the first estimate
 * is measured. One line in `error`; ECANCELED, without one that says more, soon after `abort` (may
 * be NULL) is set. */
/* Models that `old` (NULL: none) has open from the very same file are not opened again. *returns
 * owned*, with one reference. Any thread; `old` may be in use, and must live until it returns. */
int tasks_load(const struct client_config *config, struct tasks *old, const atomic_bool *abort,
               struct tasks **ret_tasks, char error[CONFIG_ERROR_BYTES]);
/* Takes over what `old` has learned: of a local model that is the same as before, and of the edges
 * where the task is of the same kind. Edges are known by their numbers. `old` is the one that
 * `tasks` was loaded with. */
void tasks_inherit(struct tasks *tasks, const struct tasks *old);
struct tasks *tasks_ref(struct tasks *tasks);
/* Frees the generation with its last reference; NULL is fine. */
void tasks_unref(struct tasks *tasks);
/* How pictures go to edges, as --check-config and status say it: "original" or "auto"; and in
 * *ret_why the reason in a clause, static. NULL where the task has no pictures. */
const char *task_upload_mode(const struct client_task *task, const char **ret_why);
/* The index, or -1. */
int tasks_find(const struct tasks *tasks, const char *name);

#endif
