#include "client/policy/candidates.h"

#include "common/base/clock.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MEGABYTE       1e6
#define MS_PER_S       1000.0
#define ROUTES_BESIDES 3 /* local, cascade, cache */

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

double candidate_joule(const struct decide_energy *energy, double run_ms, double up_bytes,
                       double down_bytes)
{
    return energy->compute_watt > 0 || energy->joule_per_byte > 0 ||
                   energy->joule_per_byte_received > 0
               ? energy->compute_watt * run_ms / MS_PER_S + energy->joule_per_byte * up_bytes +
                     energy->joule_per_byte_received * down_bytes
               : NAN;
}

bool energy_carries(const struct decide_input *input, double joule)
{
    return !input->energy_limited || (input->energy_left > 0 && !(joule > input->energy_left));
}

double candidate_cost(const struct decide_weights *weights, const struct candidate *candidate)
{
    if (!candidate->latency_known) {
        return NAN;
    }
    return candidate->latency.mean_ms + weights->one_error_ms * candidate->error_weight +
           weights->one_megabyte_ms * candidate->bytes / MEGABYTE +
           (isnan(candidate->energy_j) ? 0 : weights->one_joule_ms * candidate->energy_j) +
           (isnan(candidate->miss_probability)
                ? 0
                : weights->one_miss_ms * candidate->miss_probability);
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
    candidate->cost = candidate_cost(&input->weights, candidate);
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

    return !input->never_leaves && (!input->too_big || edge->form_count > 0) && !edge->unusable &&
           (!edge->silent || !input->has_local ||
            (input->forced != FORCED_AUTO && !input->fixed)) &&
           (!input->only_edge || strcmp(input->only_edge, edge->name) == 0) &&
           (!input->forced_edge || strcmp(input->forced_edge, edge->name) == 0);
}

/* As it came: what decide() is told of an edge where the input has one form only. */
static struct decide_form form_as_it_came(const struct decide_input *input,
                                          const struct decide_edge *edge)
{
    return (struct decide_form){.upload.bytes = (double)(input->up_bytes - edge->held_bytes),
                                .latency_known = edge->latency_known,
                                .latency = edge->latency,
                                .best_ms = edge->best_ms};
}

static void edge_add(const struct decide_input *input, struct choice *choice, size_t index,
                     const struct decide_form *form, const struct cascade_error *error,
                     double any_factor)
{
    struct candidate *candidate = candidate_new(choice, JOB_EDGE, (int)index);

    snprintf(candidate->route, sizeof(candidate->route), "edge:%.63s", input->edges[index].name);
    candidate->latency_known = form->latency_known;
    candidate->latency = form->latency;
    candidate->upload = form->upload;
    candidate->bytes = form->upload.bytes;
    candidate->energy_j = candidate_joule(&input->energy, form->upload.prepare_ms, candidate->bytes,
                                          input->down_bytes);
    candidate->error_probability = fmin(error->probability + form->upload.error, 1);
    candidate->error_weight =
        fmin(error->weight + form->upload.error * any_factor, fmax(error->weight, any_factor));
    candidate_finish(input, candidate);
}

/* How many forms of each edge are candidates: every edge has one at least. */
static size_t forms_each(const struct decide_input *input)
{
    size_t allowed = 0, each;

    for (size_t i = 0; i < input->edge_count && i < LIMIT_EDGES; i++) {
        allowed += edge_is_allowed(input, i);
    }
    each = allowed ? (LIMIT_CANDIDATES - ROUTES_BESIDES) / allowed : 1;
    return each < LIMIT_UPLOAD_FORMS ? each : LIMIT_UPLOAD_FORMS;
}

struct edge_belief candidate_edge_belief(const struct decide_input *input, size_t edge)
{
    return edge_truth_belief(&input->edges[edge].truth, input->edge_error);
}

static struct cascade_error edge_error_of(const struct decide_input *input,
                                          const struct confidence_bin *bins, size_t index)
{
    const struct edge_belief belief = candidate_edge_belief(input, index);
    struct cascade_error local_error, edge_error;

    cascade_errors(bins, &belief, &local_error, &edge_error);
    return edge_error;
}

/* An unknown cost is worse than any known one. */
static bool is_cheaper(const struct candidate *candidate, const struct candidate *than)
{
    return (isnan(than->cost) && !isnan(candidate->cost)) || candidate->cost < than->cost;
}

/* The cheapest form of the cheapest usable edge is what a cascade would ask. */
static int edges_add(const struct decide_input *input, const struct confidence_bin *bins,
                     struct choice *choice)
{
    const size_t each = forms_each(input), first = choice->count;
    const double any_factor = cascade_any_factor(bins);
    int best = -1;

