#include "client/policy/decision.h"

#include "client/policy/budget.h"
#include "client/policy/told_line.h"
#include "common/base/clock.h"
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
    outcome->local_wait_ms = outcome->local_run_ms = outcome->prepare_ms = outcome->up_ms =
        outcome->edge_wait_ms = outcome->edge_run_ms = outcome->paced_ms = NAN;
    outcome->cached_tokens = -1;
}

void decision_waste_init(struct decision_waste *waste)
{
    waste->local_ms = waste->edge_ms = waste->bytes = NAN;
}

/* What asks the edge whatever local says: there "0.66 < 1.00" would say nothing. */
#define ALWAYS_ASKS 1.0

void decision_thresholds(struct decision *decision, const struct job_plan *plan, const char *label)
{
    const bool cascade = plan->route == JOB_CASCADE, asks = label[0] != '\0';

    decision->threshold = cascade && !asks ? plan->threshold : NAN;
    decision->question =
        (struct decision_question){.probability = NAN,
                                   .low = cascade && asks ? plan->stay_below : NAN,
                                   .high = cascade && asks ? plan->threshold : NAN};
    snprintf(decision->question.label, sizeof(decision->question.label), "%s", label);
}

void decision_found(struct decision *decision, bool found)
{
    decision->boxes = true;
    decision->found = found;
    if (!found) {
        decision->threshold = NAN;
    }
}

static bool found_nothing(const struct decision *decision)
{
    return decision->boxes && !decision->found;
}

/* How sure it is as the plan's thresholds are. */
static double sure_of(const struct decision *decision)
{
    return decision->question.label[0] ? decision->question.probability
           : found_nothing(decision)   ? CONFIDENCE_NOTHING
                                       : decision->confidence;
}

static bool always_asks(const struct decision *decision, const struct job_plan *plan)
{
    return plan->threshold >= ALWAYS_ASKS && !found_nothing(decision) &&
           (decision->boxes ? plan->stay_below < 0 : plan->stay_below <= 0);
}

static bool is_sure(const struct decision *decision, const struct job *job)
{
    return job->side[JOB_SIDE_LOCAL] == JOB_SIDE_DONE && !job->partial[JOB_SIDE_LOCAL] &&
           job_is_sure(&job->plan, sure_of(decision));
}

bool decision_stayed(const struct decision *decision, const struct job *job,
                     const struct job_action *end)
{
    return end->kind == JOB_DELIVER && end->side == JOB_SIDE_LOCAL &&
           (job->side[JOB_SIDE_EDGE] == JOB_SIDE_IDLE || is_sure(decision, job));
}

/* "0.63 < 0.70", with as many digits as tell the two apart. */
static void sure_text(double sure, double wanted, char text[DECISION_NOTE_BYTES])
{
    const int digits = wanted - sure < 0.01 ? 4 : 2;

    snprintf(text, DECISION_NOTE_BYTES, "%.*f < %.*f", digits, sure, digits, wanted);
}

/* "found nothing, believed wrong 12 % of such times": what is learned of that stands in for a
 * confidence. */
static void nothing_text(const struct decision *decision, char text[DECISION_NOTE_BYTES])
{
    snprintf(text, DECISION_NOTE_BYTES, "found nothing, believed wrong %.0f %% of such times",
             100 * (1 - decision->confidence));
}

/* Of a question a number would tell which answer it was, and a record holds no content. */
static const char unsure_of_question[] = "not sure enough of yes or no";

/* Why the local answer did not stay, but the edge's was taken. */
static void unsure_text(const struct decision *decision, const struct job *job, const char *then,
                        char note[DECISION_NOTE_BYTES])
{
    char sure[DECISION_NOTE_BYTES];

    if (decision->question.label[0]) {
        snprintf(note, DECISION_NOTE_BYTES, "%s, %.120s", unsure_of_question, then);
    } else if (found_nothing(decision)) {
        nothing_text(decision, sure);
        snprintf(note, DECISION_NOTE_BYTES, "%.80s, %s", sure, then);
    } else {
        sure_text(decision->confidence, job->plan.threshold, sure);
        snprintf(note, DECISION_NOTE_BYTES, "not sure, %.40s, %s", sure, then);
    }
}

/* Why it stayed though it was not sure. */
static void kept_text(const struct decision *decision, const struct job *job, const char *missing,
                      char note[DECISION_NOTE_BYTES])
{
    char sure[DECISION_NOTE_BYTES];

    if (decision->question.label[0]) {
        snprintf(note, DECISION_NOTE_BYTES, "kept though %s, %.100s", unsure_of_question, missing);
    } else if (found_nothing(decision)) {
        nothing_text(decision, sure);
        snprintf(note, DECISION_NOTE_BYTES, "kept though it %.60s, %.80s", sure, missing);
    } else {
        sure_text(decision->confidence, job->plan.threshold, sure);
        snprintf(note, DECISION_NOTE_BYTES, "kept at %.40s, %.100s", sure, missing);
    }
}

