/* job.h: the life of one request as a state machine. An event goes in, actions come out; whoever
 * holds the job (the daemon, or a simulator) carries them out in order. Pure: no clock, no memory,
 * no sockets; time is an argument. One thread at a time.
 *
 * A job has two sides, local and edge. Each is idle, running, done (an answer is kept by the
 * holder), or failed.
 *
 *   LOCAL    local starts at once.
 *
 *   EDGE     the edge starts at once; local starts at `insure_at_ns` (the last moment that still
 *            meets the deadline), sooner when the room is needed (PULL_IN), or as soon as the edge
 *            fails; the first whole answer wins and the loser is cancelled. Local that was pulled
 *            in has its answer sooner, but the edge its time all the same: it is kept until then.
 *
 *   CASCADE  local starts at once; a whole answer at least `threshold` sure stays, and so does one
 *            that is less than `stay_below` sure (of a yes/no question, whose confidence is that of
 *            the yes: cascade_two.h; of one made of boxes that found nothing, which stands before
 *            every confidence, CONFIDENCE_NOTHING); else the edge is
 *            asked while the budget allows, and the local answer is kept for when the edge fails,
 *            ends partial or is late. Text that is less sure than `threshold` before it has ended
 *            (LOCAL_DOUBT) asks at once, and local goes on: how sure a text is can only fall, so
 * the whole of it would have asked too. With `race` the edge is asked at once too, and not waited
 * for where local is sure enough; with `patience_ns` an edge that takes longer than that is not
 * waited for where a whole local answer is there. Where local fails for another reason than a bad
 * input, the edge is asked too.
 *
 *   CACHE    the holder has the answer already; it is delivered at once.
 *
 * An answer is whole or partial (cut short by the deadline). A partial one that comes while the
 * other side runs is kept: the other may still bring a whole one. Of two answers that are there,
 * the whole one is delivered before the partial one, then the edge's. Late is what is delivered
 * after the deadline, whenever its side brought it.
 *
 * A kept answer is delivered `handover_ns` before the deadline, so that it arrives in time. At the
 * deadline, where there is none, `deliver_late` waits for the side that runs, lets local start
 * beside an edge that runs alone, and marks the answer late: the first whole one that comes,
 * however sure it is, until `late_until_ns`, when a partial one that was kept goes out; else the
 * job fails with ELATE. A side that does not end, like an edge that is heard but never answers,
 * costs its caller no more than that. Nobody is asked for what it has at that
 * moment: each side knows the deadline and brings its partial answer a little before it, unless
 * `deliver_late` lets it go on.
 *
 * Promises, whatever the order of events: exactly one DELIVER or FAIL; no action after it; before
 * it, in the same list, a cancel for each side that still runs; the holder need not cancel timers
 * (a late TIMER event does nothing).
 *
 * Text as it comes: the caller is shown the text of one side (`speaking`), at first the edge's
 * where the edge starts alone, else local's. When that side no longer runs, the other takes its
 * place with its next piece. A PASS_TOKENS for another side than the one before means that the text
 * begins again, and so does a DELIVER of another side: the holder shows what is missing of it. */
#ifndef TANDEM_POLICY_JOB_H
#define TANDEM_POLICY_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum job_route { JOB_LOCAL, JOB_EDGE, JOB_CASCADE, JOB_CACHE };
/* JOB_SIDE_CACHE never runs: its answer was there before. */
enum job_side { JOB_SIDE_LOCAL, JOB_SIDE_EDGE, JOB_SIDE_CACHE, JOB_SIDES };
enum job_side_state { JOB_SIDE_IDLE, JOB_SIDE_RUNNING, JOB_SIDE_DONE, JOB_SIDE_FAILED };

