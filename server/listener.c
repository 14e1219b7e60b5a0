#include "server/listener.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/names.h"
#include "common/base/random.h"
#include "server/complaints.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct peer {
    struct peer *next;
    struct listener *listener;
    struct service_peer part;
    struct edge_task *theirs; /* what it said of its tasks; owned */
    size_t their_count;
    bool greeted, closing;
};

struct listener {
    uv_loop_t *loop;
    const struct server_config *config; /* borrowed */
    struct service *service;            /* borrowed */
    struct conn_tls *tls;
    struct conn_listener *bound[LIMIT_LISTEN_URLS];
    size_t bound_count, open_count; /* open: not yet reported as gone */
    struct peer *peers;
    size_t peer_count;
    struct complaints complaints;
    uint8_t boot_id[EDGE_BOOT_ID_BYTES];
    bool stopped;
    void (*on_closed)(void *user);
    void *user;
};

static void listener_finish(struct listener *listener)
{
    if (listener->on_closed && listener->open_count == 0 && listener->peer_count == 0) {
        void (*on_closed)(void *) = listener->on_closed;
        void *user = listener->user;

        conn_tls_unref(listener->tls);
        free(listener);
        on_closed(user);
    }
}

static void peer_close(struct peer *peer, bool flush)
{
    if (!peer->closing) {
        peer->closing = true;
        service_peer_gone(peer->listener->service, &peer->part);
        conn_close(peer->part.conn, flush);
    }
}

/* A peer is closed over this: in the log, each reason once a minute. */
static void peer_complain(struct peer *peer, const char *why)
{
    char more[48] = "";
    uint64_t held;

    if (complaint_is_due(&peer->listener->complaints, why, clock_now_ns(), &held)) {
        if (held > 0) {
            snprintf(more, sizeof(more), " (and %llu more before it)", (unsigned long long)held);
        }
        log_warning("peer %s (%s): closed: %s%s", conn_peer_address(peer->part.conn),
                    peer->part.tenant[0] ? peer->part.tenant : "no tenant yet", why, more);
    }
}

/* Says why, then closes; id 0 speaks of the connection. */
static void peer_refuse(struct peer *peer, int code, const char *text)
{
    struct edge_error error = {.code = code};
    struct buf header;

    peer_complain(peer, text);
    snprintf(error.text, sizeof(error.text), "%s", text);
    buf_init(&header, LIMIT_FRAME_HEADER_BYTES);
    if (edge_error_pack(&error, &header) == 0) {
        (void)conn_send(peer->part.conn, FRAME_ERROR, 0, 0, header.data, header.bytes);
    }
    buf_fini(&header);
    peer_close(peer, true);
}

static void contract_fill(const struct served_task *task, struct edge_task *contract)
{
    snprintf(contract->name, sizeof(contract->name), "%s", task->name);
    contract->kind =
        (uint32_t)task->kind + WIRE_CLASSIFY; /* both count classify, detect, generate */
    contract->label_count = task->label_count;
    memcpy(contract->label_digest, task->label_digest, sizeof(contract->label_digest));
    memcpy(contract->model_digest, engine_model_digest(task->model->model),
           sizeof(contract->model_digest));
    contract->picture_width = engine_model_info(task->model->model)->image_width;
    contract->picture_height = engine_model_info(task->model->model)->image_height;
}

/* HELLO, or TASKS after a reload. */
static void tasks_say(struct peer *peer, enum frame_kind kind, uint16_t flags)
{
    struct conn *conn = peer->part.conn;
    const struct catalog *catalog = service_catalog(peer->listener->service);
    struct edge_task tasks[LIMIT_TASKS] = {0};
    struct edge_hello hello = {.version_low = WIRE_VERSION_LOW,
                               .version_high = WIRE_VERSION_HIGH,
                               .software = "tandem-server " TANDEM_VERSION,
                               .tasks = tasks,
                               .task_count = catalog->task_count,
                               .has_load = true};
    struct buf header;

    memcpy(hello.boot_id, peer->listener->boot_id, sizeof(hello.boot_id));
    for (size_t i = 0; i < catalog->task_count; i++) {
        contract_fill(&catalog->tasks[i], &tasks[i]);
    }
    service_load(peer->listener->service, &hello.load);
    buf_init(&header, LIMIT_FRAME_HEADER_BYTES);
    if (edge_hello_pack(&hello, &header) != 0 ||
        conn_send(conn, kind, flags, 0, header.data, header.bytes) != 0) {
        log_error("peer %s: cannot be told what is served here", conn_peer_address(conn));
    }
    buf_fini(&header);
}

