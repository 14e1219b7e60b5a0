/* What requests.c makes of a decision: what an edge is told, what it is sent, when local runs start
 * while others are promised, and how the lateness of timers counts. Everything around is fake. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/daemon/fake_site.h"

#include "common/wire/edge_msg.h"

#include <math.h>
#include <stdio.h>

#define RTT_MS      10.0
#define EDGE_RUN_US 20000

enum { OBJECTS, COMMANDS, TASKS };

static struct task_config configs[TASKS];
static struct client_task items[TASKS];
static struct tasks tasks;
static struct budgets *budgets; /* NULL: none */

static unsigned amended; /* decisions of which more became known */

static void on_amended(const struct decision *decision, decision_member_fn *member, void *user)
{
    (void)user;
    assert_ptr_equal(member, decision_waste_json);
    amended++;
    fake.last = *decision;
}

/* An edge that is worth asking and far from late; a local run of `local_ms`. */
static void site_make(double local_ms)
{
    fake.load = (struct edge_load){
        .picture_us = EDGE_RUN_US, .prefill_tokens_per_s = 1000, .decode_tokens_per_s = 1000};
    estimate_local_add(&items[OBJECTS].estimate, local_ms);
    estimate_text_add(&items[COMMANDS].text, &(struct estimate_text_run){.prompt_bytes = 10,
                                                                         .prompt_tokens = 2,
                                                                         .prefill_tokens = 2,
                                                                         .prefill_ms = 2,
                                                                         .decode_tokens = 10,
                                                                         .decode_ms = 10});
}

static int setup(void **state)
{
    (void)state;
    amended = 0;
    site_begin(&tasks);
    (void)estimate_link_rtt(&fake.link, RTT_MS, fake.now_ns);
    config = (struct client_config){.one_miss_ms = 100000, .one_error_ms = 100000};
    fake_task("objects", TASK_CLASSIFY, &configs[OBJECTS], &items[OBJECTS]);
    fake_task("commands", TASK_GENERATE, &configs[COMMANDS], &items[COMMANDS]);
    tasks = (struct tasks){.configs = configs, .items = items, .count = TASKS};
    all.on_amended = on_amended;
    return requests_init(&all);
}

static int teardown(void **state)
{
    (void)state;
    budgets = NULL;
    return site_end();
}

static struct local_submit submit_make(int task, const char *route, uint32_t deadline_ms)
{
    struct local_submit submit = {.deadline_us = (uint64_t)deadline_ms * 1000,
                                  .has_picture = task == OBJECTS};

    snprintf(submit.task, sizeof(submit.task), "%s", configs[task].name);
    snprintf(submit.route, sizeof(submit.route), "%s", route);
    return submit;
}

/* The new request stands first in the list. */
static struct request *submit(const struct local_submit *message, const char *input)
{
    static uint64_t id;
    const struct app_input given = {
        .data = (uint8_t *)(uintptr_t)input, .bytes = strlen(input), .mapped = true};

    requests_app_callbacks.on_submit((struct app_peer *)&peer, ++id, message, given, &all);
    return all.list;
}

/* ---- the budget of an edge ---- */

static void test_budget(void **state)
{
    const struct local_submit in_time = submit_make(OBJECTS, "edge:den", 500),
                              endless = submit_make(OBJECTS, "edge:den", 0);
    struct local_submit late = in_time;
    const uint64_t way_us = (uint64_t)(RTT_MS * 1000) + LIMIT_HANDOVER_US;

    (void)state;
    site_make(5);
    late.deliver_late = true;
    (void)submit(&in_time, "picture");
    assert_int_equal(fake.sent_count, 1);
    assert_int_equal(fake.sent[0].message.budget_us, 500000 - way_us);
    (void)submit(&endless, "picture");
    (void)submit(&late, "picture");
    assert_int_equal(fake.sent_count, 3);
    assert_int_equal(fake.sent[1].message.budget_us, 0);
    assert_int_equal(fake.sent[2].message.budget_us, 0);
}

