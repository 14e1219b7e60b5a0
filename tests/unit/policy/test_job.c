/* The life of a request: named cases, then 100,000 random sequences held to what job.h promises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <cmocka.h>

#include "client/policy/job.h"
#include "common/base/error.h"
#include "common/base/random.h"

static struct job_actions go(struct job *job, enum job_event_kind kind, double confidence,
                             int error, int64_t now_ns)
{
    const struct job_event_data event = {.kind = kind, .confidence = confidence, .error = error};
    struct job_actions actions;

    assert_int_equal(job_event(job, &event, now_ns, &actions), 0);
    return actions;
}

static void test_cascade_stays(void **state)
{
    const struct job_plan plan = {.route = JOB_CASCADE, .local_allowed = true, .threshold = 0.8};
    struct job job;
    struct job_actions actions;

    (void)state;
    job_init(&job, &plan);
    assert_int_equal(go(&job, JOB_START, 0, 0, 1).items[0].kind, JOB_START_LOCAL);
    actions = go(&job, JOB_LOCAL_DONE, 0.9, 0, 2);
    assert_int_equal(actions.count, 1);
    assert_int_equal(actions.items[0].kind, JOB_DELIVER);
    assert_int_equal(actions.items[0].side, JOB_SIDE_LOCAL);
}

static void test_cascade_keeps_the_local_answer(void **state)
{
    const struct job_plan plan = {
        .route = JOB_CASCADE, .local_allowed = true, .threshold = 0.8, .deadline_ns = 100};
    struct job job;
    struct job_actions actions;

    (void)state;
    for (int how = 0; how < 2; how++) {
        job_init(&job, &plan);
        (void)go(&job, JOB_START, 0, 0, 1);
        assert_int_equal(go(&job, JOB_LOCAL_DONE, 0.1, 0, 2).items[0].kind, JOB_SEND_EDGE);
        actions = how ? go(&job, JOB_EDGE_GONE, 0, 0, 50) : go(&job, JOB_TIMER, 0, 0, 100);
        assert_int_equal(actions.items[actions.count - 1].kind, JOB_DELIVER);
        assert_int_equal(actions.items[actions.count - 1].side, JOB_SIDE_LOCAL);
        assert_int_equal(actions.items[actions.count - 1].flags & JOB_FLAG_LATE, 0);
    }
}

/* A text that is not sure enough on its way asks at once, and once; its answer is kept. */
static void test_cascade_doubts_a_text(void **state)
{
    const struct job_plan plan = {.route = JOB_CASCADE,
                                  .local_allowed = true,
                                  .threshold = 0.8,
                                  .patience_ns = 20,
                                  .deadline_ns = 100};
    struct job_event_data doubt = {.kind = JOB_LOCAL_DOUBT, .confidence = 0.9, .tokens = 3};
    struct job job;
    struct job_actions actions;

    (void)state;
    job_init(&job, &plan);
    (void)go(&job, JOB_START, 0, 0, 1);
    assert_int_equal(job_event(&job, &doubt, 5, &actions), 0);
    assert_int_equal(actions.count, 0);
    assert_int_equal(job.doubt_tokens, 0);
    doubt.confidence = 0.21;
    doubt.tokens = 5;
    assert_int_equal(job_event(&job, &doubt, 10, &actions), 0);
    assert_int_equal(actions.items[0].kind, JOB_SEND_EDGE);
    assert_int_equal(job.doubt_tokens, 5);
    assert_true(job.doubt == 0.21);
    doubt.confidence = 0.1;
    doubt.tokens = 6;
    assert_int_equal(job_event(&job, &doubt, 11, &actions), 0);
    assert_int_equal(actions.count, 0);
    assert_int_equal(job.doubt_tokens, 5);
    /* Patience counts from the moment the edge was asked. */
    actions = go(&job, JOB_LOCAL_DONE, 0.1, 0, 15);
    assert_int_equal(actions.count, 1);
    assert_int_equal(actions.items[0].kind, JOB_ARM_TIMER);
    assert_int_equal(actions.items[0].at_ns, 30);
    actions = go(&job, JOB_TIMER, 0, 0, 30);
    assert_int_equal(actions.items[0].kind, JOB_CANCEL_EDGE);
    assert_int_equal(actions.items[1].kind, JOB_DELIVER);
    assert_int_equal(actions.items[1].side, JOB_SIDE_LOCAL);
}

