/* Shadow runs: what runs for the record, when, what it teaches and tells, and that it is in
 * nobody's way and sends nothing that may not leave. Everything around is fake. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/daemon/fake_site.h"

#include <math.h>
#include <stdio.h>

#define LOCAL_MS 30

enum { OBJECTS, COMMANDS, TASKS };

static struct task_config configs[TASKS];
static struct client_task items[TASKS];
static struct tasks tasks, others; /* `others`: after a reload */
static struct decision told;       /* by on_amended */
static int told_count;

static void on_amended(const struct decision *decision, decision_member_fn *member, void *user)
{
    (void)user;
    if (member != decision_measured_json) {
        return;
    }
    told = *decision;
    told_count++;
}

/* Everything is observed, runs here, and has a shadow. */
static int setup(void **state)
{
    (void)state;
    told_count = 0;
    site_begin(&tasks);
    (void)estimate_link_rtt(&fake.link, 10, fake.now_ns);
    fake.load = (struct edge_load){
        .picture_us = 20000, .prefill_tokens_per_s = 1000, .decode_tokens_per_s = 1000};
    config = (struct client_config){.one_miss_ms = 1000,
                                    .one_error_ms = 1000,
                                    .mode = MODE_OBSERVE,
                                    .observe_route = OBSERVE_LOCAL,
                                    .shadow_percent = 100,
                                    .compute_watt = 2};
    fake_task("objects", TASK_CLASSIFY, &configs[OBJECTS], &items[OBJECTS]);
    fake_task("commands", TASK_GENERATE, &configs[COMMANDS], &items[COMMANDS]);
    estimate_local_add(&items[OBJECTS].estimate, LOCAL_MS);
    tasks = others = (struct tasks){.configs = configs, .items = items, .count = TASKS};
    all.on_amended = on_amended;
    return requests_init(&all);
}

static void loop_run(void)
{
    (void)uv_run(&loop, UV_RUN_NOWAIT); /* closes the timers of what has ended */
}

static int teardown(void **state)
{
    const int result = site_end();

    (void)state;
    assert_int_equal(all.shadows.count, 0);
    assert_int_equal(all.shadows.held_bytes, 0);
    return result;
}

static struct request *submit_as(int task, const char *route, uint32_t leaves, const char *session)
{
    static uint64_t id;
    static uint8_t input[] = "picture";
    struct local_submit message = {
        .deadline_us = UINT64_C(1000000), .has_picture = task == OBJECTS, .leaves_device = leaves};

    snprintf(message.task, sizeof(message.task), "%s", configs[task].name);
    snprintf(message.route, sizeof(message.route), "%s", route);
    snprintf(message.session, sizeof(message.session), "%s", session);
    requests_app_callbacks.on_submit((struct app_peer *)&peer, ++id, &message,
                                     (struct app_input){.data = input, .bytes = 7, .mapped = true},
                                     &all);
    return all.list;
}

static struct request *submit(int task, const char *route)
{
    return submit_as(task, route, 0, "");
}

static struct answer answer_of(const char *label, double confidence)
{
    struct answer answer = {.kind = WIRE_CLASSIFY, .label_count = 1, .confidence = confidence};

    answer.labels = calloc(1, sizeof(*answer.labels));
    answer.labels[0].label = strdup(label);
    return answer;
}

/* The last local run that was begun ends, after its time. */
static void local_end(int error, const char *label)
{
    struct runner_job *job = fake.started[--fake.started_count];

    job->queued_ns = fake.now_ns;
    job->run_ns = LOCAL_MS * NS_PER_MS;
    job->error = error;
    if (error == 0) {
        fake.now_ns += job->run_ns;
        job->answer = answer_of(label, 0.6);
    }
    job->ended_ns = fake.now_ns;
    requests_runner_callbacks.on_done(job, &all);
    loop_run();
}

/* The last one that was sent to an edge is answered. */
static void edge_end(const char *label)
{
    const struct fake_sent *sent = &fake.sent[fake.sent_count - 1];
    struct edge_result result = {
        .answer = answer_of(label, 0.9), .wait_us = 1000, .run_us = 9000, .model_digest = "abc"};

    fake.now_ns += 45 * NS_PER_MS;
    requests_link_callbacks.on_acked(sent->edge, sent->id, &all);
    requests_link_callbacks.on_result(sent->edge, sent->id, &result, 77, &all);
    answer_fini(&result.answer);
    loop_run();
}

