#include "server/service_parts.h"

#include "common/base/log.h"

#include <stdlib.h>
#include <string.h>

/* The turn's rows go back to the conversation; with an answer, whole, empty or cut short, its
 * transcript grows by this turn: what was sent is what both sides remember. */
static void turn_end(struct service *service, struct request *request)
{
    struct conversation *conversation = request->conversation;
    const bool answered = request->finish != WIRE_FINISH_NONE;
    struct buf *transcript = NULL;

    if (!conversation) {
        return;
    }
    request->conversation = NULL;
    if (!request
             ->ids) { /* it never came as far as to take the rows: they are still where they were */
        conversation->busy = false;
        return;
    }
    request->input.max_bytes = LIMIT_TRANSCRIPT_BYTES;
    if (answered && transcript_append(&request->input, TURN_ANSWER,
                                      (const char *)request->text.data, request->text.bytes) == 0) {
        transcript = &request->input;
    }
    conversation_end(&service->conversations, conversation, &request->seq, request->ids, transcript,
                     clock_now_ns());
    request->ids = NULL;
    conversations_trim(&service->conversations, service->catalog);
}

void request_free(struct service *service, struct request *request)
{
    struct request **at = &service->requests;

    while (*at && *at != request) {
        at = &(*at)->next;
    }
    if (*at) {
        *at = request->next;
        if (service->requests_tail == &request->next) {
            service->requests_tail = at;
        }
        service->request_count--;
    }
    turn_end(service, request);
    service->payload_bytes -= request->charged_bytes;
    if (request->peer) {
        request->peer->requests--;
        request->peer->payload_bytes -= request->charged_bytes;
    }
    engine_seq_fini(&request->seq);
    free(request->ids);
    free(request->scores);
    buf_fini(&request->input);
    buf_fini(&request->text);
    served_model_unref(request->model);
    catalog_unref(request->catalog);
    free(request);
    if (service->draining && service->request_count == 0 && service->on_idle) {
        void (*on_idle)(void *) = service->on_idle;

        service->on_idle = NULL;
        on_idle(service->on_idle_user);
    }
}

static void request_log(struct service *service, const struct request *request, const char *how)
{
    request_lines_say(
        service->lines,
        "request %s: task %s, tenant %s: %s after %lld us (%lld us of it computing), %u tokens",
        request->decision_id[0] ? request->decision_id : "-", request->task->name, request->tenant,
        how, (long long)((clock_now_ns() - request->arrival_ns) / NS_PER_US),
        (long long)(request->run_ns / NS_PER_US), request->session.tokens);
}

/* When the step that is out works for nobody any more, it may stop at its next layer. */
static void step_abort_if_unwanted(struct service *service)
{
    struct worker_job *job = worker_running(service->worker);

    if (!job) {
        return;
    }
    for (uint32_t i = 0; i < job->count; i++) {
        if (((struct request *)job->entries[i].user)->session.state != SESSION_LEAVING) {
            return;
        }
    }
    atomic_store(&job->abort, true);
}

void request_apply(struct service *service, struct request *request, enum session_event event,
                   int error, const char *why)
{
    const enum session_state before = request->session.state;
    struct session_actions actions = session_event(&request->session, event, error, clock_now_ns());

    if (actions.mask & SESSION_SEND_RESULT) {
        if (actions.partial) {
            request->finish = WIRE_FINISH_DEADLINE;
            service->counts.late++;
        }
        error = reply_result(service, request, actions.partial);
        if (error == 0) {
            service->counts.answered++;
            request_log(service, request,
                        actions.partial ? "cut short by its deadline" : "answered");
        } else {
            actions.mask |= SESSION_SEND_ERROR;
            actions.error = error;
            why = "the answer cannot be packed";
        }
    }
    if (actions.mask & SESSION_SEND_ERROR) {
        service->counts.failed++;
        service->counts.late += actions.error == TANDEM_ELATE;
        why = why && why[0] ? why : tandem_error_text(actions.error);
        reply_error(service, request->peer, request->id, request->model, actions.error, why, 0);
        request_log(service, request, tandem_error_name(actions.error));
    }
    if ((event == SESSION_CANCEL || event == SESSION_GONE) && before != SESSION_LEAVING &&
        before != SESSION_ENDED) {
        service->counts.cancelled++;
        request_log(service, request,
                    event == SESSION_CANCEL ? "cancelled" : "given up, the peer is gone");
    }
    if (actions.mask & SESSION_RELEASE) {
        request_free(service, request);
        return;
    }
    if (request->session.state == SESSION_LEAVING) {
        step_abort_if_unwanted(service);
    }
}

