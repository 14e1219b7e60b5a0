#include "tests/sim/run.h"

#include "common/base/error.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DRAIN_NS       (5 * NS_PER_S)
#define SERVICE_SPREAD 0.08 /* of a run's time around the middle */
#define SERVICE_BOUND  0.25 /* never more than so much over it */
#define WATCH_FIRST_NS (50 * NS_PER_MS)

static bool event_before(const struct event *a, const struct event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

void event_add(struct run *run, const struct event *event)
{
    size_t at;

    if (run->heap_count == run->heap_size) {
        const size_t size = run->heap_size ? 2 * run->heap_size : 4096;
        struct event *grown = realloc(run->heap, size * sizeof(*grown));

        if (!grown) {
            run->failed = true;
            return;
        }
        run->heap = grown;
        run->heap_size = size;
    }
    at = run->heap_count++;
    run->heap[at] = *event;
    run->heap[at].order = run->order++;
    while (at > 0 && event_before(&run->heap[at], &run->heap[(at - 1) / 2])) {
        const struct event swap = run->heap[at];

        run->heap[at] = run->heap[(at - 1) / 2];
        run->heap[(at - 1) / 2] = swap;
        at = (at - 1) / 2;
    }
}

bool event_take(struct run *run, struct event *ret_event)
{
    size_t at = 0;

    if (run->heap_count == 0) {
        return false;
    }
    *ret_event = run->heap[0];
    run->heap[0] = run->heap[--run->heap_count];
    for (;;) {
        size_t least = at;
        struct event swap;

        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < run->heap_count; child++) {
            least = event_before(&run->heap[child], &run->heap[least]) ? child : least;
        }
        if (least == at) {
            return true;
        }
        swap = run->heap[at];
        run->heap[at] = run->heap[least];
        run->heap[least] = swap;
        at = least;
    }
}

static double service_factor(struct random_source *random)
{
    double normal = -6;

    for (int i = 0; i < 12; i++) {
        normal += random_unit(random);
    }
    return fmax(1 + fmin(SERVICE_SPREAD * normal, SERVICE_BOUND), 0.5);
}

/* Streams: all their frames at the same moment, one period after the other. */
static double arrival_next_s(const struct scene *scene, int task, double before_s, size_t count,
                             struct random_source *random)
{
    const double gap_s = -log(1 - random_unit(random)) / task_kinds[task].per_s;

    return task == 0 && scene->streams > 0
               ? (double)(count / scene->streams) * (double)scene->period_ns / (double)NS_PER_S
               : before_s + gap_s;
}

static double heaviness(const struct scene *scene, int task, int64_t start_ns)
{
    const double picture = task == 0 && scene->picture_times > 0 ? scene->picture_times : 1;

    return picture *
           (scene->slow_times > 0 && start_ns >= scene->slow_from_ns ? scene->slow_times : 1);
}

/* All requests of one client and one task, in the order of time; where `requests` is NULL they are
 * only counted. */
static size_t arrivals_make(const struct run *run, int client, int task, struct request *requests)
{
    struct random_source random;
    size_t count = 0;
    double at_s = 0;

    random_seed(&random, run->seed * 1000003 + (uint64_t)client * SIM_TASKS + (uint64_t)task);
    for (;;) {
        const size_t first = run->pairs->first[task];
        const struct pair *pair;
        double local, edge;

        at_s = arrival_next_s(run->scene, task, at_s, count, &random);
        if (at_s * (double)NS_PER_S >= (double)run->length_ns) {
            return count;
        }
        pair =
            &run->pairs->items[first + random_below(&random, run->pairs->first[task + 1] - first)];
        local = service_factor(&random);
        edge = service_factor(&random);
        if (requests) {
            struct request *request = &requests[count];

            memset(request, 0, sizeof(*request));
            request->client = client;
            request->task = task;
            request->pair = pair;
            request->start_ns = NS_PER_S + (int64_t)(at_s * (double)NS_PER_S);
            request->deadline_ns = request->start_ns + task_kinds[task].deadline_ns;
            request->local_ms =
                pair->local_ms * local * heaviness(run->scene, task, request->start_ns);
            request->edge_ms = pair->edge_ms * edge;
            request->edge = -1;
            request->sent_bytes = (double)pair->bytes;
            request->predicted_ms = request->predicted_p95_ms = request->edge_took_ms = NAN;
        }
        count++;
    }
}

