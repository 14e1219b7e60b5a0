#include "common/base/task_config.h"

#include "common/base/error.h"
#include "common/base/limits.h"
#include "common/base/names.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[] = {"classify", "detect", "generate", NULL};
static const char *const caches[] = {"auto", "off", "exact", "similar", NULL};
static const char *const uploads[] = {"auto", "original", NULL};
static const char *const lates[] = {"error", "deliver", NULL};
static const char *const no_reserves[] = {"local", "drop", "accept_risk", NULL};

#define AT(member) offsetof(struct task_config, member)
static const struct config_key keys[] = {
    {.section = "task",
     .key = "kind",
     .type = CONFIG_CHOICE,
     .offset = AT(kind),
     .choices = kinds,
     .help =
         "What comes back: a label, boxes, or text. detect is refused for now: no model of this "
         "version finds boxes."},
    {.section = "task",
     .key = "labels",
     .type = CONFIG_LIST,
     .offset = AT(labels_text),
     .default_text = "",
     .help = "The labels by number. Empty: those that the model file names."},
    {.section = "task",
     .key = "default_deadline_ms",
     .type = CONFIG_INT,
     .offset = AT(default_deadline_ms),
     .default_text = "0",
     .min = 0,
     .max = LIMIT_DEADLINE_MS,
     .unit = "ms",
     .help = "For requests that state no deadline; 0 is none."},
    {.section = "task",
     .key = "leaves_device",
     .type = CONFIG_TEXT,
     .offset = AT(leaves_device),
     .default_text = "any_edge",
     .help = "Where inputs may go: any_edge, never, or the name of one edge. Applications can only "
             "tighten it."},
    {.section = "task",
     .key = "confidence_threshold",
     .type = CONFIG_DOUBLE,
     .offset = AT(confidence_threshold),
     .default_text = "0.8",
     .min = 0,
     .max = 1,
     .unit = "",
     .help =
         "A local answer at least this sure stays where the caller forces a cascade, and one of "
         "boxes that found nothing where such answers were right so often. Else the "
         "threshold moves with the price of asking the edge: the dearer, the lower."},
    {.section = "task",
     .key = "positive_label",
     .type = CONFIG_TEXT,
     .offset = AT(positive_label),
     .default_text = "",
     .help = "kind = classify: the label that matters. Then the question is whether it is this one "
             "or any other, and nothing else is an error. The answer is the one of least expected "
             "cost: with false_negative_cost = 10 an input that is this one with a probability of "
             "0.1 is called so. A cascade has two thresholds, in place of confidence_threshold's "
             "one: what is improbable stays as no, what is probable stays as yes, and between "
             "them the edge is asked. Empty: all labels alike."},
    {.section = "task",
     .key = "false_negative_cost",
     .type = CONFIG_DOUBLE,
     .offset = AT(false_negative_cost),
     .default_text = "1",
     .min = TASK_ERROR_COST_MIN,
     .max = TASK_ERROR_COST_MAX,
     .unit = "times one_error_ms",
     .help = "What it costs to miss the positive_label."},
    {.section = "task",
     .key = "false_positive_cost",
     .type = CONFIG_DOUBLE,
     .offset = AT(false_positive_cost),
     .default_text = "1",
     .min = TASK_ERROR_COST_MIN,
     .max = TASK_ERROR_COST_MAX,
     .unit = "times one_error_ms",
     .help = "What it costs to see the positive_label where it is not."},
    {.section = "task",
     .key = "max_new_tokens",
     .type = CONFIG_INT,
     .offset = AT(max_new_tokens),
     .default_text = "256",
     .min = 1,
     .max = LIMIT_MAX_NEW_TOKENS,
     .unit = "tokens",
     .help = "How long a generated text may get when the request does not say."},
    {.section = "task",
     .key = "late",
     .type = CONFIG_CHOICE,
     .offset = AT(late),
     .default_text = "error",
     .choices = lates,
     .help = "What becomes of an answer after its deadline: an error, or the answer marked late."},
    {.section = "task",
     .key = "no_reserve",
     .type = CONFIG_CHOICE,
     .offset = AT(no_reserve),
     .default_text = "local",
     .choices = no_reserves,
     .help = "What becomes of a request when this device has promised so many local runs that no "
             "place is left for its own: local, it starts here at once as well as it can, beside "
             "the edge, and behind what it would make late; drop, it is refused at once as busy; "
             "accept_risk, it goes to the edge alone and comes back only if the edge fails."},
    {.section = "task",
     .key = "result_cache",
     .type = CONFIG_CHOICE,
     .offset = AT(result_cache),
     .default_text = "auto",
     .choices = caches,
     .help = "Which answers the client gives again: exact, to the same input; similar, to nearly "
             "the same frame too; "
             "off; auto is exact for pictures and off for text. What was answered in "
             "a session is not kept."},
    {.section = "task",
     .key = "result_age_ms",
     .type = CONFIG_INT,
     .offset = AT(result_age_ms),
     .default_text = "600000",
     .min = 0,
     .max = LIMIT_DEADLINE_MS,
     .unit = "ms",
     .help = "How old an answer to the same input may be; 0 is any age. An edge's model may have "
             "been replaced since."},
    {.section = "task",
     .key = "similar_distance",
     .type = CONFIG_DOUBLE,
     .offset = AT(similar_distance),
     .default_text = "4",
     .min = 0,
     .max = 255,
     .unit = "steps of brightness",
     .help = "Similar: how much the most changed part of the frame may differ, of 255. A fixed "
             "camera's noise stays "
             "under 2, somebody who comes in changes 8 and more."},
    {.section = "task",
     .key = "similar_age_ms",
     .type = CONFIG_INT,
     .offset = AT(similar_age_ms),
     .default_text = "500",
     .min = 1,
     .max = LIMIT_DEADLINE_MS,
     .unit = "ms",
     .help = "Similar: how old the other frame may be."},
    {.section = "task",
     .key = "upload",
     .type = CONFIG_CHOICE,
     .offset = AT(upload),
     .default_text = "auto",
     .choices = uploads,
     .help = "What of a picture goes to an edge: original, as it came; auto, a smaller or more "
             "compressed JPEG of it where the time and bytes it saves are worth more than the "
             "answers it spoils. How many those are was measured: without upload_effects of "
             "[edge], or where the edge has another model than it was measured with, auto sends "
             "the original."},
    {.section = "local",
     .key = "model",
     .type = CONFIG_TEXT,
     .offset = AT(local.model),
     .default_text = "",
     .help = "The small model, a GGUF file, run by tandem-client. Empty: no local answers."},
    {.section = "local",
     .key = "backend",
     .type = CONFIG_TEXT,
     .offset = AT(local.backend),
     .default_text = "engine",
     .help = "What runs it: engine (the built-in one)."},
    {.section = "edge",
     .key = "model",
     .type = CONFIG_TEXT,
     .offset = AT(edge.model),
     .default_text = "",
     .help = "The larger model, run by tandem-server. Empty: never on an edge."},
    {.section = "edge",
     .key = "expected_error",
     .type = CONFIG_DOUBLE,
     .offset = AT(edge_expected_error),
     .default_text = "0",
     .min = 0,
     .max = 1,
     .unit = "probability",
     .help = "How often the larger model is wrong on inputs that it was not made with, as its card "
             "says; 0 takes edge_error of [policy]. What applications say by tandem_feedback "
             "corrects it."},
    {.section = "edge",
     .key = "upload_effects",
     .type = CONFIG_TEXT,
     .offset = AT(edge_upload_effects),
     .default_text = "",
     .help = "What sending pictures smaller does to the larger model's answers: the file that "
             "tandem-model evaluate MODEL LIST --forms --csv made, for just this model. Read by "
             "tandem-client. Empty: nothing was measured, pictures go as they came."},
    {.section = "edge",
     .key = "backend",
     .type = CONFIG_TEXT,
     .offset = AT(edge.backend),
     .default_text = "engine",
     .help = "What runs it: engine (the built-in one)."},
};
#undef AT

