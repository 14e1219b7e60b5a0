#include "client/policy/insurance.h"
#include "tests/sim/run.h"

#include <math.h>

/* The daemon's own way to a decision: what client/daemon/request_decide.c fills in, from the same
 * estimators, for the same decide(). */
static const double thresholds[SIM_TASKS] = {0.8, 0.9}; /* as shipped in deploy/config/tasks.d */
static const double expected_errors[SIM_TASKS] = {0.14, 0.02};

static void edges_fill(const struct run *run, const struct request *request,
                       struct decide_edge *edges)
{
    static const char *const names[SIM_EDGES_MAX] = {"a", "b"};
    const struct client *client = &run->clients[request->client];

    for (size_t i = 0; i < run->scene->edges; i++) {
        const struct link *link = &client->links[i];
        const struct estimate_edge *estimate = &client->edges[request->task][i];
        double hint_ms = edge_hint_ms(client, link, request);

        if (hint_ms <= 0) {
            hint_ms = local_mean_ms(client, request);
        }
        edges[i] = (struct decide_edge){
            .name = names[i],
            .unusable = link->up_now ? NULL : "no edge connected",
            .trouble = link->up_now ? EDGE_FINE : EDGE_DOWN,
            .silent = link_silent(run, link),
            .failure = estimate_edge_failure(estimate, &link->estimate, run->now_ns),
            .retry_due = estimate_edge_retry_due(estimate, run->now_ns),
            .best_ms = estimate_edge_best_ms(estimate, &link->estimate, request->pair->bytes,
                                             hint_ms, run->now_ns)};
        edges[i].latency_known =
            estimate_edge_get(estimate, &link->estimate, request->pair->bytes,
                              estimate_link_wait_ms(&link->estimate, run->now_ns), hint_ms,
                              run->now_ns, &edges[i].latency);
        if (request->task == 0) {
            forms_fill(run, request, i, hint_ms, &edges[i]);
        }
    }
}

static bool has_run(const struct request *request)
{
    return request->local_out || (!request->ended && request->job.plan.insure_at_ns != 0 &&
                                  request->job.side[JOB_SIDE_LOCAL] == JOB_SIDE_IDLE &&
                                  request->job.side[JOB_SIDE_EDGE] == JOB_SIDE_RUNNING);
}

static struct decide_insured insured_of(const struct run *run, const struct client *client,
                                        const struct request *at)
{
    const struct job_plan *plan = &at->job.plan;

    const bool steps = client->stepping && at == &run->requests[client->stepped];
    struct decide_insured insured = {
        .start_ns = at->local_out || at->ended ? 0 : plan->insure_at_ns,
        .deadline_ns = at->ended || plan->yields ? INSURED_NO_DEADLINE : plan->deadline_ns,
        .run_ns = (int64_t)(local_bound_ms(client, at) * (double)NS_PER_MS),
        .step_ns = (int64_t)(local_step_ms(client, at) * (double)NS_PER_MS),
        .margin_ns = (int64_t)(ESTIMATE_MARGIN_MS * (double)NS_PER_MS)};

    insurance_credit(&insured, (int64_t)(at->local_run_ms * (double)NS_PER_MS),
                     steps ? client->step_began_ns : 0, run->now_ns);
    return insured;
}

static size_t insured_fill(struct run *run, const struct request *than,
                           struct decide_insured *insured)
{
    const struct client *client = &run->clients[than->client];
    const struct request *stepped = client->stepping ? &run->requests[client->stepped] : NULL;
    size_t count = 0;

    if (stepped && !stepped->local_out) { /* cancelled: its step goes on to the end */
        insured[count++] = insured_of(run, client, stepped);
    }
    for (size_t i = 0; i < client->open_count && count < INSURED_MAX; i++) {
        const struct request *at = &run->requests[client->open[i]];

        if (has_run(at)) {
            insured[count++] = insured_of(run, client, at);
        }
    }
    return count;
}

static void pull_in(struct run *run, const struct client *client)
{
    for (size_t i = 0; i < client->open_count; i++) {
        struct request *at = &run->requests[client->open[i]];

        if (!at->ended && at->job.started) {
            request_event(run, at, &(struct job_event_data){.kind = JOB_PULL_IN});
        }
    }
}

void tandem_choose(struct run *run, struct request *request)
{
    const struct client *client = &run->clients[request->client];
    struct decide_edge edges[SIM_EDGES_MAX];
    struct decide_insured insured[INSURED_MAX];
    struct choice choice;
    struct decide_input input = {.weights = {.one_miss_ms = ONE_MISS_MS,
                                             .one_megabyte_ms = ONE_MEGABYTE_MS,
                                             .one_error_ms = ONE_ERROR_MS,
                                             .one_joule_ms = ONE_JOULE_MS},
                                 .energy = {LOCAL_WATT, SEND_J_PER_BYTE},
                                 .local_run_ms = local_mean_ms(client, request),
                                 .has_local = true,
                                 .threshold = thresholds[request->task],
                                 .confidence = &client->confidence[request->task],
                                 .edge_error = expected_errors[request->task],
                                 .up_bytes = request->pair->bytes,
                                 .now_ns = run->now_ns,
                                 .deadline_ns = request->deadline_ns,
                                 .edges = edges,
                                 .edge_count = run->scene->edges,
                                 .insured = insured};

    input.local_known =
        local_latency(client, request, local_queue_ms(run, request, false), &input.local);
    input.local_bound_ms = local_bound_ms(client, request);
    input.local_step_ms = local_step_ms(client, request);
    input.margin_ms = ESTIMATE_MARGIN_MS;
    edges_fill(run, request, edges);
    for (size_t i = 0; i < run->scene->edges; i++) {
        request->edge_usable |= !edges[i].unusable && !edges[i].silent;
    }
    request->edge_wanted = informed_would_ask(run, request);
    input.insured_count = insured_fill(run, request, insured);
    (void)decide(&input, &choice);
    if (choice.pull_in) {
        pull_in(run, client);
    }
    request->plan = choice.plan;
    request->edge = choice.edge;
    request->hoped_ms = choice.hoped_ms;
    for (size_t i = 0; i < run->scene->edges; i++) {
        if (choice.edge != (int)i ||
            (choice.upload_reason &&
             !estimate_link_measured_by(&client->links[i].estimate,
                                        (uint64_t)choice.candidates[choice.asked].upload.bytes,
                                        run->now_ns)) ||
            (choice.plan.route == JOB_CASCADE && !choice.plan.race)) {
            link_probe(run, request->client, (int)i);
        }
    }
    if (choice.asked < choice.count) {
        form_take(run, request, &choice.candidates[choice.asked].upload);
    }
    if (choice.asked < choice.count && choice.candidates[choice.asked].latency_known) {
        request->predicted_ms = choice.candidates[choice.asked].latency.mean_ms;
        request->predicted_p95_ms = choice.candidates[choice.asked].latency.p95_ms;
    }
}
