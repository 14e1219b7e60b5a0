/* test_sim.c: the simulator's own laws, and what must hold of every policy on every link, in a
 * short run. */
#include "tests/sim/measure.h"

#include "common/base/error.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define LENGTH_NS (20 * NS_PER_S)
#define CSV_MAX   65536

static struct pairs pairs;
static struct scene scenes[SCENES_MAX];
static size_t scene_count;

static int set_up(void **state)
{
    (void)state;
    return pairs_load("tests/sim/data/pairs.csv", &pairs) != 0 ||
           scenes_make(scenes, &scene_count) != 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < scene_count; i++) {
        scene_fini(&scenes[i]);
    }
    pairs_fini(&pairs);
    return 0;
}

static const struct measures *row_of(const struct measures *rows, size_t count, const char *policy)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rows[i].policy, policy) == 0) {
            return &rows[i];
        }
    }
    fail_msg("no policy %s", policy);
    return NULL;
}

static void test_pipe_is_a_bucket_with_a_delay(void **state)
{
    struct trace trace = {0};
    struct pipe pipe = {.trace = &trace};
    struct random_source random;

    (void)state;
    random_seed(&random, 1);
    assert_int_equal(trace_add(&trace, 0, 8, 20, 0), 0); /* 1 MB a second, 10 ms each way */
    assert_int_equal(trace_add(&trace, 1, 0, 20, 0), 0);
    trace_end(&trace, 2);
    assert_int_equal(pipe_ask(&pipe, 1000, 0), 11 * NS_PER_MS);
    assert_int_equal(pipe_put(&pipe, 1000, 0, &random), 11 * NS_PER_MS);
    assert_int_equal(pipe_put(&pipe, 1000, 0, &random), 12 * NS_PER_MS); /* behind the first */
    /* half of it waits for the second of silence to end */
    assert_int_equal(pipe_put(&pipe, 1000, 1000 * NS_PER_MS - NS_PER_MS / 2, &random),
                     2010 * NS_PER_MS + NS_PER_MS / 2);
    free(trace.bins);
}

static void test_wifi_keeps_its_percentiles(void **state)
{
    const struct trace *trace = NULL;
    size_t under_low = 0, under_middle = 0, under_high = 0;

    (void)state;
    for (size_t i = 0; i < scene_count; i++) {
        trace = strcmp(scenes[i].name, "wifi") == 0 ? &scenes[i].up[0] : trace;
    }
    assert_non_null(trace);
    for (size_t i = 0; i < trace->count; i++) {
        const double mbit_s = trace->bins[i].bytes_per_ns * 8e3;

        under_low += mbit_s < 18.7;
        under_middle += mbit_s < 53.2;
        under_high += mbit_s < 77.4;
    }
    assert_true(fabs((double)under_low / (double)trace->count - 0.05) < 0.03);
    assert_true(fabs((double)under_middle / (double)trace->count - 0.5) < 0.08);
    assert_true(fabs((double)under_high / (double)trace->count - 0.95) < 0.03);
}

/* The file that bench-decide would write. *returns owned*. */
static char *csv_of(uint64_t seed, size_t *ret_bytes)
{
    static struct measures rows[POLICIES_MAX];
    char path[] = "/tmp/tandem-test-sim-XXXXXX";
    const int fd = mkstemp(path);
    char *text = malloc(CSV_MAX);
    FILE *file;
    size_t count;

    assert_true(fd >= 0 && text);
    assert_int_equal(world_run(&scenes[1], &pairs, 3, seed, LENGTH_NS / 4, rows, &count), 0);
    assert_int_equal(report_csv(path, rows, count), 0);
    file = fdopen(fd, "r");
    assert_non_null(file);
    *ret_bytes = fread(text, 1, CSV_MAX, file);
    (void)fclose(file);
    (void)unlink(path);
    assert_true(*ret_bytes > 1000 && *ret_bytes < CSV_MAX);
    return text;
}

/* All of it, byte by byte; and another seed is another world. */
static void test_same_seed_same_rows(void **state)
{
    size_t bytes, again_bytes, other_bytes;
    char *first = csv_of(7, &bytes), *again = csv_of(7, &again_bytes),
         *other = csv_of(8, &other_bytes);

    (void)state;
    assert_int_equal(bytes, again_bytes);
    assert_memory_equal(first, again, bytes);
    assert_true(other_bytes != bytes || memcmp(first, other, bytes) != 0);
    free(first);
    free(again);
    free(other);
}

