/* One device with one runner, and edges that answer, fail, vanish all at once or stay silent, at
 * random: who was told that a place is kept for a local run has an answer in time, as long as local
 * runs take no more than their bound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "client/policy/insurance.h"
#include "common/base/error.h"
#include "tests/unit/policy/random_input.h"

#include <string.h>

#define TICK_MS   0.1 /* a step is a whole number of them */
#define TICK_NS   (NS_PER_MS / 10)
#define LENGTH_NS (3 * NS_PER_S)
#define SEEDS     1500
#define REQUESTS  24 /* at a time */
#define MARGIN_MS 3.0

struct request {
    bool used, ended;
    struct choice choice;
    struct job job;
    int64_t armed_ns;   /* 0: none */
    int64_t edge_at_ns; /* when the edge does `edge_does`; 0: never, or it is not asked */
    enum job_event_kind edge_does;
    /* its local run: with the runner, and what is left of it */
    bool with_runner, begun, cancelled;
    int64_t bound_ns, step_ns, left_ns, done_ns;
    uint64_t order; /* in which it came to the runner */
};
struct device {
    struct random_source random;
    int64_t now_ns, cut_until_ns;
    struct request requests[REQUESTS];
    struct request *running; /* whose step this is */
    int64_t step_ends_ns;
    uint64_t orders;
    struct confidence confidence;
    double bound_ms, steps;   /* of a local run: all are of one task */
    size_t kept, raced, none; /* reserves that were told */
    size_t saved;             /* promises that only the local run has kept */
};

static void event_give(struct device *device, struct request *request, enum job_event_kind kind);

/* ---- the runner: earliest deadline first, what yields goes last, from step to step ---- */

static bool goes_first(const struct request *a, const struct request *b)
{
    const int64_t a_ns = a->job.plan.deadline_ns, b_ns = b->job.plan.deadline_ns;

    if (a->job.plan.yields != b->job.plan.yields) {
        return b->job.plan.yields;
    }
    return a_ns != b_ns ? b_ns == 0 || (a_ns != 0 && a_ns < b_ns) : a->order < b->order;
}

static void run_leave(struct request *request)
{
    request->with_runner = false;
    request->used = !request->ended;
}

static void step_begin(struct device *device)
{
    struct request *best = NULL;
    int64_t step_ns;

    for (size_t i = 0; i < REQUESTS; i++) {
        struct request *at = &device->requests[i];

        if (at->used && at->with_runner && (!best || goes_first(at, best))) {
            best = at;
        }
    }
    if (!best) {
        return;
    }
    step_ns = best->step_ns < best->left_ns ? best->step_ns : best->left_ns;
    best->begun = true;
    best->left_ns -= step_ns;
    device->running = best;
    device->step_ends_ns = device->now_ns + step_ns;
}

static void runner_tick(struct device *device)
{
    struct request *running = device->running;

    if (running && device->now_ns >= device->step_ends_ns) {
        device->running = NULL;
        running->done_ns += running->step_ns;
        if (running->cancelled) {
            run_leave(running);
        } else if (running->left_ns <= 0) {
            running->with_runner = false;
            event_give(device, running, JOB_LOCAL_DONE);
        }
    }
    if (!device->running) {
        step_begin(device);
    }
}

/* ---- one request ---- */

static bool has_place(const struct request *request)
{
    return request->choice.reserve == RESERVE_KEPT || request->choice.reserve == RESERVE_RACED;
}

static void end_check(struct device *device, struct request *request,
                      const struct job_action *action)
{
    if (has_place(request)) {
        assert_int_equal(action->kind, JOB_DELIVER);
        assert_int_equal(action->flags & JOB_FLAG_LATE, 0);
        assert_true(device->now_ns <= request->job.plan.deadline_ns);
        device->saved += action->side == JOB_SIDE_LOCAL;
    }
    request->ended = true;
    request->used = request->with_runner;
}

