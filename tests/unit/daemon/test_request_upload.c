/* A picture on its way to an edge in another form than it came in: who makes it, when, and what
 * goes when it cannot be made. The edge, the runner and the clock are fake; the pool's thread and
 * the encoder are real. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/daemon/fake_site.h"

#include "common/wire/edge_msg.h"

#include <math.h>
#include <stdio.h>

#define SIDE       320
#define BIG_WIDTH  4096
#define BIG_HEIGHT 2048

static struct task_config task_config;
static struct client_task item;
static struct tasks tasks;
static uint8_t rgb[SIDE * SIDE * 3], big[(size_t)BIG_WIDTH * BIG_HEIGHT * 3];

static const struct picture_effects measured = {
    .model_digest = "0123456789abcdef0123456789abcdef",
    .pictures = 1000,
    .count = 3,
    .items = {{4, 75, 0.01}, {2, 75, 0.025}, {1, 75, 0.06}}};

/* A link of `bytes_per_ms`, two edges that answer in 5 ms, errors that are worth avoiding. */
static void site_make(double bytes_per_ms)
{
    estimate_link_init(&fake.link);
    (void)estimate_link_rtt(&fake.link, 4, fake.now_ns);
    estimate_link_acked(&fake.link, 100000, 4 + 100000 / bytes_per_ms, fake.now_ns);
    fake.load = (struct edge_load){.picture_us = 5000};
}

static int setup(void **state)
{
    (void)state;
    site_begin(&tasks);
    config = (struct client_config){.one_miss_ms = 1000, .one_error_ms = 200};
    fake_task("objects", TASK_CLASSIFY, &task_config, &item);
    item.effects = measured;
    for (size_t i = 0; i < LIMIT_EDGES; i++) {
        strcpy(item.known[i].digest, measured.model_digest);
    }
    estimate_local_add(&item.estimate, 50);
    tasks = (struct tasks){.configs = &task_config, .items = &item, .count = 1};
    site_make(100);
    return requests_init(&all);
}

static int teardown(void **state)
{
    (void)state;
    return site_end();
}

static void submit(const char *route, uint32_t width, uint32_t height, uint8_t *data, size_t bytes)
{
    struct local_submit message = {.has_picture = true,
                                   .deadline_us = 2000000,
                                   .picture = {ENGINE_PIXELS_RGB, width, height, 0}};

    strcpy(message.task, "objects");
    snprintf(message.route, sizeof(message.route), "%s", route);
    requests_app_callbacks.on_submit((struct app_peer *)&peer, 1, &message,
                                     (struct app_input){data, bytes, true}, &all);
}

/* Until the threads of the pool are done; timers are a fake hour away or closed by then. */
static void makings_wait(void)
{
    while (all.list && all.list->upload.out) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
}

static void test_thin_link(void **state)
{
    (void)state;
    submit("edge", SIDE, SIDE, rgb, sizeof(rgb));
    assert_int_equal(fake.sent_count, 0); /* never made on the loop's thread */
    assert_true(all.list->upload.out);
    makings_wait();
    assert_int_equal(fake.sent_count, 1);
    assert_int_equal(fake.sent[0].message.picture.format, ENGINE_PIXELS_ENCODED);
    assert_int_equal(fake.sent[0].message.picture.width, 0);
    assert_int_equal(fake.sent[0].message.payload_bytes, fake.sent[0].bytes);
    assert_true(fake.sent[0].bytes < sizeof(rgb) / 20);
    assert_true(fabs(all.list->decision.outcome.upload.bytes - (double)fake.sent[0].bytes) < 0.5);
    assert_true(all.list->decision.outcome.prepare_ms >= 0);
    assert_true(item.upload.times == 1);
    requests_app_callbacks.on_cancel((struct app_peer *)&peer, 1, &all);
    assert_int_equal(fake.cancelled_count, 1);
    assert_non_null(strstr(fake.last.reason, "; sent as "));
    assert_non_null(strstr(fake.last.reason, ": the link is thin"));
}

