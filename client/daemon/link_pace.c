/* link_pace.c: what may leave: `max_up_kbit` towards one edge, over all its connections together,
 * and what the hourly budget of bytes has left. Counted are the bytes of the streams as they are
 * handed to the system, TLS and its handshakes with them; what TCP and IP add, and repeat, is not.
 */
#include "client/daemon/link_parts.h"

#include "common/base/clock.h"

#include <math.h>

#define AGAIN_NS        (20 * NS_PER_MS) /* while the link is silent, or the hour has no more */
#define WRITTEN_NS      (2 * NS_PER_MS)  /* while the disk is waited for */
#define BUDGET_AGAIN_NS (2 * NS_PER_S)   /* a used-up budget may have room again */
#define PROBE_PART      64
#define HANDSHAKE_BYTES 4096 /* of TLS, this side's certificates with it */
#define REQUEST_BYTES   256  /* of a request's header, and the frames of its payload */

static bool is_capped(const struct link *link)
{
    return link->rate.bytes_per_s > 0;
}

/* Nobody can hold a handshake back once it has begun, so what it may send is kept for it: for those
 * under way, and `more` that are to begin. All of the cap where that is less. */
static uint64_t handshakes_bytes(const struct link *link, unsigned more)
{
    const unsigned opening =
        (link->conn && !link->greeted ? 1u : 0u) + (link->other && !link->other_open ? 1u : 0u);
    const uint64_t bytes = link->links->tls ? (opening + more) * HANDSHAKE_BYTES : 0;

    return bytes < link->rate.bytes_per_s ? bytes : link->rate.bytes_per_s;
}

/* What was handed over since the edge was last heard may not have left: it may still leave, all at
 * once, when the link is back. */
static bool is_stalled(const struct link *link, int64_t now_ns)
{
    const double stall_ms = estimate_link_stall_ms(&link->estimate, now_ns);

    return link->unheard_bytes > 0 &&
           (double)(now_ns - link->unheard_ns) > stall_ms * (double)NS_PER_MS;
}

/* How long the hold that is on has lasted. What was held may have been given up: it ends when it
 * was to leave. */
static int64_t hold_ns(const struct link *link, int64_t now_ns)
{
    const int64_t until_ns = now_ns < link->hold_until_ns ? now_ns : link->hold_until_ns;

    return link->hold_from_ns != 0 && until_ns > link->hold_from_ns ? until_ns - link->hold_from_ns
                                                                    : 0;
}

/* `held`: until `until_ns`; else what waited for it may leave. */
static void hold_note(struct link *link, bool held, int64_t until_ns, int64_t now_ns)
{
    link->holds_ns += hold_ns(link, now_ns);
    link->hold_until_ns = until_ns > link->hold_until_ns ? until_ns : link->hold_until_ns;
    link->hold_from_ns = held ? now_ns : 0;
    link->held_ns = held ? now_ns : link->held_ns;
}

static uint64_t cap_left(struct link *link, bool payload, uint64_t wanted, int64_t *ret_again_ns)
{
    const int64_t now_ns = clock_now_ns();
    const uint64_t kept = handshakes_bytes(link, 0);
    uint64_t left;

    if (!is_capped(link)) {
        return UINT64_MAX;
    }
    if (payload && is_stalled(link, now_ns)) {
        *ret_again_ns = now_ns + AGAIN_NS;
        return 0;
    }
    left = budget_rate_left(&link->rate, payload, now_ns);
    left = left > kept ? left - kept : 0;
    if (left < wanted) {
        *ret_again_ns =
            kept > 0 ? now_ns + AGAIN_NS : budget_rate_when(&link->rate, payload, wanted, now_ns);
        hold_note(link, true, *ret_again_ns, now_ns);
    } else if (payload) {
        hold_note(link, false, now_ns, now_ns);
    }
    return left;
}

uint64_t link_may_send(struct conn *conn, bool payload, uint64_t wanted, int64_t *ret_again_ns,
                       void *user)
{
    struct link *link = user;
    const uint64_t budget = budgets_bytes_now(link->links->budgets);
    const uint64_t left = cap_left(link, payload, wanted, ret_again_ns);

    (void)conn;
    if (budget < wanted) {
        const int64_t again_ns =
            clock_now_ns() + (budgets_are_written(link->links->budgets) ? WRITTEN_NS : AGAIN_NS);

        *ret_again_ns = left<wanted && * ret_again_ns> again_ns ? *ret_again_ns : again_ns;
    }
    return left < budget ? left : budget;
}

void link_moved(struct conn *conn, uint64_t sent_bytes, uint64_t received_bytes, void *user)
{
    struct link *link = user;
    const int64_t now_ns = clock_now_ns();

    (void)conn;
    budgets_moved(link->links->budgets, sent_bytes, received_bytes);
    budget_rate_spend(&link->rate, sent_bytes, now_ns);
    if (received_bytes > 0) {
        if (is_stalled(link, now_ns)) { /* it leaves only now */
            budget_rate_spend(&link->rate, link->unheard_bytes, now_ns);
        }
        link->unheard_bytes = 0;
    }
    if (sent_bytes > 0) {
        link->unheard_ns = link->unheard_bytes == 0 ? now_ns : link->unheard_ns;
        link->unheard_bytes += sent_bytes;
    }
}

int64_t link_dial_at_ns(const struct link *link, int64_t now_ns)
{
    return link_is_over_budget(link)
               ? now_ns + BUDGET_AGAIN_NS
               : budget_rate_when(&link->rate, false, handshakes_bytes(link, 1), now_ns);
}

bool link_is_over_budget(const struct link *link)
{
    return !budgets_carry_dial(link->links->budgets, link->links->tls != NULL);
}

bool link_was_held(const struct link *link, int64_t since_ns)
{
    return link->held_ns >= since_ns;
}

/* A probe takes what requests could use: it has at most half of what is left of the second, and a
 * small part of what is left of the hour. */
bool link_may_probe(const struct link *link, uint64_t bytes, int64_t now_ns)
{
    const struct budgets *budgets = link->links->budgets;

    return bytes <= budget_rate_left(&link->rate, true, now_ns) / 2 &&
           budgets_carry_extra(budgets, bytes) &&
           (double)bytes <= budgets_left(budgets, BUDGET_BYTES) / PROBE_PART;
}

double links_held_ms(const struct links *links, size_t edge, int64_t now_ns)
{
    const struct link *link = &links->items[edge];

    return (double)(link->holds_ns + hold_ns(link, now_ns)) / (double)NS_PER_MS;
}

double links_paced_ms(const struct links *links, size_t edge, uint64_t bytes, int64_t now_ns)
{
    const struct link *link = &links->items[edge];
    double link_ms, pace_ms;
    uint64_t queued;

    if (!is_capped(link)) {
        return 0;
    }
    queued = link->up ? conn_queued_bytes(link->conn) : 0;
    pace_ms = (double)(budget_rate_when(&link->rate, true, queued + bytes + REQUEST_BYTES, now_ns) -
                       now_ns) /
              (double)NS_PER_MS;
    link_ms = estimate_link_ms(&link->estimate, bytes, now_ns) -
              estimate_link_ms(&link->estimate, 0, now_ns);
    return fmax(isnan(link_ms) ? pace_ms : pace_ms - link_ms, 0);
}
