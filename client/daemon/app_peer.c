/* app_peer.c: one connected application: bytes and descriptors in, frames to whom they concern,
 * frames out. */
#include "client/daemon/app_parts.h"

#include "common/base/clock.h"
#include "common/base/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES (64u << 10)
#define INBOX_BYTES                                                                                \
    (FRAME_PREFIX_BYTES + LIMIT_FRAME_HEADER_BYTES + LIMIT_FRAME_DATA_BYTES + READ_BYTES)

static void on_handle_closed(uv_handle_t *handle)
{
    struct app_peer *peer = handle->data;

    if (--peer->open_handles > 0) {
        return;
    }
    (void)close(peer->fd);
    buf_fini(&peer->inbox);
    buf_fini(&peer->outbox);
    free(peer);
}

void app_peer_close(struct app_peer *peer, bool tell)
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
    app_inputs_drop(peer); /* now: the app may be gone when the handles are */
    uv_close((uv_handle_t *)&peer->poll, on_handle_closed);
    uv_close((uv_handle_t *)&peer->timer, on_handle_closed);
}

static void on_peer_event(uv_poll_t *poll, int status, int events);

static void on_broken(uv_timer_t *timer)
{
    app_peer_close(timer->data, true);
}

/* Who reads too slowly may never be writable again, and app_send's caller still uses the peer. */
static void peer_break(struct app_peer *peer)
{
    peer->broken = true;
    (void)uv_timer_start(&peer->timer, on_broken, 0, 0);
}

static void peer_write(struct app_peer *peer)
{
    while (peer->outbox.bytes > 0 && !peer->broken) {
        const ssize_t sent =
            send(peer->fd, peer->outbox.data, peer->outbox.bytes, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent < 0) {
            if (errno != EAGAIN && errno != EINTR) {
                peer_break(peer);
            }
            break;
        }
        buf_consume(&peer->outbox, (size_t)sent);
    }
    (void)uv_poll_start(&peer->poll, UV_READABLE | (peer->outbox.bytes ? UV_WRITABLE : 0),
                        on_peer_event);
}

void app_send(struct app_peer *peer, enum frame_kind kind, uint64_t id, const struct buf *header)
{
    const struct frame frame = {.kind = (uint8_t)kind,
                                .request_id = id,
                                .header = header ? header->data : NULL,
                                .header_bytes = header ? (uint32_t)header->bytes : 0};

    if (peer->closing || peer->broken) {
        return;
    }
    if (frame_encode(&frame, &peer->outbox) != 0) {
        peer_break(peer);
        return;
    }
    peer_write(peer);
}

int app_error_pack(uint64_t id, int code, const char *text, struct buf *out)
{
    struct local_error error = {.code = code};
    struct frame frame = {.kind = FRAME_ERROR, .request_id = id};
    struct buf header;
    int result;

    snprintf(error.text, sizeof(error.text), "%s", text);
    buf_init(&header, LIMIT_FRAME_HEADER_BYTES);
    result = local_error_pack(&error, &header);
    frame.header = header.data;
    frame.header_bytes = (uint32_t)header.bytes;
    if (result == 0) {
        result = frame_encode(&frame, out);
    }
    buf_fini(&header);
    return result;
}

void app_peer_error(struct app_peer *peer, uint64_t id, int code, const char *text)
{
    if (peer->closing || peer->broken) {
        return;
    }
    if (app_error_pack(id, code, text, &peer->outbox) != 0) {
        peer_break(peer);
        return;
    }
    peer_write(peer);
}

void app_peer_fail(struct app_peer *peer, int code, const char *text)
{
    app_peer_error(peer, 0, code, text);
    peer_break(peer);
}

static void on_hello_timer(uv_timer_t *timer)
{
    app_peer_fail(timer->data, TANDEM_ETIMEDOUT, "no hello came");
}

