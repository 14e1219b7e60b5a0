#include "client/policy/decision.h"

#include "common/base/error.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define DECISION_NOTE_BYTES 160

void decision_outcome_init(struct decision_outcome *outcome)
{
    memset(outcome, 0, sizeof(*outcome));
    outcome->latency_ms = outcome->bytes_up = outcome->bytes_down = NAN;
    outcome->local_wait_ms = outcome->local_run_ms = outcome->up_ms = outcome->edge_wait_ms = outcome->edge_run_ms = NAN;
    outcome->cached_tokens = -1;
}

/* Why a cascade's local answer stayed although it was not sure, or who answered instead. */
static void cascade_end(const struct decision *decision, const struct job *job, enum job_side by,
                        char note[DECISION_NOTE_BYTES])
{
    const double sure = decision->confidence, wanted = job->plan.threshold;
    const int edge_error = job->error[JOB_SIDE_EDGE];

    if (job->side[JOB_SIDE_LOCAL] != JOB_SIDE_DONE) {
        snprintf(note, DECISION_NOTE_BYTES, "local failed (%s), the edge was asked",
                 tandem_error_text(job->error[JOB_SIDE_LOCAL]));
    } else if (by == JOB_SIDE_EDGE) {
        snprintf(note, DECISION_NOTE_BYTES, "not sure, %.2f < %.2f, the edge was asked", sure,
                 wanted);
    } else if (sure >= wanted) {
        snprintf(note, DECISION_NOTE_BYTES, "sure enough, %.2f >= %.2f", sure, wanted);
    } else if (job->side[JOB_SIDE_EDGE] == JOB_SIDE_IDLE) {
        snprintf(note, DECISION_NOTE_BYTES, "kept at %.2f < %.2f, the edge would miss the deadline",
                 sure, wanted);
    } else if (edge_error != 0) {
        snprintf(note, DECISION_NOTE_BYTES, "kept at %.2f < %.2f, the edge failed (%s)", sure,
                 wanted, tandem_error_text(edge_error));
    } else {
        snprintf(note, DECISION_NOTE_BYTES,
                 "kept at %.2f < %.2f, the edge had no better answer in time", sure, wanted);
    }
}

static void edge_end(const struct job *job, enum job_side by, char note[DECISION_NOTE_BYTES])
{
    const int edge_error = job->error[JOB_SIDE_EDGE];

    if (by == JOB_SIDE_LOCAL && edge_error != 0) {
        snprintf(note, DECISION_NOTE_BYTES, "the edge failed (%s), local took over",
                 tandem_error_text(edge_error));
    } else if (by == JOB_SIDE_LOCAL) {
        snprintf(note, DECISION_NOTE_BYTES,
                 job->plan.race ? "local started with it and answered first"
                                : "no answer by the last moment for a local run, local took over");
    } else if (job->hedged) {
        snprintf(note, DECISION_NOTE_BYTES, "local started too, the edge's answer was taken");
    }
}

void decision_end(struct decision *decision, const struct job *job, const struct job_action *end)
{
    char note[DECISION_NOTE_BYTES] = "";
    const size_t used = strlen(decision->reason);

    if (end->kind != JOB_DELIVER) {
        return; /* the error says it */
    }
    if (job->plan.route == JOB_CASCADE) {
        cascade_end(decision, job, end->side, note);
    } else if (job->plan.route == JOB_EDGE) {
        edge_end(job, end->side, note);
    }
    if (note[0]) {
        snprintf(decision->reason + used, sizeof(decision->reason) - used, "%s%s",
                 used ? ": " : "", note);
    }
}

static void candidate_json(const struct candidate *candidate, struct json_writer *json)
{
    const double latency = candidate->latency_known ? candidate->latency.mean_ms : NAN;
    const double p95 = candidate->latency_known ? candidate->latency.p95_ms : NAN;

    json_object_open(json, NULL);
    json_text(json, "route", candidate->route);
    json_double(json, "latency_ms", latency);
    json_double(json, "latency_p95_ms", p95);
    json_double(json, "miss_probability", candidate->miss_probability);
    json_double(json, "energy_j", candidate->energy_j);
    json_double(json, "bytes", candidate->bytes);
    json_double(json, "error_probability", candidate->error_probability);
    json_double(json, "cost", candidate->cost);
    json_object_close(json);
}

static void outcome_json(const struct decision_outcome *outcome, struct json_writer *json)
{
    json_object_open(json, "outcome");
    json_text(json, "route", outcome->route[0] ? outcome->route : NULL);
    json_double(json, "latency_ms", outcome->latency_ms);
    json_bool(json, "met_deadline", outcome->met_deadline);
    json_double(json, "bytes_up", outcome->bytes_up);
    json_double(json, "bytes_down", outcome->bytes_down);
    if (outcome->cached_tokens >= 0) {
        json_int(json, "cached_tokens", outcome->cached_tokens);
    }
    json_int(json, "error_code", outcome->error_code);
    json_double(json, "local_wait_ms", outcome->local_wait_ms);
    json_double(json, "local_run_ms", outcome->local_run_ms);
    json_null(json, "prepare_ms"); /* not measured here */
    json_double(json, "up_ms", outcome->up_ms);
    json_double(json, "edge_wait_ms", outcome->edge_wait_ms);
    json_double(json, "edge_run_ms", outcome->edge_run_ms);
    json_null(json, "down_ms"); /* no clock is shared with the edge */
    json_text(json, "model_digest", outcome->model_digest[0] ? outcome->model_digest : NULL);
    json_object_close(json);
}

void decision_json(const struct decision *decision, struct json_writer *json)
{
    char id[21];

    snprintf(id, sizeof(id), "%" PRIu64, decision->id);
    json_int(json, "schema", 1);
    json_text(json, "id", id);
    json_int(json, "time_unix_ns", decision->time_unix_ns);
    json_text(json, "task", decision->task);
    json_text(json, "session", decision->session[0] ? decision->session : NULL);
    json_null(json, "tenant");
    json_double(json, "deadline_ms", decision->deadline_ms > 0 ? decision->deadline_ms : NAN);
    json_array_open(json, "candidates");
    for (size_t i = 0; i < decision->candidate_count; i++) {
        candidate_json(&decision->candidates[i], json);
    }
    json_array_close(json);
    json_text(json, "route", decision->route);
    json_text(json, "reason", decision->reason);
    json_double(json, "confidence", decision->confidence);
    json_double(json, "threshold", decision->threshold);
    json_bool(json, "hedged", decision->hedged);
    if (decision->has_outcome) {
        outcome_json(&decision->outcome, json);
    } else {
        json_null(json, "outcome");
    }
}
