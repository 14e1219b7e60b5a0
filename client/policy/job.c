#include "client/policy/job.h"

#include "common/base/error.h"

#include <assert.h>
#include <string.h>

void job_init(struct job *job, const struct job_plan *plan)
{
    memset(job, 0, sizeof(*job));
    job->plan = *plan;
    job->speaking = plan->route == JOB_EDGE && !plan->race ? JOB_SIDE_EDGE : JOB_SIDE_LOCAL;
}

bool job_is_sure(const struct job_plan *plan, double confidence)
{
    return confidence < plan->stay_below || !(confidence < plan->threshold);
}

static struct job_action *act(struct job_actions *actions, enum job_action_kind kind)
{
    struct job_action *action;

    assert(actions->count < JOB_ACTIONS_MAX);
    action = &actions->items[actions->count++];
    memset(action, 0, sizeof(*action));
    action->kind = kind;
    return action;
}

static void side_start(struct job *job, enum job_side side, int64_t now_ns,
                       struct job_actions *actions)
{
    job->side[side] = JOB_SIDE_RUNNING;
    job->hedged =
        job->side[JOB_SIDE_LOCAL] != JOB_SIDE_IDLE && job->side[JOB_SIDE_EDGE] != JOB_SIDE_IDLE;
    job->asked_ns = side == JOB_SIDE_EDGE ? now_ns : job->asked_ns;
    act(actions, side == JOB_SIDE_LOCAL ? JOB_START_LOCAL : JOB_SEND_EDGE)->side = side;
}

static void losers_cancel(struct job *job, struct job_actions *actions)
{
    for (int side = 0; side < JOB_SIDES; side++) {
        if (job->side[side] == JOB_SIDE_RUNNING) {
            act(actions, side == JOB_SIDE_LOCAL ? JOB_CANCEL_LOCAL : JOB_CANCEL_EDGE)->side =
                (enum job_side)side;
            job->side[side] = JOB_SIDE_FAILED;
        }
    }
    job->ended = true;
}

static bool is_late(const struct job *job, int64_t now_ns)
{
    return job->plan.deadline_ns != 0 && now_ns > job->plan.deadline_ns;
}

static enum job_side side_other(enum job_side side)
{
    return side == JOB_SIDE_LOCAL ? JOB_SIDE_EDGE : JOB_SIDE_LOCAL;
}

static void job_fail(struct job *job, int error, struct job_actions *actions)
{
    losers_cancel(job, actions);
    act(actions, JOB_FAIL)->error = error;
}

static void job_deliver(struct job *job, enum job_side side, int64_t now_ns,
                        struct job_actions *actions)
{
    struct job_action *action;
    const bool late = is_late(job, now_ns);

    if (late && !job->plan.deliver_late) {
        job_fail(job, TANDEM_ELATE, actions);
        return;
    }
    losers_cancel(job, actions);
    action = act(actions, JOB_DELIVER);
    action->side = side;
    action->flags = (late ? JOB_FLAG_LATE : 0) | (job->partial[side] ? JOB_FLAG_PARTIAL : 0) |
                    (job->hedged ? JOB_FLAG_HEDGED : 0);
}

/* How good a side's answer is to deliver: whole before of the larger model; -1: it has none. */
static int side_rank(const struct job *job, enum job_side side)
{
    if (job->side[side] != JOB_SIDE_DONE) {
        return -1;
    }
    return (job->partial[side] ? 0 : 2) + (side == JOB_SIDE_EDGE ? 1 : 0);
}

/* Delivers the best answer there is; false when no side has one. */
static bool best_deliver(struct job *job, int64_t now_ns, struct job_actions *actions)
{
    const int local = side_rank(job, JOB_SIDE_LOCAL), edge = side_rank(job, JOB_SIDE_EDGE);

    if (local < 0 && edge < 0) {
        return false;
    }
    job_deliver(job, edge > local ? JOB_SIDE_EDGE : JOB_SIDE_LOCAL, now_ns, actions);
    return true;
}

static bool has_kept(const struct job *job)
{
    return job->side[JOB_SIDE_LOCAL] == JOB_SIDE_DONE || job->side[JOB_SIDE_EDGE] == JOB_SIDE_DONE;
}

/* When the edge has had its time and the kept local answer goes out; 0: never so. An edge alone has
 * it until local would have started: that local was pulled in takes nothing from it. */
