/* outbox.h: bytes that wait to be written to the daemon, and the file descriptors that go with
 * certain of them. A descriptor travels with the byte it was queued before; the outbox owns it
 * until the kernel has it. */
#ifndef TANDEM_LIB_OUTBOX_H
#define TANDEM_LIB_OUTBOX_H

#include "common/base/buf.h"
#include "common/base/limits.h"

#include <stdbool.h>

struct outbox_fd {
    size_t at; /* goes with this byte of `bytes` */
    int fd;
};

struct outbox {
    struct buf bytes;
    size_t sent; /* of `bytes` */
    struct outbox_fd fds[LIMIT_LIB_REQUESTS];
    size_t fd_count;
};

void outbox_init(struct outbox *outbox);
/* Closes what was not sent; leaves it as after outbox_init. */
void outbox_clear(struct outbox *outbox);
void outbox_fini(struct outbox *outbox);
bool outbox_is_empty(const struct outbox *outbox);

/* Queues `fd` (takes it on success) before the next byte that will be appended to outbox->bytes.
 * TANDEM_EBUSY: too many wait. */
int outbox_fd_append(struct outbox *outbox, int fd);
/* Forgets everything from byte `bytes` of outbox->bytes on. */
void outbox_truncate(struct outbox *outbox, size_t bytes);
/* Writes to the socket what it takes without waiting, and never raises SIGPIPE. 0 (see
 * outbox_is_empty), TANDEM_EGONE, or TANDEM_EIO with errno. */
int outbox_write(struct outbox *outbox, int socket_fd);

#endif
