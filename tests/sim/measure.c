#include "tests/sim/measure.h"

#include "common/base/error.h"
#include "common/base/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double energy_of(const struct request *request)
{
    return LOCAL_WATT * request->local_run_ms / 1000 + SEND_J_PER_BYTE * request->up_bytes +
           RECV_J_PER_BYTE * request->down_bytes;
}

static bool is_right(const struct request *request)
{
    return request->delivered &&
           (request->by == JOB_SIDE_EDGE ? request->pair->edge_right : request->pair->local_right);
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
    size_t count = 0, covered = 0, known = 0;

    for (size_t i = 0; i < run->count; i++) {
        const struct request *request = &run->requests[i];

        if (isnan(request->predicted_ms) || request->edge_sent_ns == 0) {
            continue;
        }
        if (!isnan(request->edge_took_ms)) {
            scratch[count++] =
                fabs(request->predicted_ms - request->edge_took_ms) / request->edge_took_ms;
            covered += request->edge_took_ms <= request->predicted_p95_ms;
            known++;
        } else if (request->waited_ms > request->predicted_p95_ms) {
            known++; /* given up after that */
        }
    }
    measures->latency_error = quantile_of(scratch, count, 0.5);
    measures->p95_coverage = known > 0 ? (double)covered / (double)known : NAN;
}

/* From each moment at which a link is back after a second or more of nothing, to the next answer
 * from that edge that was in time: the longest. Only where the policy asks edges at all. */
static void recovery_take(const struct run *run, struct measures *measures)
{
    const struct trace *trace = &run->scene->up[0];

    measures->recovery_ms = NAN;
    if (run->scene->edges > 1 || run->client_count > 1) {
        return;
    }
    for (size_t bin = 1; bin < trace->count; bin++) {
        int64_t down_ns = 0, back_ns, first_ns = INT64_MAX;

        for (size_t at = bin; at > 0 && trace->bins[at - 1].bytes_per_ns <= 0; at--) {
            down_ns = trace->bins[bin].at_ns - trace->bins[at - 1].at_ns;
        }
        if (trace->bins[bin].bytes_per_ns <= 0 || down_ns < NS_PER_S) {
            continue;
        }
        back_ns = trace->bins[bin].at_ns - run->clients[0].links[0].up.offset_ns;
        back_ns += back_ns < 0 ? trace->length_ns : 0;
        for (size_t i = 0; i < run->count; i++) {
            const struct request *request = &run->requests[i];
            const int64_t ended_ns =
                request->start_ns + (int64_t)(request->latency_ms * (double)NS_PER_MS);

            if (request->delivered && !request->late && request->by == JOB_SIDE_EDGE &&
                ended_ns > back_ns && ended_ns < first_ns) {
                first_ns = ended_ns;
            }
        }
        if (back_ns > 2 * NS_PER_S && first_ns != INT64_MAX) {
            const double took_ms = (double)(first_ns - back_ns) / (double)NS_PER_MS;

            measures->recovery_ms = fmax(took_ms, measures->recovery_ms);
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
    measures->p50_ms = quantile_of(scratch, run->count, 0.5);
    measures->p95_ms = quantile_of(scratch, run->count, 0.95);
    measures->p99_ms = quantile_of(scratch, run->count, 0.99);
    measures->p999_ms = quantile_of(scratch, run->count, 0.999);
    predictions_take(run, scratch, measures);
    recovery_take(run, measures);
    free(scratch);
    return 0;
}
