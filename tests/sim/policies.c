#include "tests/sim/run.h"

#include <math.h>
#include <string.h>

/* The rules that others use, each with the product's own link, runner and job, so that what is
 * compared is the choice alone. */

#define SWITCH_BOUND_MS 50.0 /* FogROS2's default bound on the mean */
#define SWITCH_PROBE_NS (10 * NS_PER_S)
#define PRICE_PRIOR_MS  30.0
#define LCB_ALPHA       0.52

static struct client *client_of(struct run *run, const struct request *request)
{
    return &run->clients[request->client];
}

/* What an edge's answer is predicted to take, from means: its queue, the link, the service. Of the
 * fastest; INFINITY and -1: none is connected, or nothing is known. */
static double edge_mean_ms(const struct run *run, const struct request *request, int *ret_edge)
{
    const struct client *client = &run->clients[request->client];
    double best_ms = INFINITY;

    *ret_edge = -1;
    for (size_t i = 0; i < run->scene->edges; i++) {
        const struct link *link = &client->links[i];
        struct latency latency;

        if (link->up_now &&
            estimate_edge_get(&client->edges[request->task][i], &link->estimate,
                              request->pair->bytes,
                              estimate_link_wait_ms(&link->estimate, run->now_ns),
                              edge_hint_ms(client, link, request), run->now_ns, &latency) &&
            latency.mean_ms < best_ms) {
            best_ms = latency.mean_ms;
            *ret_edge = (int)i;
        }
    }
    return best_ms;
}

/* The connected edge of the smaller predicted mean, and before anything is known of them the
 * first; -1: none is connected. */
static int edge_connected(const struct run *run, const struct request *request)
{
    int edge;

    (void)edge_mean_ms(run, request, &edge);
    for (size_t i = 0; edge < 0 && i < run->scene->edges; i++) {
        if (run->clients[request->client].links[i].up_now) {
            edge = (int)i;
        }
    }
    return edge;
}

static void go_edge(struct request *request, int edge, bool local_allowed)
{
    request->plan.route = JOB_EDGE;
    request->plan.local_allowed = local_allowed;
    request->edge = edge;
}

static void go_cascade(struct run *run, struct request *request, double threshold)
{
    request->plan.route = JOB_CASCADE;
    request->plan.threshold = threshold;
    request->edge = edge_connected(run, request);
}

static void local_choose(struct run *run, struct request *request)
{
    (void)run, (void)request;
}

static void edge_choose(struct run *run, struct request *request)
{
    go_edge(request, edge_connected(run, request), false);
}

static void random_choose(struct run *run, struct request *request)
{
    if (random_unit(&run->random) < run->random_rate) {
        go_edge(request, edge_connected(run, request), true);
    }
}

static void threshold_choose(struct run *run, struct request *request)
{
    go_cascade(run, request, run->threshold);
}

static void availability_choose(struct run *run, struct request *request)
{
    const int edge = edge_connected(run, request);

    if (edge >= 0) {
        go_edge(request, edge, true);
    }
}

/* The smaller of both predicted latencies (arXiv 2504.15162). */
static void latency_choose(struct run *run, struct request *request)
{
    const struct estimate_task here = local_estimate(client_of(run, request), request);
    int edge;
    const double edge_ms = edge_mean_ms(run, request, &edge);

    if (edge >= 0 && edge_ms < local_queue_ms(run, request, false) + estimate_task_ms(&here)) {
        go_edge(request, edge, false);
    }
}

static double window_mean(const double *window, size_t count)
{
    const size_t held = count < SWITCH_WINDOW ? count : SWITCH_WINDOW;
    double sum = 0;

    for (size_t i = 0; i < held; i++) {
        sum += window[i];
    }
    return held ? sum / (double)held : 0;
}

/* The whole service stays where it is while its mean latency keeps the bound and the link lives;
 * else it moves. What it left is tried anew now and then (FogROS2's latency scheduler). */
static void switch_choose(struct run *run, struct request *request)
{
    struct client *client = client_of(run, request);
    const int edge = edge_connected(run, request);
    bool broken;

    broken = client->on_edge
                 ? edge < 0 ||
                       window_mean(client->edge_window_ms, client->edge_windowed) > SWITCH_BOUND_MS
                 : window_mean(client->local_window_ms, client->local_windowed) > SWITCH_BOUND_MS ||
                       run->now_ns - client->probed_ns > SWITCH_PROBE_NS;
    if (broken) {
        client->on_edge = !client->on_edge && edge >= 0;
        client->edge_windowed = client->local_windowed = 0;
        client->probed_ns = run->now_ns;
    }
    if (client->on_edge && edge >= 0) {
        go_edge(request, edge, true);
    }
}

static void race_choose(struct run *run, struct request *request)
{
    const int edge = edge_connected(run, request);

    if (edge >= 0) {
        go_edge(request, edge, true);
        request->plan.race = true;
    }
}

/* HI-LCB with one price for all requests: the mean of what the edge has cost so far. A local answer
 * of a confidence whose error is surely under the price stays, and since P(right) rises with the
 * confidence every surer one, too: the threshold is the lowest such bin. */
static void hi_lcb_choose(struct run *run, struct request *request)
{
    const struct client *client = client_of(run, request);
    const struct confidence *confidence = &client->confidence[request->task];
    const double price = (PRICE_PRIOR_MS + client->price_sum) / (1 + (double)client->price_count);
    double all = 1;
    size_t bin = 0;

    for (size_t i = 0; i < CONFIDENCE_BINS; i++) {
        all += (double)confidence->both[i];
    }
    for (; bin < CONFIDENCE_BINS; bin++) {
        const double both = (double)confidence->both[bin];
        const double mean = both > 0 ? (double)confidence->agreed[bin] / both : 0;
        const double bound = both > 0 ? mean - sqrt(LCB_ALPHA * log(all) / both) : 0;

        if (ONE_ERROR_MS * (1 - bound) <= price) {
            break;
        }
    }
    go_cascade(run, request, (double)bin / CONFIDENCE_BINS);
}

