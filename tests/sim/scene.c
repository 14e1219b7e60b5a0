#include "common/base/error.h"
#include "tests/sim/sim.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_PER_NS(mbit_s) ((mbit_s)*1e6 / 8 / (double)NS_PER_S)
#define TRACE_RTT_MS         10.0 /* of a file that has none: 5 ms each way to a nearby node */
#define PACKET_BYTES         1400.0
#define TRACE_BINS_MAX       1000000

int trace_add(struct trace *trace, double at_s, double mbit_s, double rtt_ms, double loss)
{
    struct bin *bin;

    if ((trace->count & (trace->count + 1)) == 0) { /* the room is a power of two */
        struct bin *grown = realloc(trace->bins, sizeof(*grown) * 2 * (trace->count + 1));

        if (!grown) {
            return TANDEM_ENOMEM;
        }
        trace->bins = grown;
    }
    bin = &trace->bins[trace->count++];
    bin->at_ns = (int64_t)(at_s * (double)NS_PER_S);
    bin->bytes_per_ns = BYTES_PER_NS(mbit_s);
    bin->delay_ns = (int64_t)(rtt_ms / 2 * (double)NS_PER_MS);
    bin->loss = loss;
    return 0;
}

void trace_end(struct trace *trace, double length_s)
{
    const int64_t first_ns = trace->count ? trace->bins[0].at_ns : 0;
    double sum = 0;

    trace->length_ns = (int64_t)(length_s * (double)NS_PER_S);
    for (size_t i = 0; i < trace->count; i++) {
        struct bin *bin = &trace->bins[i];
        const int64_t ends_ns =
            i + 1 < trace->count ? trace->bins[i + 1].at_ns - first_ns : trace->length_ns;

        bin->at_ns -= first_ns;
        bin->sum = sum;
        sum += bin->bytes_per_ns * (double)(ends_ns - bin->at_ns);
    }
    trace->bytes = sum;
}