static void test_insurance(void **state)
{
    const struct job_plan plan = {
        .route = JOB_EDGE, .local_allowed = true, .deadline_ns = 100, .insure_at_ns = 60};
    struct job job;
    struct job_actions actions;

    (void)state;
    job_init(&job, &plan);
    actions = go(&job, JOB_START, 0, 0, 1);
    assert_int_equal(actions.items[0].kind, JOB_SEND_EDGE);
    assert_int_equal(actions.items[1].kind, JOB_ARM_TIMER);
    assert_int_equal(actions.items[1].at_ns, 60);
    assert_int_equal(go(&job, JOB_TIMER, 0, 0, 60).items[0].kind, JOB_START_LOCAL);
    actions = go(&job, JOB_LOCAL_DONE, 0.1, 0, 80);
    assert_int_equal(actions.items[0].kind, JOB_CANCEL_EDGE);
    assert_int_equal(actions.items[1].kind, JOB_DELIVER);
    assert_true(actions.items[1].flags & JOB_FLAG_HEDGED);
}

static void test_late(void **state)
{
    struct job_plan plan = {.route = JOB_LOCAL, .local_allowed = true, .deadline_ns = 100};
    struct job job;
    struct job_actions actions;

    (void)state;
    job_init(&job, &plan);
    (void)go(&job, JOB_START, 0, 0, 1);
    actions = go(&job, JOB_TIMER, 0, 0, 100);
    assert_int_equal(actions.items[0].kind, JOB_CANCEL_LOCAL);
    assert_int_equal(actions.items[1].error, TANDEM_ELATE);
    plan.deliver_late = true;
    plan.late_until_ns = 160;
    job_init(&job, &plan);
    (void)go(&job, JOB_START, 0, 0, 1);
    actions = go(&job, JOB_TIMER, 0, 0, 100);
    assert_int_equal(actions.count, 1);
    assert_int_equal(actions.items[0].kind, JOB_ARM_TIMER);
    assert_int_equal(actions.items[0].at_ns, 160);
    assert_true(go(&job, JOB_LOCAL_DONE, 1, 0, 150).items[0].flags & JOB_FLAG_LATE);
}

/* An edge that never ends, where local may not run: a late answer is waited for until then. */
static void test_late_has_an_end(void **state)
{
    struct job_plan plan = {
        .route = JOB_EDGE, .deadline_ns = 100, .deliver_late = true, .late_until_ns = 160};
    const struct job_event_data cut_short = {.kind = JOB_LOCAL_DONE, .partial = true};
    struct job job;
    struct job_actions actions;

    (void)state;
    job_init(&job, &plan);
    (void)go(&job, JOB_START, 0, 0, 1);
    assert_int_equal(go(&job, JOB_TIMER, 0, 0, 100).items[0].at_ns, 160);
    assert_int_equal(go(&job, JOB_TIMER, 0, 0, 159).items[0].at_ns, 160);
    actions = go(&job, JOB_TIMER, 0, 0, 160);
    assert_int_equal(actions.count, 2);
    assert_int_equal(actions.items[0].kind, JOB_CANCEL_EDGE);
    assert_int_equal(actions.items[1].kind, JOB_FAIL);
    assert_int_equal(actions.items[1].error, TANDEM_ELATE);
    plan.local_allowed = true; /* it joins, and what it kept goes out then */
    job_init(&job, &plan);
    (void)go(&job, JOB_START, 0, 0, 120); /* after its deadline already */
    assert_int_equal(go(&job, JOB_TIMER, 0, 0, 130).items[0].kind, JOB_START_LOCAL);
    assert_int_equal(job_event(&job, &cut_short, 140, &actions), 0);
    assert_int_equal(actions.count, 1);
    assert_int_equal(actions.items[0].at_ns, 160);
    actions = go(&job, JOB_TIMER, 0, 0, 160);
    assert_int_equal(actions.items[0].kind, JOB_CANCEL_EDGE);
    assert_int_equal(actions.items[1].kind, JOB_DELIVER);
    assert_int_equal(actions.items[1].flags, JOB_FLAG_LATE | JOB_FLAG_PARTIAL | JOB_FLAG_HEDGED);
}