const struct config_schema task_config_schema = {
    .title = "A task of Tandem. The file's name without .conf is the task's name.",
    .keys = keys,
    .key_count = sizeof(keys) / sizeof(keys[0]),
};

const char *task_kind_text(int kind)
{
    return kind >= 0 && kind <= TASK_GENERATE ? kinds[kind] : "unknown";
}

bool task_has_label(const char *const *labels, size_t count, const char *label)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(labels[i], label) == 0) {
            return true;
        }
    }
    return false;
}

static void task_fini(struct task_config *task)
{
    config_free(&task_config_schema, task);
    for (size_t i = 0; i < task->label_count; i++) {
        free(task->labels[i]);
    }
    free(task->labels);
    free(task->name);
    config_source_free(&task->source);
    *task = (struct task_config){0};
}

void task_config_free(struct task_config *tasks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        task_fini(&tasks[i]);
    }
    free(tasks);
}

const struct task_config *task_config_find(const struct task_config *tasks, size_t count,
                                           const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(tasks[i].name, name) == 0) {
            return &tasks[i];
        }
    }
    return NULL;
}

/* A key of [task] is wrong. */
#define task_wrong(task, key, error, ...)                                                          \
    config_wrong(&(task)->source, "task", "", key, error, __VA_ARGS__)