static void on_hello(struct app_peer *peer, const struct frame *frame)
{
    struct local_hello hello = {0};
    const struct local_hello ours = {
        WIRE_VERSION_LOW,      WIRE_VERSION_HIGH,     "tandem-client " TANDEM_VERSION,
        peer->app->task_names, peer->app->task_kinds, peer->app->task_count};
    struct buf header;
    char text[LIMIT_LINE_BYTES + 1];

    buf_init(&header, LIMIT_FRAME_HEADER_BYTES);
    if (local_hello_unpack(frame->header, frame->header_bytes, &hello) != 0) {
        app_peer_fail(peer, TANDEM_EPROTO, "the hello is malformed");
    } else if (!wire_version_agree(WIRE_VERSION_LOW, WIRE_VERSION_HIGH, hello.version_low,
                                   hello.version_high)) {
        snprintf(text, sizeof(text),
                 "tandem-client " TANDEM_VERSION " speaks protocol versions %d to %d, not %u to %u",
                 WIRE_VERSION_LOW, WIRE_VERSION_HIGH, hello.version_low, hello.version_high);
        app_peer_fail(peer, TANDEM_EPROTO, text);
    } else if (local_hello_pack(&ours, &header) == 0) {
        peer->greeted = true;
        (void)uv_timer_stop(&peer->timer);
        app_send(peer, FRAME_HELLO, 0, &header);
    }
    local_hello_fini(&hello);
    buf_fini(&header);
}

/* Each one may write a line to the disk. */
static bool words_are_few(struct app_peer *peer, int64_t now_ns)
{
    if (peer->words == 0 || now_ns - peer->words_ns >= NS_PER_S) {
        peer->words_ns = now_ns;
        peer->words = 0;
    }
    return ++peer->words <= LIMIT_FEEDBACK_PER_S;
}

static void on_feedback(struct app_peer *peer, const struct frame *frame)
{
    const struct app_callbacks *callbacks = &peer->app->callbacks;
    struct local_feedback feedback;
    const char *why = NULL;
    int result = TANDEM_EBUSY;

    if (local_feedback_unpack(frame->header, frame->header_bytes, &feedback) != 0) {
        app_peer_fail(peer, TANDEM_EPROTO, "the feedback is malformed");
        return;
    }
    if (words_are_few(peer, clock_now_ns()) && peer->held_count < LIMIT_FEEDBACK_PER_S) {
        result = callbacks->on_feedback(peer, strtoull(feedback.id, NULL, 10), feedback.correct,
                                        &why, peer->app->user);
    }
    if (result == 0) {
        peer->held[peer->held_count++] =
            (struct app_word){.id = frame->request_id, .said = feedback};
    } else {
        app_peer_error(peer, frame->request_id, result, why ? why : tandem_error_text(result));
    }
}

void app_words_taken(struct app *app)
{
    for (struct app_peer *peer = app->peers; peer; peer = peer->next) {
        for (size_t i = 0; i < peer->held_count; i++) {
            peer->held[i].taken = true;
        }
    }
}

static void word_end(struct app_peer *peer, const struct app_word *word, int result)
{
    struct buf header;

    buf_init(&header, LIMIT_FRAME_HEADER_BYTES);
    if (result == 0) {
        result = local_feedback_pack(&word->said, &header);
    }
    if (result == 0) {
        app_send(peer, FRAME_FEEDBACK, word->id, &header);
    } else {
        app_peer_error(peer, word->id, result, "what was learned cannot be kept on disk");
    }
    buf_fini(&header);
}

void app_words_kept(struct app *app, int result)
{
    for (struct app_peer *peer = app->peers; peer; peer = peer->next) {
        size_t ended = 0;

        while (ended < peer->held_count && peer->held[ended].taken) {
            word_end(peer, &peer->held[ended++], result);
        }
        peer->held_count -= ended;
        memmove(peer->held, peer->held + ended, peer->held_count * sizeof(peer->held[0]));
    }
}