static void run_make_and_go(const struct policy *policy, uint64_t seed, struct run *ret_run)
{
    *ret_run = (struct run){.scene = &scenes[4], /* outage */
                            .pairs = &pairs,
                            .policy = policy,
                            .client_count = 3,
                            .seed = seed,
                            .threshold = 0.5,
                            .random_rate = 0.5,
                            .length_ns = LENGTH_NS / 2};
    assert_int_equal(run_make(ret_run), 0);
    run_go(ret_run);
}

static bool double_same(double a, double b)
{
    return memcmp(&a, &b, sizeof(a)) == 0; /* NAN is NAN */
}

static bool request_same(const struct request *a, const struct request *b)
{
    return a->start_ns == b->start_ns && a->pair == b->pair && a->edge == b->edge &&
           a->by == b->by && a->delivered == b->delivered && a->late == b->late &&
           a->plan.route == b->plan.route && a->plan.insure_at_ns == b->plan.insure_at_ns &&
           double_same(a->plan.threshold, b->plan.threshold) &&
           double_same(a->latency_ms, b->latency_ms) && double_same(a->up_bytes, b->up_bytes) &&
           double_same(a->down_bytes, b->down_bytes) &&
           double_same(a->local_run_ms, b->local_run_ms) &&
           double_same(a->edge_run_ms, b->edge_run_ms) &&
           double_same(a->edge_wait_ms, b->edge_wait_ms) &&
           double_same(a->predicted_ms, b->predicted_ms);
}

/* The same of every single request, whatever the policy. */
static void test_same_seed_same_requests(void **state)
{
    (void)state;
    for (const struct policy *policy = policies; policy->name; policy++) {
        struct run first, again, other;
        size_t differ = 0;

        run_make_and_go(policy, 7, &first);
        run_make_and_go(policy, 7, &again);
        run_make_and_go(policy, 8, &other);
        assert_int_equal(first.count, again.count);
        for (size_t i = 0; i < first.count; i++) {
            if (!request_same(&first.requests[i], &again.requests[i])) {
                fail_msg("%s: request %zu of the same seed differs", policy->name, i);
            }
            differ += i < other.count && !request_same(&first.requests[i], &other.requests[i]);
        }
        assert_true(differ > first.count / 2);
        run_fini(&first);
        run_fini(&again);
        run_fini(&other);
    }
}

/* The first token after which a text is less sure than `threshold`, before its last; 0: none. */
static unsigned doubt_of(const struct pair *pair, double threshold)
{
    for (unsigned i = 0; i + 1 < pair->steps; i++) {
        if ((double)pair->sure[i] < threshold) {
            return i + 1;
        }
    }
    return 0;
}

/* A text that a cascade is not sure of on its way asks the edge before it is whole; one that is
 * sure until its end does not. */
static void test_doubt_asks_early(void **state)
{
    size_t doubted = 0, sure = 0;
    struct run run = {.scene = &scenes[0], /* stationary */
                      .pairs = &pairs,
                      .policy = policy_find("threshold"),
                      .client_count = 3,
                      .seed = 5,
                      .threshold = 0.5,
                      .length_ns = LENGTH_NS};

    (void)state;
    assert_int_equal(run_make(&run), 0);
    run_go(&run);
    for (size_t i = 0; i < run.count; i++) {
        const struct request *request = &run.requests[i];
        const unsigned at = doubt_of(request->pair, request->plan.threshold);

        for (unsigned k = 1; k + 1 < request->pair->steps; k++) {
            assert_true(request->pair->sure[k] <= request->pair->sure[k - 1]);
        }
        if (request->pair->steps < 2 || request->plan.route != JOB_CASCADE ||
            request->latency_ms > 1000) { /* not cut short by its deadline */
            continue;
        }
        assert_int_equal(request->doubt_tokens, at);
        assert_int_equal(request->job.doubt_tokens, at); /* then it was sent, at once */
        if (at > 0) {
            doubted++;
            assert_true(request->up_bytes > 0);
        } else {
            sure += request->up_bytes <= 0;
        }
    }
    assert_true(doubted > 5 && sure > 20);
    run_fini(&run);
}

