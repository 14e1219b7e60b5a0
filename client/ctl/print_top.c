#include "client/ctl/print_top.h"
#include "client/ctl/member.h"

#include "common/base/error.h"

#include <stdlib.h>
#include <string.h>

/* What the decisions of one task, or of all, came to. */
struct top_sum {
    size_t asked, ended, in_time, errors, local, edge;
    double latency_ms[TOP_DECISIONS];
    size_t latencies;
};

static const char *text_of(const cJSON *object, const char *key)
{
    const cJSON *value = member_get(object, key);

    return cJSON_IsString(value) ? value->valuestring : "-";
}

static double time_ns(const cJSON *decision)
{
    const cJSON *value = member_get(decision, "time_unix_ns");

    return cJSON_IsString(value) ? strtod(value->valuestring, NULL)
                                 : member_number_or_0(decision, "time_unix_ns");
}

static void sum_add(struct top_sum *sum, const cJSON *decision)
{
    const cJSON *outcome = member_get(decision, "outcome"),
                *latency = member_get(outcome, "latency_ms");
    const char *route = text_of(outcome, "route");

    sum->asked++;
    if (!cJSON_IsObject(outcome)) {
        return;
    }
    sum->ended++;
    if (member_number_or_0(outcome, "error_code") != 0) {
        sum->errors++;
        return;
    }
    sum->in_time += cJSON_IsTrue(member_get(outcome, "met_deadline")) ? 1 : 0;
    sum->local += strcmp(route, "local") == 0;
    sum->edge += strncmp(route, "edge:", 5) == 0;
    if (cJSON_IsNumber(latency) && sum->latencies < TOP_DECISIONS) {
        sum->latency_ms[sum->latencies++] = latency->valuedouble;
    }
}

static int latency_compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The nearest rank of a sorted list. */
static void quantile_cell(struct table *table, const struct top_sum *sum, size_t percent)
{
    const size_t rank = (sum->latencies * percent + 99) / 100;

    if (sum->latencies == 0) {
        table_cell(table, "-");
    } else {
        table_cell(table, "%.1f", sum->latency_ms[rank > 0 ? rank - 1 : 0]);
    }
}

static void share_cell(struct table *table, size_t part, size_t whole)
{
    if (whole == 0) {
        table_cell(table, "-");
    } else {
        table_cell(table, "%.1f %%", 100 * (double)part / (double)whole);
    }
}

/* One row, of the decisions of `task` (NULL: of all) that began at `from_ns` or later. */
static int sum_row(struct table *table, const cJSON *decisions, const char *task, double from_ns,
                   double seconds)
{
    struct top_sum *sum = calloc(1, sizeof(*sum));
    const cJSON *decision;

    if (!sum) {
        return TANDEM_ENOMEM;
    }
    cJSON_ArrayForEach(decision, decisions)
    {
        if (time_ns(decision) >= from_ns &&
            (!task || strcmp(text_of(decision, "task"), task) == 0)) {
            sum_add(sum, decision);
        }
    }
    qsort(sum->latency_ms, sum->latencies, sizeof(double), latency_compare);
    table_cell(table, "%s", task ? task : "all");
    table_cell(table, "%.1f", (double)sum->asked / seconds);
    share_cell(table, sum->in_time, sum->ended);
    quantile_cell(table, sum, 50);
    quantile_cell(table, sum, 95);
    share_cell(table, sum->local, sum->ended);
    share_cell(table, sum->edge, sum->ended);
    share_cell(table, sum->errors, sum->ended);
    free(sum);
    return 0;
}

static int tasks_print(const cJSON *status, const cJSON *decisions, double now_ns,
                       const struct table_style *style, struct buf *out)
{
    static const struct table_column columns[] = {
        {.title = "TASK", .min_width = 10},
        {.title = "REQ/S", .min_width = 6, .right = true},
        {.title = "IN TIME", .min_width = 7, .right = true},
        {.title = "P50 MS", .min_width = 6, .right = true},
        {.title = "P95 MS", .min_width = 6, .right = true},
        {.title = "HERE", .min_width = 7, .right = true},
        {.title = "AT EDGE", .min_width = 7, .right = true},
        {.title = "FAILED", .min_width = 7, .right = true},
    };
    const double oldest_ns = decisions && decisions->child ? time_ns(decisions->child) : now_ns;
    const bool full = cJSON_GetArraySize(decisions) >= TOP_DECISIONS;
    double seconds = TOP_WINDOW_S;
    const cJSON *task;
    struct table table;
    int result;

    /* When more came than are looked at, the time is as long as these took. */
    if (full && now_ns - oldest_ns < seconds * 1e9) {
        seconds = now_ns - oldest_ns > 1e7 ? (now_ns - oldest_ns) / 1e9 : 0.01;
    }
    if (member_number_or_0(status, "uptime_s") < seconds && !full) {
        seconds = member_number_or_0(status, "uptime_s") >= 1
                      ? member_number_or_0(status, "uptime_s")
                      : 1;
    }
    table_init(&table, columns, sizeof(columns) / sizeof(columns[0]));
    result = sum_row(&table, decisions, NULL, now_ns - seconds * 1e9, seconds);
    cJSON_ArrayForEach(task, member_get(status, "tasks"))
    {
        if (result == 0) {
            result =
                sum_row(&table, decisions, text_of(task, "name"), now_ns - seconds * 1e9, seconds);
        }
    }
    result = result == 0 ? buf_printf(out, "the last %.*f s\n", seconds < 10, seconds) : result;
    result = result == 0 ? table_print(&table, style, out) : result;
    table_fini(&table);
    return result;
}

