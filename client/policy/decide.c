#include "client/policy/decide.h"

#include "client/policy/cascade.h"
#include "common/base/clock.h"
#include "common/base/error.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MEGABYTE      1e6
#define MS_PER_S      1000.0
#define HOPE_SHARE    0.7 /* of what is believed: less is worth a try */
#define PATIENCE_GAIN 0.5 /* an edge that is late for a while may be dead */

bool insurance_feasible(const struct decide_insured *runs, size_t count, int64_t now_ns)
{
    bool done[INSURED_MAX] = {false};
    int64_t at_ns = now_ns;

    if (count > INSURED_MAX) {
        return false;
    }
    for (size_t left = count; left > 0; left--) {
        size_t next = count;
        int64_t earliest_ns = INT64_MAX;

        for (size_t i = 0; i < count; i++) {
            if (!done[i] && runs[i].start_ns < earliest_ns) {
                earliest_ns = runs[i].start_ns;
            }
        }
        if (earliest_ns > at_ns) {
            at_ns = earliest_ns;
        }
        for (size_t i = 0; i < count; i++) {
            if (!done[i] && runs[i].start_ns <= at_ns &&
                (next == count || runs[i].deadline_ns < runs[next].deadline_ns)) {
                next = i;
            }
        }
        done[next] = true;
        at_ns += runs[next].run_ns;
        if (at_ns > runs[next].deadline_ns) {
            return false;
        }
    }
    return true;
}

/* The chance that T exceeds what is left, from a mean and a 95 % point: exponential tail beyond the
 * mean. */
static double miss_probability(const struct latency *latency, double left_ms)
{
    const double spread = fmax(latency->p95_ms - latency->mean_ms, 0.05 * latency->mean_ms + 0.01);

    if (left_ms <= latency->mean_ms) {
        return left_ms <= 0
                   ? 1.0
                   : fmin(1.0, 0.4 + 0.6 * (latency->mean_ms - left_ms) / latency->mean_ms);
    }
    return 0.4 *
           exp(-(left_ms - latency->mean_ms) / spread * 2.08); /* 0.4 at the mean, 0.05 at p95 */
}

/* What running here and sending `bytes` takes of the battery, as far as the device's model knows.
 */
static double energy_of(const struct decide_input *input, double run_ms, double bytes)
{
    const struct decide_energy *energy = &input->energy;

    return energy->compute_watt > 0 || energy->joule_per_byte > 0
               ? energy->compute_watt * run_ms / MS_PER_S + energy->joule_per_byte * bytes
               : NAN;
}

static void candidate_finish(const struct decide_input *input, struct candidate *candidate)
{
    const double left_ms = (double)(input->deadline_ns - input->now_ns) / (double)NS_PER_MS;

    candidate->miss_probability = NAN;
    candidate->cost = NAN;
    if (!candidate->latency_known) {
        return;
    }
    if (input->deadline_ns != 0) {
        candidate->miss_probability = miss_probability(&candidate->latency, left_ms);
    }
    candidate->cost =
        candidate->latency.mean_ms + input->weights.one_error_ms * candidate->error_probability +
        input->weights.one_megabyte_ms * candidate->bytes / MEGABYTE +
        (isnan(candidate->energy_j) ? 0 : input->weights.one_joule_ms * candidate->energy_j) +
        (input->deadline_ns != 0 ? input->weights.one_miss_ms * candidate->miss_probability : 0);
}

static struct candidate *candidate_new(struct choice *choice, enum job_route kind, int edge)
{
    struct candidate *candidate = &choice->candidates[choice->count++];

    memset(candidate, 0, sizeof(*candidate));
    candidate->kind = kind;
    candidate->edge = edge;
    return candidate;
}

static bool edge_is_allowed(const struct decide_input *input, size_t index)
{
    const struct decide_edge *edge = &input->edges[index];

    return !input->never_leaves && !input->too_big && !edge->unusable &&
           (!edge->silent || !input->has_local || input->forced != FORCED_AUTO) &&
           (!input->only_edge || strcmp(input->only_edge, edge->name) == 0) &&
           (!input->forced_edge || strcmp(input->forced_edge, edge->name) == 0);
}