static void sure_enough_text(const struct decision *decision, const struct job *job,
                             char note[DECISION_NOTE_BYTES])
{
    char nothing[DECISION_NOTE_BYTES];

    if (decision->question.label[0]) {
        snprintf(note, DECISION_NOTE_BYTES, "sure enough of yes or no");
    } else if (found_nothing(decision)) {
        nothing_text(decision, nothing);
        snprintf(note, DECISION_NOTE_BYTES, "sure enough, %.80s", nothing);
    } else {
        snprintf(note, DECISION_NOTE_BYTES, "sure enough, %.2f >= %.2f", decision->confidence,
                 job->plan.threshold);
    }
}

static const char *edge_error_text(const struct decision *decision, const struct job *job)
{
    return job->edge_gone              ? "its connection was lost"
           : decision->edge_refused[0] ? decision->edge_refused
                                       : tandem_error_text(job->error[JOB_SIDE_EDGE]);
}

/* What became of the edge whose answer was not delivered. */
static void edge_missing(const struct decision *decision, const struct job *job, int64_t now_ns,
                         char text[DECISION_NOTE_BYTES])
{
    const int edge_error = job->error[JOB_SIDE_EDGE];
    const int64_t waited_ns = now_ns - job->asked_ns;
    const double waited_ms = (double)waited_ns / (double)NS_PER_MS;

    if (job->side[JOB_SIDE_EDGE] == JOB_SIDE_IDLE) {
        snprintf(text, DECISION_NOTE_BYTES, "the edge would miss the deadline");
    } else if (job->side[JOB_SIDE_EDGE] == JOB_SIDE_DONE) {
        snprintf(text, DECISION_NOTE_BYTES, "the deadline cut the edge's answer short");
    } else if (edge_error != 0) {
        snprintf(text, DECISION_NOTE_BYTES, "the edge failed (%s)", edge_error_text(decision, job));
    } else if (job->plan.patience_ns != 0 && waited_ns >= job->plan.patience_ns) {
        snprintf(text, DECISION_NOTE_BYTES,
                 "the edge was given up after %.0f ms as not worth waiting for", waited_ms);
    } else {
        snprintf(text, DECISION_NOTE_BYTES,
                 "the edge had not answered in the %.0f ms that the deadline left", waited_ms);
    }
}

/* A cascade whose edge answered. */
static void cascade_went(const struct decision *decision, const struct job *job,
                         char note[DECISION_NOTE_BYTES])
{
    const char *const then = job->plan.race ? "the edge's answer was taken" : "the edge was asked";
    char sure[DECISION_NOTE_BYTES];

    if (job->doubt_tokens > 0) {
        sure_text(job->doubt, job->plan.threshold, sure);
        snprintf(note, DECISION_NOTE_BYTES, "not sure after %" PRIu32 " token%s, %.40s, %s",
                 job->doubt_tokens, job->doubt_tokens == 1 ? "" : "s", sure, then);
    } else if (job->error[JOB_SIDE_LOCAL] != 0) {
        snprintf(note, DECISION_NOTE_BYTES, "local failed (%s), %s",
                 tandem_error_text(job->error[JOB_SIDE_LOCAL]), then);
    } else if (job->side[JOB_SIDE_LOCAL] != JOB_SIDE_DONE) {
        snprintf(note, DECISION_NOTE_BYTES, "the edge answered first");
    } else if (job->partial[JOB_SIDE_LOCAL]) {
        snprintf(note, DECISION_NOTE_BYTES, "the deadline cut the local answer short, %s", then);
    } else if (always_asks(decision, &job->plan)) {
        snprintf(note, DECISION_NOTE_BYTES, "no local answer counts as sure here, %s", then);
    } else {
        unsure_text(decision, job, then, note);
    }
}

/* Why a cascade's local answer was delivered, or who answered instead. */
static void cascade_end(const struct decision *decision, const struct job *job, enum job_side by,
                        int64_t now_ns, char note[DECISION_NOTE_BYTES])
{
    char missing[DECISION_NOTE_BYTES];

    if (by == JOB_SIDE_EDGE) {
        cascade_went(decision, job, note);
        return;
    }
    if (is_sure(decision, job)) {
        sure_enough_text(decision, job, note);
        return;
    }
    edge_missing(decision, job, now_ns, missing);
    if (job->partial[JOB_SIDE_LOCAL]) {
        snprintf(note, DECISION_NOTE_BYTES, "kept though cut short, %.120s", missing);
    } else if (always_asks(decision, &job->plan)) {
        snprintf(note, DECISION_NOTE_BYTES, "kept though not sure, %.120s", missing);
    } else {
        kept_text(decision, job, missing, note);
    }
}

