/* What decide() is told, from the estimators: of this device, of an edge and its forms, and of the
 * local runs that are promised. */
#include "client/policy/decide_fill.h"
#include "client/policy/insurance.h"
#include "common/base/clock.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define NOW_NS (100 * NS_PER_S)

static struct estimate_local pictures;
static struct estimate_text texts;
static struct estimate_edge edge;
static struct estimate_link link_;

static int setup(void **state)
{
    (void)state;
    estimate_local_init(&pictures);
    estimate_local_add(&pictures, 20);
    estimate_text_init(&texts);
    estimate_text_add(&texts, &(struct estimate_text_run){.prompt_bytes = 60,
                                                          .prompt_tokens = 10,
                                                          .prefill_tokens = 10,
                                                          .prefill_ms = 20,
                                                          .decode_tokens = 5,
                                                          .decode_ms = 15});
    estimate_text_answer_add(&texts, 8, false);
    estimate_edge_init(&edge);
    estimate_link_init(&link_);
    (void)estimate_link_rtt(&link_, 10, NOW_NS - NS_PER_S);
    estimate_link_acked(&link_, 20000, 20, NOW_NS - NS_PER_S); /* 2000 bytes/ms */
    estimate_link_load(&link_, 4, NOW_NS);
    return 0;
}

static struct estimate_task picture_task(void)
{
    return (struct estimate_task){.pictures = &pictures, .texts = &texts};
}

static struct estimate_task text_task(void)
{
    return (struct estimate_task){
        .texts = &texts, .work = {.prompt_bytes = 30, .most_tokens = 6}, .chunk_tokens = 4};
}

/* A local answer is predicted to when it is back: with the handover, once that was measured. */
static void test_handover(void **state)
{
    struct estimate_local handover = {.run = {.count = 0}};
    struct estimate_task text = text_task();
    struct decide_input before = {0}, after = {0};

    (void)state;
    text.handover = &handover;
    decide_fill_local(&text, 7, 0, &before);
    assert_float_equal(before.local.mean_ms, 7 + 28, 1e-9);
    estimate_local_init(&handover);
    for (int i = 0; i < 2; i++) {
        estimate_local_add(&handover, 3);
    }
    decide_fill_local(&text, 7, 0, &after);
    assert_float_equal(after.local.mean_ms, before.local.mean_ms + 3, 1e-9);
    assert_true(after.local.p95_ms >= before.local.p95_ms + 3);
    assert_float_equal(after.local_run_ms, before.local_run_ms, 1e-9); /* the runner's share */
}

static void test_this_device(void **state)
{
    const struct estimate_task picture = picture_task(), text = text_task();
    struct decide_input input = {0};

    (void)state;
    decide_fill_local(&picture, 7, 1.5, &input);
    assert_true(input.local_known);
    assert_float_equal(input.local.mean_ms, 27, 1e-9);
    assert_float_equal(input.local_run_ms, 20, 1e-9);
    assert_float_equal(input.local_bound_ms, 30, 1e-9);
    assert_float_equal(input.local_step_ms, 30, 1e-9);
    assert_float_equal(input.margin_ms, ESTIMATE_MARGIN_MS + 1.5, 1e-9);
    decide_fill_local(&text, 7, 0, &input);
    assert_float_equal(input.local_run_ms, 5 * 2 + 6 * 3, 1e-9);
    assert_float_equal(input.local.mean_ms, 7 + 28, 1e-9);
    assert_float_equal(input.local_bound_ms, 1.5 * 28, 1e-9);
    assert_float_equal(input.local_step_ms, 1.5 * 4 * 2, 1e-9); /* a chunk of the prompt */
    estimate_local_init(&pictures);
    decide_fill_local(&picture, 7, 0, &input);
    assert_false(input.local_known);
    assert_float_equal(input.local_run_ms, 0, 0);
    assert_true(isnan(input.local_bound_ms) && isnan(input.local_step_ms));
}

/* What came, and a form of it, which has to be made first. */
static void test_edge(void **state)
{
    struct edge_estimates estimates = {&edge, &link_, 50, 20};
    struct decide_edge filled = {
        .name = "a",
        .forms = {{.upload.bytes = 40000}, {.upload = {.bytes = 4000, .prepare_ms = 3}}},
        .form_count = 2};
    double p95_ms;

    (void)state;
    decide_fill_edge(&estimates, 40000, NOW_NS, &filled);
    assert_true(filled.latency_known);
    assert_float_equal(filled.latency.mean_ms, 20 + 10 + 4 + 50, 1e-6);
    assert_float_equal(filled.best_ms, 20 + 10 + 50, 1e-6);
    assert_float_equal(filled.failure, 0, 0);
    assert_true(filled.retry_due); /* never asked */
    assert_true(filled.forms[0].latency_known && filled.forms[1].latency_known);
    assert_float_equal(filled.forms[0].latency.p95_ms, filled.latency.p95_ms, 1e-9);
    assert_float_equal(filled.forms[1].latency.mean_ms, 2 + 10 + 4 + 50 + 3, 1e-6);
    assert_float_equal(filled.forms[1].best_ms, 2 + 10 + 50 + 3, 1e-6);
    p95_ms = filled.forms[1].latency.p95_ms;
    filled.forms[1].upload.prepare_ms = 0;
    decide_fill_edge(&estimates, 40000, NOW_NS, &filled);
    assert_float_equal(filled.forms[1].latency.p95_ms, p95_ms - 3, 1e-4);
    estimates.hint_ms = 0; /* as fast as this device */
    decide_fill_edge(&estimates, 40000, NOW_NS, &filled);
    assert_float_equal(filled.latency.mean_ms, 20 + 10 + 4 + 20, 1e-6);
    estimates.here_ms = 0;
    decide_fill_edge(&estimates, 40000, NOW_NS, &filled);
    assert_false(filled.latency_known || filled.forms[0].latency_known);
    estimate_edge_sent(&edge, NOW_NS);
    estimate_edge_failed(&edge, 30, NOW_NS);
    decide_fill_edge(&estimates, 40000, NOW_NS, &filled);
    assert_true(filled.failure > 0);
    assert_false(filled.retry_due);
}

