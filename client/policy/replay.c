#include "client/policy/replay.h"

#include "client/policy/candidates.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *const replay_policy_names[] = {"tandem",       "local",   "edge", "threshold",
                                           "availability", "latency", NULL};

void replay_options_init(struct replay_options *options)
{
    *options =
        (struct replay_options){.prefer = -1, .weights = {NAN, NAN, NAN, NAN}, .threshold = NAN};
}

static double given(double wanted, double otherwise)
{
    return isnan(wanted) ? otherwise : wanted;
}

struct decide_weights replay_weights(const struct replay_record *record,
                                     const struct replay_options *options)
{
    const struct decide_weights defaults = {PREFER_MISS_MS, PREFER_MEGABYTE_MS, PREFER_ERROR_MS,
                                            PREFER_JOULE_MS};
    const struct decide_weights *asked = &options->weights;
    struct decide_weights weights = record->has_weights ? record->weights : defaults;

    if (options->prefer >= 0) {
        weights = prefer_apply(defaults, (enum prefer)options->prefer);
    }
    weights.one_miss_ms = given(asked->one_miss_ms, weights.one_miss_ms);
    weights.one_megabyte_ms = given(asked->one_megabyte_ms, weights.one_megabyte_ms);
    weights.one_error_ms = given(asked->one_error_ms, weights.one_error_ms);
    weights.one_joule_ms = given(asked->one_joule_ms, weights.one_joule_ms);
    return weights;
}

/* ---- what the record has ---- */

static bool is_edge(const char *route)
{
    return strncmp(route, "edge:", 5) == 0;
}

/* Whether `candidate` costs less than `best`, which may be NULL. */
static bool is_cheaper(const struct decide_weights *weights, const struct candidate *candidate,
                       const struct candidate *best)
{
    const double cost = candidate_cost(weights, candidate);

    return !best || (!isnan(cost) && !(candidate_cost(weights, best) <= cost));
}

/* Of several forms of a picture the cheapest, which is the one that would be sent; NULL: none. */
static const struct candidate *candidate_find(const struct replay_record *record,
                                              const struct decide_weights *weights,
                                              const char *route)
{
    const struct candidate *best = NULL;

    for (size_t i = 0; i < record->candidate_count; i++) {
        const struct candidate *candidate = &record->candidates[i];

        if (strcmp(candidate->route, route) == 0 && is_cheaper(weights, candidate, best)) {
            best = candidate;
        }
    }
    return best;
}

/* The cheapest edge's, which a cascade would ask; NULL: there is none. */
static const struct candidate *edge_find(const struct replay_record *record,
                                         const struct decide_weights *weights)
{
    const struct candidate *best = NULL;

    for (size_t i = 0; i < record->candidate_count; i++) {
        const struct candidate *edge = &record->candidates[i];

        if (is_edge(edge->route) && is_cheaper(weights, edge, best)) {
            best = edge;
        }
    }
    return best;
}

static const struct replay_side *side_find(const struct replay_record *record, const char *route)
{
    for (size_t i = 0; i < record->side_count; i++) {
        if (strcmp(record->sides[i].route, route) == 0) {
            return &record->sides[i];
        }
    }
    return NULL;
}

/* Whether the local answer was the edge's. */
struct comparison {
    int agreed;       /* 1, 0, or -1 where not both answered, */
    const char *edge; /* this one; NULL then */
};
static struct comparison comparison_of(const struct replay_record *record)
{
    for (size_t i = 0; i < record->side_count; i++) {
        const struct replay_side *side = &record->sides[i];
        const bool by_edge = is_edge(record->by);

        if (side->agreed >= 0 && strcmp(side->route, record->by) != 0 &&
            strcmp(by_edge ? side->route : record->by, "local") == 0 &&
            (by_edge || is_edge(side->route))) {
            return (struct comparison){side->agreed, by_edge ? record->by : side->route};
        }
    }
    return (struct comparison){-1, NULL};
}

static double confidence_of(const struct replay_record *record)
{
    const struct replay_side *local = side_find(record, "local");

    return isnan(record->confidence) && local ? local->confidence : record->confidence;
}

/* The route that was really taken. */
static const char *place_of(const struct replay_record *record)
{
    return record->observed ? record->by : record->route;
}

/* Whether a cascade was the way that it went, and was sure enough of its local answer: what it sent
 * at once all the same changed nothing for that answer. */
static bool has_stayed(const struct replay_record *record)
{
    return strcmp(place_of(record), "cascade") == 0 && strcmp(record->by, "local") == 0 &&
           (!(record->bytes_up > 0) || confidence_of(record) >= record->threshold);
}

/* ---- one way ---- */

static void latency_set(struct replay_way *way, const struct replay_record *record,
                        double latency_ms)
{
    way->latency_ms = latency_ms;
    way->miss = record->deadline_ms > 0 && latency_ms > record->deadline_ms ? 1 : 0;
}

/* What this side alone would have taken. Where local answered without waiting for an edge, it is
 * what the request took. Of the local half of a cascade that asked only the wait and the run are
 * recorded, not what handing its answer over would have taken besides: that is a prediction. */
