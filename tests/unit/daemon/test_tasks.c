/* Generations of tasks: a model whose file is the same is kept with what was learned of it, a new
 * one is opened, and what two generations share lives until both are gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/daemon/tasks.h"

#include "common/base/buf.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64], model[128], other[128], objects[128], things[128];

static void file_copy(const char *from, const char *to)
{
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    char piece[4096];
    size_t bytes;

    assert_non_null(in);
    assert_non_null(out);
    while ((bytes = fread(piece, 1, sizeof(piece), in)) > 0) {
        assert_int_equal(fwrite(piece, 1, bytes, out), bytes);
    }
    assert_int_equal(fclose(in), 0);
    assert_int_equal(fclose(out), 0);
}

static void task_write(const char *path)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs("[task]\nkind = classify\n[local]\nmodel = model.gguf\n", file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/tandem-tasks-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(model, sizeof(model), "%s/model.gguf", dir);
    snprintf(other, sizeof(other), "%s/other", dir);
    snprintf(objects, sizeof(objects), "%s/objects.conf", dir);
    snprintf(things, sizeof(things), "%s/things.conf", dir);
    file_copy("deploy/models/objects-local.gguf", model);
    task_write(objects);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)unlink(model);
    (void)unlink(other);
    (void)unlink(objects);
    (void)unlink(things);
    return rmdir(dir);
}

static struct tasks *load(struct tasks *old, int64_t threads)
{
    static char nowhere[] = "";
    const struct client_config config = {
        .tasks_dir = dir, .models_dir = nowhere, .threads = threads, .kv_bytes = 1 << 20};
    char error[CONFIG_ERROR_BYTES] = "";
    struct tasks *tasks;

    if (tasks_load(&config, old, NULL, &tasks, error) != 0) {
        fail_msg("%s", error);
    }
    if (old) {
        tasks_inherit(tasks, old);
    }
    return tasks;
}

static bool answers(struct tasks *tasks, size_t index)
{
    static const uint8_t grey[32 * 32];
    struct runner_job job = {.model = &tasks->items[index].local,
                             .input = grey,
                             .input_bytes = sizeof(grey),
                             .picture = {ENGINE_PIXELS_GREY, 32, 32, 0}};

    runner_run_now(&job, NULL);
    answer_fini(&job.answer);
    return job.error == 0;
}

static void test_the_same_file_is_kept(void **state)
{
    struct tasks *old = load(NULL, 1), *new;
    struct engine_model *opened = old->items[0].local.model;

    (void)state;
    estimate_local_add(&old->items[0].estimate, 5);
    atomic_store(&old->items[0].local.step_ns[STEP_PICTURE], 77);
    new = load(old, 1);
    assert_ptr_equal(new->items[0].local.model, opened);
    assert_int_equal(new->items[0].estimate.run.count, 2); /* not run again, nothing forgotten */
    assert_int_equal(atomic_load(&new->items[0].local.step_ns[STEP_PICTURE]), 77);
    assert_true(answers(old, 0) && answers(new, 0));
    tasks_unref(old);
    assert_true(answers(new, 0));
    assert_string_equal(new->contracts[0].model_digest, engine_model_digest(opened));
    tasks_unref(new);
}

/* Under another name, too, and by two at once. */
static void test_another_task_with_the_same_file(void **state)
{
    struct tasks *old = load(NULL, 1), *new;

    (void)state;
    task_write(things);
    new = load(old, 1);
    assert_int_equal(new->count, 2);
    assert_ptr_equal(new->items[1].local.model, old->items[0].local.model);
    assert_int_equal(new->items[1].estimate.run.count, 1); /* READY still means that it ran */
    tasks_unref(old);
    assert_true(answers(new, 0) && answers(new, 1));
    tasks_unref(new);
}

