/* replay_text.c: a replay for people: what it comes to, who went where, and the largest
 * differences. */
#include "client/ctl/replay_report.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define FIGURE_BYTES 48

/* "m" all measured, "p" all predicted, "61 % m": so many of them measured. */
static void mark_text(size_t measured, size_t count, char text[FIGURE_BYTES])
{
    const double percent = count > 0 ? 100 * (double)measured / (double)count : 0;

    if (count == 0) {
        snprintf(text, FIGURE_BYTES, "-");
    } else if (measured == count) {
        snprintf(text, FIGURE_BYTES, "measured");
    } else if (measured == 0) {
        snprintf(text, FIGURE_BYTES, "predicted");
    } else {
        snprintf(text, FIGURE_BYTES, "%.0f %% measured", fmin(fmax(percent, 1), 99));
    }
}

/* One row: a figure before, after, the difference, and how much of `after` is measured. */
static void figure_row(struct table *table, const char *title, int decimals, double before,
                       double after, const char *mark)
{
    table_cell(table, "%s", title);
    if (isnan(before)) {
        table_cell(table, "-");
    } else {
        table_cell(table, "%.*f", decimals, before);
    }
    if (isnan(after)) {
        table_cell(table, "-");
    } else {
        table_cell(table, "%.*f", decimals, after);
    }
    if (isnan(before) || isnan(after)) {
        table_cell(table, "-");
    } else {
        table_cell(table, "%+.*f", decimals, after - before);
    }
    table_cell(table, "%s", mark);
}

static double mean(double sum, size_t count)
{
    return count > 0 ? sum / (double)count : NAN;
}

static double percent_agreed(const struct replay_totals *totals)
{
    return 100 * mean((double)totals->agreed, totals->compared);
}

static int totals_print(struct replay_report *report, const struct table_style *style,
                        struct buf *out)
{
    static const struct table_column columns[] = {{.title = "ALL REQUESTS"},
                                                  {.title = "RECORDED", .right = true},
                                                  {.title = "REPLAYED", .right = true},
                                                  {.title = "CHANGE", .right = true},
                                                  {.title = "REPLAYED FIGURE IS", .drop = 1}};
    struct replay_totals *b = &report->before, *a = &report->after;
    char latency[FIGURE_BYTES], bytes[FIGURE_BYTES], errors[FIGURE_BYTES], compared[FIGURE_BYTES];
    struct table table;
    int result;

    mark_text(a->latency_measured, a->count, latency);
    mark_text(a->bytes_measured, a->count, bytes);
    mark_text(a->error_measured, a->count, errors);
    snprintf(compared, sizeof(compared), "of %zu known", a->compared);
    table_init(&table, columns, sizeof(columns) / sizeof(columns[0]));
    figure_row(&table, "mean cost, ms", 2, mean(b->cost, b->count), mean(a->cost, a->count),
               "of the figures below");
    figure_row(&table, "mean latency, ms", 2, mean(b->latency_ms, b->count),
               mean(a->latency_ms, a->count), latency);
    figure_row(&table, "p95 latency, ms", 2, replay_totals_quantile(b, 0.95),
               replay_totals_quantile(a, 0.95), latency);
    figure_row(&table, "misses", 1, b->misses, a->misses, latency);
    figure_row(&table, "joule", 2, b->energy_known ? b->energy_j : NAN,
               a->energy_known ? a->energy_j : NAN, a->energy_known ? "predicted" : "-");
    figure_row(&table, "megabytes", 3, b->megabytes, a->megabytes, bytes);
    figure_row(&table, "expected errors", 1, b->errors, a->errors, errors);
    figure_row(&table, "agreement, %", 1, percent_agreed(b), percent_agreed(a), compared);
    result = table_print(&table, style, out);
    table_fini(&table);
    return result;
}

static int moves_print(const struct replay_report *report, const struct table_style *style,
                       struct buf *out)
{
    static const struct table_column columns[] = {{.title = "FROM"},
                                                  {.title = "TO"},
                                                  {.title = "REQUESTS", .right = true},
                                                  {.title = "SHARE", .right = true}};
    struct table table;
    int result;

    table_init(&table, columns, sizeof(columns) / sizeof(columns[0]));
    for (size_t i = 0; i < report->moves.count; i++) {
        const struct replay_move *move = &report->moves.items[i];

        table_cell(&table, "%s", move->from);
        table_cell(&table, "%s", strcmp(move->from, move->to) == 0 ? "(the same)" : move->to);
        table_cell(&table, "%zu", move->count);
        table_cell(&table, "%.1f %%", 100 * mean((double)move->count, report->requests));
    }
    result = table_print(&table, style, out);
    table_fini(&table);
    return result;
}