    for (size_t i = 0; i < input->edge_count && i < LIMIT_EDGES; i++) {
        const struct decide_edge *edge = &input->edges[i];
        struct cascade_error error;

        if (!edge_is_allowed(input, i)) {
            continue;
        }
        error = edge_error_of(input, bins, i);
        for (size_t form = 0; form < edge->form_count && form < each; form++) {
            edge_add(input, choice, i, &edge->forms[form], &error, any_factor);
        }
        if (edge->form_count == 0) {
            const struct decide_form form = form_as_it_came(input, edge);

            edge_add(input, choice, i, &form, &error, any_factor);
        }
    }
    for (size_t i = first; i < choice->count; i++) {
        if (best < 0 || is_cheaper(&choice->candidates[i], &choice->candidates[best])) {
            best = (int)i;
        }
    }
    return best;
}

/* It is of the answer that is kept; `any` is what was believed before it was known. */
static void cached_error_set(const struct decide_cached *cached, const struct cascade_error *any,
                             struct candidate *candidate)
{
    candidate->of_answer = true;
    candidate->any_probability = any->probability;
    candidate->any_weight = any->weight;
    candidate->error_probability = cached->error_probability;
    candidate->error_weight = cached->error_weight;
}

static void local_add(const struct decide_input *input, struct choice *choice,
                      const struct cascade_error *error)
{
    struct candidate *candidate = candidate_new(choice, JOB_LOCAL, -1);

    strcpy(candidate->route, "local");
    candidate->latency_known = input->local_known;
    candidate->latency = input->local;
    candidate->energy_j = candidate_joule(&input->energy, input->local_run_ms, 0, 0);
    candidate->error_probability = error->probability;
    candidate->error_weight = error->weight;
    if (input->cached && input->cached->by_local) {
        cached_error_set(input->cached, error, candidate);
    }
    candidate_finish(input, candidate);
}

static void cache_add(const struct decide_input *input, struct choice *choice,
                      const struct cascade_error *any)
{
    struct candidate *candidate = candidate_new(choice, JOB_CACHE, -1);

    strcpy(candidate->route, "cache");
    candidate->latency_known = true;
    candidate->energy_j = candidate_joule(&input->energy, 0, 0, 0);
    cached_error_set(input->cached, any, candidate);
    candidate_finish(input, candidate);
}

/* What asking an edge costs besides its time. */
static double send_ms(const struct decide_input *input, const struct upload_form *upload)
{
    const double joule =
        candidate_joule(&input->energy, upload->prepare_ms, upload->bytes, input->down_bytes);

    return input->weights.one_megabyte_ms * upload->bytes / MEGABYTE +
           (isnan(joule) ? 0 : input->weights.one_joule_ms * joule);
}

/* One run here, and the edge asked for sure. */
static double both_joule(const struct decide_input *input, const struct candidate *edge)
{
    return candidate_joule(&input->energy, input->local_run_ms, 0, 0) + edge->energy_j;
}

/* An edge is not waited for after the moment at which the kept answer is handed over. A mean beyond
 * it stays as it is: it is what asking is priced with. */
static double kept_p95_ms(const struct latency *latency, const struct latency *local,
                          double left_ms)
{
    const double handed_ms = fmax(left_ms - LIMIT_HANDOVER_US / 1000.0, local->p95_ms);

    return fmin(latency->p95_ms, fmax(handed_ms, latency->mean_ms));
}

/* Local first; the local answer is kept, so a late edge costs accuracy, not the deadline. */
static void cascade_add(const struct decide_input *input, const struct confidence_bin *bins,
                        struct choice *choice, size_t edge_at, struct cascade *ret_cascade)
{
    const struct candidate edge = choice->candidates[edge_at];
    struct candidate *candidate = candidate_new(choice, JOB_CASCADE, edge.edge);
    const struct cascade_terms terms = {
        .bins = bins,
        .border = input->costs                 ? CASCADE_TWO_BORDER
                  : input->confidence->nothing ? CONFIDENCE_NOTHING_BORDER
                                               : 0,
        .nothing = input->confidence->nothing,
        .one_error_ms = input->weights.one_error_ms,
        .edge = candidate_edge_belief(input, (size_t)edge.edge),
        .local_ms = input->local_known ? input->local.mean_ms : 0,
        .edge_ms = edge.latency_known ? edge.latency.mean_ms : 0,
        .edge_p95_ms = edge.latency_known ? edge.latency.p95_ms : 0,
        .failure = input->edges[edge.edge].failure,
        .send_ms = send_ms(input, &edge.upload),
        .upload_error = edge.upload.error,
        .threshold = input->forced == FORCED_CASCADE ? input->threshold : NAN,
        .checks = input->check_ms > 0,
        .in_turn = input->forced == FORCED_CASCADE || input->deadline_ns == 0 ||
                   input->check_ms > 0 || !energy_carries(input, both_joule(input, &edge)),
    };
    const double left_ms = (double)(input->deadline_ns - input->now_ns) / (double)NS_PER_MS;
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
    candidate->upload = edge.upload;
    candidate->energy_j = candidate_joule(
        &input->energy, input->local_run_ms + ret_cascade->sent * edge.upload.prepare_ms,
        candidate->bytes, ret_cascade->sent * input->down_bytes);
    candidate->error_probability = ret_cascade->error.probability;
    candidate->error_weight = ret_cascade->error.weight;
    candidate_finish(input, candidate);
    if (input->deadline_ns != 0 && candidate->latency_known) {
        miss = miss_probability(&input->local, left_ms);
        candidate->cost -= input->weights.one_miss_ms * (candidate->miss_probability - miss);
        candidate->miss_probability = miss;
        candidate->latency.p95_ms = kept_p95_ms(&candidate->latency, &input->local, left_ms);
    }
}

