/* bench_latency: what a request costs beside the model: round trips library -> client daemon ->
 * local model and -> edge, next to bare echoes of the same bytes over TCP and over a Unix socket.
 * All of them take turns in one run, so that noise hits each alike. The model's own time comes from
 * the decision of the very request, so `overhead` is its round trip without its model. Run by
 * latency.sh.
 *
 *   bench_latency APP_SOCKET DECISIONS_FILE SAMPLES_FOLDER REQUESTS CSV */
#include "common/base/clock.h"
#include "common/base/stats.h"
#include "tests/bench/echo.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <tandem.h>

#define WARM_UP           10
#define REQUESTS_MAX      10000
#define LINE_BYTES        65536
#define PICTURE_BYTES_MAX (1u << 20)
#define DECISION_TRIES    100
#define DECISION_WAIT_US  50000
#define RUN_DEADLINE_MS   20000

enum way { WAY_LOCAL, WAY_EDGE, WAY_COUNT };
static const char *const way_routes[WAY_COUNT] = {"local", "edge"};
static const char *const way_run_keys[WAY_COUNT] = {"local_run_ms", "edge_run_ms"};

/* One request of one way: its id finds the decision later. */
struct sample {
    char id[32];
    double trip_us, run_us; /* run_us NAN until its decision is read */
};

struct task {
    const char *name;
    struct tandem_request request;
    uint32_t up_bytes,
        down_bytes; /* of the input and of the answer's content: what the echoes carry */
    struct sample *samples[WAY_COUNT];
    double *tcp_us, *unix_us;
};

struct bench {
    struct tandem *tandem;
    const char *decisions;
    size_t requests;
    struct echo tcp, unix_socket;
    FILE *csv;
};

/* Labels with their scores, or text. */
static uint32_t content_bytes(const struct tandem_answer *answer)
{
    size_t bytes = 0;

    (void)tandem_answer_text(answer, &bytes);
    for (size_t i = 0; i < tandem_answer_label_count(answer); i++) {
        bytes += strlen(tandem_answer_label(answer, i)) + sizeof(double);
    }
    return (uint32_t)bytes;
}

static int ask(struct bench *bench, struct task *task, enum way way, struct sample *sample)
{
    struct tandem_answer *answer = NULL;
    const int64_t started_ns = clock_now_ns();
    int result;

    task->request.route = way_routes[way];
    result = tandem_call(bench->tandem, &task->request, &answer);
    sample->trip_us = (double)(clock_now_ns() - started_ns) / 1e3;
    sample->run_us = NAN;
    if (result != 0) {
        fprintf(stderr, "bench_latency: %s %s: %s\n", task->name, way_routes[way],
                tandem_last_error(bench->tandem));
        return result;
    }
    snprintf(sample->id, sizeof(sample->id), "%s", tandem_answer_id(answer));
    if (strncmp(tandem_answer_outcome_route(answer), way_routes[way], strlen(way_routes[way])) !=
        0) {
        fprintf(stderr, "bench_latency: %s was to run %s but ran %s\n", task->name, way_routes[way],
                tandem_answer_outcome_route(answer));
        result = -1;
    }
    task->down_bytes = content_bytes(answer);
    tandem_answer_free(answer);
    return result;
}

/* ---- decisions: one JSON object a line, in the order of their ends ---- */

static double number_of(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

static void decision_apply(const cJSON *decision, struct task *task, size_t count)
{
    const char *id = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(decision, "id"));
    const cJSON *outcome = cJSON_GetObjectItemCaseSensitive(decision, "outcome");

    for (size_t i = 0; id && i < count; i++) {
        for (int way = 0; way < WAY_COUNT; way++) {
            struct sample *sample = &task->samples[way][i];

            if (strcmp(sample->id, id) == 0) {
                sample->run_us = number_of(outcome, way_run_keys[way]) * 1e3;
            }
        }
    }
}

static bool all_have_run_times(const struct task *task, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (isnan(task->samples[WAY_LOCAL][i].run_us) || isnan(task->samples[WAY_EDGE][i].run_us)) {
            return false;
        }
    }
    return true;
}

/* Reads what the daemon wrote of the first `count` samples; the answer may be here before its
 * decision is on disk. -1 when one of them has none. */
static int decisions_read(const struct bench *bench, struct task *task, size_t count)
{
    static char line[LINE_BYTES];

    for (int tries = 0; tries < DECISION_TRIES; tries++) {
        FILE *file = fopen(bench->decisions, "r");

        while (file && fgets(line, sizeof(line), file)) {
            cJSON *decision = cJSON_Parse(line);

            decision_apply(decision, task, count);
            cJSON_Delete(decision);
        }
        if (file) {
            fclose(file);
        }
        if (all_have_run_times(task, count)) {
            return 0;
        }
        usleep(DECISION_WAIT_US);
    }
    fprintf(stderr, "bench_latency: %s lacks a request of %s, or its model's time\n",
            bench->decisions, task->name);
    return -1;
}

