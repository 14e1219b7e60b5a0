/* spare.h: when a connection that says nothing any more gets a second one beside it. TCP repeats
 * what was lost after ever longer pauses, so that a link which was gone for some seconds may be
 * well for as long again before the old connection notices; a new one notices in a moment.
 * Whichever speaks first is used. Pure: time is an argument. */
#ifndef TANDEM_CLIENT_SPARE_H
#define TANDEM_CLIENT_SPARE_H

#include <stdint.h>

#define SPARE_AFTER_MS  400   /* over what counts as a silence of this link */
#define SPARE_MEMORY_MS 30000 /* takeovers in this time make the next one harder */
#define SPARE_DOUBLINGS 4
#define ATTEMPT_MS      1500 /* of a connection that is tried, on a link without delay */
#define ATTEMPT_TRIPS   12   /* round trips of the link that it may take besides */

struct spare {
    unsigned taken; /* takeovers that are remembered */
    int64_t taken_ns;
};
/* For how long a connection may owe us a reply before another is tried, on a link where a silence
 * begins after `stall_ms`. Twice as long for each takeover of late: on a link that is only slow the
 * new connection is no better than the old one. */
int64_t spare_patience_ns(const struct spare *spare, double stall_ms, int64_t now_ns);
void spare_took_over(struct spare *spare, int64_t now_ns);
/* How long an attempt to connect may take, hello included, on a link of this round trip (NAN: not
 * known), at most LIMIT_HELLO_MS: the kernel repeats its first packet after 1, 3, 7 s, so one that
 * began in an outage had better be begun anew. */
int64_t spare_attempt_ns(double rtt_ms);

#endif
