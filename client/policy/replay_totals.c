#include "client/policy/replay_totals.h"

#include "common/base/error.h"
#include "common/base/stats.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_PER_MEGABYTE 1e6

void replay_totals_fini(struct replay_totals *totals)
{
    free(totals->latencies);
    *totals = (struct replay_totals){0};
}

static int latency_keep(struct replay_totals *totals, double latency_ms)
{
    if (totals->count == LIMIT_REPLAY_REQUESTS) {
        return TANDEM_ETOOBIG;
    }
    if (totals->count == totals->capacity) {
        const size_t capacity = totals->capacity ? 2 * totals->capacity : 1024;
        double *latencies = realloc(totals->latencies, capacity * sizeof(*latencies));

        if (!latencies) {
            return TANDEM_ENOMEM;
        }
        totals->latencies = latencies;
        totals->capacity = capacity;
    }
    totals->latencies[totals->count++] = latency_ms;
    return 0;
}

int replay_totals_add(struct replay_totals *totals, const struct replay_way *way)
{
    const int result = latency_keep(totals, way->latency_ms);

    if (result != 0) {
        return result;
    }
    totals->cost += way->cost;
    totals->latency_ms += way->latency_ms;
    totals->misses += way->miss;
    totals->megabytes += way->bytes / BYTES_PER_MEGABYTE;
    totals->errors += way->error;
    totals->energy_j += isnan(way->energy_j) ? 0 : way->energy_j;
    totals->energy_known += isnan(way->energy_j) ? 0 : 1;
    totals->compared += way->agreed >= 0;
    totals->agreed += way->agreed > 0;
    totals->latency_measured += way->latency_measured;
    totals->bytes_measured += way->bytes_measured;
    totals->error_measured += way->error_measured;
    return 0;
}

double replay_totals_quantile(struct replay_totals *totals, double q)
{
    return quantile_of(totals->latencies, totals->count, q);
}

void replay_place(const struct replay_way *way, char ret_place[REPLAY_PLACE_BYTES])
{
    const char *how = "";

    if (strcmp(way->route, "cascade") == 0 && way->by[0]) {
        how = strcmp(way->by, "local") == 0 ? " stayed" : " asked";
    }
    snprintf(ret_place, REPLAY_PLACE_BYTES, "%s%s", way->route, how);
}

void replay_moves_add(struct replay_moves *moves, const struct replay_way *from,
                      const struct replay_way *to)
{
    struct replay_move move = {.count = 1};

    replay_place(from, move.from);
    replay_place(to, move.to);
    for (size_t i = 0; i < moves->count; i++) {
        if (strcmp(moves->items[i].from, move.from) == 0 &&
            strcmp(moves->items[i].to, move.to) == 0) {
            moves->items[i].count++;
            return;
        }
    }
    if (moves->count == REPLAY_PLACES * REPLAY_PLACES) {
        moves->others++;
        return;
    }
    moves->items[moves->count++] = move;
}
