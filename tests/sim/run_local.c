#include "tests/sim/run.h"

#include "common/base/error.h"

#include <math.h>
#include <stdlib.h>

#define MOST_TOKENS   64.0 /* max_new_tokens of the shipped task */
#define WORD_BYTES    6.0  /* of a prompt, for a token */
#define PREFILL_SHARE 0.1  /* of a text's time */

struct estimate_task local_estimate(const struct client *client, const struct request *request)
{
    return (struct estimate_task){
        .pictures = request->task == 0 ? &client->pictures : NULL,
        .texts = &client->text,
        .work = {.prompt_bytes = (double)request->pair->bytes, .most_tokens = MOST_TOKENS},
        .chunk_tokens = 1};
}

double edge_hint_ms(const struct client *client, const struct link *link,
                    const struct request *request)
{
    return request->task == 0 ? link->run_ms
                              : link->token_ms * estimate_text_answer(&client->text, MOST_TOKENS);
}

void local_learn(struct client *client, const struct request *request, bool answered)
{
    const double ms = request->local_run_ms, words = (double)request->pair->bytes / WORD_BYTES;

    if (request->task == 0) {
        estimate_local_add(&client->pictures, ms);
        return;
    }
    estimate_text_add(&client->text,
                      &(struct estimate_text_run){.prompt_bytes = (double)request->pair->bytes,
                                                  .prompt_tokens = words,
                                                  .prefill_tokens = words,
                                                  .prefill_ms = PREFILL_SHARE * ms,
                                                  .decode_tokens = request->pair->steps,
                                                  .decode_ms = (1 - PREFILL_SHARE) * ms});
    if (answered) {
        estimate_text_answer_add(&client->text, request->pair->steps, false);
    }
}

/* The local runner: earliest deadline first, a step at a time; a picture is one step, a text one a
 * token. */
static bool goes_first(const struct request *a, const struct request *b)
{
    return a->plan.yields != b->plan.yields ? b->plan.yields : a->deadline_ns < b->deadline_ns;
}

static size_t queue_earliest(const struct run *run, const struct client *client)
{
    size_t best = 0;

    for (size_t i = 1; i < client->queue_count; i++) {
        if (goes_first(&run->requests[client->queue[i]], &run->requests[client->queue[best]])) {
            best = i;
        }
    }
    return best;
}

/* What came first stays first. */
static void queue_remove(struct client *client, size_t at)
{
    for (size_t i = at; i + 1 < client->queue_count; i++) {
        client->queue[i] = client->queue[i + 1];
    }
    client->queue_count--;
}

static void step_begin(struct run *run, struct client *client)
{
    while (!client->stepping && client->queue_count > 0) {
        const size_t at = queue_earliest(run, client);
        const size_t index = client->queue[at];
        struct request *request = &run->requests[index];

        if (run->now_ns >= request->deadline_ns || !request->local_out) {
            const bool late = request->local_out;

            queue_remove(client, at);
            request->local_out = false;
            if (late) {
                request_event(
                    run, request,
                    &(struct job_event_data){.kind = JOB_LOCAL_FAILED, .error = TANDEM_ELATE});
            }
            continue;
        }
        client->stepping = true;
        client->stepped = index;
        client->step_ms = request->local_left_ms / request->steps_left;
        client->step_began_ns = run->now_ns;
        event_add(run, &(struct event){.at_ns = run->now_ns +
                                                (int64_t)(client->step_ms * (double)NS_PER_MS),
                                       .kind = EVENT_STEP,
                                       .client = request->client});
    }
}

void local_start(struct run *run, struct request *request)
{
    struct client *client = &run->clients[request->client];

    request->local_out = true;
    request->local_left_ms = request->local_ms;
    request->steps_left = request->pair->steps;
    if (client->queue_count == FLOWS_MAX) {
        request->local_out = false;
        request_event(run, request,
                      &(struct job_event_data){.kind = JOB_LOCAL_FAILED, .error = TANDEM_EBUSY});
        return;
    }
    client->queue[client->queue_count++] = (size_t)(request - run->requests);
    step_begin(run, client);
}

/* ---- a text that is not sure enough on its way: client/daemon/request_doubt.c ---- */

static unsigned tokens_said(const struct request *request)
{
    return request->pair->steps - request->steps_left;
}

static void doubt_tell(struct run *run, struct request *request)
{
    const unsigned tokens = tokens_said(request);
    const bool cascades = request->plan.route == JOB_CASCADE && !request->plan.race;
    const double sure = (double)request->pair->sure[tokens - 1];

    if (!cascades || request->doubt_tokens > 0 || sure >= request->plan.threshold) {
        return;
    }
    request->doubt_tokens = tokens;
    request_event(
        run, request,
        &(struct job_event_data){.kind = JOB_LOCAL_DOUBT, .confidence = sure, .tokens = tokens});
}

