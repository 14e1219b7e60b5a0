/* replay.h: what became of a recorded request, and what would have become of it on another route,
 * under other weights or another policy. Pure.
 *
 * Measured is what the record has of the route itself: the outcome where that route was taken (for
 * local, too, where a cascade stayed here), or a side that answered beside it (a hedge's loser, a
 * shadow run). Everything else is what was predicted when the request came, or put together from
 * parts. A change of one request changes nothing for the others here:
 * queues are as they were.
 *
 * Energy is always the device's model, of the time that was measured where one was. An error is
 * measured only where the application said something of the delivered answer, for that answer and
 * the same one of the other side. Else it is believed: of an edge's answer what was believed of
 * that edge, of a local one what its confidence says. Where both answered, the same answer is as
 * wrong as the edge's, and of two different ones each is as likely wrong as follows from how wrong
 * both were believed to be: l / (l + e - l e) and e / (l + e - l e). */
#ifndef TANDEM_POLICY_REPLAY_H
#define TANDEM_POLICY_REPLAY_H

#include "client/policy/decide.h"
#include "client/policy/told.h"

/* One side that ended, as if it alone had been asked. */
struct replay_side {
    char route[ROUTE_BYTES];
    double latency_ms;
    double bytes, energy_j; /* NAN */
    int error_code;
    int agreed;        /* with the delivered answer; -1: not known */
    double confidence; /* of local; NAN */
};
struct replay_record { /* what is not recorded is NAN, "" or 0 */
    uint64_t id;
    char task[LIMIT_NAME_BYTES + 1];
    double deadline_ms; /* 0: none */
    bool forced;        /* the caller wanted this route */
    bool observed;      /* `route` is what would have been done, `by` was fixed */
    struct candidate candidates[LIMIT_CANDIDATES];
    size_t candidate_count;
    bool has_weights;
    struct decide_weights weights;
    char route[ROUTE_BYTES];
    double threshold, confidence;
    char by[ROUTE_BYTES];
    double latency_ms, bytes_up, local_wait_ms, local_run_ms;
    bool met_deadline;
    int error_code;
    enum told told; /* of the delivered answer */
    struct replay_side sides[LIMIT_CANDIDATES];
    size_t side_count;
};

enum replay_policy {
    REPLAY_TANDEM,       /* the cheapest with these weights */
    REPLAY_LOCAL,        /* always here */
    REPLAY_EDGE,         /* always at an edge */
    REPLAY_THRESHOLD,    /* here first, then an edge when less sure than the threshold */
    REPLAY_AVAILABILITY, /* an edge whenever there is one */
    REPLAY_LATENCY,      /* the smallest predicted latency */
};
/* By these numbers; NULL at the end. */
extern const char *const replay_policy_names[];
#define REPLAY_THRESHOLD_DEFAULT 0.5 /* of REPLAY_THRESHOLD */

struct replay_options {
    enum replay_policy policy;
    int prefer;                    /* enum prefer; -1: not given */
    struct decide_weights weights; /* NAN: not given */
    double threshold;              /* of a cascade; NAN: the recorded one */
};
void replay_options_init(struct replay_options *options);
/* The weights that count for this record: what is given, else the record's own, else the defaults.
 */
struct decide_weights replay_weights(const struct replay_record *record,
                                     const struct replay_options *options);

/* One way that a request went or would have gone. */
struct replay_way {
    char route[ROUTE_BYTES];
    char by[ROUTE_BYTES];                            /* who answers; "" nobody, or not known */
    double latency_ms, miss, bytes, energy_j, error; /* expected; energy_j may be NAN */
    double error_factor; /* how many times one_error_ms an error costs, as was expected */
    double cost;         /* NAN: the latency is not known */
    bool latency_measured, bytes_measured, error_measured;
    int agreed; /* its answer with the edge's; -1: not known */
};

/* The way it went. */
void replay_recorded(const struct replay_record *record, const struct decide_weights *weights,
                     struct replay_way *ret_way);
/* The way over `route`: a candidate's, or "cascade" where there is a local one and an edge's.
 * `threshold`: of a cascade; NAN: the recorded one. False: it was not possible. */
bool replay_route(const struct replay_record *record, const char *route, double threshold,
                  const struct decide_weights *weights, struct replay_way *ret_way);

enum replay_result { REPLAY_DONE, REPLAY_FORCED, REPLAY_IMPOSSIBLE };
/* The way it would have gone. Forced, and where the policy's route was not possible: as it went. */
enum replay_result replay_again(const struct replay_record *record,
                                const struct replay_options *options, struct replay_way *ret_way);

#endif
