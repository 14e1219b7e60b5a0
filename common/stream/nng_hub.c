#include "common/stream/nng_hub.h"

#include "common/base/error.h"

#include <pthread.h>
#include <stdlib.h>

struct nng_hub {
    uv_async_t async;
    size_t references; /* loop thread only */
    pthread_mutex_t lock;
    struct nng_event *first; /* under lock */
    struct nng_event **last; /* under lock */
};

static void hub_on_async(uv_async_t *async)
{
    struct nng_hub *hub = async->data;
    struct nng_event *event;
    struct nng_event *next;

    pthread_mutex_lock(&hub->lock);
    event = hub->first;
    hub->first = NULL;
    hub->last = &hub->first;
    pthread_mutex_unlock(&hub->lock);
    nng_hub_ref(hub); /* the last owner may go in one of these */
    for (; event; event = next) {
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
    if (uv_async_init(loop, &hub->async, hub_on_async) != 0) {
        free(hub);
        return NULL;
    }
    pthread_mutex_init(&hub->lock, NULL);
    hub->async.data = hub;
    hub->references = 1;
    hub->last = &hub->first;
    return hub;
}

struct nng_hub *nng_hub_ref(struct nng_hub *hub)
{
    hub->references++;
    return hub;
}

static void hub_on_closed(uv_handle_t *handle)
{
    struct nng_hub *hub = handle->data;

    pthread_mutex_destroy(&hub->lock);
    free(hub);
}

void nng_hub_unref(struct nng_hub *hub)
{
    if (--hub->references == 0) {
        uv_close((uv_handle_t *)&hub->async, hub_on_closed);
    }
}

/* Any thread. The wake-up is sent under the lock, so that the loop cannot have taken the event, and
 * closed the hub, before it. */
static void event_append(void *user)
{
    struct nng_event *event = user;
    struct nng_hub *hub = event->hub;

    pthread_mutex_lock(&hub->lock);
    event->next = NULL;
    *hub->last = event;
    hub->last = &event->next;
    uv_async_send(&hub->async);
    pthread_mutex_unlock(&hub->lock);
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
