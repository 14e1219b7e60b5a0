#include "tests/sim/measure.h"

#include "common/base/error.h"
#include "common/base/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define OUTAGE_FIRST_NS (3 * NS_PER_S) /* before that nothing was known of the edge */

static double energy_of(const struct request *request)
{
    return LOCAL_WATT * (request->local_run_ms + request->made_ms) / 1000 +
           SEND_J_PER_BYTE * request->up_bytes + RECV_J_PER_BYTE * request->down_bytes;
}

static bool is_right(const struct request *request)
{
    return request->delivered && (request->by == JOB_SIDE_EDGE ? request_edge_right(request)
                                                               : request->pair->local_right);
}

double request_cost(const struct request *request)
{
    return request->latency_ms + (request->late ? ONE_MISS_MS : 0) +
           (is_right(request) ? 0 : ONE_ERROR_MS) +
           ONE_MEGABYTE_MS * (request->up_bytes + request->down_bytes) / 1e6 +
           ONE_JOULE_MS * energy_of(request);
}

/* Compute time whose result nobody got. */
static double wasted_of(const struct request *request)
{
    const bool edge = request->delivered && request->by == JOB_SIDE_EDGE;
    const bool local = request->delivered && request->by == JOB_SIDE_LOCAL;

    return (local ? 0 : request->local_run_ms) + (edge ? 0 : request->edge_run_ms);
}

static void predictions_take(const struct run *run, double *scratch, struct measures *measures)
{
    size_t count = 0, covered = 0;

    for (size_t i = 0; i < run->count; i++) {
        const struct request *request = &run->requests[i];

        if (isnan(request->predicted_ms) || request->edge_sent_ns == 0) {
            continue;
        }
        if (!isnan(request->edge_took_ms)) {
            scratch[count++] =
                fabs(request->predicted_ms - request->edge_took_ms) / request->edge_took_ms;
            covered += request->edge_took_ms <= request->predicted_p95_ms;
            measures->p95_count++;
        } else if (request->waited_ms > request->predicted_p95_ms) {
            measures->p95_count++; /* given up after that */
        }
    }
    measures->latency_error = quantile_of(scratch, count, 0.5);
    measures->p95_coverage = (double)covered / (double)measures->p95_count; /* of none: NAN */
}

/* A time of nothing at all, a second or longer, of one client's link, and the time after it. */
struct outage {
    int64_t ends_ns, next_ns; /* next_ns: when the next one begins; not after the run's end */
};

static bool bin_is_dead(const struct trace *trace, size_t bin)
{
    return trace->bins[bin % trace->count].bytes_per_ns <= 0;
}

/* When bin `bin` of a trace that repeats begins; any number. */
static int64_t bin_begins_ns(const struct trace *trace, size_t bin)
{
    return trace->bins[bin % trace->count].at_ns + (int64_t)(bin / trace->count) * trace->length_ns;
}

/* The next outage that ends in bin `*bin` or later; false: none before the run's end. */
static bool outage_next(const struct run *run, const struct pipe *pipe, size_t *bin,
                        struct outage *ret_outage)
{
    const struct trace *trace = pipe->trace;
    const int64_t end_ns = run->length_ns + NS_PER_S;

    for (;; (*bin)++) {
        const int64_t at_ns = bin_begins_ns(trace, *bin) - pipe->offset_ns;
        size_t first = *bin, next = *bin;

        if (at_ns >= end_ns) {
            return false;
        }
        while (first > 0 && bin_is_dead(trace, first - 1)) {
            first--;
        }
        if (bin_is_dead(trace, *bin) || first == *bin || at_ns < OUTAGE_FIRST_NS ||
            at_ns - (bin_begins_ns(trace, first) - pipe->offset_ns) < NS_PER_S) {
            continue;
        }
        while (!bin_is_dead(trace, next) && bin_begins_ns(trace, next) - pipe->offset_ns < end_ns) {
            next++;
        }
        *ret_outage = (struct outage){at_ns, bin_begins_ns(trace, next) - pipe->offset_ns};
        (*bin)++;
        return true;
    }
}

/* Whether the edge was asked, and answered or was no longer needed before it was given up. */
static bool was_asked(const struct request *request)
{
    return request->edge_sent_ns > 0 &&
           (!isnan(request->edge_took_ms) || request->waited_ms <= request->predicted_p95_ms);
}

static int64_t first_of(int64_t a_ns, int64_t b_ns)
{
    return a_ns < b_ns ? a_ns : b_ns;
}

/* What one outage's end adds to the longest recoveries. An answer that was wanted and did not come
 * before the next outage counts until then. */
static void outage_take(const struct run *run, int client, const struct outage *outage,
                        struct measures *measures)
{
    int64_t answered_ns = outage->next_ns, usable_ns = outage->next_ns, asked_ns = outage->next_ns;
    int64_t wanted_ns = INT64_MAX;

