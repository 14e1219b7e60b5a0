/* request_budget.c: what one request takes of the hourly budgets: foreseen before it is decided,
 * reserved while it is under way, so that many at once cannot overrun what is left, and for joule
 * charged when a run has ended. Bytes are charged where they leave and come (link_pace.c). */
#include "client/daemon/request.h"

#include <math.h>

#define REQUEST_BYTES                                                                              \
    512                    /* the request's header, frames, a ping, acknowledgements, TLS records  \
                            */
#define CLASSIFY_DOWN 1024 /* scores, and acknowledgements */
#define DETECT_DOWN   4096 /* boxes */
#define TEXT_DOWN     1024
#define TOKEN_BYTES   8
#define PIECE_BYTES   64  /* of a streamed token, with its frame */
#define RECORD_PART   512 /* what TLS adds to a long payload is less than this part of it */
#define MS_PER_S      1000.0

/* An answer. */
static double down_bytes(const struct client_task *task, const struct local_submit *submit,
                         double most_tokens)
{
    switch (task->config->kind) {
    case TASK_CLASSIFY:
        return CLASSIFY_DOWN;
    case TASK_DETECT:
        return DETECT_DOWN;
    default:
        return TEXT_DOWN + most_tokens * (submit->stream ? PIECE_BYTES : TOKEN_BYTES);
    }
}

double requests_edge_bytes(const struct client_task *task, const struct local_submit *submit,
                           double most_tokens, double up_bytes)
{
    return REQUEST_BYTES + up_bytes + up_bytes / RECORD_PART +
           down_bytes(task, submit, most_tokens);
}

/* What local computing takes. */
static double run_joule(const struct requests *all, double run_ms)
{
    return client_config_energy(all->config).compute_watt * run_ms / MS_PER_S;
}

bool request_edge_reserve(struct request *request, size_t up_bytes)
{
    const struct estimate_text_work work = request_work(request);
    struct budgets *budgets = request->all->budgets;
    const double bytes =
        requests_edge_bytes(request->task, &request->submit, work.most_tokens, (double)up_bytes);

    request_edge_release(request);
    if (bytes > budgets_left(budgets, BUDGET_BYTES)) {
        return false;
    }
    request->reserved[BUDGET_BYTES] = bytes;
    request->reserved[BUDGET_JOULE] =
        (double)up_bytes * client_config_energy(request->all->config).joule_per_byte;
    request->expected_bytes = down_bytes(request->task, &request->submit, work.most_tokens);
    budgets_expect(budgets, request->expected_bytes);
    for (int kind = 0; kind < BUDGETS; kind++) {
        budgets_reserve(budgets, (enum budget_kind)kind, request->reserved[kind]);
    }
    return true;
}

void request_edge_release(struct request *request)
{
    budgets_expect_no_more(request->all->budgets, request->expected_bytes);
    request->expected_bytes = 0;
    for (int kind = 0; kind < BUDGETS; kind++) {
        budgets_release(request->all->budgets, (enum budget_kind)kind, request->reserved[kind]);
        request->reserved[kind] = 0;
    }
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
    budgets_spend(all->budgets, BUDGET_JOULE, run_joule(all, run_ms));
}
