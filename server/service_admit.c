#include "server/service_parts.h"

#include "common/base/log.h"
#include "common/base/names.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* Why a request is not accepted. */
struct refusal {
    int code;
    uint64_t retry_ms;
    char text[256];
};

static int refuse(struct refusal *refusal, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int refuse(struct refusal *refusal, int code, const char *format, ...)
{
    va_list arguments;

    refusal->code = code;
    va_start(arguments, format);
    (void)vsnprintf(refusal->text, sizeof(refusal->text), format, arguments);
    va_end(arguments);
    return code;
}

static uint64_t request_hash(const struct service_peer *peer, uint64_t id)
{
    char key[LIMIT_NAME_BYTES + 1 + EDGE_BOOT_ID_BYTES + 8] = {0};

    memcpy(key, peer->tenant, strlen(peer->tenant));
    memcpy(key + LIMIT_NAME_BYTES + 1, peer->boot_id, EDGE_BOOT_ID_BYTES);
    memcpy(key + LIMIT_NAME_BYTES + 1 + EDGE_BOOT_ID_BYTES, &id, sizeof(id));
    return XXH3_64bits(key, sizeof(key));
}

static bool is_repeated(const struct service *service, uint64_t hash)
{
    for (size_t i = 0; i < LIMIT_RECENT_REQUESTS; i++) {
        if (service->recent[i] == hash) {
            return true;
        }
    }
    return false;
}

/* What can be said without a look at the queue. */
static int header_check(const struct service *service, const struct service_peer *peer,
                        const struct edge_request *header, const struct served_task *task,
                        struct refusal *refusal)
{
    uint64_t payload_max = LIMIT_PAYLOAD_BYTES;

    (void)service;
    if (!task) {
        return refuse(refusal, TANDEM_ENOTASK, "this server has no task '%s'", header->task);
    }
    for (size_t i = 0; i < peer->off_count; i++) {
        if (strcmp(peer->off[i], header->task) == 0) {
            return refuse(
                refusal, TANDEM_ENOTASK,
                "the two sides describe this task differently; the server's log says how");
        }
    }
    if (header->has_picture != (task->kind == TASK_CLASSIFY)) {
        return refuse(refusal, TANDEM_EINVAL,
                      header->has_picture ? "this task takes text" : "this task takes a picture");
    }
    if (task->kind == TASK_GENERATE) {
        payload_max = header->session[0] ? LIMIT_TRANSCRIPT_BYTES : LIMIT_TEXT_BYTES;
        if (header->prefix_bytes > LIMIT_TRANSCRIPT_BYTES) {
            return refuse(refusal, TANDEM_ETOOBIG, "the conversation is too long");
        }
        payload_max -= header->session[0] ? header->prefix_bytes : 0;
    }
    if (header->payload_bytes > payload_max) {
        return refuse(refusal, TANDEM_ETOOBIG,
                      task->kind == TASK_GENERATE ? "the text is too long"
                                                  : "the picture is too large");
    }
    if (header->payload_bytes == 0) {
        return refuse(refusal, TANDEM_EINVAL, "there is no input");
    }
    return 0;
}

static int bounds_check(const struct service *service, const struct service_peer *peer,
                        const struct edge_request *header, struct refusal *refusal)
{
    if (service->draining) {
        return refuse(refusal, TANDEM_EDRAINING, "the server is stopping");
    }
    refusal->retry_ms = 100;
    if (peer->requests >= LIMIT_REQUESTS_PER_CONNECTION) {
        return refuse(refusal, TANDEM_EBUSY, "too many requests on this connection");
    }
    if (service->request_count >= LIMIT_REQUESTS) {
        return refuse(refusal, TANDEM_EBUSY, "the server's queue is full");
    }
    if (service->payload_bytes + header->payload_bytes + header->prefix_bytes >
        LIMIT_PAYLOADS_BYTES) {
        return refuse(refusal, TANDEM_EBUSY, "the server holds as much input as it may");
    }
    if (peer->payload_bytes + header->payload_bytes + header->prefix_bytes >
        LIMIT_PEER_PAYLOADS_BYTES) {
        return refuse(refusal, TANDEM_EBUSY,
                      "this connection's requests hold as much input as they may");
    }
    refusal->retry_ms = 0;
    return 0;
}

/* Whether the deadline can be met, as far as the measured rates tell. */
static int deadline_check(const struct service *service, const struct request *request,
                          const struct edge_request *header, struct refusal *refusal)
{
    const struct batcher_load load = {
        .ahead_ns = service_ahead_ns(service, request_urgency_ns(request)),
        .service_ns = request->task->kind == TASK_CLASSIFY
                          ? request_service_ns(request)
                          : batcher_service_ns(&request->model->rates, 0,
                                               (uint32_t)(request->payload_bytes / 16), 1)};
    const int code =
        batcher_admit(&load, (int64_t)header->budget_us * NS_PER_US, &refusal->retry_ms);

    if (code == 0) {
        return 0;
    }
    return refuse(refusal, code,
                  code == TANDEM_ELATE ? "the deadline is shorter than the work"
                                       : "the deadline cannot be met now");
}

static int turn_begin(struct service *service, struct request *request,
                      const struct edge_request *header, struct refusal *refusal)
{
    int code;

    if (header->session[0] == '\0') {
        return header->prefix_bytes == 0
                   ? 0
                   : refuse(refusal, TANDEM_EINVAL, "a prefix needs a session");
    }
    code = conversation_begin(&service->conversations, request->tenant, header->session,
                              request->model, header->prefix_bytes, header->prefix_digest,
                              clock_now_ns(), &request->conversation);
    if (code == TANDEM_EPREFIX) {
        return refuse(refusal, code, "this prefix is not here: send the whole conversation");
    }
    if (code != 0) {
        refusal->retry_ms = 50;
        return refuse(refusal, code,
                      code == TANDEM_EBUSY ? "another turn of this session is running"
                                           : "no memory for the session");
    }
    request->is_session = true;
    request->prefix_bytes = (size_t)header->prefix_bytes;
    return buf_append(&request->input, request->conversation->transcript.data,
                      request->prefix_bytes) == 0
               ? 0
               : refuse(refusal, TANDEM_ENOMEM, "no memory for the session");
}

/* Everything that does not depend on the queue. *returns owned*. */
static struct request *request_new(struct service *service, struct service_peer *peer, uint64_t id,
                                   const struct edge_request *header,
                                   const struct served_task *task)
{
    const struct engine_sampling sampling = {
        header->sampling.temperature, header->sampling.top_k,
        header->sampling.top_p > 0 ? header->sampling.top_p : 1, header->sampling.seed};
    struct request *request = calloc(1, sizeof(*request));

    if (!request) {
        return NULL;
    }
    request->arrival_ns = request->whole_ns = clock_now_ns();
    request->upload_until_ns = request->arrival_ns + LIMIT_UPLOAD_STALL_MS * NS_PER_MS;
    request->deadline_ns =
        header->budget_us ? request->arrival_ns + (int64_t)header->budget_us * NS_PER_US : 0;
    session_init(&request->session, task->kind == TASK_GENERATE, request->deadline_ns);
    request->id = id;
    request->tenant_key = XXH3_64bits(peer->tenant, strlen(peer->tenant));
    memcpy(request->decision_id, header->decision_id, sizeof(request->decision_id));
    memcpy(request->tenant, peer->tenant, sizeof(request->tenant));
    request->task = task;
    request->catalog = service->catalog;
    catalog_ref(request->catalog);
    request->model = task->model;
    served_model_ref(request->model);
    request->payload_bytes = (size_t)header->payload_bytes;
    request->picture = header->picture;
    request->stream = header->stream;
    request->max_new = header->max_new_tokens ? header->max_new_tokens : task->max_new_tokens;
    engine_sampler_init(&request->sampler, &sampling);
    buf_init(&request->input, LIMIT_PAYLOAD_BYTES + LIMIT_TRANSCRIPT_BYTES);
    buf_init(&request->text, 0);
    if (request->model->pool) {
        engine_seq_init(&request->seq, request->model->pool);
    } else if (!(request->scores =
                     calloc(request->model->info->n_class, sizeof(*request->scores)))) {
        request_free(service, request);
        return NULL;
    }
    return request;
}

static int request_admit(struct service *service, struct service_peer *peer, uint64_t id,
                         const struct edge_request *header, struct refusal *refusal)
{
    const struct served_task *task = catalog_find(service->catalog, header->task);
    const uint64_t hash = request_hash(peer, id);
    struct request *request = NULL;
    int result = header_check(service, peer, header, task, refusal);

    if (result == 0 && is_repeated(service, hash)) {
        result = refuse(refusal, TANDEM_EINVAL,
                        "a request of this number was accepted before; none runs twice");
    }
    if (result == 0) {
        result = bounds_check(service, peer, header, refusal);
    }
    if (result == 0 && !(request = request_new(service, peer, id, header, task))) {
        result = refuse(refusal, TANDEM_ENOMEM, "no memory for the request");
    }
    if (result == 0) {
        result = deadline_check(service, request, header, refusal);
    }
    if (result == 0) {
        result = turn_begin(service, request, header, refusal);
    }
    if (result != 0) {
        if (request) {
            request_free(service, request);
        }
        return result;
    }
    request->peer = peer;
    peer->requests++;
    request->charged_bytes = request->payload_bytes + request->prefix_bytes;
    service->payload_bytes += request->charged_bytes;
    peer->payload_bytes += request->charged_bytes;
    *service->requests_tail = request;
    service->requests_tail = &request->next;
    service->request_count++;
    service->recent[service->recent_next++ % LIMIT_RECENT_REQUESTS] = hash;
    service->counts.accepted++;
    reply_accepted(service, request);
    service_arm(service);
    return 0;
}

static struct request *request_find(const struct service *service, const struct service_peer *peer,
                                    uint64_t id)
{
    struct request *request = service->requests;

    while (request && (request->peer != peer || request->id != id)) {
        request = request->next;
    }
    return request;
}

static int on_request(struct service *service, struct service_peer *peer, const struct frame *frame)
{
    struct edge_request header;
    struct refusal refusal = {0};
    const int result = edge_request_unpack(frame->header, frame->header_bytes, &header);

    if (result != 0 || frame->request_id == 0 || request_find(service, peer, frame->request_id)) {
        return TANDEM_EPROTO;
    }
    if (request_admit(service, peer, frame->request_id, &header, &refusal) != 0) {
        const struct served_task *task = catalog_find(service->catalog, header.task);

        service->counts.refused++;
        request_lines_say(service->lines, "request %s: task %s, tenant %s: refused: %s (%s)",
                          header.decision_id[0] ? header.decision_id : "-", header.task,
                          peer->tenant, tandem_error_name(refusal.code), refusal.text);
        reply_error(service, peer, frame->request_id, task ? task->model : NULL, refusal.code,
                    refusal.text, refusal.retry_ms);
    }
    return 0;
}

static int on_data(struct service *service, struct service_peer *peer, const struct frame *frame)
{
    struct request *request = request_find(service, peer, frame->request_id);
    int result;

    conn_consumed(peer->conn, frame->request_id, frame->payload_bytes);
    if (!request || request->session.state != SESSION_RECEIVING) {
        return request && request->session.state != SESSION_LEAVING ? TANDEM_EPROTO : 0;
    }
    if (request->input.bytes - request->prefix_bytes + frame->payload_bytes >
        request->payload_bytes) {
        return TANDEM_EPROTO; /* more than was announced */
    }
    request->upload_until_ns = clock_now_ns() + LIMIT_UPLOAD_STALL_MS * NS_PER_MS;
    result = buf_append(&request->input, frame->payload, frame->payload_bytes);
    if (result != 0) {
        request_apply(service, request, SESSION_FAILED, result, NULL);
        return 0;
    }
    if (request->input.bytes - request->prefix_bytes == request->payload_bytes) {
        request->whole_ns = clock_now_ns();
        request_apply(service, request, SESSION_INPUT, 0, NULL);
        service_schedule(service);
    } else if (frame->flags & FRAME_FLAG_LAST) {
        return TANDEM_EPROTO; /* less than was announced */
    }
    return 0;
}

int service_frame(struct service *service, struct service_peer *peer, const struct frame *frame)
{
    struct request *request;

    switch (frame->kind) {
    case FRAME_REQUEST:
        return on_request(service, peer, frame);
    case FRAME_DATA:
        return on_data(service, peer, frame);
    case FRAME_CANCEL:
        request = request_find(service, peer, frame->request_id);
        if (request) {
            request_apply(service, request, SESSION_CANCEL, 0, NULL);
            service_arm(service);
            service_schedule(service);
        }
        return 0;
    default:
        return TANDEM_EPROTO;
    }
}
