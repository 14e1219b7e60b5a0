/* What is believed of an edge's latency: first samples, ageing, answers that did not come, silences
 * of the link, and how soon an edge is asked again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/policy/decide.h"
#include "common/base/clock.h"
#include "common/base/random.h"

#include <math.h>

#define START_NS  (100 * NS_PER_S)
#define HINT_MS   12.0
#define PERIOD_NS (20 * NS_PER_MS)

static struct estimate_link link_1ms;
static struct estimate_edge edge;

static void fresh(void)
{
    estimate_link_init(&link_1ms);
    estimate_edge_init(&edge);
    assert_false(estimate_link_rtt(&link_1ms, 1, START_NS));
}

static struct latency latency_at(int64_t now_ns)
{
    struct latency latency;

    assert_true(estimate_edge_get(&edge, &link_1ms, 100, 0, HINT_MS, now_ns, &latency));
    assert_true(latency.p95_ms >= latency.mean_ms);
    return latency;
}

static void answers(unsigned count, double rest_ms, int64_t now_ns)
{
    while (count-- > 0) {
        estimate_edge_add(&edge, 1 + rest_ms, 0, 1, now_ns);
    }
}

/* What is done with a request of this deadline, local taking 5 ms and half of its answers wrong, at
 * `error_ms` each; what was learned goes in. */
static struct choice decide_dear(int64_t now_ns, double deadline_ms, double error_ms)
{
    struct confidence confidence;
    struct decide_edge believed = {
        .name = "den",
        .retry_due = estimate_edge_retry_due(&edge, now_ns),
        .best_ms = estimate_edge_best_ms(&edge, &link_1ms, 100, HINT_MS, now_ns),
        .latency_known = true,
        .latency = latency_at(now_ns)};
    const struct decide_input input = {.weights = {1000, 20, error_ms, 0},
                                       .has_local = true,
                                       .local_known = true,
                                       .local = {5, 6},
                                       .local_bound_ms = 12,
                                       .edges = &believed,
                                       .edge_count = 1,
                                       .up_bytes = 100,
                                       .confidence = &confidence,
                                       .now_ns = now_ns,
                                       .deadline_ns =
                                           now_ns + (int64_t)(deadline_ms * (double)NS_PER_MS)};
    struct choice choice;

    confidence_init(&confidence);
    assert_int_equal(decide(&input, &choice), 0);
    return choice;
}

/* A good edge is worth its time, one that takes 50 ms is not. */
static bool edge_is_asked(int64_t now_ns, double deadline_ms)
{
    const struct choice choice = decide_dear(now_ns, deadline_ms, 100);

    return choice.plan.route == JOB_EDGE ||
           (choice.plan.route == JOB_CASCADE && choice.plan.threshold > 0.7);
}

static void test_prior_and_age(void **state)
{
    struct latency young, old;

    (void)state;
    fresh();
    assert_true(fabs(latency_at(START_NS).mean_ms - 13) < 0.1); /* what it says of itself */
    answers(20, 40, START_NS);
    young = latency_at(START_NS);
    assert_true(fabs(young.mean_ms - 41) < 3);
    old = latency_at(START_NS + 600 * NS_PER_S);
    assert_true(fabs(old.mean_ms - 13) < 1);
    assert_true(old.p95_ms - old.mean_ms > young.p95_ms - young.mean_ms); /* less sure */
}

/* The first answer is slow; a few good ones later it is all but forgotten. */
static void test_first_samples_do_not_stay(void **state)
{
    (void)state;
    fresh();
    answers(1, 115, START_NS);
    assert_true(latency_at(START_NS).mean_ms > 80);
    answers(9, 15, START_NS);
    assert_true(latency_at(START_NS).mean_ms < 30);
    assert_true(latency_at(START_NS).p95_ms < 60);
}

/* After 115, 16 and 39 ms, requests of 50 ms go local; being asked again now and then, never more
 * often than twice a second, the edge, which takes 15 ms, is the choice again within seconds. */
