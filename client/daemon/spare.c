#include "client/daemon/spare.h"

#include "common/base/clock.h"
#include "common/base/limits.h"

#include <math.h>

static unsigned remembered(const struct spare *spare, int64_t now_ns)
{
    const unsigned taken = spare->taken < SPARE_DOUBLINGS ? spare->taken : SPARE_DOUBLINGS;

    return now_ns - spare->taken_ns < SPARE_MEMORY_MS * NS_PER_MS ? taken : 0;
}

int64_t spare_patience_ns(const struct spare *spare, double stall_ms, int64_t now_ns)
{
    const double after_ms = (double)(SPARE_AFTER_MS << remembered(spare, now_ns));

    return (int64_t)(fmin(stall_ms + after_ms, LIMIT_IDLE_MS) * (double)NS_PER_MS);
}

void spare_took_over(struct spare *spare, int64_t now_ns)
{
    spare->taken = remembered(spare, now_ns) + 1;
    spare->taken_ns = now_ns;
}

int64_t spare_attempt_ns(double rtt_ms)
{
    const double most_ms = isnan(rtt_ms) ? LIMIT_HELLO_MS : ATTEMPT_MS + ATTEMPT_TRIPS * rtt_ms;

    return (int64_t)(fmin(most_ms, LIMIT_HELLO_MS) * (double)NS_PER_MS);
}
