#include "client/policy/insurance.h"
#include "tests/sim/run.h"

#include <math.h>

const struct decide_weights sim_weights = {.one_miss_ms = ONE_MISS_MS,
                                           .one_megabyte_ms = ONE_MEGABYTE_MS,
                                           .one_error_ms = ONE_ERROR_MS,
                                           .one_joule_ms = ONE_JOULE_MS};
const struct decide_energy sim_energy = {LOCAL_WATT, SEND_J_PER_BYTE, 0};

/* The daemon's own way to a decision: from the same estimators, filled by the same
 * client/policy/decide_fill.h, for the same decide(). */
static const double thresholds[SIM_TASKS] = {0.8, 0.9}; /* as shipped in deploy/config/tasks.d */
static const double expected_errors[SIM_TASKS] = {0.14, 0.02};

static void edges_fill(const struct run *run, const struct request *request,
                       const struct estimate_task *here, struct decide_edge *edges)
{
    static const char *const names[SIM_EDGES_MAX] = {"a", "b"};
    const struct client *client = &run->clients[request->client];

    for (size_t i = 0; i < run->scene->edges; i++) {
        const struct link *link = &client->links[i];
        const struct edge_estimates estimates = {.edge = &client->edges[request->task][i],
                                                 .link = &link->estimate,
                                                 .hint_ms = edge_hint_ms(client, link, request),
                                                 .here_ms = estimate_task_ms(here)};

        edges[i] = (struct decide_edge){.name = names[i],
                                        .unusable = link->up_now ? NULL : "no edge connected",
                                        .trouble = link->up_now ? EDGE_FINE : EDGE_DOWN,
                                        .silent = link_silent(run, link)};
        if (request->task == 0) {
            forms_fill(run, request, i, &edges[i]);
        }
        decide_fill_edge(&estimates, request->pair->bytes, run->now_ns, &edges[i]);
    }
}

static bool insured_of(const struct run *run, const struct client *client, const struct request *at,
                       struct decide_insured *ret_insured)
{
    const bool steps = client->stepping && at == &run->requests[client->stepped];
    const struct estimate_task here = local_estimate(client, at);

    if (!insurance_of(&at->job, &here, at->local_out || steps, at->ended, 0, ret_insured)) {
        return false;
    }
    insurance_credit(ret_insured, (int64_t)(at->local_run_ms * (double)NS_PER_MS),
                     steps ? client->step_began_ns : 0, run->now_ns);
    return true;
}

static size_t insured_fill(struct run *run, const struct request *than,
                           struct decide_insured *insured)
{
    const struct client *client = &run->clients[than->client];
    const struct request *stepped = client->stepping ? &run->requests[client->stepped] : NULL;
    size_t count = 0;

    if (stepped && !stepped->local_out) { /* cancelled: its step goes on to the end */
        count += insured_of(run, client, stepped, &insured[count]);
    }
    for (size_t i = 0; i < client->open_count && count < INSURED_MAX; i++) {
        const struct request *at = &run->requests[client->open[i]];

        if (insurance_has_run(&at->job, at->local_out, at->ended)) {
            count += insured_of(run, client, at, &insured[count]);
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
    struct client *client = &run->clients[request->client];
    const struct estimate_task here = local_estimate(client, request);
    struct decide_edge edges[SIM_EDGES_MAX];
    struct decide_insured insured[INSURED_MAX];
    struct choice choice;
    struct decide_input input = {.weights = sim_weights,
                                 .energy = sim_energy,
                                 .check_ms = check_purse_take(&client->checks[request->task]),
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

    decide_fill_local(&here, local_queue_ms(run, request, false), 0, &input);
    edges_fill(run, request, &here, edges);
    for (size_t i = 0; i < run->scene->edges; i++) {
        request->edge_usable |= !edges[i].unusable && !edges[i].silent;
    }
    request->edge_wanted = informed_would_ask(run, request);
    input.insured_count = insured_fill(run, request, insured);
    (void)decide(&input, &choice);
    check_purse_decided(&client->checks[request->task], &choice);
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
            request->probes[i] = true;
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
