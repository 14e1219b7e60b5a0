#include "client/daemon/app.h"

#include "common/base/error.h"
#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define READ_BYTES (64u << 10)
#define PEER_FDS LIMIT_LIB_REQUESTS
#define OUTBOX_BYTES (16u << 20)
#define PEER_UPLOADS 16

struct upload { /* a submit whose DATA is still coming */
    uint64_t id;
    struct local_submit submit;
    struct buf data;
};
struct app_peer {
    struct app_peer *next;
    struct app *app;
    uv_poll_t poll;
    int fd;
    uid_t uid;
    bool greeted, broken, closing;
    int fds[PEER_FDS];
    size_t fd_count;
    struct buf inbox, outbox;
    struct upload *uploads[PEER_UPLOADS];
    size_t upload_count;
};
struct app {
    uv_poll_t poll;
    uv_loop_t *loop;
    int fd;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    char (*task_names)[LIMIT_NAME_BYTES + 1];
    size_t task_count;
    struct app_callbacks callbacks;
    void *user;
    struct app_peer *peers;
    size_t count;
    bool draining;
};

void app_input_release(struct app_input *input)
{
    if (input->mapped) {
        (void)munmap(input->data, input->bytes);
    } else {
        free(input->data);
    }
    memset(input, 0, sizeof(*input));
}

static void upload_free(struct upload *upload)
{
    buf_fini(&upload->data);
    free(upload);
}

static void on_peer_closed(uv_handle_t *handle)
{
    struct app_peer *peer = handle->data;

    (void)close(peer->fd);
    for (size_t i = 0; i < peer->fd_count; i++) {
        (void)close(peer->fds[i]);
    }
    for (size_t i = 0; i < peer->upload_count; i++) {
        upload_free(peer->uploads[i]);
    }
    buf_fini(&peer->inbox);
    buf_fini(&peer->outbox);
    free(peer);
}

static void peer_close(struct app_peer *peer, bool tell)
{
    struct app_peer **at = &peer->app->peers;

    if (peer->closing) {
        return;
    }
    peer->closing = true;
    while (*at != peer) {
        at = &(*at)->next;
    }
    *at = peer->next;
    peer->app->count--;
    if (tell) {
        peer->app->callbacks.on_gone(peer, peer->app->user);
    }
    uv_close((uv_handle_t *)&peer->poll, on_peer_closed);
}

static void on_peer_event(uv_poll_t *poll, int status, int events);

static void peer_write(struct app_peer *peer)
{
    while (peer->outbox.bytes > 0 && !peer->broken) {
        const ssize_t sent = send(peer->fd, peer->outbox.data, peer->outbox.bytes, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent < 0) {
            peer->broken = errno != EAGAIN && errno != EINTR;
            break;
        }
        buf_consume(&peer->outbox, (size_t)sent);
    }
    (void)uv_poll_start(&peer->poll, UV_READABLE | (peer->outbox.bytes || peer->broken ? UV_WRITABLE : 0), on_peer_event);
}

void app_send(struct app_peer *peer, enum frame_kind kind, uint64_t id, const struct buf *header)
{
    const struct frame frame = {.kind = (uint8_t)kind, .request_id = id, .header = header ? header->data : NULL,
                                .header_bytes = header ? (uint32_t)header->bytes : 0};

    if (peer->closing || peer->broken) {
        return;
    }
    if (frame_encode(&frame, &peer->outbox) != 0) {
        peer->broken = true; /* too slow: closed at the next event */
    }
    peer_write(peer);
}

static void peer_error(struct app_peer *peer, uint64_t id, int code, const char *text)
{
    struct local_error error = {.code = code};
    struct buf header;

    buf_init(&header, LIMIT_FRAME_HEADER_BYTES);
    snprintf(error.text, sizeof(error.text), "%s", text);
    if (local_error_pack(&error, &header) == 0) {
        app_send(peer, FRAME_ERROR, id, &header);
    }
    buf_fini(&header);
}

/* Only a file that nobody can change or cut any more is mapped; anything else could kill us later with SIGBUS. */
static int memfd_map(int fd, uint64_t bytes, struct app_input *ret_input)
{
    const int wanted = F_SEAL_SHRINK | F_SEAL_WRITE | F_SEAL_GROW;
    const int seals = fcntl(fd, F_GET_SEALS);
    struct stat file;
    void *data;

    if (seals < 0 || (seals & wanted) != wanted || fstat(fd, &file) != 0) {
        return TANDEM_EAUTH;
    }
    if (bytes == 0 || bytes > LIMIT_MEMFD_BYTES || file.st_size < 0 || (uint64_t)file.st_size < bytes) {
        return TANDEM_ETOOBIG;
    }
    data = mmap(NULL, (size_t)bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED) {
        return TANDEM_ENOMEM;
    }
    *ret_input = (struct app_input){data, (size_t)bytes, true};
    return 0;
}

