/* service_parts.h: what the files of the service share. Included by service*.c only. */
#ifndef TANDEM_SERVER_SERVICE_PARTS_H
#define TANDEM_SERVER_SERVICE_PARTS_H

#include "server/service.h"
#include "server/session.h"
#include "server/worker.h"

#include "common/base/clock.h"
#include "common/stream/request_lines.h"

struct request {
    struct request *next;
    struct session session;
    struct service_peer *peer; /* NULL once it is gone */
    uint64_t id, tenant_key;
    char decision_id[21], tenant[LIMIT_NAME_BYTES + 1];
    struct catalog *catalog; /* one reference, for `task` */
    const struct served_task *task;
    struct served_model *model; /* one reference: outlives a catalog that no longer serves it */
    int64_t arrival_ns, deadline_ns, started_ns, run_ns; /* started 0: never in a step */
    int64_t whole_ns;        /* when the last of its input was here, and it began to wait */
    int64_t upload_until_ns; /* while receiving: when the next piece must be here */
    /* input */
    struct buf input; /* a session's prefix, then the payload */
    size_t prefix_bytes, payload_bytes, charged_bytes;
    struct wire_picture picture;
    /* generate */
    struct conversation *conversation; /* borrowed while the turn runs, or NULL */
    bool is_session, stream, reserved;
    struct engine_seq seq; /* the compute thread's while it is in a step */
    uint32_t rows;         /* of `seq`; in a step: those before it */
    uint32_t *ids;         /* [n_context] prompt, then what was generated and fed back */
    uint32_t id_count, prompt_count, cached_count, max_new;
    uint32_t next_id; /* generated, not yet fed */
    struct engine_sampler sampler;
    struct buf text;
    double logprob;
    uint32_t finish;
    /* classify */
    float *scores; /* [n_class] */
};

struct service {
    uv_loop_t *loop;
    uv_timer_t deadline_timer;
    struct request_lines *lines;
    struct worker *worker;
    struct catalog *catalog;
    struct conversations conversations;
    struct request *requests, **requests_tail; /* in order of arrival */
    size_t request_count;
    size_t payload_bytes;                   /* charged by live requests */
    uint64_t recent[LIMIT_RECENT_REQUESTS]; /* hashes of (tenant, boot id, request id), a ring */
    size_t recent_next;
    bool draining, closing;
    void (*on_idle)(void *user);
    void *on_idle_user;
    struct service_counts counts;
};

/* service.c */
void request_apply(struct service *service, struct request *request, enum session_event event,
                   int error, const char *why);
void service_arm(struct service *service);
void request_free(struct service *service, struct request *request);
/* service_load.c */
int64_t request_service_ns(const struct request *request);
int64_t request_urgency_ns(const struct request *request);
int64_t service_ahead_ns(const struct service *service, int64_t urgency_ns);
void service_load_for(const struct service *service, const struct served_model *model,
                      struct edge_load *ret_load);
/* service_run.c */
void service_schedule(struct service *service);
void service_on_job(struct worker_job *job, void *user);
/* service_reply.c */
void reply_error(struct service *service, struct service_peer *peer, uint64_t id,
                 const struct served_model *model, int code, const char *text, uint64_t retry_ms);
void reply_accepted(struct service *service, const struct request *request);
void reply_tokens(const struct request *request, const uint8_t *text, size_t bytes);
int reply_result(struct service *service, struct request *request, bool partial);

#endif
