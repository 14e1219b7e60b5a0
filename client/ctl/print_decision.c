#include "client/ctl/print.h"

#include "client/ctl/decision_pick.h"
#include "client/ctl/member.h"
#include "common/base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* "-" for anything but a text. */
static const char *bool_of(const cJSON *object, const char *key, const char *yes, const char *no)
{
    const cJSON *value = member_get(object, key);

    return cJSON_IsBool(value) ? (cJSON_IsTrue(value) ? yes : no) : "-";
}

/* Local time as `format` of strftime has it, and its milliseconds when asked for. */
static const char *time_of(const cJSON *decision, const char *format, bool with_milliseconds,
                           char ret_text[64])
{
    const cJSON *value = member_get(decision, "time_unix_ns");
    double ns = cJSON_IsNumber(value)   ? value->valuedouble
                : cJSON_IsString(value) ? strtod(value->valuestring, NULL)
                                        : 0;
    time_t seconds;
    int milliseconds;
    struct tm parts;
    size_t bytes;

    if (!(ns > 0 && ns < 9e18)) { /* before it is made a whole number */
        return strcpy(ret_text, "-");
    }
    seconds = (time_t)(ns / 1e9);
    milliseconds = (int)((ns - (double)seconds * 1e9) / 1e6);
    if (!localtime_r(&seconds, &parts)) {
        return strcpy(ret_text, "-");
    }
    bytes = strftime(ret_text, 40, format, &parts);
    if (with_milliseconds) {
        snprintf(ret_text + bytes, 64 - bytes, ".%03d", milliseconds % 1000);
    }
    return ret_text;
}

const char *print_time(const cJSON *decision, char ret_text[64])
{
    return time_of(decision, "%Y-%m-%d %H:%M:%S", true, ret_text);
}

/* "", or the name of the error the request ended in. */
static const char *error_of(const cJSON *outcome)
{
    const cJSON *value = member_get(outcome, "error_code");

    if (!cJSON_IsNumber(value) || value->valueint == 0) {
        return "";
    }
    return tandem_error_name(value->valueint) + strlen("TANDEM_");
}

#define WIDE_CHARACTERS 132

void print_decisions_init(struct print_decisions *decisions, const struct table_style *style)
{
    static const struct table_column wide[] = {
        {.title = "ID", .min_width = 6, .right = true},
        {.title = "TIME", .min_width = 12},
        {.title = "TASK", .min_width = 8},
        {.title = "ROUTE", .min_width = 10},
        {.title = "BY", .min_width = 10},
        {.title = "MS", .min_width = 8, .right = true},
        {.title = "P95", .min_width = 8, .right = true},
        {.title = "DEADLINE", .min_width = 8, .right = true},
        {.title = "END", .min_width = 4},
        {.title = "CONF", .min_width = 4, .right = true},
        {.title = "REASON"},
    };
    static const struct table_column narrow[] = {
        {.title = "ID", .min_width = 6},
        {.title = "TIME", .min_width = 8, .drop = 2},
        {.title = "TASK", .min_width = 8, .drop = 1},
        {.title = "ROUTE>BY", .min_width = 9},
        {.title = "MS", .min_width = 6, .right = true},
        {.title = "END", .min_width = 4},
        {.title = "REASON"},
    };

    decisions->wide = style->width == 0 || style->width >= WIDE_CHARACTERS;
    if (decisions->wide) {
        table_init(&decisions->table, wide, sizeof(wide) / sizeof(wide[0]));
    } else {
        table_init(&decisions->table, narrow, sizeof(narrow) / sizeof(narrow[0]));
    }
    decisions->table.wrap = true;
}

void print_decisions_fini(struct print_decisions *decisions)
{
    table_fini(&decisions->table);
}

/* How it ended: "ok", "late", an error's name, or "..." while it runs. */
static const char *end_of(const cJSON *outcome)
{
    const char *error = error_of(outcome);

    return !cJSON_IsObject(outcome) ? "..."
           : error[0]               ? error
                                    : bool_of(outcome, "met_deadline", "ok", "late");
}

static void wide_add(struct table *table, const cJSON *decision)
{
    const cJSON *outcome = member_get(decision, "outcome");
    char number[PRINT_NUMBER_BYTES], time_text[64];

    table_cell(table, "%s", member_shown(decision, "id"));
    table_cell(table, "%s", time_of(decision, "%H:%M:%S", true, time_text));
    table_cell(table, "%s", member_shown(decision, "task"));
    table_cell(table, "%s", member_shown(decision, "route"));
    table_cell(table, "%s", member_shown(outcome, "route"));
    table_cell(table, "%s", print_number(member_get(outcome, "latency_ms"), 2, number));
    table_cell(table, "%s", print_number(decision_p95(decision), 2, number));
    table_cell(table, "%s", print_number(member_get(decision, "deadline_ms"), 0, number));
    table_cell(table, "%s", end_of(outcome));
    table_cell(table, "%s", print_number(member_get(decision, "confidence"), 2, number));
    table_cell(table, "%s", member_shown(decision, "reason"));
}

