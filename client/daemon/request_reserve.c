#include "client/daemon/request.h"

#include "client/policy/insurance.h"
#include "common/base/clock.h"

static bool has_run(const struct request *request)
{
    return insurance_has_run(&request->job, request->local_out, request->ended);
}

bool requests_local_wanted(const struct requests *all)
{
    for (const struct request *at = all->list; at; at = at->next) {
        if (has_run(at)) {
            return true;
        }
    }
    return false;
}

/* The step is looked at last: one that ends in between counts for nothing, and none counts twice.
 */
void runner_job_credit(const struct runner_job *job, int64_t now_ns, struct decide_insured *insured)
{
    const int64_t ran_ns = atomic_load(&job->ran_ns);

    insurance_credit(insured, ran_ns, atomic_load(&job->step_began_ns), now_ns);
}

size_t requests_insured(const struct requests *all, double late_ms, struct decide_insured *insured,
                        size_t max)
{
    const int64_t now_ns = clock_now_ns();
    size_t count = 0;

    for (const struct request *at = all->list; at && count < max; at = at->next) {
        const struct estimate_task run = request_estimate(at);

        if (!has_run(at) ||
            !insurance_of(&at->job, &run, at->local_out, at->ended, late_ms, &insured[count])) {
            continue;
        }
        if (at->local_out) {
            runner_job_credit(&at->local, now_ns, &insured[count]);
        }
        count++;
    }
    return shadows_insured(all, insured, count, max);
}

void requests_pull_in(struct requests *all)
{
    struct request *next;

    for (struct request *at = all->list; at; at = next) {
        next = at->next;
        if (at->choice.reserve == RESERVE_KEPT) {
            request_event(at, &(struct job_event_data){.kind = JOB_PULL_IN});
        }
    }
}
