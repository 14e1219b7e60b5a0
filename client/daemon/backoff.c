#include "client/daemon/backoff.h"

void backoff_reset(struct backoff *backoff)
{
    backoff->ms = BACKOFF_FIRST_MS;
}

uint64_t backoff_next(struct backoff *backoff, uint64_t max_ms, double unit)
{
    const uint64_t longest_ms = backoff->ms < max_ms ? backoff->ms : max_ms;

    backoff->ms = longest_ms * 2 < max_ms ? longest_ms * 2 : max_ms;
    return (uint64_t)((double)longest_ms * (0.5 + 0.5 * unit));
}
