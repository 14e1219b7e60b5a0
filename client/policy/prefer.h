/* prefer.h: how long a user would wait to avoid each evil, and the four ways to lean. Pure. */
#ifndef TANDEM_POLICY_PREFER_H
#define TANDEM_POLICY_PREFER_H

struct decide_weights {
    double one_miss_ms, one_megabyte_ms, one_error_ms, one_joule_ms;
};

enum prefer { PREFER_BALANCED, PREFER_ACCURACY, PREFER_BANDWIDTH, PREFER_BATTERY };
/* By these numbers; NULL at the end. */
extern const char *const prefer_names[];

/* What is worth what where nothing is configured: a test holds [policy]'s defaults to them. */
#define PREFER_MISS_MS     1000
#define PREFER_MEGABYTE_MS 20
#define PREFER_ERROR_MS    200
#define PREFER_JOULE_MS    20

/* `weights` as they count for who leans that way: accuracy makes an error four times as dear,
 * bandwidth a megabyte and battery a joule twenty times. */
struct decide_weights prefer_apply(struct decide_weights weights, enum prefer prefer);

#endif
