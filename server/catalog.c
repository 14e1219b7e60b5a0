#include "server/catalog.h"

#include "common/base/log.h"
#include "common/wire/answer.h"
#include "server/warm_up.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

void digest_hex(const void *data, size_t bytes, char ret_hex[33])
{
    const XXH128_hash_t hash = XXH3_128bits(data, bytes);

    snprintf(ret_hex, 33, "%016llx%016llx", (unsigned long long)hash.high64,
             (unsigned long long)hash.low64);
}

void served_model_ref(struct served_model *model)
{
    model->references++;
}

void served_model_unref(struct served_model *model)
{
    if (!model || --model->references > 0) {
        return;
    }
    engine_context_free(model->context);
    if (model->pool) {
        engine_pool_free(model->pool);
    }
    engine_model_unref(model->model);
    free(model);
}

static struct served_model *model_find(const struct catalog *catalog, const char *digest)
{
    for (size_t i = 0; catalog && i < catalog->task_count; i++) {
        if (strcmp(engine_model_digest(catalog->tasks[i].model->model), digest) == 0) {
            return catalog->tasks[i].model;
        }
    }
    return NULL;
}

/* Scratch memory for steps, and pages for a decoder. */
static int model_furnish(struct served_model *model, const struct server_config *config,
                         char error[ENGINE_ERROR_BYTES])
{
    const bool decoder = engine_is_decoder(model->info->architecture);
    struct engine_context_params params = {.max_tokens = (uint32_t)config->step_tokens,
                                           .max_sequences = decoder ? (uint32_t)config->sequences
                                                                    : LIMIT_PICTURE_BATCH,
                                           .threads = (uint32_t)config->threads};
    int result;

    if (!decoder) { /* every picture is n_context tokens */
        const uint64_t tokens = (uint64_t)model->info->n_context * LIMIT_PICTURE_BATCH;

        params.max_tokens = tokens < LIMIT_BATCH_TOKENS ? (uint32_t)tokens : LIMIT_BATCH_TOKENS;
        if (model->info->n_context > 0 &&
            params.max_tokens / model->info->n_context < params.max_sequences) {
            params.max_sequences = params.max_tokens / model->info->n_context;
            params.max_sequences = params.max_sequences ? params.max_sequences : 1;
        }
    }
    model->step_tokens = params.max_tokens;
    model->step_sequences = params.max_sequences;
    result = engine_context_new(model->model, &params, &model->context, error);
    if (result == 0 && decoder) {
        result = engine_pool_new(model->model, ENGINE_KV_F16, model->pool_budget_bytes,
                                 &model->pool, error);
    }
    return result;
}

static int model_open(const char *path, const struct server_config *config, uint64_t pool_bytes,
                      const struct catalog *fresh, const struct catalog *old,
                      struct served_model **ret_model, char error[ENGINE_ERROR_BYTES])
{
    struct engine_model *opened;
    struct served_model *model;
    int result = engine_model_open(path, &opened, error);

    if (result != 0) {
        return result;
    }
    model = model_find(fresh, engine_model_digest(opened));
    model = model ? model : model_find(old, engine_model_digest(opened));
    if (model) {
        engine_model_unref(opened);
        served_model_ref(model);
        if (model->pool && model->pool_budget_bytes != pool_bytes) {
            log_warning("%s: keeps its %llu bytes of pages until the server is restarted", path,
                        (unsigned long long)model->pool_budget_bytes);
        }
        *ret_model = model;
        return 0;
    }
    model = calloc(1, sizeof(*model));
    if (!model) {
        engine_model_unref(opened);
        snprintf(error, ENGINE_ERROR_BYTES, "%s: out of memory", path);
        return TANDEM_ENOMEM;
    }
    *model = (struct served_model){.references = 1,
                                   .model = opened,
                                   .info = engine_model_info(opened),
                                   .pool_budget_bytes = pool_bytes};
    batcher_init(&model->batcher);
    result = model_furnish(model, config, error);
    if (result == 0) {
        result = model_warm_up(model, error);
    }
    if (result != 0) {
        served_model_unref(model);
        return result;
    }
    *ret_model = model;
    return 0;
}

static void labels_digest(struct served_task *task)
{
    struct buf joined;

    if (task->label_count == 0) {
        return;
    }
    buf_init(&joined, 0);
    for (uint32_t i = 0; i < task->label_count; i++) {
        if ((i > 0 && buf_append_u8(&joined, '\n') != 0) ||
            buf_append_text(&joined, task->labels[i]) != 0) {
            break; /* a set this large does not fit a contract either; the digest then matches
                      nobody's */
        }
    }
    digest_hex(joined.data, joined.bytes, task->label_digest);
    buf_fini(&joined);
}

