#include "client/ctl/top_sums.h"
#include "client/ctl/decision_read.h"
#include "client/ctl/member.h"

#include "common/base/error.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static double time_ns(const cJSON *decision)
{
    const cJSON *value = member_get(decision, "time_unix_ns");

    return cJSON_IsString(value) ? strtod(value->valuestring, NULL)
                                 : member_number_or_0(decision, "time_unix_ns");
}

/* Counts one decision; its latency goes to *latency_ms when it was answered: 1, else 0. */
static size_t sum_add(struct top_sum *sum, const cJSON *decision, double *latency_ms)
{
    const cJSON *outcome = member_get(decision, "outcome"),
                *latency = member_get(outcome, "latency_ms");
    const char *route = member_text(outcome, "route");

    sum->asked++;
    if (!cJSON_IsObject(outcome) ||
        decision_is_beyond_routes((int)member_number_or_0(outcome, "error_code"))) {
        return 0;
    }
    sum->ended++;
    if (member_number_or_0(outcome, "error_code") != 0) {
        sum->failed++;
        return 0;
    }
    sum->in_time += cJSON_IsTrue(member_get(outcome, "met_deadline")) ? 1 : 0;
    sum->local += strcmp(route, "local") == 0;
    sum->edge += strncmp(route, "edge:", 5) == 0;
    sum->cache += strcmp(route, "cache") == 0;
    *latency_ms = cJSON_IsNumber(latency) ? latency->valuedouble : 0;
    return cJSON_IsNumber(latency) ? 1 : 0;
}

static int latency_compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The nearest rank of a sorted list. */
static double quantile(const double *sorted, size_t count, size_t percent)
{
    const size_t rank = (count * percent + 99) / 100;

    return count == 0 ? NAN : sorted[rank > 0 ? rank - 1 : 0];
}

/* Of the decisions of `sum->task` that began at `from_ns` or later. */
static void sum_fill(struct top_sum *sum, const cJSON *decisions, double from_ns)
{
    double latencies[TOP_DECISIONS];
    const cJSON *decision;
    size_t count = 0;

    cJSON_ArrayForEach(decision, decisions)
    {
        if (count < TOP_DECISIONS && time_ns(decision) >= from_ns &&
            (!sum->task || strcmp(member_text(decision, "task"), sum->task) == 0)) {
            count += sum_add(sum, decision, &latencies[count]);
        }
    }
    qsort(latencies, count, sizeof(*latencies), latency_compare);
    sum->p50_ms = quantile(latencies, count, 50);
    sum->p95_ms = quantile(latencies, count, 95);
}

static double window_of(const cJSON *status, const cJSON *decisions, double now_unix_ns)
{
    const double up_s = member_number_or_0(status, "uptime_s");
    const bool full = cJSON_GetArraySize(decisions) >= TOP_DECISIONS;

    if (full) {
        const double took_s = (now_unix_ns - time_ns(decisions->child)) / 1e9;

        return fmax(fmin(took_s, TOP_WINDOW_S), 0.01);
    }
    return fmax(fmin(up_s, TOP_WINDOW_S), 1);
}

int top_sums_make(const cJSON *status, const cJSON *decisions, double now_unix_ns,
                  struct top_sums *ret_sums)
{
    const cJSON *tasks = member_get(status, "tasks"), *task;
    struct top_sums sums = {.window_s = window_of(status, decisions, now_unix_ns), .count = 1};

    sums.items = calloc((size_t)cJSON_GetArraySize(tasks) + 1, sizeof(*sums.items));
    if (!sums.items) {
        return TANDEM_ENOMEM;
    }
    cJSON_ArrayForEach(task, tasks)
    {
        sums.items[sums.count++].task = member_shown(task, "name");
    }
    for (size_t i = 0; i < sums.count; i++) {
        sum_fill(&sums.items[i], decisions, now_unix_ns - sums.window_s * 1e9);
    }
    *ret_sums = sums;
    return 0;
}

void top_sums_fini(struct top_sums *sums)
{
    free(sums->items);
    *sums = (struct top_sums){0};
}

double top_share(size_t part, size_t whole)
{
    return whole == 0 ? NAN : (double)part / (double)whole;
}

/* Adds one number; NAN: null. */
static bool number_add(cJSON *object, const char *key, double number)
{
    return isnan(number) ? cJSON_AddNullToObject(object, key) != NULL
                         : cJSON_AddNumberToObject(object, key, number) != NULL;
}

static bool sum_add_to(cJSON *object, const struct top_sum *sum, double window_s)
{
    return object && number_add(object, "requests_per_s", (double)sum->asked / window_s) &&
           number_add(object, "in_time", top_share(sum->in_time, sum->ended)) &&
           number_add(object, "p50_ms", sum->p50_ms) && number_add(object, "p95_ms", sum->p95_ms) &&
           number_add(object, "local", top_share(sum->local, sum->ended)) &&
           number_add(object, "edge", top_share(sum->edge, sum->ended)) &&
           number_add(object, "cache", top_share(sum->cache, sum->ended)) &&
           number_add(object, "failed", top_share(sum->failed, sum->ended));
}

cJSON *top_sums_json(const struct top_sums *sums)
{
    cJSON *object = cJSON_CreateObject();
    cJSON *tasks;
    bool good = object && number_add(object, "window_s", sums->window_s) &&
                sum_add_to(cJSON_AddObjectToObject(object, "all"), &sums->items[0], sums->window_s);

    tasks = good ? cJSON_AddArrayToObject(object, "tasks") : NULL;
    for (size_t i = 1; tasks && i < sums->count; i++) {
        cJSON *task = cJSON_CreateObject();

        if (!task || !cJSON_AddItemToArray(tasks, task) ||
            !cJSON_AddStringToObject(task, "name", sums->items[i].task) ||
            !sum_add_to(task, &sums->items[i], sums->window_s)) {
            tasks = NULL;
        }
    }
    if (!tasks) {
        cJSON_Delete(object);
        return NULL;
    }
    return object;
}