static void edge_ask(struct device *device, struct request *request)
{
    static const enum job_event_kind fates[] = {JOB_EDGE_DONE, JOB_EDGE_FAILED, JOB_EDGE_GONE};
    const uint64_t fate = random_below(&device->random, 5); /* two in five: silence */

    request->edge_at_ns = 0;
    if (fate < 3 && device->now_ns >= device->cut_until_ns) {
        request->edge_does = fates[fate];
        request->edge_at_ns =
            device->now_ns + (int64_t)(random_ms(&device->random, 0.1, 400) * (double)NS_PER_MS);
    }
}

static void action_do(struct device *device, struct request *request,
                      const struct job_action *action)
{
    switch (action->kind) {
    case JOB_START_LOCAL:
        request->with_runner = true;
        request->order = ++device->orders;
        break;
    case JOB_CANCEL_LOCAL:
        request->cancelled = true;
        if (device->running != request) {
            request->with_runner = false;
        }
        break;
    case JOB_SEND_EDGE:
        edge_ask(device, request);
        break;
    case JOB_CANCEL_EDGE:
        request->edge_at_ns = 0;
        break;
    case JOB_ARM_TIMER:
        request->armed_ns = action->at_ns;
        break;
    case JOB_PASS_TOKENS:
        break;
    case JOB_DELIVER:
    case JOB_FAIL:
        end_check(device, request, action);
        break;
    }
}

static void event_give(struct device *device, struct request *request, enum job_event_kind kind)
{
    const struct job_event_data event = {
        .kind = kind, .confidence = random_unit(&device->random), .error = TANDEM_EIO};
    struct job_actions actions;

    assert_int_equal(job_event(&request->job, &event, device->now_ns, &actions), 0);
    for (size_t i = 0; i < actions.count; i++) {
        action_do(device, request, &actions.items[i]);
    }
}

/* ---- what is promised already, as the daemon tells it ---- */

static size_t insured_fill(const struct device *device, struct decide_insured *insured)
{
    size_t count = 0;

    for (size_t i = 0; i < REQUESTS; i++) {
        const struct request *at = &device->requests[i];
        const struct job_plan *plan = &at->job.plan;
        const bool will = !at->ended && plan->local_allowed &&
                          at->job.side[JOB_SIDE_LOCAL] == JOB_SIDE_IDLE &&
                          at->job.side[JOB_SIDE_EDGE] == JOB_SIDE_RUNNING;

        if (!at->used || (!at->with_runner && !will)) {
            continue;
        }
        insured[count] = (struct decide_insured){
            .start_ns = at->with_runner ? 0 : plan->insure_at_ns,
            .deadline_ns = at->ended || plan->yields || plan->deadline_ns == 0 ? INSURED_NO_DEADLINE
                                                                               : plan->deadline_ns,
            .run_ns = at->bound_ns,
            .step_ns = at->step_ns,
            .margin_ns = (int64_t)(MARGIN_MS * (double)NS_PER_MS)};
        insurance_credit(&insured[count++], at->done_ns,
                         device->running == at ? device->step_ends_ns - at->step_ns : 0,
                         device->now_ns);
    }
    return count;
}

static void pull_in(struct device *device)
{
    for (size_t i = 0; i < REQUESTS; i++) {
        struct request *at = &device->requests[i];

        if (at->used && !at->ended && at->choice.reserve == RESERVE_KEPT) {
            event_give(device, at, JOB_PULL_IN);
        }
    }
}