/* ---- measuring ---- */

static int echo_time(const struct echo *echo, const struct task *task, double *ret_us)
{
    const int64_t started_ns = clock_now_ns();

    if (!echo_round(echo, task->up_bytes, task->down_bytes)) {
        fprintf(stderr, "bench_latency: the echo ended\n");
        return -1;
    }
    *ret_us = (double)(clock_now_ns() - started_ns) / 1e3;
    return 0;
}

static int warm_up(struct bench *bench, struct task *task)
{
    int result = 0;

    for (size_t i = 0; result == 0 && i < WARM_UP; i++) {
        result = ask(bench, task, WAY_LOCAL, &task->samples[WAY_LOCAL][i]);
        result = result == 0 ? ask(bench, task, WAY_EDGE, &task->samples[WAY_EDGE][i]) : result;
    }
    return result;
}

static int measure(struct bench *bench, struct task *task)
{
    const bool terminal = isatty(STDERR_FILENO) != 0;
    int result = warm_up(bench, task);

    for (size_t i = 0; result == 0 && i < bench->requests; i++) {
        if (terminal && i % 10 == 0) {
            fprintf(stderr, "\r%s %zu of %zu ", task->name, i, bench->requests);
        }
        /* The echoes change places: what ran just before one matters. */
        result = i % 2 ? echo_time(&bench->tcp, task, &task->tcp_us[i])
                       : echo_time(&bench->unix_socket, task, &task->unix_us[i]);
        result = result == 0 ? ask(bench, task, WAY_LOCAL, &task->samples[WAY_LOCAL][i]) : result;
        if (result == 0) {
            result = i % 2 ? echo_time(&bench->unix_socket, task, &task->unix_us[i])
                           : echo_time(&bench->tcp, task, &task->tcp_us[i]);
        }
        result = result == 0 ? ask(bench, task, WAY_EDGE, &task->samples[WAY_EDGE][i]) : result;
    }
    if (terminal) {
        fprintf(stderr, "\r\033[K");
    }
    return result == 0 ? decisions_read(bench, task, bench->requests) : result;
}

/* ---- reporting ---- */

struct quantiles {
    double p50, p95, p99;
};

static struct quantiles quantiles_of(double *us, size_t count)
{
    return (struct quantiles){quantile_of(us, count, 0.5), quantile_of(us, count, 0.95),
                              quantile_of(us, count, 0.99)};
}

static void row_write(const struct bench *bench, const struct task *task, const char *what,
                      struct quantiles trip, struct quantiles model, struct quantiles overhead,
                      double tcp_p50, double unix_p50)
{
    printf("%-9s %-6s %8.0f %8.0f %8.0f  ", task->name, what, trip.p50, trip.p95, trip.p99);
    if (isnan(model.p50)) {
        printf("%8s %8s %8s %8s %8s", "-", "-", "-", "-", "-");
    } else {
        printf("%8.0f %8.0f %8.0f %8.0f %8.3f", model.p50, overhead.p50, overhead.p95, overhead.p99,
               trip.p50 / model.p50);
    }
    printf(" %8.1f %8.1f\n", overhead.p50 / tcp_p50, overhead.p50 / unix_p50);
    fprintf(bench->csv, "%s,%s,%zu,%u,%u,%.1f,%.1f,%.1f,", task->name, what, bench->requests,
            task->up_bytes, task->down_bytes, trip.p50, trip.p95, trip.p99);
    if (isnan(model.p50)) {
        fprintf(bench->csv, ",%.1f,%.1f,%.1f,,", overhead.p50, overhead.p95, overhead.p99);
    } else {
        fprintf(bench->csv, "%.1f,%.1f,%.1f,%.1f,%.4f,", model.p50, overhead.p50, overhead.p95,
                overhead.p99, trip.p50 / model.p50);
    }
    fprintf(bench->csv, "%.3f,%.3f\n", overhead.p50 / tcp_p50, overhead.p50 / unix_p50);
}

