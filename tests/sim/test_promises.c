/* test_promises.c: no request misses its deadline by the network's fault. A miss is the network's
 * where the same requests with the same times, all run on the device alone earliest deadline
 * first, would have met it. None while local runs stay within their bound, at most one in a
 * thousand where they do not. */
#include "tests/sim/measure.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LENGTH_NS (20 * NS_PER_S)
#define STREAMS   8

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

/* Tandem alone in this world; every request has ended, once. */
static struct measures tandem_run(const struct scene *scene, size_t clients, uint64_t seed)
{
    struct run run = {.scene = scene,
                      .pairs = &pairs,
                      .policy = policy_find("tandem"),
                      .client_count = clients,
                      .seed = seed,
                      .length_ns = LENGTH_NS};
    struct measures measures;

    assert_int_equal(run_make(&run), 0);
    run_go(&run);
    assert_int_equal(measures_take(&run, &measures), 0);
    assert_int_equal(measures.lost, 0);
    run_fini(&run);
    return measures;
}

static size_t network_misses(const struct measures *measures)
{
    return (size_t)(measures->network_miss_rate * (double)measures->requests + 0.5);
}

static void test_none_on_any_link(void **state)
{
    static const size_t clients[] = {1, 8};

    (void)state;
    for (size_t i = 0; i < scene_count; i++) {
        for (size_t c = 0; c < sizeof(clients) / sizeof(clients[0]); c++) {
            const struct measures measures = tandem_run(&scenes[i], clients[c], 11);

            if (network_misses(&measures) != 0) {
                fail_msg("%s, %zu clients: %zu of %zu requests missed by the network's fault",
                         scenes[i].name, clients[c], network_misses(&measures), measures.requests);
            }
        }
    }
}

/* Eight streams on one device, whose frames come all at once and are offloaded; the link is cut
 * some milliseconds later, each time at another moment of their way, and comes back. `heavy`: a
 * picture takes so many times as long here as it does. */
static void cut_make(double heavy, struct scene *ret_scene)
{
    struct scene *scene = ret_scene;

    memset(scene, 0, sizeof(*scene));
    strcpy(scene->name, "cut");
    scene->edges = 1;
    scene->same_start = scene->from_start = true;
    scene->streams = STREAMS;
    scene->period_ns = 500 * NS_PER_MS;
    scene->picture_times = heavy;
    assert_int_equal(trace_add(&scene->up[0], 0, 80, 4, 0), 0);
    for (int i = 0; i < 9; i++) { /* frames come at whole and half seconds */
        const double cut_s = 2 + 2 * i + 0.001 + 0.004 * i;

        assert_int_equal(trace_add(&scene->up[0], cut_s, 0, 4, 0), 0);
        assert_int_equal(trace_add(&scene->up[0], cut_s + 0.7, 80, 4, 0), 0);
    }
    trace_end(&scene->up[0], 30);
}

/* From hardly any work to more than there is time for, where only what could have been in time
 * counts. */
static void test_cut_under_eight_streams(void **state)
{
    static const double heavies[] = {1, 2, 3, 4, 5, 6, 8};

    (void)state;
    for (size_t i = 0; i < sizeof(heavies) / sizeof(heavies[0]); i++) {
        for (uint64_t seed = 1; seed <= 3; seed++) {
            struct measures measures;
            struct scene scene;

            cut_make(heavies[i], &scene);
            measures = tandem_run(&scene, 1, seed);
            assert_true(measures.offload_rate > 0.15);
            assert_true(heavies[i] >= 5 ? measures.miss_rate > 0 : measures.miss_rate == 0);
            if (network_misses(&measures) != 0) {
                fail_msg("pictures %.0f times as heavy: %zu of %zu missed by the network's fault",
                         heavies[i], network_misses(&measures), measures.requests);
            }
            scene_fini(&scene);
        }
    }
}

/* Adds a run in which, from the middle on, everything takes twice as long here as anything before:
 * the bound does not hold until that is learned. */
static void slow_add(const struct scene *like, double heavy, size_t clients, size_t *misses,
                     size_t *requests)
{
    struct scene scene = *like;
    struct measures measures;

    scene.picture_times = heavy;
    scene.slow_from_ns = LENGTH_NS / 2;
    scene.slow_times = 2;
    measures = tandem_run(&scene, clients, 23);
    assert_true(measures.requests > 0);
    *misses += network_misses(&measures);
    *requests += measures.requests;
}

static void test_slow_device(void **state)
{
    size_t misses = 0, requests = 0;
    struct scene cut;

    (void)state;
    cut_make(1, &cut);
    for (double heavy = 1; heavy <= 16; heavy *= 2) {
        for (size_t i = 0; i < scene_count; i++) {
            slow_add(&scenes[i], heavy, 4, &misses, &requests);
        }
        slow_add(&cut, heavy, 1, &misses, &requests);
    }
    scene_fini(&cut);
    assert_true(requests > 10000);
    if ((double)misses > 0.001 * (double)requests) {
        fail_msg("%zu of %zu missed by the network's fault", misses, requests);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none_on_any_link),
        cmocka_unit_test(test_cut_under_eight_streams),
        cmocka_unit_test(test_slow_device),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
