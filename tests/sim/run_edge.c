#include "tests/sim/run.h"

#include "common/base/error.h"

#include <math.h>

/* The edge that all clients share: a step takes up to EDGE_BATCH requests, earliest deadline first.
 * Together they take less than one after the other: what is read for one is read for all. */
#define BATCH_SHARED 0.4 /* of the longest, once; the rest of each is its own */
#define RATE_ALPHA   0.1
#define ACK_BYTES    40

double edge_wait_ms(const struct run *run, size_t edge)
{
    const struct edge *at = &run->edges[edge];
    const double step_ms = at->batch_count > 0 && at->step_ends_ns > run->now_ns
                               ? (double)(at->step_ends_ns - run->now_ns) / (double)NS_PER_MS
                               : 0;

    return step_ms + (1 - BATCH_SHARED) * at->queued_ms +
           (at->count > 0 ? BATCH_SHARED * at->queued_ms / (double)at->count : 0);
}

static void answer_send(struct run *run, struct request *request, size_t edge, enum event_kind kind,
                        double bytes, double wait_ms)
{
    struct link *link = &run->clients[request->client].links[edge];

    event_add(run, &(struct event){.at_ns = pipe_put(&link->down, bytes, run->now_ns, &run->random),
                                   .kind = kind,
                                   .client = request->client,
                                   .edge = (int)edge,
                                   .index = (size_t)(request - run->requests),
                                   .wait_ms = wait_ms,
                                   .run_ms = run->edges[edge].picture_ms,
                                   .token_ms = run->edges[edge].token_ms,
                                   .load_ms = edge_wait_ms(run, edge),
                                   .epoch = link->epoch});
}

static size_t queue_take(struct run *run, struct edge *edge)
{
    size_t best = 0, index;

    for (size_t i = 1; i < edge->count; i++) {
        if (run->requests[edge->queue[i]].deadline_ns <
            run->requests[edge->queue[best]].deadline_ns) {
            best = i;
        }
    }
    index = edge->queue[best];
    edge->queue[best] = edge->queue[--edge->count];
    edge->queued_ms = edge->count > 0 ? edge->queued_ms - run->requests[index].edge_ms : 0;
    return index;
}

/* What is said of a picture, and of a token, is the share of the step. */
static void rates_add(struct edge *edge, const struct request *request, double step_ms)
{
    const double one_ms = step_ms / (double)edge->batch_count;
    double *rate = request->task == 0 ? &edge->picture_ms : &edge->token_ms;
    const double sample_ms = request->task == 0 ? one_ms : request->edge_ms / request->pair->steps;

    *rate = *rate > 0 ? *rate + RATE_ALPHA * (sample_ms - *rate) : sample_ms;
}

static void batch_begin(struct run *run, size_t at)
{
    struct edge *edge = &run->edges[at];
    double sum_ms = 0, longest_ms = 0, step_ms;

    edge->batch_count = 0;
    while (edge->count > 0 && edge->batch_count < EDGE_BATCH) {
        const size_t index = queue_take(run, edge);
        struct request *request = &run->requests[index];

        if (!request->in_edge && run->now_ns >= request->cancel_ns) {
            continue;
        }
        if (run->now_ns >= request->deadline_ns) {
            request->in_edge = false;
            answer_send(run, request, at, EVENT_REFUSED, ANSWER_BYTES, 0);
            continue;
        }
        edge->batch[edge->batch_count++] = index;
        sum_ms += request->edge_ms;
        longest_ms = fmax(longest_ms, request->edge_ms);
    }
    if (edge->batch_count == 0) {
        return;
    }
    step_ms = BATCH_SHARED * longest_ms + (1 - BATCH_SHARED) * sum_ms;
    for (size_t i = 0; i < edge->batch_count; i++) {
        struct request *request = &run->requests[edge->batch[i]];

        request->edge_run_ms = step_ms;
        request->edge_wait_ms = (double)(run->now_ns - request->uploaded_ns) / (double)NS_PER_MS;
        rates_add(edge, request, step_ms);
    }
    edge->step_ends_ns = run->now_ns + (int64_t)(step_ms * (double)NS_PER_MS);
    event_add(run,
              &(struct event){.at_ns = edge->step_ends_ns, .kind = EVENT_BATCH, .edge = (int)at});
}

void on_uploaded(struct run *run, const struct event *event)
{
    struct request *request = &run->requests[event->index];
    struct edge *edge = &run->edges[event->edge];
    struct link *link = &run->clients[request->client].links[event->edge];

    if (event->sent_ns != request->edge_sent_ns) {
        return;
    }
    event_add(run,
              &(struct event){.at_ns = pipe_put(&link->down, ACK_BYTES, run->now_ns, &run->random),
                              .kind = EVENT_ACKED,
                              .client = request->client,
                              .edge = event->edge,
                              .index = event->index,
                              .epoch = event->epoch});
    request->uploaded_ns = run->now_ns;
    edge->queue[edge->count++] = event->index;
    edge->queued_ms += request->edge_ms;
    if (edge->batch_count == 0) {
        batch_begin(run, (size_t)event->edge);
    }
}

void on_batch(struct run *run, const struct event *event)
{
    struct edge *edge = &run->edges[event->edge];

    for (size_t i = 0; i < edge->batch_count; i++) {
        struct request *request = &run->requests[edge->batch[i]];

        if (request->in_edge) {
            answer_send(run, request, (size_t)event->edge, EVENT_ANSWER, ANSWER_BYTES,
                        request->edge_wait_ms);
        }
    }
    batch_begin(run, (size_t)event->edge);
}
