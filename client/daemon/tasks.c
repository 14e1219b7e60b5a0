#include "client/daemon/tasks.h"

#include "client/daemon/warm_up.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/log.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* Hex XXH3-128 of the labels joined by newlines, as both hellos carry it. */
static void labels_digest(const struct local_model *local, char ret_hex[33])
{
    struct buf joined;
    XXH128_hash_t hash;

    if (local->label_count == 0) {
        return;
    }
    buf_init(&joined, LIMIT_LABELS * (LIMIT_LABEL_BYTES + 1));
    for (size_t i = 0; i < local->label_count; i++) {
        if (i > 0) {
            (void)buf_append_text(&joined, "\n");
        }
        (void)buf_append_text(&joined, local->labels[i]);
    }
    hash = XXH3_128bits(joined.data, joined.bytes);
    snprintf(ret_hex, 33, "%016llx%016llx", (unsigned long long)hash.high64,
             (unsigned long long)hash.low64);
    buf_fini(&joined);
}

/* A name that no [edge] has would keep every input here, in silence. */
static int leaves_device_check(const struct client_config *config, const struct task_config *file,
                               char error[CONFIG_ERROR_BYTES])
{
    if (strcmp(file->leaves_device, "any_edge") == 0 || strcmp(file->leaves_device, "never") == 0) {
        return 0;
    }
    for (size_t i = 0; i < config->edge_count; i++) {
        if (strcmp(config->edges[i].name, file->leaves_device) == 0) {
            return 0;
        }
    }
    return config_wrong(&file->source, "task", "", "leaves_device", error,
                        "no [edge %.63s] is configured", file->leaves_device);
}

static int label_count_check(const struct task_config *file, const struct local_model *local,
                             char error[CONFIG_ERROR_BYTES])
{
    const uint32_t classes = engine_model_info(local->model)->n_class;
    const size_t labels = file->labels ? file->label_count : local->label_count;

    if (labels == classes) {
        return 0;
    }
    return config_wrong(&file->source, "task", "", "labels", error,
                        "%zu, but %.120s has %u classes%s", labels, file->local.model, classes,
                        file->labels ? "" : " and does not name them");
}

static int positive_check(const struct client_task *task, char error[CONFIG_ERROR_BYTES])
{
    if (!task->asks ||
        task_has_label(task->local.labels, task->local.label_count, task_positive(task))) {
        return 0;
    }
    return config_wrong(&task->config->source, "task", "", "positive_label", error,
                        "'%.100s' is no label of %.100s", task_positive(task),
                        task->config->local.model);
}

/* Of an edge's answer that names each of these labels; 0: there are none. */
static double scores_bytes(const struct local_model *local)
{
    size_t bytes = 0;

    for (size_t i = 0; i < local->label_count; i++) {
        bytes += strlen(local->labels[i]);
    }
    return local->label_count > 0 ? task_scores_bytes(local->label_count, bytes) : 0;
}

/* Whether the model is one that `old` has open, under whatever task. */
static bool model_share(const struct client_config *config, struct client_task *task,
                        struct tasks *old)
{
    for (size_t i = 0; old && i < old->count; i++) {
        if (local_model_share(&old->items[i].local, task->config->local.model,
                              (uint32_t)task->config->kind + 1, (uint32_t)config->threads,
                              (uint64_t)config->kv_bytes, &task->local)) {
            task->shares = (int)i;
            return true;
        }
    }
    return false;
}

static int effects_open(struct client_task *task, char error[CONFIG_ERROR_BYTES])
{
    const char *path = task->config->edge_upload_effects;
    char why[ENGINE_ERROR_BYTES] = "";
    const int result = path[0] ? picture_effects_load(path, &task->effects, why, sizeof(why)) : 0;

    if (result != 0) {
        (void)config_wrong(&task->config->source, "edge", "", "upload_effects", error, "%.240s",
                           why);
    }
    return result;
}