/* A form that was made takes energy of the hour, whether or not anybody waits for it still. */
static void test_making_takes_energy(void **state)
{
    struct request_upload upload = {.made_ns = 20 * NS_PER_MS, .error = TANDEM_ENOMEM};

    (void)state;
    request_upload_made(&all, &item, &upload);
    assert_true(fabs(budget_hour_sum(&all.unpriced_ms, fake.now_ns) - 20) < 1e-6);
    upload.error = 0;
    request_upload_made(&all, &item, &upload);
    assert_true(fabs(budget_hour_sum(&all.unpriced_ms, fake.now_ns) - 40) < 1e-6);
    assert_true(fabs(upload.form.prepare_ms - 20) < 1e-9); /* as measured */
    upload.bytes = LIMIT_PAYLOAD_BYTES;
    request_upload_made(&all, &item, &upload);
    assert_int_equal(upload.error, 0);
    upload.bytes = LIMIT_PAYLOAD_BYTES + 1;
    request_upload_made(&all, &item, &upload);
    assert_int_equal(upload.error, TANDEM_ETOOBIG);
    assert_null(upload.data);
}

static void test_the_task_may_want_the_original(void **state)
{
    (void)state;
    task_config.upload = TASK_UPLOAD_ORIGINAL;
    submit("edge", SIDE, SIDE, rgb, sizeof(rgb));
    assert_int_equal(fake.sent_count, 1);
    assert_int_equal(fake.sent[0].bytes, sizeof(rgb));
    assert_int_equal(fake.sent[0].message.picture.format, ENGINE_PIXELS_RGB);
    for (size_t i = 0; i < all.list->choice.count; i++) {
        assert_int_equal(all.list->choice.candidates[i].upload.width, 0);
    }
}

static void as_it_came_check(void)
{
    submit("edge", SIDE, SIDE, rgb, sizeof(rgb));
    assert_int_equal(fake.sent_count, 1);
    assert_int_equal(fake.sent[0].bytes, sizeof(rgb));
    assert_int_equal(fake.sent[0].message.picture.format, ENGINE_PIXELS_RGB);
}

/* What a smaller picture does to the answers of this very model is not known. */
static void test_nothing_was_measured(void **state)
{
    (void)state;
    item.effects = (struct picture_effects){0};
    as_it_came_check();
}

static void test_another_model_was_measured(void **state)
{
    (void)state;
    for (size_t i = 0; i < LIMIT_EDGES; i++) {
        item.known[i].digest[0] = 'f';
    }
    as_it_came_check();
}

/* Of two edges one may have the model that was measured. */
static void test_one_edge_was_measured(void **state)
{
    size_t smaller = 0;

    (void)state;
    item.known[0].digest[0] = 'f';
    submit("edge", SIDE, SIDE, rgb, sizeof(rgb));
    for (size_t i = 0; i < all.list->choice.count; i++) {
        const struct candidate *candidate = &all.list->choice.candidates[i];

        assert_true(candidate->edge != 0 || candidate->upload.width == 0);
        smaller += candidate->edge == 1 && candidate->upload.width > 0;
    }
    assert_true(smaller > 0);
    makings_wait();
    assert_int_equal(fake.sent_count, 1);
    assert_true(fake.sent[0].bytes < sizeof(rgb) / 20);
}

/* More than the wire takes goes as a JPEG, or not at all. */
static void test_too_big_as_it_came(void **state)
{
    (void)state;
    submit("edge", BIG_WIDTH, BIG_HEIGHT, big, sizeof(big));
    makings_wait();
    assert_int_equal(fake.sent_count, 1);
    assert_true(fake.sent[0].bytes < LIMIT_PAYLOAD_BYTES / 10);
    task_config.upload = TASK_UPLOAD_ORIGINAL;
    submit("edge", BIG_WIDTH, BIG_HEIGHT, big, sizeof(big));
    assert_int_equal(fake.sent_count, 1);
    assert_int_equal(fake.last.outcome.error_code, TANDEM_ENOROUTE);
    task_config.upload = TASK_UPLOAD_AUTO;
    submit("edge", BIG_WIDTH, BIG_HEIGHT, big, sizeof(big) - 5); /* not what it says it is */
    makings_wait();
    assert_int_equal(fake.sent_count, 1);
    assert_int_equal(fake.last.outcome.error_code, TANDEM_EFORMAT);
}

