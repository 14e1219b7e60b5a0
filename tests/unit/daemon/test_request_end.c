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

static void on_decision(const struct decision *decision, void *user)
{
    (void)user;
    fake.last = *decision;
}

static int setup(void **state)
{
    (void)state;
    task_config.kind = TASK_GENERATE;
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
    said(edge, "turn left");
    edge->text_bytes = strlen("turn"); /* all it had to say; what stands behind it is no text */
    request_doubt_learn(&request);
    compared(3, 1);
    edge->finish = WIRE_FINISH_DEADLINE; /* or not all */
    request_doubt_learn(&request);
    compared(3, 1);
}

/* Who gave which whole answer, and whether they said the same: that is what a word of the
 * application will be held against. */
static void test_whose_answers_there_were(void **state)
{
    static const struct job_action by_edge = {.kind = JOB_DELIVER, .side = JOB_SIDE_EDGE},
                                   by_local = {.kind = JOB_DELIVER, .side = JOB_SIDE_LOCAL},
                                   failed = {.kind = JOB_FAIL, .error = TANDEM_ELATE};
    const struct told_answers *answers = &request.decision.answers;
    struct answer *local = &request.answers[JOB_SIDE_LOCAL],
                  *edge = &request.answers[JOB_SIDE_EDGE];

    (void)state;
    strcpy(fake.local_digest, "abc");
    strcpy(request.edge_digest, "def");
    request.decision.id = 7;
    said(local, "left");
    local->confidence = SURE;
    said(edge, "left");
    request.has_answer[JOB_SIDE_LOCAL] = true;
    request_answers_note(&request, &by_local);
    assert_int_equal(answers->decision, 7);
    assert_int_equal(answers->by, JOB_SIDE_LOCAL);
    assert_true(answers->whole[JOB_SIDE_LOCAL] && !answers->whole[JOB_SIDE_EDGE]);
    assert_false(answers->agreed || answers->one_right); /* two texts may both be right */
    assert_true(answers->confidence == SURE);
    assert_string_equal(answers->local_digest, "abc");
    assert_string_equal(answers->edge, "");
    request.has_answer[JOB_SIDE_EDGE] = true;
    request_answers_note(&request, &by_edge);
    assert_int_equal(answers->by, JOB_SIDE_EDGE);
    assert_true(answers->whole[JOB_SIDE_EDGE] && answers->agreed);
    assert_string_equal(answers->edge, "den");
    assert_string_equal(answers->edge_digest, "def");
    said(edge, "right");
    request_answers_note(&request, &by_edge);
    assert_false(answers->agreed);
    said(edge, "lefx");
    request_answers_note(&request, &by_edge);
    assert_false(answers->agreed);
    said(edge, "left");
    edge->finish = WIRE_FINISH_DEADLINE; /* cut short: not a whole one */
    request_answers_note(&request, &by_edge);
    assert_false(answers->whole[JOB_SIDE_EDGE] || answers->agreed);
    task_config.kind = TASK_CLASSIFY;
    request_answers_note(&request, &failed);
    assert_int_equal(answers->by, JOB_SIDES);
    assert_true(answers->one_right);
}

/* Only when both have answered there is something to compare; and in memory the oldest decision
 * goes first. */
static void test_what_is_kept(void **state)
{
    (void)state;
    said(&request.answers[JOB_SIDE_LOCAL], "left");
    request.answers[JOB_SIDE_LOCAL].confidence = SURE;
    said(&request.answers[JOB_SIDE_EDGE], "left");
    request.has_answer[JOB_SIDE_LOCAL] = true;
    request_compare(&request);
    compared(0, 0);
    request.has_answer[JOB_SIDE_EDGE] = true;
    request_compare(&request);
    compared(1, 1);
    assert_int_equal(requests_init(&all), 0);
    all.on_decision = on_decision;
    for (uint64_t id = 1; id <= LIMIT_DECISION_RING + 1; id++) {
        request.decision.id = request.decision.answers.decision = id;
        request_decision_keep(&request);
        assert_int_equal(all.ring_count, id < LIMIT_DECISION_RING ? id : LIMIT_DECISION_RING);
        assert_non_null(requests_ring_find(&all, id));
        assert_int_equal(fake.last.id, id);
    }
    assert_null(requests_ring_find(&all, 1));
    assert_non_null(requests_ring_find(&all, 2));
    assert_non_null(requests_ring_find(&all, LIMIT_DECISION_RING + 1));
    assert_int_equal(
        all.told[(all.told_next + LIMIT_FEEDBACK_KEPT - 1) % LIMIT_FEEDBACK_KEPT].decision,
        LIMIT_DECISION_RING + 1); /* and can be judged */
    requests_fini(&all);
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
    const struct CMUnitTest tests[] = {WITH(test_who_answered),
                                       WITH(test_who_failed),
                                       WITH(test_what_a_doubted_text_teaches),
                                       WITH(test_who_is_to_be_told_of_doubts),
                                       WITH(test_whose_answers_there_were),
                                       WITH(test_what_is_kept)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