/* Tasks that both sides have but describe differently are off for this peer. */
static void contracts_compare(struct peer *peer)
{
    const struct catalog *catalog = service_catalog(peer->listener->service);

    peer->part.off_count = 0;
    for (size_t i = 0; i < peer->their_count && peer->part.off_count < LIMIT_TASKS; i++) {
        const struct edge_task *theirs = &peer->theirs[i];
        const struct served_task *ours = catalog_find(catalog, theirs->name);
        struct edge_task mine = {0};

        if (!ours) {
            continue;
        }
        contract_fill(ours, &mine);
        if (theirs->kind == mine.kind && theirs->label_count == mine.label_count &&
            strcmp(theirs->label_digest, mine.label_digest) == 0) {
            continue;
        }
        memcpy(peer->part.off[peer->part.off_count++], theirs->name, sizeof(theirs->name));
        log_warning("peer %s (%s): task %s is off for it: kind %u, %u labels, digest %.8s there; "
                    "kind %u, %u labels, digest %.8s here",
                    conn_peer_address(peer->part.conn), peer->part.tenant, theirs->name,
                    theirs->kind, theirs->label_count, theirs->label_digest, mine.kind,
                    mine.label_count, mine.label_digest);
    }
}

static void tasks_take(struct peer *peer, struct edge_hello *hello)
{
    free(peer->theirs);
    peer->theirs = hello->tasks;
    peer->their_count = hello->task_count;
    hello->tasks = NULL;
    hello->task_count = 0;
    contracts_compare(peer);
}

/* Our hello is the answer to one that we agree with: who hears it may use us. */
static void peer_greet(struct peer *peer, struct edge_hello *hello)
{
    const char *name = conn_peer_name(peer->part.conn);
    const char *tenant = name;

    if (wire_version_agree(WIRE_VERSION_LOW, WIRE_VERSION_HIGH, hello->version_low,
                           hello->version_high) == 0) {
        peer_refuse(peer, TANDEM_EPROTO, "no common protocol version");
        return;
    }
    if (name[0] == '\0') {
        tenant = server_config_tenant_of(peer->listener->config, hello->token);
    }
    if (!tenant || !name_is_valid(tenant)) {
        peer_refuse(peer, TANDEM_EAUTH,
                    tenant ? "the certificate's name cannot be a tenant" : "the token is nobody's");
        return;
    }
    snprintf(peer->part.tenant, sizeof(peer->part.tenant), "%s", tenant);
    memcpy(peer->part.boot_id, hello->boot_id, sizeof(peer->part.boot_id));
    tasks_take(peer, hello);
    peer->greeted = true;
    tasks_say(peer, FRAME_HELLO, FRAME_FLAG_MANDATORY);
    if (peer->listener->stopped) {
        (void)conn_send(peer->part.conn, FRAME_GOODBYE, 0, 0, NULL, 0);
    }
    log_debug("peer %s (%s): %s", conn_peer_address(peer->part.conn), peer->part.tenant,
              hello->software);
}

static void on_hello(struct peer *peer, const struct frame *frame)
{
    struct edge_hello hello;

    if (edge_hello_unpack(frame->header, frame->header_bytes, &hello) != 0) {
        peer_refuse(peer, TANDEM_EPROTO, "the hello is damaged");
        return;
    }
    peer_greet(peer, &hello);
    explicit_bzero(hello.token, sizeof(hello.token));
    edge_hello_fini(&hello);
}

/* The peer has read its task files again. */
static void on_tasks(struct peer *peer, const struct frame *frame)
{
    struct edge_hello hello;

    if (edge_hello_unpack(frame->header, frame->header_bytes, &hello) != 0) {
        peer_refuse(peer, TANDEM_EPROTO, "its list of tasks is damaged");
        return;
    }
    tasks_take(peer, &hello);
    explicit_bzero(hello.token, sizeof(hello.token));
    edge_hello_fini(&hello);
}

static void on_frame(struct conn *conn, const struct frame *frame, void *user)
{
    struct peer *peer = user;

    (void)conn;
    if (peer->closing) {
        return;
    }
    if (frame->kind == FRAME_HELLO && !peer->greeted) {
        on_hello(peer, frame);
    } else if (!peer->greeted) {
        peer_refuse(peer, TANDEM_EPROTO, "the first frame was no hello");
    } else if (frame->kind == FRAME_REQUEST || frame->kind == FRAME_DATA ||
               frame->kind == FRAME_CANCEL) {
        if (service_frame(peer->listener->service, &peer->part, frame) != 0) {
            peer_refuse(peer, TANDEM_EPROTO, "a frame that breaks the protocol");
        }
    } else if (frame->kind == FRAME_GOODBYE) {
        return; /* it sends nothing new; what runs still ends */
    } else if (frame->kind == FRAME_TASKS) {
        on_tasks(peer, frame);
    } else if (frame->kind <= FRAME_GOODBYE || (frame->flags & FRAME_FLAG_MANDATORY)) {
        peer_refuse(
            peer, TANDEM_EPROTO,
            "a frame that a client does not send, or that this version must know and does not");
    }
}

static bool get_load(struct conn *conn, struct edge_load *ret_load, void *user)
{
    const struct peer *peer = user;

    (void)conn;
    service_load(peer->listener->service, ret_load);
    return true;
}