/* In so short a run luck is a few parts in a hundred; make bench-decide shows the rest. */
static void tandem_check(const struct scene *scene, const struct measures *rows, size_t count)
{
    const double own = row_of(rows, count, "tandem")->total_cost;

    for (size_t i = 0; i < count; i++) {
        const bool knows = strcmp(rows[i].policy, "hindsight") == 0 ||
                           strcmp(rows[i].policy, "informed") == 0 ||
                           strcmp(rows[i].policy, "oracle") == 0;

        if (own > (knows ? 1.8 : 1.05) * rows[i].total_cost && strcmp(rows[i].policy, "oracle")) {
            fail_msg("tandem on %s costs %.0f, %s %.0f", scene->name, own, rows[i].policy,
                     rows[i].total_cost);
        }
    }
}

static void world_check(const struct scene *scene, const struct measures *rows, size_t count)
{
    const struct measures *tandem = row_of(rows, count, "tandem");
    const double informed = row_of(rows, count, "informed")->total_cost;

    for (size_t i = 0; i < count; i++) {
        assert_int_equal(rows[i].lost, 0);
        assert_int_equal(rows[i].requests, rows[0].requests);
        assert_true(rows[i].miss_rate >= rows[i].network_miss_rate);
        assert_true(rows[i].p50_ms <= rows[i].p95_ms && rows[i].p95_ms <= rows[i].p999_ms);
        if (strcmp(rows[i].policy, "oracle") != 0 && rows[i].regret <= 0) {
            fail_msg("%s on %s is better than who knows all", rows[i].policy, scene->name);
        }
    }
    assert_true(informed < row_of(rows, count, "local")->total_cost);
    assert_true(informed <= row_of(rows, count, "edge")->total_cost * 1.02);
    assert_true(row_of(rows, count, "local")->network_miss_rate == 0);
    assert_true(row_of(rows, count, "local")->bytes_up == 0);
    assert_true(row_of(rows, count, "edge")->energy_j < row_of(rows, count, "race")->energy_j);
    if (tandem->network_miss_rate != 0) {
        fail_msg("tandem on %s: %.4f of the requests missed by the network's fault", scene->name,
                 tandem->network_miss_rate);
    }
    tandem_check(scene, rows, count);
}

static void test_laws_on_every_link(void **state)
{
    static struct measures rows[POLICIES_MAX];
    size_t count;

    (void)state;
    for (size_t i = 0; i < scene_count; i++) {
        assert_int_equal(world_run(&scenes[i], &pairs, 2, 1, LENGTH_NS, rows, &count), 0);
        world_check(&scenes[i], rows, count);
    }
}

/* A folder of links that has none, or more than there is room for, is said and not passed over. */
static void test_links_are_not_passed_over(void **state)
{
    static struct scene some[SCENES_MAX];
    char folder[] = "/tmp/tandem-links-XXXXXX", path[64];
    size_t count = 0;
    FILE *file;

    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(scenes_load(folder, some, &count), TANDEM_EINVAL);
    snprintf(path, sizeof(path), "%s/one.csv", folder);
    file = fopen(path, "we");
    assert_non_null(file);
    fputs("0,10\n1,20\n", file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(scenes_load(folder, some, &count), 0);
    assert_int_equal(count, 1);
    scene_fini(&some[0]);
    count = SCENES_MAX;
    assert_int_equal(scenes_load(folder, some, &count), TANDEM_EINVAL);
    assert_int_equal(count, SCENES_MAX);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

/* Every outage of eight clients over a minute: the edge may be chosen again, and is, within two
 * seconds of its end and of the first request that belongs there. */
static void test_recovery_after_an_outage(void **state)
{
    struct measures measures;

    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct run run = {.scene = &scenes[4], /* outage */
                          .pairs = &pairs,
                          .policy = policy_find("tandem"),
                          .client_count = 8,
                          .seed = seed,
                          .length_ns = 3 * LENGTH_NS};

        assert_int_equal(run_make(&run), 0);
        run_go(&run);
        assert_int_equal(measures_take(&run, &measures), 0);
        run_fini(&run);
        if (!(measures.usable_ms <= 2000 && measures.asked_ms <= 2000)) {
            fail_msg("seed %d: usable after %.0f ms, asked after %.0f ms", (int)seed,
                     measures.usable_ms, measures.asked_ms);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pipe_is_a_bucket_with_a_delay),
        cmocka_unit_test(test_wifi_keeps_its_percentiles),
        cmocka_unit_test(test_same_seed_same_rows),
        cmocka_unit_test(test_same_seed_same_requests),
        cmocka_unit_test(test_doubt_asks_early),
        cmocka_unit_test(test_laws_on_every_link),
        cmocka_unit_test(test_links_are_not_passed_over),
        cmocka_unit_test(test_recovery_after_an_outage),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