static void edge_end(const struct decision *decision, const struct job *job, enum job_side by,
                     char note[DECISION_NOTE_BYTES])
{
    const struct job_plan *plan = &job->plan;
    const int edge_error = job->error[JOB_SIDE_EDGE];

    if (by == JOB_SIDE_LOCAL && edge_error != 0) {
        snprintf(note, DECISION_NOTE_BYTES, "the edge failed (%s), local took over",
                 edge_error_text(decision, job));
    } else if (by == JOB_SIDE_LOCAL && job->side[JOB_SIDE_EDGE] == JOB_SIDE_DONE) {
        snprintf(note, DECISION_NOTE_BYTES,
                 "the deadline cut the edge's answer short, the local one was whole");
    } else if (by == JOB_SIDE_LOCAL && plan->race) {
        snprintf(note, DECISION_NOTE_BYTES, "local started with it and answered first");
    } else if (by == JOB_SIDE_LOCAL && plan->insure_at_ns > job->asked_ns) {
        snprintf(note, DECISION_NOTE_BYTES, "no answer of the edge in %.0f ms, local took over",
                 (double)(plan->insure_at_ns - job->asked_ns) / (double)NS_PER_MS);
    } else if (by == JOB_SIDE_LOCAL) {
        snprintf(note, DECISION_NOTE_BYTES, "no answer of the edge in time, local took over");
    } else if (job->hedged) {
        snprintf(note, DECISION_NOTE_BYTES, "local started too, the edge's answer was taken");
    }
}

/* What an edge that was asked was sent, where that was not what came. */
static void upload_note(struct decision *decision)
{
    const struct upload_form *upload = &decision->outcome.upload;
    const size_t used = strlen(decision->reason);

    if (decision->upload_reason && upload->width != 0) {
        snprintf(decision->reason + used, sizeof(decision->reason) - used,
                 "%ssent as %ux%u at quality %u: %s", used ? "; " : "", upload->width,
                 upload->height, upload->quality, decision->upload_reason);
    } else if (decision->upload_reason) {
        snprintf(decision->reason + used, sizeof(decision->reason) - used, "%ssent as it came: %s",
                 used ? "; " : "", decision->upload_reason);
    }
}

/* One that failed: its error says most of it, but not that of an edge that was asked. */
static void fail_end(const struct decision *decision, const struct job *job,
                     const struct job_action *end, char note[DECISION_NOTE_BYTES])
{
    const int edge_error = job->error[JOB_SIDE_EDGE];

    if (job->edge_gone || (edge_error != 0 && edge_error != end->error)) {
        snprintf(note, DECISION_NOTE_BYTES, "the edge failed (%s)", edge_error_text(decision, job));
    }
}

void decision_end(struct decision *decision, const struct job *job, const struct job_action *end,
                  int64_t now_ns)
{
    char note[DECISION_NOTE_BYTES] = "";
    const size_t used = strlen(decision->reason);

    if (end->kind == JOB_FAIL) {
        fail_end(decision, job, end, note);
    } else if (end->kind == JOB_DELIVER && job->plan.route == JOB_CASCADE) {
        cascade_end(decision, job, end->side, now_ns, note);
    } else if (end->kind == JOB_DELIVER && job->plan.route == JOB_EDGE) {
        edge_end(decision, job, end->side, note);
    }
    if (note[0]) {
        snprintf(decision->reason + used, sizeof(decision->reason) - used, "%s%s", used ? ": " : "",
                 note);
    }
    upload_note(decision);
}

/* As it came: null. */
static void upload_json(const struct upload_form *upload, struct json_writer *json)
{
    if (upload->width == 0) {
        json_null(json, "upload");
        return;
    }
    json_object_open(json, "upload");
    json_int(json, "width", upload->width);
    json_int(json, "height", upload->height);
    json_int(json, "quality", upload->quality);
    json_int(json, "bytes", (int64_t)upload->bytes);
    json_object_close(json);
}

/* `asks`: of a yes/no question, where what a known answer is believed to cost would tell which of
 * the two it is. */
