#include "client/daemon/boxes.h"
#include "client/daemon/request.h"

#include "common/base/clock.h"
#include "common/base/error.h"

#include <math.h>
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
    job->max_new_tokens = request_most_tokens(request->task, &request->submit);
    job->deadline_ns = request->job.plan.deadline_ns;
    job->deliver_late = request->job.plan.deliver_late;
    job->yields = request->job.plan.yields;
    job->stream = request->submit.stream;
    job->doubt_below = request_doubt_below(request);
    atomic_store(&job->ran_ns, 0);
    atomic_store(&job->step_began_ns, 0);
    request->local_out = true;
    request_local_reserve(request);
    shadows_make_way_here(request->all);
    runner_submit(request->all->runner, job);
}

/* The parts of a text's run, also of one that was not needed to its end. */
static void text_learn(struct client_task *task, const struct runner_job *job)
{
    const struct runner_work *work = &job->work;

    estimate_text_add(&task->text,
                      &(struct estimate_text_run){.prompt_bytes = (double)job->input_bytes,
                                                  .prompt_tokens = work->prompt_tokens,
                                                  .prefill_tokens = work->prefill_tokens,
                                                  .prefill_ms = ms_between(0, work->prefill_ns),
                                                  .decode_tokens = work->decode_tokens,
                                                  .decode_ms = ms_between(0, work->decode_ns)});
}

static void on_text(struct runner_job *job, const uint8_t *text, size_t bytes, void *user)
{
    struct request *request = job->owner;

    (void)user;
    request_stream_add(request, JOB_SIDE_LOCAL, text, bytes);
    request_event(request, &(struct job_event_data){.kind = JOB_LOCAL_TOKENS});
}

/* What a run teaches. One that was cut short took at least this long, and how sure the model was of
 * the beginning of a text says little about the whole. */
void request_run_learn(struct client_task *task, const struct runner_job *job)
{
    const double run_ms = ms_between(0, job->run_ns);

    if (job->answer.kind == WIRE_GENERATE) {
        text_learn(task, job);
        estimate_text_answer_add(&task->text, job->answer.tokens,
                                 job->answer.finish == WIRE_FINISH_DEADLINE);
    }
    if (job->answer.finish != WIRE_FINISH_DEADLINE) {
        estimate_local_add(&task->estimate, run_ms);
        confidence_see(&task->confidence, answer_sure(task, &job->answer));
    } else if (task->estimate.run.count == 0 || run_ms > task->estimate.run.mean) {
        estimate_local_add(&task->estimate, run_ms);
    }
}

/* What the run took that is in none of the parts it is predicted from, and was not another's. */
static void handover_learn(struct client_task *task, const struct runner_job *job)
{
    const bool is_text = job->answer.kind == WIRE_GENERATE;
    const int64_t parts_ns = is_text ? job->work.prefill_ns + job->work.decode_ns : job->run_ns;
    const double rest_ms = ms_between(job->queued_ns + job->others_ns + parts_ns, job->ended_ns);

    if (job->answer.finish == WIRE_FINISH_DEADLINE) {
        return; /* it ended when it was told to */
    }
    if (task->handover.run.count == 0) {
        estimate_local_init(&task->handover);
    }
    estimate_local_add(&task->handover, fmax(rest_ms, 0));
}

/* Whether a run that began with its request took what was predicted then. One that begins later has
 * another line before it, and one that was cut short has not taken its time. */
static void run_watch(const struct request *request, const struct runner_job *job)
{
    const struct job_plan *plan = &request->job.plan;
    const bool at_once = plan->route == JOB_LOCAL || plan->route == JOB_CASCADE || plan->race;

    if (!at_once || job->answer.finish == WIRE_FINISH_DEADLINE) {
        return;
    }
    for (size_t i = 0; i < request->choice.count; i++) {
        const struct candidate *candidate = &request->choice.candidates[i];

        if (candidate->kind == JOB_LOCAL && candidate->latency_known) {
            prediction_watch_add(&request->task->watch.predictions, &candidate->latency,
                                 ms_between(job->queued_ns, job->ended_ns));
        }
    }
}

static void on_done(struct runner_job *job, void *user)
{
    struct request *request = job->owner;
    struct decision_outcome *outcome = &request->decision.outcome;
    struct job_event_data event = {.kind = JOB_LOCAL_FAILED, .error = job->error};

    if (shadow_local_done(user, job)) {
        return;
    }
    request->local_out = false;
    request_local_spent(request, ms_between(0, job->run_ns));
    if (job->error == 0) {
        answer_judge(request->task, &job->answer);
        request_run_learn(request->task, job);
        handover_learn(request->task, job);
        run_watch(request, job);
    } else if (job->error == TANDEM_ECANCELED && job->answer.text) {
        text_learn(request->task, job);
        request_doubt_learn(request);
    }
    if (request->ended) {
        request_waste_local(request, ms_between(0, job->run_ns));
        answer_fini(&job->answer);
        request_free_if_done(request);
        return;
    }
    outcome->local_run_ms = ms_between(0, job->run_ns);
    outcome->local_wait_ms = ms_between(job->queued_ns + job->run_ns, job->ended_ns);
    if (job->error == 0) {
        const double sure = answer_sure(request->task, &job->answer);

        request->answers[JOB_SIDE_LOCAL] = job->answer;
        request->has_answer[JOB_SIDE_LOCAL] = true;
        request->decision.confidence = job->answer.confidence;
        request->decision.question.probability = sure;
        if (job->answer.kind == WIRE_DETECT) {
            decision_found(&request->decision, boxes_found(&job->answer));
        }
        event = (struct job_event_data){.kind = JOB_LOCAL_DONE,
                                        .confidence = sure,
                                        .partial = job->answer.finish == WIRE_FINISH_DEADLINE};
    } else {
        answer_fini(&job->answer);
        snprintf(request->why, sizeof(request->why), "%.250s", job->why);
        request->why_kept = job->why_kept;
    }
    request_event(request, &event);
}

const struct runner_callbacks requests_runner_callbacks = {on_text, on_done, request_on_doubt};