static int rows_print(const cJSON *decisions, size_t rows, const struct table_style *style,
                      struct buf *out)
{
    const cJSON *decision = decisions ? decisions->child : NULL;
    struct print_decisions print;
    int result;

    print_decisions_init(&print, style);
    decision = decision ? decision->prev : NULL; /* cJSON: the last of the list */
    for (size_t i = 0; decision && i < rows; i++) {
        print_decisions_add(&print, decision);
        decision = decision == decisions->child ? NULL : decision->prev;
    }
    result = table_print(&print.table, style, out);
    print_decisions_fini(&print);
    return result;
}

static int head_print(const cJSON *status, struct buf *out)
{
    const long long up_s = (long long)member_number_or_0(status, "uptime_s");
    int result = text_clean_append(out, text_of(status, "daemon"), false);

    result = result == 0 ? buf_append_u8(out, ' ') : result;
    result = result == 0 ? text_clean_append(out, text_of(status, "version"), false) : result;
    return result == 0
               ? buf_printf(out, ", up %lld:%02lld:%02lld%s", up_s / 3600, up_s / 60 % 60,
                            up_s % 60,
                            cJSON_IsTrue(member_get(status, "draining")) ? ", draining" : "")
               : result;
}

int print_top_client(const cJSON *status, const cJSON *decisions, double now_unix_ns, size_t rows,
                     const struct table_style *style, struct buf *out)
{
    int result = head_print(status, out);

    if (result == 0) {
        result = buf_printf(
            out, ", %.0f applications, %.0f requests under way, %.0f since the start\n\n",
            member_number_or_0(status, "applications"), member_number_or_0(status, "in_flight"),
            member_number_or_0(member_get(status, "counters"), "requests"));
    }
    result = result == 0 ? tasks_print(status, decisions, now_unix_ns, style, out) : result;
    result = result == 0 ? buf_append_u8(out, '\n') : result;
    result = result == 0 ? print_edges(status, style, out) : result;
    result = result == 0 ? buf_append_u8(out, '\n') : result;
    return result == 0 ? rows_print(decisions, rows, style, out) : result;
}

/* ---- the server ---- */

static const struct {
    const char *title, *object, *key;
} server_rates[] = {
    {"ANSWERED/S", "requests", "answered"}, {"REFUSED/S", "requests", "refused"},
    {"FAILED/S", "requests", "failed"},     {"LATE/S", "requests", "late"},
    {"PICTURES/S", "batches", "pictures"},  {"TOKENS/S", "batches", "answer_tokens"},
};
#define SERVER_RATES (sizeof(server_rates) / sizeof(server_rates[0]))

static int rates_print(const cJSON *status, const cJSON *before, double seconds,
                       const struct table_style *style, struct buf *out)
{
    struct table_column columns[SERVER_RATES];
    struct table table;
    int result;

    for (size_t i = 0; i < SERVER_RATES; i++) {
        columns[i] = (struct table_column){.title = server_rates[i].title, .right = true};
    }
    table_init(&table, columns, SERVER_RATES);
    for (size_t i = 0; i < SERVER_RATES; i++) {
        const char *object = server_rates[i].object, *key = server_rates[i].key;
        const double news = member_number_or_0(member_get(status, object), key) -
                            member_number_or_0(member_get(before, object), key);

        table_cell(&table, "%.1f", seconds > 0 ? news / seconds : 0);
    }
    result = table_print(&table, style, out);
    table_fini(&table);
    return result;
}

static int served_print(const cJSON *status, const struct table_style *style, struct buf *out)
{
    static const struct table_column columns[] = {{.title = "TASK", .min_width = 10},
                                                  {.title = "KIND", .min_width = 8},
                                                  {.title = "KV PAGES IN USE", .right = true},
                                                  {.title = "MODEL"}};
    const cJSON *task;
    struct table table;
    int result;

    table_init(&table, columns, 4);
    cJSON_ArrayForEach(task, member_get(status, "tasks"))
    {
        const double pages = member_number_or_0(task, "kv_pages_total");

        table_cell(&table, "%s", text_of(task, "name"));
        table_cell(&table, "%s", text_of(task, "kind"));
        if (pages > 0) {
            table_cell(&table, "%.0f of %.0f", pages - member_number_or_0(task, "kv_pages_free"),
                       pages);
        } else {
            table_cell(&table, "-");
        }
        table_cell(&table, "%s", text_of(task, "model"));
    }
    result = table_print(&table, style, out);
    table_fini(&table);
    return result;
}

int print_top_server(const cJSON *status, const cJSON *before, double seconds,
                     const struct table_style *style, struct buf *out)
{
    const cJSON *requests = member_get(status, "requests");
    int result = head_print(status, out);

    if (result == 0) {
        result = buf_printf(
            out,
            ", %.0f connections\n%.0f requests run, %.0f wait, %.1f ms predicted for the next\n\n",
            member_number_or_0(status, "connections"), member_number_or_0(requests, "running"),
            member_number_or_0(requests, "queued"),
            member_number_or_0(member_get(status, "load"), "predicted_wait_us") / 1000);
    }
    result = result == 0 ? rates_print(status, before,
                                       before ? seconds : member_number_or_0(status, "uptime_s"),
                                       style, out)
                         : result;
    result = result == 0 ? buf_append_u8(out, '\n') : result;
    return result == 0 ? served_print(status, style, out) : result;
}