static void submit_memfd(struct app_peer *peer, uint64_t id, const struct local_submit *submit)
{
    struct app_input input = {0};
    int result = TANDEM_EPROTO;

    if (peer->fd_count > 0) {
        result = memfd_map(peer->fds[0], submit->payload_bytes, &input);
        (void)close(peer->fds[0]);
        peer->fd_count--;
        memmove(peer->fds, peer->fds + 1, sizeof(peer->fds[0]) * peer->fd_count);
    }
    if (result != 0) {
        peer_error(peer, id, result, result == TANDEM_EAUTH ? "the picture's memfd is not sealed" : "the picture's memfd is not usable");
        return;
    }
    peer->app->callbacks.on_submit(peer, id, submit, input, peer->app->user);
}

static void on_submit(struct app_peer *peer, const struct frame *frame)
{
    struct local_submit submit = {0};
    struct upload *upload;
    const int result = local_submit_unpack(frame->header, frame->header_bytes, &submit);

    if (result != 0) {
        peer_error(peer, frame->request_id, result, "the request is malformed");
    } else if (peer->app->draining) {
        peer_error(peer, frame->request_id, TANDEM_EDRAINING, "the daemon is stopping");
    } else if (submit.memfd) {
        submit_memfd(peer, frame->request_id, &submit);
    } else if (submit.payload_bytes == 0 || submit.payload_bytes > LIMIT_PAYLOAD_BYTES) {
        peer_error(peer, frame->request_id, submit.payload_bytes ? TANDEM_ETOOBIG : TANDEM_EINVAL, "the input is empty or too big");
    } else if (peer->upload_count == PEER_UPLOADS || !(upload = calloc(1, sizeof(*upload)))) {
        peer_error(peer, frame->request_id, TANDEM_EBUSY, "too many inputs are on their way");
    } else {
        upload->id = frame->request_id;
        upload->submit = submit;
        buf_init(&upload->data, LIMIT_PAYLOAD_BYTES);
        peer->uploads[peer->upload_count++] = upload;
    }
}

static void upload_remove(struct app_peer *peer, size_t index)
{
    upload_free(peer->uploads[index]);
    peer->uploads[index] = peer->uploads[--peer->upload_count];
}

static void on_data(struct app_peer *peer, const struct frame *frame)
{
    for (size_t i = 0; i < peer->upload_count; i++) {
        struct upload *upload = peer->uploads[i];
        struct app_input input = {0};

        if (upload->id != frame->request_id) {
            continue;
        }
        if (upload->data.bytes + frame->payload_bytes > upload->submit.payload_bytes ||
            buf_append(&upload->data, frame->payload, frame->payload_bytes) != 0) {
            peer_error(peer, upload->id, TANDEM_ETOOBIG, "more input came than was said");
            upload_remove(peer, i);
        } else if (upload->data.bytes == upload->submit.payload_bytes) {
            input.data = buf_take(&upload->data, &input.bytes);
            peer->app->callbacks.on_submit(peer, upload->id, &upload->submit, input, peer->app->user);
            upload_remove(peer, i);
        }
        return;
    }
}

static void on_hello(struct app_peer *peer, const struct frame *frame)
{
    struct local_hello hello = {0};
    struct local_hello ours = {WIRE_VERSION_LOW, WIRE_VERSION_HIGH, "tandem-client " TANDEM_VERSION, peer->app->task_names,
                               peer->app->task_count};
    struct buf header;

    buf_init(&header, LIMIT_FRAME_HEADER_BYTES);
    if (local_hello_unpack(frame->header, frame->header_bytes, &hello) != 0 ||
        !wire_version_agree(WIRE_VERSION_LOW, WIRE_VERSION_HIGH, hello.version_low, hello.version_high)) {
        peer_error(peer, 0, TANDEM_EPROTO, "no common protocol version");
        peer->broken = true;
    } else if (local_hello_pack(&ours, &header) == 0) {
        peer->greeted = true;
        app_send(peer, FRAME_HELLO, 0, &header);
    }
    local_hello_fini(&hello);
    buf_fini(&header);
}

static void peer_frame(struct app_peer *peer, const struct frame *frame)
{
    if (frame->kind == FRAME_HELLO && !peer->greeted) {
        on_hello(peer, frame);
    } else if (!peer->greeted || (!frame_kind_is_known(frame->kind) && (frame->flags & FRAME_FLAG_MANDATORY))) {
        peer_error(peer, 0, TANDEM_EPROTO, "a hello comes first, and mandatory kinds must be known");
        peer->broken = true;
    } else if (frame->kind == FRAME_REQUEST) {
        on_submit(peer, frame);
    } else if (frame->kind == FRAME_DATA) {
        on_data(peer, frame);
    } else if (frame->kind == FRAME_CANCEL) {
        peer->app->callbacks.on_cancel(peer, frame->request_id, peer->app->user);
    }
}