static void narrow_add(struct table *table, const cJSON *decision)
{
    const cJSON *outcome = member_get(decision, "outcome"),
                *latency = member_get(outcome, "latency_ms");
    const char *route = member_shown(decision, "route"), *by = member_shown(outcome, "route");
    const bool same = strcmp(route, by) == 0 || strcmp(by, "-") == 0;
    char number[PRINT_NUMBER_BYTES], time_text[64];

    table_cell(table, "%s", member_shown(decision, "id"));
    table_cell(table, "%s", time_of(decision, "%H:%M:%S", false, time_text));
    table_cell(table, "%s", member_shown(decision, "task"));
    table_cell(table, "%s%s%s", route, same ? "" : ">", same ? "" : by);
    table_cell(table, "%s",
               print_number(latency, cJSON_IsNumber(latency) && latency->valuedouble >= 100 ? 0 : 1,
                            number));
    table_cell(table, "%s", end_of(outcome));
    table_cell(table, "%s", member_shown(decision, "reason"));
}

void print_decisions_add(struct print_decisions *decisions, const cJSON *decision)
{
    (decisions->wide ? wide_add : narrow_add)(&decisions->table, decision);
}

/* ---- one decision ---- */

/* Of the forms of a picture the cheapest is the one that was meant. */
static bool is_chosen(const cJSON *decision, const cJSON *candidate)
{
    const double cost = member_number_or_0(candidate, "cost");
    const char *route = member_shown(candidate, "route");
    const cJSON *other;
    bool before = true;

    if (strcmp(route, member_shown(decision, "route")) != 0) {
        return false;
    }
    cJSON_ArrayForEach(other, member_get(decision, "candidates"))
    {
        const double its = member_number_or_0(other, "cost");

        before = before && other != candidate;
        if (other != candidate && strcmp(member_shown(other, "route"), route) == 0 &&
            (its < cost || (before && its == cost))) {
            return false;
        }
    }
    return true;
}

/* "32x32 q90"; "-" of what goes as it came. */
static void form_cell(struct table *table, const cJSON *candidate)
{
    const cJSON *upload = member_get(candidate, "upload");

    if (cJSON_IsObject(upload)) {
        table_cell(table, "%.0fx%.0f q%.0f", member_number_or_0(upload, "width"),
                   member_number_or_0(upload, "height"), member_number_or_0(upload, "quality"));
    } else {
        table_cell(table, "-");
    }
}

static int print_candidates(const cJSON *decision, const struct table_style *style, struct buf *out)
{
    static const struct table_column columns[] = {
        {.title = " "},
        {.title = "ROUTE"},
        {.title = "SENT AS", .drop = 3},
        {.title = "MS", .right = true},
        {.title = "P95 MS", .right = true},
        {.title = "P(MISS)", .right = true, .drop = 1},
        {.title = "P(ERROR)", .right = true, .drop = 1},
        {.title = "JOULE", .right = true, .drop = 2},
        {.title = "BYTES", .right = true, .drop = 2},
        {.title = "COST MS", .right = true},
    };
    static const struct {
        const char *key;
        int decimals;
    } numbers[] = {{"latency_ms", 2},
                   {"latency_p95_ms", 2},
                   {"miss_probability", 3},
                   {"error_probability", 3},
                   {"energy_j", 4},
                   {"bytes", 0},
                   {"cost", 2}};
    const cJSON *candidate;
    struct table table;
    char number[PRINT_NUMBER_BYTES];
    int result;

    table_init(&table, columns, sizeof(columns) / sizeof(columns[0]));
    cJSON_ArrayForEach(candidate, member_get(decision, "candidates"))
    {
        table_cell(&table, "%s", is_chosen(decision, candidate) ? "*" : " ");
        table_cell(&table, "%s", member_shown(candidate, "route"));
        form_cell(&table, candidate);
        for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
            table_cell(
                &table, "%s",
                print_number(member_get(candidate, numbers[i].key), numbers[i].decimals, number));
        }
    }
    result = buf_append_text(out, "\npossible routes (* chosen)\n");
    if (result == 0) {
        result = table_print(&table, style, out);
    }
    table_fini(&table);
    return result;
}

struct outcome_line {
    const char *title;
    const char *key;
    int decimals;
    const char *unit;
};

/* What was not measured is not shown. */
static void outcome_lines_add(struct table *table, const cJSON *object,
                              const struct outcome_line *lines, size_t count)
{
    char number[PRINT_NUMBER_BYTES];

    for (size_t i = 0; i < count; i++) {
        const cJSON *value = member_get(object, lines[i].key);

        if (cJSON_IsNumber(value)) {
            table_cell(table, "%s", lines[i].title);
            table_cell(table, "%s %s", print_number(value, lines[i].decimals, number),
                       lines[i].unit);
        }
    }
}

