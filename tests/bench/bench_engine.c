/* bench_engine: what the engine does in a second, for the shipped models and for random ones large
 * enough to be work.
 *
 *   bench_engine CSV FOLDER [MODEL.gguf...]     FOLDER: where the random models are written
 *
 * Tests: pp512 tokens of prefill (the largest chunk that fits, when the context is shorter: pp64),
 * tg128 tokens generated one by one (likewise), tg128@2048 the same after 2048 tokens, batch8 one
 * token each for eight sequences, image pictures (a picture counts as one token). Rounds of all
 * tests are interleaved and the best of each is kept, so that ratios of one run mean something on a
 * machine that does other work too. */
#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/engine/engine.h"
#include "tests/bench/bench_model.h"

#include <stdlib.h>
#include <unistd.h>

#define ROUNDS   3
#define CASES    64
#define THREADS  2 /* most */
#define BATCH    8
#define PICTURES 16

struct bench_case {
    struct engine_model *model;
    char name[64], test[16];
    const char *type;
    uint32_t threads, before, count; /* tokens in the cache before, tokens that are timed */
    int64_t (*run)(const struct bench_case *bench, struct engine_context *context);
    double per_second;
};

static struct engine_context *context_new(const struct bench_case *bench)
{
    const struct engine_context_params params = {
        .max_tokens = 512, .max_sequences = PICTURES, .threads = bench->threads};
    struct engine_context *context = NULL;
    char error[ENGINE_ERROR_BYTES];

    if (engine_context_new(bench->model, &params, &context, error) != 0) {
        fprintf(stderr, "bench_engine: %s\n", error);
        exit(1);
    }
    return context;
}

/* `count` tokens for each of `seqs`, in steps of `chunk`. */
static void feed(struct engine_context *context, const struct engine_model *model,
                 struct engine_seq *seqs, uint32_t sequences, uint32_t count, uint32_t chunk)
{
    const uint32_t vocabulary = engine_model_info(model)->n_vocab;
    struct engine_chunk chunks[BATCH];
    uint32_t tokens[512];
    const float *logits;

    for (uint32_t i = 0; i < 512; i++) {
        tokens[i] = i * 7919 % vocabulary;
    }
    for (uint32_t at = 0; at < count; at += chunk) {
        const uint32_t here = count - at < chunk ? count - at : chunk;

        for (uint32_t i = 0; i < sequences; i++) {
            chunks[i] = (struct engine_chunk){&seqs[i], tokens, here, ENGINE_LOGITS_LAST, 0};
            if (engine_seq_reserve(&seqs[i], here) != 0) {
                fprintf(stderr, "bench_engine: no pages\n");
                exit(1);
            }
        }
        if (engine_step(context, chunks, sequences, NULL, &logits) != 0) {
            fprintf(stderr, "bench_engine: a step failed\n");
            exit(1);
        }
    }
}

/* Nanoseconds of `count` tokens in steps of `chunk` after `before`. */
static int64_t tokens_time(const struct bench_case *bench, struct engine_context *context,
                           uint32_t sequences, uint32_t chunk)
{
    struct engine_pool *pool = NULL;
    struct engine_seq seqs[BATCH];
    char error[ENGINE_ERROR_BYTES];
    const struct engine_model_info *info = engine_model_info(bench->model);
    const uint64_t pages = (info->n_context + ENGINE_PAGE_TOKENS - 1) / ENGINE_PAGE_TOKENS * BATCH;
    int64_t start;

    if (engine_pool_new(bench->model, ENGINE_KV_F16, pages * info->kv_bytes_per_page, &pool,
                        error)) {
        fprintf(stderr, "bench_engine: %s\n", error);
        exit(1);
    }
    for (uint32_t i = 0; i < sequences; i++) {
        engine_seq_init(&seqs[i], pool);
    }
    feed(context, bench->model, seqs, sequences, bench->before, 512 / sequences);
    feed(context, bench->model, seqs, sequences, 1, 1); /* warm */
    start = clock_now_ns();
    feed(context, bench->model, seqs, sequences, bench->count / sequences, chunk);
    start = clock_now_ns() - start;
    for (uint32_t i = 0; i < sequences; i++) {
        engine_seq_fini(&seqs[i]);
    }
    engine_pool_free(pool);
    return start;
}

static int64_t run_prefill(const struct bench_case *bench, struct engine_context *context)
{
    return tokens_time(bench, context, 1, 512);
}

static int64_t run_decode(const struct bench_case *bench, struct engine_context *context)
{
    return tokens_time(bench, context, 1, 1);
}

static int64_t run_batch(const struct bench_case *bench, struct engine_context *context)
{
    return tokens_time(bench, context, BATCH, 1);
}

static int64_t run_pictures(const struct bench_case *bench, struct engine_context *context)
{
    const size_t floats = engine_picture_floats(bench->model);
    float *picture = calloc(floats, sizeof(float));
    const float *pixels[PICTURES], *logits;
    int64_t start;

    for (int i = 0; i < PICTURES; i++) {
        pixels[i] = picture;
    }
    for (size_t i = 0; i < floats; i++) {
        picture[i] = (float)(i * 7919 % 255) / 128 - 1;
    }
    start = clock_now_ns();
    if (engine_encode_pictures(context, pixels, bench->count, NULL, &logits) != 0) {
        fprintf(stderr, "bench_engine: a picture failed\n");
        exit(1);
    }
    start = clock_now_ns() - start;
    free(picture);
    return start;
}

