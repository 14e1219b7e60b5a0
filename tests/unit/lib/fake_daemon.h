/* fake_daemon.h: the daemon's side of the application socket, played by a test. A thread accepts
 * and says hello, because tandem_open waits for that; after it everything is one thread, and the
 * order of events is the test's. */
#ifndef TANDEM_TESTS_FAKE_DAEMON_H
#define TANDEM_TESTS_FAKE_DAEMON_H

#include <tandem.h>

#include "common/base/buf.h"
#include "common/base/error.h"
#include "common/base/limits.h"
#include "common/wire/frame.h"
#include "common/wire/local_msg.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

struct fake {
    char dir[64];
    char path[96];
    int listener;
    int fd; /* -1: nobody */
    struct buf inbox;
    size_t used;         /* of the inbox, by the frame that was handed out last */
    int memfd;           /* the last one received; -1: none */
    size_t memfd_before; /* bytes of the stream that had been read when it came */
    size_t read_bytes;
    uint32_t version_low, version_high; /* of the hello; 0: 1 */
    pthread_t thread;
};

static inline void fake_start(struct fake *fake)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    *fake = (struct fake){.fd = -1, .memfd = -1};
    strcpy(fake->dir, "/tmp/tandem-test-XXXXXX");
    assert_non_null(mkdtemp(fake->dir));
    snprintf(fake->path, sizeof(fake->path), "%s/app.sock", fake->dir);
    strcpy(address.sun_path, fake->path);
    fake->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fake->listener >= 0);
    assert_int_equal(bind(fake->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fake->listener, 8), 0);
    buf_init(&fake->inbox, 0);
}

/* Hangs up, and keeps listening. */
static inline void fake_hang_up(struct fake *fake)
{
    if (fake->fd >= 0) {
        close(fake->fd);
        fake->fd = -1;
    }
    if (fake->memfd >= 0) {
        close(fake->memfd);
        fake->memfd = -1;
    }
    buf_clear(&fake->inbox);
    fake->used = 0;
    fake->read_bytes = 0;
}

static inline void fake_stop(struct fake *fake)
{
    fake_hang_up(fake);
    close(fake->listener);
    unlink(fake->path);
    rmdir(fake->dir);
    buf_fini(&fake->inbox);
}

/* Reads something more; false at the end of the stream. */
static inline bool fake_read(struct fake *fake)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    uint8_t data[16384];
    struct iovec part = {.iov_base = data, .iov_len = sizeof(data)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    ssize_t got = recvmsg(fake->fd, &message, MSG_CMSG_CLOEXEC);

    if (got <= 0) {
        return false;
    }
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header;
         header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_type == SCM_RIGHTS) {
            if (fake->memfd >= 0) {
                close(fake->memfd);
            }
            memcpy(&fake->memfd, CMSG_DATA(header), sizeof(int));
            fake->memfd_before = fake->read_bytes;
        }
    }
    fake->read_bytes += (size_t)got;
    return buf_append(&fake->inbox, data, (size_t)got) == 0;
}

/* The next frame; it lives until the next call. False at the end of the stream. */
static inline bool fake_frame(struct fake *fake, struct frame *ret_frame)
{
    size_t used;
    int result;

    buf_consume(&fake->inbox, fake->used);
    fake->used = 0;
    while ((result = frame_decode(fake->inbox.data, fake->inbox.bytes, ret_frame, &used)) == 1) {
        if (!fake_read(fake)) {
            return false;
        }
    }
    fake->used = result == 0 ? used : 0;
    return result == 0;
}

static inline void fake_send_bytes(struct fake *fake, const void *data, size_t bytes)
{
    const char *at = data;

    while (bytes > 0) {
        ssize_t sent = send(fake->fd, at, bytes, MSG_NOSIGNAL);

        if (sent <= 0) {
            return; /* the test sees what follows from it */
        }
        at += sent;
        bytes -= (size_t)sent;
    }
}

static inline void fake_send_header(struct fake *fake, unsigned kind, uint16_t flags, uint64_t id,
                                    const struct buf *header)
{
    struct frame frame = {.kind = (uint8_t)kind,
                          .flags = flags,
                          .request_id = id,
                          .header = header ? header->data : NULL,
                          .header_bytes = header ? (uint32_t)header->bytes : 0};
    struct buf out;

    buf_init(&out, 0);
    if (frame_encode(&frame, &out) != 0) {
        abort();
    }
    fake_send_bytes(fake, out.data, out.bytes);
    buf_fini(&out);
}

static inline void fake_send_hello(struct fake *fake)
{
    char tasks[2][LIMIT_NAME_BYTES + 1] = {"objects", "commands"};
    uint32_t kinds[2] = {WIRE_CLASSIFY, WIRE_GENERATE};
    struct local_hello hello = {.version_low = fake->version_low ? fake->version_low : 1,
                                .version_high = fake->version_high ? fake->version_high : 1,
                                .software = "fake 1",
                                .tasks = tasks,
                                .kinds = kinds,
                                .task_count = 2};
    struct buf header;

    buf_init(&header, 0);
    if (local_hello_pack(&hello, &header) != 0) {
        abort();
    }
    fake_send_header(fake, FRAME_HELLO, 0, 0, &header);
    buf_fini(&header);
}