static int largest_print(const struct replay_report *report, const struct table_style *style,
                         struct buf *out)
{
    static const struct table_column columns[] = {
        {.title = "LARGEST CHANGES"},        {.title = "TASK"},
        {.title = "COST MS", .right = true}, {.title = "MS", .right = true},
        {.title = "THEN MS", .right = true}, {.title = "FROM > TO"}};
    struct table table;
    int result;

    table_init(&table, columns, sizeof(columns) / sizeof(columns[0]));
    table.wrap = true;
    for (size_t i = 0; i < report->largest_count; i++) {
        const struct replay_difference *at = &report->largest[i];
        char from[REPLAY_PLACE_BYTES], to[REPLAY_PLACE_BYTES];

        replay_place(&at->before, from);
        replay_place(&at->after, to);
        table_cell(&table, "%" PRIu64, at->id);
        table_cell(&table, "%s", at->task);
        table_cell(&table, "%+.1f", at->after.cost - at->before.cost);
        table_cell(&table, "%.1f", at->before.latency_ms);
        table_cell(&table, "%.1f%s", at->after.latency_ms, at->after.latency_measured ? "m" : "p");
        table_cell(&table, "%s > %s", from, to);
    }
    result = buf_append_u8(out, '\n');
    result = result == 0 ? table_print(&table, style, out) : result;
    result = result == 0 ? buf_append_text(out, "p: as predicted, m: measured\n") : result;
    table_fini(&table);
    return result;
}

/* Appends what `line` has, wrapped, and clears it; nothing where it is empty. */
static int line_print(int result, struct buf *line, const struct table_style *style,
                      struct buf *out)
{
    if (result == 0 && line->bytes > 0) {
        result = buf_append_u8(line, 0);
        result =
            result == 0 ? text_wrapped_append(out, (const char *)line->data, style->width) : result;
    }
    buf_clear(line);
    return result;
}

/* The counts that are not 0, after `title`; nothing where all are. */
static int counts_print(const char *title, const uint64_t *counts, const char *const *words,
                        size_t count, struct buf *out)
{
    bool any = false;
    int result = 0;

    for (size_t i = 0; result == 0 && i < count; i++) {
        if (counts[i] > 0) {
            result = buf_printf(out, "%s%" PRIu64 " %s", any ? ", " : title, counts[i], words[i]);
            any = true;
        }
    }
    return result;
}

/* "policy tandem, prefer battery": what differs from what was recorded. */
static int policy_print(const struct replay_options *options, struct buf *out)
{
    const struct decide_weights *weights = &options->weights;
    const double given[] = {weights->one_miss_ms, weights->one_megabyte_ms, weights->one_error_ms,
                            weights->one_joule_ms};
    bool other = false;
    int result = buf_printf(out, "policy %s", replay_policy_names[options->policy]);

    if (result == 0 && options->prefer >= 0) {
        result = buf_printf(out, ", prefer %s", prefer_names[options->prefer]);
    }
    for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++) {
        other = other || !isnan(given[i]);
    }
    return result == 0 && other ? buf_append_text(out, ", other weights") : result;
}

int replay_report_text(struct replay_report *report, const struct table_style *style,
                       struct buf *out)
{
    static const char *const kept_words[] = {"forced by their callers", "without another way"},
                             *const out_words[] = {"unfinished or at fault", "without a latency",
                                                   "lines that are no JSON"};
    const uint64_t kept[] = {report->forced, report->impossible},
                   out_of_it[] = {report->unfinished, report->unpriced, report->bad_lines};
    const double percent = 100 * mean((double)report->changed, report->requests);
    struct buf line;
    int result;

    buf_init(&line, 0);
    result = buf_printf(&line, "%" PRIu64 " requests, ", report->requests);
    result = result == 0 ? policy_print(&report->options, &line) : result;
    result = result == 0 ? buf_printf(&line, ": %" PRIu64 " (%.1f %%) would have gone elsewhere",
                                      report->changed, percent)
                         : result;
    result = line_print(result, &line, style, out);
    result = result == 0 ? counts_print("as recorded: ", kept, kept_words, 2, &line) : result;
    result = line_print(result, &line, style, out);
    result = result == 0 ? counts_print("left out: ", out_of_it, out_words, 3, &line) : result;
    result = line_print(result, &line, style, out);
    buf_fini(&line);
    result = result == 0 ? buf_append_u8(out, '\n') : result;
    result = result == 0 ? totals_print(report, style, out) : result;
    result = result == 0 ? buf_append_u8(out, '\n') : result;
    result = result == 0 ? moves_print(report, style, out) : result;
    return result == 0 && report->largest_count > 0 ? largest_print(report, style, out) : result;
}
