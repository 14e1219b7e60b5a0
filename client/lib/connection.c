#include "client/lib/handle.h"

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/wire/edge_msg.h"
#include "common/wire/frame.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define INBOX_BYTES (FRAME_PREFIX_BYTES + LIMIT_FRAME_HEADER_BYTES + LIMIT_FRAME_DATA_BYTES)
/* One call handles at most so many reads; then the caller's own loop has its turn. */
#define READS_MAX 64

struct errno_code {
    int number;
    int code;
    const char *text;
};

static const struct errno_code connect_codes[] = {
    {ENOENT, TANDEM_EGONE, "tandem-client is not running (no socket there)"},
    {ECONNREFUSED, TANDEM_EGONE, "tandem-client is not running (nobody listens)"},
    {EACCES, TANDEM_EAUTH, "this user may not use tandem-client (is it in group tandem?)"},
    {EPERM, TANDEM_EAUTH, "this user may not use tandem-client (is it in group tandem?)"},
    {EAGAIN, TANDEM_ETIMEDOUT, "tandem-client does not accept connections"},
};

/* TANDEM_E* for the errno of a failed connect, with a line for people. */
static int connection_connect_failed(struct tandem *tandem, int number)
{
    for (size_t i = 0; i < sizeof(connect_codes) / sizeof(connect_codes[0]); i++) {
        if (connect_codes[i].number == number) {
            return handle_fail(tandem, connect_codes[i].code, "%s: %s", tandem->address.sun_path,
                               connect_codes[i].text);
        }
    }
    return handle_fail(tandem, TANDEM_EIO, "%s: %s", tandem->address.sun_path,
                       strerrordesc_np(number));
}

void connection_drop(struct tandem *tandem, int code, const char *text)
{
    if (tandem->fd >= 0) {
        (void)close(tandem->fd);
        tandem->fd = -1;
    }
    tandem->generation++;
    tandem->draining = false;
    outbox_clear(&tandem->outbox);
    buf_clear(&tandem->inbox);
    pending_end_all(tandem, code, text);
}