/* What an edge is asked later it has less time for: here the local half of a cascade took some. */
static void test_budget_shrinks(void **state)
{
    const struct local_submit message = submit_make(OBJECTS, "cascade", 500);
    const uint64_t way_us = (uint64_t)(RTT_MS * 1000) + LIMIT_HANDOVER_US;

    (void)state;
    site_make(5);
    (void)submit(&message, "picture");
    assert_int_equal(fake.started_count, 1);
    assert_int_equal(fake.sent_count, 0);
    fake.now_ns += 200 * NS_PER_MS;
    fake.started[0]->answer = (struct answer){.kind = WIRE_CLASSIFY, .confidence = 0.1};
    requests_runner_callbacks.on_done(fake.started[0], &all);
    fake.started_count = 0;
    assert_int_equal(fake.sent_count, 1);
    assert_int_equal(fake.sent[0].message.budget_us, 300000 - way_us);
}

/* ---- promised local runs ---- */

/* A run takes 300 ms at most: two late starts fit one after the other, a third must begin now, and
 * for a fourth there is no room: the kept places are taken, and it goes behind all of them. What
 * has ended is in nobody's way. */
static void test_reserves_are_a_set(void **state)
{
    const struct local_submit message = submit_make(OBJECTS, "", 1000);
    const char *const none = "no local reserve";
    struct request *requests[4];

    (void)state;
    site_make(200); /* its bound is half as much again */
    for (size_t i = 0; i < 2; i++) {
        requests[i] = submit(&message, "kept");
        assert_int_equal(fake.started_count, 0);
        assert_int_equal(requests[i]->decision.reserve, RESERVE_KEPT);
        assert_true(requests[i]->job.plan.insure_at_ns == fake.now_ns + (997 - 600) * NS_PER_MS);
    }
    requests[2] = submit(&message, "raced");
    assert_int_equal(fake.started_count, 1);
    assert_ptr_equal(fake.started[0]->owner, requests[2]);
    assert_int_equal(requests[2]->decision.reserve, RESERVE_RACED);
    assert_null(strstr(requests[2]->decision.reason, none));
    requests[3] = submit(&message, "none");
    assert_int_equal(fake.sent_count, 4);
    assert_int_equal(fake.started_count, 4);
    assert_ptr_equal(fake.started[3]->owner, requests[3]); /* the places were taken before it */
    for (size_t i = 0; i < 4; i++) {
        assert_true(fake.started[i]->yields == (i == 3));
    }
    assert_string_equal(requests[3]->decision.reason, none);
    assert_int_equal(requests[3]->decision.reserve, RESERVE_NONE);
    requests_end_all(&all);
    while (fake.started_count > 0) {
        fake.started[--fake.started_count]->error = TANDEM_ECANCELED;
        requests_runner_callbacks.on_done(fake.started[fake.started_count], &all);
    }
    requests[0] = submit(&message, "again");
    assert_int_equal(fake.started_count, 0);
    assert_true(requests[0]->job.plan.insure_at_ns > fake.now_ns);
}

/* What was cancelled has its step to the end, and that stands in the way. */
static void test_cancelled_step_counts(void **state)
{
    const struct local_submit endless = submit_make(OBJECTS, "local", 0),
                              message = submit_make(OBJECTS, "", 1000);
    struct decide_insured insured[INSURED_MAX];
    struct request *request;

    (void)state;
    site_make(200);
    request = submit(&endless, "cancelled");
    assert_int_equal(requests_insured(&all, 0, insured, INSURED_MAX), 1);
    request_event(request, &(struct job_event_data){.kind = JOB_CANCEL});
    (void)submit(&message, "kept");
    assert_int_equal(requests_insured(&all, 7, insured, INSURED_MAX), 2);
    assert_true(insured[0].start_ns == fake.now_ns + (997 - 600) * NS_PER_MS);
    assert_true(insured[0].deadline_ns == fake.now_ns + NS_PER_S);
    assert_true(insured[0].run_ns == 300 * NS_PER_MS && insured[0].step_ns == 300 * NS_PER_MS);
    assert_true(insured[0].margin_ns == (3 + 7) * NS_PER_MS); /* 7: the timers of late */
    assert_true(insured[1].start_ns == 0 && insured[1].deadline_ns == INSURED_NO_DEADLINE);
    assert_true(insured[1].step_ns == 300 * NS_PER_MS);
    assert_int_equal(requests_insured(&all, 0, insured, 1), 1);
}

/* A task that would rather not be answered than be promised nothing. */
static void test_drop(void **state)
{
    const struct local_submit message = submit_make(OBJECTS, "", 1000);

    (void)state;
    site_make(200);
    configs[OBJECTS].no_reserve = TASK_NO_RESERVE_DROP;
    for (int i = 0; i < 3; i++) {
        (void)submit(&message, "picture");
        assert_false(fake.last.has_outcome);
    }
    (void)submit(&message, "dropped");
    assert_int_equal(fake.sent_count, 3);
    assert_true(fake.last.has_outcome);
    assert_int_equal(fake.last.outcome.error_code, TANDEM_EBUSY);
    assert_string_equal(fake.last.reason, "no local reserve");
}