static void test_a_changed_file_is_opened(void **state)
{
    const struct timespec before[2] = {{1, 0}, {1, 0}}, times[2] = {{1, 0}, {1, 1}};

    (void)state;
    for (int how = 0; how < 3; how++) {
        struct tasks *old, *new;

        assert_int_equal(utimensat(AT_FDCWD, model, before, 0), 0);
        old = load(NULL, 1);
        if (how == 0) { /* replaced, as models are, by one of the same age */
            file_copy(model, other);
            assert_int_equal(utimensat(AT_FDCWD, other, before, 0), 0);
            assert_int_equal(rename(other, model), 0);
        } else if (how == 1) { /* written to */
            assert_int_equal(utimensat(AT_FDCWD, model, times, 0), 0);
        }
        new = load(old, how == 2 ? 2 : 1);
        assert_ptr_not_equal(new->items[0].local.model, old->items[0].local.model);
        assert_int_equal(new->items[0].shares, -1);
        assert_true(answers(old, 0) && answers(new, 0));
        tasks_unref(old);
        assert_true(answers(new, 0));
        tasks_unref(new);
    }
}

/* A reload that fails leaves the old generation as it is. */
static void test_a_failed_reload_takes_nothing(void **state)
{
    static char nowhere[] = "";
    const struct client_config config = {
        .tasks_dir = dir, .models_dir = nowhere, .threads = 1, .kv_bytes = 1 << 20};
    struct tasks *old = load(NULL, 1), *new = NULL;
    char error[CONFIG_ERROR_BYTES] = "";
    FILE *file = fopen(things, "w");

    (void)state;
    assert_true(fputs("[task]\nkind = classify\n[local]\nmodel = nothing.gguf\n", file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_true(tasks_load(&config, old, NULL, &new, error) < 0);
    assert_null(new);
    assert_non_null(strstr(error, "things.conf"));
    assert_true(answers(old, 0));
    tasks_unref(old);
}

/* What is foreseen of an edge's scores is not less than they take. */
static void test_scores_are_foreseen(void **state)
{
    struct tasks *tasks = load(NULL, 1), *named;
    const size_t count = tasks->items[0].local.label_count;
    FILE *file = fopen(objects, "a");
    struct edge_result result = {.model_digest = "0123456789abcdef0123456789abcdef"};
    struct buf packed;
    double foreseen;

    (void)state;
    assert_non_null(file);
    (void)fputs("[task]\nlabels = ", file);
    for (size_t i = 0; i < count; i++) {
        assert_true(fprintf(file, "%s%0200zu", i > 0 ? ", " : "", i) > 0);
    }
    assert_int_equal(fputc('\n', file), '\n');
    assert_int_equal(fclose(file), 0);
    named = load(tasks, 1);
    result.answer = (struct answer){.kind = WIRE_CLASSIFY,
                                    .labels = calloc(count, sizeof(*result.answer.labels)),
                                    .label_count = count,
                                    .confidence = 0.5};
    for (size_t i = 0; i < count; i++) {
        result.answer.labels[i].label = strdup(named->items[0].local.labels[i]);
        result.answer.labels[i].score = 1.0 / 3;
    }
    buf_init(&packed, LIMIT_FRAME_HEADER_BYTES);
    assert_int_equal(edge_result_pack(&result, &packed), 0);
    foreseen = named->items[0].scores_bytes;
    assert_true(foreseen >= (double)packed.bytes + 900 && foreseen < (double)packed.bytes + 2048);
    assert_true(foreseen > tasks->items[0].scores_bytes);
    buf_fini(&packed);
    answer_fini(&result.answer);
    tasks_unref(tasks);
    tasks_unref(named);
}

int main(void)
{
#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_the_same_file_is_kept), WITH_FOLDER(test_another_task_with_the_same_file),
        WITH_FOLDER(test_a_changed_file_is_opened), WITH_FOLDER(test_a_failed_reload_takes_nothing),
        WITH_FOLDER(test_scores_are_foreseen)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