    for (size_t i = 0; i < run->count; i++) {
        const struct request *request = &run->requests[i];
        const int64_t ended_ns =
            request->start_ns + (int64_t)(request->latency_ms * (double)NS_PER_MS);

        if (request->client != client) {
            continue;
        }
        if (request->delivered && !request->late && request->by == JOB_SIDE_EDGE &&
            ended_ns > outage->ends_ns) {
            answered_ns = first_of(ended_ns, answered_ns);
        }
        if (request->start_ns >= outage->ends_ns) {
            usable_ns = request->edge_usable ? first_of(request->start_ns, usable_ns) : usable_ns;
            wanted_ns = request->edge_wanted ? first_of(request->start_ns, wanted_ns) : wanted_ns;
            asked_ns = was_asked(request) ? first_of(ended_ns, asked_ns) : asked_ns;
        }
    }
    if (answered_ns < outage->next_ns || wanted_ns < outage->next_ns) {
        measures->recovery_ms = fmax((double)(answered_ns - outage->ends_ns) / (double)NS_PER_MS,
                                     measures->recovery_ms);
    }
    if (wanted_ns < outage->next_ns) {
        measures->outages++;
        measures->recovered +=
            answered_ns < outage->next_ns && answered_ns - wanted_ns <= RECOVERY_GOAL_NS;
    }
    measures->usable_ms =
        fmax((double)(usable_ns - outage->ends_ns) / (double)NS_PER_MS, measures->usable_ms);
    if (wanted_ns < outage->next_ns) {
        measures->asked_ms =
            fmax(fmax((double)(asked_ns - wanted_ns), 0) / (double)NS_PER_MS, measures->asked_ms);
    }
}

/* Where one edge is all there is; of all clients' outages the longest. */
static void recovery_take(const struct run *run, struct measures *measures)
{
    measures->recovery_ms = measures->asked_ms = measures->usable_ms = NAN;
    for (int client = 0; run->scene->edges == 1 && client < (int)run->client_count; client++) {
        struct outage outage;
        size_t bin = 0;

        while (outage_next(run, &run->clients[client].links[0].up, &bin, &outage)) {
            outage_take(run, client, &outage, measures);
        }
    }
}

static void sums_take(const struct run *run, double *latencies, struct measures *measures)
{
    for (size_t i = 0; i < run->count; i++) {
        const struct request *request = &run->requests[i];

        if (!request->ended) {
            measures->lost++;
        }
        latencies[i] = request->latency_ms;
        measures->total_cost += request_cost(request);
        measures->miss_rate += request->late;
        measures->network_miss_rate += request->late && request->alone_in_time;
        measures->in_time_accuracy += !request->late && is_right(request);
        measures->bytes_up += request->up_bytes;
        measures->bytes_down += request->down_bytes;
        measures->energy_j += energy_of(request);
        measures->wasted_ms += wasted_of(request);
        measures->offload_rate += request->up_bytes > 0;
        measures->edge_rate += request->delivered && request->by == JOB_SIDE_EDGE;
    }
}

/* What was sent to learn the rate of idle links is paid like everything else. */
static void probes_take(const struct run *run, struct measures *measures)
{
    for (size_t i = 0; i < run->client_count; i++) {
        const double bytes = run->clients[i].probe_bytes;

        measures->bytes_up += bytes;
        measures->energy_j += SEND_J_PER_BYTE * bytes;
        measures->total_cost +=
            ONE_MEGABYTE_MS * bytes / 1e6 + ONE_JOULE_MS * SEND_J_PER_BYTE * bytes;
    }
}

int measures_take(struct run *run, struct measures *ret_measures)
{
    double *scratch = malloc(sizeof(*scratch) * (run->count + 1));
    struct measures *measures = ret_measures;
    const double count = (double)run->count;

    if (!scratch || alone_replay(run) != 0) {
        free(scratch);
        return TANDEM_ENOMEM;
    }
    memset(measures, 0, sizeof(*measures));
    measures->scene = run->scene;
    measures->policy = run->policy->name;
    measures->clients = run->client_count;
    measures->seed = run->seed;
    measures->requests = run->count;
    measures->threshold = run->threshold;
    sums_take(run, scratch, measures);
    probes_take(run, measures);
    measures->miss_rate /= count;
    measures->network_miss_rate /= count;
    measures->in_time_accuracy /= count;
    measures->offload_rate /= count;
    measures->edge_rate /= count;
    measures->p50_ms = quantile_of(scratch, run->count, 0.5);
    measures->p95_ms = quantile_of(scratch, run->count, 0.95);
    measures->p99_ms = quantile_of(scratch, run->count, 0.99);
    measures->p999_ms = quantile_of(scratch, run->count, 0.999);
    predictions_take(run, scratch, measures);
    recovery_take(run, measures);
    free(scratch);
    return 0;
}
