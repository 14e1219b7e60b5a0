/* decide() and the job it plans, from random inputs through random events, those that may happen
 * and those that may not, at random times: what job.h promises, and what decide() was told to keep
 * to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/error.h"
#include "tests/unit/policy/random_input.h"

#include <string.h>

#define SEEDS 40
#define JOBS  2500 /* of each seed */
#define STEPS 60   /* at most, before the rest is let go */

enum { SIDES = JOB_SIDE_EDGE + 1 };

/* A job and whoever holds it. */
struct holder {
    const struct decide_input *input;
    struct choice choice;
    struct job job;
    int64_t now_ns, armed_ns; /* armed_ns: the timer; 0: none */
    bool started[SIDES], running[SIDES], kept[SIDES], partial[SIDES];
    int64_t asked_ns;
    bool pulled_in;
    int ends; /* DELIVER and FAIL */
};

/* ---- what may be done ---- */

static bool local_is_allowed(const struct decide_input *input)
{
    return input->has_local && (input->forced != FORCED_EDGE || input->fixed);
}

static bool edge_is_allowed(const struct decide_input *input, int at)
{
    const struct decide_edge *edge = &input->edges[at];

    return input->forced != FORCED_LOCAL && !input->never_leaves && !edge->unusable &&
           (!input->only_edge || strcmp(input->only_edge, edge->name) == 0) &&
           (!input->forced_edge || strcmp(input->forced_edge, edge->name) == 0) &&
           (!input->too_big || edge->form_count > 0);
}

static void action_check(struct holder *holder, const struct job_action *action,
                         const struct job_event_data *event)
{
    const enum job_side side = action->kind == JOB_SEND_EDGE || action->kind == JOB_CANCEL_EDGE
                                   ? JOB_SIDE_EDGE
                                   : JOB_SIDE_LOCAL;

    assert_int_equal(holder->ends, 0); /* nothing after the end */
    switch (action->kind) {
    case JOB_START_LOCAL:
        assert_true(local_is_allowed(holder->input));
        break;
    case JOB_SEND_EDGE:
        assert_true(holder->choice.edge >= 0);
        assert_true(edge_is_allowed(holder->input, holder->choice.edge));
        holder->asked_ns = holder->now_ns;
        break;
    case JOB_CANCEL_LOCAL:
    case JOB_CANCEL_EDGE:
        assert_true(holder->running[side]);
        holder->running[side] = false;
        return;
    case JOB_ARM_TIMER:
        assert_true(action->at_ns > holder->now_ns);
        holder->armed_ns = action->at_ns;
        return;
    case JOB_PASS_TOKENS:
        assert_true(event->kind == JOB_LOCAL_TOKENS || event->kind == JOB_EDGE_TOKENS);
        assert_true(holder->running[action->side]);
        return;
    case JOB_DELIVER:
        assert_true(action->side == JOB_SIDE_CACHE ? holder->choice.plan.route == JOB_CACHE
                                                   : holder->kept[action->side]);
        holder->ends++;
        return;
    case JOB_FAIL:
        assert_true(action->error < 0);
        holder->ends++;
        return;
    }
    assert_false(holder->started[side]); /* a side runs once */
    holder->started[side] = holder->running[side] = true;
    holder->pulled_in |= event->kind == JOB_PULL_IN && side == JOB_SIDE_LOCAL;
}

/* ---- what has to come by itself ---- */

static int64_t earlier_of(int64_t a_ns, int64_t b_ns)
{
    return a_ns == 0 || (b_ns != 0 && b_ns < a_ns) ? b_ns : a_ns;
}

/* The next moment at which something has to happen without an event; 0: none. */
static int64_t due_ns(const struct holder *holder)
{
    const struct job_plan *plan = &holder->choice.plan;
    const bool edge_runs = holder->running[JOB_SIDE_EDGE];
    const bool kept = holder->kept[JOB_SIDE_LOCAL] || holder->kept[JOB_SIDE_EDGE];
    int64_t due = 0;

    if (plan->deadline_ns > holder->now_ns) {
        due = plan->deadline_ns - (kept ? plan->handover_ns : 0);
    } else if (plan->deadline_ns != 0 && plan->deliver_late) {
        due = plan->late_until_ns; /* a late answer is not waited for without an end */
    }
    if (plan->insure_at_ns != 0 && plan->local_allowed && edge_runs &&
        !holder->started[JOB_SIDE_LOCAL]) {
        due = earlier_of(due, plan->insure_at_ns);
    }
    if (edge_runs && holder->kept[JOB_SIDE_LOCAL] && !holder->partial[JOB_SIDE_LOCAL]) {
        due = earlier_of(due, holder->pulled_in        ? plan->insure_at_ns
                              : plan->patience_ns != 0 ? holder->asked_ns + plan->patience_ns
                                                       : 0);
    }
    return due;
}

static void state_check(const struct holder *holder)
{
    const int64_t due = due_ns(holder);

    if (holder->ends > 0) {
        assert_false(holder->running[JOB_SIDE_LOCAL] || holder->running[JOB_SIDE_EDGE]);
        return;
    }
    /* something brings it on: a side, or the timer */
    assert_true(holder->running[JOB_SIDE_LOCAL] || holder->running[JOB_SIDE_EDGE]);
    if (due != 0) {
        assert_true(holder->armed_ns != 0);
        assert_true(holder->armed_ns <= due || holder->armed_ns <= holder->now_ns);
    }
}

/* ---- events ---- */

