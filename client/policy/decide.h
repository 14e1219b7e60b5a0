/* decide.h: where one request goes, and why. Pure: what is known comes in, candidates with their
 * costs and one choice come out.
 *
 *   J = E[T] + one_miss_ms * P(T > deadline) + one_joule_ms * E[joule] + one_megabyte_ms * MB
 *       + one_error_ms * E[error]                                                    (all in ms)
 *
 * Hard limits come first: what the task or the caller forbids, what is down, what has no model is
 * no candidate. A forced route is such a limit: "edge" never runs here, neither at once nor when
 * the edge dies under way, and "local" never leaves. A forced cascade whose edge half is missing
 * stays with its local half. A fixed route is the operator's: it is kept as a freely chosen one is,
 * with local as its insurance, and gives way to local where it is not to be had. A cascade's
 * threshold is the one that is best for this request (cascade.h); a forced or fixed one takes the
 * task's. Where a task says what its two errors cost (cascade_two.h) an error counts as often, and
 * a cascade has two thresholds. Where energy is limited, what need not be is done only as far as
 * the hour has enough left for it: the cheapest route that it carries is chosen; where it carries
 * none that may be in time, or is used up, the one of those that takes the least. No request is
 * refused for it. Nothing is asked twice or to learn that both sides together are too dear for;
 * then local joins an edge only when that fails or at the last moment, and where local would have
 * to start at once beside an edge, it answers alone. Energy is what the device's model says, absent
 * without one. Reasons are short and stable.
 */
#ifndef TANDEM_POLICY_DECIDE_H
#define TANDEM_POLICY_DECIDE_H

#include "client/policy/cascade_two.h"
#include "client/policy/confidence.h"
#include "client/policy/edge_truth.h"
#include "client/policy/estimate_edge.h"
#include "client/policy/job.h"
#include "client/policy/prefer.h"
#include "client/policy/upload.h"
#include "common/base/limits.h"

#define ROUTE_BYTES (LIMIT_NAME_BYTES + 8)

enum decide_forced { FORCED_AUTO, FORCED_LOCAL, FORCED_EDGE, FORCED_CASCADE };

/* From the hopeless to the nearly usable. */
enum edge_trouble {
    EDGE_FINE,
    EDGE_DOWN,
    EDGE_NO_TASK,
    EDGE_DRAINING,
    EDGE_MISMATCH,    /* both sides have the task and describe it differently */
    EDGE_OVER_BUDGET, /* all is well with it, but so many bytes may not be sent */
};

struct decide_energy {     /* of this device; 0: not known */
    double compute_watt;   /* while a local model runs, above idle */
    double joule_per_byte; /* sent */
    double joule_per_byte_received;
};
struct decide_form { /* one form of the picture, for one edge */
    struct upload_form upload;
    bool latency_known;
    struct latency latency; /* with the time to make it */
    double best_ms;         /* as below */
};
struct decide_edge {
    const char *name;     /* borrowed */
    const char *unusable; /* NULL: may be used; else the reason (borrowed), "no edge connected" */
    enum edge_trouble trouble; /* how far from usable; of several edges the nearest is named */
    bool silent;    /* owes us a reply for too long: only who has no other way goes there */
    bool retry_due; /* may be asked although its latency speaks against it, to learn it anew */
    double best_ms; /* the latency that may be hoped for; NAN */
    double failure; /* the chance that it is given up, 0..1 */
    struct edge_truth truth; /* what was told of its answers; weighed against edge_error */
    uint64_t held_bytes;     /* of up_bytes: it has them already, they are not sent to it */
    double needs_bytes;      /* EDGE_OVER_BUDGET: what asking it takes at least, both ways */
    bool latency_known;
    struct latency latency; /* of what came */
    /* The forms it may be sent in, what came among them if it may go, the likeliest first: of many
     * edges only the first few are candidates. 0: it goes as it came. */
    struct decide_form forms[LIMIT_UPLOAD_FORMS];
    size_t form_count;
};
/* One local run that is under way, stands in line, or may still have to happen. */
struct decide_insured {
    int64_t start_ns;    /* 0: it has started or stands in line */
    int64_t deadline_ns; /* INSURED_NO_DEADLINE: it goes last, and only its step is in the way */
    int64_t run_ns;      /* of compute, at most */
    int64_t step_ns;     /* of these, what cannot be interrupted, at most */
    int64_t margin_ns;   /* before the deadline: a late timer, and the way to the caller */
    int64_t in_step_ns;  /* what is left of the step that it is in, at most; 0: it is in none */
};
#define INSURED_NO_DEADLINE INT64_MAX
/* What becomes of a request whose local run finds no place that would be free in time, whatever the
 * edge does. */
enum decide_no_reserve {
    NO_RESERVE_LOCAL,       /* local starts at once as well as it can, behind the promises it would
                               break */
    NO_RESERVE_DROP,        /* refused with TANDEM_EBUSY */
    NO_RESERVE_ACCEPT_RISK, /* the edge alone; local only when it fails, behind all promises */
};
/* Whether a local run answers in time whatever becomes of the edge that was asked. */
enum decide_reserve {
    RESERVE_UNASKED, /* no edge alone, no deadline, or nothing is known of local runs */
    RESERVE_KEPT,    /* a place is kept: local starts at insure_at_ns */
    RESERVE_RACED,   /* no place later, but local starts at once and is in time */
    RESERVE_NONE,
};
/* An answer that was given before. It costs no time, and is believed to be as wrong as it was then.
 */
