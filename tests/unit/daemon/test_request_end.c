/* What is left of a request: what the counters say of it, and what a local text teaches that was
 * let go because it was not sure enough. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/daemon/fake_parts.h"

#include "common/base/error.h"

#define SURE 0.35 /* of the text that was let go */
#define BIN  3

static struct client_config config;
static struct task_config task_config = {.kind = TASK_GENERATE};
static struct client_task task;
static struct requests all;
static struct request request;

static int setup(void **state)
{
    (void)state;
    task = (struct client_task){.config = &task_config, .has_local = true};
    confidence_init(&task.confidence);
    all = (struct requests){.config = &config};
    request = (struct request){.all = &all, .task = &task};
    clock_set_fake(fake_now, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    clock_set_fake(NULL, NULL);
    return 0;
}

static void ends(enum job_route route, enum job_side side, unsigned flags)
{
    const struct job_action action = {.kind = JOB_DELIVER, .side = side, .flags = flags};

    request.job.plan.route = route;
    strcpy(request.decision.route, route == JOB_CASCADE ? "cascade" : "any");
    request_count(&request, &action);
}

static void fails(int error)
{
    const struct job_action action = {.kind = JOB_FAIL, .error = error};

    request_count(&request, &action);
}

static void test_who_answered(void **state)
{
    const struct counts *counts = &all.counts;

    (void)state;
    ends(JOB_LOCAL, JOB_SIDE_LOCAL, 0);
    assert_int_equal(counts->local, 1);
    ends(JOB_EDGE, JOB_SIDE_LOCAL, 0); /* its insurance */
    assert_int_equal(counts->local, 2);
    ends(JOB_EDGE, JOB_SIDE_EDGE, JOB_FLAG_LATE);
    assert_int_equal(counts->edge, 1);
    assert_int_equal(counts->late, 1);
    ends(JOB_CACHE, JOB_SIDE_CACHE, 0);
    assert_int_equal(counts->cache, 1);
    ends(JOB_CASCADE, JOB_SIDE_EDGE, 0);
    assert_int_equal(counts->cascade_went, 1);
    assert_int_equal(counts->cascade_stayed, 0);
    assert_int_equal(counts->local + counts->edge + counts->cache, 4);
    assert_int_equal(counts->ended[COUNTED_EDGE][COUNTED_LATE], 1);
    assert_int_equal(counts->ended[COUNTED_EDGE][COUNTED_IN_TIME], 1);
    assert_int_equal(counts->hedges, 0);
    request.decision.hedged = true;
    ends(JOB_EDGE, JOB_SIDE_EDGE, 0);
    assert_int_equal(counts->hedges, 1);
    assert_int_equal(counts->late, 1);
    assert_int_equal(counts->errors + counts->cancelled, 0);
}

/* Who goes away has no error, and what comes too late is told as that. */
static void test_who_failed(void **state)
{
    const struct counts *counts = &all.counts;

    (void)state;
    strcpy(request.decision.route, "local");
    fails(TANDEM_ECANCELED);
    fails(TANDEM_EGONE);
    assert_int_equal(counts->cancelled, 2);
    assert_int_equal(counts->errors, 0);
    fails(TANDEM_ELATE);
    fails(TANDEM_EBUSY);
    assert_int_equal(counts->cancelled, 2);
    assert_int_equal(counts->errors, 2);
    assert_int_equal(counts->late, 1);
    assert_int_equal(counts->ended[COUNTED_LOCAL][COUNTED_CANCELLED], 2);
    assert_int_equal(counts->ended[COUNTED_LOCAL][COUNTED_FAILED], 2);
    request.decision.route[0] = '\0'; /* there was none */
    fails(TANDEM_ENOROUTE);
    assert_int_equal(counts->ended[COUNTED_NONE][COUNTED_FAILED], 1);
    assert_int_equal(counts->local + counts->edge, 0);
}

static void said(struct answer *answer, const char *text)
{
    answer->kind = WIRE_GENERATE;
    answer->text = (char *)(uintptr_t)text;
    answer->text_bytes = strlen(text);
}

static void compared(unsigned both, unsigned agreed)
{
    assert_int_equal(task.confidence.both[BIN], both);
    assert_int_equal(task.confidence.agreed[BIN], agreed);
}

/* What it had said is held against so much of the edge's answer. */
static void test_what_a_doubted_text_teaches(void **state)
{
    struct answer *edge = &request.answers[JOB_SIDE_EDGE];

    (void)state;
    said(&request.local.answer, "turn le");
    request.local.answer.confidence = SURE;
    request_doubt_learn(&request); /* no edge answered */
    assert_int_equal(task.confidence.seen[BIN], 1);
    compared(0, 0);
    request.has_answer[JOB_SIDE_EDGE] = true;
    said(edge, "turn left");
    request_doubt_learn(&request);
    assert_int_equal(task.confidence.seen[BIN], 2);
    compared(1, 1);
    said(edge, "turn right");
    request_doubt_learn(&request);
    compared(2, 1);
    said(edge, "turn"); /* all it had to say */
    request_doubt_learn(&request);
    compared(3, 1);
    edge->finish = WIRE_FINISH_DEADLINE; /* or not all */
    request_doubt_learn(&request);
    compared(3, 1);
}

/* Only a cascade that would still have to ask wants to know. */
static void test_who_is_to_be_told_of_doubts(void **state)
{
    (void)state;
    request.job.plan = (struct job_plan){.route = JOB_CASCADE, .threshold = 0.7};
    assert_true(request_doubt_below(&request) == 0.7);
    request.job.plan.race = true;
    assert_true(request_doubt_below(&request) == 0);
    request.job.plan = (struct job_plan){.route = JOB_LOCAL, .threshold = 0.7};
    assert_true(request_doubt_below(&request) == 0);
}

int main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {WITH(test_who_answered), WITH(test_who_failed),
                                       WITH(test_what_a_doubted_text_teaches),
                                       WITH(test_who_is_to_be_told_of_doubts)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
