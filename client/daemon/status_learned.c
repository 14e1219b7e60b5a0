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

/* How many of `all` answers held: `held` of each bin, where a bin of "no" counts the yes. */
static uint64_t held_sum(const struct client_task *task, const uint32_t all[CONFIDENCE_BINS],
                         const uint32_t held[CONFIDENCE_BINS])
{
    uint64_t sum = 0;

    for (size_t i = 0; i < CONFIDENCE_BINS; i++) {
        sum += task->asks && i < CASCADE_TWO_BORDER ? all[i] - held[i] : held[i];
    }
    return sum;
}

/* Of a task with a positive label: by bins of its probability, from `from` on, how many answers
 * fell there, and of those that were compared or told how often it was that label. */
static void question_json(const struct client_task *task, struct json_writer *json)
{
    const struct confidence *confidence = &task->confidence;

    if (!task->asks) {
        return;
    }
    json_text(json, "positive_label", task_positive(task));
    json_array_open(json, "bins");
    for (size_t i = 0; i < CONFIDENCE_BINS; i++) {
        json_object_open(json, NULL);
        json_double(json, "from", confidence_at_place(confidence, (double)i / CONFIDENCE_BINS));
        json_text(json, "answer", i < CASCADE_TWO_BORDER ? "no" : "yes");
        json_uint(json, "answers", confidence->seen[i]);
        json_uint(json, "compared", confidence->both[i]);
        json_uint(json, "edge_yes", confidence->agreed[i]);
        json_uint(json, "told", confidence->told[i]);
        json_uint(json, "told_yes", confidence->right[i]);
        json_object_close(json);
    }
    json_array_close(json);
}

/* Of answers made of boxes: what was learned of those that found nothing, and how often such an
 * answer is now believed to be wrong. */
static void nothing_json(const struct client_task *task, struct json_writer *json)
{
    const struct confidence *confidence = &task->confidence;

    if (!confidence->nothing) {
        return;
    }
    json_object_open(json, "found_nothing");
    json_uint(json, "answers", confidence->seen[0]);
    json_uint(json, "compared", confidence->both[0]);
    json_uint(json, "agreed", confidence->agreed[0]);
    json_uint(json, "told", confidence->told[0]);
    json_uint(json, "right", confidence->right[0]);
    json_double(json, "error_probability", confidence_error(confidence, CONFIDENCE_NOTHING));
    json_object_close(json);
}

void status_learned_json(const struct client_task *task, struct json_writer *json)
{
    const struct confidence *confidence = &task->confidence;

    json_object_open(json, "learned");
    json_uint(json, "runs", task->estimate.run.count);
    json_uint(json, "answers", bins_sum(confidence->seen));
    json_uint(json, "compared", bins_sum(confidence->both));
    json_uint(json, "agreed", held_sum(task, confidence->both, confidence->agreed));
    json_uint(json, "told", bins_sum(confidence->told));
    json_uint(json, "right", held_sum(task, confidence->told, confidence->right));
    question_json(task, json);
    nothing_json(task, json);
    json_object_close(json);
}

void status_learned_edge_json(const struct client_task *task, size_t edge, struct json_writer *json)
{
    const struct task_edge *known = &task->known[edge];

    json_object_open(json, "learned");
    json_uint(json, "compared", bins_sum(known->agreement.both));
    json_uint(json, "agreed", held_sum(task, known->agreement.both, known->agreement.agreed));
    json_uint(json, "told", known->truth.told);
    json_uint(json, "wrong", known->truth.wrong);
    json_object_close(json);
}