/* The cheapest usable edge is the one a cascade would ask. */
static int edges_add(const struct decide_input *input, struct choice *choice, double error)
{
    int best = -1;
    double best_cost = 0;

    for (size_t i = 0; i < input->edge_count && i < LIMIT_EDGES; i++) {
        struct candidate *candidate;

        if (!edge_is_allowed(input, i)) {
            continue;
        }
        candidate = candidate_new(choice, JOB_EDGE, (int)i);
        snprintf(candidate->route, sizeof(candidate->route), "edge:%.63s", input->edges[i].name);
        candidate->latency_known = input->edges[i].latency_known;
        candidate->latency = input->edges[i].latency;
        candidate->bytes = (double)(input->up_bytes - input->edges[i].held_bytes);
        candidate->energy_j = energy_of(input, 0, candidate->bytes);
        candidate->error_probability = error;
        candidate_finish(input, candidate);
        if (best < 0 || (isnan(best_cost) && !isnan(candidate->cost)) ||
            candidate->cost < best_cost) {
            best = (int)(choice->count - 1);
            best_cost = candidate->cost;
        }
    }
    return best;
}

static void local_add(const struct decide_input *input, struct choice *choice, double error)
{
    struct candidate *candidate = candidate_new(choice, JOB_LOCAL, -1);

    strcpy(candidate->route, "local");
    candidate->latency_known = input->local_known;
    candidate->latency = input->local;
    candidate->energy_j = energy_of(input, input->local_run_ms, 0);
    candidate->error_probability = error;
    candidate_finish(input, candidate);
}

static void cache_add(const struct decide_input *input, struct choice *choice)
{
    struct candidate *candidate = candidate_new(choice, JOB_CACHE, -1);

    strcpy(candidate->route, "cache");
    candidate->latency_known = true;
    candidate->energy_j = energy_of(input, 0, 0);
    candidate->error_probability = input->cached->error_probability;
    candidate_finish(input, candidate);
}

/* What asking an edge costs besides its time. */
static double send_ms(const struct decide_input *input, double bytes)
{
    const double joule = energy_of(input, 0, bytes);

    return input->weights.one_megabyte_ms * bytes / MEGABYTE +
           (isnan(joule) ? 0 : input->weights.one_joule_ms * joule);
}

/* Local first; the local answer is kept, so a late edge costs accuracy, not the deadline. */
static void cascade_add(const struct decide_input *input, struct choice *choice, size_t edge_at,
                        struct cascade *ret_cascade)
{
    const struct candidate edge = choice->candidates[edge_at];
    struct candidate *candidate = candidate_new(choice, JOB_CASCADE, edge.edge);
    const struct cascade_terms terms = {
        .confidence = input->confidence,
        .one_error_ms = input->weights.one_error_ms,
        .edge_error = input->edge_error,
        .local_ms = input->local_known ? input->local.mean_ms : 0,
        .edge_ms = edge.latency_known ? edge.latency.mean_ms : 0,
        .edge_p95_ms = edge.latency_known ? edge.latency.p95_ms : 0,
        .failure = input->edges[edge.edge].failure,
        .send_ms = send_ms(input, edge.bytes),
        .threshold = input->forced == FORCED_CASCADE ? input->threshold : NAN,
        .in_turn = input->forced == FORCED_CASCADE || input->deadline_ns == 0,
    };
    double miss;

    strcpy(candidate->route, "cascade");
    cascade_plan(&terms, ret_cascade);
    candidate->latency_known = input->local_known && edge.latency_known;
    candidate->latency.mean_ms = ret_cascade->latency_ms;
    candidate->latency.p95_ms = ret_cascade->asked <= 0.05 ? input->local.p95_ms
                                : ret_cascade->at_once
                                    ? fmax(input->local.p95_ms, edge.latency.p95_ms)
                                    : input->local.p95_ms + edge.latency.p95_ms;
    candidate->bytes = ret_cascade->sent * edge.bytes;
    candidate->energy_j = energy_of(input, input->local_run_ms, candidate->bytes);
    candidate->error_probability = ret_cascade->error;
    candidate_finish(input, candidate);
    if (input->deadline_ns != 0 && candidate->latency_known) {
        miss = miss_probability(&input->local,
                                (double)(input->deadline_ns - input->now_ns) / (double)NS_PER_MS);
        candidate->cost -= input->weights.one_miss_ms * (candidate->miss_probability - miss);
        candidate->miss_probability = miss;
    }
}