static size_t bin_index(const struct trace *trace, int64_t within_ns)
{
    size_t low = 0, high = trace->count;

    while (high - low > 1) {
        const size_t middle = (low + high) / 2;

        if (trace->bins[middle].at_ns <= within_ns) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

const struct bin *trace_at(const struct trace *trace, int64_t at_ns)
{
    return &trace->bins[bin_index(trace, at_ns % trace->length_ns)];
}

int64_t trace_through(const struct trace *trace, int64_t from_ns, double bytes)
{
    const int64_t rounds = from_ns / trace->length_ns, within_ns = from_ns % trace->length_ns;
    const struct bin *bin = &trace->bins[bin_index(trace, within_ns)];
    double goal = bin->sum + bin->bytes_per_ns * (double)(within_ns - bin->at_ns) + bytes;
    double whole;
    size_t low = 0, high = trace->count;

    if (trace->bytes <= 0) {
        return INT64_MAX / 4;
    }
    whole = floor(goal / trace->bytes);
    goal -= whole * trace->bytes;
    while (high - low > 1) { /* the last bin that begins with fewer bytes than that */
        const size_t middle = (low + high) / 2;

        if (trace->bins[middle].sum < goal) {
            low = middle;
        } else {
            high = middle;
        }
    }
    bin = &trace->bins[low];
    return (rounds + (int64_t)whole) * trace->length_ns + bin->at_ns +
           (bin->bytes_per_ns > 0 ? (int64_t)ceil((goal - bin->sum) / bin->bytes_per_ns) : 0);
}

int64_t pipe_ask(const struct pipe *pipe, double bytes, int64_t now_ns)
{
    const int64_t from_ns = now_ns > pipe->free_ns ? now_ns : pipe->free_ns;
    const int64_t left_ns =
        trace_through(pipe->trace, from_ns + pipe->offset_ns, bytes) - pipe->offset_ns;
    const int64_t there_ns = left_ns + trace_at(pipe->trace, left_ns + pipe->offset_ns)->delay_ns;

    return there_ns > pipe->last_ns ? there_ns : pipe->last_ns;
}

int64_t pipe_put(struct pipe *pipe, double bytes, int64_t now_ns, struct random_source *random)
{
    int64_t there_ns = pipe_ask(pipe, bytes, now_ns);
    const int64_t from_ns = now_ns > pipe->free_ns ? now_ns : pipe->free_ns;
    const struct bin *bin = trace_at(pipe->trace, from_ns + pipe->offset_ns);

    pipe->free_ns = trace_through(pipe->trace, from_ns + pipe->offset_ns, bytes) - pipe->offset_ns;
    /* a lost packet comes again a round trip later, and what follows waits for it */
    if (bin->loss > 0 && random_unit(random) > pow(1 - bin->loss, ceil(bytes / PACKET_BYTES))) {
        there_ns += 2 * bin->delay_ns + 2 * NS_PER_MS;
    }
    pipe->last_ns = there_ns;
    return there_ns;
}

void scene_fini(struct scene *scene)
{
    for (size_t i = 0; i < SIM_EDGES_MAX; i++) {
        free(scene->up[i].bins);
    }
    memset(scene, 0, sizeof(*scene));
}

static int scene_read(FILE *file, struct scene *scene)
{
    struct trace *trace = &scene->up[0];
    char line[256];
    double at_s, mbit_s, rtt_ms, first_s = 0, last_s = 0, step_s = 1;

    scene->edges = 1;
    while (fgets(line, sizeof(line), file) && trace->count < TRACE_BINS_MAX) {
        const int found = sscanf(line, "%lf,%lf,%lf", &at_s, &mbit_s, &rtt_ms);

        if (found < 2 || !(mbit_s >= 0) || (trace->count > 0 && at_s <= last_s)) {
            if (trace->count == 0) {
                continue; /* the header */
            }
            return TANDEM_EFORMAT;
        }
        if (trace->count == 0) {
            first_s = at_s;
        } else {
            step_s = at_s - last_s;
        }
        last_s = at_s;
        if (trace_add(trace, at_s, mbit_s, found == 3 && rtt_ms > 0 ? rtt_ms : TRACE_RTT_MS, 0) !=
            0) {
            return TANDEM_ENOMEM;
        }
    }
    if (trace->count == 0) {
        return TANDEM_EFORMAT;
    }
    trace_end(trace, last_s + step_s - first_s);
    return trace->bytes > 0 ? 0 : TANDEM_EFORMAT;
}

static int scene_open(const char *folder, const char *name, struct scene *scene)
{
    char path[4096];
    FILE *file;
    int result;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    snprintf(scene->name, sizeof(scene->name), "%.*s", (int)strlen(name) - 4, name);
    file = fopen(path, "re");
    result = file ? scene_read(file, scene) : TANDEM_EIO;
    if (file) {
        (void)fclose(file);
    }
    if (result != 0) {
        fprintf(stderr, "%s: not a trace (t_s,mbit_s[,rtt_ms] with some capacity)\n", path);
    }
    return result;
}

static int name_is_trace(const struct dirent *entry)
{
    const size_t length = strlen(entry->d_name);

    return length > 4 && strcmp(entry->d_name + length - 4, ".csv") == 0;
}

int scenes_load(const char *folder, struct scene *scenes, size_t *count)
{
    struct dirent **names;
    const int found = scandir(folder, &names, name_is_trace, alphasort);
    int result = 0;

    if (found < 0) {
        fprintf(stderr, "%s: cannot be read\n", folder);
        return TANDEM_EIO;
    }
    if (found == 0) {
        fprintf(stderr, "%s: there is no CSV in it\n", folder);
        result = TANDEM_EINVAL;
    } else if ((size_t)found > SCENES_MAX - *count) {
        fprintf(stderr, "%s: %d links, at most %zu can be added\n", folder, found,
                SCENES_MAX - *count);
        result = TANDEM_EINVAL;
    }
    for (int i = 0; i < found; i++) {
        if (result == 0) {
            result = scene_open(folder, names[i]->d_name, &scenes[*count]);
            (*count)++;
        }
        free(names[i]);
    }
    free(names);
    return result;
}