static void test_slow_start_is_overcome(void **state)
{
    unsigned asked = 0, in_row = 0;
    int64_t now_ns = START_NS;

    (void)state;
    fresh();
    answers(1, 115, now_ns);
    answers(1, 16, now_ns);
    answers(1, 39, now_ns);
    estimate_edge_sent(&edge, now_ns);
    assert_false(edge_is_asked(now_ns + 1, 50));
    while (in_row < 10 && now_ns < START_NS + 20 * NS_PER_S) {
        now_ns += PERIOD_NS;
        if (!edge_is_asked(now_ns, 50)) {
            in_row = 0;
            continue;
        }
        asked++;
        in_row++;
        estimate_edge_sent(&edge, now_ns);
        answers(1, 15, now_ns);
    }
    assert_int_equal(in_row, 10);
    assert_true(now_ns - START_NS <= 8 * NS_PER_S);
    assert_true(asked - in_row <= 2 * 8);
}

static void test_overdue_answers(void **state)
{
    int64_t now_ns = START_NS;
    double last_ms;

    (void)state;
    fresh();
    answers(20, 15, now_ns);
    assert_true(edge_is_asked(now_ns, 200));
    estimate_edge_sent(&edge, now_ns);
    now_ns += 200 * NS_PER_MS;
    estimate_edge_overdue(&edge, &link_1ms, 200, now_ns);
    last_ms = latency_at(now_ns).mean_ms;
    assert_true(last_ms > 200);
    assert_false(edge_is_asked(now_ns, 200));
    estimate_edge_overdue(&edge, &link_1ms, 200, now_ns);
    assert_true(latency_at(now_ns).mean_ms > last_ms);
    assert_false(edge_is_asked(now_ns, 200));
    /* dear errors and a time much longer than what was waited for are another matter */
    assert_int_not_equal(decide_dear(now_ns, 20000, 5000).plan.route, JOB_LOCAL);
    answers(1, 15, now_ns);
    assert_true(latency_at(now_ns).mean_ms < 30);
    assert_true(edge_is_asked(now_ns, 200));
}

/* Whoever is not asked is forgiven after some seconds. */
static void test_stuck_is_forgotten(void **state)
{
    double after_ms[3];

    (void)state;
    fresh();
    answers(20, 15, START_NS);
    estimate_edge_sent(&edge, START_NS);
    estimate_edge_overdue(&edge, &link_1ms, 200, START_NS + NS_PER_S);
    for (int i = 0; i < 3; i++) {
        after_ms[i] = latency_at(START_NS + (1 + 10 * i) * NS_PER_S).mean_ms;
    }
    assert_true(after_ms[0] > 200 && after_ms[1] < 0.6 * after_ms[0]);
    assert_true(after_ms[2] < 40);
}

/* After a hope in vain it is a second until the next, then two, four; one that came true ends that.
 */
static void test_hopes_are_seldom(void **state)
{
    const int64_t hoped_ns = START_NS + 10 * NS_PER_S;

    (void)state;
    fresh();
    answers(1, 15, START_NS);
    estimate_edge_sent(&edge, START_NS);
    assert_false(estimate_edge_retry_due(&edge, START_NS + NS_PER_S / 2 - 1));
    assert_true(estimate_edge_retry_due(&edge, START_NS + NS_PER_S / 2));
    estimate_edge_hoped(&edge, hoped_ns);
    assert_false(estimate_edge_retry_due(&edge, hoped_ns + NS_PER_S - 1));
    assert_true(estimate_edge_retry_due(&edge, hoped_ns + NS_PER_S));
    for (int i = 0; i < 5; i++) {
        estimate_edge_hoped(&edge, hoped_ns);
    }
    assert_false(estimate_edge_retry_due(&edge, hoped_ns + 4 * NS_PER_S - 1));
    assert_true(estimate_edge_retry_due(&edge, hoped_ns + 4 * NS_PER_S));
    estimate_edge_hope_came_true(&edge);
    assert_true(estimate_edge_retry_due(&edge, hoped_ns));
}

