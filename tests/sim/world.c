#include "tests/sim/measure.h"

#include <string.h>

static const double hindsight_thresholds[HINDSIGHT_THRESHOLDS] = {0,   0.3,  0.4, 0.5,  0.6,  0.7,
                                                                  0.8, 0.85, 0.9, 0.95, 0.99, 1.01};

static int policy_run(const struct run *world, const struct policy *policy, double threshold,
                      double random_rate, struct measures *ret_measures)
{
    struct run run = *world;
    int result;

    run.policy = policy;
    run.threshold = threshold;
    run.random_rate = random_rate;
    result = run_make(&run);
    if (result == 0) {
        run_go(&run);
        result = measures_take(&run, ret_measures);
    }
    run_fini(&run);
    return result;
}

/* The best of all thresholds, tuned on the very run it is judged by. */
static int hindsight_run(const struct run *world, const struct policy *policy,
                         struct measures *ret_measures)
{
    int result = 0;

    for (size_t i = 0; result == 0 && i < HINDSIGHT_THRESHOLDS; i++) {
        struct measures tried;

        result = policy_run(world, policy, hindsight_thresholds[i], 0, &tried);
        if (result == 0 && (i == 0 || tried.total_cost < ret_measures->total_cost)) {
            *ret_measures = tried;
        }
    }
    return result;
}

/* What informed costs where it sends pictures as they came, as the baselines do. */
static int as_they_came_run(const struct run *world, const struct policy *policy,
                            struct measures *measures)
{
    struct run run = *world;
    struct measures plain;
    int result;

    run.as_they_came = true;
    result = policy_run(&run, policy, 0.5, 0, &plain);
    measures->as_they_came_cost = plain.total_cost;
    return result;
}

int world_run(const struct scene *scene, const struct pairs *pairs, size_t clients, uint64_t seed,
              int64_t length_ns, struct measures *ret_rows, size_t *ret_count)
{
    const struct run world = {.scene = scene,
                              .pairs = pairs,
                              .client_count = clients,
                              .seed = seed,
                              .length_ns = length_ns};
    double rate = 0, oracle_cost = 0;
    int result = 0;

    *ret_count = 0;
    for (const struct policy *at = policies; result == 0 && at->name; at++) {
        struct measures *row = &ret_rows[(*ret_count)++];

        result = at->cascade_threshold ? hindsight_run(&world, at, row)
                                       : policy_run(&world, at, 0.5, rate, row);
        if (strcmp(at->name, "tandem") == 0) {
            rate = row->edge_rate; /* random, which comes after it, goes as often */
        }
        if (result == 0 && strcmp(at->name, "informed") == 0) {
            result = as_they_came_run(&world, at, row);
        }
        if (strcmp(at->name, "oracle") == 0) {
            oracle_cost = row->total_cost;
        }
    }
    for (size_t i = 0; i < *ret_count; i++) {
        ret_rows[i].regret = ret_rows[i].total_cost - oracle_cost;
    }
    return result;
}
