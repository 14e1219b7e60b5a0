#include "server/server.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/notify.h"
#include "common/stream/status_listener.h"
#include "server/listener.h"
#include "server/status.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATUS_EVERY_MS 5000

enum { SIGNAL_TERM, SIGNAL_INT, SIGNAL_HUP, SIGNAL_COUNT };

struct server {
    const char *config_path;
    uv_loop_t loop;
    struct server_config *config; /* the one in force; owned */
    struct catalog *catalog;      /* the service holds its own reference */
    struct service *service;
    struct listener *listener;
    struct status_listener *status;
    uv_signal_t signals[SIGNAL_COUNT];
    uv_timer_t status_timer, watchdog_timer, drain_timer;
    int64_t watchdog_ns, started_ns;
    bool draining, stopped;
    uint64_t reloads, reload_failures;
};

static void config_free_owned(struct server_config *config)
{
    if (config) {
        server_config_fini(config);
        free(config);
    }
}

/* Configuration and catalog together: both, or one line in the log and neither. */
static int server_load(const char *path, const struct catalog *old,
                       struct server_config **ret_config, struct catalog **ret_catalog)
{
    struct server_config *config = calloc(1, sizeof(*config));
    char error[ENGINE_ERROR_BYTES > CONFIG_ERROR_BYTES ? ENGINE_ERROR_BYTES : CONFIG_ERROR_BYTES] =
        "out of memory";
    int result = config ? server_config_load(path, config, error) : TANDEM_ENOMEM;

    if (result == 0) {
        result = catalog_load(config, old, ret_catalog, error);
    }
    if (result != 0) {
        log_error("%s", error);
        config_free_owned(config);
        return result;
    }
    *ret_config = config;
    return 0;
}

/* ---- status ---- */

static bool on_status_line(const char *line, struct buf *out, void *user)
{
    const struct server *server = user;
    const struct status_view view = {.service = server->service,
                                     .listener = server->listener,
                                     .started_ns = server->started_ns,
                                     .draining = server->draining,
                                     .reloads = server->reloads,
                                     .reload_failures = server->reload_failures};

    return status_answer(&view, line, out);
}

static void on_status_timer(uv_timer_t *timer)
{
    struct server *server = timer->data;
    struct edge_load load;

    service_load(server->service, &load);
    (void)notify_status("%s%zu connections, %u requests running, %u queued, %llu answered",
                        server->draining ? "draining: " : "",
                        server->listener ? listener_peer_count(server->listener) : 0, load.running,
                        load.queued, (unsigned long long)service_counts(server->service)->answered);
}

/* A step that hangs starves the watchdog, as a loop that hangs does. */
static void on_watchdog(uv_timer_t *timer)
{
    struct server *server = timer->data;

    if (service_is_alive(server->service, clock_now_ns(), server->watchdog_ns)) {
        (void)notify_watchdog();
    } else {
        log_error("the compute thread has not come back for %lld s",
                  (long long)(server->watchdog_ns / NS_PER_S));
    }
}

/* ---- stop ---- */

static void on_listener_closed(void *user)
{
    struct server *server = user;

    server->listener = NULL;
    uv_stop(&server->loop);
}

static void server_stop(struct server *server)
{
    if (!server->stopped) {
        server->stopped = true;
        listener_close(server->listener, on_listener_closed, server);
    }
}

static void on_idle(void *user)
{
    server_stop(user);
}

static void server_end_now(struct server *server, const char *why)
{
    log_warning("%s: ending the requests that still run", why);
    service_end_all(server->service);
    server_stop(server);
}

static void on_drain_timer(uv_timer_t *timer)
{
    server_end_now(timer->data, "drain_timeout_ms is over");
}