static int print_outcome(const cJSON *decision, const struct table_style *style, struct buf *out)
{
    const cJSON *outcome = member_get(decision, "outcome"),
                *correct = member_get(decision, "correct");
    static const struct table_column columns[] = {{.title = "what", .min_width = 14},
                                                  {.title = "value"}};
    static const struct outcome_line lines[] = {
        {"waited here", "local_wait_ms", 2, "ms"},
        {"ran here", "local_run_ms", 2, "ms"},
        {"prepared", "prepare_ms", 2, "ms"},
        {"way up", "up_ms", 2, "ms"},
        {"of that capped", "paced_ms", 2, "ms"},
        {"waited at edge", "edge_wait_ms", 2, "ms"},
        {"ran at edge", "edge_run_ms", 2, "ms"},
        {"way down", "down_ms", 2, "ms"},
        {"sent", "bytes_up", 0, "bytes"},
        {"received", "bytes_down", 0, "bytes"},
        {"from cache", "cached_tokens", 0, "tokens"},
    };
    static const struct outcome_line wasted[] = {
        {"wasted here", "local_ms", 2, "ms"},
        {"wasted at edge", "edge_ms", 2, "ms"},
        {"wasted", "bytes", 0, "bytes"},
    };
    const char *error = error_of(outcome);
    struct table table;
    char number[PRINT_NUMBER_BYTES];
    int result;

    table_init(&table, columns, 2);
    table.without_titles = true;
    table.wrap = true;
    table_cell(&table, "answered by");
    table_cell(&table, "%s", member_shown(outcome, "route"));
    table_cell(&table, "latency");
    table_cell(&table, "%s ms, %s", print_number(member_get(outcome, "latency_ms"), 2, number),
               error[0] && strcmp(error, "ELATE") != 0
                   ? "failed"
                   : bool_of(outcome, "met_deadline", "in time", "late"));
    if (error[0]) {
        const char *text = member_text(outcome, "error_text");

        table_cell(&table, "error");
        table_cell(&table, "%s: %s", error,
                   text[0] ? text : tandem_error_text(member_get(outcome, "error_code")->valueint));
    }
    outcome_lines_add(&table, outcome, lines, sizeof(lines) / sizeof(lines[0]));
    outcome_lines_add(&table, member_get(decision, "wasted"), wasted,
                      sizeof(wasted) / sizeof(wasted[0]));
    if (cJSON_IsBool(correct)) {
        table_cell(&table, "it was");
        table_cell(&table, "%s", bool_of(decision, "correct", "right", "wrong"));
    }
    table_cell(&table, "model");
    table_cell(&table, "%s", member_shown(outcome, "model_digest"));
    result = buf_append_text(out, "\nwhat came of it\n");
    if (result == 0) {
        result = table_print(&table, style, out);
    }
    table_fini(&table);
    return result;
}

/* Of a task with a positive label. */
static void question_print(const cJSON *decision, struct table *table)
{
    static const char *const numbers[][2] = {{"stays under", "threshold_low"},
                                             {"stays from", "threshold_high"}};
    char number[PRINT_NUMBER_BYTES];

    if (!cJSON_IsString(member_get(decision, "positive_label"))) {
        return;
    }
    table_cell(table, "positive label");
    table_cell(table, "%s", member_shown(decision, "positive_label"));
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        table_cell(table, "%s", numbers[i][0]);
        table_cell(table, "%s", print_number(member_get(decision, numbers[i][1]), 3, number));
    }
}

int print_decision(const cJSON *decision, const struct table_style *style, struct buf *out)
{
    static const struct table_column columns[] = {{.title = "what", .min_width = 14},
                                                  {.title = "value"}};
    static const char *const texts[][2] = {
        {"decision", "id"}, {"task", "task"},     {"session", "session"}, {"tenant", "tenant"},
        {"route", "route"}, {"reason", "reason"}, {"reserve", "reserve"}};
    struct table table;
    char number[PRINT_NUMBER_BYTES], time_text[64];
    int result;

    table_init(&table, columns, 2);
    table.without_titles = true;
    table.wrap = true;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        table_cell(&table, "%s", texts[i][0]);
        table_cell(&table, "%s", member_shown(decision, texts[i][1]));
    }
    table_cell(&table, "time");
    table_cell(&table, "%s", time_of(decision, "%Y-%m-%d %H:%M:%S", true, time_text));
    table_cell(&table, "deadline");
    table_cell(&table, "%s ms", print_number(member_get(decision, "deadline_ms"), 0, number));
    table_cell(&table, "confidence");
    table_cell(&table, "%s", print_number(member_get(decision, "confidence"), 3, number));
    if (cJSON_IsBool(member_get(decision, "found"))) {
        table_cell(&table, "found");
        table_cell(&table, "%s", bool_of(decision, "found", "something", "nothing"));
    }
    if (cJSON_IsNumber(member_get(decision, "threshold"))) {
        table_cell(&table, "threshold");
        table_cell(&table, "%s", print_number(member_get(decision, "threshold"), 3, number));
    }
    question_print(decision, &table);
    table_cell(&table, "hedged");
    table_cell(&table, "%s", bool_of(decision, "hedged", "yes: both sides were started", "no"));
    result = table_print(&table, style, out);
    table_fini(&table);
    if (result == 0) {
        result = print_candidates(decision, style, out);
    }
    if (result != 0) {
        return result;
    }
    if (!cJSON_IsObject(member_get(decision, "outcome"))) {
        return buf_append_text(out, "\nstill running\n");
    }
    return print_outcome(decision, style, out);
}