static int connection_socket_open(struct tandem *tandem)
{
    /* A connect to a Unix socket waits only while the listener's queue is full, and SO_SNDTIMEO
     * bounds that. */
    struct timeval wait = {.tv_sec = LIMIT_LIB_CONNECT_MS / 1000,
                           .tv_usec = (LIMIT_LIB_CONNECT_MS % 1000) * 1000};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int number;

    if (fd < 0) {
        return handle_fail(tandem, TANDEM_EIO, "socket: %s", strerrordesc_np(errno));
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
    while (connect(fd, (const struct sockaddr *)&tandem->address, sizeof(tandem->address)) != 0) {
        number = errno;
        if (number != EINTR) {
            (void)close(fd);
            return connection_connect_failed(tandem, number);
        }
    }
    tandem->fd = fd;
    return 0;
}

static int connection_hello_queue(struct tandem *tandem)
{
    struct local_hello hello = {.version_low = WIRE_VERSION_LOW, .version_high = WIRE_VERSION_HIGH};
    struct buf header;
    int result;

    buf_init(&header, LIMIT_FRAME_HEADER_BYTES);
    snprintf(hello.software, sizeof(hello.software), "libtandem %s", tandem_version());
    result = local_hello_pack(&hello, &header);
    if (result == 0) {
        struct frame frame = {
            .kind = FRAME_HELLO, .header = header.data, .header_bytes = (uint32_t)header.bytes};

        result = frame_encode(&frame, &tandem->outbox.bytes);
    }
    buf_fini(&header);
    return result == 0 ? 0 : handle_fail(tandem, result, "hello: %s", tandem_strerror(result));
}

static int connection_hello_take(struct tandem *tandem, const struct frame *frame)
{
    struct local_hello hello = {0};
    int result = local_hello_unpack(frame->header, frame->header_bytes, &hello);

    if (result != 0) {
        return handle_fail(tandem, result, "the daemon's hello is not one");
    }
    if (wire_version_agree(WIRE_VERSION_LOW, WIRE_VERSION_HIGH, hello.version_low,
                           hello.version_high) == 0) {
        result = handle_fail(tandem, TANDEM_EPROTO,
                             "this library speaks protocol versions %d to %d, %s %u to %u",
                             WIRE_VERSION_LOW, WIRE_VERSION_HIGH, hello.software, hello.version_low,
                             hello.version_high);
        local_hello_fini(&hello);
        return result;
    }
    local_hello_fini(&tandem->hello);
    tandem->hello = hello;
    return 0;
}

/* Handles the daemon's first frame. 1: not whole yet. */
static int connection_hello_read(struct tandem *tandem)
{
    struct local_error error = {0};
    struct frame frame;
    size_t used;
    int result = frame_decode(tandem->inbox.data, tandem->inbox.bytes, &frame, &used);

    if (result == 1) {
        return 1;
    }
    if (result != 0) {
        return handle_fail(tandem, TANDEM_EPROTO,
                           "%s: not a tandem-client, or one this library does not understand",
                           tandem->address.sun_path);
    }
    if (frame.kind == FRAME_ERROR &&
        local_error_unpack(frame.header, frame.header_bytes, &error) == 0) {
        return handle_fail(tandem, error.code < 0 ? error.code : TANDEM_EPROTO, "%s", error.text);
    }
    if (frame.kind == FRAME_GOODBYE) {
        return handle_fail(tandem, TANDEM_EDRAINING, "tandem-client is stopping");
    }
    if (frame.kind != FRAME_HELLO) {
        return handle_fail(tandem, TANDEM_EPROTO, "the daemon did not say hello");
    }
    result = connection_hello_take(tandem, &frame);
    if (result == 0) {
        buf_consume(&tandem->inbox, used);
    }
    return result;
}

/* Appends what the socket has. 0; 1: nothing now; TANDEM_EGONE at its end. */
static int connection_receive(struct tandem *tandem)
{
    struct buf *inbox = &tandem->inbox;
    ssize_t got;
    int result = buf_reserve(inbox, INBOX_BYTES - inbox->bytes);

    if (result != 0) {
        return handle_fail(tandem, result, "%s", tandem_strerror(result));
    }
    do {
        got =
            recv(tandem->fd, inbox->data + inbox->bytes, INBOX_BYTES - inbox->bytes, MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    if (got > 0) {
        inbox->bytes += (size_t)got;
        return 0;
    }
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return 1;
    }
    if (got == 0 || errno == ECONNRESET || errno == EPIPE) {
        return handle_fail(tandem, TANDEM_EGONE, "tandem-client went away");
    }
    return handle_fail(tandem, TANDEM_EIO, "read from tandem-client: %s", strerrordesc_np(errno));
}

/* Says hello and waits for the daemon's. */
static int connection_greet(struct tandem *tandem)
{
    int64_t end_ns = clock_now_ns() + LIMIT_LIB_CONNECT_MS * NS_PER_MS;
    int result = connection_hello_queue(tandem);

    if (result == 0) {
        result = connection_flush(tandem);
    }
    if (result == TANDEM_EGONE) {
        result = 0; /* it may have said why before it hung up */
    }
    while (result == 0) {
        struct pollfd poll_fd = {.fd = tandem->fd, .events = POLLIN};
        int64_t left_ms = (end_ns - clock_now_ns()) / NS_PER_MS;

        if (left_ms <= 0) {
            return handle_fail(tandem, TANDEM_ETIMEDOUT, "tandem-client did not answer the hello");
        }
        if (poll(&poll_fd, 1, (int)left_ms) <= 0) {
            continue;
        }
        result = connection_receive(tandem);
        if (result >= 0) {
            result = connection_hello_read(tandem);
            if (result == 0) {
                return 0;
            }
            result = result == 1 ? 0 : result;
        }
    }
    return result;
}

/* Whether the daemon has closed its side, with nothing left to read. */
static bool connection_is_dead(const struct tandem *tandem)
{
    char byte;
    ssize_t got = recv(tandem->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

    return got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

int connection_ready(struct tandem *tandem)
{
    int result;

    /* With nothing under way reading runs no callback, and finds a goodbye that was said in the
     * meantime. */
    if (tandem->fd >= 0 && tandem->pending_count == 0 && connection_read(tandem) != 0) {
        connection_drop(tandem, TANDEM_EGONE, "tandem-client went away");
    }
    if (tandem->fd >= 0 && connection_is_dead(tandem)) {
        connection_drop(tandem, TANDEM_EGONE, "tandem-client went away");
    }
    if (tandem->draining && tandem->pending_count == 0) {
        connection_drop(tandem, TANDEM_EGONE, "tandem-client went away");
    }
    if (tandem->fd >= 0) {
        return tandem->draining ? handle_fail(tandem, TANDEM_EDRAINING, "tandem-client is stopping")
                                : 0;
    }
    result = connection_socket_open(tandem);
    if (result == 0) {
        result = connection_greet(tandem);
        if (result != 0) {
            connection_drop(tandem, result, tandem->error);
        }
    }
    return result;
}

int connection_flush(struct tandem *tandem)
{
    int result = outbox_write(&tandem->outbox, tandem->fd);

    if (result == TANDEM_EGONE) {
        return handle_fail(tandem, result, "tandem-client went away");
    }
    return result == 0
               ? 0
               : handle_fail(tandem, result, "write to tandem-client: %s", strerrordesc_np(errno));
}

int connection_read(struct tandem *tandem)
{
    uint64_t generation = tandem->generation;
    int result = 0;

    for (int i = 0; i < READS_MAX && result == 0 && tandem->generation == generation; i++) {
        result = connection_receive(tandem);
        if (result == 0) {
            result = receive_frames(tandem);
        }
    }
    return result < 0 ? result : 0;
}
