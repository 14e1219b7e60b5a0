#include "client/lib/handle.h"

#include "common/base/clock.h"
#include "common/base/error.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

int tandem_fd(const struct tandem *tandem)
{
    return tandem->fd;
}

int tandem_wants_write(const struct tandem *tandem)
{
    return tandem->fd >= 0 && !outbox_is_empty(&tandem->outbox);
}

size_t tandem_in_flight(const struct tandem *tandem)
{
    return tandem->pending_count;
}

int tandem_timeout_ms(const struct tandem *tandem)
{
    int64_t next_ns = INT64_MAX;
    int64_t left_ms;

    for (size_t i = 0; i < LIMIT_LIB_REQUESTS; i++) {
        const struct pending *pending = &tandem->pending[i];

        if (pending->id != 0 && pending->ended) {
            return 0;
        }
        if (pending->id != 0 && pending->guard_ns < next_ns) {
            next_ns = pending->guard_ns;
        }
    }
    if (next_ns == INT64_MAX) {
        return -1;
    }
    left_ms = (next_ns - clock_now_ns() + NS_PER_MS - 1) / NS_PER_MS;
    return left_ms < 0 ? 0 : left_ms > INT_MAX ? INT_MAX : (int)left_ms;
}

/* Nested calls would pull the ground from under the loop that runs the callback. */
static int loop_enter_check(struct tandem *tandem)
{
    if (tandem->callback_depth > 0) {
        return handle_fail(tandem, TANDEM_EINVAL, "not inside a callback");
    }
    return 0;
}

int tandem_process(struct tandem *tandem)
{
    int result = loop_enter_check(tandem);
    int broken = 0;
    int delivered;

    if (result != 0) {
        return result;
    }
    if (tandem->fd >= 0) {
        uint64_t generation = tandem->generation;

        /* Read even after a failed write: answers may be waiting behind a closed door. */
        result = connection_flush(tandem);
        broken = connection_read(tandem);
        broken = broken != 0 ? broken : result;
        if (broken != 0 && tandem->generation == generation) {
            connection_drop(tandem, broken, tandem->error);
        }
    }
    pending_guard(tandem, clock_now_ns());
    delivered = pending_deliver(tandem);
    return broken != 0 ? broken : delivered;
}

int tandem_wait(struct tandem *tandem, int timeout_ms)
{
    int own_ms = tandem_timeout_ms(tandem);
    int result = loop_enter_check(tandem);

    if (result != 0) {
        return result;
    }
    if (own_ms >= 0 && (timeout_ms < 0 || own_ms < timeout_ms)) {
        timeout_ms = own_ms;
    }
    if (tandem->pending_count > 0 && tandem->fd >= 0) {
        struct pollfd poll_fd = {.fd = tandem->fd, .events = POLLIN};

        if (tandem_wants_write(tandem)) {
            poll_fd.events |= POLLOUT;
        }
        if (poll(&poll_fd, 1, timeout_ms) < 0 && errno != EINTR) {
            result = handle_fail(tandem, TANDEM_EIO, "poll: %s", strerrordesc_np(errno));
            connection_drop(tandem, result, tandem->error);
        }
    }
    return tandem_process(tandem);
}
