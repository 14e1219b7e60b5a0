#include "client/policy/decide.h"

#include "client/policy/budget.h"
#include "client/policy/candidates.h"
#include "client/policy/insurance.h"
#include "client/policy/reason.h"
#include "common/base/clock.h"
#include "common/base/error.h"

#include <math.h>
#include <string.h>

#define HOPE_SHARE    0.7 /* of what is believed: less is worth a try */
#define PATIENCE_GAIN 0.5 /* an edge that is late for a while may be dead */

/* How long an edge is waited for: what it takes, and then as long as half of what its answer is
 * worth. Who has a local answer already takes the mean: to wait longer than the edge's answer is
 * worth has lost, whatever comes. Who has none takes what is enough nineteen times of twenty. */
static int64_t patience_ns(double takes_ms, double gain_ms)
{
    return (int64_t)((takes_ms + PATIENCE_GAIN * gain_ms) * (double)NS_PER_MS);
}

/* An edge alone: local joins when the edge has had its time. */
static int64_t hedge_at_ns(const struct decide_input *input, const struct confidence_bin *bins,
                           const struct choice *choice)
{
    const struct candidate *chosen = &choice->candidates[choice->chosen];
    struct edge_belief belief;
    struct cascade_error local, edge;

    if (chosen->kind != JOB_EDGE || !chosen->latency_known ||
        !energy_carries(input, candidates_both_joule(input, choice))) {
        return 0;
    }
    belief = candidate_edge_belief(input, (size_t)chosen->edge);
    cascade_errors(bins, &belief, &local, &edge);
    return input->now_ns +
           patience_ns(chosen->latency.p95_ms,
                       input->weights.one_error_ms * fmax(local.weight - edge.weight, 0));
}

/* The latency that may be hoped for where the edge is sent this candidate's form. */
static double best_of(const struct decide_input *input, const struct candidate *candidate)
{
    const struct decide_edge *edge = &input->edges[candidate->edge];

    for (size_t i = 0; i < edge->form_count; i++) {
        const struct upload_form *form = &edge->forms[i].upload;

        if (form->width == candidate->upload.width && form->row == candidate->upload.row) {
            return edge->forms[i].best_ms;
        }
    }
    return edge->best_ms;
}

static int plan_make(const struct decide_input *input, const struct confidence_bin *bins,
                     struct choice *choice, const struct cascade *cascade)
{
    const struct candidate *chosen = &choice->candidates[choice->chosen];
    struct job_plan *plan = &choice->plan;

    plan->route = chosen->kind;
    plan->local_allowed = input->has_local && (input->forced != FORCED_EDGE || input->fixed);
    plan->deadline_ns = input->deadline_ns;
    plan->handover_ns = LIMIT_HANDOVER_US * NS_PER_US;
    plan->deliver_late = input->deliver_late;
    plan->late_until_ns =
        (input->deadline_ns > input->now_ns ? input->deadline_ns : input->now_ns) +
        LIMIT_LATE_MS * NS_PER_MS;
    plan->threshold = confidence_at_place(input->confidence, cascade->threshold);
    plan->stay_below = confidence_at_place(input->confidence, cascade->below);
    choice->edge = chosen->edge;
    choice->upload_reason = reason_of_upload(input, choice);
    if (chosen->kind == JOB_CASCADE && input->edges[chosen->edge].latency_known) {
        const struct latency *edge = &choice->candidates[choice->asked].latency;
        const double best_ms = best_of(input, &choice->candidates[choice->asked]);
        const bool hopes = input->edges[chosen->edge].retry_due && best_ms < edge->mean_ms;

        plan->edge_needs_ns = (int64_t)((hopes ? best_ms : edge->mean_ms) * (double)NS_PER_MS);
        plan->race = cascade->at_once;
        if (input->forced == FORCED_AUTO || input->fixed) {
            plan->patience_ns =
                choice->hoped_ms > 0
                    ? (int64_t)(DECIDE_HOPE_FACTOR * choice->hoped_ms * (double)NS_PER_MS)
                    : patience_ns(edge->mean_ms, cascade->gain_ms);
        }
    }
    return plan->local_allowed && chosen->kind != JOB_CACHE
               ? insurance_plan(input, choice, hedge_at_ns(input, bins, choice))
               : 0;
}