static void candidate_json(const struct candidate *candidate, bool asks, struct json_writer *json)
{
    const bool hides = asks && candidate->of_answer;
    const double latency = candidate->latency_known ? candidate->latency.mean_ms : NAN;
    const double p95 = candidate->latency_known ? candidate->latency.p95_ms : NAN;

    json_object_open(json, NULL);
    json_text(json, "route", candidate->route);
    json_double(json, "latency_ms", latency);
    json_double(json, "latency_p95_ms", p95);
    json_double(json, "miss_probability", candidate->miss_probability);
    json_double(json, "energy_j", candidate->energy_j);
    json_double(json, "bytes", candidate->bytes);
    json_double(json, "error_probability",
                hides ? candidate->any_probability : candidate->error_probability);
    if (asks) {
        json_double(json, "error_weight", hides ? candidate->any_weight : candidate->error_weight);
    }
    json_double(json, "cost", hides ? NAN : candidate->cost);
    upload_json(&candidate->upload, json);
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
    upload_json(&outcome->upload, json);
    if (outcome->cached_tokens >= 0) {
        json_int(json, "cached_tokens", outcome->cached_tokens);
    }
    json_int(json, "error_code", outcome->error_code);
    json_text(json, "error_text", outcome->error_text[0] ? outcome->error_text : NULL);
    json_double(json, "local_wait_ms", outcome->local_wait_ms);
    json_double(json, "local_run_ms", outcome->local_run_ms);
    json_double(json, "prepare_ms", outcome->prepare_ms);
    json_double(json, "up_ms", outcome->up_ms);
    json_double(json, "paced_ms", outcome->paced_ms);
    json_double(json, "edge_wait_ms", outcome->edge_wait_ms);
    json_double(json, "edge_run_ms", outcome->edge_run_ms);
    json_null(json, "down_ms"); /* no clock is shared with the edge */
    json_text(json, "model_digest", outcome->model_digest[0] ? outcome->model_digest : NULL);
    json_object_close(json);
}

void decision_measured_json(const struct decision *decision, struct json_writer *json)
{
    if (decision->measured_count == 0) {
        return;
    }
    json_array_open(json, "measured");
    for (size_t i = 0; i < decision->measured_count; i++) {
        const struct measured *side = &decision->measured[i];

        json_object_open(json, NULL);
        json_text(json, "route", side->route);
        json_double(json, "latency_ms", side->latency_ms);
        json_double(json, "energy_j", side->energy_j);
        json_double(json, "bytes", side->bytes);
        json_double(json, "confidence", side->confidence);
        if (side->agreed >= 0) {
            json_bool(json, "agreed", side->agreed > 0);
        } else {
            json_null(json, "agreed");
        }
        json_int(json, "error_code", side->error_code);
        json_object_close(json);
    }
    json_array_close(json);
}

void decision_correct_json(const struct decision *decision, struct json_writer *json)
{
    if (decision->answers.told != TOLD_NOTHING) {
        json_bool(json, "correct", decision->answers.told == TOLD_RIGHT);
    }
}

void decision_forgotten_json(const struct decision *decision, struct json_writer *json)
{
    (void)decision;
    json_bool(json, "forgotten", true);
}

void decision_waste_json(const struct decision *decision, struct json_writer *json)
{
    const struct decision_waste *waste = &decision->waste;

    if (isnan(waste->local_ms) && isnan(waste->edge_ms) && isnan(waste->bytes)) {
        return;
    }
    json_object_open(json, "wasted");
    json_double(json, "local_ms", waste->local_ms);
    json_double(json, "edge_ms", waste->edge_ms);
    json_double(json, "bytes", waste->bytes);
    json_object_close(json);
}

static void weights_json(const struct decide_weights *weights, struct json_writer *json)
{
    json_object_open(json, "weights");
    json_double(json, "one_miss_ms", weights->one_miss_ms);
    json_double(json, "one_megabyte_ms", weights->one_megabyte_ms);
    json_double(json, "one_error_ms", weights->one_error_ms);
    json_double(json, "one_joule_ms", weights->one_joule_ms);
    json_object_close(json);
}

static const char *reserve_text(enum decide_reserve reserve)
{
    static const char *const texts[] = {[RESERVE_UNASKED] = NULL,
                                        [RESERVE_KEPT] = "kept",
                                        [RESERVE_RACED] = "raced",
                                        [RESERVE_NONE] = "none"};

    return texts[reserve];
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
        candidate_json(&decision->candidates[i], decision->question.label[0] != '\0', json);
    }
    json_array_close(json);
    weights_json(&decision->weights, json);
    json_text(json, "route", decision->route);
    json_text(json, "reason", decision->reason);
    json_double(json, "confidence", decision->question.label[0] ? NAN : decision->confidence);
    json_double(json, "threshold", decision->threshold);
    if (decision->boxes) {
        json_bool(json, "found", decision->found);
    }
    if (decision->question.label[0]) {
        json_text(json, "positive_label", decision->question.label);
        json_double(json, "threshold_low", decision->question.low);
        json_double(json, "threshold_high", decision->question.high);
    }
    json_text(json, "reserve", reserve_text(decision->reserve));
    json_bool(json, "hedged", decision->hedged);
    json_bool(json, "observed", decision->observed);
    if (decision->has_outcome) {
        outcome_json(&decision->outcome, json);
    } else {
        json_null(json, "outcome");
    }
    decision_waste_json(decision, json);
    decision_measured_json(decision, json);
    told_answers_json(&decision->answers, json);
    decision_correct_json(decision, json);
}