/* When something happens to a request by itself: its deadline, or an input that does not come.
 * INT64_MAX: never. */
static int64_t request_due_ns(const struct request *request)
{
    int64_t due_ns = request->deadline_ns != 0 ? request->deadline_ns : INT64_MAX;

    if (request->session.state == SESSION_LEAVING) {
        return INT64_MAX;
    }
    if (request->session.state == SESSION_RECEIVING && request->upload_until_ns < due_ns) {
        due_ns = request->upload_until_ns;
    }
    return due_ns;
}

static void on_deadline(uv_timer_t *timer)
{
    struct service *service = timer->data;
    const int64_t now_ns = clock_now_ns();

    for (struct request *next, *request = service->requests; request; request = next) {
        next = request->next;
        if (request->deadline_ns != 0 && now_ns >= request->deadline_ns) {
            request_apply(service, request, SESSION_DEADLINE, 0, NULL);
        } else if (now_ns >= request_due_ns(request)) {
            request_apply(service, request, SESSION_FAILED, TANDEM_ETIMEDOUT,
                          "its input stopped coming");
        }
    }
    service_arm(service);
    service_schedule(service);
}

/* One timer for the earliest of all. */
void service_arm(struct service *service)
{
    int64_t earliest_ns = INT64_MAX, wait_ns;

    for (const struct request *r = service->requests; r; r = r->next) {
        const int64_t due_ns = request_due_ns(r);

        earliest_ns = due_ns < earliest_ns ? due_ns : earliest_ns;
    }
    if (earliest_ns == INT64_MAX || service->closing) {
        (void)uv_timer_stop(&service->deadline_timer);
        return;
    }
    wait_ns = earliest_ns - clock_now_ns();
    (void)uv_timer_start(&service->deadline_timer, on_deadline,
                         wait_ns > 0 ? (uint64_t)(wait_ns / NS_PER_MS) + 1 : 0, 0);
}

int service_new(uv_loop_t *loop, struct catalog *catalog, struct service **ret_service)
{
    struct service *service = calloc(1, sizeof(*service));
    int result;

    if (!service) {
        return TANDEM_ENOMEM;
    }
    service->loop = loop;
    service->requests_tail = &service->requests;
    service->lines = request_lines_new(loop);
    result = service->lines ? worker_new(loop, service_on_job, service, &service->worker)
                            : TANDEM_ENOMEM;
    if (result != 0) {
        request_lines_free(service->lines);
        free(service);
        return result;
    }
    (void)uv_timer_init(loop, &service->deadline_timer); /* cannot fail */
    service->deadline_timer.data = service;
    service->catalog = catalog;
    catalog_ref(catalog);
    *ret_service = service;
    return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void service_free(struct service *service)
{
    if (!service) {
        return;
    }
    service->closing = true;
    service->on_idle = NULL;
    service_end_all(service);
    worker_free(service->worker); /* after this nobody computes on what is left */
    while (service->requests) {
        request_free(service, service->requests);
    }
    conversations_trim(&service->conversations, NULL);
    catalog_unref(service->catalog);
    request_lines_free(service->lines);
    uv_close((uv_handle_t *)&service->deadline_timer, on_timer_closed);
}

void service_set_catalog(struct service *service, struct catalog *catalog)
{
    catalog_ref(catalog);
    catalog_unref(service->catalog);
    service->catalog = catalog;
    conversations_trim(&service->conversations, catalog);
}

struct catalog *service_catalog(struct service *service)
{
    return service->catalog;
}

void service_peer_gone(struct service *service, struct service_peer *peer)
{
    for (struct request *next, *request = service->requests; request; request = next) {
        next = request->next;
        if (request->peer == peer) {
            request->peer->requests--;
            request->peer = NULL;
            request_apply(service, request, SESSION_GONE, 0, NULL);
        }
    }
    service_arm(service);
    service_schedule(service);
}

void service_drain(struct service *service, void (*on_idle)(void *user), void *user)
{
    service->draining = true;
    if (service->request_count == 0) {
        on_idle(user);
        return;
    }
    service->on_idle = on_idle;
    service->on_idle_user = user;
}

void service_end_all(struct service *service)
{
    for (struct request *next, *request = service->requests; request; request = next) {
        next = request->next;
        request_apply(service, request, SESSION_DRAIN, 0, "the server stops now");
    }
}

const struct service_counts *service_counts(const struct service *service)
{
    return &service->counts;
}

size_t service_sessions(const struct service *service)
{
    return service->conversations.count;
}

bool service_is_alive(struct service *service, int64_t now_ns, int64_t patience_ns)
{
    return worker_is_alive(service->worker, now_ns, patience_ns);
}