static int64_t patience_ends_ns(const struct job *job)
{
    const struct job_plan *plan = &job->plan;

    if (job->side[JOB_SIDE_LOCAL] != JOB_SIDE_DONE || job->partial[JOB_SIDE_LOCAL] ||
        job->side[JOB_SIDE_EDGE] != JOB_SIDE_RUNNING) {
        return 0;
    }
    return job->pulled_in           ? plan->insure_at_ns
           : plan->patience_ns != 0 ? job->asked_ns + plan->patience_ns
                                    : 0;
}

/* Whether a kept answer has to go out now: to arrive in time, or because the edge takes too long.
 */
static bool kept_is_due(const struct job *job, int64_t now_ns)
{
    const struct job_plan *plan = &job->plan;
    const int64_t ends_ns = patience_ends_ns(job);

    return (ends_ns != 0 && now_ns >= ends_ns) ||
           (plan->deadline_ns != 0 && has_kept(job) && !is_late(job, now_ns) &&
            now_ns >= plan->deadline_ns - plan->handover_ns);
}

static bool local_may_join(const struct job *job)
{
    return job->plan.local_allowed && job->side[JOB_SIDE_LOCAL] == JOB_SIDE_IDLE &&
           job->side[JOB_SIDE_EDGE] == JOB_SIDE_RUNNING;
}

/* The next moment at which something happens by itself. */
static void timer_arm(const struct job *job, int64_t now_ns, struct job_actions *actions)
{
    int64_t at_ns = job->plan.deadline_ns;

    if (job->ended) {
        return;
    }
    if (at_ns != 0 && now_ns >= at_ns && job->plan.deliver_late &&
        now_ns < job->plan.late_until_ns) {
        act(actions, JOB_ARM_TIMER)->at_ns = job->plan.late_until_ns;
        return;
    }
    if (at_ns != 0 && has_kept(job)) {
        at_ns -= job->plan.handover_ns;
    }
    if (job->plan.insure_at_ns != 0 && local_may_join(job) &&
        (at_ns == 0 || job->plan.insure_at_ns < at_ns)) {
        at_ns = job->plan.insure_at_ns;
    }
    if (patience_ends_ns(job) != 0 && (at_ns == 0 || patience_ends_ns(job) < at_ns)) {
        at_ns = patience_ends_ns(job);
    }
    if (at_ns > now_ns) {
        act(actions, JOB_ARM_TIMER)->at_ns = at_ns;
    }
}

static int on_start(struct job *job, const struct job_event_data *event, int64_t now_ns,
                    struct job_actions *actions)
{
    (void)event;
    job->started = true;
    if (job->plan.route == JOB_CACHE) {
        job->side[JOB_SIDE_CACHE] = JOB_SIDE_DONE;
        job_deliver(job, JOB_SIDE_CACHE, now_ns, actions);
        return 0;
    }
    if (job->plan.route != JOB_EDGE) {
        side_start(job, JOB_SIDE_LOCAL, now_ns, actions);
        if (job->plan.route == JOB_CASCADE && job->plan.race) {
            side_start(job, JOB_SIDE_EDGE, now_ns, actions);
        }
    } else {
        side_start(job, JOB_SIDE_EDGE, now_ns, actions);
        if (job->plan.local_allowed &&
            (job->plan.race || (job->plan.insure_at_ns != 0 && job->plan.insure_at_ns <= now_ns))) {
            side_start(job, JOB_SIDE_LOCAL, now_ns, actions);
        }
    }
    timer_arm(job, now_ns, actions);
    return 0;
}

static void side_keep(struct job *job, enum job_side side, bool partial)
{
    job->side[side] = JOB_SIDE_DONE;
    job->partial[side] = partial;
}

/* The first whole answer wins. */
static void side_done(struct job *job, enum job_side side, bool partial, int64_t now_ns,
                      struct job_actions *actions)
{
    side_keep(job, side, partial);
    if (!partial || job->side[side_other(side)] != JOB_SIDE_RUNNING || kept_is_due(job, now_ns)) {
        (void)best_deliver(job, now_ns, actions);
    } else {
        timer_arm(job, now_ns, actions);
    }
}

/* Whether a cascade's edge is under way, or may be asked now that the local answer is not sure. */
static bool edge_may_still(const struct job *job, int64_t now_ns)
{
    const struct job_plan *plan = &job->plan;

    return job->side[JOB_SIDE_EDGE] == JOB_SIDE_RUNNING ||
           (job->side[JOB_SIDE_EDGE] == JOB_SIDE_IDLE &&
            (plan->deadline_ns == 0 ||
             now_ns + plan->edge_needs_ns < plan->deadline_ns - plan->handover_ns));
}

