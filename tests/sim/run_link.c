#include "tests/sim/run.h"

#include "common/base/error.h"

#include <math.h>
#include <string.h>

/* What client/daemon/link.c and common/stream do around one connection, with their times. */
#define WATCH_NS     (250 * NS_PER_MS)
#define REDIAL_MS    200.0
#define REDIAL_MAX   1500.0
#define PING_BYTES   60
#define PROBE_BYTES  8192
#define DIAL_BYTES   300
#define HEARTBEAT_NS (500 * NS_PER_MS)
#define IDLE_NS      ((int64_t)LIMIT_IDLE_MS * NS_PER_MS)

/* 0: nothing. What was asked at this very moment is owed too, as where the clock moves on. */
static int64_t owed_ns(const struct run *run, const struct link *link)
{
    int64_t since_ns = INT64_MAX, waited_ns;

    for (size_t i = 0; i < PINGS; i++) {
        if (link->ping_sent_ns[i] != 0 && link->ping_sent_ns[i] < since_ns) {
            since_ns = link->ping_sent_ns[i];
        }
    }
    if (since_ns == INT64_MAX) {
        return 0;
    }
    waited_ns = run->now_ns - (since_ns > link->heard_ns ? since_ns : link->heard_ns);
    return waited_ns > 0 ? waited_ns : 1;
}

bool link_silent(const struct run *run, const struct link *link)
{
    return link->up_now &&
           (double)owed_ns(run, link) >
               estimate_link_stall_ms(&link->estimate, run->now_ns) * (double)NS_PER_MS;
}

static void ping_send(struct run *run, int client, int edge, double padding)
{
    struct link *link = &run->clients[client].links[edge];

    link->ping_sent_ns[link->ping_next % PINGS] = run->now_ns;
    link->pinged_ns = run->now_ns;
    event_add(run, &(struct event){.at_ns = pipe_put(&link->up, PING_BYTES + padding, run->now_ns,
                                                     &run->random),
                                   .kind = EVENT_PING,
                                   .client = client,
                                   .edge = edge,
                                   .index = link->ping_next++,
                                   .bytes = padding,
                                   .epoch = link->epoch});
}

void on_ping(struct run *run, const struct event *event)
{
    struct link *link = &run->clients[event->client].links[event->edge];
    struct event pong = *event;

    pong.at_ns = pipe_put(&link->down, PING_BYTES, run->now_ns, &run->random);
    pong.kind = EVENT_PONG;
    pong.load_ms = edge_wait_ms(run, (size_t)event->edge);
    pong.run_ms = run->edges[event->edge].picture_ms;
    pong.token_ms = run->edges[event->edge].token_ms;
    event_add(run, &pong);
}

static void load_take(struct run *run, struct link *link, const struct event *event)
{
    link->heard_ns = run->now_ns;
    estimate_link_load(&link->estimate, event->load_ms, run->now_ns);
    link->run_ms = event->run_ms;
    link->token_ms = event->token_ms;
}

void on_pong(struct run *run, const struct event *event)
{
    struct link *link = &run->clients[event->client].links[event->edge];
    const int64_t sent_ns = link->ping_sent_ns[event->index % PINGS];

    if (event->epoch != link->epoch || link->ping_next - event->index > PINGS || sent_ns == 0) {
        return; /* not of this connection, or so old that it says nothing */
    }
    load_take(run, link, event);
    link->ping_sent_ns[event->index % PINGS] = 0;
    if (event->bytes > 0) {
        estimate_link_probed(&link->estimate, (uint64_t)event->bytes,
                             (double)(run->now_ns - sent_ns) / (double)NS_PER_MS, run->now_ns);
        return;
    }
    if (estimate_link_rtt(&link->estimate, (double)(run->now_ns - sent_ns) / (double)NS_PER_MS,
                          run->now_ns)) {
        ping_send(run, event->client, event->edge, 0);
    } else if (run->policy->probes && link->estimate.up_bytes_per_ms.count == 0) {
        link_probe(run, event->client, event->edge); /* before the first request asks */
    }
}

static void link_gone(struct run *run, int client, int edge)
{
    struct link *link = &run->clients[client].links[edge];

    link->up_now = false;
    link->epoch++;
    link->flow_count = 0;
    link->in_link_bytes = 0;
    link->redial_ns = run->now_ns;
    memset(link->ping_sent_ns, 0, sizeof(link->ping_sent_ns));
    for (size_t i = 0; i < run->count; i++) {
        struct request *request = &run->requests[i];

        if (request->client == client && request->edge == edge && request->in_edge) {
            request->in_edge = false;
            request->edge_sent_ns = -1;
            request_event(run, request, &(struct job_event_data){.kind = JOB_EDGE_GONE});
        }
    }
}

