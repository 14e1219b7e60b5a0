#include "client/policy/insurance.h"

#include "client/policy/candidates.h"
#include "common/base/clock.h"
#include "common/base/error.h"

#include <math.h>
#include <string.h>

_Static_assert(INSURED_MAX <= 64, "one bit for each run");

enum verdict { VERDICT_FITS, VERDICT_OWN_LATE, VERDICT_OTHERS_LATE };

/* The runs with the new one behind them. */
struct runs {
    struct decide_insured items[INSURED_MAX];
    size_t count;      /* with the new one */
    uint64_t late_now; /* of the others, without it */
    bool full;         /* there are more than can be looked at */
};

static int64_t later_of(int64_t a_ns, int64_t b_ns)
{
    return a_ns > b_ns ? a_ns : b_ns;
}

static int64_t ns_of(double ms)
{
    return (int64_t)(ms * (double)NS_PER_MS);
}

bool insurance_has_run(const struct job *job, bool out, bool ended)
{
    return out ||
           (!ended && job->plan.insure_at_ns != 0 && job->side[JOB_SIDE_LOCAL] == JOB_SIDE_IDLE &&
            job->side[JOB_SIDE_EDGE] == JOB_SIDE_RUNNING);
}

bool insurance_of(const struct job *job, const struct estimate_task *task, bool out, bool ended,
                  double late_ms, struct decide_insured *ret_run)
{
    const struct job_plan *plan = &job->plan;
    const double bound_ms = estimate_task_bound_ms(task);

    if (isnan(bound_ms)) {
        return false;
    }
    *ret_run = (struct decide_insured){
        .start_ns = out ? 0 : plan->insure_at_ns,
        .deadline_ns = ended || plan->yields || plan->deadline_ns == 0 ? INSURED_NO_DEADLINE
                                                                       : plan->deadline_ns,
        .run_ns = ns_of(bound_ms),
        .step_ns = ns_of(estimate_task_step_ms(task)),
        .margin_ns = ns_of(ESTIMATE_MARGIN_MS + late_ms)};
    return true;
}

void insurance_credit(struct decide_insured *run, int64_t ran_ns, int64_t step_began_ns,
                      int64_t now_ns)
{
    const int64_t in_step_ns = step_began_ns != 0 ? now_ns - step_began_ns : 0;

    run->in_step_ns = step_began_ns != 0 ? later_of(run->step_ns - in_step_ns, 1) : 0;
    run->run_ns = later_of(run->run_ns - ran_ns - in_step_ns, run->in_step_ns);
}

/* The order of their starts, the earliest first. */
static void order_by_start(const struct decide_insured *runs, size_t count,
                           size_t order[INSURED_MAX])
{
    for (size_t i = 0; i < count; i++) {
        size_t at = i;

        while (at > 0 && runs[order[at - 1]].start_ns > runs[i].start_ns) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = i;
    }
}

/* Whether run `of` may be late; see insurance.h. */
static bool is_late(const struct decide_insured *runs, size_t count,
                    const size_t order[INSURED_MAX], const struct decide_insured *of,
                    int64_t now_ns)
{
    int64_t any_step_ns = 0, in_step_ns = 0, demand_ns = 0, ends_ns = now_ns;

    for (size_t i = 0; i < count; i++) {
        if (runs[i].deadline_ns > of->deadline_ns) {
            any_step_ns = later_of(runs[i].step_ns, any_step_ns);
            in_step_ns = later_of(runs[i].in_step_ns, in_step_ns);
        }
    }
    for (size_t at = count; at-- > 0;) {
        const struct decide_insured *run = &runs[order[at]];
        const int64_t step_ns = run->start_ns == 0 ? in_step_ns : any_step_ns;

        if (run->deadline_ns <= of->deadline_ns) {
            demand_ns += run->run_ns;
            ends_ns = later_of(later_of(run->start_ns, now_ns) + step_ns + demand_ns, ends_ns);
        }
    }
    return ends_ns + of->margin_ns > of->deadline_ns;
}

uint64_t insurance_late(const struct decide_insured *runs, size_t count, int64_t now_ns)
{
    size_t order[INSURED_MAX];
    uint64_t late = 0;

    order_by_start(runs, count, order);
    for (size_t i = 0; i < count; i++) {
        if (runs[i].deadline_ns != INSURED_NO_DEADLINE &&
            is_late(runs, count, order, &runs[i], now_ns)) {
            late |= UINT64_C(1) << i;
        }
    }
    return late;
}

static void runs_fill(const struct decide_input *input, struct runs *runs)
{
    runs->full = input->insured_count + 1 > INSURED_MAX;
    runs->count = runs->full ? INSURED_MAX : input->insured_count + 1;
    if (runs->count > 1) {
        memcpy(runs->items, input->insured, (runs->count - 1) * sizeof(*runs->items));
    }
    runs->items[runs->count - 1] = (struct decide_insured){
        .deadline_ns = input->deadline_ns ? input->deadline_ns : INSURED_NO_DEADLINE,
        .run_ns = ns_of(input->local_bound_ms),
        .step_ns = ns_of(input->local_step_ms),
        .margin_ns = ns_of(input->margin_ms)};
    runs->late_now = insurance_late(runs->items, runs->count - 1, input->now_ns);
}

/* With the new run at `start_ns`. What would be late without it too is not its doing. */
static enum verdict verdict_at(struct runs *runs, int64_t start_ns, int64_t now_ns)
{
    const uint64_t own = UINT64_C(1) << (runs->count - 1);
    uint64_t late;

