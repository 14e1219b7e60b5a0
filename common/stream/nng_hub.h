/* nng_hub.h: the bridge from NNG's threads to the loop. An NNG completion only pushes its event on
 * a list and wakes the loop; everything else happens there. Inside common/stream only. */
#ifndef TANDEM_STREAM_NNG_HUB_H
#define TANDEM_STREAM_NNG_HUB_H

#include <nng/nng.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct nng_hub;

/* One operation that can be under way once at a time, with its aio. Embedded in its owner. */
struct nng_event {
    struct nng_event *next;
    struct nng_hub *hub;
    nng_aio *aio;                            /* NULL for one that only nng_event_post raises */
    bool busy;                               /* started and not yet handled; loop thread only */
    void (*handle)(struct nng_event *event); /* on the loop; busy is false again */
    void *owner;
};

/* *returns owned* with one reference; it is gone when the last is given back and the loop has run.
 * NULL: no memory. */
struct nng_hub *nng_hub_new(uv_loop_t *loop);
struct nng_hub *nng_hub_ref(struct nng_hub *hub);
void nng_hub_unref(struct nng_hub *hub);

/* 0 or TANDEM_ENOMEM. */
int nng_event_init(struct nng_event *event, struct nng_hub *hub, bool with_aio,
                   void (*handle)(struct nng_event *event), void *owner);
/* Only when not busy. Waits for the last instructions of NNG's callback, no longer. */
void nng_event_fini(struct nng_event *event);
/* Raises the event by hand, from the loop. */
void nng_event_post(struct nng_event *event);

#endif