static void on_close(struct conn *conn, int error, const char *why, void *user)
{
    struct peer *peer = user;
    struct listener *listener = peer->listener;
    struct peer **at = &listener->peers;

    (void)conn;
    if (!peer->closing && (error == TANDEM_EAUTH || error == TANDEM_EPROTO)) {
        peer_complain(peer, why);
    }
    if (!peer->closing) {
        log_debug("peer %s: gone: %s (%s)", peer->part.tenant, tandem_error_text(error), why);
        service_peer_gone(listener->service, &peer->part);
    }
    while (*at != peer) {
        at = &(*at)->next;
    }
    *at = peer->next;
    listener->peer_count--;
    free(peer->theirs);
    free(peer);
    listener_finish(listener);
}

static bool on_accept(struct conn *conn, void *listener_user, void **ret_user)
{
    struct listener *listener = listener_user;
    struct peer *peer = listener->stopped ? NULL : calloc(1, sizeof(*peer));

    if (!peer) {
        return false;
    }
    peer->listener = listener;
    peer->part.conn = conn;
    peer->next = listener->peers;
    listener->peers = peer;
    listener->peer_count++;
    *ret_user = peer;
    return true;
}

static void on_unbound(void *user)
{
    struct listener *listener = user;

    listener->open_count--;
    listener_finish(listener);
}

static int tls_load(const struct server_config *config, struct conn_tls **ret_tls,
                    char error[CONFIG_ERROR_BYTES])
{
    *ret_tls = NULL;
    return server_config_has_tls(config)
               ? conn_tls_load(config->tls_cert, config->tls_key, config->tls_ca, ret_tls, error)
               : 0;
}

static void unbind(struct listener *listener)
{
    for (size_t i = 0; i < listener->bound_count; i++) {
        conn_listener_close(listener->bound[i], on_unbound, listener);
    }
    listener->bound_count = 0;
    listener->stopped = true;
}

static void on_nothing(void *user)
{
    (void)user;
}

int listener_new(uv_loop_t *loop, const struct server_config *config, struct service *service,
                 struct listener **ret_listener, char error[CONFIG_ERROR_BYTES])
{
    struct conn_listener_params params = {
        .connections_max = LIMIT_CONNECTIONS,
        .ipc_mode = 0660,
        .on_accept = on_accept,
        .conn.callbacks = {.on_frame = on_frame, .get_load = get_load, .on_close = on_close}};
    struct listener *listener = calloc(1, sizeof(*listener));
    int result =
        listener ? random_bytes(listener->boot_id, sizeof(listener->boot_id)) : TANDEM_ENOMEM;

    snprintf(error, CONFIG_ERROR_BYTES, "no memory or no random numbers");
    if (result == 0) {
        listener->loop = loop;
        listener->config = config;
        listener->service = service;
        result = tls_load(config, &listener->tls, error);
    }
    if (result != 0) {
        free(listener);
        return result;
    }
    params.conn.tls = listener->tls;
    for (size_t i = 0; i < config->url_count && result == 0; i++) {
        result =
            conn_listener_new(loop, config->urls[i], &params, listener, &listener->bound[i], error);
        if (result == 0) {
            listener->bound_count++;
            listener->open_count++;
        }
    }
    if (result != 0) {
        listener_close(listener, on_nothing, NULL);
        return result;
    }
    *ret_listener = listener;
    return 0;
}

int listener_set_config(struct listener *listener, const struct server_config *config,
                        char error[CONFIG_ERROR_BYTES])
{
    struct conn_tls *tls;
    int result = 0;

    if (server_config_has_tls(config) != server_config_has_tls(listener->config)) {
        snprintf(error, CONFIG_ERROR_BYTES,
                 "[tls] cannot be switched on or off by a reload: restart");
        return TANDEM_ECONFIG;
    }
    result = tls_load(config, &tls, error);
    if (result != 0) {
        return result;
    }
    for (size_t i = 0; i < listener->bound_count; i++) {
        conn_listener_set_tls(listener->bound[i], tls);
    }
    conn_tls_unref(listener->tls);
    listener->tls = tls;
    listener->config = config;
    return 0;
}

void listener_catalog_changed(struct listener *listener)
{
    for (struct peer *peer = listener->peers; peer; peer = peer->next) {
        if (peer->greeted && !peer->closing) {
            contracts_compare(peer);
            tasks_say(peer, FRAME_TASKS, 0);
        }
    }
}

void listener_drain(struct listener *listener)
{
    unbind(listener);
    for (struct peer *peer = listener->peers; peer; peer = peer->next) {
        if (peer->greeted && !peer->closing) {
            (void)conn_send(peer->part.conn, FRAME_GOODBYE, 0, 0, NULL, 0);
        }
    }
}

void listener_close(struct listener *listener, void (*on_closed)(void *user), void *user)
{
    unbind(listener);
    listener->on_closed = on_closed;
    listener->user = user;
    for (struct peer *peer = listener->peers; peer; peer = peer->next) {
        peer_close(peer, true); /* on_close comes later, the list does not change here */
    }
    listener_finish(listener);
}

size_t listener_peer_count(const struct listener *listener)
{
    return listener->peer_count;
}

const char *listener_url(const struct listener *listener, size_t index)
{
    return index < listener->bound_count ? conn_listener_url(listener->bound[index]) : NULL;
}