bool candidate_is_wanted(enum decide_forced forced, enum job_route kind)
{
    return forced == FORCED_AUTO || (forced == FORCED_LOCAL && kind == JOB_LOCAL) ||
           (forced == FORCED_EDGE && kind == JOB_EDGE) ||
           (forced == FORCED_CASCADE && kind == JOB_CASCADE);
}

/* The first of those wanted that no other goes before. */
static size_t candidates_first(const struct choice *choice, enum decide_forced forced,
                               bool (*goes_before)(const struct candidate *candidate,
                                                   const struct candidate *than))
{
    size_t best = choice->count;

    for (size_t i = 0; i < choice->count; i++) {
        const struct candidate *candidate = &choice->candidates[i];

        if (candidate_is_wanted(forced, candidate->kind) &&
            (best == choice->count || goes_before(candidate, &choice->candidates[best]))) {
            best = i;
        }
    }
    return best;
}

size_t candidates_cheapest(const struct choice *choice, enum decide_forced forced)
{
    return candidates_first(choice, forced, is_cheaper);
}

static bool is_hopeful(const struct candidate *candidate)
{
    return candidate->latency_known && !(candidate->miss_probability > 0.5);
}

bool candidate_is_thriftier(const struct candidate *candidate, const struct candidate *than)
{
    const double joule = isnan(candidate->energy_j) ? INFINITY : candidate->energy_j,
                 than_joule = isnan(than->energy_j) ? INFINITY : than->energy_j;

    if (is_hopeful(candidate) != is_hopeful(than)) {
        return is_hopeful(candidate);
    }
    return joule < than_joule || (joule == than_joule && candidate->cost < than->cost);
}

size_t candidates_thriftiest(const struct choice *choice, enum decide_forced forced)
{
    return candidates_first(choice, forced, candidate_is_thriftier);
}

size_t candidates_carried(const struct decide_input *input, const struct choice *choice,
                          enum decide_forced forced)
{
    size_t best = choice->count;

    for (size_t i = 0; i < choice->count; i++) {
        const struct candidate *candidate = &choice->candidates[i];

        if (candidate_is_wanted(forced, candidate->kind) && is_hopeful(candidate) &&
            energy_carries(input, candidate->energy_j) &&
            (best == choice->count || is_cheaper(candidate, &choice->candidates[best]))) {
            best = i;
        }
    }
    return best;
}

double candidates_both_joule(const struct decide_input *input, const struct choice *choice)
{
    return both_joule(input, &choice->candidates[choice->asked]);
}

void candidates_fill(const struct decide_input *input,
                     const struct confidence_bin bins[CONFIDENCE_BINS], struct choice *choice,
                     struct cascade *cascade)
{
    const struct edge_belief edges = {.error = input->edge_error, .mended_min = EDGE_MENDED_MIN};
    struct cascade_error local_error, edge_error;
    int edge_at;

    choice->count = 0;
    *cascade = (struct cascade){.threshold = input->threshold};
    cascade_errors(bins, &edges, &local_error, &edge_error);
    if (input->has_local) {
        local_add(input, choice, &local_error);
    }
    edge_at = input->forced == FORCED_LOCAL ? -1 : edges_add(input, bins, choice);
    /* Where local has said before what it would say now, there is nothing to wait for: the cache
     * has it, and the edge alone is what may be surer. */
    if (input->has_local && edge_at >= 0 &&
        !(input->cached && input->cached->by_local && input->forced == FORCED_AUTO)) {
        cascade_add(input, bins, choice, (size_t)edge_at, cascade);
    }
    if (input->cached && input->forced == FORCED_AUTO) {
        cache_add(input, choice, input->cached->by_local ? &local_error : &edge_error);
    }
    choice->chosen = candidates_cheapest(choice, input->forced);
    choice->asked = edge_at >= 0 ? (size_t)edge_at : choice->count;
}