/* What an edge claims of itself may be hoped for until it has answered some times otherwise. */
static void test_what_may_be_hoped_for(void **state)
{
    double best_ms;

    (void)state;
    fresh();
    best_ms = estimate_edge_best_ms(&edge, &link_1ms, 0, HINT_MS, START_NS);
    answers(3, 50, START_NS);
    assert_true(estimate_edge_best_ms(&edge, &link_1ms, 0, HINT_MS, START_NS) == best_ms);
    assert_true(estimate_edge_best_ms(&edge, &link_1ms, 0, 0, START_NS) > best_ms + 37);
    answers(17, 50, START_NS);
    assert_true(estimate_edge_best_ms(&edge, &link_1ms, 0, HINT_MS, START_NS) > best_ms + 37);
}

/* A link that nothing is known of is not probed, and one that was measured just now neither. */
static void test_when_a_probe_is_due(void **state)
{
    struct estimate_link link;

    (void)state;
    estimate_link_init(&link);
    assert_false(estimate_link_probe_due(&link, START_NS));
    fresh();
    assert_true(estimate_link_probe_due(&link_1ms, START_NS));
    estimate_link_acked(&link_1ms, 10000, 10, START_NS);
    assert_false(estimate_link_probe_due(&link_1ms, START_NS + 399 * NS_PER_MS));
    assert_true(estimate_link_probe_due(&link_1ms, START_NS + 400 * NS_PER_MS));
}

/* Nothing but requests can tell: they go there at intervals that double. */
static void test_stuck_edge_is_asked_seldom(void **state)
{
    unsigned asked = 0;

    (void)state;
    fresh();
    answers(20, 15, START_NS);
    for (int64_t now_ns = START_NS; now_ns < START_NS + 60 * NS_PER_S; now_ns += 200 * NS_PER_MS) {
        if (edge_is_asked(now_ns, 200)) {
            asked++;
            estimate_edge_sent(&edge, now_ns);
            estimate_edge_overdue(&edge, &link_1ms, 190, now_ns + 190 * NS_PER_MS);
        }
    }
    assert_in_range(asked, 3, 18); /* at most every 4 s in the end */
}

static void test_silence_and_recovery(void **state)
{
    int64_t now_ns = START_NS + NS_PER_S;

    (void)state;
    fresh();
    answers(20, 15, now_ns);
    assert_true(estimate_link_stall_ms(&link_1ms, now_ns) < 200);
    estimate_edge_overdue(&edge, &link_1ms, 200, now_ns);
    now_ns += 4 * NS_PER_S;
    assert_true(estimate_link_rtt(&link_1ms, 4500, now_ns));  /* the end of a silence */
    assert_false(estimate_link_rtt(&link_1ms, 2500, now_ns)); /* sent in the middle of it */
    assert_true(latency_at(now_ns).mean_ms < 30);
    estimate_edge_overdue(&edge, &link_1ms, 4200, now_ns + 10); /* sent into it */
    assert_true(latency_at(now_ns).mean_ms < 30);
    assert_false(estimate_link_rtt(&link_1ms, 2, now_ns + 2 * NS_PER_MS));
    assert_true(latency_at(now_ns).mean_ms < 30);
}

/* The same where nothing answers any more on the old connection, but a new one is made. */
static void test_recovery_by_a_new_connection(void **state)
{
    int64_t now_ns = START_NS + NS_PER_S;

    (void)state;
    fresh();
    answers(20, 15, now_ns);
    estimate_edge_overdue(&edge, &link_1ms, 200, now_ns);
    now_ns += 4 * NS_PER_S;
    assert_true(latency_at(now_ns).mean_ms > 30);
    estimate_link_back(&link_1ms, now_ns);
    assert_true(latency_at(now_ns).mean_ms < 30);
    estimate_edge_overdue(&edge, &link_1ms, 4200, now_ns + 10); /* sent into the silence */
    assert_true(latency_at(now_ns).mean_ms < 30);
    estimate_edge_overdue(&edge, &link_1ms, 200, now_ns + NS_PER_S); /* sent after it */
    assert_true(latency_at(now_ns + NS_PER_S).mean_ms > 100);
}

