/* print_tasks.c: the tasks of a client: what runs here, how fast, and where else they may go. */
#include "client/ctl/print.h"
#include "client/ctl/member.h"

#include <string.h>

/* The file without its folder. */
static const char *model_of(const cJSON *task)
{
    const char *path = member_shown(member_get(task, "local"), "model"),
               *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static int edge_append(const cJSON *edge, struct buf *out)
{
    const char *name = member_shown(edge, "name"), *why = member_shown(edge, "why");
    const char *between = out->bytes > 0 ? "; " : "";

    return cJSON_IsTrue(member_get(edge, "ok")) ? buf_printf(out, "%s%s: ok", between, name)
                                                : buf_printf(out, "%s%s: %s", between, name, why);
}

static void edges_cell(struct table *table, const cJSON *task)
{
    const cJSON *edge;
    struct buf text;
    int result = 0;

    buf_init(&text, 0);
    cJSON_ArrayForEach(edge, member_get(task, "edges"))
    {
        result = result == 0 ? edge_append(edge, &text) : result;
    }
    table_cell_text(table, result, &text);
}

/* "38 of 40"; "-" of nothing. */
static void part_cell(struct table *table, const cJSON *object, const char *part, const char *whole)
{
    const double of = member_number_or_0(object, whole);

    if (of > 0) {
        table_cell(table, "%.0f of %.0f", member_number_or_0(object, part), of);
    } else {
        table_cell(table, "-");
    }
}

int print_tasks(const cJSON *tasks, const struct table_style *style, struct buf *out)
{
    static const struct table_column columns[] = {
        {.title = "name", .min_width = 8},
        {.title = "kind", .min_width = 8, .drop = 1},
        {.title = "local model", .drop = 3},
        {.title = "run_ms", .right = true},
        {.title = "agreed", .right = true, .drop = 2},
        {.title = "right", .right = true, .drop = 4},
        {.title = "edges"},
    };
    const cJSON *task;
    struct table table;
    char number[PRINT_NUMBER_BYTES];
    int result;

    table_init(&table, columns, sizeof(columns) / sizeof(columns[0]));
    table.wrap = true;
    cJSON_ArrayForEach(task, tasks)
    {
        table_cell(&table, "%s", member_shown(task, "name"));
        table_cell(&table, "%s", member_shown(task, "kind"));
        table_cell(&table, "%s", model_of(task));
        table_cell(&table, "%s",
                   print_number(member_get(member_get(task, "local"), "run_ms"), 2, number));
        part_cell(&table, member_get(task, "learned"), "agreed", "compared");
        part_cell(&table, member_get(task, "learned"), "right", "told");
        edges_cell(&table, task);
    }
    result = table_print(&table, style, out);
    table_fini(&table);
    return result;
}
