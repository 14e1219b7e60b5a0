/* request_waste.c: what was computed and sent for answers that nobody got: a hedge's loser, the
 * local half of a cascade that went on, all of a request that failed or was cancelled. A local run
 * that is cancelled goes on to the end of its step, so what it took is known later. */
#include "client/daemon/request.h"

#include <math.h>

static void waste_count(struct counts *counts, const struct decision_waste *waste)
{
    counts->wasted_local_ms += isnan(waste->local_ms) ? 0 : waste->local_ms;
    counts->wasted_edge_ms += isnan(waste->edge_ms) ? 0 : waste->edge_ms;
    counts->wasted_bytes += isnan(waste->bytes) ? 0 : (uint64_t)waste->bytes;
}

void request_waste_note(struct request *request, const struct job_action *action)
{
    const struct decision_outcome *outcome = &request->decision.outcome;
    struct decision_waste *waste = &request->decision.waste;
    const bool delivered = action->kind == JOB_DELIVER;

    if (!request->local_out && !(delivered && action->side == JOB_SIDE_LOCAL)) {
        waste->local_ms = outcome->local_run_ms; /* NAN: it did not run */
    }
    if (request->edge_sent_ns != 0 && !(delivered && action->side == JOB_SIDE_EDGE)) {
        waste->edge_ms = outcome->edge_run_ms;
        waste->bytes = outcome->bytes_up + (isnan(outcome->bytes_down) ? 0 : outcome->bytes_down);
    }
    waste_count(&request->all->counts, waste);
}

void request_waste_local(struct request *request, double run_ms)
{
    struct decision *kept = requests_ring_find(request->all, request->decision.id);
    const struct decision_waste waste = {.local_ms = run_ms, .edge_ms = NAN, .bytes = NAN};

    if (!(run_ms > 0)) {
        return; /* it never had its turn */
    }
    waste_count(&request->all->counts, &waste);
    if (kept) {
        kept->waste.local_ms = run_ms;
        request->all->on_amended(kept, decision_waste_json, request->all->user);
    }
}
