#include "client/daemon/request.h"

#include "client/policy/insurance.h"
#include "common/base/clock.h"

#include <math.h>

double request_bound_ms(const struct client_task *task, const struct estimate_text_work *work)
{
    return task->config->kind == TASK_GENERATE ? estimate_text_bound_ms(&task->text, work)
                                               : estimate_local_bound_ms(&task->estimate);
}

double request_step_ms(const struct client_task *task, const struct estimate_text_work *work)
{
    return task->config->kind == TASK_GENERATE
               ? estimate_text_step_ms(&task->text, work, RUNNER_CHUNK_TOKENS)
               : estimate_local_bound_ms(&task->estimate);
}

/* Whether its local run is with the runner, or will be at a known moment. One that was cancelled
 * still has its step to the end. */
static bool has_run(const struct request *request)
{
    return request->local_out || (!request->ended && request->job.plan.insure_at_ns != 0 &&
                                  request->job.side[JOB_SIDE_LOCAL] == JOB_SIDE_IDLE &&
                                  request->job.side[JOB_SIDE_EDGE] == JOB_SIDE_RUNNING);
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
        const struct job_plan *plan = &at->job.plan;
        struct estimate_text_work work;
        double bound_ms;

        if (!has_run(at)) {
            continue;
        }
        work = request_work(at);
        bound_ms = request_bound_ms(at->task, &work);
        if (isnan(bound_ms)) {
            continue;
        }
        insured[count] = (struct decide_insured){
            .start_ns = at->local_out ? 0 : plan->insure_at_ns,
            .deadline_ns = at->ended || plan->yields || plan->deadline_ns == 0 ? INSURED_NO_DEADLINE
                                                                               : plan->deadline_ns,
            .run_ns = (int64_t)(bound_ms * (double)NS_PER_MS),
            .step_ns = (int64_t)(request_step_ms(at->task, &work) * (double)NS_PER_MS),
            .margin_ns = (int64_t)((ESTIMATE_MARGIN_MS + late_ms) * (double)NS_PER_MS)};
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