static inline void fake_send_error(struct fake *fake, uint64_t id, int code, const char *text,
                                   const char *decision)
{
    struct local_error error = {.code = code, .latency_us = 1500};
    struct buf header;

    snprintf(error.text, sizeof(error.text), "%s", text);
    snprintf(error.id, sizeof(error.id), "%s", decision);
    if (decision[0]) {
        strcpy(error.route, "edge:hall");
        strcpy(error.outcome_route, "local");
        strcpy(error.reason, "fastest in time");
    }
    buf_init(&header, 0);
    if (local_error_pack(&error, &header) != 0) {
        abort();
    }
    fake_send_header(fake, FRAME_ERROR, 0, id, &header);
    buf_fini(&header);
}

static inline void fake_send_answer(struct fake *fake, uint64_t id,
                                    const struct local_answer *answer)
{
    struct buf header;

    buf_init(&header, 0);
    if (local_answer_pack(answer, &header) != 0) {
        abort();
    }
    fake_send_header(fake, FRAME_RESULT, 0, id, &header);
    buf_fini(&header);
}

/* A classification with one label. */
static inline void fake_send_label(struct fake *fake, uint64_t id, const char *label)
{
    char text[64];
    struct answer_label labels[1] = {{text, 0.75}};
    struct local_answer answer = {
        .id = "77",
        .answer = {.kind = WIRE_CLASSIFY, .labels = labels, .label_count = 1, .confidence = 0.75},
        .route = "local",
        .outcome_route = "local",
        .reason = "fastest in time",
        .latency_us = 2500,
        .predicted_ms = 3,
        .met_deadline = true};

    snprintf(text, sizeof(text), "%s", label);
    fake_send_answer(fake, id, &answer);
}

/* Reads one REQUEST with all its DATA. 0, or 1 when there is none or it is damaged; callable from
 * any thread. */
static inline int fake_request(struct fake *fake, struct local_submit *ret_submit,
                               struct buf *ret_payload, uint64_t *ret_id)
{
    struct frame frame;
    bool last;

    if (!fake_frame(fake, &frame) || frame.kind != FRAME_REQUEST) {
        return 1;
    }
    *ret_id = frame.request_id;
    if (local_submit_unpack(frame.header, frame.header_bytes, ret_submit) != 0) {
        return 1;
    }
    buf_clear(ret_payload);
    for (last = ret_submit->memfd; !last; last = frame.flags & FRAME_FLAG_LAST) {
        if (!fake_frame(fake, &frame) || frame.kind != FRAME_DATA || frame.request_id != *ret_id) {
            return 1;
        }
        if (buf_append(ret_payload, frame.payload, frame.payload_bytes) != 0) {
            return 1;
        }
    }
    return !ret_submit->memfd && ret_payload->bytes != ret_submit->payload_bytes;
}

static inline void *fake_accept_thread(void *user)
{
    struct fake *fake = user;
    struct frame frame;

    fake->fd = accept(fake->listener, NULL, NULL);
    if (fake->fd >= 0 && fake_frame(fake, &frame) && frame.kind == FRAME_HELLO) {
        fake_send_hello(fake);
    } else if (fake->fd >= 0 && fake->inbox.bytes > 0) {
        fake_send_error(fake, 0, TANDEM_EPROTO, "a hello comes first", "");
    }
    return NULL;
}

static inline void fake_greet_begin(struct fake *fake)
{
    fake_hang_up(fake);
    assert_int_equal(pthread_create(&fake->thread, NULL, fake_accept_thread, fake), 0);
}

static inline void fake_greet_end(struct fake *fake)
{
    assert_int_equal(pthread_join(fake->thread, NULL), 0);
}

/* A handle that is connected to the fake. */
static inline struct tandem *fake_open(struct fake *fake)
{
    struct tandem *tandem;

    fake_greet_begin(fake);
    assert_int_equal(tandem_open(fake->path, &tandem), 0);
    fake_greet_end(fake);
    return tandem;
}

/* What a callback was told. */
struct end {
    unsigned count; /* of callbacks */
    uint64_t id;
    int error;
    unsigned order;               /* among all ends */
    struct tandem_answer *answer; /* owned */
};

static unsigned ends_seen; /* the order of callbacks in one test */

static inline void end_note(struct tandem *tandem, uint64_t id, int error,
                            struct tandem_answer *answer, void *user)
{
    struct end *end = user;

    (void)tandem;
    end->count++;
    end->id = id;
    end->error = error;
    end->order = ++ends_seen;
    tandem_answer_free(end->answer);
    end->answer = answer;
}

static inline void end_fini(struct end *end)
{
    tandem_answer_free(end->answer);
    *end = (struct end){0};
}

/* Submits a text and expects it to be accepted. */
static inline uint64_t submit_text(struct tandem *tandem, const char *text, struct end *end)
{
    struct tandem_request request;
    uint64_t id = 0;

    tandem_request_init(&request, "commands");
    request.text = text;
    assert_int_equal(tandem_submit(tandem, &request, end_note, NULL, end, &id), 0);
    return id;
}

/* Takes the next request from the stream and returns its id. */
static inline uint64_t fake_take(struct fake *fake)
{
    struct local_submit submit;
    struct buf payload;
    uint64_t id = 0;

    buf_init(&payload, 0);
    assert_int_equal(fake_request(fake, &submit, &payload, &id), 0);
    buf_fini(&payload);
    return id;
}

/* Processes until `end` has come or nothing more does. */
static inline void wait_end(struct tandem *tandem, const struct end *end)
{
    for (int i = 0; i < 100 && end->count == 0; i++) {
        (void)tandem_wait(tandem, 100);
    }
}

static inline unsigned open_fds(void)
{
    unsigned count = 0;

    for (int fd = 0; fd < 256; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

#endif
