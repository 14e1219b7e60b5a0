#include "client/daemon/learn.h"
#include "client/daemon/request.h"

#include <string.h>

/* Where the edge is asked anyway there is nothing to hurry. */
double request_doubt_below(const struct request *request)
{
    const struct job_plan *plan = &request->job.plan;

    return plan->route == JOB_CASCADE && !plan->race ? plan->threshold : 0;
}

void request_on_doubt(struct runner_job *job, uint32_t tokens, double confidence, void *user)
{
    struct request *request = job->owner;

    (void)user;
    if (!request->ended) {
        request->decision.confidence = confidence; /* of what there is; the whole one's follows */
        request_event(request, &(struct job_event_data){.kind = JOB_LOCAL_DOUBT,
                                                        .confidence = confidence,
                                                        .tokens = tokens});
    }
}

/* Its confidence is that of the part it has said, and so it is held against that part of the edge's
 * answer. Else the texts that are the least sure would never be compared where the edge is fast. */
void request_doubt_learn(struct request *request)
{
    const struct answer *local = &request->local.answer, *edge = &request->answers[JOB_SIDE_EDGE];

    confidence_see(&request->task->confidence, local->confidence);
    if (request->has_answer[JOB_SIDE_EDGE] && edge->finish != WIRE_FINISH_DEADLINE && edge->text) {
        learn_agreement(request, local->confidence,
                        local->text_bytes <= edge->text_bytes &&
                            memcmp(local->text, edge->text, local->text_bytes) == 0);
    }
}
