/* The JSON of a decision: every name of the contract, numbers as they were, and what was not
 * measured absent or null, never 0. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/policy/decision.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <string.h>

static cJSON *written(const struct decision *decision)
{
    struct json_writer json;
    struct buf out;
    cJSON *parsed;

    buf_init(&out, 0);
    json_begin(&json, &out);
    json_object_open(&json, NULL);
    decision_json(decision, &json);
    json_object_close(&json);
    assert_int_equal(json_end(&json), 0);
    assert_int_equal(buf_append_u8(&out, 0), 0);
    parsed = cJSON_Parse((const char *)out.data);
    assert_non_null(parsed);
    buf_fini(&out);
    return parsed;
}

static const cJSON *member(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

/* `names`: NULL at the end. Each is there; a number, true or false only where `measured`. */
static void members_check(const cJSON *object, const char *const *names, bool measured)
{
    for (; *names; names++) {
        const cJSON *item = member(object, *names);

        if (measured && !item) {
            fail_msg("%s is not there", *names);
        }
        if (!measured && item && !cJSON_IsNull(item)) {
            fail_msg("%s was not measured, and is not null", *names);
        }
    }
}

static void number_check(const cJSON *object, const char *name, double expected)
{
    const cJSON *item = member(object, name);

    assert_true(cJSON_IsNumber(item));
    assert_float_equal(item->valuedouble, expected, 1e-6);
}

static void text_check(const cJSON *object, const char *name, const char *expected)
{
    const cJSON *item = member(object, name);

    assert_true(cJSON_IsString(item));
    assert_string_equal(item->valuestring, expected);
}

static struct decision full_decision(void)
{
    struct decision decision = {.id = UINT64_C(18446744073709551615),
                                .time_unix_ns = INT64_C(1700000000123456789),
                                .task = "commands",
                                .session = "talk",
                                .deadline_ms = 200,
                                .candidate_count = 2,
                                .weights = {1000, 20, 200, 40},
                                .route = "edge:den",
                                .reason = "edge is accurate and in time",
                                .confidence = 0.25,
                                .reserve = RESERVE_RACED,
                                .hedged = true,
                                .observed = true,
                                .has_outcome = true};

    decision.candidates[0] = (struct candidate){.route = "local",
                                                .latency_known = true,
                                                .latency = {1.5, 2.5},
                                                .miss_probability = 0.125,
                                                .error_probability = 0.5,
                                                .bytes = 0,
                                                .energy_j = 0.5,
                                                .cost = 77};
    decision.candidates[1] = (struct candidate){.route = "edge:den",
                                                .latency_known = true,
                                                .latency = {10, 20},
                                                .miss_probability = 0.25,
                                                .error_probability = 0.0625,
                                                .bytes = 4096,
                                                .energy_j = 0.25,
                                                .cost = 33};
    decision_waste_init(&decision.waste);
    decision.outcome = (struct decision_outcome){.route = "edge:den",
                                                 .latency_ms = 12.5,
                                                 .met_deadline = true,
                                                 .bytes_up = 4096,
                                                 .bytes_down = 6,
                                                 .cached_tokens = 32,
                                                 .error_code = 0,
                                                 .local_wait_ms = 1,
                                                 .local_run_ms = 2,
                                                 .up_ms = 3,
                                                 .paced_ms = 2.5,
                                                 .edge_wait_ms = 4,
                                                 .edge_run_ms = 5,
                                                 .model_digest = "0123456789abcdef"};
    return decision;
}

