/* batcher.h: which requests the next step works on, and whether a new one can meet its deadline.
 * Pure: state in, choice out; time is an argument. Owned by one thread.
 *
 * A step takes one decode token of every running sequence and fills what is left of the token
 * budget with prefill chunks (or, for a picture model, with pictures), earliest urgency first.
 * Urgency is the deadline; without one it is arrival + slack x predicted service, so that short
 * requests overtake long ones and none waits for ever. Between tenants the budget is shared: first
 * every tenant that waits gets its equal part, least served tenant first; then what is left goes by
 * urgency alone. */
#ifndef TANDEM_SERVER_BATCHER_H
#define TANDEM_SERVER_BATCHER_H

#include "common/base/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BATCHER_SLACK                                                                              \
    4.0 /* how many times its own service a request without deadline may wait before it is urgent  \
         */

/* One request that could be in the step. */
struct batcher_item {
    uint64_t tenant;    /* any number that names the tenant */
    int64_t urgency_ns; /* batcher_urgency */
    uint32_t prefill;   /* tokens still to prefill; a picture counts 1; 0: a decode token */
    void *user;         /* the caller's */
    uint32_t ret_take;  /* tokens taken: 0 is not in this step */
};

/* How much each tenant got lately; survives from step to step. */
struct batcher {
    struct batcher_tenant {
        uint64_t tenant;
        double served;
    } tenants[LIMIT_TENANTS];
    size_t tenant_count;
};
void batcher_init(struct batcher *batcher);

int64_t batcher_urgency(int64_t arrival_ns, int64_t deadline_ns,
                        int64_t service_ns); /* deadline 0: none */

/* Sets ret_take of each item (the array is sorted by urgency on the way) within `tokens_max` tokens
 * and `items_max` items. Returns the number of items taken. A step with items always takes at least
 * one. */
size_t batcher_pick(struct batcher *batcher, struct batcher_item *items, size_t count,
                    uint32_t tokens_max, uint32_t items_max);

/* What admission looks at. */
struct batcher_load {
    int64_t ahead_ns;   /* predicted compute time of what would run before the new request */
    int64_t service_ns; /* its own */
};
/* 0, or TANDEM_EBUSY with *ret_retry_ms (at least 1) when waiting would help, or TANDEM_ELATE when
 * even an idle server would be too slow. `budget_ns` 0: no deadline, always 0. */
int batcher_admit(const struct batcher_load *load, int64_t budget_ns, uint64_t *ret_retry_ms);

/* Measured speed of one model. A rate of 0 is not known yet, and then predicts no time: nothing is
 * refused on a guess. */
struct batcher_rates {
    double prefill_ns, decode_ns,
        picture_ns; /* per token, per step with a decode token, per picture; moving means */
};
void batcher_rate_add(double *mean_ns, double sample_ns);
int64_t batcher_service_ns(const struct batcher_rates *rates, uint32_t pictures, uint32_t prefill,
                           uint32_t decode);

#endif