/* Splits labels_text at its commas; a label has no spaces around it and is not empty. */
static int labels_split(struct task_config *task, char error[CONFIG_ERROR_BYTES])
{
    const char *at = task->labels_text;
    size_t expected = 1;

    if (*at == '\0') {
        return 0;
    }
    for (const char *comma = at; (comma = strchr(comma, ',')) != NULL; comma++) {
        expected++;
    }
    if (expected > LIMIT_LABELS) {
        return task_wrong(task, "labels", error, "more than %d", LIMIT_LABELS);
    }
    task->labels = calloc(expected, sizeof(*task->labels));
    while (task->labels && task->label_count < expected) {
        size_t bytes = strcspn(at, ",");
        const char *next = at + bytes + 1;

        while (bytes > 0 && (*at == ' ' || *at == '\t')) {
            at++;
            bytes--;
        }
        while (bytes > 0 && (at[bytes - 1] == ' ' || at[bytes - 1] == '\t')) {
            bytes--;
        }
        if (bytes == 0) {
            return task_wrong(task, "labels", error, "label %zu is empty", task->label_count + 1);
        }
        if (bytes > LIMIT_LABEL_BYTES) {
            return task_wrong(task, "labels", error, "label %zu is longer than %d bytes",
                              task->label_count + 1, LIMIT_LABEL_BYTES);
        }
        task->labels[task->label_count] = strndup(at, bytes);
        if (!task->labels[task->label_count]) {
            break;
        }
        task->label_count++;
        for (size_t i = 0; i + 1 < task->label_count; i++) {
            if (strcmp(task->labels[i], task->labels[task->label_count - 1]) == 0) {
                return task_wrong(task, "labels", error, "'%.100s' is there twice",
                                  task->labels[i]);
            }
        }
        at = next;
    }
    if (task->label_count < expected) {
        snprintf(error, CONFIG_ERROR_BYTES, "%s: out of memory", task->source.path);
        return TANDEM_ENOMEM;
    }
    return 0;
}

/* Of the labels that the file names; those of a model are known when it is open. */
static int positive_check(const struct task_config *task, char error[CONFIG_ERROR_BYTES])
{
    if (task->positive_label[0] == '\0') {
        if (task->false_negative_cost == 1 && task->false_positive_cost == 1) {
            return 0;
        }
        return task_wrong(
            task, task->false_negative_cost != 1 ? "false_negative_cost" : "false_positive_cost",
            error, "needs a positive_label");
    }
    if (task->kind != TASK_CLASSIFY) {
        return task_wrong(task, "positive_label", error, "only for kind = classify, this is %s",
                          task_kind_text(task->kind));
    }
    if (task->label_count == 0 && task->local.model[0] == '\0') {
        return task_wrong(task, "positive_label", error,
                          "needs labels where there is no [local] model");
    }
    if (task->label_count > 0 && !task_has_label((const char *const *)task->labels,
                                                 task->label_count, task->positive_label)) {
        return task_wrong(task, "positive_label", error, "'%.100s' is none of labels",
                          task->positive_label);
    }
    return 0;
}

/* Makes the path of a model, or of what belongs to one, relative to `models_dir`. */
static int path_complete(char **text, const char *path, const char *models_dir,
                         char error[CONFIG_ERROR_BYTES])
{
    char *full = NULL;

    if ((*text)[0] == '\0' || (*text)[0] == '/') {
        return 0;
    }
    if (asprintf(&full, "%s/%s", models_dir, *text) < 0) {
        snprintf(error, CONFIG_ERROR_BYTES, "%s: out of memory", path);
        return TANDEM_ENOMEM;
    }
    free(*text);
    *text = full;
    return 0;
}