/* What the test itself knows of a job while random events come. */
struct watch {
    bool running[JOB_SIDES], done[JOB_SIDES], partial[JOB_SIDES];
    bool shown;
    enum job_side showing;
    bool cancelled; /* a side that ran was told to stop */
    int ends;
};

static struct job_plan random_plan(struct random_source *random)
{
    return (struct job_plan){.route = (enum job_route)random_below(random, 3),
                             .local_allowed = random_below(random, 4) > 0,
                             .race = random_below(random, 4) == 0,
                             .deadline_ns = (int64_t)random_below(random, 2) * 60,
                             .insure_at_ns = (int64_t)random_below(random, 2) * 30,
                             .edge_needs_ns = (int64_t)random_below(random, 40),
                             .handover_ns = (int64_t)random_below(random, 2) * 10,
                             .threshold = 0.5,
                             .deliver_late = random_below(random, 2) == 0,
                             .late_until_ns = 90};
}

static void watch_event(struct watch *watch, const struct job_event_data *event)
{
    const bool local = event->kind == JOB_LOCAL_DONE || event->kind == JOB_LOCAL_FAILED;
    const bool edge = event->kind == JOB_EDGE_DONE || event->kind == JOB_EDGE_FAILED ||
                      event->kind == JOB_EDGE_GONE;
    const enum job_side side = edge ? JOB_SIDE_EDGE : JOB_SIDE_LOCAL;

    if (!local && !edge) {
        return;
    }
    assert_true(watch->running[side]);
    watch->running[side] = false;
    watch->done[side] = event->kind == JOB_LOCAL_DONE || event->kind == JOB_EDGE_DONE;
    watch->partial[side] = event->partial;
}

/* Late is what goes out late; of two answers the whole one, then the edge's. */
static void watch_deliver(const struct watch *watch, const struct job_plan *plan,
                          const struct job_action *action, const struct job_event_data *event,
                          int64_t now_ns)
{
    const enum job_side side = action->side,
                        other = side == JOB_SIDE_LOCAL ? JOB_SIDE_EDGE : JOB_SIDE_LOCAL;
    const bool late = plan->deadline_ns != 0 && now_ns > plan->deadline_ns;
    const bool due = plan->deadline_ns != 0 && now_ns >= plan->deadline_ns - plan->handover_ns;

    /* A partial answer waits for the side that runs, while there is time. */
    assert_true(!watch->partial[side] || !watch->cancelled || event->kind == JOB_TIMER || due);
    assert_true(watch->done[side]);
    assert_int_equal((action->flags & JOB_FLAG_PARTIAL) != 0, watch->partial[side]);
    assert_int_equal((action->flags & JOB_FLAG_LATE) != 0, late);
    assert_true(!late || plan->deliver_late);
    if (watch->done[other]) {
        assert_false(watch->partial[side] && !watch->partial[other]);
        assert_false(watch->partial[side] == watch->partial[other] && side == JOB_SIDE_LOCAL);
    }
}

