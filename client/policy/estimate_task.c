#include "client/policy/estimate_task.h"

#include <math.h>

bool estimate_task_get(const struct estimate_task *task, double wait_ms,
                       struct latency *ret_latency)
{
    return task->pictures ? estimate_local_get(task->pictures, wait_ms, ret_latency)
                          : estimate_text_get(task->texts, &task->work, wait_ms, ret_latency);
}

bool estimate_task_answer_get(const struct estimate_task *task, double wait_ms,
                              struct latency *ret_latency)
{
    struct latency run, handover;

    if (!estimate_task_get(task, wait_ms, &run)) {
        return false;
    }
    *ret_latency = run;
    if (task->handover && estimate_local_get(task->handover, 0, &handover)) {
        ret_latency->mean_ms = run.mean_ms + handover.mean_ms;
        ret_latency->p95_ms = ret_latency->mean_ms +
                              hypot(run.p95_ms - run.mean_ms, handover.p95_ms - handover.mean_ms);
    }
    return true;
}

double estimate_task_ms(const struct estimate_task *task)
{
    struct latency latency;

    return estimate_task_get(task, 0, &latency) ? latency.mean_ms : 0;
}

double estimate_task_bound_ms(const struct estimate_task *task)
{
    return task->pictures ? estimate_local_bound_ms(task->pictures)
                          : estimate_text_bound_ms(task->texts, &task->work);
}

double estimate_task_step_ms(const struct estimate_task *task)
{
    return task->pictures ? estimate_local_bound_ms(task->pictures)
                          : estimate_text_step_ms(task->texts, &task->work, task->chunk_tokens);
}