/* ---- those who know ---- */

static double plain_cost(const struct request *request, double done_ms, double error, double bytes,
                         double joule)
{
    const double left_ms = (double)(request->deadline_ns - request->start_ns) / (double)NS_PER_MS;

    return done_ms + ONE_ERROR_MS * error + (done_ms > left_ms ? ONE_MISS_MS : 0) +
           ONE_MEGABYTE_MS * bytes / 1e6 + ONE_JOULE_MS * joule;
}

/* When an answer of this edge to `bytes`, ready to go at `at_ns`, would be here if nobody else
 * came. */
static double edge_true_ms(const struct run *run, const struct request *request, size_t edge,
                           double bytes, int64_t at_ns)
{
    const struct link *link = &run->clients[request->client].links[edge];
    double way_ms, wait_ms;

    at_ns = pipe_ask(&link->up, bytes, at_ns);
    way_ms = (double)(at_ns - run->now_ns) / (double)NS_PER_MS;
    wait_ms = fmax(edge_wait_ms(run, edge) - way_ms, 0);
    at_ns += (int64_t)((wait_ms + request->edge_ms) * (double)NS_PER_MS);
    at_ns = pipe_ask(&link->down, ANSWER_BYTES, at_ns);
    return link->up_now ? (double)(at_ns - run->now_ns) / (double)NS_PER_MS : INFINITY;
}

/* What those who know believe of the errors: how often answers this sure are wrong, or whether
 * these are. */
struct known {
    double local_error, edge_error;
    double form_error[SIM_FORMS];
};

/* What asking this edge costs; *ret_form is the form of the picture that is best sent, SIM_FORMS
 * what came. */
static double edge_cost(const struct run *run, const struct request *request,
                        const struct known *known, size_t edge, size_t *ret_form)
{
    const size_t first = request->task == 0 && !run->as_they_came ? 0 : SIM_FORMS;
    double best = INFINITY;

    *ret_form = SIM_FORMS;
    for (size_t form = first; form <= SIM_FORMS; form++) {
        const bool smaller = form < SIM_FORMS;
        const double made_ms = smaller ? form_made_ms(run->pairs, form) : 0;
        const double bytes =
            smaller ? request->pair->forms[form].bytes : (double)request->pair->bytes;
        const double cost = plain_cost(
            request,
            edge_true_ms(run, request, edge, bytes,
                         run->now_ns + (int64_t)(made_ms * (double)NS_PER_MS)),
            smaller ? known->form_error[form] : known->edge_error, bytes + ANSWER_BYTES,
            LOCAL_WATT * made_ms / 1000 + SEND_J_PER_BYTE * bytes + RECV_J_PER_BYTE * ANSWER_BYTES);

        if (cost < best) {
            best = cost;
            *ret_form = form;
        }
    }
    return best;
}

static void knowing_choose(struct run *run, struct request *request, const struct known *known)
{
    const double local_ms = local_queue_ms(run, request, true) + request->local_ms;
    double best =
        plain_cost(request, local_ms, known->local_error, 0, LOCAL_WATT * request->local_ms / 1000);
    size_t best_form = SIM_FORMS;

    for (size_t i = 0; i < run->scene->edges; i++) {
        size_t form;
        const double cost = edge_cost(run, request, known, i, &form);

        if (cost < best) {
            best = cost;
            best_form = form;
            go_edge(request, (int)i, true);
        }
    }
    if (best_form < SIM_FORMS) {
        form_take_number(run, request, best_form);
    }
}

static void informed_choose(struct run *run, struct request *request)
{
    const struct pair *pair = request->pair;
    struct known known = {.local_error = 1 - pair->local_true, .edge_error = 1 - pair->edge_true};

    for (size_t i = 0; i < SIM_FORMS; i++) {
        known.form_error[i] = known.edge_error + run->pairs->forms[i].loss;
    }
    knowing_choose(run, request, &known);
}

bool informed_would_ask(struct run *run, const struct request *request)
{
    struct request other = *request;

    other.edge = -1;
    informed_choose(run, &other);
    return other.edge >= 0;
}

static void oracle_choose(struct run *run, struct request *request)
{
    const struct pair *pair = request->pair;
    struct known known = {.local_error = !pair->local_right, .edge_error = !pair->edge_right};

    for (size_t i = 0; i < SIM_FORMS; i++) {
        known.form_error[i] = !pair->forms[i].right;
    }
    knowing_choose(run, request, &known);
}

const struct policy policies[] = {
    {"local", local_choose, false, false},
    {"edge", edge_choose, false, false},
    {"threshold", threshold_choose, false, false},
    {"availability", availability_choose, false, false},
    {"latency", latency_choose, false, false},
    {"switch", switch_choose, false, false},
    {"race", race_choose, false, false},
    {"hi_lcb", hi_lcb_choose, false, false},
    {"hindsight", threshold_choose, true, false},
    {"informed", informed_choose, false, false},
    {"oracle", oracle_choose, false, false},
    {"tandem", tandem_choose, false, true},
    {"random", random_choose, false, false},
    {NULL, NULL, false, false},
};

const struct policy *policy_find(const char *name)
{
    for (const struct policy *at = policies; at->name; at++) {
        if (strcmp(at->name, name) == 0) {
            return at;
        }
    }
    return NULL;
}