/* A link that has really become slow is believed at the second round trip. */
static void test_slow_link_is_learned(void **state)
{
    int64_t now_ns = START_NS;

    (void)state;
    fresh();
    for (int i = 0; i < 6; i++) {
        now_ns += NS_PER_S;
        assert_int_equal(estimate_link_rtt(&link_1ms, 600, now_ns), i == 0);
    }
    assert_true(latency_at(now_ns).mean_ms > 300);
    assert_true(estimate_link_stall_ms(&link_1ms, now_ns) > 600);
}

/* What the link took is not counted a second time as the edge's, nor the round trip as rate. */
static void test_upload_is_counted_once(void **state)
{
    struct latency latency;
    double link_ms;

    (void)state;
    fresh();
    estimate_link_acked(&link_1ms, 100000, 100, START_NS);
    link_ms = estimate_link_ms(&link_1ms, 100000, START_NS);
    assert_true(fabs(link_ms - 100) < 0.01);
    for (int i = 0; i < 20; i++) {
        estimate_edge_add(&edge, 100 + HINT_MS + 7, 7, link_ms, START_NS);
    }
    assert_true(estimate_edge_get(&edge, &link_1ms, 100000, 7, HINT_MS, START_NS, &latency));
    assert_true(fabs(latency.mean_ms - (100 + HINT_MS + 7)) < 0.5);
    estimate_link_acked(&link_1ms, 100, 1000, START_NS); /* too small to say anything */
    assert_true(fabs(estimate_link_ms(&link_1ms, 100000, START_NS) - 100) < 0.01);
}

/* The 95 % point of an upload over a link whose rate is a guess is far off; a few uploads that took
 * what was expected bring it near; one that takes four times as long moves it again. */
static void test_rate_is_little_known_at_first(void **state)
{
    struct latency guess, once, often, shaken;

    (void)state;
    fresh();
    assert_true(estimate_edge_get(&edge, &link_1ms, 100000, 0, 1, START_NS, &guess));
    estimate_link_acked(&link_1ms, 100000, 81, START_NS); /* what was guessed */
    assert_true(estimate_edge_get(&edge, &link_1ms, 100000, 0, 1, START_NS, &once));
    for (int i = 1; i < 20; i++) {
        estimate_link_acked(&link_1ms, 100000, 81, START_NS + i * NS_PER_S);
    }
    assert_true(
        estimate_edge_get(&edge, &link_1ms, 100000, 0, 1, START_NS + 20 * NS_PER_S, &often));
    estimate_link_acked(&link_1ms, 100000, 4 * 81, START_NS + 20 * NS_PER_S);
    assert_true(
        estimate_edge_get(&edge, &link_1ms, 100000, 0, 1, START_NS + 20 * NS_PER_S, &shaken));
    assert_true(guess.p95_ms > 3 * guess.mean_ms);
    assert_true(once.p95_ms > 2 * once.mean_ms);
    assert_true(often.p95_ms < 1.9 * often.mean_ms);
    assert_true(shaken.p95_ms - shaken.mean_ms > 1.5 * (often.p95_ms - often.mean_ms));
}

/* 1000 bytes/ms for a while; the third upload of a link that has become twenty times as thin is
 * expected to take what it takes, and so is that of one that is itself again. */
static void test_rate_steps(void **state)
{
    int64_t now_ns = START_NS;

    (void)state;
    fresh();
    for (int i = 0; i < 20; i++) {
        now_ns += NS_PER_S;
        estimate_link_acked(&link_1ms, 30000, 31, now_ns);
    }
    for (int i = 0; i < 2; i++) {
        now_ns += NS_PER_S;
        estimate_link_acked(&link_1ms, 4500, 91, now_ns); /* 50 bytes/ms */
    }
    assert_true(fabs(estimate_link_ms(&link_1ms, 30000, now_ns) - 601) < 5);
    for (int i = 0; i < 20; i++) {
        now_ns += NS_PER_S;
        estimate_link_acked(&link_1ms, 4500, 91, now_ns);
    }
    for (int i = 0; i < 2; i++) {
        now_ns += NS_PER_S;
        estimate_link_acked(&link_1ms, 30000, 31, now_ns);
    }
    assert_true(fabs(estimate_link_ms(&link_1ms, 30000, now_ns) - 31) < 1);
}