static void test_all_names_and_values(void **state)
{
    static const char *const top[] = {"schema",  "id",       "time_unix_ns", "task",
                                      "session", "tenant",   "deadline_ms",  "candidates",
                                      "route",   "reason",   "confidence",   "reserve",
                                      "hedged",  "observed", "outcome",      NULL};
    static const char *const of_candidate[] = {
        "route",    "latency_ms", "latency_p95_ms",    "miss_probability",
        "energy_j", "bytes",      "error_probability", "cost",
        NULL};
    static const char *const of_outcome[] = {"route",
                                             "latency_ms",
                                             "met_deadline",
                                             "bytes_up",
                                             "bytes_down",
                                             "cached_tokens",
                                             "error_code",
                                             "local_wait_ms",
                                             "local_run_ms",
                                             "prepare_ms",
                                             "up_ms",
                                             "edge_wait_ms",
                                             "edge_run_ms",
                                             "down_ms",
                                             "paced_ms",
                                             "model_digest",
                                             NULL};
    const struct decision decision = full_decision();
    cJSON *json = written(&decision);
    const cJSON *outcome = member(json, "outcome"), *edge;

    (void)state;
    members_check(json, top, true);
    members_check(outcome, of_outcome, true);
    assert_int_equal(cJSON_GetArraySize(member(json, "candidates")), 2);
    edge = cJSON_GetArrayItem(member(json, "candidates"), 1);
    members_check(edge, of_candidate, true);
    number_check(json, "schema", 1);
    text_check(json, "id", "18446744073709551615"); /* a double would have lost it */
    number_check(json, "deadline_ms", 200);
    text_check(json, "session", "talk");
    number_check(json, "confidence", 0.25);
    text_check(json, "reserve", "raced");
    assert_true(cJSON_IsTrue(member(json, "hedged")));
    assert_true(cJSON_IsTrue(member(json, "observed")));
    number_check(member(json, "weights"), "one_miss_ms", 1000);
    number_check(member(json, "weights"), "one_megabyte_ms", 20);
    number_check(member(json, "weights"), "one_error_ms", 200);
    number_check(member(json, "weights"), "one_joule_ms", 40);
    text_check(edge, "route", "edge:den");
    number_check(edge, "latency_ms", 10);
    number_check(edge, "latency_p95_ms", 20);
    number_check(edge, "energy_j", 0.25);
    number_check(edge, "miss_probability", 0.25);
    number_check(edge, "bytes", 4096);
    number_check(edge, "error_probability", 0.0625);
    number_check(edge, "cost", 33);
    text_check(outcome, "route", "edge:den");
    number_check(outcome, "latency_ms", 12.5);
    assert_true(cJSON_IsTrue(member(outcome, "met_deadline")));
    number_check(outcome, "bytes_up", 4096);
    number_check(outcome, "bytes_down", 6);
    number_check(outcome, "cached_tokens", 32);
    number_check(outcome, "error_code", 0);
    number_check(outcome, "local_wait_ms", 1);
    number_check(outcome, "local_run_ms", 2);
    number_check(outcome, "up_ms", 3);
    number_check(outcome, "paced_ms", 2.5);
    number_check(outcome, "edge_wait_ms", 4);
    number_check(outcome, "edge_run_ms", 5);
    text_check(outcome, "model_digest", "0123456789abcdef");
    cJSON_Delete(json);
}

static void test_measured(void **state)
{
    static const char *const names[] = {"route",      "latency_ms", "energy_j",   "bytes",
                                        "confidence", "agreed",     "error_code", NULL};
    struct decision decision = full_decision();
    cJSON *json = written(&decision);
    const cJSON *side;

    (void)state;
    assert_null(member(json, "measured"));
    cJSON_Delete(json);
    decision.measured_count = 2;
    decision.measured[0] = (struct measured){"local", 30, 0.5, 0, 0.75, 1, 0};
    decision.measured[1] = (struct measured){"edge:den", 99, NAN, 4096, NAN, -1, -4};
    json = written(&decision);
    assert_int_equal(cJSON_GetArraySize(member(json, "measured")), 2);
    side = cJSON_GetArrayItem(member(json, "measured"), 0);
    members_check(side, names, true);
    text_check(side, "route", "local");
    number_check(side, "latency_ms", 30);
    number_check(side, "energy_j", 0.5);
    number_check(side, "bytes", 0);
    number_check(side, "confidence", 0.75);
    assert_true(cJSON_IsTrue(member(side, "agreed")));
    side = cJSON_GetArrayItem(member(json, "measured"), 1);
    members_check(side, (const char *const[]){"energy_j", "confidence", "agreed", NULL}, false);
    number_check(side, "bytes", 4096);
    number_check(side, "error_code", -4);
    cJSON_Delete(json);
}

/* What was for nothing, and what the application said: absent where there is nothing to say. */
static void test_waste_and_truth(void **state)
{
    struct decision decision = full_decision();
    cJSON *json = written(&decision);

    (void)state;
    assert_null(member(json, "wasted"));
    assert_null(member(json, "correct"));
    cJSON_Delete(json);
    decision.waste.local_ms = 7.5;
    decision.answers.told = TOLD_WRONG;
    json = written(&decision);
    number_check(member(json, "wasted"), "local_ms", 7.5);
    members_check(member(json, "wasted"), (const char *const[]){"edge_ms", "bytes", NULL}, false);
    assert_true(cJSON_IsFalse(member(json, "correct")));
    cJSON_Delete(json);
    decision.waste = (struct decision_waste){NAN, 3, 4096};
    decision.answers.told = TOLD_RIGHT;
    json = written(&decision);
    members_check(member(json, "wasted"), (const char *const[]){"local_ms", NULL}, false);
    number_check(member(json, "wasted"), "edge_ms", 3);
    number_check(member(json, "wasted"), "bytes", 4096);
    assert_true(cJSON_IsTrue(member(json, "correct")));
    cJSON_Delete(json);
}

/* The record of a question that was answered before, for the first time by local (this sure), and
 * again from the cache. */
static struct decision question_decision(double confidence, double cached_error,
                                         double cached_weight)
{
    struct decision decision = full_decision();

    strcpy(decision.question.label, "cat");
    decision.question.probability = cached_error;
    decision.question.low = 0.01;
    decision.question.high = 0.5;
    decision.threshold = NAN;
    decision.confidence = confidence;
    decision.candidates[0].of_answer = true;
    decision.candidates[0].any_probability = 0.125;
    decision.candidates[0].any_weight = 0.25;
    decision.candidates[0].error_probability = cached_error;
    decision.candidates[0].error_weight = cached_weight;
    decision.candidates[0].cost = 200 * cached_weight;
    return decision;
}