/* Whether the edge's answer is still wanted where local has this one: not where a whole one is late
 * already. */
static bool edge_is_preferred(const struct job *job, const struct job_event_data *local,
                              int64_t now_ns)
{
    const struct job_plan *plan = &job->plan;

    return plan->route == JOB_CASCADE
               ? (local->partial ||
                  (!job_is_sure(plan, local->confidence) && !is_late(job, now_ns))) &&
                     edge_may_still(job, now_ns)
               : job->pulled_in && job->side[JOB_SIDE_EDGE] == JOB_SIDE_RUNNING &&
                     now_ns < plan->insure_at_ns;
}

static int on_local_done(struct job *job, const struct job_event_data *event, int64_t now_ns,
                         struct job_actions *actions)
{
    if (job->side[JOB_SIDE_LOCAL] != JOB_SIDE_RUNNING) {
        return TANDEM_EINVAL;
    }
    if (edge_is_preferred(job, event, now_ns)) {
        side_keep(job, JOB_SIDE_LOCAL, event->partial);
        if (job->side[JOB_SIDE_EDGE] == JOB_SIDE_IDLE) {
            side_start(job, JOB_SIDE_EDGE, now_ns, actions);
        }
        if (kept_is_due(job, now_ns)) {
            (void)best_deliver(job, now_ns, actions);
        } else {
            timer_arm(job, now_ns, actions);
        }
        return 0;
    }
    side_done(job, JOB_SIDE_LOCAL, event->partial, now_ns, actions);
    return 0;
}

static int on_local_doubt(struct job *job, const struct job_event_data *event, int64_t now_ns,
                          struct job_actions *actions)
{
    if (job->side[JOB_SIDE_LOCAL] != JOB_SIDE_RUNNING) {
        return TANDEM_EINVAL;
    }
    if (job->plan.route == JOB_CASCADE && job->side[JOB_SIDE_EDGE] == JOB_SIDE_IDLE &&
        !job_is_sure(&job->plan, event->confidence) && edge_may_still(job, now_ns)) {
        job->doubt_tokens = event->tokens;
        job->doubt = event->confidence;
        side_start(job, JOB_SIDE_EDGE, now_ns, actions);
        timer_arm(job, now_ns, actions);
    }
    return 0;
}

static int on_edge_done(struct job *job, const struct job_event_data *event, int64_t now_ns,
                        struct job_actions *actions)
{
    if (job->side[JOB_SIDE_EDGE] != JOB_SIDE_RUNNING) {
        return TANDEM_EINVAL;
    }
    side_done(job, JOB_SIDE_EDGE, event->partial, now_ns, actions);
    return 0;
}

/* Whether the side that never ran may stand in for the one that has just failed. */
static bool side_may_start(const struct job *job, enum job_side side, int error, int64_t now_ns)
{
    const bool late = is_late(job, now_ns);

    if (job->side[side] != JOB_SIDE_IDLE) {
        return false;
    }
    if (side == JOB_SIDE_LOCAL) {
        return job->plan.local_allowed && (!late || job->plan.deliver_late);
    }
    /* A bad input is bad there too; anything else may work there. */
    return job->plan.route == JOB_CASCADE && !late && error != TANDEM_EFORMAT &&
           error != TANDEM_ETOOBIG && error != TANDEM_EINVAL;
}

static int side_failed(struct job *job, enum job_side side, int error, int64_t now_ns,
                       struct job_actions *actions)
{
    const enum job_side other = side_other(side);

    if (job->side[side] != JOB_SIDE_RUNNING) {
        return TANDEM_EINVAL;
    }
    job->side[side] = JOB_SIDE_FAILED;
    job->error[side] = error;
    if (job->side[other] == JOB_SIDE_RUNNING) {
        return 0; /* it may still answer */
    }
    if (best_deliver(job, now_ns, actions)) {
        return 0; /* it was kept for this */
    }
    if (side_may_start(job, other, error, now_ns)) {
        side_start(job, other, now_ns, actions);
        timer_arm(job, now_ns, actions);
    } else {
        job_fail(job, error, actions);
    }
    return 0;
}

static int on_local_failed(struct job *job, const struct job_event_data *event, int64_t now_ns,
                           struct job_actions *actions)
{
    return side_failed(job, JOB_SIDE_LOCAL, event->error, now_ns, actions);
}

static int on_edge_lost(struct job *job, const struct job_event_data *event, int64_t now_ns,
                        struct job_actions *actions)
{
    if (job->side[JOB_SIDE_EDGE] == JOB_SIDE_RUNNING) {
        job->edge_gone = event->kind == JOB_EDGE_GONE;
    }
    return side_failed(job, JOB_SIDE_EDGE,
                       event->kind == JOB_EDGE_GONE ? TANDEM_ENOROUTE : event->error, now_ns,
                       actions);
}

