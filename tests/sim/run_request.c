#include "tests/sim/run.h"

#include "common/base/error.h"

#include <math.h>

/* What client/daemon/requests.c does: the job's actions, carried out in order. */

static double ms_between(int64_t from_ns, int64_t to_ns)
{
    return (double)(to_ns - from_ns) / (double)NS_PER_MS;
}

/* What switch and hi_lcb go by. */
static void windows_add(struct client *client, const struct request *request)
{
    if (request->plan.route == JOB_EDGE) {
        client->edge_window_ms[client->edge_windowed++ % SWITCH_WINDOW] = request->latency_ms;
    } else {
        client->local_window_ms[client->local_windowed++ % SWITCH_WINDOW] = request->latency_ms;
    }
    if (request->up_bytes > 0) {
        const double left_ms = request->latency_ms - request->local_run_ms;

        client->price_sum += left_ms + ONE_MEGABYTE_MS * request->up_bytes / 1e6;
        client->price_count++;
    }
}

static void request_end(struct run *run, struct request *request, const struct job_action *action)
{
    struct client *client = &run->clients[request->client];

    request->ended = true;
    request->latency_ms = ms_between(request->start_ns, run->now_ns);
    request->delivered = action->kind == JOB_DELIVER;
    request->late = !request->delivered || (action->flags & JOB_FLAG_LATE) != 0;
    request->by = action->side;
    windows_add(client, request);
    if (request->has_answer[JOB_SIDE_LOCAL] && request->has_answer[JOB_SIDE_EDGE]) {
        confidence_compare(&client->confidence[request->task], request->pair->confidence,
                           request_agrees(request));
    }
    for (size_t i = 0; i < run->scene->edges; i++) {
        if (request->probes[i]) { /* behind it: in front it would be in its way */
            link_probe(run, request->client, (int)i);
        }
    }
}

/* The edge will not be waited for any longer: if that was long, it is learned from. */
static void edge_given_up(struct run *run, struct request *request)
{
    struct client *client = &run->clients[request->client];
    const double waited_ms = ms_between(request->edge_sent_ns, run->now_ns);
    const double asked_ms = waited_ms + (request->asked_ns ? request->made_ms : 0);

    const struct latency predicted = {request->predicted_ms, request->predicted_p95_ms};

    request->waited_ms = waited_ms;
    if (asked_ms > request->predicted_p95_ms) {
        estimate_edge_check(&client->edges[request->task][request->edge], &predicted, asked_ms);
        estimate_edge_failed(&client->edges[request->task][request->edge], waited_ms, run->now_ns);
    }
    if (run->now_ns >= request->deadline_ns || asked_ms > request->predicted_ms) {
        estimate_edge_overdue(&client->edges[request->task][request->edge],
                              &client->links[request->edge].estimate, waited_ms, run->now_ns);
    }
}

void request_event(struct run *run, struct request *request, const struct job_event_data *data)
{
    struct job_actions actions;

    if (request->ended || job_event(&request->job, data, run->now_ns, &actions) != 0) {
        return;
    }
    for (size_t i = 0; i < actions.count && !request->ended; i++) {
        const struct job_action *action = &actions.items[i];
        const int64_t whole_ns = (action->at_ns + NS_PER_MS - 1) / NS_PER_MS * NS_PER_MS;

        switch (action->kind) {
        case JOB_START_LOCAL:
            local_start(run, request);
            break;
        case JOB_CANCEL_LOCAL:
            local_cancel(run, request);
            break;
        case JOB_SEND_EDGE:
            if (!form_begin(run, request)) {
                edge_send(run, request);
            }
            break;
        case JOB_CANCEL_EDGE:
            if (!request->making) { /* else nothing was sent */
                edge_given_up(run, request);
                edge_cancel(run, request);
            }
            break;
        case JOB_ARM_TIMER: /* the loop's timers count whole milliseconds */
            event_add(run, &(struct event){.at_ns = whole_ns,
                                           .kind = EVENT_TIMER,
                                           .index = (size_t)(request - run->requests)});
            break;
        case JOB_PASS_TOKENS:
            break;
        case JOB_DELIVER:
        case JOB_FAIL:
            request_end(run, request, action);
            break;
        }
    }
}

void on_timer(struct run *run, const struct event *event)
{
    request_event(run, &run->requests[event->index], &(struct job_event_data){.kind = JOB_TIMER});
}

static void open_add(struct run *run, struct client *client, size_t index)
{
    size_t kept = 0;

    for (size_t i = 0; i < client->open_count; i++) {
        if (!run->requests[client->open[i]].ended) {
            client->open[kept++] = client->open[i];
        }
    }
    client->open_count = kept;
    if (kept < FLOWS_MAX) {
        client->open[client->open_count++] = index;
    }
}

void on_arrive(struct run *run, const struct event *event)
{
    struct request *request = &run->requests[event->index];

    request->plan = (struct job_plan){.route = JOB_LOCAL,
                                      .local_allowed = true,
                                      .deadline_ns = request->deadline_ns,
                                      .handover_ns = LIMIT_HANDOVER_US * NS_PER_US};
    run->policy->choose(run, request);
    open_add(run, &run->clients[request->client], event->index);
    job_init(&request->job, &request->plan);
    request_event(run, request, &(struct job_event_data){.kind = JOB_START});
}