static void on_stop_signal(uv_signal_t *handle, int number)
{
    struct server *server = handle->data;

    (void)number;
    if (server->draining) {
        server_end_now(server, "asked to stop again");
        return;
    }
    server->draining = true;
    log_info("stopping: accepted requests have %lld ms",
             (long long)server->config->drain_timeout_ms);
    (void)notify_stopping();
    listener_drain(server->listener);
    (void)uv_timer_start(&server->drain_timer, on_drain_timer,
                         (uint64_t)server->config->drain_timeout_ms, 0);
    service_drain(server->service, on_idle, server);
}

/* ---- reload ---- */

static void restart_hint(bool differs, const char *what)
{
    if (differs) {
        log_warning("%s changed: this needs a restart, the old value stays", what);
    }
}

static void server_reload(struct server *server)
{
    struct server_config *config = NULL, *old = server->config;
    struct catalog *catalog = NULL;
    char error[CONFIG_ERROR_BYTES];

    if (server_load(server->config_path, server->catalog, &config, &catalog) != 0) {
        server->reload_failures++;
        log_error("reload: the old configuration stays");
        return;
    }
    if (listener_set_config(server->listener, config, error) != 0) {
        log_error("%s", error);
        log_error("reload: the old configuration stays");
        server->reload_failures++;
        catalog_unref(catalog);
        config_free_owned(config);
        return;
    }
    restart_hint(strcmp(config->listen_text, old->listen_text) != 0, "[server] listen");
    restart_hint(strcmp(config->status_socket, old->status_socket) != 0, "[server] status_socket");
    restart_hint(config->threads != old->threads || config->step_tokens != old->step_tokens ||
                     config->sequences != old->sequences,
                 "[server] threads, step_tokens or sequences (for models that stay)");
    service_set_catalog(server->service, catalog);
    listener_catalog_changed(server->listener);
    catalog_unref(server->catalog);
    server->catalog = catalog;
    server->config = config;
    config_free_owned(old);
    server->reloads++;
    log_info("reload: %zu tasks", catalog->task_count);
}

static void on_hup(uv_signal_t *handle, int number)
{
    struct server *server = handle->data;

    (void)number;
    if (server->draining) {
        return;
    }
    (void)notify_reloading();
    server_reload(server);
    (void)notify_ready();
}

/* ---- start ---- */

static int signals_start(struct server *server)
{
    static const int numbers[SIGNAL_COUNT] = {SIGTERM, SIGINT, SIGHUP};
    int result = 0;

    for (int i = 0; i < SIGNAL_COUNT; i++) {
        (void)uv_signal_init(&server->loop, &server->signals[i]);
        server->signals[i].data = server;
        if (uv_signal_start(&server->signals[i], i == SIGNAL_HUP ? on_hup : on_stop_signal,
                            numbers[i]) != 0) {
            result = TANDEM_EIO;
        }
    }
    return result;
}

static void timers_start(struct server *server)
{
    uv_timer_t *timers[] = {&server->status_timer, &server->watchdog_timer, &server->drain_timer};

    for (size_t i = 0; i < sizeof(timers) / sizeof(timers[0]); i++) {
        (void)uv_timer_init(&server->loop, timers[i]);
        timers[i]->data = server;
    }
    (void)uv_timer_start(&server->status_timer, on_status_timer, STATUS_EVERY_MS, STATUS_EVERY_MS);
    server->watchdog_ns = notify_watchdog_interval_ns();
    if (server->watchdog_ns > 0) {
        const uint64_t half_ms = (uint64_t)(server->watchdog_ns / 2 / NS_PER_MS);

        (void)uv_timer_start(&server->watchdog_timer, on_watchdog, half_ms, half_ms ? half_ms : 1);
    }
}

