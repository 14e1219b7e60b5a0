/* Pictures that are sent smaller: who sends them so, when, and that bytes, time, energy and answers
 * are those of what was sent. */
#include "tests/sim/measure.h"
#include "tests/sim/run.h"

#include "common/base/error.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define LENGTH_NS (20 * NS_PER_S)

static struct pairs pairs;

static int setup(void **state)
{
    (void)state;
    return pairs_load("tests/sim/data/pairs.csv", &pairs);
}

static int teardown(void **state)
{
    (void)state;
    pairs_fini(&pairs);
    return 0;
}

/* One client on a steady link. */
static void run_on_as(double mbit_s, const char *policy, bool as_they_came, struct run *ret_run,
                      struct scene *ret_scene)
{
    *ret_scene = (struct scene){.name = "steady", .edges = 1};
    assert_int_equal(trace_add(&ret_scene->up[0], 0, mbit_s, 10, 0), 0);
    trace_end(&ret_scene->up[0], 60);
    *ret_run = (struct run){.scene = ret_scene,
                            .pairs = &pairs,
                            .policy = policy_find(policy),
                            .client_count = 1,
                            .seed = 3,
                            .threshold = 0.5,
                            .as_they_came = as_they_came,
                            .length_ns = LENGTH_NS};
    assert_int_equal(run_make(ret_run), 0);
    run_go(ret_run);
}

static void run_on(double mbit_s, const char *policy, struct run *ret_run, struct scene *ret_scene)
{
    run_on_as(mbit_s, policy, false, ret_run, ret_scene);
}

static void run_end(struct run *run, struct scene *scene)
{
    run_fini(run);
    scene_fini(scene);
}

/* Of the pictures that an edge was sent, the share that went smaller than they came. */
static double smaller_share(const struct run *run)
{
    double smaller = 0, sent = 0;

    for (size_t i = 0; i < run->count; i++) {
        const struct request *request = &run->requests[i];

        if (request->task == 0 && request->up_bytes > 0) {
            sent++;
            smaller += request->sent != NULL;
        }
    }
    return sent > 0 ? smaller / sent : NAN;
}

static void test_the_thinner_the_smaller(void **state)
{
    struct scene scene;
    struct run run;

    (void)state;
    run_on(5, "tandem", &run, &scene);
    assert_true(smaller_share(&run) > 0.9);
    run_end(&run, &scene);
    run_on(2000, "tandem", &run, &scene);
    assert_true(smaller_share(&run) < 0.05); /* before the rate is known */
    run_end(&run, &scene);
}

/* tandem and those who know, who may do what it may; random asks as often as tandem did, which did
 * not run here. */
static bool may_send_smaller(const char *policy)
{
    static const char *const names[] = {"tandem", "informed", "oracle", "random"};
    bool found = false;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        found |= strcmp(policy, names[i]) == 0;
    }
    return found;
}

static void test_the_others_send_what_came(void **state)
{
    (void)state;
    for (const struct policy *policy = policies; policy->name; policy++) {
        struct scene scene;
        struct run run;

        if (may_send_smaller(policy->name)) {
            continue;
        }
        run_on(5, policy->name, &run, &scene);
        for (size_t i = 0; i < run.count; i++) {
            assert_null(run.requests[i].sent);
            assert_true(run.requests[i].up_bytes <= (double)run.requests[i].pair->bytes);
        }
        run_end(&run, &scene);
    }
}

/* Who knows has nothing to learn from sending what came: on a thin link hardly any picture goes so,
 * and none where it may send no other. */
static void test_who_knows_sends_smaller(void **state)
{
    struct scene scene;
    struct run run;

    (void)state;
    run_on(20, "informed", &run, &scene);
    assert_true(smaller_share(&run) > 0.9);
    run_end(&run, &scene);
    run_on_as(20, "informed", true, &run, &scene);
    assert_true(smaller_share(&run) <= 0); /* not NAN: some were sent */
    run_end(&run, &scene);
}

