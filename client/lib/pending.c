#include "client/lib/handle.h"

#include "common/base/clock.h"
#include "common/base/error.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

struct pending *pending_find(struct tandem *tandem, uint64_t id)
{
    for (size_t i = 0; id != 0 && i < LIMIT_LIB_REQUESTS; i++) {
        if (tandem->pending[i].id == id) {
            return &tandem->pending[i];
        }
    }
    return NULL;
}

struct pending *pending_new(struct tandem *tandem)
{
    struct pending *pending = tandem->pending;

    assert(tandem->pending_count < LIMIT_LIB_REQUESTS);
    while (pending->id != 0) {
        pending++;
    }
    *pending = (struct pending){.id = ++tandem->last_id, .guard_ns = INT64_MAX};
    tandem->pending_count++;
    return pending;
}

void pending_remove(struct tandem *tandem, struct pending *pending)
{
    tandem_answer_free(pending->answer);
    tandem->pending_count--;
    tandem->pending_bytes -= pending->bytes;
    *pending = (struct pending){.id = 0};
}

void pending_end(struct tandem *tandem, struct pending *pending, int error, const char *text,
                 struct tandem_answer *answer)
{
    if (pending->ended) {
        tandem_answer_free(answer);
        return;
    }
    pending->ended = true;
    pending->end_order = ++tandem->last_end_order;
    pending->error = error;
    pending->answer = answer;
    snprintf(pending->text, sizeof(pending->text), "%s", text);
}

void pending_end_all(struct tandem *tandem, int error, const char *text)
{
    /* Oldest first: callers like to hear of them in the order they asked. */
    for (;;) {
        struct pending *oldest = NULL;

        for (size_t i = 0; i < LIMIT_LIB_REQUESTS; i++) {
            struct pending *pending = &tandem->pending[i];

            if (pending->id != 0 && !pending->ended && (!oldest || pending->id < oldest->id)) {
                oldest = pending;
            }
        }
        if (!oldest) {
            return;
        }
        pending_end(tandem, oldest, error, text, NULL);
    }
}

void pending_guard(struct tandem *tandem, int64_t now_ns)
{
    for (size_t i = 0; i < LIMIT_LIB_REQUESTS; i++) {
        struct pending *pending = &tandem->pending[i];

        if (pending->id == 0 || pending->ended || now_ns < pending->guard_ns) {
            continue;
        }
        if (pending->feedback) {
            pending_end(tandem, pending, TANDEM_ETIMEDOUT,
                        "tandem-client did not say whether it took the feedback", NULL);
        } else if (pending->cancelled) {
            pending_end(tandem, pending, TANDEM_ECANCELED,
                        "cancelled; the daemon did not confirm it", NULL);
        } else {
            request_cancel_send(tandem, pending);
            pending_end(tandem, pending, TANDEM_ELATE,
                        "the deadline passed and the daemon did not say a word", NULL);
        }
    }
}

/* NULL when none has ended. */
static struct pending *pending_first_ended(struct tandem *tandem)
{
    struct pending *first = NULL;

    for (size_t i = 0; i < LIMIT_LIB_REQUESTS; i++) {
        struct pending *pending = &tandem->pending[i];

        if (pending->id != 0 && pending->ended &&
            (!first || pending->end_order < first->end_order)) {
            first = pending;
        }
    }
    return first;
}

int pending_deliver(struct tandem *tandem)
{
    struct pending *pending;
    int delivered = 0;

    while ((pending = pending_first_ended(tandem)) != NULL) {
        struct pending end = *pending;

        /* The place is free before the callback runs: it may submit. */
        pending->answer = NULL;
        pending_remove(tandem, pending);
        if (end.error != 0) {
            (void)handle_fail(tandem, end.error, "%s", end.text);
            tandem->failure = end.answer;
            end.answer = NULL;
        }
        tandem->callback_depth++;
        end.done(tandem, end.id, end.error, end.answer, end.user);
        tandem->callback_depth--;
        delivered++;
    }
    return delivered;
}