    runs->items[runs->count - 1].start_ns = start_ns;
    late = insurance_late(runs->items, runs->count, now_ns);
    if (runs->full || (late & ~own & ~runs->late_now) != 0) {
        return VERDICT_OTHERS_LATE;
    }
    return (late & own) != 0 ? VERDICT_OWN_LATE : VERDICT_FITS;
}

/* The last moment at which the new run may start and still be in time, behind one step of its own
 * task or a longer one that is there already. */
static int64_t last_start_ns(const struct runs *runs)
{
    const struct decide_insured *own = &runs->items[runs->count - 1];
    int64_t step_ns = own->step_ns;

    for (size_t i = 0; i + 1 < runs->count; i++) {
        if (runs->items[i].deadline_ns > own->deadline_ns && runs->items[i].step_ns > step_ns) {
            step_ns = runs->items[i].step_ns;
        }
    }
    return own->deadline_ns - own->margin_ns - own->run_ns - step_ns;
}

/* What is kept a place starts at once: all of them stand in line before the new one. */
static void all_start(struct runs *runs)
{
    for (size_t i = 0; i + 1 < runs->count; i++) {
        runs->items[i].start_ns = 0;
    }
}

static bool is_known(const struct decide_input *input)
{
    return input->local_known && !isnan(input->local_bound_ms);
}

bool insurance_would_keep(const struct decide_input *input)
{
    struct runs runs;
    int64_t start_ns;

    if (!is_known(input) || input->deadline_ns == 0) {
        return false;
    }
    runs_fill(input, &runs);
    start_ns = last_start_ns(&runs);
    return start_ns > input->now_ns && verdict_at(&runs, start_ns, input->now_ns) == VERDICT_FITS;
}

/* The new run starts at once; where that would take another's place, all that have one start too,
 * before it. */
static enum verdict start_now(const struct decide_input *input, struct runs *runs,
                              struct choice *choice)
{
    enum verdict verdict = verdict_at(runs, input->now_ns, input->now_ns);

    if (verdict == VERDICT_OTHERS_LATE) {
        all_start(runs);
        verdict = verdict_at(runs, input->now_ns, input->now_ns);
        choice->pull_in = true;
    }
    return verdict;
}

/* The edge alone: local joins only when the edge fails, behind every promise. False: there is none.
 */
static bool edge_alone(const struct decide_input *input, struct choice *choice)
{
    const size_t at = candidates_cheapest(choice, FORCED_EDGE);

    if (at == choice->count || input->forced != FORCED_AUTO) {
        return false;
    }
    choice->chosen = choice->asked = at;
    choice->edge = choice->candidates[at].edge;
    choice->plan.route = JOB_EDGE;
    choice->plan.race = choice->pull_in = false;
    choice->plan.insure_at_ns = choice->plan.patience_ns = choice->plan.edge_needs_ns = 0;
    choice->plan.yields = true;
    return true;
}

/* The task's rule. `others`: the new run would take the place of others. */
static int no_reserve(const struct decide_input *input, struct choice *choice, bool others)
{
    choice->reserve = RESERVE_NONE;
    choice->reason = "no local reserve";
    if (input->no_reserve == NO_RESERVE_DROP) {
        return TANDEM_EBUSY;
    }
    if (input->no_reserve == NO_RESERVE_ACCEPT_RISK && edge_alone(input, choice)) {
        return 0;
    }
    choice->plan.yields = others;
    return 0;
}

/* An edge is asked. Local starts when a place for it ends, or at once. */
static int beside_edge(const struct decide_input *input, struct runs *runs, struct choice *choice,
                       int64_t hedge_ns)
{
    const struct decide_insured *own = &runs->items[runs->count - 1];
    int64_t start_ns = last_start_ns(runs);
    enum verdict verdict;

    if (hedge_ns > input->now_ns && hedge_ns < start_ns) {
        start_ns = hedge_ns;
    }
    if (start_ns > input->now_ns && verdict_at(runs, start_ns, input->now_ns) == VERDICT_FITS) {
        choice->plan.insure_at_ns = start_ns;
        choice->reserve = RESERVE_KEPT;
        return 0;
    }
    choice->plan.race = true;
    choice->plan.insure_at_ns = input->now_ns;
    verdict = start_now(input, runs, choice);
    if (verdict == VERDICT_FITS) {
        choice->reserve = RESERVE_RACED;
        return 0;
    }
    if (verdict == VERDICT_OWN_LATE &&
        input->now_ns + own->run_ns + own->margin_ns > own->deadline_ns) {
        choice->reserve = RESERVE_NONE; /* nor would an idle device be sure to be in time */
        return 0;
    }
    return no_reserve(input, choice, verdict == VERDICT_OTHERS_LATE);
}

int insurance_plan(const struct decide_input *input, struct choice *choice, int64_t hedge_ns)
{
    const enum job_route route = choice->candidates[choice->chosen].kind;
    struct runs runs;

    if (!is_known(input) || (route == JOB_EDGE && input->deadline_ns == 0)) {
        return 0;
    }
    runs_fill(input, &runs);
    if (route == JOB_EDGE) {
        return beside_edge(input, &runs, choice, hedge_ns);
    }
    /* It runs here at once, and whether in time was weighed already; not at the others' cost. */
    return start_now(input, &runs, choice) == VERDICT_OTHERS_LATE ? no_reserve(input, choice, true)
                                                                  : 0;
}
