/* estimate_task.h: what this device takes for a request of one task, be it a picture
 * (estimate_local.h) or a text (estimate_text.h). Pure; borrows the estimates. Times in ms. */
#ifndef TANDEM_POLICY_ESTIMATE_TASK_H
#define TANDEM_POLICY_ESTIMATE_TASK_H

#include "client/policy/estimate_text.h"

struct estimate_task {
    const struct estimate_local *pictures; /* of a task that asks for texts: NULL, */
    const struct estimate_text *texts;     /* else this one */
    struct estimate_text_work work;        /* a text request's */
    double chunk_tokens;                   /* of a prompt, in one step of the runner */
    const struct estimate_local *handover; /* what a run takes beside its steps; may be NULL */
};
/* With `wait_ms` of queue before it. False, nothing written: not known. */
bool estimate_task_get(const struct estimate_task *task, double wait_ms,
                       struct latency *ret_latency);
/* The same until the answer is back from the runner: with what the handover takes, as far as that
 * was measured. */
bool estimate_task_answer_get(const struct estimate_task *task, double wait_ms,
                              struct latency *ret_latency);
/* On the average, without the queue. 0: not known. */
double estimate_task_ms(const struct estimate_task *task);
/* What a run takes at most: of compute, and of that in one step. NAN: not known. */
double estimate_task_bound_ms(const struct estimate_task *task);
double estimate_task_step_ms(const struct estimate_task *task);

#endif