/* The same of each form that the picture may be sent in; whether there is hope for any. */
static bool forms_hope(struct decide_edge *edge)
{
    bool any = false;

    for (size_t i = 0; i < edge->form_count; i++) {
        struct decide_form *form = &edge->forms[i];

        if (edge->retry_due && form->latency_known &&
            form->best_ms < HOPE_SHARE * form->latency.mean_ms) {
            edge->failure = 0;
            form->latency.mean_ms = form->latency.p95_ms = form->best_ms;
            any = true;
        }
    }
    return any;
}

/* An edge that was slow once would never be asked again, and so never be known to be fast: where
 * the latency that may be hoped for would make an edge the choice, and a local run that starts at
 * the last moment is sure to save the deadline, this request finds out. */
static void retry_consider(const struct decide_input *input, const struct confidence_bin *bins,
                           struct choice *choice, struct cascade *cascade)
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
        any |= forms_hope(&edges[i]);
    }
    hopeful.edges = edges;
    if (!any) {
        return;
    }
    candidates_fill(&hopeful, bins, &other, &hoped);
    candidate = &other.candidates[other.chosen];
    if (candidate->edge < 0 || !input->edges[candidate->edge].retry_due ||
        (other.chosen == choice->chosen &&
         (candidate->kind != JOB_CASCADE || hoped.asked <= cascade->asked))) {
        return;
    }
    if (energy_carries(input, candidates_both_joule(input, &other)) &&
        (candidate->kind == JOB_CASCADE || insurance_would_keep(input))) {
        choice->chosen = other.chosen;
        choice->candidates[choice->chosen].edge = candidate->edge;
        choice->candidates[choice->chosen].upload = candidate->upload;
        choice->asked = other.asked;
        choice->reason = "edge is asked again to learn its latency";
        *cascade = hoped;
        choice->hoped_ms = best_of(input, &choice->candidates[choice->asked]);
    }
}

static const char *energy_reason(const struct decide_input *input)
{
    return input->energy_left > 0 ? BUDGET_ENERGY_SHORT : BUDGET_ENERGY_USED;
}

/* An edge and local at once, for want of a place to keep: where the energy of this hour does not
 * carry both, local alone is what is sure to be in time. Where not even that is, the edge is not
 * left for it, and local joins when the edge fails. */
static int race_afford(const struct decide_input *input, const struct confidence_bin *bins,
                       struct choice *choice, const struct cascade *cascade)
{
    struct job_plan *plan = &choice->plan;
    const size_t local = candidates_cheapest(choice, FORCED_LOCAL);

    if (plan->route != JOB_EDGE || !plan->race || local == choice->count ||
        energy_carries(input, candidates_both_joule(input, choice))) {
        return 0;
    }
    if (choice->reserve != RESERVE_RACED) {
        plan->race = false;
        plan->insure_at_ns = 0;
        return 0;
    }
    choice->chosen = local;
    choice->hoped_ms = 0;
    choice->reserve = RESERVE_UNASKED;
    choice->pull_in = false;
    choice->reason = energy_reason(input);
    *plan = (struct job_plan){.route = JOB_LOCAL};
    return plan_make(input, bins, choice, cascade);
}

/* The energy of this hour does not carry what was chosen. Used up, an answer that was given before,
 * however sure, goes before all that takes some. A fixed route gives way to local where that takes
 * less. An edge that was chosen for it is asked in that form. */
static void thrift(const struct decide_input *input, struct choice *choice)
{
    const size_t before = choice->chosen, local = candidates_cheapest(choice, FORCED_LOCAL);
    size_t at;

    if (energy_carries(input, choice->candidates[before].energy_j)) {
        return;
    }
    at = candidates_carried(input, choice, input->forced);
    at = at < choice->count ? at : candidates_thriftiest(choice, input->forced);
    if (input->fixed && local < choice->count &&
        choice->candidates[local].energy_j < choice->candidates[at].energy_j &&
        candidate_is_thriftier(&choice->candidates[local], &choice->candidates[at])) {
        at = local;
    }
    choice->chosen = at;
    choice->asked = choice->candidates[at].kind == JOB_EDGE ? at : choice->asked;
    if (input->forced == FORCED_AUTO && input->energy_left <= 0) {
        choice->reason = BUDGET_ENERGY_USED;
    } else if (at != before && (input->forced == FORCED_AUTO || input->fixed)) {
        choice->reason = energy_reason(input);
    }
}

