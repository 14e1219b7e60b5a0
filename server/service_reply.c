#include "server/service_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void reply_error(struct service *service, struct service_peer *peer, uint64_t id,
                 const struct served_model *model, int code, const char *text, uint64_t retry_ms)
{
    struct edge_error error = {.code = code, .retry_after_ms = retry_ms, .has_load = true};
    struct buf header;

    if (!peer) {
        return;
    }
    for (size_t i = 0; text[i] != '\0' && i < sizeof(error.text) - 1; i++) {
        error.text[i] =
            text[i] >= ' ' && text[i] <= '~' ? text[i] : '?'; /* it may quote what the peer sent */
    }
    service_load_for(service, model, &error.load);
    buf_init(&header, LIMIT_FRAME_HEADER_BYTES);
    if (edge_error_pack(&error, &header) == 0) {
        (void)conn_send(peer->conn, FRAME_ERROR, 0, id, header.data, header.bytes);
    }
    buf_fini(&header);
}

void reply_accepted(struct service *service, const struct request *request)
{
    struct edge_load load;
    struct buf header;

    service_load_for(service, request->model, &load);
    buf_init(&header, LIMIT_FRAME_HEADER_BYTES);
    if (edge_accepted_pack(&load, &header) == 0) {
        (void)conn_send(request->peer->conn, FRAME_ACCEPTED, 0, request->id, header.data,
                        header.bytes);
    }
    buf_fini(&header);
}

void reply_tokens(const struct request *request, const uint8_t *text, size_t bytes)
{
    const struct answer_piece piece = {.text = text, .text_bytes = bytes, .count = 1};
    struct buf header;

    if (!request->peer) {
        return;
    }
    buf_init(&header, LIMIT_FRAME_HEADER_BYTES);
    if (answer_piece_pack(&piece, &header) == 0) {
        (void)conn_send(request->peer->conn, FRAME_TOKENS, 0, request->id, header.data,
                        header.bytes);
    }
    buf_fini(&header);
}

struct ranked {
    uint32_t index;
    float score;
};

static int ranked_compare(const void *a, const void *b)
{
    const struct ranked *left = a, *right = b;

    if (left->score != right->score) {
        return left->score < right->score ? 1 : -1;
    }
    return left->index < right->index ? -1 : 1;
}

/* Labels best first, borrowed from the task; at most LIMIT_LABELS. */
static int labels_rank(const struct request *request, struct answer *answer)
{
    const uint32_t count = request->task->label_count;
    struct ranked *ranked = calloc(count, sizeof(*ranked));

    answer->label_count = count < LIMIT_LABELS ? count : LIMIT_LABELS;
    answer->labels = calloc(answer->label_count, sizeof(*answer->labels));
    if (!ranked || !answer->labels) {
        free(ranked);
        return TANDEM_ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        ranked[i] = (struct ranked){i, request->scores[i]};
    }
    qsort(ranked, count, sizeof(*ranked), ranked_compare);
    for (size_t i = 0; i < answer->label_count; i++) {
        answer->labels[i] = (struct answer_label){
            (char *)(uintptr_t)request->task->labels[ranked[i].index], (double)ranked[i].score};
    }
    answer->confidence = answer->labels[0].score;
    free(ranked);
    return 0;
}

/* A model says of itself what its calibration makes of it. */
static double confidence_of(const struct request *request, double raw)
{
    return calibration_apply(&engine_model_info(request->model->model)->calibration, raw);
}

/* Sends the RESULT; an error when it could not be made, and then nothing was sent. */
int reply_result(struct service *service, struct request *request, bool partial)
{
    struct edge_result result = {.cached_tokens = request->cached_count,
                                 .prompt_tokens = request->prompt_count};
    struct answer *answer = &result.answer;
    struct buf header;
    int error = 0;

    if (!request->peer) {
        return 0;
    }
    if (request->task->kind == TASK_CLASSIFY) {
        answer->kind = WIRE_CLASSIFY;
        error = labels_rank(request, answer); /* its confidence: the best label's score */
    } else {
        *answer = (struct answer){.kind = WIRE_GENERATE,
                                  .text = request->text.data ? (char *)request->text.data
                                                             : (char *)(uintptr_t) "",
                                  .text_bytes = request->text.bytes,
                                  .tokens = request->session.tokens,
                                  .finish = partial ? WIRE_FINISH_DEADLINE : request->finish,
                                  .confidence = exp(fmin(request->logprob, 0))}; /* rounding */
    }
    answer->confidence = confidence_of(request, answer->confidence);
    result.wait_us = (uint64_t)((request->started_ns - request->whole_ns) / NS_PER_US);
    result.run_us = (uint64_t)(request->run_ns / NS_PER_US);
    memcpy(result.model_digest, engine_model_digest(request->model->model),
           sizeof(result.model_digest));
    service_load_for(service, request->model, &result.load);
    buf_init(&header, LIMIT_FRAME_HEADER_BYTES);
    if (error == 0) {
        error = edge_result_pack(&result, &header);
    }
    if (error == 0) {
        (void)conn_send(request->peer->conn, FRAME_RESULT, 0, request->id, header.data,
                        header.bytes);
    }
    buf_fini(&header);
    free(answer->labels);
    return error;
}