/* A task without a deadline promises nothing. */
static void test_no_deadline_no_reserve(void **state)
{
    const struct local_submit endless = submit_make(OBJECTS, "edge", 0),
                              message = submit_make(OBJECTS, "", 1000);

    (void)state;
    site_make(300);
    (void)submit(&endless, "one");
    (void)submit(&endless, "two");
    (void)submit(&message, "three");
    assert_int_equal(fake.sent_count, 3);
    assert_int_equal(fake.started_count, 0);
}

/* ---- timers ---- */

/* One timer of a request that fires so late: it is the start of the insured local run. */
static void timer_fire(double late_ms)
{
    struct local_submit message = submit_make(OBJECTS, "", 1000);
    struct request *request;
    size_t started;

    message.deliver_late = true; /* however late, it starts */
    request = submit(&message, "picture");
    started = fake.started_count;
    fake.now_ns =
        request->due_ns + LIMIT_TIMER_US * NS_PER_US + (int64_t)(late_ms * (double)NS_PER_MS);
    (void)uv_timer_start(&request->timer, request->timer.timer_cb, 0, 0);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(fake.started_count, started + 1);
    request_event(request, &(struct job_event_data){.kind = JOB_CANCEL});
    estimate_edge_init(&items[OBJECTS].edges[0]); /* it is not the edge's fault */
    fake.started[--fake.started_count]->error = TANDEM_ECANCELED;
    requests_runner_callbacks.on_done(fake.started[fake.started_count], &all);
}

static void test_late_timers(void **state)
{
    const struct local_submit message = submit_make(OBJECTS, "", 1000);
    const int64_t handover_ns = LIMIT_HANDOVER_US * NS_PER_US;
    struct request *request;
    int64_t reserve_ns;

    (void)state;
    site_make(5);
    request = submit(&message, "picture");
    assert_int_equal(request->job.plan.handover_ns, handover_ns);
    reserve_ns = request->job.plan.deadline_ns - request->job.plan.insure_at_ns;
    request_event(request, &(struct job_event_data){.kind = JOB_CANCEL});
    timer_fire(0); /* as late as an idle loop may be */
    assert_true(requests_late_ms(&all, fake.now_ns) == 0);
    timer_fire(20);
    request = submit(&message, "picture");
    assert_int_equal(request->job.plan.handover_ns, handover_ns + 20 * NS_PER_MS);
    assert_int_equal(request->job.plan.deadline_ns - request->job.plan.insure_at_ns,
                     reserve_ns + 20 * NS_PER_MS);
    request_event(request, &(struct job_event_data){.kind = JOB_CANCEL});
    timer_fire(10000); /* it was stopped, say: nobody wants to count with that */
    assert_true(requests_late_ms(&all, fake.now_ns) == LIMIT_LATENESS_MS);
    fake.now_ns += 3600 * NS_PER_S;
    assert_true(requests_late_ms(&all, fake.now_ns) < 1); /* and it is forgotten */
}

/* ---- what a session sends ---- */

static const struct candidate *candidate_of(const struct request *request, const char *route)
{
    for (size_t i = 0; i < request->choice.count; i++) {
        if (strcmp(request->choice.candidates[i].route, route) == 0) {
            return &request->choice.candidates[i];
        }
    }
    fail_msg("no candidate %s", route);
    return NULL;
}

/* An edge that holds the conversation is weighed with the new text alone, one that does not with
 * all of it, and that is what they are sent. */