/* One that ran here is sent for the record in the form that it would have been sent in; a request
 * that comes while that is made keeps it from being sent. */
static void test_for_the_record(void **state)
{
    (void)state;
    config.mode = MODE_OBSERVE;
    config.shadow_percent = 100;
    config.one_error_ms = 100000;
    for (int wanted = 0; wanted < 2; wanted++) {
        struct runner_job *job;

        submit("", SIDE, SIDE, rgb, sizeof(rgb));
        job = fake.started[--fake.started_count];
        job->answer = (struct answer){.kind = WIRE_CLASSIFY, .confidence = 0.5};
        requests_runner_callbacks.on_done(job, &all);
        (void)uv_run(&loop, UV_RUN_NOWAIT);
        assert_int_equal(all.shadows.count, 1);
        assert_int_equal(fake.sent_count, 0);
        if (wanted) {
            shadows_make_way_there(&all, 0);
            shadows_make_way_there(&all, 1);
        }
        while (all.shadows.count > 0 && fake.sent_count == 0) {
            (void)uv_run(&loop, UV_RUN_ONCE);
        }
        assert_int_equal(all.shadows.count, !wanted);
        assert_int_equal(fake.sent_count, !wanted);
        if (!wanted) {
            assert_int_equal(fake.sent[0].message.picture.format, ENGINE_PIXELS_ENCODED);
            assert_true(fake.sent[0].bytes < sizeof(rgb) / 20);
            fake.sent_count = 0;
            shadows_edge_gone(&all, fake.sent[0].edge);
            assert_int_equal(all.shadows.count, 0);
        }
    }
    assert_int_equal(all.shadows.counts.dropped[SHADOW_DROPPED_STOPPED], 1);
}

/* What cannot be made smaller goes as it came, and the decision says so. */
static void test_it_cannot_be_made(void **state)
{
    (void)state;
    submit("edge", SIDE, SIDE, rgb, sizeof(rgb) - 5);
    makings_wait();
    assert_int_equal(fake.sent_count, 1);
    assert_int_equal(fake.sent[0].bytes, sizeof(rgb) - 5);
    assert_int_equal(all.list->decision.outcome.upload.width, 0);
    requests_app_callbacks.on_cancel((struct app_peer *)&peer, 1, &all);
    assert_non_null(strstr(fake.last.reason, "sent as it came: it could not be made smaller"));
}

/* A request that ends meanwhile sends nothing, and lives until the thread is done with it. */
static void test_cancel_while_it_is_made(void **state)
{
    (void)state;
    submit("edge", SIDE, SIDE, rgb, sizeof(rgb));
    assert_true(all.list->upload.out);
    requests_app_callbacks.on_cancel((struct app_peer *)&peer, 1, &all);
    assert_int_equal(fake.cancelled_count, 0);
    assert_int_equal(all.live, 1);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(all.live, 0);
    assert_int_equal(fake.sent_count, 0);
    assert_null(strstr(fake.last.reason, "sent as"));
}

static void test_the_edge_goes_while_it_is_made(void **state)
{
    (void)state;
    submit("auto", SIDE, SIDE, rgb, sizeof(rgb));
    if (!all.list->upload.out) { /* local first: it is not sure */
        fail_msg("route %s: %s", all.list->decision.route, all.list->decision.reason);
    }
    requests_link_callbacks.on_gone((size_t)all.list->choice.edge, &all);
    makings_wait();
    assert_int_equal(fake.sent_count, 1); /* the connection is a new one already: on that, once */
}