/* What was decided. All times are on the clock that job_event is given. */
struct job_plan {
    enum job_route route;
    bool local_allowed;   /* there is a local model and the caller did not force the edge */
    bool race;            /* EDGE: local starts at once too (no reserve for a late start, or to save
                             time); CASCADE: the edge is asked at once too */
    int64_t deadline_ns;  /* 0: none */
    int64_t insure_at_ns; /* EDGE: local starts then; 0: only when the edge fails */
    int64_t handover_ns;  /* from a decision of the job until the caller has the answer */
    int64_t edge_needs_ns; /* CASCADE: the edge's predicted time; it is not asked when a kept answer
                              must go out sooner */
    int64_t patience_ns;   /* CASCADE: so long after asking the edge a kept local answer goes out;
                              0: at the deadline */
    double threshold;      /* CASCADE: 0..1 */
    double stay_below;     /* CASCADE: 0..1; 0: no confidence is sure because it is low. Of boxes
                              0: what found nothing stays, CONFIDENCE_NOTHING: it asks */
    bool deliver_late;
    int64_t late_until_ns; /* with deliver_late and a deadline: so long it waits for an answer */
    bool yields;           /* its local run goes behind those of all that do not yield */
};

enum job_event_kind {
    JOB_START,
    JOB_LOCAL_DONE,   /* confidence, partial */
    JOB_LOCAL_FAILED, /* error */
    JOB_EDGE_ACCEPTED,
    JOB_EDGE_TOKENS, /* a piece of its text came */
    JOB_EDGE_DONE,   /* partial */
    JOB_EDGE_FAILED, /* error: refused or failed there */
    JOB_EDGE_GONE,   /* the connection died */
    JOB_LOCAL_TOKENS,
    JOB_LOCAL_DOUBT, /* confidence, tokens: of the text so far */
    JOB_TIMER,
    JOB_CANCEL,   /* the caller asked */
    JOB_APP_GONE, /* nobody waits any more */
    JOB_PULL_IN,  /* a later request needs the room: a place that is kept is taken now */
    JOB_EVENTS
};
struct job_event_data {
    enum job_event_kind kind;
    double confidence;
    uint32_t tokens;
    int error;    /* TANDEM_E* */
    bool partial; /* DONE: cut short by the deadline */
};

enum job_action_kind {
    JOB_START_LOCAL,
    JOB_CANCEL_LOCAL,
    JOB_SEND_EDGE,
    JOB_CANCEL_EDGE,
    JOB_ARM_TIMER,   /* at_ns */
    JOB_PASS_TOKENS, /* what `side` has said so far goes on to the caller */
    JOB_DELIVER,     /* the answer of `side`, with flags */
    JOB_FAIL,        /* error */
};
#define JOB_FLAG_LATE    1u
#define JOB_FLAG_PARTIAL 2u
#define JOB_FLAG_HEDGED  4u /* both sides were started */
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
    int error[JOB_SIDES];    /* of a failed side */
    bool partial[JOB_SIDES]; /* of a side that is done */
    bool edge_gone;          /* its connection died */
    bool started, ended, hedged;
    bool pulled_in;   /* local started before its time: what it says waits for that, see EDGE */
    int64_t asked_ns; /* when the edge was asked */
    uint32_t doubt_tokens;  /* CASCADE: it was asked after so many tokens of the local text; 0: not
                               before its end */
    double doubt;           /* and how sure that was */
    enum job_side speaking; /* whose text the caller is being shown */
};

/* `plan` is copied. */
void job_init(struct job *job, const struct job_plan *plan);
/* CASCADE: whether a local answer with this confidence stays. One that is no number does. */
bool job_is_sure(const struct job_plan *plan, double confidence);
/* 0, or TANDEM_EINVAL for an event that cannot happen (START twice, a side's end while it does not
 * run, anything before START); then nothing changed and there are no actions. Events after the end
 * return 0 and no actions: they are on their way already. */
int job_event(struct job *job, const struct job_event_data *event, int64_t now_ns,
              struct job_actions *ret_actions);

#endif
