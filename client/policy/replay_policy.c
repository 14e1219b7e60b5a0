/* replay_policy.c: which route another policy, or other weights, would have taken. */
#include "client/policy/candidates.h"
#include "client/policy/replay.h"

#include <math.h>
#include <string.h>

static enum job_route kind_of(const char *route)
{
    return strcmp(route, "local") == 0     ? JOB_LOCAL
           : strcmp(route, "cascade") == 0 ? JOB_CASCADE
           : strcmp(route, "cache") == 0   ? JOB_CACHE
                                           : JOB_EDGE;
}

/* The candidates with their costs under these weights. */
static void choice_make(const struct replay_record *record, const struct decide_weights *weights,
                        struct choice *choice)
{
    memset(choice, 0, sizeof(*choice));
    for (size_t i = 0; i < record->candidate_count; i++) {
        struct candidate *candidate = &choice->candidates[choice->count++];

        *candidate = record->candidates[i];
        candidate->kind = kind_of(candidate->route);
        candidate->cost = candidate_cost(weights, candidate);
    }
}

static const char *cheapest_of(const struct choice *choice, enum decide_forced kinds)
{
    const size_t at = candidates_cheapest(choice, kinds);

    return at < choice->count ? choice->candidates[at].route : NULL;
}

static bool weights_differ(const struct replay_record *record, const struct decide_weights *weights)
{
    return !record->has_weights || record->weights.one_miss_ms != weights->one_miss_ms ||
           record->weights.one_megabyte_ms != weights->one_megabyte_ms ||
           record->weights.one_error_ms != weights->one_error_ms ||
           record->weights.one_joule_ms != weights->one_joule_ms;
}

/* The cheapest; where nothing about the costs has changed, or nothing is cheaper, the decision. */
static const char *tandem_route(const struct replay_record *record,
                                const struct decide_weights *weights, struct choice *choice)
{
    const size_t best = candidates_cheapest(choice, FORCED_AUTO);

    if (best == choice->count || !weights_differ(record, weights)) {
        return record->route;
    }
    for (size_t i = 0; i < choice->count; i++) {
        if (strcmp(choice->candidates[i].route, record->route) == 0 &&
            choice->candidates[i].cost <= choice->candidates[best].cost) {
            return record->route;
        }
    }
    return choice->candidates[best].route;
}

/* The smallest predicted mean of here and there. */
static const char *latency_route(const struct choice *choice)
{
    const struct candidate *best = NULL;

    for (size_t i = 0; i < choice->count; i++) {
        const struct candidate *candidate = &choice->candidates[i];

        if ((candidate->kind == JOB_LOCAL || candidate->kind == JOB_EDGE) &&
            candidate->latency_known &&
            (!best || candidate->latency.mean_ms < best->latency.mean_ms)) {
            best = candidate;
        }
    }
    return best ? best->route : NULL;
}

/* NULL: what the policy wants was not possible. */
static const char *policy_route(const struct replay_record *record, enum replay_policy policy,
                                const struct decide_weights *weights, struct choice *choice)
{
    const char *local = cheapest_of(choice, FORCED_LOCAL), *edge = cheapest_of(choice, FORCED_EDGE);

    switch (policy) {
    case REPLAY_TANDEM:
        return tandem_route(record, weights, choice);
    case REPLAY_LOCAL:
        return local;
    case REPLAY_EDGE:
        return edge;
    case REPLAY_THRESHOLD:
        return local && edge ? "cascade" : local ? local : edge;
    case REPLAY_AVAILABILITY:
        return edge ? edge : local;
    case REPLAY_LATENCY:
        return latency_route(choice);
    }
    return NULL;
}

enum replay_result replay_again(const struct replay_record *record,
                                const struct replay_options *options, struct replay_way *ret_way)
{
    const struct decide_weights weights = replay_weights(record, options);
    const double threshold = options->policy == REPLAY_THRESHOLD && isnan(options->threshold)
                                 ? REPLAY_THRESHOLD_DEFAULT
                                 : options->threshold;
    struct choice choice;
    const char *route;

    replay_recorded(record, &weights, ret_way);
    if (record->forced) {
        return REPLAY_FORCED;
    }
    if (options->policy != REPLAY_TANDEM && strcmp(record->route, "cache") == 0) {
        return REPLAY_DONE; /* an answer that is there is taken, whatever the policy */
    }
    choice_make(record, &weights, &choice);
    route = policy_route(record, options->policy, &weights, &choice);
    if (!route || !route[0] || !replay_route(record, route, threshold, &weights, ret_way)) {
        return REPLAY_IMPOSSIBLE;
    }
    return REPLAY_DONE;
}
