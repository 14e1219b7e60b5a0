/* status_learned.c: how much was learned of a task, for the status: counts, not what is made of
 * them. */
#include "client/daemon/status.h"

static uint64_t bins_sum(const uint32_t bins[CONFIDENCE_BINS])
{
    uint64_t sum = 0;

    for (size_t i = 0; i < CONFIDENCE_BINS; i++) {
        sum += bins[i];
    }
    return sum;
}

void status_learned_json(const struct client_task *task, struct json_writer *json)
{
    const struct confidence *confidence = &task->confidence;

    json_object_open(json, "learned");
    json_uint(json, "runs", task->estimate.run.count);
    json_uint(json, "answers", bins_sum(confidence->seen));
    json_uint(json, "compared", bins_sum(confidence->both));
    json_uint(json, "agreed", bins_sum(confidence->agreed));
    json_uint(json, "told", bins_sum(confidence->told));
    json_uint(json, "right", bins_sum(confidence->right));
    json_object_close(json);
}

void status_learned_edge_json(const struct client_task *task, size_t edge, struct json_writer *json)
{
    const struct task_edge *known = &task->known[edge];

    json_object_open(json, "learned");
    json_uint(json, "compared", bins_sum(known->agreement.both));
    json_uint(json, "agreed", bins_sum(known->agreement.agreed));
    json_uint(json, "told", known->truth.told);
    json_uint(json, "wrong", known->truth.wrong);
    json_object_close(json);
}
