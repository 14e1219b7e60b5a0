/* replay_totals.h: what many ways come to. Pure. Holds 8 bytes a request for the quantile. */
#ifndef TANDEM_POLICY_REPLAY_TOTALS_H
#define TANDEM_POLICY_REPLAY_TOTALS_H

#include "client/policy/replay.h"

struct replay_totals {
    size_t count;
    double cost, latency_ms, misses, megabytes, errors;
    double energy_j; /* of those where it is known */
    size_t energy_known;
    size_t compared, agreed; /* with an edge's answer beside it */
    size_t latency_measured, bytes_measured, error_measured;
    double *latencies; /* ms */
    size_t capacity;
};
void replay_totals_fini(struct replay_totals *totals);
/* A way whose cost is known. 0; TANDEM_ENOMEM; TANDEM_ETOOBIG after LIMIT_REPLAY_REQUESTS. */
int replay_totals_add(struct replay_totals *totals, const struct replay_way *way);
/* Nearest rank; sorts what is kept. NAN: none. */
double replay_totals_quantile(struct replay_totals *totals, double q);

/* How many requests went from one place to another. */
#define REPLAY_PLACE_BYTES (ROUTE_BYTES + 8)
struct replay_move {
    char from[REPLAY_PLACE_BYTES], to[REPLAY_PLACE_BYTES];
    size_t count;
};
#define REPLAY_PLACES (LIMIT_EDGES + 6) /* edges; local, cache, none; cascade in three ways */
struct replay_moves {
    struct replay_move items[REPLAY_PLACES * REPLAY_PLACES];
    size_t count;
    size_t others; /* of a file with more edges than a device has */
};
/* "local", "edge:den", "cascade stayed", "cascade asked", "cascade" where it is not known which. */
void replay_place(const struct replay_way *way, char ret_place[REPLAY_PLACE_BYTES]);
void replay_moves_add(struct replay_moves *moves, const struct replay_way *from,
                      const struct replay_way *to);

#endif