struct decide_cached {
    double error_probability;
    double error_weight; /* as in struct candidate */
    bool by_local;       /* the local model gave it, and would say the same again */
    const char *reason;  /* static */
};
struct decide_input {
    struct decide_weights weights;
    struct decide_energy energy;
    bool energy_limited; /* there is an energy budget, */
    double energy_left;  /* and so many joule of this hour are neither used nor reserved */
    enum decide_forced forced;
    bool fixed;              /* `forced` is the operator's, not the caller's */
    const char *forced_edge; /* FORCED_EDGE: the name, or NULL for any */
    const char *only_edge;   /* privacy: the one edge that may see it; NULL: any */
    bool never_leaves;       /* privacy */
    bool too_big;            /* as it came, for the wire; a smaller form may go */
    double check_ms;         /* what a check may cost; 0: none is due (struct check_purse) */
    bool has_local;
    bool local_known;
    struct latency local;  /* with the queue */
    double local_run_ms;   /* without it */
    double local_bound_ms; /* of one run's compute */
    double local_step_ms;  /* of that, what cannot be interrupted, at most */
    double margin_ms;      /* between a run's end and the deadline, and for late timers */
    const struct decide_edge *edges;
    size_t edge_count;
    uint64_t up_bytes;
    double down_bytes; /* of an edge's answer; only its energy counts */
    double threshold;  /* of a forced cascade */
    const struct confidence *confidence;
    const struct cascade_costs *costs; /* of a yes/no question; NULL: an error is an error */
    double edge_error;                 /* expected error of an edge's answer, before it is told */
    int64_t now_ns, deadline_ns;       /* absolute; 0: none */
    bool deliver_late;
    const struct decide_cached *cached;   /* NULL: none */
    const struct decide_insured *insured; /* promised local runs, and what is in their way */
    size_t insured_count;
    enum decide_no_reserve no_reserve;
};
struct candidate {
    char route[ROUTE_BYTES];
    int edge; /* index, -1 for local and cache */
    enum job_route kind;
    bool latency_known;
    struct latency latency;
    double miss_probability; /* NAN: no deadline or unknown */
    double error_probability;
    double
        error_weight; /* each error as often as it costs of one_error_ms; the same without costs */
    /* Of an answer that is known already: the two above are its own, and would tell of a yes/no
     * question which one it is. What is believed of any answer like it tells nothing. */
    bool of_answer;
    double any_probability, any_weight;
    double bytes;
    double energy_j;           /* NAN: unknown */
    double cost;               /* NAN: unknown */
    struct upload_form upload; /* what the edge is or would be sent; width 0: what came */
};
struct choice {
    struct candidate candidates[LIMIT_CANDIDATES];
    size_t count;
    size_t chosen;
    struct decide_weights weights; /* that the costs were made with */
    int edge;                      /* where the plan's edge side goes; -1: nowhere, */
    size_t asked;              /* and the candidate that stands for this edge alone; count: none */
    const char *upload_reason; /* static; why it is not sent as it came; NULL: it is */
    double hoped_ms;           /* not 0: the edge is asked in the hope of this latency */
    const char *reason;        /* static, or borrowed of an edge */
    enum edge_trouble trouble; /* of the edge nearest to being usable, where none was; EDGE_FINE:
                                  one was, or it is forbidden, or there are no edges */
    double needs_bytes;        /* EDGE_OVER_BUDGET: what that one needs */
    enum decide_reserve reserve;
    bool pull_in;    /* all requests with a reserve get JOB_PULL_IN before this one's START */
    double check_ms; /* a check: what it is expected to cost more; else 0 */
    struct job_plan plan;
};

/* Answers that stay here are compared with nobody's, and where the edge answers alone there is no
 * local one: what was learned of them before would hold for ever, whatever became of the models.
 * So one request of each so many of a task is a check: it asks both sides, whatever the local
 * answer says of itself. A prime, for streams that take turns. What checks cost more than what
 * would have been chosen is no more than a share of what all requests of the task were expected to
 * cost, and a single one no more than one error: where an edge is dear they are rarer. */
#define DECIDE_CHECK_EACH  61
#define DECIDE_CHECK_SHARE 0.005
/* What is put aside for checks of one task; zeroed at first. */
struct check_purse {
    uint32_t decided; /* requests */
    double saved_ms;
};
/* What the next request may spend, for decide_input.check_ms. */
double check_purse_take(const struct check_purse *purse);
/* It was decided like this. */
void check_purse_decided(struct check_purse *purse, const struct choice *choice);
/* An edge that is asked in a hope is given up after so many times the hoped latency: then the hope
 * was wrong. */
#define DECIDE_NO_SUCH_EDGE "no edge of this name" /* a reason; who shows it adds the name */
#define DECIDE_HOPE_FACTOR  1.5
/* 0, or TANDEM_ENOROUTE or (no_reserve = drop) TANDEM_EBUSY with ret_choice->reason set and no plan
 * but its deadline. */
int decide(const struct decide_input *input, struct choice *ret_choice);

#define INSURED_MAX 64 /* runs that are looked at, with the new one; more have no place */

#endif