static int report(const struct bench *bench, struct task *task)
{
    const struct quantiles none = {NAN, NAN, NAN};
    const struct quantiles tcp = quantiles_of(task->tcp_us, bench->requests);
    const struct quantiles local_socket = quantiles_of(task->unix_us, bench->requests);
    double *us = calloc(bench->requests, 3 * sizeof(double)); /* trip, model, overhead */

    if (!us) {
        return -1;
    }
    row_write(bench, task, "tcp", tcp, none, tcp, tcp.p50, local_socket.p50);
    row_write(bench, task, "unix", local_socket, none, local_socket, tcp.p50, local_socket.p50);
    for (int way = 0; way < WAY_COUNT; way++) {
        double *trip = us;
        double *model = us + bench->requests;
        double *overhead = us + 2 * bench->requests;

        for (size_t i = 0; i < bench->requests; i++) {
            trip[i] = task->samples[way][i].trip_us;
            model[i] = task->samples[way][i].run_us;
            overhead[i] = trip[i] - model[i];
        }
        row_write(bench, task, way_routes[way], quantiles_of(trip, bench->requests),
                  quantiles_of(model, bench->requests), quantiles_of(overhead, bench->requests),
                  tcp.p50, local_socket.p50);
    }
    free(us);
    return 0;
}

static int task_run(struct bench *bench, struct task *task)
{
    const size_t room = bench->requests > WARM_UP ? bench->requests : WARM_UP;
    bool whole;
    int result = -1;

    task->samples[WAY_LOCAL] = calloc(room, sizeof(struct sample));
    task->samples[WAY_EDGE] = calloc(room, sizeof(struct sample));
    task->tcp_us = calloc(room, sizeof(double));
    task->unix_us = calloc(room, sizeof(double));
    whole = task->samples[WAY_LOCAL] && task->samples[WAY_EDGE] && task->tcp_us && task->unix_us;
    task->request.deadline_ms = RUN_DEADLINE_MS;
    if (whole && measure(bench, task) == 0) {
        result = report(bench, task);
    }
    free(task->samples[WAY_LOCAL]);
    free(task->samples[WAY_EDGE]);
    free(task->tcp_us);
    free(task->unix_us);
    return result;
}

static int run(struct bench *bench, const char *samples)
{
    static uint8_t picture[PICTURE_BYTES_MAX];
    struct task objects = {.name = "objects"};
    struct task commands = {.name = "commands"};
    char path[512];
    FILE *file;

    snprintf(path, sizeof(path), "%s/cat-0153.jpg", samples);
    file = fopen(path, "rb");
    if (!file) {
        fprintf(stderr, "bench_latency: %s cannot be read\n", path);
        return -1;
    }
    tandem_request_init(&objects.request, "objects");
    objects.request.picture.data = picture;
    objects.request.picture.bytes = fread(picture, 1, sizeof(picture), file);
    objects.up_bytes = (uint32_t)objects.request.picture.bytes;
    fclose(file);
    tandem_request_init(&commands.request, "commands");
    commands.request.text = "turn right and look right twice";
    commands.up_bytes = (uint32_t)strlen(commands.request.text);
    printf("round trips of one request at a time, %zu of each, microseconds; overhead = round trip "
           "- the model's own time\n"
           "%-9s %-6s %8s %8s %8s  %8s %8s %8s %8s %8s %8s %8s\n",
           bench->requests, "", "", "trip p50", "p95", "p99", "model", "over p50", "p95", "p99",
           "trip/mod", "over/tcp", "over/unx");
    fprintf(
        bench->csv,
        "task,way,requests,bytes_up,bytes_down,trip_p50_us,trip_p95_us,trip_p99_us,model_p50_us,"
        "overhead_p50_us,"
        "overhead_p95_us,overhead_p99_us,trip_over_model,overhead_over_tcp,overhead_over_unix\n");
    return task_run(bench, &objects) == 0 ? task_run(bench, &commands) : -1;
}

int main(int argc, char **argv)
{
    struct bench bench = {0};
    const long asked = argc > 4 ? strtol(argv[4], NULL, 10) : 0;
    int result;

    if (argc != 6 || asked < 1 || asked > REQUESTS_MAX) {
        fprintf(stderr,
                "usage: bench_latency APP_SOCKET DECISIONS_FILE SAMPLES_FOLDER REQUESTS CSV (1 to "
                "%d requests)\n",
                REQUESTS_MAX);
        return 2;
    }
    bench.decisions = argv[2];
    bench.requests = (size_t)asked;
    bench.csv = fopen(argv[5], "w");
    if (!bench.csv || echo_tcp(&bench.tcp) != 0 || echo_unix(&bench.unix_socket) != 0) {
        fprintf(stderr, "bench_latency: %s or the echoes cannot be opened\n", argv[5]);
        return 1;
    }
    result = tandem_open(argv[1], &bench.tandem);
    if (result != 0) {
        fprintf(stderr, "bench_latency: %s\n", tandem_strerror(result));
    } else {
        result = run(&bench, argv[3]);
    }
    tandem_close(bench.tandem);
    echo_stop(&bench.tcp);
    echo_stop(&bench.unix_socket);
    if (fclose(bench.csv) != 0) {
        result = -1;
    }
    return result == 0 ? 0 : 1;
}