static void watch_action(struct watch *watch, const struct job_plan *plan,
                         const struct job_action *action, const struct job_event_data *event,
                         int64_t now_ns)
{
    const enum job_side side = action->kind == JOB_SEND_EDGE || action->kind == JOB_CANCEL_EDGE
                                   ? JOB_SIDE_EDGE
                                   : JOB_SIDE_LOCAL;

    assert_int_equal(watch->ends, 0);
    switch (action->kind) {
    case JOB_START_LOCAL:
    case JOB_SEND_EDGE:
        assert_false(watch->running[side] || watch->done[side]);
        watch->running[side] = true;
        break;
    case JOB_CANCEL_LOCAL:
    case JOB_CANCEL_EDGE:
        assert_true(watch->running[side]);
        watch->running[side] = false;
        watch->cancelled = true;
        break;
    case JOB_ARM_TIMER:
        assert_true(action->at_ns > 0);
        break;
    case JOB_PASS_TOKENS:
        assert_int_equal(action->side,
                         event->kind == JOB_EDGE_TOKENS ? JOB_SIDE_EDGE : JOB_SIDE_LOCAL);
        assert_true(watch->running[action->side]);
        assert_true(!watch->shown || watch->showing == action->side ||
                    !watch->running[watch->showing]);
        watch->shown = true;
        watch->showing = action->side;
        break;
    case JOB_DELIVER:
        watch_deliver(watch, plan, action, event, now_ns);
        watch->ends++;
        break;
    case JOB_FAIL:
        assert_true(action->error < 0);
        watch->ends++;
        break;
    }
}

static void test_random_sequences(void **state)
{
    struct random_source random;

    (void)state;
    random_seed(&random, 7);
    for (int round = 0; round < 100000; round++) {
        const struct job_plan plan = random_plan(&random);
        struct watch watch = {.ends = 0};
        int64_t now_ns = 1;
        struct job job;

        job_init(&job, &plan);
        for (int step = 0; step < 30; step++) {
            const struct job_event_data event = {
                .kind = step == 0    ? JOB_START
                        : step == 29 ? JOB_CANCEL
                                     : (enum job_event_kind)random_below(&random, JOB_CANCEL),
                .confidence = random_unit(&random),
                .partial = random_below(&random, 3) == 0,
                .error = TANDEM_EIO};
            struct job_actions actions;
            const int result = job_event(&job, &event, now_ns, &actions);

            assert_true(result == 0 || actions.count == 0);
            assert_true(watch.ends == 0 || actions.count == 0);
            if (result == 0 && watch.ends == 0) {
                watch_event(&watch, &event);
            }
            for (size_t i = 0; i < actions.count; i++) {
                watch_action(&watch, &plan, &actions.items[i], &event, now_ns);
            }
            if (watch.ends) {
                assert_false(watch.running[0] || watch.running[1]);
            }
            now_ns += (int64_t)random_below(&random, 10);
        }
        assert_int_equal(watch.ends, 1);
    }
}

/* An answer that is there is delivered at once, and nothing else happens. */
static void test_cache_delivers(void **state)
{
    const struct job_plan plan = {.route = JOB_CACHE, .local_allowed = true, .deadline_ns = 100};
    const struct job_event_data start = {.kind = JOB_START};
    struct job_actions actions;
    struct job job;

    (void)state;
    job_init(&job, &plan);
    assert_int_equal(job_event(&job, &start, 10, &actions), 0);
    assert_int_equal(actions.count, 1);
    assert_int_equal(actions.items[0].kind, JOB_DELIVER);
    assert_int_equal(actions.items[0].side, JOB_SIDE_CACHE);
    assert_int_equal(actions.items[0].flags, 0);
    assert_true(job.ended);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cache_delivers),
        cmocka_unit_test(test_cascade_stays),
        cmocka_unit_test(test_cascade_keeps_the_local_answer),
        cmocka_unit_test(test_cascade_doubts_a_text),
        cmocka_unit_test(test_insurance),
        cmocka_unit_test(test_late),
        cmocka_unit_test(test_late_has_an_end),
        cmocka_unit_test(test_random_sequences),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
