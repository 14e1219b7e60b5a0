/* backoff.h: the pauses between attempts to reach an edge. Pure: the randomness is an argument. */
#ifndef TANDEM_CLIENT_BACKOFF_H
#define TANDEM_CLIENT_BACKOFF_H

#include <stdint.h>

#define BACKOFF_FIRST_MS 200
#define BACKOFF_MAX_MS   1500 /* an edge that was restarted is found within two seconds */
#define BACKOFF_REFUSED_MAX_MS                                                                     \
    12000 /* one that refused us is asked again when a person may have helped */

struct backoff {
    uint64_t ms; /* the next pause at its longest */
};
/* The next pause is the first again. */
void backoff_reset(struct backoff *backoff);
/* Twice as long each time, at most `max_ms`, spread by `unit` (of [0, 1)) over half to the
 * whole of it, so that many clients that lost one edge do not come back as one. In ms. */
uint64_t backoff_next(struct backoff *backoff, uint64_t max_ms, double unit);

#endif
