/* request_observe.c: `mode = observe`. What Tandem would have done is on record already; the
 * request itself goes the prescribed way. */
#include "client/daemon/request.h"

#include "common/base/error.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* "observed only: would have taken edge:den (edge is accurate and in time), ran local" */
static void reason_say(struct decision *decision, const char *ran, const char *because)
{
    char decided[sizeof(decision->reason)];

    memcpy(decided, decision->reason, sizeof(decided));
    if (strcmp(decision->route, ran) == 0) {
        snprintf(decision->reason, sizeof(decision->reason),
                 "observed only: ran %s as decided, %.150s", ran, decided);
    } else {
        snprintf(decision->reason, sizeof(decision->reason),
                 "observed only: would have taken %s (%.100s), ran %s%s%.60s", decision->route,
                 decided, ran, because ? " as " : "", because ? because : "");
    }
}

bool request_is_observed(const struct request *request)
{
    /* Without a route there is nothing to follow; one that was to be dropped has candidates. */
    return request->all->config->mode == MODE_OBSERVE && request->choice.count > 0 &&
           (!request->submit.route[0] || strcmp(request->submit.route, "auto") == 0);
}

int request_observe(struct request *request, int result, const struct choice *fixed,
                    int fixed_result)
{
    static const enum job_route routes[] = {
        [OBSERVE_LOCAL] = JOB_LOCAL, [OBSERVE_EDGE] = JOB_EDGE, [OBSERVE_CASCADE] = JOB_CASCADE};
    struct decision *decision = &request->decision;
    const struct candidate *ran;

    decision->observed = true;
    if (fixed_result == TANDEM_ENOROUTE) {
        /* Without a local model an edge, as decided, is the only side there is. */
        reason_say(decision, decision->route, NULL);
        return result;
    }
    ran = &fixed->candidates[fixed->chosen];
    reason_say(decision, ran->route,
               fixed->plan.route != routes[request->all->config->observe_route] ? fixed->reason
                                                                                : NULL);
    decision->predicted_ms = ran->latency_known ? ran->latency.mean_ms : NAN;
    request->choice = *fixed;
    return fixed_result;
}
