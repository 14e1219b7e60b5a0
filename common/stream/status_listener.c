#include "common/stream/status_listener.h"

#include "common/base/error.h"
#include "common/base/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_MS 5000
#define BACKLOG     16

struct asker {
    struct asker *next;
    struct status_listener *listener;
    uv_pipe_t pipe;
    uv_timer_t timer; /* to ask, and to read the answer; who follows has none */
    int open_handles;
    char line[LIMIT_STATUS_LINE_BYTES];
    size_t line_bytes;
    bool asked, follows;
    struct status_source *source; /* NULL: none, or it is done */
};
struct status_listener {
    uv_pipe_t pipe;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    gid_t group; /* of the socket file */
    const char *daemon;
    status_answer_fn answer;
    status_stream_fn stream; /* NULL: none */
    void *user;
    struct asker *askers;
    size_t count, streams;
};
struct status_write {
    uv_write_t request;
    struct asker *asker;
    uint8_t *data;
};

static void on_asker_closed(uv_handle_t *handle)
{
    struct asker *asker = handle->data;

    if (--asker->open_handles == 0) {
        free(asker);
    }
}

static void source_end(struct asker *asker)
{
    struct status_source *source = asker->source;

    if (source) {
        asker->source = NULL;
        asker->listener->streams--;
        source->gone(source);
    }
}

static void asker_close(struct asker *asker)
{
    struct asker **at = &asker->listener->askers;

    while (*at && *at != asker) {
        at = &(*at)->next;
    }
    if (!*at) {
        return; /* closing already */
    }
    *at = asker->next;
    asker->listener->count--;
    source_end(asker);
    uv_close((uv_handle_t *)&asker->pipe, on_asker_closed);
    uv_close((uv_handle_t *)&asker->timer, on_asker_closed);
}

static void on_timer(uv_timer_t *timer)
{
    asker_close(timer->data);
}

static void on_written(uv_write_t *request, int result)
{
    struct status_write *write = request->data;
    struct asker *asker = write->asker;

    if (result == 0 && asker->source) {
        (void)uv_timer_stop(&asker->timer); /* it is for the source now */
        asker->source->more(asker->source);
    } else if (result != UV_ECANCELED && (result != 0 || !asker->follows)) {
        asker_close(asker);
    }
    free(write->data);
    free(write);
}

/* Takes what is in `text`. */
static void asker_write(struct asker *asker, struct buf *text)
{
    struct status_write *write = calloc(1, sizeof(*write));
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
    if (bytes == 0 ||
        uv_write(&write->request, (uv_stream_t *)&asker->pipe, &part, 1, on_written) != 0) {
        free(write->data);
        free(write);
        asker_close(asker);
    }
}

int status_error_json(const char *daemon, const char *error, struct buf *out)
{
    struct json_writer json;
    int result;

    json_begin(&json, out);
    json_object_open(&json, NULL);
    json_int(&json, "schema", 1);
    json_text(&json, "daemon", daemon);
    json_text(&json, "error", error);
    json_object_close(&json);
    result = json_end(&json);
    return result == 0 ? buf_append_u8(out, '\n') : result;
}

static void asker_refuse(struct asker *asker, const char *why)
{
    struct buf out;

    asker->asked = true;
    buf_init(&out, LIMIT_STATUS_ANSWER_BYTES);
    if (status_error_json(asker->listener->daemon, why, &out) == 0) {
        asker_write(asker, &out);
    } else {
        asker_close(asker);
    }
    buf_fini(&out);
}

void status_source_put(struct status_source *source, struct buf *piece, bool last)
{
    struct asker *asker = source->asker;
    struct buf taken = *piece;

    buf_init(piece, 0);
    if (last) {
        source_end(asker); /* `piece` may be its own */
    }
    if (taken.bytes == 0) {
        asker_close(asker);
    } else {
        (void)uv_timer_start(&asker->timer, on_timer, PATIENCE_MS, 0);
        asker_write(asker, &taken);
    }
    buf_fini(&taken);
}

/* Whether the line has an answer in pieces. */
static bool asker_stream(struct asker *asker)
{
    struct status_listener *listener = asker->listener;
    struct status_source *source =
        listener->stream ? listener->stream(asker->line, listener->user) : NULL;

    if (!source) {
        return false;
    }
    if (listener->streams >= LIMIT_STATUS_STREAMS) {
        source->gone(source);
        asker_refuse(asker, "too many ask for so much at once");
        return true;
    }
    listener->streams++;
    asker->source = source;
    source->asker = asker;
    (void)uv_timer_stop(&asker->timer);
    source->more(source);
    return true;
}

