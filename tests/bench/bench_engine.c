/* bench_engine: what the engine does in a second, for the shipped models and for random ones large
 * enough to be work.
 *
 *   bench_engine CSV FOLDER [MODEL.gguf...]     FOLDER: where the random models are written
 *
 * The tests are those of `tandem-model bench` (timing.h): pp512 tokens of prefill (fewer when the
 * context is shorter: pp64), tg128 tokens generated one by one (likewise), tg128@2048 the same
 * after 2048 tokens, batch8 one token each for eight sequences, image pictures (a picture counts as
 * one token). Rounds of all tests are interleaved and the best of each is kept, so that ratios of
 * one run mean something on a machine that does other work too. */
#include "common/model/timing.h"
#include "tests/bench/bench_model.h"

#include <stdlib.h>
#include <unistd.h>

#define ROUNDS  3
#define CASES   64
#define THREADS 2 /* most */

struct bench_case {
    struct engine_model *model;
    char name[64];
    struct timing_test test;
    const char *type;
    uint32_t threads;
    double per_second;
};

static void run(struct bench_case *bench)
{
    char error[ENGINE_ERROR_BYTES];
    double rate;

    if (timing_run(bench->model, &bench->test, bench->threads, &rate, error) != 0) {
        fprintf(stderr, "bench_engine: %s: %s\n", bench->name, error);
        exit(1);
    }
    bench->per_second = rate > bench->per_second ? rate : bench->per_second;
}

/* ---- which cases ---- */

static void cases_of(struct bench_case *cases, size_t *count, const char *path)
{
    struct bench_case bench = {0};
    char error[ENGINE_ERROR_BYTES];
    const char *stem = strrchr(path, '/');
    struct timing_test tests[TIMING_TESTS];
    size_t test_count;

    if (engine_model_open(path, &bench.model, error) != 0) {
        fprintf(stderr, "bench_engine: %s\n", error);
        exit(1);
    }
    snprintf(bench.name, sizeof bench.name, "%.*s", (int)strcspn(stem ? stem + 1 : path, "."),
             stem ? stem + 1 : path);
    bench.type = engine_model_info(bench.model)->type_text;
    test_count = timing_tests(engine_model_info(bench.model), 512, 128, tests);
    for (size_t i = 0; i < test_count; i++) {
        bench.test = tests[i];
        for (bench.threads = 1; bench.threads <= THREADS && *count < CASES; bench.threads++) {
            cases[(*count)++] = bench;
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
            run(&cases[i]);
        }
    }
    fprintf(csv, "model,type,threads,test,tokens_per_s\n");
    printf("%s\n%-16s %-4s %7s %-10s %12s\n", engine_kernels_text(), "model", "type", "threads",
           "test", "tokens/s");
    for (size_t i = 0; i < count; i++) {
        const struct bench_case *bench = &cases[i];
        const double ratio = bench->threads > 1 ? bench->per_second / cases[i - 1].per_second : 1;

        fprintf(csv, "%s,%s,%u,%s,%.1f\n", bench->name, bench->type, bench->threads,
                bench->test.name, bench->per_second);
        printf("%-16s %-4s %7u %-10s %12.1f  x%.2f\n", bench->name, bench->type, bench->threads,
               bench->test.name, bench->per_second, ratio);
    }
    for (size_t i = 0; i < count; i++) { /* the cases of one model stand together */
        if (i + 1 == count || cases[i + 1].model != cases[i].model) {
            engine_model_unref(cases[i].model);
        }
    }
    return fclose(csv) == 0 ? 0 : 1;
}
