/* bench_memory: what a token costs in the KV cache, for the paper's eight variants with the heads
 * of its 300M model (16 of 64): computed, as the page pool counts, and as the process grows.
 *
 *   bench_memory CSV FOLDER     FOLDER: where the random models are written
 */
#include "common/model/tool.h"
#include "tests/bench/kv_memory.h"

#include <unistd.h>

#define LAYERS       4
#define LAYERS_300M  20
#define TOKENS       2048
#define TEXT_(value) #value
#define TEXT(value)  TEXT_(value)

static int measure(const char *path, const struct kv_variant *variant,
                   struct kv_measured *ret_measured)
{
    const char *words[] = {"tandem-model", "synth",           "--shape",      "300M",
                           "--layers",     TEXT(LAYERS),      "--vocabulary", "256",
                           "--context",    TEXT(TOKENS),      "--projection", variant->projection,
                           "--kv-heads",   variant->kv_heads, path,           NULL};
    char error[ENGINE_ERROR_BYTES] = "";
    struct engine_model *model = NULL;
    int rc = tool_main(15, (char **)(uintptr_t)words, stderr, stderr) == TOOL_DONE ? 0 : -1;

    rc = rc ? rc : engine_model_open(path, &model, error);
    rc = rc ? rc : kv_memory_measure(model, TOKENS, ret_measured, error);
    if (rc != 0 && error[0]) {
        fprintf(stderr, "bench_memory: %s\n", error);
    }
    engine_model_unref(model);
    unlink(path);
    return rc;
}

static double less(double bytes, double plain)
{
    return 100 * (1 - bytes / plain);
}

int main(int argc, char **argv)
{
    FILE *csv = argc > 2 ? fopen(argv[1], "w") : NULL;
    struct kv_measured plain = {0};
    char path[512];

    if (!csv) {
        fprintf(stderr, "bench_memory CSV FOLDER\n");
        return 2;
    }
    snprintf(path, sizeof(path), "%s/kv-memory.gguf", argv[2]);
    fprintf(csv, "variant,projection,n_head,n_head_kv,head_dim,layers,tokens,computed_bytes_per_"
                 "token,allocator_bytes_per_token,rss_bytes_per_token,reduction_percent,rss_"
                 "reduction_percent\n");
    printf("KV bytes a token: 16 heads of 64, %d layers, %d tokens decoded; less than QKV in per "
           "cent; all %d layers of 300M\n%-8s %9s %9s %9s %9s %9s %9s\n",
           LAYERS, TOKENS, LAYERS_300M, "variant", "computed", "allocator", "memory", "less",
           "by memory", "300M");
    for (size_t i = 0; i < KV_VARIANTS; i++) {
        const struct kv_variant *variant = &kv_variants[i];
        struct kv_measured got;

        if (measure(path, variant, &got) != 0) {
            return 1;
        }
        plain = i == 0 ? got : plain;
        fprintf(csv, "%s,%s,16,%s,64,%d,%d,%llu,%llu,%.1f,%.3f,%.3f\n", variant->name,
                variant->projection, variant->kv_heads, LAYERS, TOKENS,
                (unsigned long long)got.computed_bytes, (unsigned long long)got.allocator_bytes,
                got.resident_bytes,
                less((double)got.allocator_bytes, (double)plain.allocator_bytes),
                less(got.resident_bytes, plain.resident_bytes));
        printf("%-8s %9llu %9llu %9.1f %9.3f %9.3f %9llu\n", variant->name,
               (unsigned long long)got.computed_bytes, (unsigned long long)got.allocator_bytes,
               got.resident_bytes, less((double)got.allocator_bytes, (double)plain.allocator_bytes),
               less(got.resident_bytes, plain.resident_bytes),
               (unsigned long long)got.allocator_bytes * LAYERS_300M / LAYERS);
    }
    return fclose(csv) == 0 ? 0 : 1;
}