static bool is_recorded(const struct request *request)
{
    for (size_t i = 0; i < SIM_FORMS; i++) {
        if (request->sent == &request->pair->forms[i]) {
            return upload_priors[request->upload.row].scale == pairs.forms[i].scale &&
                   request->upload.quality == pairs.forms[i].quality;
        }
    }
    return false;
}

/* Every smaller picture is one that was recorded of this very picture, takes the time to make it,
 * and as many bytes; the sum of right answers is what the measures say. */
static void test_what_was_sent_counts(void **state)
{
    double right = 0, joule = 0, bytes = 0, answers_of_smaller = 0;
    struct measures measures;
    struct scene scene;
    struct run run;

    (void)state;
    run_on(5, "tandem", &run, &scene);
    for (size_t i = 0; i < run.count; i++) {
        const struct request *request = &run.requests[i];
        const bool by_edge = request->delivered && request->by == JOB_SIDE_EDGE;

        joule += LOCAL_WATT * (request->local_run_ms + request->made_ms) / 1000 +
                 SEND_J_PER_BYTE * request->up_bytes + RECV_J_PER_BYTE * request->down_bytes;
        bytes += request->up_bytes;
        right += request->delivered && !request->late &&
                 (!by_edge                ? request->pair->local_right
                  : request->sent != NULL ? request->sent->right
                                          : request->pair->edge_right);
        if (!request->sent) {
            assert_true(request->made_ms <= 0);
            continue;
        }
        assert_int_equal(request->task, 0);
        assert_true(is_recorded(request));
        assert_true(request->sent->bytes < (double)request->pair->bytes / 5);
        assert_true(request->up_bytes <= request->sent->bytes);
        if (by_edge) {
            answers_of_smaller++;
            assert_true(request->up_bytes >= request->sent->bytes);
            assert_true(request->made_ms > 0);
            assert_int_equal(request->edge_sent_ns - request->asked_ns,
                             (int64_t)(request->made_ms * (double)NS_PER_MS));
        }
    }
    joule += SEND_J_PER_BYTE * run.clients[0].probe_bytes;
    bytes += run.clients[0].probe_bytes;
    assert_int_equal(measures_take(&run, &measures), 0);
    assert_true(answers_of_smaller > 10);
    assert_true(fabs(measures.in_time_accuracy * (double)run.count - right) < 1e-6);
    assert_true(fabs(measures.energy_j - joule) < 1e-6);
    assert_true(fabs(measures.bytes_up - bytes) < 1e-6);
    run_end(&run, &scene);
}

/* A file of other pictures than the pairs is no silent zero. */
static void test_bad_files(void **state)
{
#define HEADER                                                                                     \
    "1x90,1x90_is,1x75,1x75_is,1x50,1x50_is,2x90,2x90_is,2x75,2x75_is,2x50,2x50_is,4x90,4x90_is,"  \
    "4x75,4x75_is,4x50,4x50_is\n"
    static const char *const bad[] = {"", "a,b\n", "1x90,1x90_is\n700,3\n", HEADER,
                                      HEADER "1,0,1,0,1,0,1,0,1,0,1,0,1,0,1,0,1,0\n"};
    char path[] = "/tmp/tandem-forms-XXXXXX";
    const int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0 && close(fd) == 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        FILE *file = fopen(path, "we");

        assert_non_null(file);
        assert_true(fputs(bad[i], file) >= 0);
        assert_int_equal(fclose(file), 0);
        assert_int_equal(forms_load(path, &pairs), TANDEM_EFORMAT);
    }
    assert_int_equal(unlink(path), 0);
    assert_int_equal(forms_load(path, &pairs), TANDEM_EFORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_thinner_the_smaller),
        cmocka_unit_test(test_the_others_send_what_came),
        cmocka_unit_test(test_who_knows_sends_smaller),
        cmocka_unit_test(test_what_was_sent_counts),
        cmocka_unit_test(test_bad_files),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