static uint64_t compared(const struct client_task *task, size_t edge)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < CONFIDENCE_BINS; i++) {
        sum += task->known[edge].agreement.both[i];
    }
    return sum;
}

/* ---- the edge for the record ---- */

static void test_edge(void **state)
{
    const struct estimate_edge *edge;
    const struct decision *kept;
    struct request *request = submit(OBJECTS, "");
    const uint64_t id = request->decision.id;

    (void)state;
    assert_int_equal(fake.started_count, 1);
    assert_int_equal(fake.sent_count, 0);
    local_end(0, "cat");
    assert_string_equal(fake.last.outcome.route, "local");
    assert_int_equal(fake.last.measured_count, 0);
    assert_int_equal(fake.sent_count, 1);
    assert_int_equal(fake.sent[0].bytes, 7);
    assert_string_equal(fake.sent[0].message.task, "objects");
    assert_true(strtoull(fake.sent[0].message.decision_id, NULL, 10) == id);
    assert_int_equal(fake.sent[0].message.budget_us, LIMIT_SHADOW_RUN_MS * 1000);
    edge = &items[OBJECTS].edges[fake.sent[0].edge];
    assert_int_equal(edge->rest.count, 0);
    edge_end("dog");
    assert_int_equal(told_count, 1);
    assert_true(told.id == id);
    assert_int_equal(told.measured_count, 1);
    assert_true(strncmp(told.measured[0].route, "edge:", 5) == 0);
    assert_float_equal(told.measured[0].latency_ms, 45, 1e-6);
    assert_int_equal(told.measured[0].agreed, 0);
    assert_int_equal(told.measured[0].error_code, 0);
    assert_float_equal(told.measured[0].bytes, 7, 0);
    assert_true(isnan(told.measured[0].confidence));
    kept = requests_ring_find(&all, id);
    assert_non_null(kept);
    assert_int_equal(kept->measured_count, 1);
    assert_int_equal(compared(&items[OBJECTS], fake.sent[0].edge), 1);
    assert_int_equal(edge->rest.count, 1); /* it taught the estimate */
    assert_int_equal(all.shadows.count, 0);
    assert_int_equal(all.shadows.counts.edge, 1);
    assert_float_equal(all.shadows.counts.bytes_up, 7, 0);
}

/* What went wrong there is measured, too. */
static void test_edge_fails(void **state)
{
    const struct edge_error error = {.code = TANDEM_EBUSY};

    (void)state;
    (void)submit(OBJECTS, "");
    local_end(0, "cat");
    fake.now_ns += 3 * NS_PER_MS;
    requests_link_callbacks.on_error(fake.sent[0].edge, fake.sent[0].id, &error, &all);
    assert_int_equal(told.measured_count, 1);
    assert_int_equal(told.measured[0].error_code, TANDEM_EBUSY);
    assert_float_equal(told.measured[0].latency_ms, 3, 1e-6);
    assert_int_equal(told.measured[0].agreed, -1);
    (void)submit(OBJECTS, "");
    local_end(0, "cat");
    requests_link_callbacks.on_gone(fake.sent[1].edge, &all); /* says nothing of the edge */
    assert_int_equal(told_count, 1);
    assert_int_equal(all.shadows.count, 0);
    assert_int_equal(all.shadows.counts.dropped[SHADOW_DROPPED_GONE], 1);
}

/* ---- here for the record ---- */

static void test_local(void **state)
{
    const uint64_t seen = items[OBJECTS].estimate.run.count;

    (void)state;
    (void)submit(OBJECTS, "edge:attic");
    assert_int_equal(fake.sent_count, 1);
    edge_end("dog");
    assert_int_equal(fake.started_count, 1);
    assert_true(fake.started[0]->shadow);
    assert_int_equal(fake.started[0]->deadline_ns, 0);
    local_end(0, "dog");
    assert_int_equal(told.measured_count, 1);
    assert_string_equal(told.measured[0].route, "local");
    assert_float_equal(told.measured[0].latency_ms, LOCAL_MS, 1e-6);
    assert_float_equal(told.measured[0].energy_j, 0.06f, 1e-6);
    assert_float_equal(told.measured[0].confidence, 0.6, 1e-6);
    assert_float_equal(told.measured[0].bytes, 0, 0);
    assert_int_equal(told.measured[0].agreed, 1);
    assert_int_equal(compared(&items[OBJECTS], 1), 1);
    assert_int_equal(items[OBJECTS].estimate.run.count, seen + 1);
    assert_int_equal(fake.sent_count, 1);
}