static bool kind_is_wanted(enum decide_forced forced, enum job_route kind)
{
    return forced == FORCED_AUTO || (forced == FORCED_LOCAL && kind == JOB_LOCAL) ||
           (forced == FORCED_EDGE && kind == JOB_EDGE) ||
           (forced == FORCED_CASCADE && kind == JOB_CASCADE);
}

/* The index of the cheapest candidate of the wanted kinds; an unknown cost is worse than any known
 * one. choice->count: none. */
static size_t cheapest(const struct choice *choice, enum decide_forced forced)
{
    size_t best = choice->count;

    for (size_t i = 0; i < choice->count; i++) {
        const struct candidate *candidate = &choice->candidates[i];

        if (!kind_is_wanted(forced, candidate->kind)) {
            continue;
        }
        if (best == choice->count ||
            (isnan(choice->candidates[best].cost) && !isnan(candidate->cost)) ||
            candidate->cost < choice->candidates[best].cost) {
            best = i;
        }
    }
    return best;
}

static bool name_fits(const char *wanted, const char *name)
{
    return !wanted || strcmp(wanted, name) == 0;
}

/* Why no edge may be asked: of the edges that privacy and the caller leave, the trouble of the one
 * nearest to being usable. */
static const char *no_edge_reason(const struct decide_input *input)
{
    const char *reason = "no edge connected";
    enum edge_trouble worst = EDGE_FINE;
    bool known = !input->forced_edge;

    if (input->never_leaves) {
        return "leaves_device = never";
    }
    if (input->too_big) {
        return "input too big for an edge";
    }
    for (size_t i = 0; i < input->edge_count; i++) {
        const struct decide_edge *edge = &input->edges[i];

        known |= input->forced_edge && strcmp(input->forced_edge, edge->name) == 0;
        if (!name_fits(input->only_edge, edge->name) ||
            !name_fits(input->forced_edge, edge->name)) {
            continue;
        }
        if (!edge->unusable && edge->silent) {
            return "edge does not answer"; /* all else is well with it */
        }
        if (edge->unusable && edge->trouble >= worst) {
            reason = edge->unusable;
            worst = edge->trouble;
        }
    }
    if (!known) {
        return DECIDE_NO_SUCH_EDGE;
    }
    if (input->forced_edge && input->only_edge &&
        strcmp(input->forced_edge, input->only_edge) != 0) {
        return "leaves_device names another edge";
    }
    return reason;
}

static const char *chosen_reason(const struct decide_input *input, const struct choice *choice,
                                 const struct cascade *cascade)
{
    const struct candidate *chosen = &choice->candidates[choice->chosen];
    bool edge_is_late = false, has_edge = false;

    if (input->forced != FORCED_AUTO && kind_is_wanted(input->forced, chosen->kind)) {
        return "forced by caller";
    }
    for (size_t i = 0; i < choice->count; i++) {
        has_edge |= choice->candidates[i].kind == JOB_EDGE;
        edge_is_late |=
            choice->candidates[i].kind == JOB_EDGE && choice->candidates[i].miss_probability > 0.3;
    }
    if (chosen->kind == JOB_CACHE) {
        return input->cached->reason;
    }
    if (!has_edge) {
        return no_edge_reason(input);
    }
    switch (chosen->kind) {
    case JOB_CACHE:
    case JOB_LOCAL:
        return edge_is_late ? "edge would miss the deadline" : "local is fast and accurate enough";
    case JOB_EDGE:
        return input->has_local ? "edge is accurate and in time" : "no local model";
    case JOB_CASCADE:
        break;
    }
    return cascade->at_once && input->edges[chosen->edge].latency_known
               ? "both at once, the edge's answer if local is not sure"
               : "local first, edge if not sure";
}

