/* The cap of an edge: it holds over all connections together, also over what the system kept while
 * the link was silent; handshakes find their room; and who asks is told how long the cap takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/daemon/link_parts.h"

#include "common/base/clock.h"

#include <math.h>
#include <string.h>

#define KBIT     80
#define CAP      10000 /* bytes in a second */
#define PAYLOAD  8750  /* of them */
#define START_NS (500 * NS_PER_S)

static struct links links;
static struct link *const edge = &links.items[0];
static int64_t now_ns;

static int64_t fake_now(void *user)
{
    (void)user;
    return now_ns;
}

static int setup(void **state)
{
    (void)state;
    memset(&links, 0, sizeof(links));
    links.count = 1;
    edge->links = &links;
    estimate_link_init(&edge->estimate);
    budget_rate_limit(&edge->rate, KBIT);
    now_ns = START_NS;
    clock_set_fake(fake_now, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    clock_set_fake(NULL, NULL);
    return 0;
}

static struct conn *conn(int number)
{
    static char names[2];

    return (struct conn *)(void *)&names[number];
}

static uint64_t may_send(int number, bool payload, int64_t *ret_again_ns)
{
    return link_may_send(conn(number), payload, 1000, ret_again_ns, edge);
}

static void heard(void)
{
    link_moved(conn(0), 0, 40, edge);
}

static void test_connections_share(void **state)
{
    int64_t again_ns = 0;

    (void)state;
    assert_int_equal(may_send(0, true, &again_ns), PAYLOAD);
    link_moved(conn(0), 5000, 10, edge);
    assert_int_equal(may_send(1, true, &again_ns), PAYLOAD - 5000);
    link_moved(conn(1), PAYLOAD - 5000, 10, edge);
    assert_int_equal(may_send(0, true, &again_ns), 0);
    assert_int_equal(may_send(1, true, &again_ns), 0);
    assert_true(again_ns > now_ns + NS_PER_S && again_ns < now_ns + 2 * NS_PER_S);
    assert_int_equal(may_send(1, false, &again_ns), CAP - PAYLOAD); /* what keeps the link alive */
    heard();
    now_ns = again_ns;
    assert_true(may_send(1, true, &again_ns) >= 1000);
}

static void test_no_cap(void **state)
{
    int64_t again_ns;

    (void)state;
    budget_rate_limit(&edge->rate, 0);
    link_moved(conn(0), 1u << 30, 0, edge);
    now_ns += 10 * NS_PER_S;
    assert_true(may_send(0, true, &again_ns) == UINT64_MAX);
    assert_true(links_paced_ms(&links, 0, 1u << 30, now_ns) == 0);
    assert_true(link_dial_at_ns(edge, now_ns) == now_ns);
}

static double held_ms(void)
{
    return links_held_ms(&links, 0, now_ns);
}

/* How long the cap holds back is told as it goes, and no longer than until it would have let go:
 * nobody may have asked again. A ping between says nothing of what still waits. */
static void test_held(void **state)
{
    int64_t again_ns = 0, ping_again_ns = 0;

    (void)state;
    assert_true(held_ms() == 0);
    link_moved(conn(0), PAYLOAD, 10, edge);
    assert_int_equal(may_send(0, true, &again_ns), 0);
    now_ns += 100 * NS_PER_MS;
    assert_true(held_ms() == 100);
    heard();
    assert_int_equal(may_send(0, true, &again_ns), 0);
    assert_true(may_send(1, false, &ping_again_ns) > 0);
    now_ns += 200 * NS_PER_MS;
    assert_true(held_ms() == 300);
    now_ns = again_ns + NS_PER_S; /* given up */
    assert_true(held_ms() == (double)(again_ns - START_NS) / (double)NS_PER_MS);
    assert_true(may_send(0, true, &again_ns) > 0);
    now_ns += NS_PER_S;
    assert_true(held_ms() < 1300);
    link_moved(conn(0), PAYLOAD, 10, edge);
    (void)may_send(0, true, &again_ns);
    now_ns += 50 * NS_PER_MS;
    assert_true(held_ms() > 1100);
    budget_rate_limit(&edge->rate, 0); /* a reload took the cap away */
    assert_true(may_send(0, true, &again_ns) == UINT64_MAX);
}

/* What went into a silent link has its second when the link is back, and until then no more
 * follows. */
static void test_silence(void **state)
{
    int64_t again_ns = 0;

    (void)state;
    heard();
    link_moved(conn(0), PAYLOAD, 0, edge);
    now_ns += 3 * NS_PER_S;
    assert_int_equal(may_send(0, true, &again_ns), 0);
    assert_true(again_ns > now_ns && again_ns < now_ns + NS_PER_S);
    assert_int_equal(may_send(0, false, &again_ns), CAP); /* pings do */
    heard();
    assert_int_equal(may_send(0, true, &again_ns), 0);
    now_ns += 900 * NS_PER_MS;
    assert_int_equal(may_send(0, true, &again_ns), 0);
    now_ns += 300 * NS_PER_MS;
    assert_int_equal(may_send(0, true, &again_ns), PAYLOAD);
}

/* A round trip is no silence: nothing is counted twice. */
static void test_round_trip(void **state)
{
    int64_t again_ns;

    (void)state;
    link_moved(conn(0), 3000, 0, edge);
    now_ns += 100 * NS_PER_MS;
    heard();
    assert_int_equal(may_send(0, true, &again_ns), PAYLOAD - 3000);
}

/* A handshake under way keeps its room from everything else, and one that has none waits. */
static void test_handshakes(void **state)
{
    int64_t again_ns = 0;

    (void)state;
    assert_true(link_dial_at_ns(edge, now_ns) == now_ns);
    links.tls = (struct conn_tls *)(void *)&links; /* never looked at */
    edge->conn = conn(0);
    assert_int_equal(may_send(1, false, &again_ns), CAP - 4096);
    edge->greeted = true;
    assert_int_equal(may_send(1, false, &again_ns), CAP);
    edge->other = conn(1);
    assert_int_equal(may_send(0, false, &again_ns), CAP - 4096);
    edge->other_open = true;
    assert_int_equal(may_send(0, false, &again_ns), CAP);
    link_moved(conn(0), 7000, 10, edge);
    edge->other = NULL;
    assert_true(link_dial_at_ns(edge, now_ns) > now_ns);
    now_ns += 1200 * NS_PER_MS;
    assert_true(link_dial_at_ns(edge, now_ns) == now_ns);
    budget_rate_limit(&edge->rate, BUDGET_KBIT_MIN); /* less than a handshake: all of it */
    assert_true(link_dial_at_ns(edge, now_ns) == now_ns);
}

/* Ten times what may leave in a second takes nine seconds at least, less what the link needs for it
 * anyway. */
static void test_paced(void **state)
{
    double fast_ms, slow_ms;

    (void)state;
    fast_ms = links_paced_ms(&links, 0, 10 * CAP, now_ns);
    assert_true(fast_ms > 10000 && fast_ms < 13500);
    assert_true(links_paced_ms(&links, 0, 4000, now_ns) == 0);
    link_moved(conn(0), PAYLOAD, 1, edge);
    assert_true(links_paced_ms(&links, 0, 4000, now_ns) > 1000);
    estimate_link_rtt(&edge->estimate, 2, now_ns);
    estimate_link_acked(&edge->estimate, 8000, 1002, now_ns); /* 8 bytes in a ms */
    slow_ms = links_paced_ms(&links, 0, 4000, now_ns);
    assert_true(slow_ms > 500 && slow_ms < 700);
}

/* What the cap held back measures the cap; a probe leaves the half to requests. */
static void test_measuring(void **state)
{
    int64_t again_ns;

    (void)state;
    assert_true(link_may_probe(edge, PAYLOAD / 2, now_ns));
    assert_false(link_may_probe(edge, PAYLOAD / 2 + 1, now_ns));
    assert_false(link_was_held(edge, now_ns - NS_PER_S));
    link_moved(conn(0), PAYLOAD, 1, edge);
    (void)may_send(0, true, &again_ns);
    assert_true(link_was_held(edge, now_ns - NS_PER_S));
    assert_false(link_was_held(edge, now_ns + 1));
}

/* Nor does it take more than a small part of what the hour has left, and with the joule used up it
 * is not sent at all; what is sent is charged. */
static void test_budgets(void **state)
{
    struct client_config config = {.state_dir = (char *)(uintptr_t) "",
                                   .bytes_per_hour = 640000,
                                   .joule_per_hour = 10,
                                   .send_joule_per_megabyte = 2};
    enum edge_trouble trouble;
    int64_t again_ns = 0;
    uv_loop_t loop;

    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    links.budgets = budgets_open(&loop, &config);
    assert_true(link_may_probe(edge, 10000 / 4, now_ns));
    link_moved(conn(0), 4000, 1000, edge);
    assert_true(budgets_left(links.budgets, BUDGET_BYTES) == 635000);
    assert_true(fabs(budgets_left(links.budgets, BUDGET_JOULE) - 9.992) < 1e-9);
    now_ns += 2 * NS_PER_S;
    budgets_spend(links.budgets, BUDGET_BYTES, 635000 - 64 * 1500);
    assert_true(link_may_probe(edge, 1500, now_ns));
    assert_false(link_may_probe(edge, 1501, now_ns));
    budgets_spend(links.budgets, BUDGET_JOULE, 9.992 - 0.0029); /* a probe of 1450 bytes is left */
    assert_true(link_may_probe(edge, 1449, now_ns));
    assert_false(link_may_probe(edge, 1451, now_ns));
    budgets_spend(links.budgets, BUDGET_JOULE, 10);
    assert_false(link_may_probe(edge, 1500, now_ns));
    assert_false(link_is_over_budget(edge));
    budgets_spend(links.budgets, BUDGET_BYTES, 64 * 1500 - 2500);
    assert_true(link_is_over_budget(edge)); /* 2500 bytes keep a connection and make none */
    assert_string_equal(links_unusable(&links, 0, 0, &trouble), BUDGET_BYTES_LINK);
    assert_int_equal(trouble, EDGE_OVER_BUDGET);
    budgets_spend(links.budgets, BUDGET_BYTES, 1000);
    assert_int_equal(may_send(0, false, &again_ns), 1500 - 1024);
    assert_true(again_ns > now_ns);
    assert_true(link_is_over_budget(edge));
    assert_string_equal(links_unusable(&links, 0, 0, &trouble), BUDGET_BYTES_USED);
    assert_int_equal(trouble, EDGE_OVER_BUDGET);
    assert_true(link_dial_at_ns(edge, now_ns) > now_ns);
    budgets_close(links.budgets);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    budgets_free(links.budgets);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
#define FRESH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {FRESH(test_connections_share),
                                       FRESH(test_no_cap),
                                       FRESH(test_held),
                                       FRESH(test_silence),
                                       FRESH(test_round_trip),
                                       FRESH(test_handshakes),
                                       FRESH(test_paced),
                                       FRESH(test_measuring),
                                       FRESH(test_budgets)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
