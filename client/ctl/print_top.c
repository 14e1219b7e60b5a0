#include "client/ctl/print_top.h"
#include "client/ctl/member.h"

#include "common/base/error.h"

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* ---- the head ---- */

/* One line of parts, of which those are left out that the screen is too narrow for. */
struct head {
    struct buf *out;
    size_t width; /* 0: no limit */
    size_t used;
    int error;
};

static void head_say(struct head *head, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void head_say(struct head *head, const char *format, ...)
{
    const char *between = head->used > 0 ? ", " : "";
    va_list arguments;
    char part[160];
    size_t takes;

    va_start(arguments, format);
    (void)vsnprintf(part, sizeof(part), format, arguments);
    va_end(arguments);
    takes = strlen(between) + text_width(part);
    if (head->error == 0 && (head->width == 0 || head->used + takes <= head->width)) {
        head->error = buf_append_text(head->out, between);
        head->error = head->error == 0 ? text_clean_append(head->out, part, false) : head->error;
        head->used += takes;
    }
}

static int head_end(struct head *head)
{
    return head->error == 0 ? buf_append_u8(head->out, '\n') : head->error;
}

/* What both daemons say first. */
static struct head head_begin(const cJSON *status, const struct table_style *style, struct buf *out)
{
    struct head head = {.out = out, .width = style->width};
    const long long up_s = (long long)member_number_or_0(status, "uptime_s");

    head_say(&head, "%s %s", member_shown(status, "daemon"), member_shown(status, "version"));
    head_say(&head, "up %lld:%02lld:%02lld", up_s / 3600, up_s / 60 % 60, up_s % 60);
    if (cJSON_IsTrue(member_get(status, "draining"))) {
        head_say(&head, "draining");
    }
    return head;
}

static void head_count(struct head *head, const cJSON *object, const char *key, const char *what)
{
    const double count = member_number_or_0(object, key);

    head_say(head, "%.0f %s%s", count, what, count == 1 ? "" : "s");
}

/* ---- the client ---- */

static void share_cell(struct table *table, size_t part, size_t whole)
{
    const double share = top_share(part, whole);

    if (isnan(share)) {
        table_cell(table, "-");
    } else {
        table_cell(table, "%.1f %%", 100 * share);
    }
}

static void ms_cell(struct table *table, double ms)
{
    if (isnan(ms)) {
        table_cell(table, "-");
    } else {
        table_cell(table, "%.*f", ms >= 100 ? 0 : ms < 10 ? 2 : 1, ms);
    }
}

static int tasks_print(const struct top_sums *sums, const struct table_style *style,
                       struct buf *out)
{
    static const struct table_column columns[] = {
        {.title = "TASK", .min_width = 10},
        {.title = "REQ/S", .min_width = 6, .right = true},
        {.title = "IN TIME", .min_width = 7, .right = true},
        {.title = "P50 MS", .min_width = 6, .right = true, .drop = 1},
        {.title = "P95 MS", .min_width = 6, .right = true},
        {.title = "LOCAL", .min_width = 7, .right = true, .drop = 4},
        {.title = "EDGE", .min_width = 7, .right = true, .drop = 3},
        {.title = "CACHE", .min_width = 7, .right = true, .drop = 5},
        {.title = "FAILED", .min_width = 7, .right = true, .drop = 2},
    };
    struct table table;
    int result;

    table_init(&table, columns, sizeof(columns) / sizeof(columns[0]));
    for (size_t i = 0; i < sums->count; i++) {
        const struct top_sum *sum = &sums->items[i];

        table_cell(&table, "%s", sum->task ? sum->task : "all");
        table_cell(&table, "%.1f", (double)sum->asked / sums->window_s);
        share_cell(&table, sum->in_time, sum->ended);
        ms_cell(&table, sum->p50_ms);
        ms_cell(&table, sum->p95_ms);
        share_cell(&table, sum->local, sum->ended);
        share_cell(&table, sum->edge, sum->ended);
        share_cell(&table, sum->cache, sum->ended);
        share_cell(&table, sum->failed, sum->ended);
    }
    result = buf_printf(out, "the last %.*f s\n", sums->window_s < 10, sums->window_s);
    result = result == 0 ? table_print(&table, style, out) : result;
    table_fini(&table);
    return result;
}

/* That requests do not go as Tandem would send them; nothing where they do. */
static int mode_print(const cJSON *status, const struct table_style *style, struct buf *out)
{
    struct head head = {.out = out, .width = style->width};

    if (strcmp(member_text(status, "mode"), "observe") != 0) {
        return 0;
    }
    head_say(&head, "only observing: requests go %s", member_shown(status, "observe_route"));
    head_say(&head, "ROUTE says what would have been done");
    return head_end(&head);
}

struct unit {
    const char *name;
    double scale;
};

/* The largest of which there are ten, so that a hundredth of them is seen. */
static const struct unit *unit_of(const struct unit units[], size_t count, double amount)
{
    size_t at = count - 1;

    while (at > 0 && amount < 10 * units[at].scale) {
        at--;
    }
    return &units[at];
}

/* What was used of the hour's budgets; nothing where there is none. */
static int budget_print(const cJSON *status, const struct table_style *style, struct buf *out)
{
    static const struct {
        const char *key, *of;
        struct unit units[4];
    } kinds[] = {{"bytes", " to and from edges", {{"B", 1}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}}},
                 {"joule", "", {{"mJ", 1e-3}, {"joule", 1}, {"kJ", 1e3}, {"MJ", 1e6}}}};
    struct head head = {.out = out, .width = style->width};
    bool any = false;

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        const cJSON *budget = member_get(member_get(status, "budget"), kinds[i].key);
        const double limit = member_number_or_0(budget, "limit");
        const struct unit *unit = unit_of(kinds[i].units, 4, limit);

        if (cJSON_IsNumber(member_get(budget, "limit"))) {
            head_say(&head, "%s%.1f of %.1f %s%s", any ? "" : "this hour ",
                     member_number_or_0(budget, "used") / unit->scale, limit / unit->scale,
                     unit->name, kinds[i].of);
            any = true;
        }
    }
    return any ? head_end(&head) : head.error;
}