static void side_latency(const struct replay_record *record, const struct candidate *candidate,
                         struct replay_way *way)
{
    const struct replay_side *side = side_find(record, candidate->route);
    const bool local = strcmp(candidate->route, "local") == 0;
    const bool taken = strcmp(record->by, candidate->route) == 0 &&
                       (strcmp(place_of(record), candidate->route) == 0 || has_stayed(record));
    const bool ran_here = local && strcmp(record->route, "cascade") == 0 && !record->observed &&
                          !isnan(record->local_run_ms);

    way->latency_measured = taken || side;
    if (taken) {
        latency_set(way, record, record->latency_ms);
    } else if (side) {
        latency_set(way, record, side->latency_ms);
        way->miss = side->error_code != 0 ? 1 : way->miss;
    } else if (ran_here) {
        latency_set(way, record, given(record->local_wait_ms, 0) + record->local_run_ms);
    } else {
        way->latency_ms = candidate->latency_known ? candidate->latency.mean_ms : NAN;
        way->miss = given(candidate->miss_probability, 0);
    }
}

/* What is told of the answer of `by`: of the delivered one, and of another that is the same. Of one
 * that differs nothing follows: two texts may both be right, and the record does not say of which
 * kind its answers are. */
static enum told told_about(const struct replay_record *record, const char *by)
{
    const struct replay_side *side = side_find(record, by);

    return strcmp(by, record->by) == 0 || (side && side->agreed > 0) ? record->told : TOLD_NOTHING;
}

/* How wrong the answer of `by` is believed to be before it is compared; NAN: nothing is recorded of
 * it. */
static double believed_error(const struct replay_record *record,
                             const struct decide_weights *weights, const char *by)
{
    const struct candidate *candidate = candidate_find(record, weights, by);
    const double sure = confidence_of(record);

    if (strcmp(by, "local") == 0 && !isnan(sure)) {
        return 1 - sure; /* it is a calibrated probability */
    }
    return candidate ? candidate->error_probability : NAN;
}

/* P(an answer is wrong | another one differs), of answers that are wrong with the chances `error`
 * and `other`, each whatever the other is: one of them is wrong, or both are, for the record does
 * not say that there are only two answers. */
static double error_of_different(double error, double other)
{
    const double differ = error + other - error * other;

    return differ <= 0 ? 1 : error / differ; /* NAN stays */
}

/* The same where both answered. What is told of one that differs goes instead of what was believed
 * of it. Where both say the same, each is as wrong as the edge's: what misleads one model misleads
 * another. NAN: nothing is recorded. */
static double compared_error(const struct replay_record *record,
                             const struct decide_weights *weights,
                             const struct comparison *compared, const char *by)
{
    const char *other = strcmp(by, "local") == 0 ? compared->edge : "local";
    const double edge = believed_error(record, weights, compared->edge);
    const enum told told = told_about(record, other);
    const double other_error = told == TOLD_NOTHING ? believed_error(record, weights, other)
                               : told == TOLD_WRONG ? 1
                                                    : 0;

    return compared->agreed > 0
               ? edge
               : error_of_different(believed_error(record, weights, by), other_error);
}

/* How wrong the answer of way->by is: measured is only what was told of it. */
static void error_set(const struct replay_record *record, const struct decide_weights *weights,
                      const struct candidate *candidate, struct replay_way *way)
{
    const struct comparison compared = comparison_of(record);
    const bool local = strcmp(way->by, "local") == 0;
    const enum told told = way->by[0] ? told_about(record, way->by) : TOLD_NOTHING;
    const double expected = candidate ? candidate->error_probability : 1;

    way->error = expected;
    way->error_factor = expected > 0 && candidate ? candidate->error_weight / expected : 1;
    way->agreed = local ? compared.agreed : is_edge(way->by) ? 1 : -1;
    way->error_measured = told != TOLD_NOTHING;
    if (local) {
        way->error = given(believed_error(record, weights, way->by), expected);
    }
    if (compared.edge && (local || strcmp(way->by, compared.edge) == 0)) {
        way->error = given(compared_error(record, weights, &compared, way->by), way->error);
    }
    if (told != TOLD_NOTHING) {
        way->error = told == TOLD_WRONG ? 1 : 0;
    }
}

/* J of decide.h, from what is measured or predicted. */
static void cost_set(const struct decide_weights *weights, struct replay_way *way)
{
    const struct candidate as_candidate = {.latency_known = !isnan(way->latency_ms),
                                           .latency = {.mean_ms = way->latency_ms},
                                           .miss_probability = way->miss,
                                           .error_probability = way->error,
                                           .error_weight = way->error * way->error_factor,
                                           .bytes = way->bytes,
                                           .energy_j = way->energy_j};

    way->cost = candidate_cost(weights, &as_candidate);
}

static void route_name(char name[ROUTE_BYTES], const char *route)
{
    snprintf(name, ROUTE_BYTES, "%s", route);
}

