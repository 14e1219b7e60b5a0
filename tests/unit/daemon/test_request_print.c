/* Encoded frames that show nearly what an earlier one showed: the print is made by a thread before
 * anything is decided. The edge, the runner and the clock are fake; the pool's thread, the decoder
 * and the cache are real. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/daemon/fake_site.h"

#include <math.h>
#include <stdio.h>

#define WIDTH  640
#define HEIGHT 480

static struct task_config task_config, other_config;
static struct client_task item, other;
static struct tasks tasks, others;
static uint8_t rgb[WIDTH * HEIGHT * 3], jpeg[1 << 20];

static int setup(void **state)
{
    (void)state;
    site_begin(&tasks);
    config = (struct client_config){
        .one_miss_ms = 1000, .one_error_ms = 200, .result_cache_bytes = 1 << 20};
    task_config = (struct task_config){.name = (char *)(uintptr_t) "objects",
                                       .kind = TASK_CLASSIFY,
                                       .leaves_device = (char *)(uintptr_t) "never",
                                       .result_cache = TASK_CACHE_SIMILAR,
                                       .similar_distance = 4,
                                       .similar_age_ms = 500};
    item = (struct client_task){.config = &task_config, .has_local = true};
    estimate_local_init(&item.estimate);
    estimate_local_add(&item.estimate, 50);
    confidence_init(&item.confidence);
    other_config = task_config;
    other = item;
    other.config = &other_config;
    tasks = (struct tasks){.configs = &task_config, .items = &item, .count = 1};
    others = (struct tasks){.configs = &other_config, .items = &other, .count = 1};
    estimate_link_init(&fake.link);
    return requests_init(&all);
}

static void locals_answer(const char *label)
{
    while (fake.started_count > 0) {
        struct runner_job *job = fake.started[--fake.started_count];
        struct answer_label *labels = calloc(1, sizeof(*labels));

        labels[0] = (struct answer_label){strdup(label), 0.9};
        job->answer = (struct answer){
            .kind = WIRE_CLASSIFY, .labels = labels, .label_count = 1, .confidence = 0.9};
        requests_runner_callbacks.on_done(job, &all);
    }
}

static int teardown(void **state)
{
    (void)state;
    return site_end();
}

/* A corridor with a window, `brighter` by so much, seen with width x height pixels, with somebody
 * in it or not; as JPEG. */
static size_t frame_make(uint32_t width, uint32_t height, unsigned brighter, bool somebody)
{
    const struct engine_picture picture = {ENGINE_PIXELS_RGB,         width, height, 0, rgb,
                                           (size_t)width * height * 3};
    char error[ENGINE_ERROR_BYTES];
    uint8_t *data;
    size_t bytes;

    for (size_t i = 0; i < (size_t)width * height; i++) {
        const size_t x = i % width * 100 / width, y = i / width * 100 / height;
        const bool window = x > 60 && x < 80 && y > 20 && y < 50;
        const bool body = somebody && x > 20 && x < 35 && y > 30;

        memset(rgb + 3 * i, (int)((body ? 30 : window ? 190 : 90 + y / 2) + brighter), 3);
    }
    assert_int_equal(engine_picture_encode(&picture, width, height, 85, &data, &bytes, error), 0);
    assert_true(bytes <= sizeof(jpeg));
    memcpy(jpeg, data, bytes);
    free(data);
    return bytes;
}

static void submit(size_t bytes)
{
    struct local_submit message = {
        .has_picture = true, .deadline_us = 2000000, .picture = {ENGINE_PIXELS_ENCODED, 0, 0, 0}};
    uint8_t *copy = malloc(bytes);

    assert_non_null(copy);
    memcpy(copy, jpeg, bytes);
    strcpy(message.task, "objects");
    requests_app_callbacks.on_submit((struct app_peer *)&peer, 1, &message,
                                     (struct app_input){copy, bytes, false}, &all);
}

/* Until the threads of the pool are done; timers are a fake hour away or closed by then. */
static void prints_wait(void)
{
    while (all.list && all.list->print.out) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    (void)uv_run(&loop, UV_RUN_NOWAIT);
}

/* Submits a frame, and lets the model here answer if it is asked; whether it was. */
static bool is_computed(uint32_t width, uint32_t height, unsigned brighter, bool somebody)
{
    bool computed;

    submit(frame_make(width, height, brighter, somebody));
    prints_wait();
    computed = fake.started_count > 0;
    locals_answer("corridor");
    assert_true(fake.last.has_outcome);
    return computed;
}

