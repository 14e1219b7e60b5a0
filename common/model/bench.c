/* bench.c: `tandem-model bench FILE`: tokens a second, as a table, CSV or JSON. */
#include "common/base/limits.h"
#include "common/model/progress.h"
#include "common/model/timing.h"
#include "common/model/tool.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

struct bench {
    struct timing_test tests[TIMING_TESTS];
    double per_second[TIMING_TESTS]; /* the best of all rounds */
    size_t count;
    uint32_t threads;
    char model[64]; /* the file's stem */
};

/* Rounds of all tests one after the other, so that their ratios mean something on a machine that
 * does other work too. */
static int rounds_run(struct tool *tool, struct bench *bench, char error[ENGINE_ERROR_BYTES])
{
    const uint64_t rounds = tool->options.rounds, all = rounds * bench->count;
    struct progress progress;
    const progress_fn show = progress_begin(&progress, tool->notes, "tests", 1);

    for (uint64_t i = 0; i < all; i++) {
        const size_t test = i % bench->count;
        double per_second;
        const int rc =
            timing_run(tool->model, &bench->tests[test], bench->threads, &per_second, error);

        if (rc != 0) {
            return rc;
        }
        if (per_second > bench->per_second[test]) {
            bench->per_second[test] = per_second;
        }
        if (show) {
            show(i + 1, all, &progress);
        }
    }
    return 0;
}

static void table_print(const struct tool *tool, const struct bench *bench)
{
    fprintf(tool->out, "%s\n%-20s %-5s %7s %-12s %12s\n", engine_kernels_text(), "model", "type",
            "threads", "test", "tokens/s");
    for (size_t i = 0; i < bench->count; i++) {
        fprintf(tool->out, "%-20s %-5s %7" PRIu32 " %-12s %12.1f\n", bench->model,
                engine_model_info(tool->model)->type_text, bench->threads, bench->tests[i].name,
                bench->per_second[i]);
    }
}

/* The columns of engine.csv. */
static void csv_print(const struct tool *tool, const struct bench *bench)
{
    fprintf(tool->out, "model,type,threads,test,tokens_per_s\n");
    for (size_t i = 0; i < bench->count; i++) {
        fprintf(tool->out, "%s,%s,%" PRIu32 ",%s,%.1f\n", bench->model,
                engine_model_info(tool->model)->type_text, bench->threads, bench->tests[i].name,
                bench->per_second[i]);
    }
}

static int json_print(const struct tool *tool, const struct bench *bench)
{
    struct json_writer json;
    struct buf buf;

    tool_json_begin(&json, &buf);
    json_text(&json, "model", bench->model);
    json_text(&json, "type", engine_model_info(tool->model)->type_text);
    json_uint(&json, "threads", bench->threads);
    json_text(&json, "kernels", engine_kernels_text());
    json_array_open(&json, "tests");
    for (size_t i = 0; i < bench->count; i++) {
        json_object_open(&json, NULL);
        json_text(&json, "test", bench->tests[i].name);
        json_double(&json, "tokens_per_s", bench->per_second[i]);
        json_object_close(&json);
    }
    json_array_close(&json);
    return tool_json_end(tool, &json, &buf);
}

int bench_run(struct tool *tool)
{
    const struct tool_options *options = &tool->options;
    const char *slash = strrchr(options->file, '/');
    const char *stem = slash ? slash + 1 : options->file;
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    struct bench bench = {.threads = (uint32_t)options->threads};
    char error[ENGINE_ERROR_BYTES] = "";

    if (bench.threads == 0) {
        bench.threads = processors > 1 ? (uint32_t)processors : 1;
        bench.threads = bench.threads > LIMIT_STEP_THREADS ? LIMIT_STEP_THREADS : bench.threads;
    }
    if (options->json && options->csv) {
        return tool_say(tool, TOOL_WRONG_USE, "bench: --json and --csv exclude each other");
    }
    if (options->rounds == 0) {
        return tool_say(tool, TOOL_WRONG_USE, "bench: -r is one round or more");
    }
    snprintf(bench.model, sizeof(bench.model), "%.*s", (int)strcspn(stem, "."), stem);
    bench.count = timing_tests(engine_model_info(tool->model), (uint32_t)options->prompt_tokens,
                               (uint32_t)options->generate_tokens, bench.tests);
    if (bench.count == 0) {
        return tool_say(tool, TOOL_WRONG_USE, "bench: -p 0 and -n 0 leave nothing to run");
    }
    if (rounds_run(tool, &bench, error) != 0) {
        return tool_say(tool, TOOL_FAILED, "%s: %s", options->file, error);
    }
    if (options->json) {
        return json_print(tool, &bench);
    }
    (options->csv ? csv_print : table_print)(tool, &bench);
    return TOOL_DONE;
}