static bool may_happen(const struct holder *holder, enum job_event_kind kind)
{
    switch (kind) {
    case JOB_START:
        return !holder->job.started;
    case JOB_LOCAL_DONE:
    case JOB_LOCAL_FAILED:
    case JOB_LOCAL_TOKENS:
    case JOB_LOCAL_DOUBT:
        return holder->running[JOB_SIDE_LOCAL];
    case JOB_EDGE_ACCEPTED:
    case JOB_EDGE_TOKENS:
    case JOB_EDGE_DONE:
    case JOB_EDGE_FAILED:
    case JOB_EDGE_GONE:
        return holder->running[JOB_SIDE_EDGE];
    default:
        return true;
    }
}

static void side_note(struct holder *holder, const struct job_event_data *event)
{
    const bool local = event->kind == JOB_LOCAL_DONE || event->kind == JOB_LOCAL_FAILED;
    const enum job_side side = local ? JOB_SIDE_LOCAL : JOB_SIDE_EDGE;

    if (!local && event->kind != JOB_EDGE_DONE && event->kind != JOB_EDGE_FAILED &&
        event->kind != JOB_EDGE_GONE) {
        return;
    }
    holder->running[side] = false;
    holder->kept[side] = event->kind == JOB_LOCAL_DONE || event->kind == JOB_EDGE_DONE;
    holder->partial[side] = event->partial;
}

static void event_give(struct holder *holder, const struct job_event_data *event)
{
    const bool over = holder->ends > 0;
    const bool refused = !over && !may_happen(holder, event->kind);
    const struct job before = holder->job;
    struct job_actions actions;

    if (!over && !refused) {
        side_note(holder, event);
    }
    if (event->kind == JOB_TIMER) {
        holder->armed_ns = holder->armed_ns <= holder->now_ns ? 0 : holder->armed_ns;
    }
    assert_int_equal(job_event(&holder->job, event, holder->now_ns, &actions),
                     refused ? TANDEM_EINVAL : 0);
    if (over || refused) {
        assert_int_equal(actions.count, 0);
        assert_memory_equal(&before, &holder->job, sizeof(before));
    }
    for (size_t i = 0; i < actions.count; i++) {
        action_check(holder, &actions.items[i], event);
    }
    state_check(holder);
}

static struct job_event_data random_event(struct random_source *random)
{
    static const int errors[] = {TANDEM_EIO, TANDEM_EBUSY, TANDEM_EFORMAT, TANDEM_EINVAL};

    return (struct job_event_data){.kind = (enum job_event_kind)random_below(random, JOB_EVENTS),
                                   .confidence = random_unit(random),
                                   .tokens = 1 + (uint32_t)random_below(random, 50),
                                   .error = errors[random_below(random, 4)],
                                   .partial = random_one_in(random, 4)};
}

/* Callers that leave are rare, so that most requests see their end. */
static struct job_event_data next_event(struct random_source *random)
{
    struct job_event_data event = random_event(random);

    while ((event.kind == JOB_CANCEL || event.kind == JOB_APP_GONE) && !random_one_in(random, 20)) {
        event = random_event(random);
    }
    return event;
}

/* Time passes. A timer fires when it is due or a little later, and sometimes when it is not. */
static void time_pass(struct random_source *random, struct holder *holder)
{
    holder->now_ns += (int64_t)(random_ms(random, 0.001, 300) * (double)NS_PER_MS);
    if (holder->ends == 0 && holder->armed_ns != 0 && holder->armed_ns <= holder->now_ns &&
        !random_one_in(random, 4)) {
        event_give(holder, &(struct job_event_data){.kind = JOB_TIMER});
    }
}

/* Whatever still runs comes to its end. */
static void let_go(struct random_source *random, struct holder *holder)
{
    for (int rounds = 0; holder->ends == 0; rounds++) {
        const bool local = holder->running[JOB_SIDE_LOCAL];
        struct job_event_data event = random_event(random);

        assert_true(rounds < 6); /* two sides, and the timer */
        event.kind = local ? (random_one_in(random, 2) ? JOB_LOCAL_DONE : JOB_LOCAL_FAILED)
                           : (random_one_in(random, 2) ? JOB_EDGE_DONE : JOB_EDGE_FAILED);
        event_give(holder, &event);
        time_pass(random, holder);
    }
}

/* What becomes of one request; false: decide() found no route. */
static bool job_run(struct random_source *random, struct random_input *made,
                    unsigned seen[JOB_EVENTS])
{
    struct holder holder = {.input = &made->input, .now_ns = made->input.now_ns};
    struct job_event_data event = {.kind = JOB_START};

    if (decide(&made->input, &holder.choice) != 0) {
        return false;
    }
    job_init(&holder.job, &holder.choice.plan);
    event_give(&holder, &event);
    for (int step = 0; step < STEPS && holder.ends == 0; step++) {
        time_pass(random, &holder);
        event = next_event(random);
        seen[event.kind] += holder.ends == 0 && may_happen(&holder, event.kind);
        event_give(&holder, &event);
    }
    let_go(random, &holder);
    event_give(&holder, &(struct job_event_data){.kind = JOB_LOCAL_DONE}); /* on its way already */
    event_give(&holder, &(struct job_event_data){.kind = JOB_START});
    assert_int_equal(holder.ends, 1);
    return true;
}

static void test_random_events(void **state)
{
    static struct random_input made;
    unsigned seen[JOB_EVENTS] = {0}, decided = 0;

    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct random_source random;

        random_seed(&random, seed);
        for (int i = 0; i < JOBS; i++) {
            random_input_make(&random, &made);
            decided += job_run(&random, &made, seen);
        }
    }
    assert_true(decided > SEEDS * JOBS / 2);
    for (int kind = JOB_START + 1; kind < JOB_EVENTS; kind++) {
        assert_true(seen[kind] > 100); /* each was met in a state where it counts */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_events)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