/* What runs for the record besides; nothing where nothing did. */
static int shadows_print(const cJSON *status, const struct table_style *style, struct buf *out)
{
    const cJSON *shadows = member_get(status, "shadows");
    const double local = member_number_or_0(shadows, "local"),
                 edge = member_number_or_0(shadows, "edge"),
                 under_way = member_number_or_0(shadows, "under_way");
    struct head head = {.out = out, .width = style->width};

    if (local + edge + under_way == 0) {
        return 0;
    }
    head_say(&head, "shadow runs: %.0f local", local);
    head_say(&head, "%.0f at an edge", edge);
    head_say(&head, "%.0f under way", under_way);
    return head_end(&head);
}

static size_t lines_count(const struct buf *text, size_t from)
{
    size_t lines = 0;

    for (size_t i = from; i < text->bytes; i++) {
        lines += text->data[i] == '\n';
    }
    return lines;
}

/* The newest first, as many as go on `lines` lines with their titles (0: `TOP_ROWS` of them). */
static int rows_print(const cJSON *decisions, size_t lines, const struct table_style *style,
                      struct buf *out)
{
    const cJSON *decision =
        decisions && decisions->child ? decisions->child->prev : NULL; /* last */
    const size_t rows = lines == 0 ? TOP_ROWS : lines > 1 ? lines - 1 : 1;
    struct print_decisions print;
    int result;

    print_decisions_init(&print, style);
    for (size_t i = 0; decision && i < rows; i++) {
        print_decisions_add(&print, decision);
        decision = decision == decisions->child ? NULL : decision->prev;
    }
    result = table_print(&print.table, style, out);
    print_decisions_fini(&print);
    return result;
}