/* How long an edge is waited for: what it takes nineteen times of twenty, and then for as long as
 * its answer is worth. */
static int64_t patience_ns(const struct latency *edge, double gain_ms)
{
    return (int64_t)((edge->p95_ms + PATIENCE_GAIN * gain_ms) * (double)NS_PER_MS);
}

/* `hedge_ns`: when local starts even where the deadline would leave more time; 0: not. */
static void insure(const struct decide_input *input, struct choice *choice, int64_t hedge_ns)
{
    struct decide_insured runs[INSURED_MAX];
    struct decide_insured mine;
    size_t count = 0;

    if (!input->local_known || isnan(input->local_bound_ms) || input->deadline_ns == 0) {
        return;
    }
    mine.run_ns = (int64_t)(input->local_bound_ms * (double)NS_PER_MS);
    mine.start_ns = input->deadline_ns - mine.run_ns;
    mine.deadline_ns = input->deadline_ns;
    choice->plan.insure_at_ns = mine.start_ns > input->now_ns ? mine.start_ns : input->now_ns;
    if (hedge_ns > input->now_ns && hedge_ns < choice->plan.insure_at_ns) {
        choice->plan.insure_at_ns = hedge_ns;
    }
    if (mine.start_ns <= input->now_ns) {
        choice->plan.race = true;
        return;
    }
    while (count < input->insured_count && count + 1 < INSURED_MAX) {
        runs[count] = input->insured[count];
        count++;
    }
    runs[count++] = mine;
    if (input->insured_count + 1 > INSURED_MAX || !insurance_feasible(runs, count, input->now_ns)) {
        choice->plan.race = true; /* no room for a late start: start now */
        runs[count - 1].start_ns = input->now_ns;
        if (input->insured_count + 1 > INSURED_MAX ||
            !insurance_feasible(runs, count, input->now_ns)) {
            choice->reason = "no local reserve"; /* not even that is sure to be in time */
        }
    }
}

/* An edge alone: local joins when the edge has had its time. */
static int64_t hedge_at_ns(const struct decide_input *input, const struct choice *choice)
{
    const struct candidate *chosen = &choice->candidates[choice->chosen];
    double local, edge;

    if (!chosen->latency_known) {
        return 0;
    }
    cascade_errors(input->confidence, input->edge_error, &local, &edge);
    return input->now_ns +
           patience_ns(&chosen->latency, input->weights.one_error_ms * fmax(local - edge, 0));
}

static void plan_make(const struct decide_input *input, struct choice *choice,
                      const struct cascade *cascade)
{
    const struct candidate *chosen = &choice->candidates[choice->chosen];
    struct job_plan *plan = &choice->plan;

    plan->route = chosen->kind;
    plan->local_allowed = input->has_local && input->forced != FORCED_EDGE;
    plan->deadline_ns = input->deadline_ns;
    plan->handover_ns = LIMIT_HANDOVER_US * NS_PER_US;
    plan->deliver_late = input->deliver_late;
    plan->threshold = cascade->threshold;
    choice->edge = chosen->edge;
    if (chosen->kind == JOB_CASCADE && input->edges[chosen->edge].latency_known) {
        const struct decide_edge *edge = &input->edges[chosen->edge];
        const bool hopes = edge->retry_due && edge->best_ms < edge->latency.mean_ms;

        plan->edge_needs_ns =
            (int64_t)((hopes ? edge->best_ms : edge->latency.mean_ms) * (double)NS_PER_MS);
        plan->race = cascade->at_once;
        if (input->forced == FORCED_AUTO) {
            plan->patience_ns =
                choice->hoped_ms > 0
                    ? (int64_t)(DECIDE_HOPE_FACTOR * choice->hoped_ms * (double)NS_PER_MS)
                    : patience_ns(&edge->latency, cascade->gain_ms);
        }
    }
    if (chosen->kind == JOB_EDGE && plan->local_allowed) {
        insure(input, choice, hedge_at_ns(input, choice));
    }
}