/* ---- in nobody's way ---- */

/* A burst runs first, one after the other as it came; the shadows of what it answered wait until
 * nothing of it is left, and a picture that has begun gives way. */
static void test_burst_goes_first(void **state)
{
    struct request *first, *second;
    struct decide_insured insured[INSURED_MAX];

    (void)state;
    (void)submit(OBJECTS, "edge:den");
    edge_end("dog");
    assert_int_equal(fake.started_count, 1); /* the shadow */
    assert_int_equal(requests_insured(&all, 0, insured, INSURED_MAX), 1);
    assert_true(insured[0].deadline_ns == INSURED_NO_DEADLINE);
    assert_false(fake.started[0]->abort);
    first = submit(OBJECTS, "");
    assert_true(fake.started[0]->abort);
    second = submit(OBJECTS, "");
    assert_int_equal(fake.started_count, 3);
    assert_ptr_equal(fake.started[1]->owner, first);
    assert_ptr_equal(fake.started[2]->owner, second);
    assert_false(fake.started[1]->shadow || fake.started[2]->shadow);
    local_end(0, "cat"); /* the second; its own shadow goes to the edge */
    assert_int_equal(fake.sent_count, 2);
    fake.started[0]->error = TANDEM_ECANCELED; /* the runner says so when it is between steps */
    requests_runner_callbacks.on_done(fake.started[0], &all);
    fake.started[0] = fake.started[1];
    fake.started_count = 1;
    loop_run();
    assert_int_equal(fake.started_count, 1); /* it waits for the first */
    local_end(0, "cat");
    assert_int_equal(fake.started_count, 1);
    assert_true(fake.started[0]->shadow && !fake.started[0]->abort);
    local_end(0, "dog");
    assert_int_equal(all.shadows.counts.local, 1);
}

/* A text is only set aside: what it has computed is kept. */
static void test_text_is_set_aside(void **state)
{
    struct request *request = submit(COMMANDS, "edge:den");

    (void)state;
    fake.now_ns += NS_PER_MS;
    request->answers[JOB_SIDE_EDGE] = (struct answer){0};
    edge_end("I_WALK");
    assert_int_equal(fake.started_count, 1);
    assert_true(fake.started[0]->shadow);
    assert_int_equal(fake.started[0]->max_new_tokens, 10);
    (void)submit(OBJECTS, "");
    assert_int_equal(fake.started_count, 2);
    assert_false(fake.started[0]->abort);
}

/* No shadow while a request has a place kept here that it may need. */
static void test_promise_goes_first(void **state)
{
    struct request *insured;

    (void)state;
    config.mode = MODE_DECIDE;
    config.one_error_ms = 100000;
    insured = submit(OBJECTS, ""); /* at the edge, with local as its insurance */
    assert_int_equal(fake.sent_count, 1);
    assert_int_equal(insured->decision.reserve, RESERVE_KEPT);
    (void)submit(OBJECTS, "edge:attic");
    edge_end("dog");
    assert_int_equal(all.shadows.count, 1);
    assert_int_equal(fake.started_count, 0);
    request_event(insured, &(struct job_event_data){.kind = JOB_CANCEL});
    loop_run();
    assert_int_equal(fake.started_count, 1);
    assert_true(fake.started[0]->shadow);
    local_end(0, "dog");
}

static void test_link_is_wanted(void **state)
{
    const char *const names[] = {"edge:den", "edge:attic"};
    size_t edge;

    (void)state;
    (void)submit(OBJECTS, "");
    local_end(0, "cat");
    assert_int_equal(fake.sent_count, 1);
    edge = fake.sent[0].edge;
    (void)submit(OBJECTS, names[1 - edge]); /* the other one: no matter */
    assert_int_equal(fake.cancelled_count, 0);
    (void)submit(OBJECTS, names[edge]);
    assert_int_equal(fake.cancelled_count, 1);
    assert_int_equal(fake.sent_count, 3);
    assert_int_equal(all.shadows.count, 0);
    assert_int_equal(all.shadows.counts.dropped[SHADOW_DROPPED_STOPPED], 1);
    (void)submit(OBJECTS, ""); /* its shadow waits for the link */
    local_end(0, "cat");
    assert_int_equal(fake.sent_count, 3);
    assert_int_equal(all.shadows.count, 1);
    assert_int_equal(told_count, 0);
}

