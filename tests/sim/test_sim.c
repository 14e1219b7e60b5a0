/* test_sim.c: the simulator's own laws, and what must hold of every policy on every link, in a
 * short run. */
#include "tests/sim/measure.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LENGTH_NS (20 * NS_PER_S)

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

static void test_same_seed_same_rows(void **state)
{
    static struct measures first[POLICIES_MAX], second[POLICIES_MAX], other[POLICIES_MAX];
    size_t count, again;

    (void)state;
    assert_int_equal(world_run(&scenes[1], &pairs, 3, 7, LENGTH_NS / 4, first, &count), 0);
    assert_int_equal(world_run(&scenes[1], &pairs, 3, 7, LENGTH_NS / 4, second, &again), 0);
    assert_int_equal(count, again);
    for (size_t i = 0; i < count; i++) {
        assert_true(first[i].total_cost == second[i].total_cost);
        assert_true(first[i].bytes_up == second[i].bytes_up);
        assert_true(first[i].p999_ms == second[i].p999_ms);
    }
    assert_int_equal(world_run(&scenes[1], &pairs, 3, 8, LENGTH_NS / 4, other, &again), 0);
    assert_false(first[0].total_cost == other[0].total_cost);
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

/* Eight streams offload and the link is cut in the same millisecond, again and again: what a local
 * run alone would have met is met. */
static void test_cut_link_misses_nothing(void **state)
{
    struct scene cut = {.name = "cut", .edges = 1};
    struct run run = {.scene = &cut,
                      .pairs = &pairs,
                      .policy = policy_find("tandem"),
                      .client_count = 8,
                      .seed = 3,
                      .length_ns = LENGTH_NS};
    struct measures measures;

    (void)state;
    cut.same_start = true;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(trace_add(&cut.up[0], 4 * i, 80, 4, 0), 0);
        assert_int_equal(trace_add(&cut.up[0], 4 * i + 2.5, 0, 4, 0), 0);
    }
    trace_end(&cut.up[0], 16);
    assert_int_equal(run_make(&run), 0);
    run_go(&run);
    assert_int_equal(measures_take(&run, &measures), 0);
    assert_int_equal(measures.lost, 0);
    assert_true(measures.network_miss_rate == 0);
    assert_true(measures.offload_rate > 0.1);
    run_fini(&run);
    scene_fini(&cut);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pipe_is_a_bucket_with_a_delay),
        cmocka_unit_test(test_wifi_keeps_its_percentiles),
        cmocka_unit_test(test_same_seed_same_rows),
        cmocka_unit_test(test_laws_on_every_link),
        cmocka_unit_test(test_cut_link_misses_nothing),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