static void fds_take(struct app_peer *peer, struct msghdr *message)
{
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        for (size_t i = 0; i < (part->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(fd));
            if (peer->fd_count == PEER_FDS) {
                (void)close(fd);
                peer->broken = true;
            } else {
                peer->fds[peer->fd_count++] = fd;
            }
        }
    }
    if (message->msg_flags & MSG_CTRUNC) {
        peer->broken = true;
    }
}

/* False: the peer is gone. */
static bool peer_read(struct app_peer *peer)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * 8)];
    } control;
    struct iovec part;
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control)};
    ssize_t got;

    if (buf_reserve(&peer->inbox, READ_BYTES) != 0) {
        return false;
    }
    part.iov_base = peer->inbox.data + peer->inbox.bytes;
    part.iov_len = READ_BYTES;
    got = recvmsg(peer->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got <= 0) {
        return got < 0 && (errno == EAGAIN || errno == EINTR);
    }
    fds_take(peer, &message);
    peer->inbox.bytes += (size_t)got;
    return true;
}

static void on_peer_event(uv_poll_t *poll, int status, int events)
{
    struct app_peer *peer = poll->data;
    size_t at = 0, used;
    struct frame frame;
    int result = 0;

    if (status < 0 || ((events & UV_READABLE) && !peer_read(peer))) {
        peer_close(peer, true);
        return;
    }
    while (!peer->broken && !peer->closing &&
           (result = frame_decode(peer->inbox.data + at, peer->inbox.bytes - at, &frame, &used)) == 0) {
        peer_frame(peer, &frame);
        at += used;
    }
    if (peer->closing) {
        return;
    }
    buf_consume(&peer->inbox, at);
    if (result < 0 || peer->broken) {
        peer_close(peer, true);
        return;
    }
    if (events & UV_WRITABLE) {
        peer_write(peer);
    }
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
    struct app *app = poll->data;
    struct ucred credentials;
    socklen_t bytes = sizeof(credentials);
    struct app_peer *peer;
    const int fd = status < 0 ? -1 : accept4(app->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    (void)events;
    if (fd < 0) {
        return;
    }
    peer = app->count < LIMIT_APP_CONNECTIONS && !app->draining ? calloc(1, sizeof(*peer)) : NULL;
    if (!peer || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &bytes) != 0 ||
        uv_poll_init(app->loop, &peer->poll, fd) != 0) {
        free(peer);
        (void)close(fd);
        return;
    }
    peer->app = app;
    peer->fd = fd;
    peer->uid = credentials.uid;
    peer->poll.data = peer;
    buf_init(&peer->inbox, FRAME_PREFIX_BYTES + LIMIT_FRAME_HEADER_BYTES + LIMIT_FRAME_DATA_BYTES + READ_BYTES);
    buf_init(&peer->outbox, OUTBOX_BYTES);
    peer->next = app->peers;
    app->peers = peer;
    app->count++;
    (void)uv_poll_start(&peer->poll, UV_READABLE, on_peer_event);
}

/* A socket file that nobody listens on any more is replaced; a live one is an error. */
static int socket_listen(const char *path, char error[256])
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int result = 0;

    if (fd < 0 || strlen(path) >= sizeof(address.sun_path)) {
        snprintf(error, 256, "%.150s: no socket, or the path is too long", path);
        result = TANDEM_EIO;
        goto out;
    }
    strcpy(address.sun_path, path);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
        snprintf(error, 256, "%.150s: another daemon listens there", path);
        result = TANDEM_EIO;
        goto out;
    }
    if (errno == ECONNREFUSED) {
        (void)unlink(path);
    }
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || chmod(path, 0660) != 0 || listen(fd, 128) != 0) {
        snprintf(error, 256, "%.150s: %s", path, strerror(errno));
        result = TANDEM_EIO;
    }
out:
    if (result != 0 && fd >= 0) {
        (void)close(fd);
    }
    return result != 0 ? result : fd;
}

int app_new(uv_loop_t *loop, const char *path, char (*task_names)[LIMIT_NAME_BYTES + 1], size_t task_count,
            const struct app_callbacks *callbacks, void *user, struct app **ret_app, char error[256])
{
    struct app *app = calloc(1, sizeof(*app));
    const int fd = app ? socket_listen(path, error) : TANDEM_ENOMEM;

    if (fd < 0) {
        free(app);
        return fd;
    }
    app->loop = loop;
    app->fd = fd;
    strcpy(app->path, path);
    app->task_names = task_names;
    app->task_count = task_count;
    app->callbacks = *callbacks;
    app->user = user;
    app->poll.data = app;
    (void)uv_poll_init(loop, &app->poll, fd);
    (void)uv_poll_start(&app->poll, UV_READABLE, on_connection);
    *ret_app = app;
    return 0;
}

uid_t app_peer_uid(const struct app_peer *peer)
{
    return peer->uid;
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

    (void)close(app->fd);
    free(app);
}

void app_close(struct app *app)
{
    if (!app) {
        return;
    }
    while (app->peers) {
        peer_close(app->peers, false);
    }
    (void)unlink(app->path);
    uv_close((uv_handle_t *)&app->poll, on_app_closed);
}
