#include "common/stream/nng_hub.h"

#include "common/base/error.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* An eventfd of our own, not uv_async_t: in the libuv that is about, a loop that wakes before the
 * sender is back from its write spins for it, and a list under a lock would make it wait as well;
 * with few cores that costs more than the message. */
struct nng_hub {
    uv_poll_t poll;
    int wake_fd;
    size_t references;                  /* loop thread only */
    _Atomic(struct nng_event *) raised; /* newest first */
    atomic_uint raising;                /* threads inside event_append */
};

static struct nng_event *hub_take_all(struct nng_hub *hub)
{
    struct nng_event *newest = atomic_exchange(&hub->raised, NULL);
    struct nng_event *oldest = NULL;

    while (newest) {
        struct nng_event *next = newest->next;

        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

static void hub_on_wake(uv_poll_t *poll, int status, int events)
{
    struct nng_hub *hub = poll->data;
    struct nng_event *next;
    eventfd_t count;

    (void)status;
    (void)events;
    (void)eventfd_read(hub->wake_fd, &count);
    nng_hub_ref(hub); /* the last owner may go in one of these */
    for (struct nng_event *event = hub_take_all(hub); event; event = next) {
        next = event->next;
        event->busy = false;
        event->handle(event);
    }
    nng_hub_unref(hub);
}

struct nng_hub *nng_hub_new(uv_loop_t *loop)
{
    struct nng_hub *hub = calloc(1, sizeof(*hub));

    if (!hub) {
        return NULL;
    }
    hub->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (hub->wake_fd < 0 || uv_poll_init(loop, &hub->poll, hub->wake_fd) != 0) {
        if (hub->wake_fd >= 0) {
            close(hub->wake_fd);
        }
        free(hub);
        return NULL;
    }
    hub->poll.data = hub;
    hub->references = 1;
    (void)uv_poll_start(&hub->poll, UV_READABLE, hub_on_wake); /* cannot fail */
    return hub;
}

struct nng_hub *nng_hub_ref(struct nng_hub *hub)
{
    hub->references++;
    return hub;
}

/* The last events were taken, but who raised them may not be out of event_append yet. */
static void hub_on_closed(uv_handle_t *handle)
{
    struct nng_hub *hub = handle->data;

    while (atomic_load(&hub->raising) > 0) {
        sched_yield();
    }
    close(hub->wake_fd);
    free(hub);
}

void nng_hub_unref(struct nng_hub *hub)
{
    if (--hub->references == 0) {
        uv_close((uv_handle_t *)&hub->poll, hub_on_closed);
    }
}

/* Any thread. Once it is in the list the event belongs to the loop; the hub stays until `raising`
 * is down again. Only the first of a list wakes the loop, which takes the whole. */
static void event_append(void *user)
{
    struct nng_event *event = user;
    struct nng_hub *hub = event->hub;
    struct nng_event *newest;

    atomic_fetch_add(&hub->raising, 1);
    newest = atomic_load(&hub->raised);
    do {
        event->next = newest;
    } while (!atomic_compare_exchange_weak(&hub->raised, &newest, event));
    if (!newest) {
        (void)eventfd_write(hub->wake_fd, 1);
    }
    atomic_fetch_sub(&hub->raising, 1);
}

int nng_event_init(struct nng_event *event, struct nng_hub *hub, bool with_aio,
                   void (*handle)(struct nng_event *event), void *owner)
{
    *event = (struct nng_event){.hub = hub, .handle = handle, .owner = owner};
    return with_aio && nng_aio_alloc(&event->aio, event_append, event) != 0 ? TANDEM_ENOMEM : 0;
}

void nng_event_fini(struct nng_event *event)
{
    nng_aio_free(event->aio);
    event->aio = NULL;
}

void nng_event_post(struct nng_event *event)
{
    event->busy = true;
    event_append(event);
}