static void client_make(struct run *run, size_t at)
{
    struct client *client = &run->clients[at];
    struct random_source random;

    random_seed(&random, run->seed * 7919 + (run->scene->same_start ? 0 : at));
    for (size_t edge = 0; edge < run->scene->edges; edge++) {
        struct link *link = &client->links[edge];
        const struct trace *trace = &run->scene->up[edge];

        if (edge == 0) {
            link->up.offset_ns = (int64_t)(random_unit(&random) * (double)trace->length_ns);
            link->up.offset_ns = run->scene->from_start ? 0 : link->up.offset_ns;
        } else {
            link->up.offset_ns = client->links[0].up.offset_ns; /* one place, seen by both */
        }
        link->up.trace = link->down.trace = trace;
        link->down.offset_ns = link->up.offset_ns;
        estimate_link_init(&link->estimate);
        link->redial_ns = 0; /* it is dialled at once */
    }
    estimate_local_init(&client->pictures);
    estimate_text_init(&client->text);
    for (int task = 0; task < SIM_TASKS; task++) { /* the daemon's first run of each */
        const struct pair *pair =
            &run->pairs->items[(run->pairs->first[task] + run->pairs->first[task + 1]) / 2];

        local_learn(
            client,
            &(struct request){.task = task,
                              .pair = pair,
                              .local_run_ms = pair->local_ms * heaviness(run->scene, task, 0)},
            false);
        confidence_init(&client->confidence[task]);
        for (size_t edge = 0; edge < run->scene->edges; edge++) {
            estimate_edge_init(&client->edges[task][edge]);
        }
    }
    event_add(run,
              &(struct event){.at_ns = WATCH_FIRST_NS, .kind = EVENT_WATCH, .client = (int)at});
}

int run_make(struct run *run)
{
    size_t at = 0;

    random_seed(&run->random, run->seed);
    run->count = 0;
    for (int client = 0; client < (int)run->client_count; client++) {
        for (int task = 0; task < SIM_TASKS; task++) {
            run->count += arrivals_make(run, client, task, NULL);
        }
    }
    run->requests = malloc(sizeof(*run->requests) * (run->count + 1));
    run->clients = calloc(run->client_count, sizeof(*run->clients));
    for (size_t edge = 0; edge < SIM_EDGES_MAX; edge++) {
        run->edges[edge].queue = malloc(sizeof(size_t) * (run->count + 1));
        run->failed |= !run->edges[edge].queue;
    }
    if (!run->requests || !run->clients || run->failed) {
        return TANDEM_ENOMEM;
    }
    for (int client = 0; client < (int)run->client_count; client++) {
        for (int task = 0; task < SIM_TASKS; task++) {
            at += arrivals_make(run, client, task, &run->requests[at]);
        }
        client_make(run, (size_t)client);
    }
    for (size_t i = 0; i < run->count; i++) {
        event_add(run, &(struct event){
                           .at_ns = run->requests[i].start_ns, .kind = EVENT_ARRIVE, .index = i});
    }
    return run->failed ? TANDEM_ENOMEM : 0;
}

void run_go(struct run *run)
{
    static void (*const handlers[])(struct run *, const struct event *) = {
        [EVENT_ARRIVE] = on_arrive, [EVENT_TIMER] = on_timer,       [EVENT_STEP] = on_step,
        [EVENT_PULL] = on_pull,     [EVENT_UPLOADED] = on_uploaded, [EVENT_ACKED] = on_acked,
        [EVENT_BATCH] = on_batch,   [EVENT_ANSWER] = on_answer,     [EVENT_REFUSED] = on_refused,
        [EVENT_PING] = on_ping,     [EVENT_PONG] = on_pong,         [EVENT_WATCH] = on_watch,
        [EVENT_HELLO] = on_hello,   [EVENT_MADE] = on_made,
    };
    const int64_t end_ns = run->length_ns + NS_PER_S + DRAIN_NS;
    struct event event;

    while (event_take(run, &event) && event.at_ns <= end_ns) {
        run->now_ns = event.at_ns;
        handlers[event.kind](run, &event);
    }
}

void run_fini(struct run *run)
{
    free(run->requests);
    free(run->clients);
    free(run->heap);
    for (size_t edge = 0; edge < SIM_EDGES_MAX; edge++) {
        free(run->edges[edge].queue);
    }
}
