#include "client/daemon/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct local_file {
    atomic_uint references;
    struct stat state; /* of the file, before it was opened */
    uint32_t kind, threads;
    uint64_t kv_bytes;
};

static struct local_file *file_new(const char *path, uint32_t kind, uint32_t threads,
                                   uint64_t kv_bytes)
{
    struct local_file *file = calloc(1, sizeof(*file));

    if (file) {
        atomic_init(&file->references, 1);
        file->kind = kind;
        file->threads = threads;
        file->kv_bytes = kv_bytes;
        (void)stat(path, &file->state); /* all zero: equal to no file that is there */
    }
    return file;
}

static bool file_is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

bool local_model_share(struct local_model *from, const char *path, uint32_t kind, uint32_t threads,
                       uint64_t kv_bytes, struct local_model *ret_model)
{
    const struct engine_model_info *info;
    struct stat state;

    if (!from->file || from->file->kind != kind || from->file->threads != threads ||
        from->file->kv_bytes != kv_bytes || stat(path, &state) != 0 ||
        !file_is_same(&state, &from->file->state)) {
        return false;
    }
    info = engine_model_info(from->model);
    atomic_fetch_add(&from->file->references, 1);
    *ret_model = (struct local_model){.file = from->file,
                                      .model = from->model,
                                      .context = from->context,
                                      .pool = from->pool,
                                      .kind = kind,
                                      .labels = info->labels,
                                      .label_count = info->labels ? info->n_class : 0};
    for (int i = 0; i < STEP_KINDS; i++) {
        atomic_init(&ret_model->step_ns[i], atomic_load(&from->step_ns[i]));
    }
    return true;
}

int local_model_open(const char *path, uint32_t kind, uint32_t threads, uint64_t kv_bytes,
                     struct local_model *ret_model, char error[ENGINE_ERROR_BYTES])
{
    struct local_model model = {.kind = kind, .file = file_new(path, kind, threads, kv_bytes)};
    const struct engine_model_info *info;
    struct engine_context_params params = {
        .max_tokens = RUNNER_CHUNK_TOKENS, .max_sequences = 1, .threads = threads};
    int result;

    if (!model.file) {
        snprintf(error, ENGINE_ERROR_BYTES, "%.300s: out of memory", path);
        return TANDEM_ENOMEM;
    }
    result = engine_model_open(path, &model.model, error);
    if (result != 0) {
        free(model.file);
        return result;
    }
    info = engine_model_info(model.model);
    if ((kind == WIRE_CLASSIFY) != (info->architecture == ENGINE_VIT)) {
        snprintf(error, ENGINE_ERROR_BYTES,
                 "%.300s: a %.60s model does not serve this kind of task", path,
                 info->architecture_text);
        result = TANDEM_ECONFIG;
    } else if (kind == WIRE_GENERATE && !info->has_tokenizer) {
        snprintf(
            error, ENGINE_ERROR_BYTES,
            "%.300s: a model of architecture %.60s without a tokenizer does not serve tasks of "
            "kind generate",
            path, info->architecture_text);
        result = TANDEM_ECONFIG;
    }
    if (result == 0 && kind == WIRE_GENERATE) {
        result = engine_pool_new(model.model, ENGINE_KV_F16, kv_bytes, &model.pool, error);
    }
    if (result == 0) {
        result = engine_context_new(model.model, &params, &model.context, error);
    }
    if (result != 0) {
        local_model_close(&model);
        return result;
    }
    model.labels = info->labels;
    model.label_count = info->labels ? info->n_class : 0;
    *ret_model = model;
    return 0;
}

void local_model_close(struct local_model *model)
{
    if (model->file && atomic_fetch_sub(&model->file->references, 1) == 1) {
        engine_context_free(model->context);
        if (model->pool) {
            engine_pool_free(model->pool);
        }
        engine_model_unref(model->model);
        free(model->file);
    }
    memset(model, 0, sizeof(*model));
}