/* ---- which cases ---- */

static void case_add(struct bench_case *cases, size_t *count, struct bench_case bench)
{
    for (uint32_t threads = 1; threads <= THREADS && *count < CASES; threads++) {
        bench.threads = threads;
        cases[(*count)++] = bench;
    }
}

static void cases_of(struct bench_case *cases, size_t *count, const char *path)
{
    struct bench_case bench = {0};
    char error[ENGINE_ERROR_BYTES];
    const struct engine_model_info *info;
    const char *stem = strrchr(path, '/');
    uint32_t room;

    if (engine_model_open(path, &bench.model, error) != 0) {
        fprintf(stderr, "bench_engine: %s\n", error);
        exit(1);
    }
    info = engine_model_info(bench.model);
    snprintf(bench.name, sizeof bench.name, "%.*s", (int)strcspn(stem ? stem + 1 : path, "."),
             stem ? stem + 1 : path);
    bench.type = info->type_text;
    if (info->architecture == ENGINE_VIT) {
        bench.run = run_pictures;
        bench.count = PICTURES;
        strcpy(bench.test, "image");
        case_add(cases, count, bench);
    } else if (engine_is_decoder(info->architecture)) {
        room = info->n_context - 1;
        bench.count = room < 512 ? room / 8 * 8 : 512;
        bench.run = run_prefill;
        snprintf(bench.test, sizeof bench.test, "pp%u", bench.count);
        case_add(cases, count, bench);
        bench.count = room < 128 ? room / 8 * 8 : 128;
        bench.run = run_decode;
        snprintf(bench.test, sizeof bench.test, "tg%u", bench.count);
        case_add(cases, count, bench);
        bench.run = run_batch;
        strcpy(bench.test, "batch8");
        case_add(cases, count, bench);
        if (room >= 2048 + bench.count) {
            bench.before = 2048;
            bench.run = run_decode;
            snprintf(bench.test, sizeof bench.test, "tg%u@2048", bench.count);
            case_add(cases, count, bench);
        }
    }
}

static void random_models(struct bench_case *cases, size_t *count, const char *folder)
{
    static const struct {
        const char *name;
        bool v_is_k, f16;
    } models[] = {{"random-qkv-f16", false, true},
                  {"random-kv-f16", true, true},
                  {"random-kv-f32", true, false}};

    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        const struct bench_shape shape = {.layers = 4,
                                          .width = 384,
                                          .inner = 1536,
                                          .heads = 6,
                                          .context = 2304,
                                          .vocabulary = 4096,
                                          .v_is_k = models[i].v_is_k,
                                          .f16 = models[i].f16};
        char path[512];

        snprintf(path, sizeof path, "%s/%s.gguf", folder, models[i].name);
        if (bench_model_write(path, &shape) != 0) {
            fprintf(stderr, "bench_engine: cannot write %s\n", path);
            exit(1);
        }
        cases_of(cases, count, path);
        unlink(path);
    }
}

int main(int argc, char **argv)
{
    static struct bench_case cases[CASES];
    size_t count = 0;
    char error[ENGINE_ERROR_BYTES];
    FILE *csv = argc > 2 ? fopen(argv[1], "w") : NULL;

    if (!csv || engine_self_check(error) != 0) {
        fprintf(stderr, "%s\n", csv ? error : "bench_engine CSV FOLDER [MODEL.gguf...]");
        return csv ? 1 : 2;
    }
    for (int i = 3; i < argc; i++) {
        cases_of(cases, &count, argv[i]);
    }
    random_models(cases, &count, argv[2]);
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < count; i++) {
            struct engine_context *context = context_new(&cases[i]);
            const double rate = cases[i].count * 1e9 / (double)cases[i].run(&cases[i], context);

            cases[i].per_second = rate > cases[i].per_second ? rate : cases[i].per_second;
            engine_context_free(context);
        }
    }
    fprintf(csv, "model,type,threads,test,tokens_per_s\n");
    printf("%s\n%-16s %-4s %7s %-10s %12s\n", engine_kernels_text(), "model", "type", "threads",
           "test", "tokens/s");
    for (size_t i = 0; i < count; i++) {
        const struct bench_case *bench = &cases[i];
        const double ratio = bench->threads > 1 ? bench->per_second / cases[i - 1].per_second : 1;

        fprintf(csv, "%s,%s,%u,%s,%.1f\n", bench->name, bench->type, bench->threads, bench->test,
                bench->per_second);
        printf("%-16s %-4s %7u %-10s %12.1f  x%.2f\n", bench->name, bench->type, bench->threads,
               bench->test, bench->per_second, ratio);
    }
    for (size_t i = 0; i < count; i++) { /* the cases of one model stand together */
        if (i + 1 == count || cases[i + 1].model != cases[i].model) {
            engine_model_unref(cases[i].model);
        }
    }
    return fclose(csv) == 0 ? 0 : 1;
}