/* ---- what may not be ---- */

static void test_privacy(void **state)
{
    (void)state;
    (void)submit_as(OBJECTS, "", 1, "");
    local_end(0, "cat");
    (void)submit(OBJECTS, "local");
    local_end(0, "cat");
    configs[OBJECTS].leaves_device = (char *)(uintptr_t) "never";
    (void)submit(OBJECTS, "");
    local_end(0, "cat");
    configs[OBJECTS].leaves_device = (char *)(uintptr_t) "cellar";
    (void)submit(OBJECTS, "");
    local_end(0, "cat");
    assert_int_equal(fake.sent_count, 0);
    assert_int_equal(all.shadows.count, 0);
    configs[OBJECTS].leaves_device = (char *)(uintptr_t) "attic";
    (void)submit(OBJECTS, "");
    local_end(0, "cat");
    assert_int_equal(fake.sent_count, 1);
    assert_int_equal(fake.sent[0].edge, 1);
}

static void test_no_shadow(void **state)
{
    struct request *request;

    (void)state;
    (void)submit_as(COMMANDS, "", 0, "talk"); /* a turn of a session */
    local_end(0, "I_WALK");
    request = submit(OBJECTS, ""); /* was not answered */
    request_event(request, &(struct job_event_data){.kind = JOB_CANCEL});
    local_end(TANDEM_ECANCELED, NULL);
    config.shadow_percent = 0;
    (void)submit(OBJECTS, "");
    local_end(0, "cat");
    assert_int_equal(fake.sent_count, 0);
    assert_int_equal(all.shadows.count, 0);
}

/* A local answer that was not sure enough is measured as it is: nothing runs twice. */
static void test_cascade(void **state)
{
    (void)state;
    configs[OBJECTS].confidence_threshold = 0.9;
    (void)submit(OBJECTS, "cascade");
    local_end(0, "cat");
    assert_int_equal(fake.sent_count, 1);
    edge_end("dog");
    assert_true(strncmp(fake.last.outcome.route, "edge:", 5) == 0);
    assert_int_equal(fake.last.measured_count, 1);
    assert_string_equal(fake.last.measured[0].route, "local");
    assert_float_equal(fake.last.measured[0].latency_ms, LOCAL_MS, 1e-6);
    assert_float_equal(fake.last.measured[0].energy_j, 0.06f, 1e-6);
    assert_float_equal(fake.last.measured[0].confidence, 0.6f, 1e-6);
    assert_int_equal(fake.last.measured[0].agreed, 0);
    assert_int_equal(fake.started_count, 0);
    assert_int_equal(all.shadows.count, 0);
    configs[OBJECTS].confidence_threshold = 0.5; /* one that stays has a shadow there */
    (void)submit(OBJECTS, "cascade");
    local_end(0, "cat");
    assert_int_equal(fake.last.measured_count, 0);
    assert_int_equal(fake.sent_count, 2);
    assert_int_equal(all.shadows.count, 1);
}

/* An answer that was there before: neither side has run, so both do; one line tells of both. */
static void test_cached(void **state)
{
    (void)state;
    config.mode = MODE_DECIDE;
    config.one_error_ms = 0;
    config.result_cache_bytes = 1 << 20;
    configs[OBJECTS].result_age_ms = 60000;
    assert_int_equal(requests_results_reset(&all), 0);
    config.shadow_percent = 0;
    (void)submit(OBJECTS, "local");
    local_end(0, "cat");
    config.shadow_percent = 100;
    (void)submit(OBJECTS, "");
    loop_run();
    assert_string_equal(fake.last.route, "cache");
    assert_int_equal(fake.started_count, 1);
    assert_int_equal(fake.sent_count, 1);
    local_end(0, "cat");
    assert_int_equal(told_count, 0);
    edge_end("dog");
    assert_int_equal(told_count, 1);
    assert_int_equal(told.measured_count, 2);
    assert_string_equal(told.measured[0].route, "local");
    assert_int_equal(told.measured[0].agreed, 1);
    assert_int_equal(told.measured[1].agreed, 0);
    assert_int_equal(compared(&items[OBJECTS], fake.sent[0].edge), 1);
}