static void asker_answer(struct asker *asker)
{
    struct buf out;

    asker->asked = true;
    if (asker_stream(asker)) {
        return;
    }
    buf_init(&out, LIMIT_STATUS_ANSWER_BYTES);
    asker->follows = asker->listener->answer(asker->line, &out, asker->listener->user);
    if (asker->follows) {
        (void)uv_timer_stop(&asker->timer);
    } else if (out.bytes == 0) {
        asker_close(asker); /* nothing to tell, or no room for it */
    }
    if (out.bytes > 0) {
        asker_write(asker, &out);
    }
    buf_fini(&out);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    struct asker *asker = handle->data;

    (void)suggested;
    *ret_buf = uv_buf_init(asker->line + asker->line_bytes,
                           (unsigned)(sizeof(asker->line) - asker->line_bytes));
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *part)
{
    struct asker *asker = stream->data;
    char *end;

    (void)part;
    if (got < 0) { /* also ENOBUFS: a line that is too long */
        if (!asker->asked || asker->follows || got != UV_EOF) {
            asker_close(asker); /* who closed only its writing side still gets the answer */
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

/* NULL: may ask. */
static const char *asker_refusal(const struct asker *asker)
{
    uv_os_fd_t fd;

    if (uv_fileno((const uv_handle_t *)&asker->pipe, &fd) != 0 ||
        !local_socket_admits(fd, asker->listener->group)) {
        return LOCAL_SOCKET_REFUSAL;
    }
    return asker->listener->count > LIMIT_STATUS_CONNECTIONS ? "too many ask at once" : NULL;
}

static void on_connection(uv_stream_t *stream, int result)
{
    struct status_listener *listener = stream->data;
    struct asker *asker = result == 0 ? calloc(1, sizeof(*asker)) : NULL;
    const char *refusal;

    if (!asker) {
        return;
    }
    asker->listener = listener;
    asker->pipe.data = asker->timer.data = asker;
    (void)uv_pipe_init(stream->loop, &asker->pipe, 0);
    (void)uv_timer_init(stream->loop, &asker->timer);
    asker->open_handles = 2;
    asker->next = listener->askers;
    listener->askers = asker;
    listener->count++;
    if (uv_accept(stream, (uv_stream_t *)&asker->pipe) != 0 ||
        uv_timer_start(&asker->timer, on_timer, PATIENCE_MS, 0) != 0) {
        asker_close(asker);
        return;
    }
    refusal = asker_refusal(asker);
    if (refusal) {
        asker_refuse(asker, refusal);
    } else if (uv_read_start((uv_stream_t *)&asker->pipe, on_alloc, on_read) != 0) {
        asker_close(asker);
    }
}

void status_listener_publish(struct status_listener *listener, const struct buf *line)
{
    struct asker *next;

    for (struct asker *asker = listener->askers; asker; asker = next) {
        struct buf copy;

        next = asker->next;
        if (!asker->follows) {
            continue;
        }
        if (uv_stream_get_write_queue_size((uv_stream_t *)&asker->pipe) >
            LIMIT_STATUS_QUEUE_BYTES) {
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

static void on_listener_closed(uv_handle_t *handle)
{
    free(handle->data);
}

int status_listener_new(uv_loop_t *loop, const char *path, const char *daemon,
                        status_answer_fn answer, void *user, struct status_listener **ret_listener,
                        char error[LOCAL_SOCKET_ERROR_BYTES])
{
    struct status_listener *listener = calloc(1, sizeof(*listener));
    int fd, number;

    if (!listener) {
        return TANDEM_ENOMEM;
    }
    fd = local_socket_listen(path, &listener->group, error);
    if (fd < 0) {
        free(listener);
        return fd;
    }
    strcpy(listener->path, path);
    listener->daemon = daemon;
    listener->answer = answer;
    listener->user = user;
    (void)uv_pipe_init(loop, &listener->pipe, 0);
    listener->pipe.data = listener;
    number = uv_pipe_open(&listener->pipe, fd);
    if (number == 0) {
        number = uv_listen((uv_stream_t *)&listener->pipe, BACKLOG, on_connection);
    } else {
        (void)close(fd);
    }
    if (number != 0) {
        snprintf(error, LOCAL_SOCKET_ERROR_BYTES, "%.150s: %s", path, uv_strerror(number));
        (void)unlink(path);
        uv_close((uv_handle_t *)&listener->pipe, on_listener_closed);
        return TANDEM_EIO;
    }
    *ret_listener = listener;
    return 0;
}

void status_listener_set_stream(struct status_listener *listener, status_stream_fn stream)
{
    listener->stream = stream;
}

void status_listener_free(struct status_listener *listener)
{
    if (!listener) {
        return;
    }
    while (listener->askers) {
        asker_close(listener->askers);
    }
    (void)unlink(listener->path);
    uv_close((uv_handle_t *)&listener->pipe, on_listener_closed);
}