static int server_start(struct server *server)
{
    char error[ENGINE_ERROR_BYTES];
    const char *url;
    int result = engine_self_check(error);

    if (result != 0) {
        log_error("%s", error);
        return result;
    }
    log_info("tandem-server " TANDEM_VERSION ": %s", engine_kernels_text());
    result = server_load(server->config_path, NULL, &server->config, &server->catalog);
    if (result == 0) {
        result = service_new(&server->loop, server->catalog, &server->service);
    }
    if (result != 0) {
        return result;
    }
    result = listener_new(&server->loop, server->config, server->service, &server->listener, error);
    if (result == 0) {
        result = status_listener_new(&server->loop, server->config->status_socket, "tandem-server",
                                     on_status_line, server, &server->status, error);
    }
    if (result != 0) {
        log_error("%s", error);
        return result;
    }
    for (size_t i = 0; (url = listener_url(server->listener, i)) != NULL; i++) {
        log_info("listening on %s%s", url,
                 server_config_has_tls(server->config) ? " with TLS" : "");
    }
    return 0;
}

/* The mirror of the start; the loop runs until every handle has closed. */
static void on_walk(uv_handle_t *handle, void *user)
{
    struct server *server = user;

    for (int i = 0; i < SIGNAL_COUNT; i++) {
        if (handle == (uv_handle_t *)&server->signals[i] && !uv_is_closing(handle)) {
            uv_close(handle, NULL);
        }
    }
    if ((handle == (uv_handle_t *)&server->status_timer ||
         handle == (uv_handle_t *)&server->watchdog_timer ||
         handle == (uv_handle_t *)&server->drain_timer) &&
        !uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

static void server_close(struct server *server)
{
    status_listener_free(server->status);
    if (server->listener) {
        server_stop(server);
        while (server->listener) {
            (void)uv_run(&server->loop, UV_RUN_DEFAULT);
        }
    }
    service_free(server->service);
    uv_walk(&server->loop, on_walk, server);
    (void)uv_run(&server->loop, UV_RUN_DEFAULT);
    (void)uv_run(
        &server->loop,
        UV_RUN_DEFAULT); /* a uv_stop from outside the loop ends the first of the two at once */
    if (uv_loop_close(&server->loop) != 0) {
        log_error("a handle of the loop was left open");
    }
    catalog_unref(server->catalog);
    config_free_owned(server->config);
}

int server_run(const char *config_path)
{
    struct server server = {.config_path = config_path, .started_ns = clock_now_ns()};
    int result = uv_loop_init(&server.loop) == 0 ? 0 : TANDEM_EIO;

    if (result != 0) {
        log_error("cannot make an event loop");
        return result;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    result = server_start(&server);
    if (result == 0) {
        timers_start(&server);
        result = signals_start(&server);
    }
    if (result == 0) {
        (void)notify_ready();
        on_status_timer(&server.status_timer);
        (void)uv_run(&server.loop, UV_RUN_DEFAULT);
        log_info("stopped");
    }
    server_close(&server);
    return result;
}

int server_check(const char *config_path)
{
    struct server_config *config = NULL;
    struct catalog *catalog = NULL;
    struct buf text;
    char error[ENGINE_ERROR_BYTES];
    int result = engine_self_check(error);

    if (result != 0) {
        log_error("%s", error);
        return result;
    }
    result = server_load(config_path, NULL, &config, &catalog);
    if (result != 0) {
        return result;
    }
    buf_init(&text, 0);
    result = config_print(&server_config_schema, config, &text);
    for (size_t i = 0; result == 0 && i < catalog->task_count; i++) {
        const struct served_task *task = &catalog->tasks[i];

        result =
            buf_printf(&text, "# task %s: %s by %s (%s, %s, %llu parameters, digest %s)\n",
                       task->name, task_kind_text(task->kind), task->model->info->path,
                       task->model->info->architecture_text, task->model->info->projection_text,
                       (unsigned long long)task->model->info->parameters,
                       engine_model_digest(task->model->model));
    }
    if (result == 0 &&
        (fwrite(text.data, 1, text.bytes, stdout) != text.bytes || fflush(stdout) != 0)) {
        log_error("cannot write to standard output");
        result = TANDEM_EIO;
    }
    buf_fini(&text);
    catalog_unref(catalog);
    config_free_owned(config);
    return result;
}