/* A dial while nothing goes through comes to nothing; the next one is due after a jittered pause.
 */
static void link_dial(struct run *run, int client, int edge)
{
    struct link *link = &run->clients[client].links[edge];
    const double pause_ms = REDIAL_MS + (REDIAL_MAX - REDIAL_MS) * random_unit(&run->random);

    link->redial_ns = run->now_ns + (int64_t)(pause_ms * (double)NS_PER_MS);
    if (trace_at(link->up.trace, run->now_ns + link->up.offset_ns)->bytes_per_ns > 0) {
        const int64_t there_ns = pipe_put(&link->up, DIAL_BYTES, run->now_ns, &run->random);

        event_add(run, &(struct event){.at_ns = run->now_ns + 4 * (there_ns - run->now_ns),
                                       .kind = EVENT_HELLO,
                                       .client = client,
                                       .edge = edge});
    }
}

void on_hello(struct run *run, const struct event *event)
{
    struct link *link = &run->clients[event->client].links[event->edge];

    if (!link->up_now) {
        link->up_now = true;
        link->heard_ns = run->now_ns;
        ping_send(run, event->client, event->edge, 0);
    }
}

void on_watch(struct run *run, const struct event *event)
{
    struct client *client = &run->clients[event->client];
    struct event next = *event;

    for (size_t edge = 0; edge < run->scene->edges; edge++) {
        struct link *link = &client->links[edge];

        if (!link->up_now) {
            if (run->now_ns >= link->redial_ns) {
                link_dial(run, event->client, (int)edge);
            }
        } else if (run->now_ns - link->heard_ns >= IDLE_NS) {
            link_gone(run, event->client, (int)edge);
        } else if (run->now_ns - link->heard_ns >= HEARTBEAT_NS &&
                   run->now_ns - link->pinged_ns >= HEARTBEAT_NS) {
            ping_send(run, event->client, (int)edge, 0);
        }
    }
    next.at_ns = run->now_ns + WATCH_NS;
    event_add(run, &next);
}

void link_probe(struct run *run, int client, int edge)
{
    struct link *link = &run->clients[client].links[edge];
    const double bytes =
        (double)estimate_link_probe_bytes(&link->estimate, PROBE_BYTES, run->now_ns);

    if (link->up_now && owed_ns(run, link) == 0 &&
        estimate_link_probe_due(&link->estimate, run->now_ns)) {
        ping_send(run, client, edge, bytes);
        run->clients[client].probe_bytes += bytes;
    }
}

/* Fills the link from the requests that wait, a frame of each in turn. */
static void link_fill(struct run *run, int client, int edge)
{
    struct link *link = &run->clients[client].links[edge];

    while (link->flow_count > 0 && link->in_link_bytes + LIMIT_FRAME_DATA_BYTES <= QUEUE_BYTES) {
        const size_t index = link->flows[0];
        struct request *request = &run->requests[index];
        const double bytes = fmin(request->bytes_left, LIMIT_FRAME_DATA_BYTES);
        const int64_t there_ns = pipe_put(&link->up, bytes, run->now_ns, &run->random);

        if (request->bytes_left == request->sent_bytes) {
            request->first_byte_ns = run->now_ns;
        }
        link->in_link_bytes += bytes;
        request->bytes_left -= bytes;
        request->up_bytes += bytes;
        memmove(link->flows, link->flows + 1, --link->flow_count * sizeof(link->flows[0]));
        if (request->bytes_left > 0) {
            link->flows[link->flow_count++] = index;
        } else {
            event_add(run, &(struct event){.at_ns = there_ns,
                                           .kind = EVENT_UPLOADED,
                                           .client = client,
                                           .edge = edge,
                                           .index = index,
                                           .sent_ns = request->edge_sent_ns,
                                           .epoch = link->epoch});
        }
        event_add(run, &(struct event){.at_ns = link->up.free_ns,
                                       .kind = EVENT_PULL,
                                       .client = client,
                                       .edge = edge,
                                       .bytes = bytes,
                                       .epoch = link->epoch});
    }
}

void on_pull(struct run *run, const struct event *event)
{
    struct link *link = &run->clients[event->client].links[event->edge];

    if (event->epoch == link->epoch) {
        link->in_link_bytes -= event->bytes;
        link_fill(run, event->client, event->edge);
    }
}