static void test_bytes_of_a_session(void **state)
{
    struct local_submit message = submit_make(COMMANDS, "edge:den", 0);
    struct edge_result result = {.answer = {.kind = WIRE_GENERATE, .tokens = 3}};
    struct request *request;
    size_t whole, rest;

    (void)state;
    site_make(5);
    snprintf(message.session, sizeof(message.session), "talk");
    request = submit(&message, "jump around left and then walk twice");
    assert_true(candidate_of(request, "edge:den")->bytes == (double)fake.sent[0].bytes);
    result.answer.text = strdup("I_JUMP I_WALK I_WALK");
    result.answer.text_bytes = strlen(result.answer.text);
    requests_link_callbacks.on_result(0, fake.sent[0].id, &result, 30, &all);
    message.route[0] = '\0';
    message.leaves_device = 0;
    request = submit(&message, "run");
    whole = request->transcript.bytes;
    rest = whole - request->session->edge_bytes[0];
    assert_true(rest < whole / 4);
    assert_true(candidate_of(request, "edge:den")->bytes == (double)rest);
    assert_true(candidate_of(request, "edge:attic")->bytes == (double)whole);
    request_event(request, &(struct job_event_data){.kind = JOB_CANCEL});
    for (int i = 0; i < FAKE_EDGES; i++) {
        snprintf(message.route, sizeof(message.route), "edge:%s", i == 0 ? "den" : "attic");
        request = submit(&message, "run");
        assert_int_equal(fake.sent[fake.sent_count - 1].edge, i);
        assert_int_equal(fake.sent[fake.sent_count - 1].bytes, i == 0 ? rest : whole);
        request_event(request, &(struct job_event_data){.kind = JOB_CANCEL});
    }
}

/* The parts of the time never come to more than the whole, and what came is counted, be it a text
 * or not. */
static void test_breakdown(void **state)
{
    const struct local_submit message = submit_make(OBJECTS, "edge:den", 500);
    const struct decision_outcome *outcome = &fake.last.outcome;
    struct edge_result result = {
        .answer = {.kind = WIRE_CLASSIFY}, .wait_us = 1000, .run_us = 12970};

    (void)state;
    site_make(5);
    for (int acked_ms = 2; acked_ms <= 13; acked_ms += 11) {
        (void)submit(&message, "picture");
        fake.now_ns += acked_ms * NS_PER_MS;
        requests_link_callbacks.on_acked(0, fake.sent[fake.sent_count - 1].id, &all);
        fake.now_ns += (16 - acked_ms) * NS_PER_MS;
        requests_link_callbacks.on_result(0, fake.sent[fake.sent_count - 1].id, &result, 77, &all);
        assert_float_equal(outcome->latency_ms, 16, 1e-6);
        assert_true(fabs(outcome->up_ms - (acked_ms == 2 ? 2 : 16 - 1 - 12.97)) < 1e-6);
        assert_float_equal(outcome->bytes_down, 77, 0);
    }
    (void)submit(&message, "picture"); /* without an acknowledgement nothing is known */
    fake.now_ns += 16 * NS_PER_MS;
    requests_link_callbacks.on_result(0, fake.sent[fake.sent_count - 1].id, &result, 77, &all);
    assert_true(isnan(outcome->up_ms));
}

/* ---- what was for nothing ---- */

static void waste_check(double local_ms, double edge_ms, double bytes)
{
    const struct decision_waste *waste = &fake.last.waste;
    const double is[] = {waste->local_ms, waste->edge_ms, waste->bytes},
                 should[] = {local_ms, edge_ms, bytes};

    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(isnan(is[i]), isnan(should[i]));
        assert_true(isnan(is[i]) || fabs(is[i] - should[i]) < 1e-6);
    }
}

static void counts_check(double local_ms, double edge_ms, uint64_t bytes)
{
    assert_true(fabs(all.counts.wasted_local_ms - local_ms) < 1e-6);
    assert_true(fabs(all.counts.wasted_edge_ms - edge_ms) < 1e-6);
    assert_int_equal(all.counts.wasted_bytes, bytes);
}

static void edge_answers(void)
{
    struct edge_result result = {
        .answer = {.kind = WIRE_CLASSIFY}, .wait_us = 1000, .run_us = 12000};

    requests_link_callbacks.on_result(0, fake.sent[fake.sent_count - 1].id, &result, 77, &all);
}

/* The local run comes back after so long. */
static void local_ends(int64_t run_ms, int error)
{
    struct runner_job *job = fake.started[--fake.started_count];

    job->error = error;
    job->run_ns = run_ms * NS_PER_MS;
    job->answer = (struct answer){.kind = WIRE_CLASSIFY, .confidence = 0.1};
    requests_runner_callbacks.on_done(job, &all);
}