/* Whether the model can do what the task asks. */
static int task_check(const struct task_config *config, struct served_task *task,
                      char error[ENGINE_ERROR_BYTES])
{
    const struct engine_model_info *info = task->model->info;
    const bool is_picture = info->architecture == ENGINE_VIT,
               is_decoder = engine_is_decoder(info->architecture);

    if ((config->kind == TASK_CLASSIFY && !is_picture) ||
        (config->kind == TASK_GENERATE && (!is_decoder || !info->has_tokenizer))) {
        return config_wrong(&config->source, "task", "", "kind", error,
                            "%s, but %.150s is of architecture %s%s", task_kind_text(config->kind),
                            config->edge.model, info->architecture_text,
                            is_decoder && !info->has_tokenizer ? " without a tokenizer" : "");
    }
    if (config->kind == TASK_GENERATE) {
        return 0;
    }
    task->labels = config->labels ? (const char *const *)config->labels : info->labels;
    task->label_count = config->labels ? (uint32_t)config->label_count : info->n_class;
    if (!task->labels || task->label_count != info->n_class) {
        return config_wrong(&config->source, "task", "", "labels", error,
                            "%u, but %.150s has %u classes", task->labels ? task->label_count : 0,
                            config->edge.model, info->n_class);
    }
    labels_digest(task);
    return 0;
}

static int task_open(const struct task_config *config, const struct server_config *server,
                     uint64_t pool_bytes, struct catalog *catalog, const struct catalog *old,
                     char error[ENGINE_ERROR_BYTES])
{
    struct served_task *task = &catalog->tasks[catalog->task_count];
    int result;

    if (config->edge.model[0] == '\0') {
        return 0; /* never on an edge */
    }
    if (config->kind == TASK_DETECT) {
        return config_wrong(&config->source, "task", "", "kind", error,
                            "detect: no model of this version finds boxes");
    }
    *task = (struct served_task){.name = config->name,
                                 .kind = config->kind,
                                 .max_new_tokens = (uint32_t)config->max_new_tokens};
    result = model_open(config->edge.model, server, pool_bytes, catalog, old, &task->model, error);
    if (result != 0) {
        return result;
    }
    catalog->task_count++; /* from here catalog_unref gives the model back */
    return task_check(config, task, error);
}

int catalog_load(const struct server_config *config, const struct catalog *old,
                 struct catalog **ret_catalog, char error[ENGINE_ERROR_BYTES])
{
    struct catalog *catalog = calloc(1, sizeof(*catalog));
    uint64_t decoders = 0;
    int result = TANDEM_ENOMEM;

    snprintf(error, ENGINE_ERROR_BYTES, "out of memory");
    if (catalog) {
        catalog->references = 1;
        result = task_config_load_dir(config->tasks_dir, config->models_dir, &catalog->configs,
                                      &catalog->config_count, error);
    }
    if (result == 0) {
        catalog->tasks =
            calloc(catalog->config_count ? catalog->config_count : 1, sizeof(*catalog->tasks));
        result = catalog->tasks ? 0 : TANDEM_ENOMEM;
    }
    for (size_t i = 0; result == 0 && i < catalog->config_count; i++) {
        decoders +=
            catalog->configs[i].kind == TASK_GENERATE && catalog->configs[i].edge.model[0] != '\0';
    }
    for (size_t i = 0; result == 0 && i < catalog->config_count; i++) {
        result = task_open(&catalog->configs[i], config,
                           (uint64_t)config->cache_bytes / (decoders ? decoders : 1), catalog, old,
                           error);
    }
    if (result == 0 && catalog->task_count == 0) {
        snprintf(error, ENGINE_ERROR_BYTES,
                 "%s: no task has a model under [edge]: nothing to serve", config->tasks_dir);
        result = TANDEM_ECONFIG;
    }
    if (result != 0) {
        catalog_unref(catalog);
        return result;
    }
    *ret_catalog = catalog;
    return 0;
}

void catalog_ref(struct catalog *catalog)
{
    catalog->references++;
}

void catalog_unref(struct catalog *catalog)
{
    if (!catalog || --catalog->references > 0) {
        return;
    }
    for (size_t i = 0; i < catalog->task_count; i++) {
        served_model_unref(catalog->tasks[i].model);
    }
    free(catalog->tasks);
    task_config_free(catalog->configs, catalog->config_count);
    free(catalog);
}

const struct served_task *catalog_find(const struct catalog *catalog, const char *name)
{
    for (size_t i = 0; i < catalog->task_count; i++) {
        if (strcmp(catalog->tasks[i].name, name) == 0) {
            return &catalog->tasks[i];
        }
    }
    return NULL;
}
