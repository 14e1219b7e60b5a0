#include "client/daemon/runner.h"

#include <stdio.h>
#include <string.h>

int local_model_open(const char *path, uint32_t kind, uint32_t threads, uint64_t kv_bytes,
                     struct local_model *ret_model, char error[ENGINE_ERROR_BYTES])
{
    struct local_model model = {.kind = kind};
    const struct engine_model_info *info;
    struct engine_context_params params = {
        .max_tokens = RUNNER_CHUNK_TOKENS, .max_sequences = 1, .threads = threads};
    int result = engine_model_open(path, &model.model, error);

    if (result != 0) {
        return result;
    }
    info = engine_model_info(model.model);
    if ((kind == WIRE_CLASSIFY) != (info->architecture == ENGINE_VIT)) {
        snprintf(error, ENGINE_ERROR_BYTES,
                 "%.300s: a %.60s model does not serve this kind of task", path,
                 info->architecture_text);
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
    engine_context_free(model->context);
    if (model->pool) {
        engine_pool_free(model->pool);
    }
    engine_model_unref(model->model);
    memset(model, 0, sizeof(*model));
}
