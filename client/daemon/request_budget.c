/* request_budget.c: what one request takes of the hourly budgets: foreseen before it is decided,
 * reserved while it is under way, so that many at once cannot overrun what is left, and for joule
 * charged when a run has ended. Bytes are charged where they leave and come (link_pace.c). */
#include "client/daemon/request.h"

#include <math.h>
#include <stdio.h>
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

/* The most scores that may come: where this side does not know the labels, the edge has said how
 * many it has, each as long as one may be; where it has not, a header full of them. */
static double scores_most_bytes(const struct requests *all, const struct client_task *task,
                                size_t edge)
{
    const size_t labels = links_labels(all->links, edge, task->config->name);

    return task->scores_bytes > 0 ? task->scores_bytes
           : labels > 0           ? task_scores_bytes(labels, labels * LIMIT_LABEL_BYTES)
                                  : LIMIT_FRAME_HEADER_BYTES;
}

static double down_most_bytes(const struct requests *all, const struct client_task *task,
                              const struct local_submit *submit, size_t edge, double most_tokens)
{
    switch (task->config->kind) {
    case TASK_CLASSIFY:
        return scores_most_bytes(all, task, edge);
    case TASK_DETECT:
        return LIMIT_FRAME_HEADER_BYTES;
    default:
        return text_down_bytes(submit, most_tokens);
    }
}

double requests_edge_bytes(const struct requests *all, const struct client_task *task,
                           const struct local_submit *submit, size_t edge, double most_tokens,
                           double up_bytes)
{
    return REQUEST_BYTES + up_bytes + up_bytes / RECORD_PART +
           down_most_bytes(all, task, submit, edge, most_tokens);
}

const char *requests_bytes_reason(double left, double needs)
{
    return needs <= left                                           ? NULL
           : left < REQUEST_BYTES + fmin(TEXT_DOWN, CLASSIFY_DOWN) ? BUDGET_BYTES_USED
                                                                   : BUDGET_BYTES_SHORT;
}

void requests_reason_text(const struct requests *all, const struct local_submit *submit,
                          const char *reason, double needs_bytes, size_t size, char *text)
{
    char words[BUDGET_TEXT_BYTES];
    struct budgets_view budget;

    if (strcmp(reason, BUDGET_BYTES_SHORT) == 0) {
        budgets_look(all->budgets, BUDGET_BYTES, &budget);
        budget_bytes_text(budget.left, budget.limit, needs_bytes,
                          submit->has_picture ? "picture" : "text", words);
        reason = words;
    }
    snprintf(text, size, "%s", reason);
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

bool requests_joule_left(const struct requests *all, double joule)
{
    const double left = budgets_left(all->budgets, BUDGET_JOULE);

    return left > 0 && !(joule > left);
}

/* What this device's battery pays for it, where that is known; else 0. */
static double ask_joule(const struct requests *all, const struct edge_ask *ask)
{
    const struct decide_energy energy = requests_energy(all);
    const double most_tokens = (double)request_most_tokens(ask->task, ask->submit);

    return energy.joule_per_byte * (double)ask->up_bytes +
           energy.joule_per_byte_received *
               requests_down_bytes(ask->task, ask->submit, most_tokens);
}

bool edge_hold(struct requests *all, const struct edge_ask *ask, struct edge_hold *hold,
               char why[BUDGET_TEXT_BYTES])
{
    const double most_tokens = (double)request_most_tokens(ask->task, ask->submit);
    const double bytes = requests_edge_bytes(all, ask->task, ask->submit, ask->edge, most_tokens,
                                             (double)ask->up_bytes);
    const double joule = ask_joule(all, ask);
    const char *reason;

    edge_hold_release(all, hold);
    reason = requests_bytes_reason(budgets_left(all->budgets, BUDGET_BYTES), bytes);
    if (!reason && ask->extra && !requests_joule_left(all, joule)) {
        reason =
            budgets_left(all->budgets, BUDGET_JOULE) > 0 ? BUDGET_ENERGY_SHORT : BUDGET_ENERGY_USED;
    }
    if (reason) {
        requests_reason_text(all, ask->submit, reason, bytes, BUDGET_TEXT_BYTES, why);
        return false;
    }
    hold->amounts[BUDGET_BYTES] = bytes;
    hold->amounts[BUDGET_JOULE] = joule;
    hold->expected_bytes = down_most_bytes(all, ask->task, ask->submit, ask->edge, most_tokens);
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

/* Where a local run answers too, the edge is an extra. */
bool request_edge_reserve(struct request *request, size_t up_bytes)
{
    const enum job_side_state local = request->job.side[JOB_SIDE_LOCAL];
    const struct edge_ask ask = {.task = request->task,
                                 .submit = &request->submit,
                                 .edge = (size_t)request->choice.edge,
                                 .up_bytes = up_bytes,
                                 .extra = local == JOB_SIDE_RUNNING || local == JOB_SIDE_DONE};

    return edge_hold(request->all, &ask, &request->hold, request->decision.edge_refused);
}

void request_edge_release(struct request *request)
{
    edge_hold_release(request->all, &request->hold);
}

void request_local_reserve(struct request *request)
{
    const struct estimate_task run = request_estimate(request);

    if (request->reserved_run_j == 0) {
        request->reserved_run_j = run_joule(request->all, estimate_task_ms(&run));
        budgets_reserve(request->all->budgets, BUDGET_JOULE, request->reserved_run_j);
    }
}

void request_local_release(struct request *request)
{
    budgets_release(request->all->budgets, BUDGET_JOULE, request->reserved_run_j);
    request->reserved_run_j = 0;
}

void request_local_spent(struct request *request, double run_ms)
{
    request_local_release(request);
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
