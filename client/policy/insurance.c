#include "client/policy/insurance.h"

#include "common/base/clock.h"

#include <math.h>

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

void insurance_plan(const struct decide_input *input, struct choice *choice, int64_t hedge_ns)
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