/* One slow upload among good ones is no change. */
static void test_rate_keeps_its_memory(void **state)
{
    int64_t now_ns = START_NS;

    (void)state;
    fresh();
    for (int i = 0; i < 20; i++) {
        now_ns += NS_PER_S;
        estimate_link_acked(&link_1ms, 30000, i % 5 == 4 ? 151 : 31, now_ns);
    }
    assert_true(estimate_link_ms(&link_1ms, 30000, now_ns + NS_PER_S) < 110);
    assert_int_equal(link_1ms.up_bytes_per_ms.count, 20);
}

/* The pieces of one upload are measured one by one, each against its own time: the second slow one
 * tells, while the upload goes on; and the fortieth quick one is as quick as the first. */
static void test_pieces_of_an_upload(void **state)
{
    int64_t now_ns = START_NS;

    (void)state;
    fresh();
    for (int i = 1; i <= 40; i++) {
        now_ns += 32 * NS_PER_MS;
        estimate_link_acked(&link_1ms, 32000, 32 * i + 1, now_ns);
    }
    assert_true(fabs(estimate_link_ms(&link_1ms, 32000, now_ns) - 33) < 1);
    assert_int_equal(link_1ms.up_bytes_per_ms.count, 40); /* none was taken for a silence */
    now_ns += NS_PER_S;
    for (int i = 1; i <= 3; i++) {
        now_ns += 640 * NS_PER_MS;
        estimate_link_acked(&link_1ms, 32000, 640 * i + 1, now_ns);
    }
    assert_true(estimate_link_ms(&link_1ms, 32000, now_ns) > 500);
}

/* What one round trip in ten takes is within the 95 % point, although the last nine took less. */
static void test_seldom_long_round_trips(void **state)
{
    struct latency latency;
    int64_t now_ns = START_NS;

    (void)state;
    fresh();
    answers(20, 5, now_ns);
    for (int i = 0; i < 40; i++) {
        now_ns += NS_PER_S / 2;
        estimate_link_rtt(&link_1ms, i % 10 == 0 ? 60 : 1, now_ns);
    }
    latency = latency_at(now_ns);
    assert_true(latency.p95_ms > 60);
    assert_true(latency_at(now_ns + 61 * NS_PER_S).p95_ms < 60); /* and is forgotten */
}

static void test_samples_high_and_keep(void **state)
{
    struct estimate_samples samples = {0};

    (void)state;
    assert_true(isnan(estimate_samples_high(&samples, 0.95, 0)));
    for (int i = 1; i <= 40; i++) {
        estimate_samples_add(&samples, i, i * NS_PER_S);
    }
    assert_float_equal(estimate_samples_high(&samples, 1, 0), 40, 0);
    assert_float_equal(estimate_samples_high(&samples, 0.5, 0), 24, 0); /* of 9 to 40 */
    assert_float_equal(estimate_samples_high(&samples, 0.5, 38 * NS_PER_S), 39, 0);
    assert_true(isnan(estimate_samples_high(&samples, 0.5, 41 * NS_PER_S)));
    estimate_samples_keep(&samples, 2);
    assert_int_equal(samples.count, 2);
    assert_float_equal(estimate_samples_high(&samples, 1, 0), 40, 0);
    assert_float_equal(estimate_samples_high(&samples, 0.1, 0), 39, 0);
    assert_int_equal(estimate_samples_newest_ns(&samples), 40 * NS_PER_S);
    estimate_samples_keep(&samples, 5);
    assert_int_equal(samples.count, 2);
}

/* Whatever the edge's times are like, the share within the 95 % point ends near 95 %: here one in
 * eight is far slower than the others, by turns. The first surprise moves it further than a later
 * one. */