static const char *no_route_reason(const struct decide_input *input)
{
    const bool needs_local = input->forced == FORCED_LOCAL || input->forced == FORCED_CASCADE;

    return needs_local && !input->has_local ? "no local model" : no_edge_reason(input);
}

static void candidates_fill(const struct decide_input *input, struct choice *choice,
                            struct cascade *cascade)
{
    double local_error, edge_error;
    int edge_at;

    choice->count = 0;
    *cascade = (struct cascade){.threshold = input->threshold};
    cascade_errors(input->confidence, input->edge_error, &local_error, &edge_error);
    if (input->cached && input->cached->by_local) {
        local_error = input->cached->error_probability;
    }
    if (input->has_local) {
        local_add(input, choice, local_error);
    }
    edge_at = input->forced == FORCED_LOCAL ? -1 : edges_add(input, choice, edge_error);
    if (input->has_local && edge_at >= 0) {
        cascade_add(input, choice, (size_t)edge_at, cascade);
    }
    if (input->cached && input->forced == FORCED_AUTO) {
        cache_add(input, choice);
    }
    choice->chosen = cheapest(choice, input->forced);
}

/* An edge that was slow once would never be asked again, and so never be known to be fast: where
 * the latency that may be hoped for would make an edge the choice, and a local run that starts at
 * the last moment is sure to save the deadline, this request finds out. */
static void retry_consider(const struct decide_input *input, struct choice *choice,
                           struct cascade *cascade)
{
    struct decide_edge edges[LIMIT_EDGES];
    struct decide_input hopeful = *input;
    struct choice other = {0};
    struct cascade hoped;
    const struct candidate *candidate;
    bool any = false;

    if (input->forced != FORCED_AUTO || input->deadline_ns == 0 || !input->local_known ||
        choice->candidates[choice->chosen].kind == JOB_CACHE) {
        return;
    }
    for (size_t i = 0; i < input->edge_count && i < LIMIT_EDGES; i++) {
        edges[i] = input->edges[i];
        if (edges[i].retry_due && edges[i].latency_known &&
            edges[i].best_ms < HOPE_SHARE * edges[i].latency.mean_ms) {
            edges[i].failure = 0;
            edges[i].latency.mean_ms = edges[i].latency.p95_ms = edges[i].best_ms;
            any = true;
        }
    }
    hopeful.edges = edges;
    if (!any) {
        return;
    }
    candidates_fill(&hopeful, &other, &hoped);
    candidate = &other.candidates[other.chosen];
    if (candidate->edge < 0 || !input->edges[candidate->edge].retry_due ||
        (other.chosen == choice->chosen &&
         (candidate->kind != JOB_CASCADE || hoped.threshold <= cascade->threshold))) {
        return;
    }
    other.reason = choice->reason;
    insure(input, &other, 0);
    if (candidate->kind == JOB_CASCADE || !other.plan.race) {
        choice->chosen = other.chosen;
        choice->candidates[choice->chosen].edge = candidate->edge;
        choice->reason = "edge is asked again to learn its latency";
        *cascade = hoped;
        choice->hoped_ms = edges[candidate->edge].best_ms;
    }
}

int decide(const struct decide_input *input, struct choice *ret_choice)
{
    struct cascade cascade;

    memset(ret_choice, 0, sizeof(*ret_choice));
    ret_choice->edge = -1;
    ret_choice->plan.deadline_ns = input->deadline_ns; /* also of a request that has no route */
    candidates_fill(input, ret_choice, &cascade);
    if (ret_choice->chosen == ret_choice->count && input->forced == FORCED_CASCADE &&
        input->has_local) {
        /* its first half is there; the reason says why not the other */
        ret_choice->chosen = cheapest(ret_choice, FORCED_LOCAL);
    }
    if (ret_choice->chosen == ret_choice->count) {
        ret_choice->reason = no_route_reason(input);
        return TANDEM_ENOROUTE;
    }
    ret_choice->reason = chosen_reason(input, ret_choice, &cascade);
    retry_consider(input, ret_choice, &cascade);
    plan_make(input, ret_choice, &cascade);
    return 0;
}