static int on_timer(struct job *job, const struct job_event_data *event, int64_t now_ns,
                    struct job_actions *actions)
{
    const struct job_plan *plan = &job->plan;

    (void)event;
    if (kept_is_due(job, now_ns) || (plan->deadline_ns != 0 && now_ns >= plan->deadline_ns)) {
        if (best_deliver(job, now_ns, actions)) {
            return 0;
        }
        if (!plan->deliver_late || now_ns >= plan->late_until_ns) {
            job_fail(job, TANDEM_ELATE, actions);
            return 0;
        }
        if (local_may_join(job)) {
            side_start(job, JOB_SIDE_LOCAL, now_ns, actions); /* the edge may be dead */
        }
        timer_arm(job, now_ns, actions);
        return 0;
    }
    if (plan->insure_at_ns != 0 && now_ns >= plan->insure_at_ns && local_may_join(job)) {
        side_start(job, JOB_SIDE_LOCAL, now_ns, actions);
    }
    timer_arm(job, now_ns, actions);
    return 0;
}

static int on_pull_in(struct job *job, const struct job_event_data *event, int64_t now_ns,
                      struct job_actions *actions)
{
    (void)event;
    if (job->plan.insure_at_ns != 0 && local_may_join(job)) {
        job->pulled_in = true;
        side_start(job, JOB_SIDE_LOCAL, now_ns, actions);
        timer_arm(job, now_ns, actions);
    }
    return 0;
}

static int on_edge_accepted(struct job *job, const struct job_event_data *event, int64_t now_ns,
                            struct job_actions *actions)
{
    (void)event;
    (void)now_ns;
    (void)actions;
    return job->side[JOB_SIDE_EDGE] == JOB_SIDE_RUNNING ? 0 : TANDEM_EINVAL;
}

/* The caller sees one side's text; when that side is gone, the other's from its beginning. */
static int on_tokens(struct job *job, const struct job_event_data *event, int64_t now_ns,
                     struct job_actions *actions)
{
    const enum job_side side = event->kind == JOB_EDGE_TOKENS ? JOB_SIDE_EDGE : JOB_SIDE_LOCAL;

    (void)now_ns;
    if (job->side[side] != JOB_SIDE_RUNNING) {
        return TANDEM_EINVAL;
    }
    if (job->speaking != side && job->side[side_other(side)] != JOB_SIDE_RUNNING) {
        job->speaking = side;
    }
    if (job->speaking == side) {
        act(actions, JOB_PASS_TOKENS)->side = side;
    }
    return 0;
}

static int on_leave(struct job *job, const struct job_event_data *event, int64_t now_ns,
                    struct job_actions *actions)
{
    (void)now_ns;
    job_fail(job, event->kind == JOB_CANCEL ? TANDEM_ECANCELED : TANDEM_EGONE, actions);
    return 0;
}

int job_event(struct job *job, const struct job_event_data *event, int64_t now_ns,
              struct job_actions *ret_actions)
{
    static int (*const handlers[JOB_EVENTS])(struct job *, const struct job_event_data *, int64_t,
                                             struct job_actions *) = {
        [JOB_START] = on_start,
        [JOB_LOCAL_DONE] = on_local_done,
        [JOB_LOCAL_FAILED] = on_local_failed,
        [JOB_EDGE_ACCEPTED] = on_edge_accepted,
        [JOB_EDGE_TOKENS] = on_tokens,
        [JOB_EDGE_DONE] = on_edge_done,
        [JOB_EDGE_FAILED] = on_edge_lost,
        [JOB_EDGE_GONE] = on_edge_lost,
        [JOB_LOCAL_TOKENS] = on_tokens,
        [JOB_LOCAL_DOUBT] = on_local_doubt,
        [JOB_TIMER] = on_timer,
        [JOB_CANCEL] = on_leave,
        [JOB_APP_GONE] = on_leave,
        [JOB_PULL_IN] = on_pull_in,
    };

    ret_actions->count = 0;
    if ((unsigned)event->kind >= JOB_EVENTS) {
        return TANDEM_EINVAL;
    }
    if (job->ended) {
        return 0;
    }
    if (job->started == (event->kind == JOB_START)) {
        return TANDEM_EINVAL;
    }
    return handlers[event->kind](job, event, now_ns, ret_actions);
}