/* ---- budgets ---- */

static void budgets_make(int64_t bytes, double joule)
{
    config.state_dir = (char *)(uintptr_t) "";
    config.bytes_per_hour = bytes;
    config.joule_per_hour = joule;
    all.budgets = budgets_open(&loop, &config);
    assert_non_null(all.budgets);
}

/* Reserved while the edge is asked; what is not left of the hour is not sent, what is used up lets
 * nothing run. */
static void test_bytes(void **state)
{
    (void)state;
    budgets_make(2500, 0);
    (void)submit(OBJECTS, "");
    local_end(0, "cat");
    assert_int_equal(fake.sent_count, 1);
    assert_true(budgets_left(all.budgets, BUDGET_BYTES) < 1000);
    edge_end("dog");
    assert_true(budgets_left(all.budgets, BUDGET_BYTES) == 2500);
    (void)submit(OBJECTS, "");
    budgets_spend(all.budgets, BUDGET_BYTES, 1500);
    local_end(0, "cat");
    assert_int_equal(fake.sent_count, 1);
    assert_int_equal(all.shadows.counts.dropped[SHADOW_DROPPED_BUDGET], 1);
    assert_true(budgets_left(all.budgets, BUDGET_BYTES) == 1000);
}

static void test_joule(void **state)
{
    (void)state;
    budgets_make(0, 0.1);
    (void)submit(OBJECTS, "edge:den");
    edge_end("dog");
    assert_float_equal(budgets_left(all.budgets, BUDGET_JOULE), 0.04f, 1e-6); /* reserved */
    local_end(0, "dog");                                                      /* 2 W for 30 ms */
    assert_float_equal(budgets_left(all.budgets, BUDGET_JOULE), 0.04f, 1e-6);
    (void)submit(OBJECTS, "edge:den"); /* something is left, but not enough */
    edge_end("dog");
    assert_int_equal(fake.started_count, 0);
    assert_int_equal(all.shadows.counts.dropped[SHADOW_DROPPED_BUDGET], 1);
}

/* 7 J for its bytes, or more for what comes back, where 5 are left. */
static void test_joule_of_sending(void **state)
{
    (void)state;
    budgets_make(0, 5);
    config.send_joule_per_megabyte = 1e6;
    (void)submit(OBJECTS, "");
    local_end(0, "cat");
    assert_int_equal(fake.sent_count, 0);
    assert_int_equal(all.shadows.counts.dropped[SHADOW_DROPPED_BUDGET], 1);
    config.send_joule_per_megabyte = 0;
    config.receive_joule_per_megabyte = 1e4;
    (void)submit(OBJECTS, "");
    local_end(0, "cat");
    assert_int_equal(fake.sent_count, 0);
    assert_int_equal(all.shadows.counts.dropped[SHADOW_DROPPED_BUDGET], 2);
}

/* An edge that could not even be decided on is counted as well, by its reason. */
static void test_no_edge_to_plan(void **state)
{
    (void)state;
    fake.trouble = EDGE_DOWN;
    (void)submit(OBJECTS, "");
    local_end(0, "cat");
    assert_int_equal(all.shadows.counts.dropped[SHADOW_DROPPED_GONE], 1);
    fake.trouble = EDGE_FINE;
    budgets_make(1000, 0); /* not enough for any request */
    (void)submit(OBJECTS, "");
    local_end(0, "cat");
    assert_int_equal(all.shadows.counts.dropped[SHADOW_DROPPED_BUDGET], 1);
    assert_int_equal(all.shadows.counts.dropped[SHADOW_DROPPED_GONE], 1);
    (void)submit(OBJECTS, "local"); /* never to leave */
    local_end(0, "cat");
    assert_int_equal(all.shadows.counts.dropped[SHADOW_DROPPED_BUDGET], 1);
    assert_int_equal(fake.sent_count, 0);
    assert_int_equal(all.shadows.count, 0);
}

/* ---- bounds ---- */

static void test_room(void **state)
{
    (void)state;
    for (int i = 0; i <= LIMIT_SHADOWS; i++) {
        (void)submit(OBJECTS, "");
        local_end(0, "cat");
    }
    assert_int_equal(fake.sent_count, 1); /* an edge has one at a time */
    assert_int_equal(all.shadows.count, LIMIT_SHADOWS);
    assert_int_equal(all.shadows.counts.dropped[SHADOW_DROPPED_ROOM], 1);
    assert_int_equal(all.shadows.held_bytes, LIMIT_SHADOWS * 7);
}

