#include "server/status.h"

#include "common/base/error.h"
#include "common/base/limits.h"
#include "common/base/log.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_MS 5000
#define GROUPS_MAX 256

struct asker {
    struct asker *next;
    struct status *status;
    uv_pipe_t pipe;
    uv_timer_t timer;
    uv_write_t write;
    int open_handles;
    char line[LIMIT_STATUS_LINE_BYTES];
    size_t line_bytes;
    struct buf answer;
};

struct status {
    uv_pipe_t pipe;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    gid_t group; /* of the socket file */
    void (*fill)(struct json_writer *json, void *user);
    void *user;
    struct asker *askers;
    size_t count;
};

static void on_asker_closed(uv_handle_t *handle)
{
    struct asker *asker = handle->data;

    if (--asker->open_handles == 0) {
        buf_fini(&asker->answer);
        free(asker);
    }
}

static void asker_close(struct asker *asker)
{
    struct asker **at = &asker->status->askers;

    while (*at && *at != asker) {
        at = &(*at)->next;
    }
    if (!*at) {
        return; /* closing already */
    }
    *at = asker->next;
    asker->status->count--;
    uv_close((uv_handle_t *)&asker->pipe, on_asker_closed);
    uv_close((uv_handle_t *)&asker->timer, on_asker_closed);
}

static void on_timer(uv_timer_t *timer)
{
    asker_close(timer->data);
}

static void on_written(uv_write_t *write, int result)
{
    (void)result;
    if (result != UV_ECANCELED) {
        asker_close(write->data);
    }
}

static void asker_answer(struct asker *asker)
{
    const bool known = strcmp(asker->line, "status") == 0;
    struct json_writer json;
    uv_buf_t part;

    (void)uv_read_stop((uv_stream_t *)&asker->pipe);
    json_begin(&json, &asker->answer);
    json_object_open(&json, NULL);
    json_int(&json, "schema", 1);
    json_text(&json, "daemon", "tandem-server");
    if (known) {
        asker->status->fill(&json, asker->status->user);
    } else {
        json_text(&json, "error", "unknown request: status is what this daemon answers");
    }
    json_object_close(&json);
    if (json_end(&json) != 0 || buf_append_u8(&asker->answer, '\n') != 0) {
        log_warning("status: the answer does not fit %u bytes", LIMIT_STATUS_QUEUE_BYTES);
        asker_close(asker);
        return;
    }
    part = uv_buf_init((char *)asker->answer.data, (unsigned)asker->answer.bytes);
    asker->write.data = asker;
    if (uv_write(&asker->write, (uv_stream_t *)&asker->pipe, &part, 1, on_written) != 0) {
        asker_close(asker);
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    struct asker *asker = handle->data;

    (void)suggested;
    *ret_buf = uv_buf_init(asker->line + asker->line_bytes, (unsigned)(sizeof(asker->line) - asker->line_bytes));
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *part)
{
    struct asker *asker = stream->data;
    char *end;

    (void)part;
    if (got < 0) {
        asker_close(asker); /* also ENOBUFS: a line that is too long */
        return;
    }
    asker->line_bytes += (size_t)got;
    end = memchr(asker->line, '\n', asker->line_bytes);
    if (end) {
        *end = '\0';
        if (end > asker->line && end[-1] == '\r') {
            end[-1] = '\0';
        }
        asker_answer(asker);
    }
}

/* The mode of the file lets in who may ask; this holds even where the mode was changed by hand. */
static bool asker_may(const struct asker *asker)
{
    struct ucred peer;
    socklen_t bytes = sizeof(peer);
    gid_t groups[GROUPS_MAX];
    int count = GROUPS_MAX;
    uv_os_fd_t fd;
    const struct passwd *user;

    if (uv_fileno((const uv_handle_t *)&asker->pipe, &fd) != 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) != 0) {
        return false;
    }
    if (peer.uid == 0 || peer.uid == geteuid() || peer.gid == asker->status->group) {
        return true;
    }
    user = getpwuid(peer.uid);
    if (!user || getgrouplist(user->pw_name, peer.gid, groups, &count) < 0) {
        return false;
    }
    for (int i = 0; i < count; i++) {
        if (groups[i] == asker->status->group) {
            return true;
        }
    }
    return false;
}

static void on_connection(uv_stream_t *server, int result)
{
    struct status *status = server->data;
    struct asker *asker = result == 0 ? calloc(1, sizeof(*asker)) : NULL;

    if (!asker) {
        return;
    }
    asker->status = status;
    asker->pipe.data = asker->timer.data = asker;
    buf_init(&asker->answer, LIMIT_STATUS_QUEUE_BYTES);
    (void)uv_pipe_init(server->loop, &asker->pipe, 0);
    (void)uv_timer_init(server->loop, &asker->timer);
    asker->open_handles = 2;
    asker->next = status->askers;
    status->askers = asker;
    status->count++;
    if (uv_accept(server, (uv_stream_t *)&asker->pipe) != 0 || status->count > LIMIT_STATUS_CONNECTIONS || !asker_may(asker) ||
        uv_timer_start(&asker->timer, on_timer, PATIENCE_MS, 0) != 0 ||
        uv_read_start((uv_stream_t *)&asker->pipe, on_alloc, on_read) != 0) {
        asker_close(asker);
    }
}

/* Removes a socket file that nobody listens on. */
static int path_clear(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat info;
    int fd, result = 0;

    if (lstat(path, &info) != 0) {
        return 0;
    }
    if (!S_ISSOCK(info.st_mode)) {
        return EEXIST;
    }
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return errno;
    }
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 || errno == EAGAIN) {
        result = EADDRINUSE;
    } else if (unlink(path) != 0) {
        result = errno;
    }
    (void)close(fd);
    return result;
}

static void on_status_closed(uv_handle_t *handle)
{
    free(handle->data);
}

int status_new(uv_loop_t *loop, const char *path, void (*fill)(struct json_writer *json, void *user), void *user,
               struct status **ret_status, char error[256])
{
    struct status *status = calloc(1, sizeof(*status));
    struct stat info = {0};
    mode_t mask;
    int number;

    if (!status || strlen(path) >= sizeof(status->path)) {
        snprintf(error, 256, "status_socket: %.120s: %s", path, status ? "too long for a socket" : "out of memory");
        free(status);
        return TANDEM_ECONFIG;
    }
    strcpy(status->path, path);
    status->fill = fill;
    status->user = user;
    number = path_clear(path);
    if (number != 0) {
        snprintf(error, 256, "status_socket: %.120s: %s", path, strerror(number));
        free(status);
        return TANDEM_EIO;
    }
    (void)uv_pipe_init(loop, &status->pipe, 0);
    status->pipe.data = status;
    mask = umask(0117); /* 0660 from the first moment */
    number = uv_pipe_bind(&status->pipe, path);
    (void)umask(mask);
    if (number == 0) {
        number = uv_listen((uv_stream_t *)&status->pipe, 16, on_connection);
    }
    if (number != 0 || stat(path, &info) != 0) {
        snprintf(error, 256, "status_socket: %.120s: %s", path, number != 0 ? uv_strerror(number) : strerror(errno));
        uv_close((uv_handle_t *)&status->pipe, on_status_closed);
        return TANDEM_EIO;
    }
    status->group = info.st_gid;
    *ret_status = status;
    return 0;
}

void status_free(struct status *status)
{
    if (!status) {
        return;
    }
    while (status->askers) {
        asker_close(status->askers);
    }
    (void)unlink(status->path);
    uv_close((uv_handle_t *)&status->pipe, on_status_closed);
}