static void test_waste_of_a_cascade(void **state)
{
    const struct local_submit message = submit_make(OBJECTS, "cascade", 5000);

    (void)state;
    site_make(5);
    (void)submit(&message, "picture");
    local_ends(7, 0);
    edge_answers();
    waste_check(7, NAN, NAN);
    counts_check(7, 0, 0);
    (void)submit(&message, "picture"); /* the same, and then nobody wants it any more */
    local_ends(6, 0);
    fake.unsent = 3;
    requests_app_callbacks.on_gone((struct app_peer *)&peer, &all);
    waste_check(6, NAN, strlen("picture") - 3);
    assert_float_equal(fake.last.outcome.bytes_up, 4, 0);
    counts_check(13, 0, 4);
    assert_int_equal(amended, 0);
}

/* A probe goes behind the request that showed it to be due: nothing is in front of its input. */
static void test_probes_go_behind(void **state)
{
    const struct local_submit message = submit_make(OBJECTS, "cascade", 5000);

    (void)state;
    site_make(5);
    (void)submit(&message, "picture");
    local_ends(7, 0);
    assert_int_equal(fake.sent_count, 1);
    assert_int_equal(fake.probed_count, 0);
    edge_answers();
    assert_int_equal(fake.probed_count, FAKE_EDGES);
}

/* What a run that was cancelled took is known when its step has ended, if it had one. */
static void test_waste_of_a_race(void **state)
{
    const struct local_submit message = submit_make(OBJECTS, "", 350);
    uint64_t id;

    (void)state;
    site_make(200);
    for (int run_ms = 0; run_ms <= 9; run_ms += 9) {
        (void)submit(&message, "raced");
        assert_int_equal(fake.started_count, 1);
        edge_answers();
        id = fake.last.id;
        waste_check(NAN, NAN, NAN);
        local_ends(run_ms, TANDEM_ECANCELED);
    }
    assert_int_equal(amended, 1);
    assert_int_equal(fake.last.id, id);
    waste_check(9, NAN, NAN);
    counts_check(9, 0, 0);
    assert_float_equal(requests_ring_find(&all, id)->waste.local_ms, 9, 0);
}

/* Local answered first: the edge was sent bytes for nothing; what it worked is not known. */
static void test_waste_of_an_edge(void **state)
{
    const struct local_submit message = submit_make(OBJECTS, "", 350);

    (void)state;
    site_make(200);
    (void)submit(&message, "raced");
    local_ends(8, 0);
    waste_check(NAN, NAN, strlen("raced"));
    counts_check(0, 0, strlen("raced"));
}

/* What a cap makes of the upload is in what is predicted. */
static void test_capped(void **state)
{
    const struct local_submit message = submit_make(OBJECTS, "edge:den", 0);
    struct request *request;
    double free_ms;

    (void)state;
    site_make(5);
    request = submit(&message, "picture");
    free_ms = candidate_of(request, "edge:den")->latency.mean_ms;
    request_event(request, &(struct job_event_data){.kind = JOB_CANCEL});
    fake.paced_ms = 4000;
    request = submit(&message, "picture");
    assert_float_equal(candidate_of(request, "edge:den")->latency.mean_ms, free_ms + 4000, 1e-6);
    assert_true(candidate_of(request, "edge:den")->latency.p95_ms > 4000);
    request_event(request, &(struct job_event_data){.kind = JOB_CANCEL});
}

/* What the cap held its input back is a part of its way, where there is a cap. */
static void test_held_back(void **state)
{
    const struct local_submit message = submit_make(OBJECTS, "edge:den", 0);
    struct request *request;

    (void)state;
    site_make(5);
    request = submit(&message, "picture");
    requests_link_callbacks.on_acked(0, fake.sent[0].id, &all);
    assert_true(isnan(request->decision.outcome.paced_ms));
    fake.max_up_kbit = 100;
    fake.held_ms = 1000; /* of others */
    request = submit(&message, "picture");
    fake.now_ns += 80 * NS_PER_MS;
    fake.held_ms += 60;
    requests_link_callbacks.on_acked(0, fake.sent[1].id, &all);
    assert_true(request->decision.outcome.up_ms == 80);
    assert_true(request->decision.outcome.paced_ms == 60);
}

static void budgets_make(int64_t bytes, double joule)
{
    config.state_dir = (char *)(uintptr_t) "";
    config.bytes_per_hour = bytes;
    config.joule_per_hour = joule;
    config.compute_watt = 10;
    budgets = all.budgets = budgets_open(&loop, &config);
    assert_non_null(budgets);
}