static void test_nearly_the_same(void **state)
{
    (void)state;
    submit(frame_make(WIDTH, HEIGHT, 0, false));
    assert_int_equal(fake.started_count, 0); /* never on the loop's thread */
    assert_true(all.list->print.out);
    prints_wait();
    assert_int_equal(fake.started_count, 1);
    locals_answer("corridor");
    fake.now_ns += 100 * NS_PER_MS;
    assert_false(is_computed(WIDTH, HEIGHT, 2, false));
    assert_string_equal(fake.last.outcome.route, "cache");
    assert_non_null(
        strstr(fake.last.reason, "nearly the same frame was answered by local, 100 ms"));
    assert_non_null(strstr(fake.last.reason, "distance 2."));
    assert_true(is_computed(WIDTH, HEIGHT, 2, true));
    assert_true(is_computed(WIDTH, HEIGHT, 40, false));
}

/* A file of data/ as the next frame. */
static bool is_file_computed(const char *name)
{
    char path[128];
    bool computed;
    FILE *file;
    size_t bytes;

    snprintf(path, sizeof(path), "tests/unit/daemon/data/%s.jpg", name);
    file = fopen(path, "rbe");
    assert_non_null(file);
    bytes = fread(jpeg, 1, sizeof(jpeg), file);
    assert_int_equal(fclose(file), 0);
    submit(bytes);
    prints_wait();
    computed = fake.started_count > 0;
    locals_answer("hall");
    return computed;
}

/* What a real camera sends: its noise is no news, somebody who comes in is. */
static void test_frames_of_a_camera(void **state)
{
    (void)state;
    assert_true(is_file_computed("hall-0020"));
    fake.now_ns += 200 * NS_PER_MS;
    assert_false(is_file_computed("hall-0025"));
    assert_non_null(strstr(fake.last.reason, "200 ms ago, distance 0."));
    fake.now_ns += 100 * NS_PER_MS;
    assert_true(is_file_computed("hall-0062"));
}

/* An exact repeat needs no print. */
static void test_the_same_bytes(void **state)
{
    const size_t bytes = frame_make(WIDTH, HEIGHT, 0, false);

    (void)state;
    submit(bytes);
    prints_wait();
    locals_answer("corridor");
    submit(bytes);
    assert_int_equal(fake.started_count, 0);
    assert_non_null(strstr(fake.last.reason, "the same was answered before"));
}

static void test_bounds_of_age_and_distance(void **state)
{
    (void)state;
    assert_true(is_computed(WIDTH, HEIGHT, 0, false));
    assert_true(is_computed(WIDTH, HEIGHT, 6, false));
    fake.now_ns += 600 * NS_PER_MS;
    assert_true(is_computed(WIDTH, HEIGHT, 7, false));
}

/* Boxes are in the pixels of the frame: one of another size has others. */
static void test_another_size(void **state)
{
    (void)state;
    assert_true(is_computed(WIDTH, HEIGHT, 0, false));
    assert_true(is_computed(WIDTH / 2, HEIGHT / 2, 0, false));
    assert_false(is_computed(WIDTH / 2, HEIGHT / 2, 1, false));
}

static void test_exact_alone_makes_no_print(void **state)
{
    (void)state;
    task_config.result_cache = TASK_CACHE_EXACT;
    submit(frame_make(WIDTH, HEIGHT, 0, false));
    assert_false(all.list->print.out);
    assert_int_equal(fake.started_count, 1);
}

/* A header that claims more pixels than are decoded for this, and bytes that are no picture. */
static void test_what_has_no_print(void **state)
{
    size_t bytes = frame_make(WIDTH, HEIGHT, 0, false);
    size_t at = 2;

    (void)state;
    while (jpeg[at + 1] != 0xC0) { /* the frame's header: its height and width */
        at += 2 + (size_t)jpeg[at + 2] * 256 + jpeg[at + 3];
    }
    assert_true((uint64_t)8192 * 1024 <= LIMIT_PRINT_PIXELS);
    jpeg[at + 5] = 0x04;
    jpeg[at + 6] = 0x00;
    jpeg[at + 7] = 0x20;
    jpeg[at + 8] = 0x00;
    submit(bytes);
    assert_true(all.list->print.out); /* 1024 rows of 8192: just so many */
    prints_wait();
    assert_int_equal(fake.started_count, 1);
    assert_null(all.list->cache_print); /* and it is not whole */
    jpeg[at + 6] = 0x01;
    submit(bytes);
    assert_false(all.list->print.out);
    assert_int_equal(fake.started_count, 2);
    memset(jpeg, 7, bytes);
    submit(bytes);
    assert_false(all.list->print.out);
    assert_int_equal(fake.started_count, 3);
}

