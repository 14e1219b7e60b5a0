#include "client/policy/estimate_task.h"

bool estimate_task_get(const struct estimate_task *task, double wait_ms,
                       struct latency *ret_latency)
{
    return task->pictures ? estimate_local_get(task->pictures, wait_ms, ret_latency)
                          : estimate_text_get(task->texts, &task->work, wait_ms, ret_latency);
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
