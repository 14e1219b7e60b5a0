#include "client/daemon/request.h"

#include "common/base/clock.h"

#include <stdio.h>

void request_local_start(struct request *request)
{
    struct runner_job *job = &request->local;

    job->owner = request;
    job->model = &request->task->local;
    job->input = request->session ? request->transcript.data : request->input.data;
    job->input_bytes = request->session ? request->transcript.bytes : request->input.bytes;
    job->transcript = request->session != NULL;
    job->picture = request->submit.picture;
    job->sampling = request->submit.sampling;
    job->max_new_tokens = request->submit.max_new_tokens
                              ? request->submit.max_new_tokens
                              : (uint32_t)request->task->config->max_new_tokens;
    job->deadline_ns = request->job.plan.deadline_ns;
    request->local_out = true;
    runner_submit(request->all->runner, job);
}

void requests_runner_done(struct runner_job *job, void *user)
{
    struct request *request = job->owner;
    struct decision_outcome *outcome = &request->decision.outcome;
    struct job_event_data event = {.kind = JOB_LOCAL_FAILED, .error = job->error};

    (void)user;
    request->local_out = false;
    if (job->error == 0) {
        estimate_local_add(&request->task->estimate, ms_between(job->started_ns, job->ended_ns));
        confidence_see(&request->task->confidence, job->answer.confidence);
    }
    if (request->ended) {
        answer_fini(&job->answer);
        request_free_if_done(request);
        return;
    }
    outcome->local_wait_ms = ms_between(job->queued_ns, job->started_ns);
    outcome->local_run_ms = ms_between(job->started_ns, job->ended_ns);
    if (job->error == 0) {
        request->answers[JOB_SIDE_LOCAL] = job->answer;
        request->has_answer[JOB_SIDE_LOCAL] = true;
        request->decision.confidence = job->answer.confidence;
        event =
            (struct job_event_data){.kind = JOB_LOCAL_DONE, .confidence = job->answer.confidence};
    } else {
        snprintf(request->why, sizeof(request->why), "%.250s", job->why);
    }
    request_event(request, &event);
}