double check_purse_take(const struct check_purse *purse)
{
    return (purse->decided + 1) % DECIDE_CHECK_EACH == 0 ? purse->saved_ms : 0;
}

void check_purse_decided(struct check_purse *purse, const struct choice *choice)
{
    purse->decided++;
    if (choice->chosen < choice->count && choice->candidates[choice->chosen].cost > 0) {
        purse->saved_ms += DECIDE_CHECK_SHARE * choice->candidates[choice->chosen].cost;
    }
    purse->saved_ms =
        fmax(fmin(purse->saved_ms, choice->weights.one_error_ms) - choice->check_ms, 0);
}

/* Both sides are asked where local is not believed; false: not this time. `plain`: what is chosen
 * otherwise. */
static bool check_consider(const struct decide_input *input, const struct cascade *cascade,
                           const struct candidate *plain, struct choice *choice)
{
    const size_t at = candidates_cheapest(choice, FORCED_CASCADE);
    double more_ms;

    if (plain->kind == JOB_CACHE || at == choice->count || !(cascade->asked > 0)) {
        return false;
    }
    more_ms = fmax(choice->candidates[at].cost - plain->cost, 0);
    if (more_ms > fmin(input->check_ms, input->weights.one_error_ms)) {
        return false;
    }
    choice->chosen = at;
    choice->check_ms = more_ms;
    choice->reason = "both sides are asked, to see how right local is";
    thrift(input, choice);
    return choice->chosen == at;
}

/* With `plain`, what was chosen without it, a check; not 0 then: not this time. */
static int decide_once(const struct decide_input *input, const struct choice *plain,
                       struct choice *ret_choice)
{
    struct confidence_bin bins[CONFIDENCE_BINS];
    struct cascade cascade;
    int result;

    if (input->costs) {
        cascade_two_bins(input->confidence, input->costs, bins);
    } else {
        confidence_bins(input->confidence, bins);
    }
    memset(ret_choice, 0, sizeof(*ret_choice));
    ret_choice->edge = -1;
    ret_choice->weights = input->weights;
    ret_choice->plan.deadline_ns = input->deadline_ns; /* also of a request that has no route */
    candidates_fill(input, bins, ret_choice, &cascade);
    reason_note_trouble(input, ret_choice);
    if (ret_choice->chosen == ret_choice->count && input->has_local &&
        (input->forced == FORCED_CASCADE || input->fixed)) {
        /* of a cascade the first half is there; the reason says why not the other */
        ret_choice->chosen = candidates_cheapest(ret_choice, FORCED_LOCAL);
    }
    if (ret_choice->chosen == ret_choice->count) {
        ret_choice->reason = reason_of_no_route(input);
        return TANDEM_ENOROUTE;
    }
    ret_choice->reason = reason_of_choice(input, ret_choice, &cascade);
    if (plain && !check_consider(input, &cascade, &plain->candidates[plain->chosen], ret_choice)) {
        return TANDEM_ENOROUTE;
    }
    thrift(input, ret_choice);
    retry_consider(input, bins, ret_choice, &cascade);
    result = plan_make(input, bins, ret_choice, &cascade);
    if (result == 0) {
        result = race_afford(input, bins, ret_choice, &cascade);
    }
    if (result != 0) {
        ret_choice->edge = -1;
        ret_choice->plan = (struct job_plan){.deadline_ns = input->deadline_ns};
    }
    return result;
}

int decide(const struct decide_input *input, struct choice *ret_choice)
{
    struct decide_input plain = *input;
    struct choice check;
    int result;

    plain.check_ms = 0;
    result = decide_once(&plain, NULL, ret_choice);
    if (result == 0 && input->check_ms > 0 && input->forced == FORCED_AUTO &&
        decide_once(input, ret_choice, &check) == 0) {
        *ret_choice = check;
    }
    return result;
}
