#include "client/ctl/replay_report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void replay_report_fini(struct replay_report *report)
{
    replay_totals_fini(&report->before);
    replay_totals_fini(&report->after);
}

static double difference_ms(const struct replay_difference *difference)
{
    return fabs(difference->after.cost - difference->before.cost);
}

/* Keeps it among the largest, of which there are few. */
static void difference_keep(struct replay_report *report, const struct replay_difference *news)
{
    size_t at = report->largest_count;

    while (at > 0 && difference_ms(&report->largest[at - 1]) < difference_ms(news)) {
        at--;
    }
    if (at == REPLAY_LARGEST || difference_ms(news) == 0) {
        return;
    }
    if (report->largest_count < REPLAY_LARGEST) {
        report->largest_count++;
    }
    memmove(&report->largest[at + 1], &report->largest[at],
            (report->largest_count - 1 - at) * sizeof(*news));
    report->largest[at] = *news;
}

static bool went_elsewhere(const struct replay_way *before, const struct replay_way *after)
{
    char from[REPLAY_PLACE_BYTES], to[REPLAY_PLACE_BYTES];

    replay_place(before, from);
    replay_place(after, to);
    return strcmp(from, to) != 0;
}

int replay_report_add(struct replay_report *report, const struct replay_record *record)
{
    const struct decide_weights weights = replay_weights(record, &report->options);
    struct replay_difference news = {.id = record->id};
    enum replay_result end;
    int result;

    memcpy(news.task, record->task, sizeof(news.task));
    replay_recorded(record, &weights, &news.before);
    end = replay_again(record, &report->options, &news.after);
    if (isnan(news.before.cost) || isnan(news.after.cost)) {
        report->unpriced++;
        return 0;
    }
    result = replay_totals_add(&report->before, &news.before);
    result = result == 0 ? replay_totals_add(&report->after, &news.after) : result;
    if (result != 0) {
        return result;
    }
    report->requests++;
    report->forced += end == REPLAY_FORCED;
    report->impossible += end == REPLAY_IMPOSSIBLE;
    report->changed += went_elsewhere(&news.before, &news.after);
    replay_moves_add(&report->moves, &news.before, &news.after);
    difference_keep(report, &news);
    return 0;
}

/* ---- JSON ---- */

static double share(double part, size_t whole)
{
    return whole > 0 ? part / (double)whole : NAN;
}

/* How many are at each place, before or after. */
static void places_json(const struct replay_report *report, bool after, struct json_writer *json)
{
    const struct replay_moves *moves = &report->moves;

    json_object_open(json, "routes");
    for (size_t i = 0; i < moves->count; i++) {
        const char *place = after ? moves->items[i].to : moves->items[i].from;
        uint64_t count = 0;
        bool told = false;

        for (size_t k = 0; k < moves->count; k++) {
            const char *other = after ? moves->items[k].to : moves->items[k].from;

            if (strcmp(place, other) == 0) {
                told = told || k < i;
                count += moves->items[k].count;
            }
        }
        if (!told) {
            json_uint(json, place, count);
        }
    }
    json_object_close(json);
}

static void totals_json(struct replay_report *report, bool after, struct json_writer *json)
{
    struct replay_totals *totals = after ? &report->after : &report->before;
    const size_t count = totals->count;

    json_object_open(json, after ? "replayed" : "recorded");
    json_double(json, "cost_ms", totals->cost);
    json_double(json, "cost_mean_ms", share(totals->cost, count));
    json_double(json, "latency_mean_ms", share(totals->latency_ms, count));
    json_double(json, "latency_p95_ms", replay_totals_quantile(totals, 0.95));
    json_double(json, "misses", totals->misses);
    json_double(json, "energy_j", totals->energy_known ? totals->energy_j : NAN);
    json_double(json, "megabytes", totals->megabytes);
    json_double(json, "errors", totals->errors);
    json_double(json, "agreement", share((double)totals->agreed, totals->compared));
    json_uint(json, "compared", totals->compared);
    json_object_open(json, "measured");
    json_double(json, "latency", share((double)totals->latency_measured, count));
    json_double(json, "megabytes", share((double)totals->bytes_measured, count));
    json_double(json, "errors", share((double)totals->error_measured, count));
    json_object_close(json);
    places_json(report, after, json);
    json_object_close(json);
}

static void largest_json(const struct replay_report *report, struct json_writer *json)
{
    char text[REPLAY_PLACE_BYTES];

    json_array_open(json, "largest");
    for (size_t i = 0; i < report->largest_count; i++) {
        const struct replay_difference *at = &report->largest[i];

        json_object_open(json, NULL);
        snprintf(text, sizeof(text), "%llu", (unsigned long long)at->id);
        json_text(json, "id", text);
        json_text(json, "task", at->task);
        replay_place(&at->before, text);
        json_text(json, "from", text);
        replay_place(&at->after, text);
        json_text(json, "to", text);
        json_double(json, "recorded_cost_ms", at->before.cost);
        json_double(json, "replayed_cost_ms", at->after.cost);
        json_double(json, "recorded_latency_ms", at->before.latency_ms);
        json_double(json, "replayed_latency_ms", at->after.latency_ms);
        json_bool(json, "latency_measured", at->after.latency_measured);
        json_object_close(json);
    }
    json_array_close(json);
}

static void moves_json(const struct replay_report *report, struct json_writer *json)
{
    json_array_open(json, "moves");
    for (size_t i = 0; i < report->moves.count; i++) {
        json_object_open(json, NULL);
        json_text(json, "from", report->moves.items[i].from);
        json_text(json, "to", report->moves.items[i].to);
        json_uint(json, "requests", report->moves.items[i].count);
        json_object_close(json);
    }
    json_array_close(json);
}

int replay_report_json(struct replay_report *report, struct buf *out)
{
    const struct decide_weights *weights = &report->options.weights;
    struct json_writer json;
    int result;

    json_begin(&json, out);
    json_object_open(&json, NULL);
    json_int(&json, "schema", 1);
    json_text(&json, "policy", replay_policy_names[report->options.policy]);
    json_text(&json, "prefer",
              report->options.prefer >= 0 ? prefer_names[report->options.prefer] : NULL);
    json_object_open(&json, "weights"); /* that were given; null: as recorded */
    json_double(&json, "one_miss_ms", weights->one_miss_ms);
    json_double(&json, "one_megabyte_ms", weights->one_megabyte_ms);
    json_double(&json, "one_error_ms", weights->one_error_ms);
    json_double(&json, "one_joule_ms", weights->one_joule_ms);
    json_object_close(&json);
    json_double(&json, "threshold", report->options.threshold);
    json_uint(&json, "requests", report->requests);
    json_uint(&json, "changed", report->changed);
    json_uint(&json, "forced", report->forced);
    json_uint(&json, "impossible", report->impossible);
    json_uint(&json, "unfinished", report->unfinished);
    json_uint(&json, "unpriced", report->unpriced);
    json_uint(&json, "bad_lines", report->bad_lines);
    totals_json(report, false, &json);
    totals_json(report, true, &json);
    moves_json(report, &json);
    largest_json(report, &json);
    json_object_close(&json);
    result = json_end(&json);
    return result == 0 ? buf_append_u8(out, '\n') : result;
}
