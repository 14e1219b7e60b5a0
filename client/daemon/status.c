#include "client/daemon/status.h"

#include "common/base/error.h"
#include "common/base/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct asker {
    struct asker *next;
    struct status *status;
    uv_pipe_t pipe;
    char line[LIMIT_STATUS_LINE_BYTES];
    size_t line_bytes;
    bool asked, follows;
};
struct status {
    uv_pipe_t pipe;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    status_answer_fn answer;
    void *user;
    struct asker *askers;
    size_t count;
};
struct write {
    uv_write_t request;
    struct asker *asker;
    uint8_t *data;
};

static void on_asker_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void asker_close(struct asker *asker)
{
    struct asker **at = &asker->status->askers;

    if (uv_is_closing((uv_handle_t *)&asker->pipe)) {
        return;
    }
    while (*at != asker) {
        at = &(*at)->next;
    }
    *at = asker->next;
    asker->status->count--;
    uv_close((uv_handle_t *)&asker->pipe, on_asker_closed);
}

static void on_written(uv_write_t *request, int result)
{
    struct write *write = request->data;

    if (result != UV_ECANCELED && !write->asker->follows) {
        asker_close(write->asker);
    }
    free(write->data);
    free(write);
}

static void asker_write(struct asker *asker, struct buf *text)
{
    struct write *write = calloc(1, sizeof(*write));
    size_t bytes = 0;
    uv_buf_t part;

    if (!write) {
        asker_close(asker);
        return;
    }
    write->data = buf_take(text, &bytes);
    write->asker = asker;
    write->request.data = write;
    part = uv_buf_init((char *)write->data, (unsigned)bytes);
    if (bytes == 0 || uv_write(&write->request, (uv_stream_t *)&asker->pipe, &part, 1, on_written) != 0) {
        free(write->data);
        free(write);
        asker_close(asker);
    }
}

static void asker_answer(struct asker *asker)
{
    struct buf out;

    asker->asked = true;
    buf_init(&out, 4 * LIMIT_STATUS_QUEUE_BYTES);
    asker->follows = asker->status->answer(asker->line, &out, asker->status->user);
    if (!asker->follows || out.bytes > 0) {
        asker_write(asker, &out);
    }
    buf_fini(&out);
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
        if (!asker->asked || asker->follows || got != UV_EOF) { /* who closed only its writing side still gets the answer */
            asker_close(asker);
        }
        return;
    }
    if (asker->asked) {
        asker->line_bytes = 0; /* nothing more is asked on this connection */
        return;
    }
    asker->line_bytes += (size_t)got;
    end = memchr(asker->line, '\n', asker->line_bytes);
    if (end) {
        *end = '\0';
        asker->line[strcspn(asker->line, "\r")] = '\0';
        asker->line_bytes = 0;
        asker_answer(asker);
    }
}

static void on_connection(uv_stream_t *stream, int result)
{
    struct status *status = stream->data;
    struct asker *asker = result == 0 ? calloc(1, sizeof(*asker)) : NULL;

    if (!asker) {
        return;
    }
    asker->status = status;
    (void)uv_pipe_init(stream->loop, &asker->pipe, 0);
    asker->pipe.data = asker;
    asker->next = status->askers;
    status->askers = asker;
    status->count++;
    if (uv_accept(stream, (uv_stream_t *)&asker->pipe) != 0 || status->count > LIMIT_STATUS_CONNECTIONS ||
        uv_read_start((uv_stream_t *)&asker->pipe, on_alloc, on_read) != 0) {
        asker_close(asker);
    }
}

void status_publish(struct status *status, const struct buf *line)
{
    struct asker *next;

    for (struct asker *asker = status->askers; asker; asker = next) {
        struct buf copy;

        next = asker->next;
        if (!asker->follows) {
            continue;
        }
        if (uv_stream_get_write_queue_size((uv_stream_t *)&asker->pipe) > LIMIT_STATUS_QUEUE_BYTES) {
            asker_close(asker);
            continue;
        }
        buf_init(&copy, 0);
        if (buf_append(&copy, line->data, line->bytes) == 0) {
            asker_write(asker, &copy);
        }
        buf_fini(&copy);
    }
}

static bool path_is_live(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool live = false;

    if (fd >= 0 && strlen(path) < sizeof(address.sun_path)) {
        strcpy(address.sun_path, path);
        live = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return live;
}

static void on_status_closed(uv_handle_t *handle)
{
    free(handle->data);
}

int status_new(uv_loop_t *loop, const char *path, status_answer_fn answer, void *user, struct status **ret_status, char error[256])
{
    struct status *status;
    int result;

    if (strlen(path) >= sizeof(status->path) || path_is_live(path)) {
        snprintf(error, 256, "%.150s: the path is too long, or another daemon listens there", path);
        return TANDEM_EIO;
    }
    status = calloc(1, sizeof(*status));
    if (!status) {
        return TANDEM_ENOMEM;
    }
    strcpy(status->path, path);
    status->answer = answer;
    status->user = user;
    (void)uv_pipe_init(loop, &status->pipe, 0);
    status->pipe.data = status;
    (void)unlink(path);
    result = uv_pipe_bind(&status->pipe, path);
    if (result == 0 && chmod(path, 0660) != 0) {
        result = UV_EIO;
    }
    if (result == 0) {
        result = uv_listen((uv_stream_t *)&status->pipe, 64, on_connection);
    }
    if (result != 0) {
        snprintf(error, 256, "%.150s: %s", path, uv_strerror(result));
        uv_close((uv_handle_t *)&status->pipe, on_status_closed);
        return TANDEM_EIO;
    }
    *ret_status = status;
    return 0;
}

void status_close(struct status *status)
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
