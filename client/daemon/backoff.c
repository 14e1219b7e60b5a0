#include "client/daemon/backoff.h"

void backoff_reset(struct backoff *backoff)
{
    backoff->ms = BACKOFF_FIRST_MS;
}

uint64_t backoff_next(struct backoff *backoff, double unit)
{
    const double longest_ms = (double)backoff->ms;

    backoff->ms = backoff->ms * 2 < BACKOFF_MAX_MS ? backoff->ms * 2 : BACKOFF_MAX_MS;
    return (uint64_t)(longest_ms * (0.5 + 0.5 * unit));
}
