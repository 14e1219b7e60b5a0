#include "client/lib/outbox.h"

#include "common/base/error.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Written bytes are dropped from the front once they are this many, so that a slow reader costs no
 * memmove per write. */
#define OUTBOX_SLACK_BYTES (256u << 10)

void outbox_init(struct outbox *outbox)
{
    buf_init(&outbox->bytes, LIMIT_LIB_OUTBOX_BYTES);
    outbox->sent = 0;
    outbox->fd_count = 0;
}

void outbox_truncate(struct outbox *outbox, size_t bytes)
{
    while (outbox->fd_count > 0 && outbox->fds[outbox->fd_count - 1].at >= bytes) {
        (void)close(outbox->fds[--outbox->fd_count].fd);
    }
    outbox->bytes.bytes = bytes;
}

void outbox_clear(struct outbox *outbox)
{
    outbox_truncate(outbox, 0);
    outbox->sent = 0;
}

void outbox_fini(struct outbox *outbox)
{
    outbox_clear(outbox);
    buf_fini(&outbox->bytes);
}

bool outbox_is_empty(const struct outbox *outbox)
{
    return outbox->sent == outbox->bytes.bytes;
}

int outbox_fd_append(struct outbox *outbox, int fd)
{
    if (outbox->fd_count == sizeof(outbox->fds) / sizeof(outbox->fds[0])) {
        return TANDEM_EBUSY;
    }
    outbox->fds[outbox->fd_count++] = (struct outbox_fd){.at = outbox->bytes.bytes, .fd = fd};
    return 0;
}

/* Drops the first descriptor: the kernel has its own reference. */
static void outbox_fd_sent(struct outbox *outbox)
{
    (void)close(outbox->fds[0].fd);
    outbox->fd_count--;
    memmove(outbox->fds, outbox->fds + 1, outbox->fd_count * sizeof(outbox->fds[0]));
}

static void outbox_sent(struct outbox *outbox, size_t bytes)
{
    outbox->sent += bytes;
    if (outbox_is_empty(outbox)) {
        assert(outbox->fd_count == 0);
        outbox->bytes.bytes = 0;
        outbox->sent = 0;
    } else if (outbox->sent >= OUTBOX_SLACK_BYTES) {
        for (size_t i = 0; i < outbox->fd_count; i++) {
            outbox->fds[i].at -= outbox->sent;
        }
        buf_consume(&outbox->bytes, outbox->sent);
        outbox->sent = 0;
    }
}

/* One write that stops before the next descriptor, so that each goes with its own first byte. */
static ssize_t outbox_write_some(const struct outbox *outbox, int socket_fd, bool *ret_with_fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    bool with_fd = outbox->fd_count > 0 && outbox->fds[0].at == outbox->sent;
    size_t next = with_fd ? 1 : 0;
    size_t end = outbox->fd_count > next ? outbox->fds[next].at : outbox->bytes.bytes;
    struct iovec part = {.iov_base = outbox->bytes.data + outbox->sent,
                         .iov_len = end - outbox->sent};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    if (with_fd) {
        memset(&control, 0, sizeof(control));
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof(control.bytes);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &outbox->fds[0].fd, sizeof(int));
    }
    *ret_with_fd = with_fd;
    return sendmsg(socket_fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int outbox_write(struct outbox *outbox, int socket_fd)
{
    while (!outbox_is_empty(outbox)) {
        bool with_fd;
        ssize_t written = outbox_write_some(outbox, socket_fd, &with_fd);

        if (written < 0) {
            if (errno == EINTR) {
                continue;
            }
            if (errno == EAGAIN || errno == EWOULDBLOCK) {
                return 0;
            }
            return errno == EPIPE || errno == ECONNRESET ? TANDEM_EGONE : TANDEM_EIO;
        }
        if (with_fd) {
            outbox_fd_sent(outbox);
        }
        outbox_sent(outbox, (size_t)written);
    }
    return 0;
}
