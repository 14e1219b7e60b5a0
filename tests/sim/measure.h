/* measure.h: what came of a run, as one row of decide.csv and what is printed besides. */
#ifndef TANDEM_SIM_MEASURE_H
#define TANDEM_SIM_MEASURE_H

#include "tests/sim/run.h"

#define HINDSIGHT_THRESHOLDS 12
#define POLICIES_MAX         16
#define RECOVERY_GOAL_NS     (2 * NS_PER_S)

struct measures {
    const struct scene *scene;
    const char *policy;
    size_t clients;
    uint64_t seed;
    size_t requests, lost; /* lost: neither answered nor failed */
    double total_cost, regret;
    double miss_rate, network_miss_rate, in_time_accuracy;
    double p50_ms, p95_ms, p99_ms, p999_ms;
    double bytes_up, bytes_down, energy_j, wasted_ms;
    double offload_rate;      /* share of which something was sent to an edge */
    double edge_rate;         /* share that an edge answered */
    double threshold;         /* hindsight: the best one */
    double as_they_came_cost; /* informed: of all, where it sends no picture smaller */
    double latency_error;     /* median of |predicted - real| / real of answers from an edge; NAN */
    double p95_coverage;      /* share of those within the predicted 95 % point; NAN */
    size_t p95_count;         /* and of how many: answered, or waited for longer than that */
    /* The longest of all outages, from their end; NAN: there was none. */
    double usable_ms;   /* to the first request whose decision may go to the edge */
    double asked_ms;    /* from the first request that informed would send there to the end of the
                           first that is, and is answered or no longer needed before it is given up */
    double recovery_ms; /* to the first edge answer in time */
    /* Outages after which informed would ask an edge before the next one, and those of them where
     * one answered in time within RECOVERY_GOAL_NS of the first request that informed would send.
     */
    size_t outages, recovered;
};
/* The cost of one request with the default weights, against the true labels. */
double request_cost(const struct request *request);
/* 0 or TANDEM_ENOMEM. */
int measures_take(struct run *run, struct measures *ret_measures);

/* All policies on one world, in the table's order, regret filled in; `ret_rows` has POLICIES_MAX.
 */
int world_run(const struct scene *scene, const struct pairs *pairs, size_t clients, uint64_t seed,
              int64_t length_ns, struct measures *ret_rows, size_t *ret_count);

/* report.c */
int report_csv(const char *path, const struct measures *rows, size_t count);
/* The table on stdout, and which of the measures to reach are held. */
void report_print(const struct measures *rows, size_t count, size_t per_world);
/* picture.c: cost by policy, and a run of tandem over time. */
int picture_costs(const char *path, const struct measures *rows, size_t count, size_t per_world);
int picture_trace(const char *path, const struct run *run, double from_s, double length_s);
#endif