static void test_terms(void **state)
{
    const struct decide_weights weights = {
        .one_megabyte_ms = 20, .one_error_ms = 200, .one_joule_ms = 30};
    const struct decide_energy energy = {.compute_watt = 5, .joule_per_byte = 1e-6};
    struct upload_terms terms = decide_fill_terms(&weights, &energy, &link_, INFINITY, NOW_NS);

    (void)state;
    assert_float_equal((float)(1e6 * terms.ms_per_byte), 1e6 / 2000 + 20 + 30, 1e-3);
    assert_float_equal(terms.ms_per_prepare_ms, 1.15, 1e-6);
    assert_float_equal(terms.one_error_ms, 200, 0);
    assert_int_equal(terms.width, 0); /* the caller's */
    terms = decide_fill_terms(&weights, &energy, &link_, 500, NOW_NS);
    assert_float_equal((float)(1e6 * terms.ms_per_byte), 1e6 / 500 + 20 + 30, 1e-3);
    estimate_link_init(&link_); /* nothing measured: the cap alone, or nothing, is known */
    terms = decide_fill_terms(&weights, &energy, &link_, 500, NOW_NS);
    assert_float_equal((float)(1e6 * terms.ms_per_byte), 1e6 / 500 + 20 + 30, 1e-3);
    terms = decide_fill_terms(&weights, &energy, &link_, INFINITY, NOW_NS);
    assert_float_equal((float)(1e6 * terms.ms_per_byte), 20 + 30, 1e-3);
}

/* A promise of local is a run only while local has not begun and the edge is still asked. */
static void test_has_run(void **state)
{
    struct job job = {.plan.insure_at_ns = NOW_NS};

    (void)state;
    job.side[JOB_SIDE_EDGE] = JOB_SIDE_RUNNING;
    assert_true(insurance_has_run(&job, false, false));
    assert_false(insurance_has_run(&job, false, true));
    assert_true(insurance_has_run(&job, true, true)); /* to the end of its step */
    job.side[JOB_SIDE_LOCAL] = JOB_SIDE_DONE;
    assert_false(insurance_has_run(&job, false, false));
    job.side[JOB_SIDE_LOCAL] = JOB_SIDE_IDLE;
    job.side[JOB_SIDE_EDGE] = JOB_SIDE_FAILED;
    assert_false(insurance_has_run(&job, false, false));
    job.side[JOB_SIDE_EDGE] = JOB_SIDE_RUNNING;
    job.plan.insure_at_ns = 0;
    assert_false(insurance_has_run(&job, false, false));
}

static void test_promised_run(void **state)
{
    const struct estimate_task text = text_task();
    struct job job = {.plan = {.insure_at_ns = NOW_NS + 5, .deadline_ns = NOW_NS + 9}};
    struct decide_insured run;

    (void)state;
    assert_true(insurance_of(&job, &text, false, false, 2, &run));
    assert_int_equal(run.start_ns, NOW_NS + 5);
    assert_int_equal(run.deadline_ns, NOW_NS + 9);
    assert_int_equal(run.run_ns, 42 * NS_PER_MS);
    assert_int_equal(run.step_ns, 12 * NS_PER_MS);
    assert_int_equal(run.margin_ns, (int64_t)((ESTIMATE_MARGIN_MS + 2) * NS_PER_MS));
    assert_int_equal(run.in_step_ns, 0);
    assert_true(insurance_of(&job, &text, true, false, 0, &run));
    assert_int_equal(run.start_ns, 0);
    assert_true(insurance_of(&job, &text, true, true, 0, &run)); /* nobody waits for it any more */
    assert_true(run.deadline_ns == INSURED_NO_DEADLINE);
    job.plan.yields = true;
    assert_true(insurance_of(&job, &text, true, false, 0, &run));
    assert_true(run.deadline_ns == INSURED_NO_DEADLINE);
    job.plan.yields = false;
    job.plan.deadline_ns = 0;
    assert_true(insurance_of(&job, &text, true, false, 0, &run));
    assert_true(run.deadline_ns == INSURED_NO_DEADLINE);
    estimate_text_init(&texts);
    assert_false(insurance_of(&job, &text, true, false, 0, &run));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup(test_handover, setup),
                                       cmocka_unit_test_setup(test_this_device, setup),
                                       cmocka_unit_test_setup(test_edge, setup),
                                       cmocka_unit_test_setup(test_terms, setup),
                                       cmocka_unit_test_setup(test_has_run, setup),
                                       cmocka_unit_test_setup(test_promised_run, setup)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
