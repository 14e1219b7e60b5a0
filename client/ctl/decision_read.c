#include "client/ctl/decision_read.h"
#include "client/ctl/member.h"

#include "client/policy/reason.h"
#include "common/base/error.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double number_of(const cJSON *object, const char *key)
{
    const cJSON *value = member_get(object, key);

    return cJSON_IsNumber(value) && isfinite(value->valuedouble) ? value->valuedouble : NAN;
}

static double number_or(const cJSON *object, const char *key, double otherwise)
{
    const double number = number_of(object, key);

    return isnan(number) ? otherwise : number;
}

static void text_copy(const cJSON *object, const char *key, char *ret_text, size_t bytes)
{
    const char *text = cJSON_GetStringValue(member_get(object, key));

    snprintf(ret_text, bytes, "%s", text ? text : "");
}

static int error_of(const cJSON *object)
{
    return (int)fmax(fmin(number_or(object, "error_code", 0), 0), -10000);
}

static uint32_t whole_of(const cJSON *object, const char *key)
{
    return (uint32_t)fmin(fmax(number_or(object, key, 0), 0), UINT32_MAX);
}

static void candidate_read(const cJSON *object, struct candidate *candidate)
{
    const cJSON *upload = member_get(object, "upload");
    const double error = number_or(object, "error_probability", 0);

    *candidate = (struct candidate){
        .edge = -1,
        .latency = {number_or(object, "latency_ms", 0), number_or(object, "latency_p95_ms", 0)},
        .latency_known = !isnan(number_of(object, "latency_ms")),
        .miss_probability = number_of(object, "miss_probability"),
        .error_probability = error,
        .error_weight = number_or(object, "error_weight", error),
        .bytes = number_or(object, "bytes", 0),
        .energy_j = number_of(object, "energy_j"),
        .cost = number_of(object, "cost"),
        .upload = {.width = whole_of(upload, "width"),
                   .height = whole_of(upload, "height"),
                   .quality = whole_of(upload, "quality")}};
    text_copy(object, "route", candidate->route, sizeof(candidate->route));
}

static void candidates_read(const cJSON *decision, struct replay_record *record)
{
    const cJSON *item;

    cJSON_ArrayForEach(item, member_get(decision, "candidates"))
    {
        if (record->candidate_count < LIMIT_CANDIDATES && cJSON_IsObject(item)) {
            candidate_read(item, &record->candidates[record->candidate_count++]);
        }
    }
}

static void sides_read(const cJSON *decision, struct replay_record *record)
{
    const cJSON *item;

    cJSON_ArrayForEach(item, member_get(decision, "measured"))
    {
        struct replay_side *side = &record->sides[record->side_count];
        const cJSON *agreed = member_get(item, "agreed");

        if (record->side_count == LIMIT_CANDIDATES || isnan(number_of(item, "latency_ms"))) {
            continue; /* it did not end */
        }
        text_copy(item, "route", side->route, sizeof(side->route));
        side->latency_ms = number_of(item, "latency_ms");
        side->bytes = number_of(item, "bytes");
        side->energy_j = number_of(item, "energy_j");
        side->error_code = error_of(item);
        side->agreed = cJSON_IsBool(agreed) ? cJSON_IsTrue(agreed) : -1;
        side->confidence = number_of(item, "confidence");
        record->side_count++;
    }
}

static void weights_read(const cJSON *weights, struct replay_record *record)
{
    const struct decide_weights read = {
        number_of(weights, "one_miss_ms"), number_of(weights, "one_megabyte_ms"),
        number_of(weights, "one_error_ms"), number_of(weights, "one_joule_ms")};

    record->has_weights =
        !isnan(read.one_miss_ms + read.one_megabyte_ms + read.one_error_ms + read.one_joule_ms);
    if (record->has_weights) {
        record->weights = read;
    }
}

static void outcome_read(const cJSON *outcome, struct replay_record *record)
{
    text_copy(outcome, "route", record->by, sizeof(record->by));
    record->latency_ms = number_of(outcome, "latency_ms");
    record->met_deadline = cJSON_IsTrue(member_get(outcome, "met_deadline"));
    record->bytes_up = number_of(outcome, "bytes_up");
    record->local_wait_ms = number_of(outcome, "local_wait_ms");
    record->local_run_ms = number_of(outcome, "local_run_ms");
    record->error_code = error_of(outcome);
}

bool decision_is_beyond_routes(int error_code)
{
    static const int codes[] = {TANDEM_ECANCELED, TANDEM_ESUPERSEDED, TANDEM_EINVAL,
                                TANDEM_EFORMAT,   TANDEM_ENOTASK,     TANDEM_EUNSUPPORTED};

    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (error_code == codes[i]) {
            return true;
        }
    }
    return false;
}

int decision_read(const cJSON *object, struct replay_record *ret_record)
{
    const char *id = cJSON_GetStringValue(member_get(object, "id"));
    const char *reason = cJSON_GetStringValue(member_get(object, "reason"));
    const cJSON *correct = member_get(object, "correct");
    struct replay_record record = {.threshold = number_of(object, "threshold"),
                                   .confidence = number_of(object, "confidence"),
                                   .deadline_ms = number_or(object, "deadline_ms", 0),
                                   .observed = cJSON_IsTrue(member_get(object, "observed"))};

    if (!id || !cJSON_IsString(member_get(object, "task")) ||
        !cJSON_IsString(member_get(object, "route"))) {
        return TANDEM_EUNSUPPORTED;
    }
    if (cJSON_IsBool(correct)) {
        record.told = cJSON_IsTrue(correct) ? TOLD_RIGHT : TOLD_WRONG;
    }
    outcome_read(member_get(object, "outcome"), &record);
    record.id = strtoull(id, NULL, 10);
    record.forced = reason && strncmp(reason, REASON_FORCED, strlen(REASON_FORCED)) == 0;
    text_copy(object, "task", record.task, sizeof(record.task));
    text_copy(object, "route", record.route, sizeof(record.route));
    candidates_read(object, &record);
    sides_read(object, &record);
    weights_read(member_get(object, "weights"), &record);
    *ret_record = record;
    return !cJSON_IsObject(member_get(object, "outcome")) ||
                   decision_is_beyond_routes(record.error_code)
               ? TANDEM_ENOTFOUND
               : 0;
}
