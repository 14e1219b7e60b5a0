/* clock.h: monotonic and wall time in nanoseconds, replaceable in tests. Any thread may read;
 * clock_set_fake is for tests with one thread. Files that decide take `now_ns` as an argument and
 * do not include this. */
#ifndef TANDEM_BASE_CLOCK_H
#define TANDEM_BASE_CLOCK_H

#include <stdint.h>

#define NS_PER_US INT64_C(1000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S  INT64_C(1000000000)

/* CLOCK_MONOTONIC in ns. Only differences mean anything. */
int64_t clock_now_ns(void);
/* CLOCK_REALTIME in ns since 1970. For people to read, never for deadlines. */
int64_t clock_unix_ns(void);
/* Replaces the monotonic clock (NULL restores it). */
void clock_set_fake(int64_t (*now_ns)(void *user), void *user);

#endif