int print_top_client(const cJSON *status, const struct top_sums *sums, const cJSON *decisions,
                     size_t lines, const struct table_style *style, struct buf *out)
{
    const size_t from = out->bytes;
    struct head head = head_begin(status, style, out);
    size_t used;
    int result;

    head_count(&head, member_get(status, "counters"), "requests", "request");
    head_say(&head, "%.0f under way", member_number_or_0(status, "in_flight"));
    head_count(&head, status, "applications", "application");
    result = head_end(&head);
    result = result == 0 ? mode_print(status, style, out) : result;
    result = result == 0 ? budget_print(status, style, out) : result;
    result = result == 0 ? shadows_print(status, style, out) : result;
    result = result == 0 ? buf_append_u8(out, '\n') : result;
    result = result == 0 ? tasks_print(sums, style, out) : result;
    result = result == 0 ? buf_append_u8(out, '\n') : result;
    result = result == 0 ? print_edges(status, style, out) : result;
    result = result == 0 ? buf_append_u8(out, '\n') : result;
    used = lines_count(out, from);
    return result == 0 ? rows_print(decisions,
                                    lines == 0     ? 0
                                    : lines > used ? lines - used
                                                   : 1,
                                    style, out)
                       : result;
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

/* Since `before`, or since the server started. */
static double server_rate(const cJSON *status, const cJSON *before, double seconds, size_t i)
{
    const char *object = server_rates[i].object, *key = server_rates[i].key;
    const double news = member_number_or_0(member_get(status, object), key) -
                        member_number_or_0(member_get(before, object), key);
    const double in_s = before ? seconds : member_number_or_0(status, "uptime_s");

    return in_s > 0 ? news / in_s : 0;
}

cJSON *top_server_json(const cJSON *status, const cJSON *before, double seconds)
{
    cJSON *object = cJSON_CreateObject();
    bool good = object &&
                cJSON_AddNumberToObject(object, "window_s",
                                        before ? seconds : member_number_or_0(status, "uptime_s"));

    for (size_t i = 0; good && i < SERVER_RATES; i++) {
        char key[64];

        snprintf(key, sizeof(key), "%s_per_s", server_rates[i].key);
        good = cJSON_AddNumberToObject(object, key, server_rate(status, before, seconds, i));
    }
    if (!good) {
        cJSON_Delete(object);
    }
    return good ? object : NULL;
}

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
        table_cell(&table, "%.1f", server_rate(status, before, seconds, i));
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

        table_cell(&table, "%s", member_shown(task, "name"));
        table_cell(&table, "%s", member_shown(task, "kind"));
        if (pages > 0) {
            table_cell(&table, "%.0f of %.0f", pages - member_number_or_0(task, "kv_pages_free"),
                       pages);
        } else {
            table_cell(&table, "-");
        }
        table_cell(&table, "%s", member_shown(task, "model"));
    }
    result = table_print(&table, style, out);
    table_fini(&table);
    return result;
}

int print_top_server(const cJSON *status, const cJSON *before, double seconds,
                     const struct table_style *style, struct buf *out)
{
    const cJSON *requests = member_get(status, "requests");
    struct head head = head_begin(status, style, out);
    int result;

    head_count(&head, status, "connections", "connection");
    result = head_end(&head);
    head = (struct head){.out = out, .width = style->width, .error = result};
    head_say(&head, "%.0f requests run", member_number_or_0(requests, "running"));
    head_say(&head, "%.0f wait", member_number_or_0(requests, "queued"));
    head_say(&head, "%.1f ms predicted for the next",
             member_number_or_0(member_get(status, "load"), "predicted_wait_us") / 1000);
    result = head_end(&head);
    result = result == 0 ? buf_append_u8(out, '\n') : result;
    result = result == 0 ? rates_print(status, before, seconds, style, out) : result;
    result = result == 0 ? buf_append_u8(out, '\n') : result;
    return result == 0 ? served_print(status, style, out) : result;
}
