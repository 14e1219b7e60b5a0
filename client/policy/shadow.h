/* shadow.h: shadow runs. Of some requests that have been answered, the side that did not run is run
 * for the record, so that what another decision would have brought is measured and not believed.
 * Nobody waits for a shadow: it is chosen by chance, runs when nothing else wants its place, and is
 * dropped where it is in the way. What may not leave the device does not leave it for a shadow
 * either. Pure: time and chance are arguments.
 *
 * A turn of a session has no shadow: it would change what the edge holds of the session. Nor has a
 * request that was not answered. */
#ifndef TANDEM_POLICY_SHADOW_H
#define TANDEM_POLICY_SHADOW_H

#include "client/policy/decide.h"

enum shadow_verdict {
    SHADOW_STARTS,
    SHADOW_WAITS,
    SHADOW_DROPPED_ROOM,    /* too many wait, or hold too much */
    SHADOW_DROPPED_BUDGET,  /* an hourly budget does not have it */
    SHADOW_DROPPED_LATE,    /* it waited until it would say nothing of its request any more */
    SHADOW_DROPPED_GONE,    /* the edge may not be used now, or the tasks were read anew */
    SHADOW_DROPPED_STOPPED, /* the link was wanted while it ran */
    SHADOW_VERDICTS
};

struct shadow_request { /* that has ended */
    double percent;     /* [policy] shadow_percent */
    double unit;        /* by chance, 0 <= unit < 1 */
    bool answered;
    bool session;
    bool has_local;
    bool ran_local, asked_edge;
    bool forced_local;         /* by its caller */
    bool never_leaves;         /* privacy */
    const char *only_edge;     /* privacy: the one edge that may see it; NULL: any */
    enum edge_trouble trouble; /* why none of the edges that may see it was a candidate */
    const char *route;         /* decided on: its edge is the first choice */
    const struct candidate *candidates;
    size_t candidate_count;
};
struct shadow_plan {
    bool local;
    size_t edge;                /* of the candidates; candidate_count: none, */
    enum shadow_verdict missed; /* and why there was none that it could have had; SHADOW_STARTS: it
                                   needed or may have none */
};
/* Which sides are to be run. False: none, though one may have been missed. */
bool shadow_plan(const struct shadow_request *request, struct shadow_plan *ret_plan);

/* Whether one more is kept beside `count` that hold `held_bytes` of input together. */
bool shadow_has_room(size_t count, uint64_t held_bytes, uint64_t bytes);

/* What holds now of the place where a shadow is to run. */
struct shadow_place {
    bool usable;
    bool within_budget;
    bool wanted; /* by a request, or by another shadow */
    int64_t since_ns, now_ns;
};
enum shadow_verdict shadow_judge(const struct shadow_place *place);

/* The names of the reasons for status, by verdict; NULL: it is no reason to drop one. */
extern const char *const shadow_drop_names[SHADOW_VERDICTS];

#endif
