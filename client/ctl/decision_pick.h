/* decision_pick.h: which of many decisions a person wants to see: those that fit, of them the last
 * or the slowest. Holds no more than it will show. One thread. */
#ifndef TANDEM_CTL_DECISION_PICK_H
#define TANDEM_CTL_DECISION_PICK_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct decision_filter {
    const char *task, *route;   /* borrowed; NULL: any. "edge" is every edge */
    bool missed;                /* only those that came late or failed, not by their own fault */
    int64_t since_ns, until_ns; /* of time_unix_ns, as the daemon has them; until_ns 0: no end */
};
bool decision_filter_takes(const struct decision_filter *filter, const cJSON *decision);

/* What came of all that were taken. */
struct decision_sums {
    uint64_t beyond;            /* cancelled, superseded or at fault: in none of the others */
    uint64_t ended, missed;     /* all others */
    uint64_t predicted, slower; /* with a decision_p95, and slower than that */
};
void decision_sums_add(struct decision_sums *sums, const cJSON *decision);
/* The predicted p95 of what ran: of the route that was chosen, with all that it may lead to; of the
 * one that was taken where the choice was only observed. NULL: there is none, or the cache answered
 * and nothing ran. Borrowed. */
const cJSON *decision_p95(const cJSON *decision);

struct decision_pick {
    struct picked {
        cJSON *decision;
        char *line;
        double latency_ms;
    } * items;
    size_t count, capacity, next; /* `next`: the oldest of a full ring */
    bool slowest;
};
/* The last `capacity` (>= 1), or the slowest. */
void decision_pick_init(struct decision_pick *pick, size_t capacity, bool slowest);
void decision_pick_fini(struct decision_pick *pick);
/* Takes `decision`, copies `line`. 0 or TANDEM_ENOMEM. */
int decision_pick_add(struct decision_pick *pick, const char *line, cJSON *decision);
/* Brings them in the order to be shown: as they came, or the slowest first. */
void decision_pick_sort(struct decision_pick *pick);

#endif
