/* print_predictions.c: whether what was predicted for a client's tasks came true. */
#include "client/ctl/member.h"
#include "client/ctl/print.h"

#include <stdio.h>

static double number(const cJSON *object, const char *key)
{
    return member_number_or_0(object, key);
}

static void latency_row(struct table *table, const char *task, const char *kind, const char *name,
                        const cJSON *predictions)
{
    const cJSON *error = member_get(predictions, "median_error");

    if (!(number(predictions, "answers") > 0)) {
        return;
    }
    table_cell(table, "%s", task);
    table_cell(table, "latency of %s%s", kind, name);
    table_cell(table, "%.0f", number(predictions, "answers"));
    table_cell(table, "%.1f %%", 100 * number(predictions, "within_p95"));
    if (cJSON_IsNumber(error)) {
        table_cell(table, "%.1f %% (median)", 100 * error->valuedouble);
    } else {
        table_cell(table, "-"); /* all were given up */
    }
}

static void confidence_row(struct table *table, const char *task, const cJSON *calibration,
                           const char *by)
{
    if (!(number(calibration, "answers") > 0)) {
        return;
    }
    table_cell(table, "%s", task);
    table_cell(table, "confidence of local");
    table_cell(table, "%.0f", number(calibration, "answers"));
    table_cell(table, "-");
    table_cell(table, "%.3f (ECE, %s)", number(calibration, "ece"), by);
}

static void task_rows(struct table *table, const cJSON *task)
{
    const cJSON *confidence = member_get(task, "confidence"), *edge;
    const char *name = member_shown(task, "name");

    latency_row(table, name, "local", "", member_get(member_get(task, "local"), "predictions"));
    cJSON_ArrayForEach(edge, member_get(task, "edges"))
    {
        latency_row(table, name, "edge:", member_shown(edge, "name"),
                    member_get(edge, "predictions"));
    }
    confidence_row(table, name, member_get(confidence, "agreement"), "by agreement");
    confidence_row(table, name, member_get(confidence, "truth"), "as was told");
}

int print_predictions(const cJSON *tasks, const struct table_style *style, struct buf *out)
{
    static const struct table_column columns[] = {
        {.title = "name", .min_width = 8},
        {.title = "predicted"},
        {.title = "answers", .right = true},
        {.title = "within p95", .right = true},
        {.title = "off by"},
    };
    const cJSON *task;
    struct table table;
    int result = 0;

    table_init(&table, columns, sizeof(columns) / sizeof(columns[0]));
    table.wrap = true;
    cJSON_ArrayForEach(task, tasks)
    {
        task_rows(&table, task);
    }
    if (table.cell_count > 0) {
        result = buf_append_text(out, "\npredictions\n");
        result = result == 0 ? table_print(&table, style, out) : result;
    }
    table_fini(&table);
    return result;
}