static void request_come(struct device *device, struct request *request)
{
    struct random_source *random = &device->random;
    struct decide_insured insured[REQUESTS];
    const double bound_ms = device->bound_ms;
    const struct decide_edge edge = {
        .name = "den",
        .latency_known = true,
        .latency = {random_ms(random, 1, 100), random_ms(random, 100, 300)}};
    const struct decide_input input = {
        .weights = {.one_miss_ms = 1000, .one_error_ms = random_ms(random, 10, 100000)},
        .has_local = true,
        .local_known = true,
        .local = {bound_ms / 2, bound_ms},
        .local_run_ms = bound_ms / 2,
        .local_bound_ms = bound_ms,
        .local_step_ms = bound_ms / device->steps,
        .margin_ms = MARGIN_MS,
        .edges = &edge,
        .edge_count = 1,
        .up_bytes = 1000,
        .confidence = &device->confidence,
        .edge_error = 0.05,
        .now_ns = device->now_ns,
        .deadline_ns =
            random_one_in(random, 8)
                ? 0
                : device->now_ns + (int64_t)(random_ms(random, 10, 500) * (double)NS_PER_MS),
        .insured = insured,
        .insured_count = insured_fill(device, insured),
        .no_reserve = (enum decide_no_reserve)random_below(random, 3)};

    memset(request, 0, sizeof(*request));
    if (decide(&input, &request->choice) != 0) {
        device->none++;
        return; /* the task's rule dropped it */
    }
    request->used = true;
    request->step_ns = (int64_t)(input.local_step_ms * (double)NS_PER_MS);
    request->bound_ns = (int64_t)(bound_ms * (double)NS_PER_MS);
    request->left_ns =
        request->step_ns * (random_one_in(random, 2)
                                ? (int64_t)device->steps
                                : 1 + (int64_t)random_below(random, (uint64_t)device->steps));
    device->kept += request->choice.reserve == RESERVE_KEPT;
    device->raced += request->choice.reserve == RESERVE_RACED;
    device->none += request->choice.reserve == RESERVE_NONE;
    job_init(&request->job, &request->choice.plan);
    if (request->choice.pull_in) {
        pull_in(device);
    }
    event_give(device, request, JOB_START);
}

/* ---- time ---- */

static void requests_tick(struct device *device)
{
    for (size_t i = 0; i < REQUESTS; i++) {
        struct request *at = &device->requests[i];

        if (at->used && !at->ended && at->edge_at_ns != 0 && device->now_ns >= at->edge_at_ns) {
            at->edge_at_ns = 0;
            event_give(device, at, at->edge_does);
        }
        if (at->used && !at->ended && at->armed_ns != 0 && device->now_ns >= at->armed_ns) {
            at->armed_ns = 0;
            event_give(device, at, JOB_TIMER);
        }
    }
}

/* The link is gone: all that were asked, at once; whoever is asked in the next while hears nothing.
 */
static void link_cut(struct device *device)
{
    device->cut_until_ns = device->now_ns + 200 * NS_PER_MS;
    for (size_t i = 0; i < REQUESTS; i++) {
        struct request *at = &device->requests[i];

        if (at->used && !at->ended && at->job.side[JOB_SIDE_EDGE] == JOB_SIDE_RUNNING) {
            at->edge_at_ns = 0;
            if (random_one_in(&device->random, 2)) {
                event_give(device, at, JOB_EDGE_GONE); /* of the others not even that is known */
            }
        }
    }
}

static void burst_come(struct device *device, size_t count)
{
    for (size_t i = 0; i < REQUESTS && count > 0; i++) {
        if (!device->requests[i].used) {
            request_come(device, &device->requests[i]);
            count--;
        }
    }
}

static void device_run(struct device *device, uint64_t seed)
{
    memset(device, 0, sizeof(*device));
    random_seed(&device->random, seed);
    random_confidence(&device->random, &device->confidence);
    device->steps = (double)(1 + random_below(&device->random, 6));
    device->bound_ms = device->steps * TICK_MS * (double)(5 + random_below(&device->random, 100));
    device->now_ns = NS_PER_S;
    while (device->now_ns < NS_PER_S + LENGTH_NS) {
        runner_tick(device);
        requests_tick(device);
        if (random_one_in(&device->random, 200)) {
            burst_come(device, random_one_in(&device->random, 10) ? 8 : 1);
        }
        if (random_one_in(&device->random, 3000)) {
            link_cut(device);
        }
        device->now_ns += TICK_NS;
    }
}

static void test_promises_are_kept(void **state)
{
    static struct device device;
    size_t kept = 0, raced = 0, none = 0, saved = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        device_run(&device, seed);
        kept += device.kept;
        raced += device.raced;
        none += device.none;
        saved += device.saved;
    }
    /* there were promises of each kind, many had to be kept here, and some could not be given */

    assert_true(kept > 1000 && raced > 100 && none > 100 && saved > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_promises_are_kept)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
