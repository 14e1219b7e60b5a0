/* main.c: the decision benchmark. decide_sim PAIRS.csv OUT_FOLDER [TRACES_FOLDER]
 *   SEEDS=3 CLIENTS=1,8,64 SECONDS=60 ONLY=word THREADS=2 in the environment change how much. */
#include "tests/sim/measure.h"

#include "common/base/error.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORLDS_MAX  4096
#define THREADS_MAX 64

struct world {
    const struct scene *scene;
    size_t clients;
    uint64_t seed;
};
struct work {
    const struct pairs *pairs;
    const struct world *worlds;
    struct measures *rows; /* [count * POLICIES_MAX] */
    size_t count, per_world;
    int64_t length_ns;
    atomic_size_t next;
    atomic_int result;
};

static const char *setting(const char *name, const char *or_else)
{
    const char *value = getenv(name);

    return value && value[0] ? value : or_else;
}

static void *work_do(void *user)
{
    struct work *work = user;

    for (;;) {
        const size_t at = atomic_fetch_add(&work->next, 1);
        const struct world *world = &work->worlds[at];
        size_t made;
        int result;

        if (at >= work->count || atomic_load(&work->result) != 0) {
            return NULL;
        }
        result = world_run(world->scene, work->pairs, world->clients, world->seed, work->length_ns,
                           &work->rows[at * POLICIES_MAX], &made);
        if (result != 0) {
            atomic_store(&work->result, result);
        }
    }
}

static int work_run(struct work *work, size_t thread_count)
{
    pthread_t threads[THREADS_MAX];
    size_t started = 0;

    while (started < thread_count && started < THREADS_MAX &&
           pthread_create(&threads[started], NULL, work_do, work) == 0) {
        started++;
    }
    if (started == 0) {
        (void)work_do(work);
    }
    for (size_t i = 0; i < started; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    return atomic_load(&work->result);
}

/* Every scene with every number of clients and every seed. */
static size_t worlds_fill(const struct scene *scenes, size_t scene_count, struct world *worlds)
{
    const unsigned long seeds = strtoul(setting("SEEDS", "3"), NULL, 10);
    const char *only = setting("ONLY", "");
    size_t count = 0;

    for (size_t i = 0; i < scene_count; i++) {
        const char *at = setting("CLIENTS", "1,8,64");

        if (!strstr(scenes[i].name, only)) {
            continue;
        }
        while (*at) {
            char *end;
            const size_t clients = strtoul(at, &end, 10);

            if (end == at || clients < 1 || clients > SIM_CLIENTS_MAX) {
                fprintf(stderr, "CLIENTS: numbers from 1 to %d\n", SIM_CLIENTS_MAX);
                return 0;
            }
            at = *end == ',' ? end + 1 : end;
            if (seeds > WORLDS_MAX - count) {
                fprintf(stderr, "more than %d runs: fewer SEEDS, CLIENTS or links\n", WORLDS_MAX);
                return 0;
            }
            for (uint64_t seed = 1; seed <= seeds; seed++) {
                worlds[count++] = (struct world){&scenes[i], clients, seed};
            }
        }
    }
    return count;
}

static size_t policy_count(void)
{
    size_t count = 0;

    while (policies[count].name) {
        count++;
    }
    return count;
}

static void rows_close_up(struct work *work)
{
    for (size_t i = 0; i < work->count; i++) {
        memmove(&work->rows[i * work->per_world], &work->rows[i * POLICIES_MAX],
                work->per_world * sizeof(*work->rows));
    }
}

/* A minute of tandem alone on every scene, as a picture. */
static int traces_draw(const struct work *work, const char *folder)
{
    int result = 0;

    for (size_t i = 0; result == 0 && i < work->count; i++) {
        const struct world *world = &work->worlds[i];
        struct run run = {.scene = world->scene,
                          .pairs = work->pairs,
                          .policy = policy_find("tandem"),
                          .client_count = 1,
                          .seed = 1,
                          .length_ns = work->length_ns};
        char path[4096];

        if (i > 0 && world->scene == work->worlds[i - 1].scene) {
            continue;
        }
        snprintf(path, sizeof(path), "%s/decide-%s.svg", folder, world->scene->name);
        result = run_make(&run);
        if (result == 0) {
            run_go(&run);
            result = picture_trace(path, &run, 0, (double)work->length_ns / (double)NS_PER_S);
        }
        run_fini(&run);
    }
    return result;
}

static int results_write(const struct work *work, const char *folder)
{
    const size_t rows = work->count * work->per_world;
    char path[4096];
    int result;

    snprintf(path, sizeof(path), "%s/decide.csv", folder);
    result = report_csv(path, work->rows, rows);
    report_print(work->rows, rows, work->per_world);
    snprintf(path, sizeof(path), "%s/decide-costs.svg", folder);
    if (result == 0) {
        result = picture_costs(path, work->rows, rows, work->per_world);
    }
    return result == 0 ? traces_draw(work, folder) : result;
}

int main(int argc, char **argv)
{
    static struct scene scenes[SCENES_MAX];
    static struct world worlds[WORLDS_MAX];
    struct pairs pairs = {0};
    struct work work = {.pairs = &pairs, .worlds = worlds, .per_world = policy_count()};
    size_t scene_count = 0;
    int result = 0;

    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: %s PAIRS.csv OUT_FOLDER [TRACES_FOLDER]\n", argv[0]);
        return 2;
    }
    result = pairs_load(argv[1], &pairs);
    if (result == 0) {
        result = scenes_make(scenes, &scene_count);
    }
    if (result == 0 && argc == 4) {
        result = scenes_load(argv[3], scenes, &scene_count);
    }
    work.count = result == 0 ? worlds_fill(scenes, scene_count, worlds) : 0;
    work.length_ns = (int64_t)(strtod(setting("SECONDS", "60"), NULL) * (double)NS_PER_S);
    work.rows = calloc(work.count * POLICIES_MAX + 1, sizeof(*work.rows));
    if (result == 0 && work.rows && work.count > 0) {
        result = work_run(&work, strtoul(setting("THREADS", "2"), NULL, 10));
        if (result == 0) {
            rows_close_up(&work);
            result = results_write(&work, argv[2]);
        }
    } else if (result == 0) {
        result = TANDEM_EINVAL;
    }
    if (result != 0) {
        fprintf(stderr, "decide_sim: %s\n", tandem_error_text(result));
    }
    free(work.rows);
    for (size_t i = 0; i < scene_count; i++) {
        scene_fini(&scenes[i]);
    }
    pairs_fini(&pairs);
    return result == 0 ? 0 : 1;
}