/* Checks one side's backend and completes its model's path. */
static int side_check(const struct task_config *task, struct task_side *side, const char *section,
                      const char *models_dir, char error[CONFIG_ERROR_BYTES])
{
    if (strncmp(side->backend, "exec:", 5) == 0) {
        return config_wrong(&task->source, section, "", "backend", error,
                            "exec: is not supported yet; engine is the one backend");
    }
    if (strcmp(side->backend, "engine") != 0) {
        return config_wrong(&task->source, section, "", "backend", error, "'%.200s' is not engine",
                            side->backend);
    }
    return path_complete(&side->model, task->source.path, models_dir, error);
}

static int task_load(const char *dir, const char *file, const char *models_dir,
                     struct task_config *task, char error[CONFIG_ERROR_BYTES])
{
    const size_t stem_bytes = strlen(file) - strlen(".conf");
    char *path = NULL;
    int result;

    if (asprintf(&path, "%s/%s", dir, file) < 0) {
        snprintf(error, CONFIG_ERROR_BYTES, "%s: out of memory", dir);
        return TANDEM_ENOMEM;
    }
    task->name = strndup(file, stem_bytes);
    if (!task->name || !name_is_valid(task->name)) {
        snprintf(error, CONFIG_ERROR_BYTES,
                 "%s: a task's name is 1 to %d characters of A-Z a-z 0-9 . _ -", path,
                 LIMIT_NAME_BYTES);
        result = TANDEM_ECONFIG;
        goto out;
    }
    result = config_load_source(&task_config_schema, path, task, &task->source, error);
    if (result == 0) {
        result = labels_split(task, error);
    }
    if (result == 0) {
        result = side_check(task, &task->local, "local", models_dir, error);
    }
    if (result == 0) {
        result = side_check(task, &task->edge, "edge", models_dir, error);
    }
    if (result == 0) {
        result = path_complete(&task->edge_upload_effects, path, models_dir, error);
    }
    if (result == 0) {
        result = positive_check(task, error);
    }
    if (result == 0 && task->local.model[0] == '\0' && task->edge.model[0] == '\0') {
        snprintf(error, CONFIG_ERROR_BYTES, "%s: neither [local] nor [edge] names a model", path);
        result = TANDEM_ECONFIG;
    }
    if (result == 0 && !name_is_valid(task->leaves_device)) {
        result = task_wrong(task, "leaves_device", error, "any_edge, never or the name of an edge");
    }
out:
    free(path);
    return result;
}

static int file_is_task(const struct dirent *entry)
{
    const size_t bytes = strlen(entry->d_name);

    return entry->d_name[0] != '.' && bytes > strlen(".conf") &&
           strcmp(entry->d_name + bytes - strlen(".conf"), ".conf") == 0;
}

static int file_compare(const struct dirent **left, const struct dirent **right)
{
    return strcmp((*left)->d_name, (*right)->d_name); /* bytes, not the locale's order */
}

int task_config_load_dir(const char *dir, const char *models_dir, struct task_config **ret_tasks,
                         size_t *ret_count, char error[CONFIG_ERROR_BYTES])
{
    struct dirent **files = NULL;
    struct task_config *tasks = NULL;
    size_t loaded = 0;
    int result = 0;
    const int count = scandir(dir, &files, file_is_task, file_compare);

    error[0] = '\0';
    if (count < 0) {
        snprintf(error, CONFIG_ERROR_BYTES, "%s: cannot be read: %s", dir, strerror(errno));
        return TANDEM_EIO;
    }
    if (count == 0 || count > LIMIT_TASKS) {
        snprintf(error, CONFIG_ERROR_BYTES, "%s: %d task files (NAME.conf); there must be 1 to %d",
                 dir, count, LIMIT_TASKS);
        result = TANDEM_ECONFIG;
        goto out;
    }
    tasks = calloc((size_t)count, sizeof(*tasks));
    if (!tasks) {
        snprintf(error, CONFIG_ERROR_BYTES, "%s: out of memory", dir);
        result = TANDEM_ENOMEM;
        goto out;
    }
    while (result == 0 && loaded < (size_t)count) {
        result = task_load(dir, files[loaded]->d_name,
                           models_dir && models_dir[0] ? models_dir : dir, &tasks[loaded], error);
        loaded++;
    }
out:
    if (result == 0) {
        *ret_tasks = tasks;
        *ret_count = loaded;
    } else {
        task_config_free(tasks, loaded);
    }
    for (int i = 0; i < count; i++) {
        free(files[i]);
    }
    free(files);
    return result;
}