/* The first local run comes back with an error after so many ms of compute. */
static void run_fails(int run_ms)
{
    fake.started[0]->run_ns = run_ms * NS_PER_MS;
    fake.started[0]->error = TANDEM_EIO;
    fake.started_count = 0;
    requests_runner_callbacks.on_done(fake.started[0], &all);
}

/* Two that would fit one by one do not at once; what an ended one had reserved is free again. */
static void test_bytes_are_reserved(void **state)
{
    const struct local_submit forced = submit_make(OBJECTS, "edge:den", 0),
                              chosen = submit_make(OBJECTS, "", 500);
    struct request *first, *second;

    (void)state;
    site_make(5);
    budgets_make(2500, 0);
    first = submit(&forced, "picture");
    assert_int_equal(fake.sent_count, 1);
    assert_true(budgets_left(budgets, BUDGET_BYTES) < 1000);
    (void)submit(&forced, "picture");
    assert_int_equal(fake.sent_count, 1);
    assert_int_equal(fake.last.outcome.error_code, TANDEM_ENOROUTE);
    assert_string_equal(fake.last.reason, "byte budget of this hour is used up");
    second = submit(&chosen, "picture");
    assert_int_equal(second->job.plan.route, JOB_LOCAL);
    assert_string_equal(second->choice.reason, "byte budget of this hour is used up");
    request_event(first, &(struct job_event_data){.kind = JOB_CANCEL});
    assert_true(budgets_left(budgets, BUDGET_BYTES) == 2500);
    (void)submit(&forced, "picture");
    assert_int_equal(fake.sent_count, 2);
    requests_link_callbacks.on_gone(0, &all); /* over a new connection it is asked once more */
    assert_int_equal(fake.sent_count, 3);
    requests_link_callbacks.on_gone(0, &all);
    assert_true(budgets_left(budgets, BUDGET_BYTES) == 2500);
}

/* Whose labels are not known may name so many that the answer fills a header. */
static void test_bytes_of_unknown_labels(void **state)
{
    const struct local_submit forced = submit_make(OBJECTS, "edge:den", 0);

    (void)state;
    site_make(5);
    budgets_make(LIMIT_FRAME_HEADER_BYTES + 2000, 0);
    items[OBJECTS].scores_bytes = 0;
    (void)submit(&forced, "picture");
    assert_int_equal(fake.sent_count, 1);
    assert_true(budgets_left(budgets, BUDGET_BYTES) < 2000);
    budgets_spend(budgets, BUDGET_BYTES, 2000);
    (void)submit(&forced, "picture");
    assert_int_equal(fake.sent_count, 1);
    assert_string_equal(fake.last.reason, "byte budget of this hour is used up");
}

/* An edge says how many labels it has: then as much is kept as they may take, not a whole header.
 * What does not fit in what is left is said with figures, and is not called used up. */
static void test_bytes_of_an_edges_labels(void **state)
{
    const struct local_submit chosen = submit_make(OBJECTS, "", 500);
    struct request *request;

    (void)state;
    site_make(5);
    budgets_make(16384, 0);
    items[OBJECTS].scores_bytes = 0;
    fake.labels = 10; /* 512 + 7 + 1024 + 10 * (255 + 16) bytes */
    request = submit(&chosen, "picture");
    assert_non_null(candidate_of(request, "edge:den"));
    request_event(request, &(struct job_event_data){.kind = JOB_CANCEL});
    fake.labels = 60;
    request = submit(&chosen, "picture");
    assert_int_equal(request->job.plan.route, JOB_LOCAL);
    assert_string_equal(request->decision.reason,
                        "byte budget: 16 of 16 KiB left in this hour, this picture needs 18 KiB");
    request_event(request, &(struct job_event_data){.kind = JOB_CANCEL});
    fake.labels = 0;
    request = submit(&chosen, "picture");
    assert_string_equal(request->decision.reason,
                        "byte budget: 16 of 16 KiB left in this hour, this picture needs 65 KiB");
}

/* A cascade whose edge half is asked later finds the bytes gone. */
static void test_bytes_go_meanwhile(void **state)
{
    const struct local_submit message = submit_make(OBJECTS, "cascade", 0);

    (void)state;
    site_make(5);
    budgets_make(2500, 0);
    (void)submit(&message, "picture");
    assert_int_equal(fake.started_count, 1);
    budgets_moved(budgets, 2400, 0);
    run_fails(5); /* so the edge is to be asked */
    assert_int_equal(fake.sent_count, 0);
    assert_true(fake.last.outcome.error_code != 0);
    assert_true(budgets_left(budgets, BUDGET_BYTES) == 100);
}