const char *task_upload_mode(const struct client_task *task, const char **ret_why)
{
    if (task->config->kind == TASK_GENERATE) {
        *ret_why = NULL;
        return NULL;
    }
    *ret_why = task->config->upload == TASK_UPLOAD_ORIGINAL ? "the task says so"
               : task->effects.count == 0 ? "no upload_effects: nothing was measured"
                                          : "by what upload_effects measured";
    return task->config->upload == TASK_UPLOAD_AUTO && task->effects.count > 0 ? "auto"
                                                                               : "original";
}

static int task_open(const struct client_config *config, struct tasks *tasks, size_t index,
                     struct tasks *old, const atomic_bool *abort, char error[CONFIG_ERROR_BYTES])
{
    struct client_task *task = &tasks->items[index];
    const struct task_config *file = &tasks->configs[index];
    struct edge_task *contract = &tasks->contracts[index];
    char why[ENGINE_ERROR_BYTES] = "";
    int result = 0;

    task->config = file;
    task->shares = -1;
    task->has_local = file->local.model[0] != '\0';
    estimate_local_init(&task->estimate);
    estimate_text_init(&task->text);
    for (size_t i = 0; i < LIMIT_EDGES; i++) {
        estimate_edge_init(&task->edges[i]);
    }
    task->asks = file->positive_label[0] != '\0';
    task->costs = (struct cascade_costs){file->false_negative_cost, file->false_positive_cost};
    task_confidence_init(task);
    snprintf(tasks->names[index], sizeof(tasks->names[index]), "%s", file->name);
    tasks->kinds[index] = (uint32_t)file->kind + 1;
    snprintf(contract->name, sizeof(contract->name), "%s", file->name);
    contract->kind = (uint32_t)file->kind + 1;
    if (file->kind == TASK_DETECT) {
        (void)config_wrong(&file->source, "task", "", "kind", error,
                           "detect: no model of this version finds boxes");
        return TANDEM_EUNSUPPORTED;
    }
    result = leaves_device_check(config, file, error);
    result = result ? result : effects_open(task, error);
    if (result != 0 || !task->has_local) {
        return result;
    }
    if (!model_share(config, task, old)) {
        result = local_model_open(file->local.model, contract->kind, (uint32_t)config->threads,
                                  (uint64_t)config->kv_bytes, &task->local, why);
    }
    if (result != 0) {
        (void)config_wrong(&file->source, "local", "", "model", error, "%.240s", why);
        return result;
    }
    if (file->kind == TASK_CLASSIFY) {
        result = label_count_check(file, &task->local, error);
    }
    if (result == 0 && file->labels) {
        task->local.labels = (const char *const *)file->labels;
        task->local.label_count = file->label_count;
    }
    if (result == 0) {
        result = positive_check(task, error);
    }
    if (result == 0) {
        task->scores_bytes = file->kind == TASK_CLASSIFY ? scores_bytes(&task->local) : 0;
        contract->label_count = (uint32_t)task->local.label_count;
        labels_digest(&task->local, contract->label_digest);
        snprintf(contract->model_digest, sizeof(contract->model_digest), "%s",
                 engine_model_digest(task->local.model));
        if (task->shares < 0) {
            result = warm_up(&task->local, &task->estimate, &task->text, abort, why);
        }
        if (result != 0) {
            (void)config_wrong(&file->source, "local", "", "model", error,
                               "does not answer: %.240s", why);
            return result;
        }
        task->first_estimate = task->estimate;
        task->first_text = task->text;
    }
    return result;
}

static void tasks_free(struct tasks *tasks)
{
    for (size_t i = 0; tasks->items && i < tasks->count; i++) {
        local_model_close(&tasks->items[i].local);
    }
    free(tasks->items);
    free(tasks->contracts);
    free(tasks->names);
    free(tasks->kinds);
    task_config_free(tasks->configs, tasks->count);
    free(tasks);
}

