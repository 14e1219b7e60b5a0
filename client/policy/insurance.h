/* insurance.h: the promises that local runs are kept free for. Pure; part of decide.
 *
 * A promise is a local run with a deadline, started or still to start at a known moment, and its
 * bound: by design no more than half as much again as the worst of the last 64 runs of its task
 * (estimate_local.h, estimate_text.h). The runner takes the earliest deadline first and turns from
 * one run to another between steps only. Run i is in time, whatever of its bound each run needs,
 * when for every run k that is due no later than i
 *
 *   start(k) + B(k, i) + sum of the runs due by i that start no sooner than k + margin(i) <= due(i)
 *
 * where B(k, i) is the longest step of a run that is due after i and may be in the way: any of
 * them, since each may start sooner than planned, when its edge fails; but where k stands in line
 * already, what is left of the step that one of them is in. (The demand bound of earliest deadline
 * first with preemption at fixed points, Baruah 2005.) It also holds when runs take less than their
 * bound or start sooner, which a drawn-up schedule does not. What comes later and is due later adds
 * its own step, so a place is kept one step of its own task longer than the run. */
#ifndef TANDEM_POLICY_INSURANCE_H
#define TANDEM_POLICY_INSURANCE_H

#include "client/policy/decide.h"
#include "client/policy/estimate_task.h"

/* Whether a request's local run is with the runner (`out`), or will be at a known moment. One that
 * was cancelled still has its step to the end, and is out until then; `ended`: has its answer. */
bool insurance_has_run(const struct job *job, bool out, bool ended);
/* That run, of which nothing is done yet. False, nothing written: what it takes is not known. */
bool insurance_of(const struct job *job, const struct estimate_task *task, bool out, bool ended,
                  double late_ms, struct decide_insured *ret_run);
/* What a run has had is off what it needs: `ran_ns` in steps that have ended, and the one that it
 * is in since `step_began_ns` (0: in none), of which the rest is in the others' way. Counted in
 * full it would look late in its last moments, and what looks late anyway is nobody's doing. */
void insurance_credit(struct decide_insured *run, int64_t ran_ns, int64_t step_began_ns,
                      int64_t now_ns);

/* The runs that are not sure to be in time, bit i for runs[i]. `count` is at most INSURED_MAX. */
uint64_t insurance_late(const struct decide_insured *runs, size_t count, int64_t now_ns);

/* Whether a place could be kept for the local run until its last moment. */
bool insurance_would_keep(const struct decide_input *input);

/* Plans the local run of a request whose route is chosen: when it starts, whether a place is kept
 * for it, and what the task's rule makes of it where there is none. `hedge_ns`: beside an edge it
 * starts then even where the deadline would leave more time; 0: not. Writes plan, reserve, pull_in
 * and, where there is no reserve, the reason. 0, or TANDEM_EBUSY where the rule refuses it. */
int insurance_plan(const struct decide_input *input, struct choice *choice, int64_t hedge_ns);

#endif