/* A cascade makes it when the edge is asked, not before. */
static void test_a_cascade_makes_it_when_it_asks(void **state)
{
    struct runner_job *local;

    (void)state;
    submit("cascade", SIDE, SIDE, rgb, sizeof(rgb));
    assert_int_equal(fake.started_count, 1);
    assert_true(all.list->choice.candidates[all.list->choice.asked].upload.width > 0);
    assert_false(all.list->upload.out);
    local = fake.started[--fake.started_count];
    local->answer = (struct answer){.kind = WIRE_CLASSIFY, .confidence = 0.1};
    requests_runner_callbacks.on_done(local, &all);
    assert_true(all.list->upload.out);
    makings_wait();
    assert_int_equal(fake.sent_count, 1);
    assert_true(fake.sent[0].bytes < sizeof(rgb) / 20);
}

static void test_boxes_are_of_the_picture_that_came(void **state)
{
    struct request request = {.upload = {.source = {.width = 640, .height = 480},
                                         .form = {.width = 64, .height = 24},
                                         .data = rgb}};
    struct answer_box box = {NULL, 1, 1, 2, 3, 4};
    struct answer answer = {.boxes = &box, .box_count = 1};

    (void)state;
    request_upload_boxes(&request.upload, &answer);
    assert_true(fabsf(box.x - 10) < 1e-4f && fabsf(box.y - 40) < 1e-4f);
    assert_true(fabsf(box.w - 30) < 1e-4f && fabsf(box.h - 80) < 1e-4f);
    request.upload.data = NULL; /* it was sent as it came */
    request_upload_boxes(&request.upload, &answer);
    assert_true(fabsf(box.x - 10) < 1e-4f && fabsf(box.h - 80) < 1e-4f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* A kept answer to a smaller form is believed to be as wrong as that form makes it, and costs as
 * much. */
static void test_kept_answer_to_a_form(void **state)
{
    struct edge_result result = {.answer = {.kind = WIRE_CLASSIFY, .label_count = 1}};
    const struct candidate *cached = NULL;
    double lost;

    (void)state;
    config.result_cache_bytes = 1 << 20;
    assert_int_equal(requests_results_reset(&all), 0);
    task_config.result_cache = TASK_CACHE_EXACT;
    task_config.edge_expected_error = 0.1;
    submit("edge", SIDE, SIDE, rgb, sizeof(rgb));
    makings_wait();
    lost = all.list->decision.outcome.upload.error;
    assert_true(lost > 0);
    result.answer.labels = calloc(1, sizeof(*result.answer.labels));
    result.answer.labels[0] = (struct answer_label){strdup("lift"), 0.9};
    requests_link_callbacks.on_result(0, fake.sent[0].id, &result, 100, &all);
    submit("", SIDE, SIDE, rgb, sizeof(rgb));
    for (size_t i = 0; i < fake.last.candidate_count; i++) {
        cached = fake.last.candidates[i].kind == JOB_CACHE ? &fake.last.candidates[i] : cached;
    }
    assert_non_null(cached);
    assert_true(fabs(cached->error_probability - (0.1 + lost)) < 1e-9);
    assert_true(fabs(cached->error_weight - (0.1 + lost)) < 1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_thin_link),
        TEST(test_making_takes_energy),
        TEST(test_the_task_may_want_the_original),
        TEST(test_nothing_was_measured),
        TEST(test_another_model_was_measured),
        TEST(test_one_edge_was_measured),
        TEST(test_too_big_as_it_came),
        TEST(test_for_the_record),
        TEST(test_it_cannot_be_made),
        TEST(test_cancel_while_it_is_made),
        TEST(test_the_edge_goes_while_it_is_made),
        TEST(test_a_cascade_makes_it_when_it_asks),
        TEST(test_boxes_are_of_the_picture_that_came),
        TEST(test_kept_answer_to_a_form),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
