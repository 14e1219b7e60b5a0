/* catalog.h: what this server serves: the tasks of one configuration and their models, opened, with
 * pages and scratch memory. A reload makes a new catalog that takes over the models that did not
 * change; models are reference counted, so that an old one lives until its last request has ended.
 * Loop thread; a compute thread reads a model while a job holds it. */
#ifndef TANDEM_SERVER_CATALOG_H
#define TANDEM_SERVER_CATALOG_H

#include "common/base/task_config.h"
#include "common/engine/engine.h"
#include "server/batcher.h"
#include "server/server_config.h"

struct served_model {
    unsigned references;
    struct engine_model *model;
    const struct engine_model_info *info;
    struct engine_pool *pool;       /* decoders, else NULL */
    struct engine_context *context; /* used by one step at a time */
    uint64_t pool_budget_bytes;
    uint32_t step_tokens, step_sequences; /* what the context was made for */
    struct batcher_rates rates;
    double tokens_per_byte; /* of prompts, moving mean; 0 unknown */
    double answer_tokens;   /* of answers, moving mean; 0 unknown */
    struct batcher batcher;
};
void served_model_ref(struct served_model *model);
void served_model_unref(struct served_model *model); /* NULL is fine */

struct served_task {
    const char *name; /* borrowed from the configuration */
    int kind;         /* enum task_kind */
    const char *const *labels;
    uint32_t label_count;
    char label_digest[33]; /* "" without labels */
    uint32_t max_new_tokens;
    struct served_model *model; /* one reference */
};

struct catalog {
    unsigned references; /* requests hold one for their task */
    struct task_config *configs;
    size_t config_count;
    struct served_task *tasks;
    size_t task_count;
};

/* Reads the task files and opens their edge models. `old` (may be NULL) is borrowed: its models are
 * taken over when the file has the same digest. One line in `error` on failure. *returns owned*
 * (one reference). */
int catalog_load(const struct server_config *config, const struct catalog *old,
                 struct catalog **ret_catalog, char error[ENGINE_ERROR_BYTES]);
void catalog_ref(struct catalog *catalog);
void catalog_unref(struct catalog *catalog); /* NULL is fine */
const struct served_task *catalog_find(const struct catalog *catalog, const char *name);

/* Hex XXH3-128 of `bytes`, 32 characters and a NUL. */
void digest_hex(const void *data, size_t bytes, char ret_hex[33]);

#endif