/* A way that is one candidate and nothing else. */
static void simple_way(const struct replay_record *record, const struct decide_weights *weights,
                       const struct candidate *candidate, struct replay_way *way)
{
    const struct replay_side *side = side_find(record, candidate->route);
    const bool failed = side && side->error_code != 0;

    *way = (struct replay_way){
        .bytes_measured = side && !isnan(side->bytes),
        .bytes = side ? given(side->bytes, candidate->bytes) : candidate->bytes,
        .energy_j = side ? given(side->energy_j, candidate->energy_j) : candidate->energy_j};
    route_name(way->route, candidate->route);
    side_latency(record, candidate, way);
    if (!failed && strcmp(candidate->route, "cascade") != 0) {
        route_name(way->by, candidate->route);
    }
    error_set(record, weights, candidate, way);
    if (failed) {
        way->error = 1;
        way->error_measured = true;
    }
    cost_set(weights, way);
}

/* Local, which was not sure enough, and then the edge; a late edge costs its answer, not the
 * deadline. */
static void asked_way(const struct replay_record *record, const struct decide_weights *weights,
                      const struct candidate *edge, struct replay_way *way)
{
    const struct replay_way local = *way;
    struct replay_way asked;

    simple_way(record, weights, edge, &asked);
    way->bytes = asked.bytes;
    way->bytes_measured = asked.bytes_measured;
    way->energy_j =
        isnan(local.energy_j) ? asked.energy_j : local.energy_j + given(asked.energy_j, 0);
    way->latency_measured = local.latency_measured && asked.latency_measured;
    way->latency_ms = local.latency_ms + asked.latency_ms;
    if (!asked.by[0]) {
        return; /* it failed: the local answer stays */
    }
    if (record->deadline_ms > 0 && way->latency_ms > record->deadline_ms) {
        way->latency_ms = fmax(record->deadline_ms, local.latency_ms);
        return;
    }
    route_name(way->by, asked.by);
    way->miss = 0;
    way->error = asked.error;
    way->error_factor = asked.error_factor;
    way->error_measured = asked.error_measured;
    way->agreed = asked.agreed;
}

static bool cascade_way(const struct replay_record *record, double threshold,
                        const struct decide_weights *weights, struct replay_way *way)
{
    const struct candidate *local = candidate_find(record, weights, "local");
    const struct candidate *edge = edge_find(record, weights);
    const struct candidate *cascade = candidate_find(record, weights, "cascade");
    const double sure = confidence_of(record);

    threshold = given(threshold, record->threshold);
    if (!local || !edge || ((isnan(threshold) || isnan(sure)) && !cascade)) {
        return false;
    }
    if (isnan(threshold) || isnan(sure)) {
        simple_way(record, weights, cascade, way); /* as it was expected, before it was known */
        return true;
    }
    simple_way(record, weights, local, way);
    route_name(way->route, "cascade");
    if (sure < threshold) {
        asked_way(record, weights, edge, way);
    }
    cost_set(weights, way);
    return true;
}

void replay_recorded(const struct replay_record *record, const struct decide_weights *weights,
                     struct replay_way *ret_way)
{
    const struct candidate *taken = candidate_find(record, weights, place_of(record));
    const struct candidate *local = candidate_find(record, weights, "local");
    const struct candidate *by = candidate_find(record, weights, record->by);
    const bool unsent = has_stayed(record) && !(record->bytes_up > 0);
    struct replay_way way = {.latency_measured = true,
                             .bytes_measured = unsent || !isnan(record->bytes_up)};

    route_name(way.route, place_of(record)[0] ? place_of(record) : "none");
    route_name(way.by, record->by);
    way.latency_ms = record->latency_ms;
    way.miss = record->met_deadline && record->error_code == 0 ? 0 : 1;
    way.bytes = unsent ? 0 : way.bytes_measured ? record->bytes_up : taken ? taken->bytes : 0;
    way.energy_j = taken ? taken->energy_j : NAN;
    if (local && unsent) {
        way.energy_j = local->energy_j;
    }
    error_set(record, weights, by ? by : taken, &way);
    if (record->error_code != 0) {
        way.error = 1;
        way.error_measured = true;
        way.agreed = -1;
    }
    cost_set(weights, &way);
    *ret_way = way;
}

/* Whether this cascade does what the recorded one did. */
static bool as_recorded(const struct replay_record *record, double threshold)
{
    const double sure = confidence_of(record);

    return isnan(threshold) || threshold == record->threshold ||
           (!isnan(sure) &&
            (sure >= threshold) ==
                (isnan(record->threshold) ? has_stayed(record) : sure >= record->threshold));
}

bool replay_route(const struct replay_record *record, const char *route, double threshold,
                  const struct decide_weights *weights, struct replay_way *ret_way)
{
    const struct candidate *candidate = candidate_find(record, weights, route);
    const bool cascade = strcmp(route, "cascade") == 0;

    if (strcmp(route, place_of(record)) == 0 && (!cascade || as_recorded(record, threshold))) {
        replay_recorded(record, weights, ret_way);
        return true;
    }
    if (cascade) {
        return cascade_way(record, threshold, weights, ret_way);
    }
    if (!candidate) {
        return false;
    }
    simple_way(record, weights, candidate, ret_way);
    return true;
}
