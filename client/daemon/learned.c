#include "client/daemon/learned.h"

#include "common/base/error.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void learned_fini(struct learned *learned)
{
    free(learned->tasks);
    memset(learned, 0, sizeof(*learned));
}

static int samples_write(const char *key, const struct estimate_samples *samples, int64_t now_ns,
                         struct buf *out)
{
    const size_t held =
        samples->count < ESTIMATE_SAMPLES ? (size_t)samples->count : ESTIMATE_SAMPLES;
    const size_t first = (samples->next + ESTIMATE_SAMPLES - held) % ESTIMATE_SAMPLES;
    int result = held ? buf_append_text(out, key) : 0;

    for (size_t i = 0; result == 0 && i < held; i++) {
        const size_t at = (first + i) % ESTIMATE_SAMPLES;
        const int64_t age_ns = now_ns - samples->at_ns[at];

        result = buf_printf(out, " %" PRId64 ":%.9g", age_ns > 0 ? age_ns / NS_PER_MS : 0,
                            samples->values[at]);
    }
    return result == 0 && held ? buf_append_text(out, "\n") : result;
}

static int spread_write(const char *key, const struct estimate_spread *spread, int64_t now_ns,
                        struct buf *out)
{
    const int64_t age_ns = now_ns - spread->newest_ns;

    return spread->weight > 0
               ? buf_printf(out, "%s %" PRId64 " %.9g %.9g\n", key,
                            age_ns > 0 ? age_ns / NS_PER_MS : 0, spread->squares, spread->weight)
               : 0;
}

static int rate_write(const char *key, const struct ewma *mean,
                      const struct quantile_window *window, struct buf *out)
{
    const size_t first = (window->next + window->capacity - window->count) % window->capacity;
    int result;

    if (mean->count == 0) {
        return 0;
    }
    result =
        buf_printf(out, "%s %" PRIu64 " %.9g %.9g", key, mean->count, mean->mean, mean->deviation);
    for (size_t i = 0; result == 0 && i < window->count; i++) {
        result = buf_printf(out, " %.9g", window->samples[(first + i) % window->capacity]);
    }
    return result == 0 ? buf_append_text(out, "\n") : result;
}

static int counts_write(const char *key, const uint32_t counts[CONFIDENCE_BINS], struct buf *out)
{
    int result = buf_append_text(out, key);

    for (size_t i = 0; result == 0 && i < CONFIDENCE_BINS; i++) {
        result = buf_printf(out, " %" PRIu32, counts[i]);
    }
    return result == 0 ? buf_append_text(out, "\n") : result;
}

static int pair_write(const struct learned_pair *pair, int64_t now_ns, struct buf *out)
{
    int result = buf_printf(out, "with %s %s\n", pair->edge, pair->digest[0] ? pair->digest : "-");

    if (result == 0) {
        result = samples_write("rest", &pair->estimate.rest, now_ns, out);
    }
    if (result == 0) {
        result = spread_write("rest_spread", &pair->estimate.rest_spread, now_ns, out);
    }
    if (result == 0) {
        result = samples_write("failed", &pair->estimate.failed, now_ns, out);
    }
    if (result == 0) {
        result = buf_printf(out, "tail_log %.9g\n", pair->estimate.tail_log);
    }
    if (result == 0) {
        result = counts_write("both", pair->agreement.both, out);
    }
    if (result == 0) {
        result = counts_write("agreed", pair->agreement.agreed, out);
    }
    if (result == 0) {
        result = buf_append_text(out, "claimed");
    }
    for (size_t i = 0; result == 0 && i < CONFIDENCE_BINS; i++) {
        result = buf_printf(out, " %.9g", pair->agreement.claimed[i]);
    }
    return result != 0 ? result
                       : buf_printf(out, "\ntruth %" PRIu32 " %" PRIu32 "\n", pair->truth.told,
                                    pair->truth.wrong);
}

static int task_write(const struct learned_task *task, int64_t now_ns, struct buf *out)
{
    const struct {
        const char *key;
        const struct estimate_rate *rate;
    } rates[] = {{"density", &task->text.density},
                 {"prefill", &task->text.prefill},
                 {"decode", &task->text.decode},
                 {"answer", &task->text.answer}};
    int result = buf_printf(out, "task %s %d %s\n", task->name, task->kind,
                            task->digest[0] ? task->digest : "-");

    if (result == 0 && task->question[0]) {
        result = buf_printf(out, "question %s %.9g\n", task->question, task->confidence.odds);
    }
    if (result == 0) {
        result = rate_write("run", &task->run.run, &task->run.window, out);
    }
    for (size_t i = 0; result == 0 && i < sizeof(rates) / sizeof(rates[0]); i++) {
        result = rate_write(rates[i].key, &rates[i].rate->mean, &rates[i].rate->window, out);
    }
    if (result == 0) {
        result = counts_write("seen", task->confidence.seen, out);
    }
    if (result == 0) {
        result = counts_write("told", task->confidence.told, out);
    }
    if (result == 0) {
        result = counts_write("right", task->confidence.right, out);
    }
    for (size_t i = 0; result == 0 && i < task->pair_count; i++) {
        result = pair_write(&task->pairs[i], now_ns, out);
    }
    return result;
}

int learned_write(const struct learned *learned, int64_t now_ns, int64_t unix_ns, struct buf *out)
{
    int result = buf_printf(out, "tandem-learned 1\nsaved_unix_ms %" PRId64 "\n",
                            unix_ns > 0 ? unix_ns / NS_PER_MS : 0);

    for (size_t i = 0; result == 0 && i < learned->link_count; i++) {
        const struct learned_link *link = &learned->links[i];

        result = buf_printf(out, "edge %s %s\n", link->name, link->digest);
        if (result == 0) {
            result = samples_write("rtt_ms", &link->link.rtt_ms, now_ns, out);
        }
        if (result == 0) {
            result = samples_write("up_bytes_per_ms", &link->link.up_bytes_per_ms, now_ns, out);
        }
        if (result == 0) {
            result = spread_write("rtt_spread", &link->link.rtt_spread, now_ns, out);
        }
        if (result == 0) {
            result = spread_write("up_spread", &link->link.up_spread, now_ns, out);
        }
    }
    for (size_t i = 0; result == 0 && i < learned->task_count; i++) {
        result = task_write(&learned->tasks[i], now_ns, out);
    }
    return result == 0 ? buf_append_text(out, "end\n") : result;
}
