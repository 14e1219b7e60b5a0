#include "client/lib/handle.h"

#include "common/base/clock.h"
#include "common/base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The caller's view of the boxes: a struct of the public header, which may grow apart from the
 * wire's. */
static int answer_boxes_make(struct tandem_answer *answer)
{
    const struct answer *from = &answer->wire.answer;

    if (from->box_count == 0) {
        return 0;
    }
    answer->boxes = calloc(from->box_count, sizeof(*answer->boxes));
    if (!answer->boxes) {
        return TANDEM_ENOMEM;
    }
    for (size_t i = 0; i < from->box_count; i++) {
        const struct answer_box *box = &from->boxes[i];

        answer->boxes[i] = (struct tandem_box){.label = box->label,
                                               .score = box->score,
                                               .x = box->x,
                                               .y = box->y,
                                               .w = box->w,
                                               .h = box->h};
    }
    return 0;
}

int answer_new(struct local_answer *wire, const struct pending *pending,
               struct tandem_answer **ret_answer)
{
    struct tandem_answer *answer = calloc(1, sizeof(*answer));
    int result;

    if (!answer) {
        local_answer_fini(wire);
        return TANDEM_ENOMEM;
    }
    answer->wire = *wire;
    memset(wire, 0, sizeof(*wire));
    answer->timestamp_ns = pending->timestamp_ns;
    answer->cookie = pending->cookie;
    answer->elapsed_ms = (double)(clock_now_ns() - pending->start_ns) / (double)NS_PER_MS;
    result = answer_boxes_make(answer);
    if (result != 0) {
        tandem_answer_free(answer);
        return result;
    }
    *ret_answer = answer;
    return 0;
}

struct tandem_answer *answer_from_error(const struct local_error *error,
                                        const struct pending *pending)
{
    struct local_answer wire = {.latency_us = error->latency_us, .predicted_ms = -1};
    struct tandem_answer *answer;

    if (error->id[0] == '\0') {
        return NULL;
    }
    memcpy(wire.id, error->id, sizeof(wire.id));
    memcpy(wire.route, error->route, sizeof(wire.route));
    memcpy(wire.outcome_route, error->outcome_route, sizeof(wire.outcome_route));
    memcpy(wire.reason, error->reason, sizeof(wire.reason));
    return answer_new(&wire, pending, &answer) == 0 ? answer : NULL;
}

void tandem_answer_free(struct tandem_answer *answer)
{
    if (!answer) {
        return;
    }
    local_answer_fini(&answer->wire);
    free(answer->boxes);
    free(answer);
}

enum tandem_kind tandem_answer_kind(const struct tandem_answer *answer)
{
    return (enum tandem_kind)answer->wire.answer.kind;
}

size_t tandem_answer_label_count(const struct tandem_answer *answer)
{
    return answer->wire.answer.label_count;
}

const char *tandem_answer_label(const struct tandem_answer *answer, size_t index)
{
    return index < answer->wire.answer.label_count ? answer->wire.answer.labels[index].label : NULL;
}

double tandem_answer_score(const struct tandem_answer *answer, size_t index)
{
    return index < answer->wire.answer.label_count ? answer->wire.answer.labels[index].score : 0;
}

size_t tandem_answer_box_count(const struct tandem_answer *answer)
{
    return answer->wire.answer.box_count;
}

const struct tandem_box *tandem_answer_box(const struct tandem_answer *answer, size_t index)
{
    return index < answer->wire.answer.box_count ? &answer->boxes[index] : NULL;
}

const char *tandem_answer_text(const struct tandem_answer *answer, size_t *ret_bytes)
{
    if (ret_bytes) {
        *ret_bytes = answer->wire.answer.text ? answer->wire.answer.text_bytes : 0;
    }
    return answer->wire.answer.text ? answer->wire.answer.text : "";
}

uint32_t tandem_answer_tokens(const struct tandem_answer *answer)
{
    return answer->wire.answer.tokens;
}

enum tandem_finish tandem_answer_finish(const struct tandem_answer *answer)
{
    return (enum tandem_finish)answer->wire.answer.finish;
}

double tandem_answer_confidence(const struct tandem_answer *answer)
{
    return answer->wire.answer.confidence;
}

const char *tandem_answer_id(const struct tandem_answer *answer)
{
    return answer->wire.id;
}

const char *tandem_answer_route(const struct tandem_answer *answer)
{
    return answer->wire.route;
}

const char *tandem_answer_outcome_route(const struct tandem_answer *answer)
{
    return answer->wire.outcome_route;
}

const char *tandem_answer_reason(const struct tandem_answer *answer)
{
    return answer->wire.reason;
}

double tandem_answer_latency_ms(const struct tandem_answer *answer)
{
    return (double)answer->wire.latency_us / 1000.0;
}

double tandem_answer_elapsed_ms(const struct tandem_answer *answer)
{
    return answer->elapsed_ms;
}

double tandem_answer_predicted_ms(const struct tandem_answer *answer)
{
    return answer->wire.predicted_ms;
}

int tandem_answer_met_deadline(const struct tandem_answer *answer)
{
    return answer->wire.met_deadline;
}

int tandem_answer_partial(const struct tandem_answer *answer)
{
    return answer->wire.partial;
}

int tandem_answer_hedged(const struct tandem_answer *answer)
{
    return answer->wire.hedged;
}

int64_t tandem_answer_timestamp_ns(const struct tandem_answer *answer)
{
    return answer->timestamp_ns;
}

uint64_t tandem_answer_cookie(const struct tandem_answer *answer)
{
    return answer->cookie;
}