static void test_one_in_twenty_is_over_it(void **state)
{
    struct random_source random;
    double first_log, later_log;
    int over = 0;

    (void)state;
    fresh();
    random_seed(&random, 3);
    for (int i = 0; i < 4000; i++) {
        const int64_t now_ns = START_NS + i * (NS_PER_S / 4);
        const double total_ms =
            20 + 5 * random_unit(&random) + (random_below(&random, 8) == 0 ? 200 : 0);
        const struct latency predicted = latency_at(now_ns);

        over += i >= 400 && total_ms > predicted.p95_ms;
        estimate_edge_check(&edge, &predicted, total_ms);
        estimate_edge_add(&edge, total_ms, 0, 1, now_ns);
    }
    assert_in_range(over, 0.04 * 3600, 0.06 * 3600);
    later_log = edge.tail_log;
    estimate_edge_check(&edge, &(struct latency){10, 20}, 21);
    later_log = edge.tail_log - later_log;
    estimate_edge_init(&edge);
    first_log = edge.tail_log;
    estimate_edge_check(&edge, &(struct latency){10, 20}, 21);
    assert_true(edge.tail_log - first_log > 2 * later_log);
}

/* A failure is forgotten in seconds, whether the edge is asked again or not. */
static void test_failure_is_forgotten(void **state)
{
    double at_once;

    (void)state;
    fresh();
    assert_true(estimate_edge_failure(&edge, &link_1ms, START_NS) == 0);
    estimate_edge_failed(&edge, 50, START_NS);
    at_once = estimate_edge_failure(&edge, &link_1ms, START_NS);
    assert_float_equal(at_once, (float)(1 / 1.2), 1e-6); /* against the prior's weight of 0.2 */
    assert_true(estimate_edge_failure(&edge, &link_1ms, START_NS + 2 * NS_PER_S) < 0.51 * at_once);
    assert_true(estimate_edge_failure(&edge, &link_1ms, START_NS + 20 * NS_PER_S) < 0.01);
}

/* What was given up while the link was silent says nothing of the link that speaks again; what is
 * given up after that does. */
static void test_failure_in_a_silence_is_over(void **state)
{
    const int64_t back_ns = START_NS + 3 * NS_PER_S;

    (void)state;
    fresh();
    estimate_edge_failed(&edge, 400, back_ns - NS_PER_S);
    assert_true(estimate_edge_failure(&edge, &link_1ms, back_ns) > 0.5);
    estimate_link_back(&link_1ms, back_ns);
    assert_true(estimate_edge_failure(&edge, &link_1ms, back_ns) == 0);
    estimate_edge_failed(&edge, 400, back_ns + 100 * NS_PER_MS); /* sent into it */
    assert_true(estimate_edge_failure(&edge, &link_1ms, back_ns + 100 * NS_PER_MS) == 0);
    estimate_edge_failed(&edge, 400, back_ns + 500 * NS_PER_MS);
    assert_true(estimate_edge_failure(&edge, &link_1ms, back_ns + 500 * NS_PER_MS) > 0.5);
}

/* Where nothing is known yet, a round trip of seconds is a silence sooner than a link that slow. */
static void test_first_round_trip_is_confirmed(void **state)
{
    (void)state;
    estimate_link_init(&link_1ms);
    estimate_edge_init(&edge);
    assert_true(estimate_link_rtt(&link_1ms, 3000, START_NS));
    assert_true(isnan(estimate_link_ms(&link_1ms, 100, START_NS)));
    assert_false(estimate_link_rtt(&link_1ms, 2, START_NS + 2 * NS_PER_MS));
    assert_true(latency_at(START_NS + 2 * NS_PER_MS).mean_ms < 30);
    estimate_link_init(&link_1ms);
    assert_true(estimate_link_rtt(&link_1ms, 600, START_NS));
    assert_false(estimate_link_rtt(&link_1ms, 600, START_NS + 600 * NS_PER_MS));
    assert_true(latency_at(START_NS + 600 * NS_PER_MS).mean_ms > 600);
}