void edge_send(struct run *run, struct request *request)
{
    struct client *client = &run->clients[request->client];
    struct link *link = request->edge >= 0 ? &client->links[request->edge] : NULL;

    if (!link || !link->up_now || link->flow_count == FLOWS_MAX) {
        request_event(run, request, &(struct job_event_data){.kind = JOB_EDGE_GONE});
        return;
    }
    request->in_edge = true;
    request->edge_sent_ns = run->now_ns;
    request->bytes_left = request->sent_bytes;
    link->flows[link->flow_count++] = (size_t)(request - run->requests);
    estimate_edge_sent(&client->edges[request->task][request->edge], run->now_ns);
    if (request->hoped_ms > 0) {
        estimate_edge_hoped(&client->edges[request->task][request->edge], run->now_ns);
    }
    if (owed_ns(run, link) == 0) { /* control frames go first */
        ping_send(run, request->client, request->edge, 0);
    }
    link_fill(run, request->client, request->edge);
}

void edge_cancel(struct run *run, struct request *request)
{
    struct link *link = &run->clients[request->client].links[request->edge];
    const size_t index = (size_t)(request - run->requests);

    request->in_edge = false;
    request->cancel_ns = pipe_ask(&link->up, PING_BYTES, run->now_ns);
    for (size_t i = 0; i < link->flow_count; i++) {
        if (link->flows[i] == index) {
            link->flow_count--;
            memmove(link->flows + i, link->flows + i + 1,
                    (link->flow_count - i) * sizeof(link->flows[0]));
            return;
        }
    }
}

void on_acked(struct run *run, const struct event *event)
{
    struct request *request = &run->requests[event->index];
    struct link *link = &run->clients[event->client].links[event->edge];

    if (event->epoch != link->epoch) {
        return;
    }
    link->heard_ns = run->now_ns;
    request->acked_ms = (double)(run->now_ns - request->first_byte_ns) / (double)NS_PER_MS;
    estimate_link_acked(&link->estimate, (uint64_t)request->sent_bytes,
                        (double)(run->now_ns - request->first_byte_ns) / (double)NS_PER_MS,
                        run->now_ns);
}

static bool answer_is_wanted(struct run *run, const struct event *event)
{
    struct request *request = &run->requests[event->index];
    struct link *link = &run->clients[event->client].links[event->edge];

    if (event->epoch != link->epoch) {
        return false;
    }
    load_take(run, link, event);
    request->down_bytes += ANSWER_BYTES;
    return request->in_edge;
}

/* What an answer teaches. Its way is as the acknowledgement measured it, which came before. */
static void edge_learn(const struct run *run, const struct request *request, struct client *client,
                       const struct event *event)
{
    struct estimate_edge *edge = &client->edges[request->task][event->edge];
    struct estimate_link *link = &client->links[event->edge].estimate;
    const struct latency predicted = {request->predicted_ms, request->predicted_p95_ms};

    estimate_edge_add(edge, request->edge_took_ms - request->made_ms, event->wait_ms,
                      request->acked_ms > 0
                          ? request->acked_ms
                          : estimate_link_ms(link, (uint64_t)request->sent_bytes, run->now_ns),
                      run->now_ns);
    estimate_link_waited(link, event->wait_ms, run->now_ns);
    if (request->edge_took_ms < DECIDE_HOPE_FACTOR * request->hoped_ms) {
        estimate_edge_hope_came_true(edge);
    }
    if (!isnan(request->predicted_ms)) {
        estimate_edge_check(edge, &predicted, request->edge_took_ms);
    }
}

void on_answer(struct run *run, const struct event *event)
{
    struct request *request = &run->requests[event->index];
    struct client *client = &run->clients[event->client];

    if (!answer_is_wanted(run, event)) {
        return;
    }
    request->in_edge = false;
    request->has_answer[JOB_SIDE_EDGE] = true;
    request->edge_took_ms =
        (double)(run->now_ns - request->edge_sent_ns) / (double)NS_PER_MS + request->made_ms;
    edge_learn(run, request, client, event);
    request_event(run, request, &(struct job_event_data){.kind = JOB_EDGE_DONE});
}

void on_refused(struct run *run, const struct event *event)
{
    struct request *request = &run->requests[event->index];

    if (answer_is_wanted(run, event)) {
        request->in_edge = false;
        request_event(run, request,
                      &(struct job_event_data){.kind = JOB_EDGE_FAILED, .error = TANDEM_ELATE});
    }
}