int tasks_load(const struct client_config *config, struct tasks *old, const atomic_bool *abort,
               struct tasks **ret_tasks, char error[CONFIG_ERROR_BYTES])
{
    struct tasks *tasks = calloc(1, sizeof(*tasks));
    int result = tasks ? 0 : TANDEM_ENOMEM;

    if (result == 0) {
        result = task_config_load_dir(config->tasks_dir, config->models_dir, &tasks->configs,
                                      &tasks->count, error);
    }
    if (result != 0) {
        free(tasks);
        return result;
    }
    tasks->references = 1;
    tasks->items = calloc(tasks->count, sizeof(*tasks->items));
    tasks->contracts = calloc(tasks->count, sizeof(*tasks->contracts));
    tasks->names = calloc(tasks->count, sizeof(*tasks->names));
    tasks->kinds = calloc(tasks->count, sizeof(*tasks->kinds));
    result = tasks->items && tasks->contracts && tasks->names && tasks->kinds ? 0 : TANDEM_ENOMEM;
    for (size_t i = 0; result == 0 && i < tasks->count; i++) {
        result = abort && atomic_load(abort) ? TANDEM_ECANCELED
                                             : task_open(config, tasks, i, old, abort, error);
    }
    if (result != 0) {
        tasks_free(tasks);
        return result;
    }
    *ret_tasks = tasks;
    return 0;
}

static void agreement_forget(struct client_task *task)
{
    for (size_t i = 0; i < LIMIT_EDGES; i++) {
        memset(&task->known[i].agreement, 0, sizeof(task->known[i].agreement));
    }
}

/* What answers are judged by: the positive label, and where the bins lie. */
static bool task_asks_the_same(const struct client_task *a, const struct client_task *b)
{
    return strcmp(task_positive(a), task_positive(b)) == 0 &&
           a->confidence.odds == b->confidence.odds;
}

void tasks_inherit(struct tasks *tasks, const struct tasks *old)
{
    for (size_t i = 0; i < tasks->count; i++) {
        struct client_task *task = &tasks->items[i];
        const int at = tasks_find(old, task->config->name);
        const struct client_task *was = at >= 0 ? &old->items[at] : NULL;

        if (task->shares >= 0) {
            task->estimate = old->items[task->shares].estimate;
            task->text = old->items[task->shares].text;
            task->handover = old->items[task->shares].handover;
            task->first_estimate = old->items[task->shares].first_estimate;
            task->first_text = old->items[task->shares].first_text;
        }
        if (!was || was->config->kind != task->config->kind) {
            continue;
        }
        memcpy(task->edges, was->edges, sizeof(task->edges));
        task->upload = was->upload;
        memcpy(task->known, was->known, sizeof(task->known));
        if (!task->has_local && !was->has_local) {
            continue;
        }
        if (task->has_local && was->has_local &&
            strcmp(tasks->contracts[i].model_digest, old->contracts[at].model_digest) == 0) {
            task->estimate = was->estimate;
            task->text = was->text;
            task->handover = was->handover;
            if (task_asks_the_same(task, was)) {
                task->confidence = was->confidence;
                task->watch = was->watch;
            } else {
                agreement_forget(task);
                log_info("task %s: another question, what was learned of the one before is "
                         "forgotten",
                         task->config->name);
            }
        } else {
            agreement_forget(task);
            log_info(
                "task %s: another local model, what was learned of the one before is forgotten",
                task->config->name);
        }
    }
}

struct tasks *tasks_ref(struct tasks *tasks)
{
    tasks->references++;
    return tasks;
}

void tasks_unref(struct tasks *tasks)
{
    if (tasks && --tasks->references == 0) {
        tasks_free(tasks);
    }
}

int tasks_find(const struct tasks *tasks, const char *name)
{
    for (size_t i = 0; i < tasks->count; i++) {
        if (strcmp(tasks->configs[i].name, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}
