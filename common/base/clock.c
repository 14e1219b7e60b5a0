#include "common/base/clock.h"

#include <stddef.h>
#include <time.h>

/* A test's clock; NULL in every shipped program. Set before the one thread of the test reads it. */
static int64_t (*fake_now_ns)(void *user);
static void *fake_user;

static int64_t clock_read_ns(clockid_t id)
{
    struct timespec time = {0};

    clock_gettime(id, &time);
    return (int64_t)time.tv_sec * NS_PER_S + time.tv_nsec;
}

int64_t clock_now_ns(void)
{
    return fake_now_ns ? fake_now_ns(fake_user) : clock_read_ns(CLOCK_MONOTONIC);
}

int64_t clock_unix_ns(void)
{
    return clock_read_ns(CLOCK_REALTIME);
}

void clock_set_fake(int64_t (*now_ns)(void *user), void *user)
{
    fake_now_ns = now_ns;
    fake_user = user;
}
