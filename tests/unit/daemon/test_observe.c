/* `mode = observe`: a request goes the prescribed way whatever was decided, its decision says both,
 * and callers that say where are obeyed. Everything around is fake. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/daemon/fake_site.h"

#include <stdio.h>

#define DEADLINE_MS 1000

static struct task_config task_config;
static struct client_task item;
static struct tasks tasks;

/* An edge that is worth asking: an error is dear, and it is far from late. */
static int setup(void **state)
{
    (void)state;
    site_begin(&tasks);
    (void)estimate_link_rtt(&fake.link, 10, fake.now_ns);
    fake.load = (struct edge_load){.picture_us = 20000};
    config =
        (struct client_config){.one_miss_ms = 100000, .one_error_ms = 100000, .mode = MODE_OBSERVE};
    fake_task("objects", TASK_CLASSIFY, &task_config, &item);
    task_config.confidence_threshold = 0.625;
    estimate_local_add(&item.estimate, 300);
    tasks = (struct tasks){.configs = &task_config, .items = &item, .count = 1};
    return requests_init(&all);
}

static int teardown(void **state)
{
    (void)state;
    return site_end();
}

static struct request *submit(const char *route, uint32_t leaves_device)
{
    static uint64_t id;
    static uint8_t picture[] = "picture";
    struct local_submit message = {.task = "objects",
                                   .deadline_us = DEADLINE_MS * UINT64_C(1000),
                                   .has_picture = true,
                                   .leaves_device = leaves_device};

    snprintf(message.route, sizeof(message.route), "%s", route);
    requests_app_callbacks.on_submit(
        (struct app_peer *)&peer, ++id, &message,
        (struct app_input){.data = picture, .bytes = 7, .mapped = true}, &all);
    return all.list;
}

static size_t candidates_of_edges(const struct decision *decision)
{
    size_t count = 0;

    for (size_t i = 0; i < decision->candidate_count; i++) {
        count += strncmp(decision->candidates[i].route, "edge:", 5) == 0;
    }
    return count;
}

static void says(const struct request *request, const char *text)
{
    if (!strstr(request->decision.reason, text)) {
        fail_msg("'%s' does not say '%s'", request->decision.reason, text);
    }
}

/* What would be done here without the mode, so that the tests below mean something. */
static void test_decide_goes_to_the_edge(void **state)
{
    struct request *request;

    (void)state;
    config.mode = MODE_DECIDE;
    request = submit("", 0);
    assert_int_equal(fake.sent_count, 1);
    assert_int_equal(fake.started_count, 0);
    assert_false(request->decision.observed);
    assert_null(strstr(request->decision.reason, "observed"));
}

static void test_local(void **state)
{
    const struct request *request;

    (void)state;
    request = submit("", 0);
    assert_int_equal(fake.sent_count, 0);
    assert_int_equal(fake.started_count, 1);
    assert_true(request->decision.observed);
    assert_true(strncmp(request->decision.route, "edge:", 5) == 0);
    assert_int_equal(candidates_of_edges(&request->decision), FAKE_EDGES);
    assert_float_equal(request->decision.predicted_ms, 300, 1); /* of what runs */
    says(request, "observed only: would have taken edge:");
    says(request, ", ran local");
    (void)submit("auto", 0);
    assert_int_equal(fake.started_count, 2);
}

/* The prescribed edge is insured as a chosen one is, and its end is not the request's. */
static void test_edge_is_insured(void **state)
{
    const struct edge_error refused = {.code = TANDEM_EBUSY, .text = "full"};
    struct request *request;

    (void)state;
    config.observe_route = OBSERVE_EDGE;
    request = submit("", 0);
    assert_int_equal(fake.sent_count, 1);
    assert_int_equal(fake.started_count, 0);
    assert_true(request->decision.observed);
    says(request, "as decided");
    assert_true(request->job.plan.local_allowed);
    assert_true(request->job.plan.insure_at_ns > fake.now_ns);
    requests_link_callbacks.on_error(fake.sent[0].edge, fake.sent[0].id, &refused, &all);
    assert_int_equal(fake.started_count, 1);
}

static void test_cascade_at_the_tasks_threshold(void **state)
{
    const struct request *request;

    (void)state;
    config.observe_route = OBSERVE_CASCADE;
    request = submit("", 0);
    assert_int_equal(request->job.plan.route, JOB_CASCADE);
    assert_float_equal(request->job.plan.threshold, 0.625, 0);
    assert_int_equal(fake.started_count, 1);
    assert_int_equal(fake.sent_count, 0);
    says(request, ", ran cascade");
}

/* What must not leave stays here, whatever is prescribed. */
static void test_no_edge_means_local(void **state)
{
    static const int routes[] = {OBSERVE_EDGE, OBSERVE_CASCADE};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const struct request *request;

        config.observe_route = routes[i];
        request = submit("", 1);
        assert_int_equal(fake.sent_count, 0);
        assert_int_equal(fake.started_count, i + 1);
        assert_true(request->decision.observed);
        says(request, "leaves_device = never");
    }
}

static void test_without_a_local_model(void **state)
{
    const struct request *request;

    (void)state;
    item.has_local = false;
    request = submit("", 0);
    assert_int_equal(fake.sent_count, 1);
    assert_int_equal(fake.started_count, 0);
    says(request, "no local model");
}

static void test_callers_are_obeyed(void **state)
{
    const struct request *request;

    (void)state;
    request = submit("edge:attic", 0);
    assert_int_equal(fake.sent_count, 1);
    assert_int_equal(fake.sent[0].edge, 1);
    assert_false(request->decision.observed);
    assert_string_equal(request->decision.reason, "forced by caller");
    assert_false(request->job.plan.local_allowed);
}

int main(void)
{
#define FRESH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        FRESH(test_decide_goes_to_the_edge), FRESH(test_local),
        FRESH(test_edge_is_insured),         FRESH(test_cascade_at_the_tasks_threshold),
        FRESH(test_no_edge_means_local),     FRESH(test_without_a_local_model),
        FRESH(test_callers_are_obeyed)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
