/* test_shift.c: what is learned is corrected while it runs. From a moment on the local model is as
 * sure as ever and much more often wrong: a lens got dirty, or the parts on the belt are others. */
#include "tests/sim/measure.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BLIND       0.6 /* of the local answers, after the shift: they are not of the input any more */
#define BEFORE      (600 * NS_PER_S)
#define SOON        (60 * NS_PER_S) /* after it: what is learned anew */
#define AFTER       (300 * NS_PER_S)
#define SEEDS       6
#define BEST_BEFORE 0.8 /* of the thresholds that world.c tries, without the shift */

static struct pairs pairs;
static struct pair *blind, *seeing; /* each of pairs.items, after the shift */
static struct scene scenes[SCENES_MAX];
static size_t scene_count;

static int set_up(void **state)
{
    (void)state;
    if (pairs_load("tests/sim/data/pairs.csv", &pairs) != 0 ||
        scenes_make(scenes, &scene_count) != 0) {
        return -1;
    }
    blind = malloc(pairs.count * sizeof(*blind));
    seeing = malloc(pairs.count * sizeof(*seeing));
    if (!blind || !seeing) {
        return -1;
    }
    for (size_t i = 0; i < pairs.count; i++) {
        seeing[i] = pairs.items[i];
        seeing[i].local_true *= 1 - BLIND;
        blind[i] = seeing[i];
        blind[i].local_right = blind[i].agree = false;
        blind[i].same = 0;
        for (size_t form = 0; form < SIM_FORMS; form++) {
            blind[i].forms[form].agree = false;
        }
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < scene_count; i++) {
        scene_fini(&scenes[i]);
    }
    pairs_fini(&pairs);
    free(blind);
    free(seeing);
    return 0;
}

/* Milliseconds a request: before the shift, soon after it, and when there was time to learn. */
struct costs {
    double before, soon, after;
};

static void shift_make(struct run *run)
{
    struct random_source random;

    random_seed(&random, run->seed);
    for (size_t i = 0; i < run->count; i++) {
        struct request *request = &run->requests[i];
        const bool is_blind = random_unit(&random) < BLIND;

        if (request->start_ns >= BEFORE) {
            request->pair = &(is_blind ? blind : seeing)[request->pair - pairs.items];
        }
    }
}

static struct costs shift_run(const struct scene *scene, const char *policy, double threshold,
                              uint64_t seed)
{
    struct run run = {.scene = scene,
                      .pairs = &pairs,
                      .policy = policy_find(policy),
                      .threshold = threshold,
                      .client_count = 1,
                      .seed = seed,
                      .length_ns = BEFORE + AFTER};
    struct costs costs = {0, 0, 0};
    double *const sums[] = {&costs.before, &costs.soon, &costs.after};
    size_t counts[3] = {0};

    assert_int_equal(run_make(&run), 0);
    shift_make(&run);
    run_go(&run);
    for (size_t i = 0; i < run.count; i++) {
        const struct request *request = &run.requests[i];
        const size_t part = request->start_ns < BEFORE          ? 0
                            : request->start_ns < BEFORE + SOON ? 1
                                                                : 2;

        assert_true(request->ended);
        *sums[part] += request_cost(request);
        counts[part]++;
    }
    for (size_t part = 0; part < 3; part++) {
        *sums[part] /= (double)counts[part];
    }
    run_fini(&run);
    return costs;
}

/* Over all seeds. */
static struct costs shift_runs(const struct scene *scene, const char *policy, double threshold)
{
    struct costs mean = {0, 0, 0};

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        const struct costs costs = shift_run(scene, policy, threshold, seed);

        mean.before += costs.before / SEEDS;
        mean.soon += costs.soon / SEEDS;
        mean.after += costs.after / SEEDS;
    }
    return mean;
}

static const struct scene *scene_find(const char *name)
{
    for (size_t i = 0; i < scene_count; i++) {
        if (strcmp(scenes[i].name, name) == 0) {
            return &scenes[i];
        }
    }
    fail_msg("no link is called %s", name);
    return NULL;
}

static void costs_say(const char *link, const char *policy, const struct costs *costs)
{
    print_message("%-10s %-14s %6.1f ms before, %6.1f soon after, %6.1f then\n", link, policy,
                  costs->before, costs->soon, costs->after);
}

/* The threshold that was the best of all before the shift stays what it is; an edge that is always
 * asked has nothing to learn. Before the shift tandem is cheaper than both, and after it no dearer
 * than half as much again as what is best then. */
static void test_follows_a_shift(void **state)
{
    const struct scene *scene = scene_find("stationary");
    const struct costs tandem = shift_runs(scene, "tandem", 0),
                       fixed = shift_runs(scene, "hindsight", BEST_BEFORE),
                       edge = shift_runs(scene, "edge", 0),
                       informed = shift_runs(scene, "informed", 0),
                       hi_lcb = shift_runs(scene, "hi_lcb", 0);

    (void)state;
    costs_say(scene->name, "tandem", &tandem);
    costs_say(scene->name, "best threshold", &fixed);
    costs_say(scene->name, "hi_lcb", &hi_lcb);
    costs_say(scene->name, "edge", &edge);
    costs_say(scene->name, "informed", &informed);
    assert_true(tandem.before < fixed.before && tandem.before < edge.before);
    assert_true(tandem.after < 1.5 * edge.after);
    assert_true(tandem.after < 0.7 * fixed.after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_follows_a_shift)};

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