static void test_late(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        (void)submit(OBJECTS, "");
        local_end(0, "cat");
    }
    fake.now_ns += (LIMIT_SHADOW_WAIT_MS + 1) * NS_PER_MS;
    edge_end("dog");
    assert_int_equal(told_count, 1);
    assert_int_equal(all.shadows.count, 0);
    assert_int_equal(all.shadows.counts.dropped[SHADOW_DROPPED_LATE], 2);
}

/* Other tasks are in force: what waits was decided with those of before. */
static void test_reload(void **state)
{
    (void)state;
    (void)submit(OBJECTS, "");
    local_end(0, "cat");
    (void)submit(OBJECTS, "");
    local_end(0, "cat");
    all.tasks = &others;
    edge_end("cat");
    assert_int_equal(told_count, 1);
    assert_int_equal(told.measured[0].agreed, 1);
    assert_int_equal(all.shadows.counts.dropped[SHADOW_DROPPED_GONE], 1);
    assert_int_equal(fake.sent_count, 1);
}

static void test_stop(void **state)
{
    (void)state;
    (void)submit(OBJECTS, "");
    local_end(0, "cat");
    assert_int_equal(all.shadows.count, 1);
    shadows_stop(&all);
    assert_int_equal(fake.cancelled_count, 1);
    assert_int_equal(all.shadows.count, 0);
    (void)submit(OBJECTS, "");
    local_end(0, "cat");
    assert_int_equal(fake.sent_count, 1);
    assert_int_equal(told_count, 0);
}

static struct answer box_of(float x, float side)
{
    struct answer answer = {.kind = WIRE_DETECT, .box_count = 1};

    answer.boxes = calloc(1, sizeof(*answer.boxes));
    answer.boxes[0] = (struct answer_box){strdup("cat"), 0.9, x, x, side, side};
    return answer;
}

/* The boxes of an edge that was sent a smaller picture are those of the picture that came. */
static void test_boxes_of_a_form(void **state)
{
    struct edge_result result = {.answer = box_of(20, 10), .model_digest = "abc"};
    struct request *request;
    struct runner_job *job;

    (void)state;
    configs[OBJECTS].kind = TASK_DETECT;
    task_confidence_init(&items[OBJECTS]);
    request = submit(OBJECTS, "");
    for (size_t i = 0; i < request->decision.candidate_count; i++) {
        request->decision.candidates[i].upload = (struct upload_form){.width = 32, .height = 32};
    }
    request->upload.source = (struct upload_source){.width = 64, .height = 64};
    request->upload.data = calloc(1, 3); /* it was made for the request already */
    request->upload.bytes = 3;
    job = fake.started[--fake.started_count];
    job->answer = box_of(40, 20);
    requests_runner_callbacks.on_done(job, &all);
    loop_run();
    assert_int_equal(fake.sent_count, 1);
    assert_int_equal(fake.sent[0].bytes, 3);
    requests_link_callbacks.on_result(fake.sent[0].edge, fake.sent[0].id, &result, 77, &all);
    answer_fini(&result.answer);
    assert_int_equal(told_count, 1);
    assert_int_equal(told.measured[0].agreed, 1);
    assert_int_equal(items[OBJECTS].confidence.agreed[CONFIDENCE_BINS - 1], 1);
}

int main(void)
{
#define FRESH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {FRESH(test_edge),
                                       FRESH(test_edge_fails),
                                       FRESH(test_local),
                                       FRESH(test_burst_goes_first),
                                       FRESH(test_text_is_set_aside),
                                       FRESH(test_promise_goes_first),
                                       FRESH(test_link_is_wanted),
                                       FRESH(test_privacy),
                                       FRESH(test_no_shadow),
                                       FRESH(test_cascade),
                                       FRESH(test_cached),
                                       FRESH(test_bytes),
                                       FRESH(test_joule),
                                       FRESH(test_joule_of_sending),
                                       FRESH(test_no_edge_to_plan),
                                       FRESH(test_room),
                                       FRESH(test_late),
                                       FRESH(test_reload),
                                       FRESH(test_stop),
                                       FRESH(test_boxes_of_a_form)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
