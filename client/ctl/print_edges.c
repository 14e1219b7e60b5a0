/* print_edges.c: the links to the edge nodes, a line each. */
#include "client/ctl/print.h"
#include "client/ctl/member.h"

#include "common/base/error.h"

#include <string.h>

/* "in 0.4 s"; "-" when nobody waits to try again. */
static void next_cell(struct table *table, const cJSON *edge)
{
    const cJSON *next_ms = member_get(edge, "next_attempt_ms");

    if (cJSON_IsNumber(next_ms)) {
        table_cell(table, "in %.1f s", next_ms->valuedouble / 1000);
    } else {
        table_cell(table, "-");
    }
}

/* What keeps it from being used: the link's own reason, and the tasks that it does not serve. */
static void why_cell(struct table *table, const cJSON *edge)
{
    const char *why = member_shown(edge, "why");
    const cJSON *task;
    struct buf text;
    int result;

    buf_init(&text, 0);
    result = strcmp(why, "-") == 0 ? 0 : buf_append_text(&text, why);
    cJSON_ArrayForEach(task, member_get(edge, "tasks_off"))
    {
        if (result == 0 && cJSON_IsString(task)) {
            result = buf_printf(&text, "%s%s", text.bytes > 0 ? "; " : "", task->valuestring);
        }
    }
    table_cell_text(table, result, &text);
}

static void edge_add(struct table *table, const cJSON *edge)
{
    const cJSON *load = member_get(edge, "load");
    char number[PRINT_NUMBER_BYTES];

    table_cell(table, "%s", member_shown(edge, "name"));
    table_cell(table, "%s", member_shown(edge, "url"));
    table_cell(table, "%s", member_shown(edge, "state"));
    table_cell(table, "%s", print_number(member_get(edge, "rtt_ms"), 2, number));
    table_cell(table, "%s", print_number(member_get(edge, "bandwidth_mbit_s"), 1, number));
    table_cell(table, "%s", print_number(member_get(load, "queued"), 0, number));
    table_cell(table, "%s", print_number(member_get(load, "predicted_wait_ms"), 1, number));
    next_cell(table, edge);
    why_cell(table, edge);
}

int print_edges(const cJSON *status, const struct table_style *style, struct buf *out)
{
    static const struct table_column columns[] = {
        {.title = "NAME", .min_width = 8},
        {.title = "URL", .drop = 5},
        {.title = "STATE", .min_width = 10},
        {.title = "RTT MS", .right = true},
        {.title = "MBIT/S", .right = true, .drop = 1},
        {.title = "QUEUED", .right = true, .drop = 4},
        {.title = "WAIT MS", .right = true, .drop = 2},
        {.title = "NEXT TRY", .drop = 3},
        {.title = "WHY"},
    };
    const cJSON *edges = member_get(status, "edges"), *edge;
    struct table table;
    int result;

    if (cJSON_GetArraySize(edges) == 0) {
        return buf_append_text(out, "no edges are configured\n");
    }
    table_init(&table, columns, sizeof(columns) / sizeof(columns[0]));
    table.wrap = true;
    cJSON_ArrayForEach(edge, edges)
    {
        edge_add(&table, edge);
    }
    result = table_print(&table, style, out);
    table_fini(&table);
    return result;
}