/* Who does not want it any more is told so, and nothing starts. */
static void test_cancel_meanwhile(void **state)
{
    (void)state;
    submit(frame_make(WIDTH, HEIGHT, 0, false));
    assert_true(all.list->print.out);
    requests_app_callbacks.on_cancel((struct app_peer *)&peer, 1, &all);
    assert_int_equal(all.live, 1);
    prints_wait();
    assert_int_equal(fake.started_count, 0);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(all.live, 0);
    assert_int_equal(fake.last.outcome.error_code, TANDEM_ECANCELED);
    submit(frame_make(WIDTH, HEIGHT, 0, false));
    requests_app_callbacks.on_gone((struct app_peer *)&peer, &all);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(all.live, 0);
}

/* Its deadline runs from when it came, and what the print took is gone of it. */
static void test_the_deadline_runs(void **state)
{
    (void)state;
    submit(frame_make(WIDTH, HEIGHT, 0, false));
    fake.now_ns += 30 * NS_PER_MS;
    prints_wait();
    assert_int_equal(all.list->choice.plan.deadline_ns, START_NS + 2000 * NS_PER_MS);
    assert_true(fabs(all.list->decision.deadline_ms - 2000) < 1e-6);
}

/* A reload meanwhile: labels and models may be others, so nothing old is given. */
static void test_reload_meanwhile(void **state)
{
    (void)state;
    assert_true(is_computed(WIDTH, HEIGHT, 0, false));
    submit(frame_make(WIDTH, HEIGHT, 1, false));
    all.tasks = &others;
    prints_wait();
    assert_int_equal(fake.started_count, 1);
    assert_int_equal(fake.task_most, 0); /* the number that the task has now */
    assert_ptr_equal(fake.started[0]->model, &other.local);
    locals_answer("corridor");
    all.tasks = &tasks;
    submit(frame_make(WIDTH, HEIGHT, 2, false));
    config.result_cache_bytes = 0;
    assert_int_equal(requests_results_reset(&all), 0);
    prints_wait();
    assert_int_equal(fake.started_count, 1);
}

/* What the new tasks say of it holds: who may see it, and whether there is such a task. */
static void test_reload_forbids(void **state)
{
    (void)state;
    task_config.leaves_device = (char *)(uintptr_t) "any_edge";
    item.has_local = false;
    submit(frame_make(WIDTH, HEIGHT, 1, false));
    prints_wait();
    assert_int_equal(fake.sent_count, 1);
    submit(frame_make(WIDTH, HEIGHT, 2, false));
    all.tasks = &others; /* never, as setup has it */
    other.has_local = false;
    prints_wait();
    assert_int_equal(fake.sent_count, 1);
    assert_int_equal(fake.last.outcome.error_code, TANDEM_ENOROUTE);
    all.tasks = &tasks;
    submit(frame_make(WIDTH, HEIGHT, 3, false));
    others.count = 0;
    all.tasks = &others;
    prints_wait();
    assert_int_equal(fake.sent_count, 1);
    assert_int_equal(fake.last.outcome.error_code, TANDEM_ENOTASK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Every look at the clock finds it 10 ms later, whichever thread looks. */
static int64_t ticking_now(void *user)
{
    static _Atomic int64_t ticks;

    (void)user;
    return START_NS + 10 * NS_PER_MS * ++ticks;
}

/* The thread that makes a print computes for a request: that is charged as its run here is. */
static void test_print_is_charged(void **state)
{
    struct budgets_view budget;

    (void)state;
    config.state_dir = (char *)(uintptr_t) "";
    config.joule_per_hour = 1000;
    config.compute_watt = 10;
    all.budgets = budgets_open(&loop, &config);
    assert_non_null(all.budgets);
    clock_set_fake(ticking_now, NULL);
    submit(frame_make(WIDTH, HEIGHT, 0, false));
    prints_wait();
    budgets_look(all.budgets, BUDGET_JOULE, &budget);
    assert_float_equal(budget.used, 0.1, 1e-6); /* one tick */
    locals_answer("corridor");
    clock_set_fake(fake_now, NULL);
    budgets_close(all.budgets);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    budgets_free(all.budgets);
    all.budgets = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nearly_the_same),   TEST(test_frames_of_a_camera),
        TEST(test_the_same_bytes),    TEST(test_bounds_of_age_and_distance),
        TEST(test_another_size),      TEST(test_exact_alone_makes_no_print),
        TEST(test_what_has_no_print), TEST(test_cancel_meanwhile),
        TEST(test_the_deadline_runs), TEST(test_reload_meanwhile),
        TEST(test_reload_forbids),    TEST(test_print_is_charged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
