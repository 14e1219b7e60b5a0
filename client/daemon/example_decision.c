#include "client/daemon/example_decision.h"

#include "client/daemon/positive.h"
#include "client/daemon/status.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define FIGURE_BYTES 48

void example_decision_make(struct requests *requests, const struct client_task *task,
                           int64_t now_ns, struct decision *ret_decision)
{
    const struct local_submit submit = {0};
    const struct upload_source none = {0};
    struct choice choice;

    *ret_decision = (struct decision){.confidence = NAN, .waste = {NAN, NAN, NAN}};
    (void)requests_decide(requests, task, &submit, &none, 0, now_ns, &choice);
    ret_decision->deadline_ms = (double)task->config->default_deadline_ms;
    decision_thresholds(ret_decision, &choice.plan, task_positive(task));
    snprintf(ret_decision->task, sizeof(ret_decision->task), "%s", task->config->name);
    snprintf(ret_decision->route, sizeof(ret_decision->route), "%s",
             choice.chosen < choice.count ? choice.candidates[choice.chosen].route : "");
    snprintf(ret_decision->reason, sizeof(ret_decision->reason), "%s", choice.reason);
    ret_decision->candidate_count = choice.count;
    ret_decision->weights = choice.weights;
    memcpy(ret_decision->candidates, choice.candidates, sizeof(ret_decision->candidates));
}

/* "-" of what is not known. */
static const char *figure(double value, int decimals, const char *unit, char text[FIGURE_BYTES])
{
    if (isnan(value)) {
        return "-";
    }
    snprintf(text, FIGURE_BYTES, "%.*f%s", decimals, value, unit);
    return text;
}

static int candidate_text(const struct candidate *at, bool chosen, struct buf *out)
{
    const double mean_ms = at->latency_known ? at->latency.mean_ms : NAN,
                 p95_ms = at->latency_known ? at->latency.p95_ms : NAN;
    char mean[FIGURE_BYTES], p95[FIGURE_BYTES], miss[FIGURE_BYTES], wrong[FIGURE_BYTES],
        cost[FIGURE_BYTES];
    int result = buf_printf(out, "#   %s %-9s %s (p95 %s), late %s, wrong %s, %.0f bytes",
                            chosen ? "*" : " ", at->route, figure(mean_ms, 2, " ms", mean),
                            figure(p95_ms, 2, "", p95), figure(at->miss_probability, 3, "", miss),
                            figure(at->error_probability, 3, "", wrong), at->bytes);

    if (result == 0 && !isnan(at->energy_j)) {
        result = buf_printf(out, ", %.4f J", at->energy_j);
    }
    return result == 0 ? buf_printf(out, ", cost %s\n", figure(at->cost, 1, " ms", cost)) : result;
}

int example_decision_text(const struct decision *decision, struct buf *out)
{
    char deadline[FIGURE_BYTES] = "without a deadline";
    int result;

    if (decision->deadline_ms > 0) {
        snprintf(deadline, sizeof(deadline), "with a deadline of %.0f ms", decision->deadline_ms);
    }
    result = buf_printf(out, "# example: a request %s, before any edge is connected:\n", deadline);
    for (size_t i = 0; result == 0 && i < decision->candidate_count; i++) {
        const struct candidate *at = &decision->candidates[i];

        result = candidate_text(at, strcmp(at->route, decision->route) == 0, out);
    }
    return result == 0
               ? buf_printf(out, "#   chosen: %s: %s\n",
                            decision->route[0] ? decision->route : "no route", decision->reason)
               : result;
}

int example_decision_json(const struct decision *decision, struct buf *out)
{
    const int result = buf_append_text(out, "# json: ");

    return result == 0 ? status_decision(decision, out) : result;
}
