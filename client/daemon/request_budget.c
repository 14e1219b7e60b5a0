/* request_budget.c: what one request takes of the hourly budgets: foreseen before it is decided,
 * reserved while it is under way, so that many at once cannot overrun what is left, and for joule
 * charged when a run has ended. Bytes are charged where they leave and come (link_pace.c). */
#include "client/daemon/request.h"

#include <math.h>
#include <string.h>

#define REQUEST_BYTES                                                                              \
    512                    /* the request's header, frames, a ping, acknowledgements, TLS records  \
                            */
#define CLASSIFY_DOWN 1024 /* scores, and acknowledgements: where their labels are not known, */
#define DETECT_DOWN   4096 /* and boxes: about so many */
#define TEXT_DOWN     1024
#define TOKEN_BYTES   8
#define PIECE_BYTES   64  /* of a streamed token, with its frame */
#define RECORD_PART   512 /* what TLS adds to a long payload is less than this part of it */
#define MS_PER_S      1000.0

static double text_down_bytes(const struct local_submit *submit, double most_tokens)
{
    return TEXT_DOWN + most_tokens * (submit->stream ? PIECE_BYTES : TOKEN_BYTES);
}

double requests_down_bytes(const struct client_task *task, const struct local_submit *submit,
                           double most_tokens)
{
    switch (task->config->kind) {
    case TASK_CLASSIFY:
        return task->scores_bytes > 0 ? task->scores_bytes : CLASSIFY_DOWN;
    case TASK_DETECT:
        return DETECT_DOWN;
    default:
        return text_down_bytes(submit, most_tokens);
    }
}

/* The most that may come: what is not known is as big as a header may be. */
static double down_most_bytes(const struct client_task *task, const struct local_submit *submit,
                              double most_tokens)
{
    switch (task->config->kind) {
    case TASK_CLASSIFY:
        return task->scores_bytes > 0 ? task->scores_bytes : LIMIT_FRAME_HEADER_BYTES;
    case TASK_DETECT:
        return LIMIT_FRAME_HEADER_BYTES;
    default:
        return text_down_bytes(submit, most_tokens);
    }
}

double requests_edge_bytes(const struct client_task *task, const struct local_submit *submit,
                           double most_tokens, double up_bytes)
{
    return REQUEST_BYTES + up_bytes + up_bytes / RECORD_PART +
           down_most_bytes(task, submit, most_tokens);
}

struct decide_energy requests_energy(const struct requests *all)
{
    struct decide_energy energy = client_config_energy(all->config);

    energy.compute_watt = all->measured_watt > 0 ? all->measured_watt : energy.compute_watt;
    return energy;
}

/* What local computing takes. */
static double run_joule(const struct requests *all, double run_ms)
{
    return requests_energy(all).compute_watt * run_ms / MS_PER_S;
}

bool edge_hold(struct requests *all, const struct client_task *task,
               const struct local_submit *submit, size_t up_bytes, struct edge_hold *hold)
{
    const double most_tokens = (double)request_most_tokens(task, submit);
    const double bytes = requests_edge_bytes(task, submit, most_tokens, (double)up_bytes);

    edge_hold_release(all, hold);
    if (bytes > budgets_left(all->budgets, BUDGET_BYTES)) {
        return false;
    }
    hold->amounts[BUDGET_BYTES] = bytes;
    hold->amounts[BUDGET_JOULE] = (double)up_bytes * requests_energy(all).joule_per_byte;
    hold->expected_bytes = down_most_bytes(task, submit, most_tokens);
    budgets_expect(all->budgets, hold->expected_bytes);
    for (int kind = 0; kind < BUDGETS; kind++) {
        budgets_reserve(all->budgets, (enum budget_kind)kind, hold->amounts[kind]);
    }
    return true;
}

void edge_hold_release(struct requests *all, struct edge_hold *hold)
{
    budgets_expect_no_more(all->budgets, hold->expected_bytes);
    for (int kind = 0; kind < BUDGETS; kind++) {
        budgets_release(all->budgets, (enum budget_kind)kind, hold->amounts[kind]);
    }
    *hold = (struct edge_hold){.expected_bytes = 0};
}

bool request_edge_reserve(struct request *request, size_t up_bytes)
{
    return edge_hold(request->all, request->task, &request->submit, up_bytes, &request->hold);
}

void request_edge_release(struct request *request)
{
    edge_hold_release(request->all, &request->hold);
}

void request_local_reserve(struct request *request, double run_ms)
{
    request->reserved_run_j = run_joule(request->all, run_ms);
    budgets_reserve(request->all->budgets, BUDGET_JOULE, request->reserved_run_j);
}

void request_local_spent(struct request *request, double run_ms)
{
    budgets_release(request->all->budgets, BUDGET_JOULE, request->reserved_run_j);
    request->reserved_run_j = 0;
    requests_computed(request->all, run_ms);
}

void requests_computed(struct requests *all, double run_ms)
{
    if (requests_energy(all).compute_watt > 0) {
        budgets_spend(all->budgets, BUDGET_JOULE, run_joule(all, run_ms));
    } else {
        budget_hour_add(&all->unpriced_ms, run_ms, clock_now_ns());
    }
}

void requests_price(struct requests *all)
{
    budgets_spend(all->budgets, BUDGET_JOULE,
                  run_joule(all, budget_hour_sum(&all->unpriced_ms, clock_now_ns())));
    memset(&all->unpriced_ms, 0, sizeof(all->unpriced_ms));
}