/* What was said until it was let go is held against that part of the edge's answer. */
static void doubt_learn(struct client *client, const struct request *request)
{
    const unsigned tokens = tokens_said(request);
    double sure;

    if (request->doubt_tokens == 0 || tokens == 0 || tokens >= request->pair->steps) {
        return;
    }
    sure = (double)request->pair->sure[tokens - 1];
    confidence_see(&client->confidence[request->task], sure);
    if (request->has_answer[JOB_SIDE_EDGE]) {
        confidence_compare(&client->confidence[request->task], sure, tokens <= request->pair->same);
    }
}

void local_cancel(struct run *run, struct request *request)
{
    struct client *client = &run->clients[request->client];
    const size_t index = (size_t)(request - run->requests);

    request->local_out = false;
    for (size_t i = 0; i < client->queue_count; i++) {
        if (client->queue[i] == index && !(client->stepping && client->stepped == index)) {
            queue_remove(client, i);
            doubt_learn(client, request);
            return;
        }
    }
}

void on_step(struct run *run, const struct event *event)
{
    struct client *client = &run->clients[event->client];
    struct request *request = &run->requests[client->stepped];

    client->stepping = false;
    request->local_run_ms += client->step_ms;
    request->local_left_ms -= client->step_ms;
    request->steps_left--;
    if (!request->local_out || request->steps_left == 0) {
        for (size_t i = 0; i < client->queue_count; i++) {
            if (client->queue[i] == client->stepped) {
                queue_remove(client, i);
            }
        }
    }
    if (!request->local_out) {
        doubt_learn(client, request); /* cancelled while it was stepped */
    } else if (request->steps_left > 0) {
        doubt_tell(run, request);
    } else {
        request->local_out = false;
        request->has_answer[JOB_SIDE_LOCAL] = true;
        local_learn(client, request, true);
        confidence_see(&client->confidence[request->task], request->pair->confidence);
        request_event(run, request,
                      &(struct job_event_data){.kind = JOB_LOCAL_DONE,
                                               .confidence = request->pair->confidence});
    }
    step_begin(run, client);
}

double local_queue_ms(const struct run *run, const struct request *than, bool truth)
{
    const struct client *client = &run->clients[than->client];
    double sum = 0;

    for (size_t i = 0; i < client->queue_count; i++) {
        const struct request *at = &run->requests[client->queue[i]];
        const bool stepped = client->stepping && client->queue[i] == client->stepped;
        const double part = (double)at->steps_left / at->pair->steps;
        const struct estimate_task run_of = local_estimate(client, at);

        if (at->local_out && (at->deadline_ns <= than->deadline_ns || stepped)) {
            sum += truth ? at->local_left_ms : estimate_task_ms(&run_of) * part;
        }
    }
    return sum;
}

/* ---- the same requests, all of them run here ---- */

static int start_compare(const void *left, const void *right)
{
    const struct request *a = *(struct request *const *)left, *b = *(struct request *const *)right;

    return (a->start_ns > b->start_ns) - (a->start_ns < b->start_ns);
}

static struct request *alone_take(struct request **waiting, size_t *count)
{
    size_t best = 0;
    struct request *request;

    for (size_t i = 1; i < *count; i++) {
        best = waiting[i]->deadline_ns < waiting[best]->deadline_ns ? i : best;
    }
    request = waiting[best];
    for (size_t i = best; i + 1 < *count; i++) {
        waiting[i] = waiting[i + 1];
    }
    --*count;
    return request;
}

static void alone_client(struct request **order, size_t count, struct request **waiting)
{
    size_t next = 0, waiting_count = 0;
    int64_t now_ns = 0;

    while (next < count || waiting_count > 0) {
        struct request *request;

        if (waiting_count == 0 && order[next]->start_ns > now_ns) {
            now_ns = order[next]->start_ns;
        }
        while (next < count && order[next]->start_ns <= now_ns) {
            order[next]->local_left_ms = order[next]->local_ms;
            order[next]->steps_left = order[next]->pair->steps;
            waiting[waiting_count++] = order[next++];
        }
        request = alone_take(waiting, &waiting_count);
        if (now_ns >= request->deadline_ns) {
            continue;
        }
        now_ns += (int64_t)(request->local_left_ms / request->steps_left * (double)NS_PER_MS);
        request->local_left_ms -= request->local_left_ms / request->steps_left;
        if (--request->steps_left > 0) {
            waiting[waiting_count++] = request;
        } else {
            request->alone_in_time = now_ns <= request->deadline_ns;
        }
    }
}

int alone_replay(struct run *run)
{
    struct request **order = malloc(sizeof(struct request *) * 2 * (run->count + 1));
    size_t first = 0;

    if (!order) {
        return TANDEM_ENOMEM;
    }
    while (first < run->count) {
        size_t count = 0;

        while (first + count < run->count &&
               run->requests[first + count].client == run->requests[first].client) {
            order[count] = &run->requests[first + count];
            count++;
        }
        qsort(order, count, sizeof(*order), start_compare);
        alone_client(order, count, order + run->count);
        first += count;
    }
    free(order);
    return 0;
}
