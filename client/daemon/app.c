#include "client/daemon/app_parts.h"

#include "common/base/error.h"
#include "common/base/local_socket.h"
#include "common/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAUSE_MS 100

static void on_connection(uv_poll_t *poll, int status, int events);

static void on_pause_over(uv_timer_t *timer)
{
    struct app *app = timer->data;

    (void)uv_poll_start(&app->poll, UV_READABLE, on_connection);
}

/* The connection stays in the queue and would wake us again at once. */
static void accept_pause(struct app *app)
{
    if (!app->starved) {
        app->starved = true;
        log_warning("%s: %s: applications wait", app->path, strerror(errno));
    }
    (void)uv_poll_stop(&app->poll);
    (void)uv_timer_start(&app->pause_timer, on_pause_over, PAUSE_MS, 0);
}

/* Says why, as far as it goes out at once, and hangs up. */
static void connection_refuse(int fd, int code, const char *text)
{
    struct buf out;

    buf_init(&out, 0);
    if (app_error_pack(0, code, text, &out) == 0) {
        (void)send(fd, out.data, out.bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    buf_fini(&out);
    (void)close(fd);
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
    struct app *app = poll->data;
    struct ucred credentials;
    socklen_t bytes = sizeof(credentials);
    const int fd = status < 0 ? -1 : accept4(app->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    char text[LIMIT_LINE_BYTES + 1];

    (void)events;
    if (fd < 0) {
        if (status == 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM)) {
            accept_pause(app);
        }
        return;
    }
    app->starved = false;
    if (!local_socket_admits(fd, app->group)) {
        connection_refuse(fd, TANDEM_EAUTH, LOCAL_SOCKET_REFUSAL);
    } else if (app->draining) {
        connection_refuse(fd, TANDEM_EDRAINING, "the daemon is stopping");
    } else if (app->count >= LIMIT_APP_CONNECTIONS) {
        snprintf(text, sizeof(text), "all %d connections of applications are in use",
                 LIMIT_APP_CONNECTIONS);
        connection_refuse(fd, TANDEM_EBUSY, text);
    } else if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &bytes) != 0) {
        (void)close(fd);
    } else if (app_peer_new(app, fd, credentials.uid) != 0) {
        log_warning("%s: no memory for another application", app->path);
    }
}

int app_new(uv_loop_t *loop, const char *path, char (*task_names)[LIMIT_NAME_BYTES + 1],
            uint32_t *task_kinds, size_t task_count, const struct app_callbacks *callbacks,
            void *user, struct app **ret_app, char error[256])
{
    struct app *app = calloc(1, sizeof(*app));
    const int fd = app ? local_socket_listen(path, &app->group, error) : TANDEM_ENOMEM;

    if (fd < 0) {
        free(app);
        return fd;
    }
    app->loop = loop;
    app->fd = fd;
    strcpy(app->path, path);
    app->task_names = task_names;
    app->task_kinds = task_kinds;
    app->task_count = task_count;
    app->callbacks = *callbacks;
    app->user = user;
    app->poll.data = app->pause_timer.data = app;
    app->open_handles = 2;
    (void)uv_timer_init(loop, &app->pause_timer);
    (void)uv_poll_init(loop, &app->poll, fd);
    (void)uv_poll_start(&app->poll, UV_READABLE, on_connection);
    *ret_app = app;
    return 0;
}

void app_set_tasks(struct app *app, char (*names)[LIMIT_NAME_BYTES + 1], uint32_t *kinds,
                   size_t count)
{
    app->task_kinds = kinds;
    app->task_names = names;
    app->task_count = count;
}

size_t app_peer_count(const struct app *app)
{
    return app->count;
}

void app_drain(struct app *app)
{
    app->draining = true;
    for (struct app_peer *peer = app->peers; peer; peer = peer->next) {
        if (peer->greeted) {
            app_send(peer, FRAME_GOODBYE, 0, NULL);
        }
    }
}

static void on_app_closed(uv_handle_t *handle)
{
    struct app *app = handle->data;

    if (--app->open_handles == 0) {
        (void)close(app->fd);
        free(app);
    }
}

void app_close(struct app *app)
{
    if (!app) {
        return;
    }
    while (app->peers) {
        app_peer_close(app->peers, false);
    }
    (void)unlink(app->path);
    uv_close((uv_handle_t *)&app->poll, on_app_closed);
    uv_close((uv_handle_t *)&app->pause_timer, on_app_closed);
}
