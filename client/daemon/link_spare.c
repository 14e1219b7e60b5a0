#include "client/daemon/link_parts.h"

#include "common/base/clock.h"
#include "common/base/log.h"

#define WATCH_MS 200

static int64_t silent_ns(const struct link *link, int64_t now_ns)
{
    return link->up ? conn_owed_ns(link->conn, now_ns) : 0;
}

static void on_watch(uv_timer_t *timer)
{
    struct link *link = timer->data;
    const int64_t now_ns = clock_now_ns();
    const int64_t patience_ns =
        spare_patience_ns(&link->spare, estimate_link_stall_ms(&link->estimate, now_ns), now_ns);
    char why[CONN_ERROR_BYTES];

    if (!link->up) {
        (void)uv_timer_stop(timer);
    } else if (!budgets_carry_link(link->links->budgets)) {
        link_hang_up(link, BUDGET_BYTES_USED);
    } else if (silent_ns(link, now_ns) < patience_ns) {
        link_spare_drop(link); /* the old one speaks again */
    } else if (!link->other && link_dial_at_ns(link, now_ns) <= now_ns) {
        /* The old connection is up: its `why` is empty and stays so. */
        if (link_connect(link, &link->other, why) != 0) {
            link->other = NULL;
        }
        link->other_open = false;
    }
}

void link_spare_watch(struct link *link)
{
    (void)uv_timer_start(&link->watch, on_watch, WATCH_MS, WATCH_MS);
}

void link_spare_drop(struct link *link)
{
    struct conn *other = link->other;

    link->other = NULL;
    if (other) {
        conn_close(other, false);
    }
}

bool link_spare_takes_over(struct link *link, const struct conn *conn)
{
    const int64_t now_ns = clock_now_ns();
    struct conn *old = link->conn;

    if (conn != link->other || !old) {
        return false;
    }
    log_info("edge %s: silent for %lld ms: a new connection takes over", link->name,
             (long long)(silent_ns(link, now_ns) / NS_PER_MS));
    spare_took_over(&link->spare, now_ns);
    link->conn = link->other;
    link->other = NULL;
    link->up = false;
    link->greeted = true;
    conn_close(old, false);
    return true;
}
