#include "tests/net/stream.h"

#include "common/base/clock.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void text_take(const cJSON *object, const char *key, char *text, size_t room)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

    snprintf(text, room, "%s", cJSON_IsString(item) ? item->valuestring : "");
}

static double number_of(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

void stream_decision_take(struct stream_records *records, const char *line)
{
    cJSON *decision = cJSON_Parse(line);
    char id[32];
    uint64_t number;

    text_take(decision, "id", id, sizeof(id));
    number = strtoull(id, NULL, 10);
    /* The answer of the same request was there before, or comes in this turn of the loop; it is
     * among the newest. */
    for (size_t i = records->count; number != 0 && i-- > 0;) {
        struct stream_record *record = &records->items[i];

        if (record->id == number) {
            text_take(decision, "route", record->route, sizeof(record->route));
            text_take(decision, "reason", record->reason, sizeof(record->reason));
            record->bytes_up =
                number_of(cJSON_GetObjectItemCaseSensitive(decision, "outcome"), "bytes_up");
            break;
        }
    }
    cJSON_Delete(decision);
}

void stream_status_take(struct stream_phase *phase, const char *line)
{
    cJSON *status = cJSON_Parse(line);
    const cJSON *edges = cJSON_GetObjectItemCaseSensitive(status, "edges");

    for (int i = 0; i < 2; i++) {
        const cJSON *edge = cJSON_GetArrayItem(edges, i);

        phase->estimate_mbit[i] = number_of(edge, "bandwidth_mbit_s");
        phase->estimate_rtt_ms[i] = number_of(edge, "rtt_ms");
        text_take(edge, "state", phase->state[i], sizeof(phase->state[i]));
    }
    cJSON_Delete(status);
}

static double ms_of(int64_t ns)
{
    return (double)ns / (double)NS_PER_MS;
}

void stream_csv_write(const struct stream_records *records, FILE *file)
{
    const int64_t zero_ns = records->phase_count > 0 ? records->phases[0].start_ns : 0;

    fprintf(file, "phase,start_ms,elapsed_ms,app,task,error,met,right,hedged,outcome,route,"
                  "bytes_up,id,reason\n");
    for (size_t i = 0; i < records->count; i++) {
        const struct stream_record *at = &records->items[i];

        fprintf(file, "%s,%.1f,%.1f,%u,%s,%d,%d,%d,%d,%s,%s,%.0f,%llu,%s\n",
                records->phases[at->phase].name, ms_of(at->start_ns - zero_ns),
                ms_of(at->end_ns - at->start_ns), at->app, at->picture ? "picture" : "command",
                at->error, at->met, at->right, at->hedged, at->outcome, at->route, at->bytes_up,
                (unsigned long long)at->id, at->reason);
    }
}

static int by_value(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

struct sums {
    unsigned requests, answered, errors, late, local, edge, right;
    double bytes_up;
    int64_t first_edge_ns; /* INT64_MAX: none */
    double *ms;
};

static void sums_add(struct sums *sums, const struct stream_record *at)
{
    const bool edge = at->error == 0 && strncmp(at->outcome, "edge:", 5) == 0;

    sums->requests++;
    sums->errors += at->error != 0;
    sums->bytes_up += isnan(at->bytes_up) ? 0 : at->bytes_up;
    if (at->error == 0) {
        sums->ms[sums->answered++] = ms_of(at->end_ns - at->start_ns);
    }
    sums->late += at->error == 0 && !at->met;
    sums->local += at->error == 0 && strcmp(at->outcome, "local") == 0;
    sums->right += at->right;
    sums->edge += edge;
    if (edge && at->met && at->end_ns < sums->first_edge_ns) {
        sums->first_edge_ns = at->end_ns;
    }
}

static void phase_print(const struct stream_records *records, unsigned phase, int64_t until_ns,
                        uint64_t wire_bytes, double *ms)
{
    const struct stream_phase *at = &records->phases[phase];
    const double s = (double)(until_ns - at->start_ns) / (double)NS_PER_S;
    struct sums sums = {.first_edge_ns = INT64_MAX, .ms = ms};

    for (size_t i = 0; i < records->count; i++) {
        if (records->items[i].phase == phase) {
            sums_add(&sums, &records->items[i]);
        }
    }
    qsort(ms, sums.answered, sizeof(ms[0]), by_value);
    printf("phase=%s seconds=%.1f requests=%u answered=%u errors=%u late=%u local=%u edge=%u "
           "right=%u p50_ms=%.1f p95_ms=%.1f max_ms=%.1f up_bytes=%.0f wire_kbit_s=%.0f "
           "first_edge_ms=%.0f",
           at->name, s, sums.requests, sums.answered, sums.errors, sums.late, sums.local, sums.edge,
           sums.right, sums.answered ? ms[sums.answered / 2] : NAN,
           sums.answered ? ms[sums.answered * 95 / 100] : NAN,
           sums.answered ? ms[sums.answered - 1] : NAN,
           sums.requests ? sums.bytes_up / sums.requests : 0,
           (double)(wire_bytes - at->wire_bytes) * 8 / 1000 / s,
           sums.first_edge_ns == INT64_MAX ? -1 : ms_of(sums.first_edge_ns - at->start_ns));
    for (int i = 0; i < 2 && at->state[i][0]; i++) {
        printf(" edge%d=%s estimate%d_mbit=%.2f rtt%d_ms=%.1f", i + 1, at->state[i], i + 1,
               at->estimate_mbit[i], i + 1, at->estimate_rtt_ms[i]);
    }
    printf("\n");
}

void stream_summary_print(const struct stream_records *records, int64_t end_ns, uint64_t wire_bytes)
{
    double *ms = malloc(sizeof(*ms) * (records->count + 1));

    for (unsigned i = 0; ms && i < records->phase_count; i++) {
        const bool last = i + 1 == records->phase_count;

        phase_print(records, i, last ? end_ns : records->phases[i + 1].start_ns,
                    last ? wire_bytes : records->phases[i + 1].wire_bytes, ms);
    }
    free(ms);
}