static void text_of(const struct decision *decision, char *text, size_t bytes)
{
    cJSON *json = written(decision);

    assert_true(cJSON_PrintPreallocated(json, text, (int)bytes, false));
    cJSON_Delete(json);
}

/* With unequal costs a "no" is always surer than a "yes" has to be, and each of its errors weighs
 * more: nothing of that is in the record. */
static void test_yes_and_no_look_the_same(void **state)
{
    const struct decision yes = question_decision(0.25, 0.75, 0.75),
                          no = question_decision(0.96, 0.04, 0.4);
    char yes_text[4096], no_text[4096];
    cJSON *json = written(&yes);
    const cJSON *kept = cJSON_GetArrayItem(member(json, "candidates"), 0),
                *edge = cJSON_GetArrayItem(member(json, "candidates"), 1);

    (void)state;
    text_of(&yes, yes_text, sizeof(yes_text));
    text_of(&no, no_text, sizeof(no_text));
    assert_string_equal(yes_text, no_text);
    members_check(json, (const char *const[]){"confidence", "threshold", NULL}, false);
    members_check(kept, (const char *const[]){"cost", NULL}, false);
    number_check(kept, "error_probability", 0.125);
    number_check(kept, "error_weight", 0.25);
    number_check(edge, "cost", 33); /* its answer is not known yet */
    number_check(edge, "error_probability", 0.0625);
    cJSON_Delete(json);
}

/* Of answers made of boxes whether anything was found; of others there is no such member. */
static void test_found(void **state)
{
    struct decision decision = full_decision();
    cJSON *object = written(&decision);

    (void)state;
    assert_null(member(object, "found"));
    cJSON_Delete(object);
    for (int found = 0; found < 2; found++) {
        decision.threshold = 0.75;
        decision_found(&decision, found);
        object = written(&decision);
        assert_true(found ? cJSON_IsTrue(member(object, "found"))
                          : cJSON_IsFalse(member(object, "found")));
        assert_true(found ? cJSON_IsNumber(member(object, "threshold"))
                          : cJSON_IsNull(member(object, "threshold")));
        cJSON_Delete(object);
    }
}

static void test_outcome_is_null_while_running(void **state)
{
    struct decision decision = full_decision();
    cJSON *json;

    (void)state;
    decision.has_outcome = false;
    json = written(&decision);
    assert_true(cJSON_IsNull(member(json, "outcome")));
    cJSON_Delete(json);
}

/* A request that failed at once: nothing is known, nothing was measured. */
static void test_unmeasured_is_never_zero(void **state)
{
    static const char *const top[] = {"session", "tenant", "deadline_ms", "confidence", NULL};
    static const char *const of_candidate[] = {"latency_ms", "latency_p95_ms", "miss_probability",
                                               "energy_j",   "cost",           NULL};
    static const char *const of_outcome[] = {
        "route",         "latency_ms",   "bytes_up",   "bytes_down",   "cached_tokens",
        "local_wait_ms", "local_run_ms", "prepare_ms", "up_ms",        "edge_wait_ms",
        "edge_run_ms",   "down_ms",      "paced_ms",   "model_digest", NULL};
    struct decision decision = {
        .task = "objects", .confidence = NAN, .candidate_count = 1, .has_outcome = true};
    cJSON *json;

    (void)state;
    decision.candidates[0] = (struct candidate){.route = "edge:den",
                                                .miss_probability = NAN,
                                                .energy_j = NAN,
                                                .cost = NAN,
                                                .error_probability = 0.1};
    decision_outcome_init(&decision.outcome);
    decision_waste_init(&decision.waste);
    decision.outcome.error_code = -12;
    json = written(&decision);
    members_check(json, top, false);
    members_check(cJSON_GetArrayItem(member(json, "candidates"), 0), of_candidate, false);
    members_check(member(json, "outcome"), of_outcome, false);
    assert_true(cJSON_IsFalse(member(member(json, "outcome"), "met_deadline")));
    number_check(member(json, "outcome"), "error_code", -12);
    cJSON_Delete(json);
}

/* Zero is a number where it was measured: nothing went over the wire, nothing was cached. */
static void test_measured_zero_stays(void **state)
{
    struct decision decision = full_decision();
    cJSON *json;

    (void)state;
    decision.outcome.cached_tokens = 0;
    decision.outcome.bytes_down = 0;
    decision.confidence = 0;
    json = written(&decision);
    number_check(member(json, "outcome"), "cached_tokens", 0);
    number_check(member(json, "outcome"), "bytes_down", 0);
    number_check(json, "confidence", 0);
    number_check(cJSON_GetArrayItem(member(json, "candidates"), 0), "bytes", 0);
    cJSON_Delete(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_names_and_values),
                                       cmocka_unit_test(test_measured),
                                       cmocka_unit_test(test_yes_and_no_look_the_same),
                                       cmocka_unit_test(test_waste_and_truth),
                                       cmocka_unit_test(test_found),
                                       cmocka_unit_test(test_outcome_is_null_while_running),
                                       cmocka_unit_test(test_unmeasured_is_never_zero),
                                       cmocka_unit_test(test_measured_zero_stays)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
