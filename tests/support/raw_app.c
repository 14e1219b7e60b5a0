#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/raw_app.h"

#include "common/base/limits.h"
#include "tests/support/site.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FDS_MAX 253 /* what the kernel takes in one message */

void raw_open(struct raw_app *app, const char *socket_path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    *app = (struct raw_app){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    assert_true(app->fd >= 0);
    buf_init(&app->inbox, 0);
    strcpy(address.sun_path, socket_path);
    assert_int_equal(connect(app->fd, (struct sockaddr *)&address, sizeof(address)), 0);
}

void raw_close(struct raw_app *app)
{
    if (app->fd >= 0) {
        (void)close(app->fd);
    }
    app->fd = -1;
    buf_fini(&app->inbox);
}

bool raw_bytes(struct raw_app *app, const void *data, size_t bytes, const int *fds, size_t fd_count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * FDS_MAX)];
    } control;
    const uint8_t *at = data;

    assert_true(fd_count <= FDS_MAX);
    memset(&control, 0, sizeof(control));
    while (bytes > 0) {
        struct iovec part = {.iov_base = (void *)(uintptr_t)at, .iov_len = bytes};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
        ssize_t sent;

        if (fd_count > 0) {
            message.msg_control = control.bytes;
            message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
            CMSG_FIRSTHDR(&message)->cmsg_level = SOL_SOCKET;
            CMSG_FIRSTHDR(&message)->cmsg_type = SCM_RIGHTS;
            CMSG_FIRSTHDR(&message)->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
            memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), fds, sizeof(int) * fd_count);
        }
        sent = sendmsg(app->fd, &message, MSG_NOSIGNAL);
        if (sent < 0) {
            assert_true(errno == EPIPE || errno == ECONNRESET);
            return false;
        }
        fd_count = 0;
        at += sent;
        bytes -= (size_t)sent;
    }
    return true;
}

static bool frame_send(struct raw_app *app, const struct frame *frame, const int *fds,
                       size_t fd_count)
{
    struct buf out;
    bool sent;

    buf_init(&out, 0);
    assert_int_equal(frame_encode(frame, &out), 0);
    sent = raw_bytes(app, out.data, out.bytes, fds, fd_count);
    buf_fini(&out);
    return sent;
}

bool raw_frame(struct raw_app *app, enum frame_kind kind, unsigned flags, uint64_t id,
               const void *header, size_t bytes)
{
    const struct frame frame = {.kind = (uint8_t)kind,
                                .flags = (uint16_t)flags,
                                .request_id = id,
                                .header = header,
                                .header_bytes = (uint32_t)bytes};

    return frame_send(app, &frame, NULL, 0);
}

void raw_hello(struct raw_app *app, uint32_t version_low, uint32_t version_high)
{
    const struct local_hello hello = {
        .version_low = version_low, .version_high = version_high, .software = "by hand"};
    struct buf header;

    buf_init(&header, 0);
    assert_int_equal(local_hello_pack(&hello, &header), 0);
    (void)raw_frame(app, FRAME_HELLO, 0, 0, header.data, header.bytes);
    buf_fini(&header);
}

void raw_ready(struct raw_app *app, const char *socket_path)
{
    struct frame frame;

    raw_open(app, socket_path);
    raw_hello(app, WIRE_VERSION_LOW, WIRE_VERSION_HIGH);
    assert_true(raw_next(app, &frame));
    assert_int_equal(frame.kind, FRAME_HELLO);
}

bool raw_submit(struct raw_app *app, uint64_t id, const struct local_submit *submit, const int *fds,
                size_t fd_count)
{
    struct frame frame = {.kind = FRAME_REQUEST, .request_id = id};
    struct buf header;
    bool sent;

    buf_init(&header, 0);
    assert_int_equal(local_submit_pack(submit, &header), 0);
    frame.header = header.data;
    frame.header_bytes = (uint32_t)header.bytes;
    sent = frame_send(app, &frame, fds, fd_count);
    buf_fini(&header);
    return sent;
}

bool raw_data(struct raw_app *app, uint64_t id, const void *data, size_t bytes)
{
    const uint8_t *at = data;
    bool sent = true;

    while (sent && bytes > 0) {
        const size_t part = bytes < LIMIT_FRAME_DATA_BYTES ? bytes : LIMIT_FRAME_DATA_BYTES;
        const struct frame frame = {
            .kind = FRAME_DATA, .request_id = id, .payload = at, .payload_bytes = (uint32_t)part};

        sent = frame_send(app, &frame, NULL, 0);
        at += part;
        bytes -= part;
    }
    return sent;
}

bool raw_next(struct raw_app *app, struct frame *ret_frame)
{
    struct pollfd poll_fd = {.fd = app->fd, .events = POLLIN};
    ssize_t got;

    buf_consume(&app->inbox, app->used);
    app->used = 0;
    while (frame_decode(app->inbox.data, app->inbox.bytes, ret_frame, &app->used) != 0) {
        app->used = 0;
        assert_int_equal(poll(&poll_fd, 1, SITE_PATIENCE_MS), 1);
        assert_int_equal(buf_reserve(&app->inbox, 1 << 16), 0);
        got = read(app->fd, app->inbox.data + app->inbox.bytes, 1 << 16);
        if (got <= 0) {
            assert_true(got == 0 || errno == ECONNRESET);
            return false;
        }
        app->inbox.bytes += (size_t)got;
    }
    return true;
}

int raw_end(struct raw_app *app, uint64_t id)
{
    struct local_error error;
    struct frame frame;

    while (raw_next(app, &frame)) {
        if (frame.kind == FRAME_RESULT && frame.request_id == id) {
            return 0;
        }
        if (frame.kind == FRAME_ERROR && frame.request_id == id) {
            assert_int_equal(local_error_unpack(frame.header, frame.header_bytes, &error), 0);
            assert_true(error.code < 0 && error.text[0]);
            return error.code;
        }
    }
    return 1;
}

int raw_thrown_out(struct raw_app *app, char text[256])
{
    struct local_error error = {.code = 1};
    struct frame frame;

    while (raw_next(app, &frame)) {
        if (frame.kind == FRAME_ERROR && frame.request_id == 0) {
            assert_int_equal(local_error_unpack(frame.header, frame.header_bytes, &error), 0);
        }
    }
    if (text) {
        memcpy(text, error.text, sizeof(error.text));
    }
    return error.code;
}
