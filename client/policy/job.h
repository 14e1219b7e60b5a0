/* job.h: the life of one request as a state machine. An event goes in, actions come out; whoever holds the job (the daemon, or a
 * simulator) carries them out in order. Pure: no clock, no memory, no sockets; time is an argument. One thread at a time.
 *
 *   A job has two sides, local and edge. Each side is idle, running, done (an answer is kept by the holder), or failed.
 *   LOCAL    local starts at once.
 *   EDGE     the edge starts at once; local starts at `insure_at_ns` (the last moment that still meets the deadline) or as soon as
 *            the edge fails; the first answer wins and the loser is cancelled.
 *   CASCADE  local starts at once; an answer at least `threshold` sure stays; else the edge is asked while the budget allows, and
 *            the local answer is kept for when the edge fails or is late.
 *
 * Promises, whatever the order of events: exactly one DELIVER or FAIL; no action after it but the cancels that come with it; a side
 * that is still running at the end is cancelled; the holder need not cancel timers (a late TIMER event does nothing).
 * At the deadline: a kept answer is delivered; else, with `deliver_late` and a side still running, the job waits for it and marks the
 * answer late; else the running generation is asked for what it has (DELIVER partial is the holder's by JOB_FLAG_PARTIAL), or ELATE. */
#ifndef TANDEM_POLICY_JOB_H
#define TANDEM_POLICY_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum job_route { JOB_LOCAL, JOB_EDGE, JOB_CASCADE };
enum job_side { JOB_SIDE_LOCAL, JOB_SIDE_EDGE, JOB_SIDES };
enum job_side_state { JOB_SIDE_IDLE, JOB_SIDE_RUNNING, JOB_SIDE_DONE, JOB_SIDE_FAILED };

/* What was decided. All times are on the clock that job_event is given. */
struct job_plan {
    enum job_route route;
    bool local_allowed;     /* there is a local model and the caller did not force the edge */
    bool race;              /* EDGE: local starts at once too (no reserve for a late start) */
    int64_t deadline_ns;    /* 0: none */
    int64_t insure_at_ns;   /* EDGE: local starts then; 0: only when the edge fails */
    int64_t edge_needs_ns;  /* CASCADE: the edge's predicted time; it is not asked when the deadline comes sooner */
    double threshold;       /* CASCADE: 0..1 */
    bool deliver_late;
};

enum job_event_kind {
    JOB_START,
    JOB_LOCAL_DONE,    /* confidence */
    JOB_LOCAL_FAILED,  /* error */
    JOB_EDGE_ACCEPTED,
    JOB_EDGE_TOKENS,   /* a piece of text came */
    JOB_EDGE_DONE,
    JOB_EDGE_FAILED,   /* error: refused or failed there */
    JOB_EDGE_GONE,     /* the connection died */
    JOB_LOCAL_TOKENS,
    JOB_TIMER,
    JOB_CANCEL,        /* the caller asked */
    JOB_APP_GONE,      /* nobody waits any more */
    JOB_EVENTS
};
struct job_event_data {
    enum job_event_kind kind;
    double confidence;
    int error; /* TANDEM_E* */
    bool partial; /* DONE: cut short by the deadline */
};

enum job_action_kind {
    JOB_START_LOCAL,
    JOB_CANCEL_LOCAL,
    JOB_SEND_EDGE,
    JOB_CANCEL_EDGE,
    JOB_ARM_TIMER,   /* at_ns */
    JOB_PASS_TOKENS, /* the piece that came with this event goes on to the caller; `side` made it */
    JOB_DELIVER,     /* the answer of `side`, with flags */
    JOB_FAIL,        /* error */
};
#define JOB_FLAG_LATE 1u
#define JOB_FLAG_PARTIAL 2u
#define JOB_FLAG_HEDGED 4u /* both sides were started */
struct job_action {
    enum job_action_kind kind;
    enum job_side side;
    unsigned flags;
    int error;
    int64_t at_ns;
};
#define JOB_ACTIONS_MAX 6
struct job_actions {
    struct job_action items[JOB_ACTIONS_MAX];
    size_t count;
};

struct job {
    struct job_plan plan;
    enum job_side_state side[JOB_SIDES];
    int error[JOB_SIDES];     /* of a failed side */
    bool partial[JOB_SIDES];
    bool started, ended, hedged;
    enum job_side speaking;   /* whose text the caller is being shown */
};

/* `plan` is copied. */
void job_init(struct job *job, const struct job_plan *plan);
/* 0, or TANDEM_EINVAL for an event that cannot happen (START twice, a side's end while it does not run, anything before START); then
 * nothing changed and there are no actions. Events after the end return 0 and no actions: they are on their way already. */
int job_event(struct job *job, const struct job_event_data *event, int64_t now_ns, struct job_actions *ret_actions);

#endif