static void peer_frame(struct app_peer *peer, const struct frame *frame)
{
    if (frame->kind == FRAME_HELLO && !peer->greeted) {
        on_hello(peer, frame);
    } else if (!peer->greeted) {
        app_peer_fail(peer, TANDEM_EPROTO, "a hello comes first");
    } else if (!frame_kind_is_known(frame->kind) && (frame->flags & FRAME_FLAG_MANDATORY)) {
        app_peer_fail(peer, TANDEM_EPROTO, "a frame that must be understood is of an unknown kind");
    } else if (frame->kind == FRAME_REQUEST) {
        app_input_submit(peer, frame);
    } else if (frame->kind == FRAME_DATA) {
        app_input_data(peer, frame);
    } else if (frame->kind == FRAME_CANCEL && !app_input_cancel(peer, frame->request_id)) {
        peer->app->callbacks.on_cancel(peer, frame->request_id, peer->app->user);
    } else if (frame->kind == FRAME_FEEDBACK) {
        on_feedback(peer, frame);
    }
}

/* False: more than there is room for. All are closed sooner or later. */
static bool fds_take(struct app_peer *peer, struct msghdr *message)
{
    bool room = !(message->msg_flags & MSG_CTRUNC);

    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        for (size_t i = 0; i < (part->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(fd));
            if (peer->fd_count == LIMIT_APP_FDS) {
                (void)close(fd);
                room = false;
            } else {
                peer->fds[peer->fd_count++] = fd;
            }
        }
    }
    return room;
}

/* False: the peer is gone. */
static bool peer_read(struct app_peer *peer)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * LIMIT_APP_FDS)];
    } control;
    struct iovec part;
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control)};
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
    peer->inbox.bytes += (size_t)got;
    if (!fds_take(peer, &message)) {
        app_peer_fail(peer, TANDEM_ETOOBIG, "too many descriptors came");
    }
    return true;
}

/* Handles the whole frames that are there. */
static void peer_frames(struct app_peer *peer)
{
    size_t at = 0, used;
    struct frame frame;
    int result = 0;

    while (!peer->broken && (result = frame_decode(peer->inbox.data + at, peer->inbox.bytes - at,
                                                   &frame, &used)) == 0) {
        peer_frame(peer, &frame);
        at += used;
    }
    buf_consume(&peer->inbox, at);
    if (result < 0) {
        app_peer_fail(peer, TANDEM_EPROTO, "what comes is not a frame");
    } else if (peer->inbox.bytes == 0 && peer->fd_count > 0) {
        /* It would be taken for the next request's. */
        app_peer_fail(peer, TANDEM_EPROTO, "a descriptor came without a request that says memfd");
    }
}

static void on_peer_event(uv_poll_t *poll, int status, int events)
{
    struct app_peer *peer = poll->data;

    if (status < 0 || ((events & UV_READABLE) && !peer_read(peer))) {
        app_peer_close(peer, true);
        return;
    }
    if ((events & UV_READABLE) && !peer->broken) {
        peer_frames(peer);
    }
    if ((events & UV_WRITABLE) && !peer->broken) {
        peer_write(peer);
    }
    if (peer->broken) {
        app_peer_close(peer, true);
    }
}

int app_peer_new(struct app *app, int fd, uid_t uid)
{
    struct app_peer *peer = calloc(1, sizeof(*peer));

    if (!peer || uv_poll_init(app->loop, &peer->poll, fd) != 0) {
        free(peer);
        (void)close(fd);
        return TANDEM_ENOMEM;
    }
    (void)uv_timer_init(app->loop, &peer->timer);
    peer->app = app;
    peer->fd = fd;
    peer->uid = uid;
    peer->open_handles = 2;
    peer->poll.data = peer->timer.data = peer;
    buf_init(&peer->inbox, INBOX_BYTES);
    buf_init(&peer->outbox, LIMIT_APP_OUTBOX_BYTES);
    peer->next = app->peers;
    app->peers = peer;
    app->count++;
    (void)uv_timer_start(&peer->timer, on_hello_timer, LIMIT_HELLO_MS, 0);
    (void)uv_poll_start(&peer->poll, UV_READABLE, on_peer_event);
    return 0;
}

uid_t app_peer_uid(const struct app_peer *peer)
{
    return peer->uid;
}
