/* kv_memory.h: what a token costs in the KV cache, measured three ways while a decoder decodes: as
 * computed from the shape, as the page pool counts its pages, and as the process's memory grows. */
#ifndef TANDEM_TESTS_KV_MEMORY_H
#define TANDEM_TESTS_KV_MEMORY_H

#include "common/engine/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

/* The eight language-model variants of "Do Transformers Need Three Projections?", with the groups
 * of its table for 16 heads; reductions are its 1 - g/2H and so on, in per cent. */
static const struct kv_variant {
    const char *name, *projection, *kv_heads;
    double reduction;
} kv_variants[] = {
    {"QKV", "QKV", "16", 0},      {"Q=K-V", "Q=K-V", "16", 0},     {"Q-K=V", "Q-K=V", "16", 50},
    {"Q=K=V", "Q=K=V", "16", 50}, {"GQA-4", "QKV", "4", 75},       {"Q-GQA-4", "Q-K=V", "4", 87.5},
    {"MQA", "QKV", "1", 93.75},   {"Q-MQA", "Q-K=V", "1", 96.875},
};
#define KV_CHUNK    128 /* tokens of a step of prefill */
#define KV_VARIANTS (sizeof(kv_variants) / sizeof(kv_variants[0]))

struct kv_measured {
    uint64_t computed_bytes;  /* of a token, from the shape */
    uint64_t allocator_bytes; /* pages taken times their size, over tokens */
    double resident_bytes;    /* growth of the process's own memory, over tokens */
    uint64_t tokens, wrong;   /* steps after which the pool had other pages than the tokens fill */
};

/* The process's own memory that is in use now, in bytes; 0 when the system does not say. */
static inline uint64_t kv_resident(void)
{
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    unsigned long long kilobytes = 0;
    char line[256];

    while (file && fgets(line, sizeof(line), file)) {
        if (sscanf(line, "Anonymous: %llu kB", &kilobytes) == 1) {
            break;
        }
    }
    if (file) {
        fclose(file);
    }
    return (uint64_t)kilobytes * 1024;
}

/* `count` tokens more, in one chunk; 0 or TANDEM_E*. Counts what the pool says in `measured`. */
static inline int kv_feed(struct engine_context *context, struct engine_seq *seq, uint32_t count,
                          struct kv_measured *measured)
{
    static const uint32_t tokens[KV_CHUNK] = {1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233};
    struct engine_chunk chunk = {.seq = seq, .tokens = tokens, .count = count};
    struct engine_pool_stats stats;
    const float *logits;
    int rc = engine_seq_reserve(seq, count);

    rc = rc ? rc : engine_step(context, &chunk, 1, NULL, &logits);
    engine_pool_stats(seq->pool, &stats);
    measured->wrong += stats.pages_total - stats.pages_free !=
                       (seq->length + ENGINE_PAGE_TOKENS - 1) / ENGINE_PAGE_TOKENS;
    return rc;
}

/* Decodes `tokens` tokens (more than 192, of which the last 64 come one by one) through the
 * model and looks. 0 or TANDEM_E* with a line. */
static inline int kv_memory_measure(struct engine_model *model, uint32_t tokens,
                                    struct kv_measured *ret_measured,
                                    char error[ENGINE_ERROR_BYTES])
{
    const struct engine_model_info *info = engine_model_info(model);
    const struct engine_context_params params = {
        .max_tokens = KV_CHUNK, .max_sequences = 1, .threads = 1};
    struct kv_measured measured = {.computed_bytes = info->kv_bytes_per_token, .tokens = tokens};
    struct engine_context *context = NULL;
    struct engine_pool *pool = NULL;
    struct engine_pool_stats stats;
    struct engine_seq warm, seq;
    uint64_t before = 0;
    int rc;

    /* a page of 2 MiB would hide what one of 4 KiB shows */
    (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    rc = engine_pool_new(model, ENGINE_KV_F16, info->kv_bytes_per_token * (tokens + KV_CHUNK),
                         &pool, error);
    rc = rc ? rc : engine_context_new(model, &params, &context, error);
    if (rc != 0) {
        engine_pool_free(pool);
        return rc;
    }
    /* the scratch memory of a step is in use before the first look; so are the warm pages, which
     * are the first that are taken again */
    engine_seq_init(&warm, pool);
    rc = kv_feed(context, &warm, KV_CHUNK, &measured);
    engine_seq_fini(&warm);
    engine_seq_init(&seq, pool);
    before = kv_resident();
    while (rc == 0 && seq.length < tokens) {
        const uint32_t alone = tokens - 64; /* from here on one by one */
        const uint32_t left = seq.length < alone ? alone - seq.length : 1;

        rc = kv_feed(context, &seq, left < KV_CHUNK ? left : KV_CHUNK, &measured);
    }
    measured.resident_bytes = ((double)kv_resident() - (double)before) / (tokens - KV_CHUNK);
    engine_pool_stats(pool, &stats);
    measured.allocator_bytes =
        (stats.pages_total - stats.pages_free) * stats.bytes_per_page / tokens;
    engine_seq_fini(&seq);
    engine_context_free(context);
    engine_pool_free(pool);
    if (rc != 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "a step failed: %s", tandem_error_text(rc));
        return rc;
    }
    *ret_measured = measured;
    return 0;
}

#endif
