/* when.h: moments as people write them. Pure but for the time zone, which is the process's. */
#ifndef TANDEM_CTL_WHEN_H
#define TANDEM_CTL_WHEN_H

#include <stdint.h>
#include <time.h>

/* What WHEN may be, for messages. */
#define WHEN_HELP                                                                                  \
    "2h, 30m, 1h30m, 03:00, \"2026-11-24 03:00\", today, yesterday, yesterday 22:00 or seconds "   \
    "since 1970"

/* The moment, in seconds since 1970:
 *   2h, 90m, 1h30m, 45s, 3d, 2w   so long before `now`
 *   now, today, yesterday         the last two: their midnight
 *   03:00, 03:00:30               the last time it was so late
 *   yesterday 22:00, today 06:00
 *   2026-11-24, "2026-11-24 03:00", 2026-11-24T03:00:30
 *   1795500000, @1795500000       seconds since 1970: more than eight digits, or after @
 * 0 or TANDEM_EINVAL. */
int when_parse(const char *text, time_t now, int64_t *ret_unix_s);

#endif