/* A link of `rate` bytes/ms and a round trip of 10 ms. */
static void link_measure(struct estimate_link *link, double rate)
{
    estimate_link_init(link);
    estimate_link_rtt(link, 10, START_NS);
    (void)estimate_link_rtt(link, 10, START_NS + 10 * NS_PER_MS);
    for (int i = 1; i <= 8; i++) {
        estimate_link_acked(link, 60000, 10 + 60000 / rate, START_NS + i * NS_PER_S);
    }
}

/* What takes less than about a third of a round trip is lost in it: then 4 KiB are needed. */
static void test_what_measures_a_rate(void **state)
{
    struct estimate_link fast, thin;
    const int64_t now_ns = START_NS + 8 * NS_PER_S;

    (void)state;
    link_measure(&fast, 5000);
    link_measure(&thin, 100);
    assert_false(estimate_link_measured_by(&fast, 700, now_ns));
    assert_true(estimate_link_measured_by(&fast, 4096, now_ns));
    assert_true(estimate_link_measured_by(&thin, 700, now_ns));
    assert_false(estimate_link_measured_by(&thin, 300, now_ns));
    for (int i = 1; i <= 8; i++) { /* the thin one is slower now, and 700 bytes tell */
        estimate_link_acked(&thin, 700, 10 + 700 / 50.0, now_ns + i * NS_PER_S);
    }
    assert_in_range(estimate_link_ms(&thin, 1000, now_ns + 8 * NS_PER_S), 28, 32);
}

/* A probe takes milliseconds, not the time of the request that it stands before. */
static void test_a_probe_is_as_large_as_the_link(void **state)
{
    struct estimate_link link;
    const int64_t now_ns = START_NS + 8 * NS_PER_S;

    (void)state;
    link_measure(&link, 5000);
    assert_int_equal(estimate_link_probe_bytes(&link, 8192, now_ns), 8192);
    assert_int_equal(estimate_link_probe_bytes(&link, 0, now_ns), 0);
    link_measure(&link, 100);
    assert_in_range(estimate_link_probe_bytes(&link, 8192, now_ns), 340, 360); /* 3.5 ms */
    assert_true(
        estimate_link_measured_by(&link, estimate_link_probe_bytes(&link, 8192, now_ns), now_ns));
    link_measure(&link, 10);
    assert_int_equal(estimate_link_probe_bytes(&link, 8192, now_ns), 256);
    estimate_link_init(&link); /* nothing is known yet: as for 10 Mbit/s */
    assert_int_equal(estimate_link_probe_bytes(&link, 8192, now_ns), 2500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_prior_and_age),
                                       cmocka_unit_test(test_first_samples_do_not_stay),
                                       cmocka_unit_test(test_slow_start_is_overcome),
                                       cmocka_unit_test(test_stuck_is_forgotten),
                                       cmocka_unit_test(test_hopes_are_seldom),
                                       cmocka_unit_test(test_what_may_be_hoped_for),
                                       cmocka_unit_test(test_when_a_probe_is_due),
                                       cmocka_unit_test(test_overdue_answers),
                                       cmocka_unit_test(test_stuck_edge_is_asked_seldom),
                                       cmocka_unit_test(test_silence_and_recovery),
                                       cmocka_unit_test(test_recovery_by_a_new_connection),
                                       cmocka_unit_test(test_slow_link_is_learned),
                                       cmocka_unit_test(test_upload_is_counted_once),
                                       cmocka_unit_test(test_rate_is_little_known_at_first),
                                       cmocka_unit_test(test_one_in_twenty_is_over_it),
                                       cmocka_unit_test(test_rate_steps),
                                       cmocka_unit_test(test_rate_keeps_its_memory),
                                       cmocka_unit_test(test_pieces_of_an_upload),
                                       cmocka_unit_test(test_seldom_long_round_trips),
                                       cmocka_unit_test(test_samples_high_and_keep),
                                       cmocka_unit_test(test_failure_is_forgotten),
                                       cmocka_unit_test(test_failure_in_a_silence_is_over),
                                       cmocka_unit_test(test_first_round_trip_is_confirmed),
                                       cmocka_unit_test(test_what_measures_a_rate),
                                       cmocka_unit_test(test_a_probe_is_as_large_as_the_link)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