/* A run is reserved while it is under way and charged with what it took. */
static void test_joule_are_charged(void **state)
{
    const struct local_submit message = submit_make(OBJECTS, "local", 0);

    (void)state;
    site_make(50);
    budgets_make(0, 100);
    (void)submit(&message, "picture");
    assert_true(fabs(budgets_left(budgets, BUDGET_JOULE) - 99.5) < 1e-9);
    run_fails(80);
    assert_true(fabs(budgets_left(budgets, BUDGET_JOULE) - 99.2) < 1e-9);
    budgets_spend(budgets, BUDGET_JOULE, 1000);
    (void)submit(&message, "picture"); /* no request fails for it */
    assert_int_equal(fake.started_count, 1);
}

/* What is asked of an edge reserves what it takes to send and to receive. */
static void test_joule_of_a_link(void **state)
{
    const struct local_submit message = submit_make(OBJECTS, "edge:den", 0);
    struct request *request;

    (void)state;
    site_make(5);
    config.send_joule_per_megabyte = config.receive_joule_per_megabyte = 1e6; /* one a byte */
    budgets_make(0, 5000);
    request = submit(&message, "picture");
    assert_true(fabs(budgets_left(budgets, BUDGET_JOULE) - (5000 - 7 - 1024)) < 1e-6);
    request_event(request, &(struct job_event_data){.kind = JOB_CANCEL});
    assert_true(fabs(budgets_left(budgets, BUDGET_JOULE) - 5000) < 1e-6);
}

/* Beside a local answer the edge is an extra: a cascade that was not sure asks nobody where the
 * hour has too little left for that, and says so; where local failed the edge is the only way. */
static void test_joule_of_an_extra(void **state)
{
    const struct local_submit message = submit_make(OBJECTS, "cascade", 0);

    (void)state;
    site_make(5);
    config.send_joule_per_megabyte = 1e6; /* 7 J */
    budgets_make(0, 7.1);
    (void)submit(&message, "picture");
    fake.started[0]->run_ns = 20 * NS_PER_MS; /* 0.2 J */
    fake.started[0]->answer = (struct answer){.kind = WIRE_CLASSIFY, .confidence = 0.1};
    fake.started_count = 0;
    requests_runner_callbacks.on_done(fake.started[0], &all);
    assert_int_equal(fake.sent_count, 0);
    assert_int_equal(fake.last.outcome.error_code, 0);
    assert_non_null(strstr(fake.last.reason, "kept at 0.10 < 0.50, the edge failed (energy budget "
                                             "of this hour has too little left for more)"));
    (void)submit(&message, "picture");
    run_fails(5);
    assert_int_equal(fake.sent_count, 1);
}

/* A run that is kept a place is reserved with it, so that nothing else takes its joule; and let go
 * when the edge answers. */
static void test_joule_of_a_place(void **state)
{
    const struct local_submit message = submit_make(OBJECTS, "", 500);
    struct request *request;

    (void)state;
    site_make(50);
    budgets_make(0, 100);
    request = submit(&message, "picture");
    assert_int_equal(request->choice.reserve, RESERVE_KEPT);
    assert_int_equal(fake.started_count, 0);
    assert_true(fabs(budgets_left(budgets, BUDGET_JOULE) - 99.5) < 1e-9);
    fake.now_ns = request->job.plan.insure_at_ns;
    request_event(request, &(struct job_event_data){.kind = JOB_TIMER});
    assert_int_equal(fake.started_count, 1);
    assert_true(fabs(budgets_left(budgets, BUDGET_JOULE) - 99.5) < 1e-9); /* once */
    request_event(request, &(struct job_event_data){.kind = JOB_CANCEL});
    run_fails(30);
    assert_true(fabs(budgets_left(budgets, BUDGET_JOULE) - 99.7) < 1e-9);
    request = submit(&message, "picture");
    assert_true(fabs(budgets_left(budgets, BUDGET_JOULE) - 99.2) < 1e-9);
    request_event(request, &(struct job_event_data){.kind = JOB_CANCEL});
    assert_true(fabs(budgets_left(budgets, BUDGET_JOULE) - 99.7) < 1e-9);
}

