#include "client/policy/shadow.h"

#include "common/base/clock.h"

#include <math.h>
#include <string.h>

const char *const shadow_drop_names[SHADOW_VERDICTS] = {[SHADOW_DROPPED_ROOM] = "no_room",
                                                        [SHADOW_DROPPED_BUDGET] = "budget",
                                                        [SHADOW_DROPPED_LATE] = "late",
                                                        [SHADOW_DROPPED_GONE] = "gone",
                                                        [SHADOW_DROPPED_STOPPED] = "stopped"};

/* The candidates left out what privacy forbids when it was decided; it is looked at again here,
 * for nothing that was forbidden may leave for the record's sake. */
static bool may_see(const struct shadow_request *request, const struct candidate *edge)
{
    static const char prefix[] = "edge:";

    return edge->edge >= 0 && edge->kind == JOB_EDGE && !request->never_leaves &&
           !request->forced_local &&
           (!request->only_edge ||
            (strncmp(edge->route, prefix, sizeof(prefix) - 1) == 0 &&
             strcmp(edge->route + sizeof(prefix) - 1, request->only_edge) == 0));
}

/* Whether `a` is rather asked than `b`: the edge that was decided on, then the cheaper one. */
static bool goes_first(const struct shadow_request *request, const struct candidate *a,
                       const struct candidate *b)
{
    const bool a_decided = strcmp(a->route, request->route) == 0,
               b_decided = strcmp(b->route, request->route) == 0;

    return a_decided != b_decided ? a_decided : !isnan(a->cost) && !(b->cost <= a->cost);
}

/* Of an edge that may be sent several forms, the cheapest one. */
static size_t edge_choose(const struct shadow_request *request)
{
    size_t best = request->candidate_count;

    for (size_t i = 0; i < request->candidate_count; i++) {
        if (may_see(request, &request->candidates[i]) &&
            (best == request->candidate_count ||
             goes_first(request, &request->candidates[i], &request->candidates[best]))) {
            best = i;
        }
    }
    return best;
}

/* An edge was down or out of budget when the request was decided. */
static enum shadow_verdict edge_missed(const struct shadow_request *request)
{
    return request->never_leaves || request->forced_local || request->trouble == EDGE_FINE
               ? SHADOW_STARTS
           : request->trouble == EDGE_OVER_BUDGET ? SHADOW_DROPPED_BUDGET
                                                  : SHADOW_DROPPED_GONE;
}

bool shadow_plan(const struct shadow_request *request, struct shadow_plan *ret_plan)
{
    struct shadow_plan plan = {.edge = request->candidate_count};

    *ret_plan = plan;
    if (!request->answered || request->session || !(100 * request->unit < request->percent)) {
        return false;
    }
    plan.local = request->has_local && !request->ran_local;
    if (!request->asked_edge) {
        plan.edge = edge_choose(request);
        plan.missed = plan.edge < request->candidate_count ? SHADOW_STARTS : edge_missed(request);
    }
    *ret_plan = plan;
    return plan.local || plan.edge < request->candidate_count;
}

bool shadow_has_room(size_t count, uint64_t held_bytes, uint64_t bytes)
{
    return count < LIMIT_SHADOWS && bytes <= LIMIT_SHADOW_BYTES &&
           held_bytes <= LIMIT_SHADOW_BYTES - bytes;
}

enum shadow_verdict shadow_judge(const struct shadow_place *place)
{
    if (!place->usable) {
        return SHADOW_DROPPED_GONE;
    }
    if (!place->within_budget) {
        return SHADOW_DROPPED_BUDGET;
    }
    if (place->now_ns - place->since_ns > LIMIT_SHADOW_WAIT_MS * NS_PER_MS) {
        return SHADOW_DROPPED_LATE;
    }
    return place->wanted ? SHADOW_WAITS : SHADOW_STARTS;
}