/* The conversation's length counts for an edge that has to read all of it. */
static void test_latency_of_a_session(void **state)
{
    struct local_submit message = submit_make(COMMANDS, "edge:den", 0);
    struct edge_result result = {.answer = {.kind = WIRE_GENERATE, .tokens = 3}};
    struct request *request;
    char text[4000];

    (void)state;
    site_make(5);
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    snprintf(message.session, sizeof(message.session), "talk");
    (void)submit(&message, text);
    result.answer.text = strdup("I_JUMP");
    result.answer.text_bytes = strlen(result.answer.text);
    requests_link_callbacks.on_result(0, fake.sent[0].id, &result, 30, &all);
    estimate_edge_init(&items[COMMANDS].edges[0]); /* what it says of itself is all that is known */
    message.route[0] = '\0';
    request = submit(&message, "run");
    assert_true(candidate_of(request, "edge:den")->latency.mean_ms + 100 <
                candidate_of(request, "edge:attic")->latency.mean_ms);
}

/* What a run took beside its parts is learned, what others took meanwhile is not. */
static void test_handover(void **state)
{
    const struct local_submit message = submit_make(COMMANDS, "local", 500);
    struct runner_job *job;

    (void)state;
    site_make(5);
    (void)submit(&message, "walk");
    job = fake.started[0];
    job->work = (struct runner_work){.prompt_tokens = 1,
                                     .prefill_tokens = 1,
                                     .decode_tokens = 10,
                                     .prefill_ns = NS_PER_MS,
                                     .decode_ns = 10 * NS_PER_MS};
    job->run_ns = 12 * NS_PER_MS;
    job->others_ns = 40 * NS_PER_MS;
    job->queued_ns = fake.now_ns;
    job->ended_ns = fake.now_ns + 58 * NS_PER_MS; /* 7 ms are nobody's part */
    job->answer = (struct answer){.kind = WIRE_GENERATE, .tokens = 10, .confidence = 0.9};
    requests_runner_callbacks.on_done(job, &all);
    fake.started_count = 0;
    assert_float_equal(items[COMMANDS].handover.run.mean, 7, 1e-9);
}

/* Now and then a request that would stay here asks both sides: what is learned is looked after. */
static void test_both_are_asked_now_and_then(void **state)
{
    const struct local_submit message = submit_make(OBJECTS, "", 1000);
    unsigned checks = 0;

    (void)state;
    site_make(5);
    config.one_error_ms = 60; /* an edge is hardly worth its time */
    for (unsigned i = 1; i <= 2 * DECIDE_CHECK_EACH; i++) {
        const struct request *request;
        bool asks;

        items[OBJECTS].checks.saved_ms = 60; /* enough */
        request = submit(&message, "picture");
        asks = request->choice.plan.route == JOB_CASCADE && request->choice.plan.threshold >= 1 &&
               !request->choice.plan.race;

        assert_int_equal(asks, i % DECIDE_CHECK_EACH == 0);
        checks += asks;
        requests_end_all(&all);
        for (size_t at = 0; at < fake.started_count; at++) {
            fake.started[at]->error = TANDEM_ECANCELED;
            requests_runner_callbacks.on_done(fake.started[at], &all);
        }
        fake.started_count = fake.sent_count = 0;
    }
    assert_int_equal(checks, 2);
}

int main(void)
{
#define FRESH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {FRESH(test_budget),
                                       FRESH(test_budget_shrinks),
                                       FRESH(test_reserves_are_a_set),
                                       FRESH(test_cancelled_step_counts),
                                       FRESH(test_drop),
                                       FRESH(test_no_deadline_no_reserve),
                                       FRESH(test_late_timers),
                                       FRESH(test_bytes_of_a_session),
                                       FRESH(test_breakdown),
                                       FRESH(test_probes_go_behind),
                                       FRESH(test_waste_of_a_cascade),
                                       FRESH(test_waste_of_a_race),
                                       FRESH(test_waste_of_an_edge),
                                       FRESH(test_capped),
                                       FRESH(test_held_back),
                                       FRESH(test_bytes_are_reserved),
                                       FRESH(test_bytes_of_unknown_labels),
                                       FRESH(test_bytes_of_an_edges_labels),
                                       FRESH(test_bytes_go_meanwhile),
                                       FRESH(test_joule_are_charged),
                                       FRESH(test_joule_of_a_link),
                                       FRESH(test_joule_of_an_extra),
                                       FRESH(test_joule_of_a_place),
                                       FRESH(test_latency_of_a_session),
                                       FRESH(test_handover),
                                       FRESH(test_both_are_asked_now_and_then)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
