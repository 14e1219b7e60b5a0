/* What decide() makes of a picture that may be sent in several forms. */
#include "client/policy/decide.h"
#include "common/base/clock.h"
#include "common/base/error.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define NOW_NS NS_PER_S

static struct confidence confidence;

/* As it came: 60 KB; and half and a quarter of the sides. */
static struct decide_edge edge_of(const char *name, double bytes_per_ms)
{
    static const struct upload_form forms[3] = {
        {.bytes = 60000},
        {.width = 128,
         .height = 96,
         .quality = 90,
         .row = 3,
         .bytes = 4000,
         .prepare_ms = 3,
         .error = 0.01},
        {.width = 32,
         .height = 24,
         .quality = 50,
         .row = 11,
         .bytes = 800,
         .prepare_ms = 2.5,
         .error = 0.1},
    };
    struct decide_edge edge = {.name = name,
                               .latency_known = true,
                               .latency = {10 + 60000 / bytes_per_ms, 15 + 60000 / bytes_per_ms},
                               .best_ms = 10 + 60000 / bytes_per_ms,
                               .form_count = 3};

    for (size_t i = 0; i < 3; i++) {
        const double ms = 10 + forms[i].bytes / bytes_per_ms + forms[i].prepare_ms;

        edge.forms[i] = (struct decide_form){forms[i], true, {ms, ms + 5}, ms};
    }
    return edge;
}

static struct decide_input input_of(const struct decide_edge *edges, size_t count)
{
    confidence_init(&confidence);
    return (struct decide_input){.weights = {1000, 20, 200, 0},
                                 .has_local = true,
                                 .local_known = true,
                                 .local = {150, 160},
                                 .local_run_ms = 150,
                                 .local_bound_ms = 200,
                                 .edges = edges,
                                 .edge_count = count,
                                 .up_bytes = 60000,
                                 .confidence = &confidence,
                                 .edge_error = 0.05,
                                 .now_ns = NOW_NS,
                                 .deadline_ns = NOW_NS + 400 * NS_PER_MS};
}

static void test_the_link_says_which_form(void **state)
{
    const struct decide_edge thin = edge_of("hall", 200), fast = edge_of("hall", 100000);
    struct decide_input input = input_of(&thin, 1);
    struct choice choice;

    (void)state;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.plan.route, JOB_EDGE);
    assert_int_equal(choice.candidates[choice.chosen].upload.width, 128);
    assert_int_equal(choice.asked, choice.chosen);
    assert_string_equal(choice.upload_reason, "the link is thin");
    input = input_of(&fast, 1);
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.plan.route, JOB_EDGE);
    assert_int_equal(choice.candidates[choice.chosen].upload.width, 0);
    assert_null(choice.upload_reason);
}

/* Its errors are weighed: where they are dear, the larger form goes though the link is thin. */
static void test_errors_are_weighed(void **state)
{
    const struct decide_edge thin = edge_of("hall", 200);
    struct decide_input input = input_of(&thin, 1);
    struct choice choice;

    (void)state;
    input.weights.one_error_ms = 100000;
    input.deadline_ns = 0;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.candidates[choice.asked].upload.width, 0);
    input.weights.one_error_ms = 1;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.candidates[choice.asked].upload.width, 32);
    for (size_t i = 0; i < choice.count; i++) {
        const struct candidate *a = &choice.candidates[i];

        if (a->kind == JOB_EDGE && a->upload.width == 32) {
            assert_true(fabs(a->error_probability - choice.candidates[1].error_probability - 0.1) <
                        0.011);
            assert_true(fabs(a->bytes - 800) < 0.1);
        }
    }
}

static void test_bytes_that_are_dear(void **state)
{
    const struct decide_edge fast = edge_of("hall", 100000);
    struct decide_input input = input_of(&fast, 1);
    struct choice choice;

    (void)state;
    input.weights.one_megabyte_ms = 1000;
    assert_int_equal(decide(&input, &choice), 0);
    assert_true(choice.edge == 0 && choice.candidates[choice.asked].upload.width > 0);
    assert_string_equal(choice.upload_reason, "bytes are dear");
}

/* What came is too big for the wire: the edge is asked with what is left of the forms. */
static void test_too_big_as_it_came(void **state)
{
    struct decide_edge edge = edge_of("hall", 100000);
    struct decide_input input = input_of(&edge, 1);
    struct choice choice;

    (void)state;
    input.too_big = true;
    edge.forms[0] = edge.forms[1];
    edge.forms[1] = edge.forms[2];
    edge.form_count = 2;
    input.forced = FORCED_EDGE;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.candidates[choice.chosen].upload.width, 128);
    assert_string_equal(choice.upload_reason, "it is too big for the wire as it came");
    edge.form_count = 0;
    assert_int_equal(decide(&input, &choice), TANDEM_ENOROUTE);
    assert_string_equal(choice.reason, "input too big for an edge");
}

/* The cascade asks with the edge's best form, and expects its errors where it asks. */
static void test_the_cascade_takes_the_best_form(void **state)
{
    struct decide_edge edge = edge_of("hall", 200);
    struct decide_input input = input_of(&edge, 1);
    struct choice choice, without;
    size_t cascade;

    (void)state;
    input.forced = FORCED_CASCADE;
    input.threshold = 0.9;
    assert_int_equal(decide(&input, &choice), 0);
    assert_int_equal(choice.plan.route, JOB_CASCADE);
    assert_int_equal(choice.candidates[choice.chosen].upload.width, 128);
    assert_int_equal(choice.candidates[choice.asked].upload.width, 128);
    assert_int_equal(choice.candidates[choice.asked].kind, JOB_EDGE);
    assert_true(choice.plan.edge_needs_ns ==
                (int64_t)(edge.forms[1].latency.mean_ms * (double)NS_PER_MS));
    cascade = choice.chosen;
    edge.forms[1].upload.error = 0;
    assert_int_equal(decide(&input, &without), 0);
    assert_true(choice.candidates[cascade].error_probability >
                without.candidates[without.chosen].error_probability);
}

/* Sixteen edges of three forms: every edge is a candidate, and there are never more than fit. */
static void test_many_edges(void **state)
{
    struct decide_edge edges[LIMIT_EDGES];
    struct decide_input input;
    struct choice choice;

    (void)state;
    for (size_t count = 1; count <= LIMIT_EDGES; count++) {
        bool seen[LIMIT_EDGES] = {false};
        const struct decide_cached cached = {
            .error_probability = 0.5, .error_weight = 0.5, .reason = "was here"};

        for (size_t i = 0; i < count; i++) {
            edges[i] = edge_of("hall", 200);
            edges[i].forms[3] = edges[i].forms[2];
            edges[i].form_count = LIMIT_UPLOAD_FORMS;
        }
        input = input_of(edges, count);
        input.cached = &cached;
        assert_int_equal(decide(&input, &choice), 0);
        assert_true(choice.count <= LIMIT_CANDIDATES);
        for (size_t i = 0; i < choice.count; i++) {
            if (choice.candidates[i].kind == JOB_EDGE) {
                seen[choice.candidates[i].edge] = true;
            }
        }
        for (size_t i = 0; i < count; i++) {
            assert_true(seen[i]);
        }
        assert_int_equal(choice.candidates[choice.count - 1].kind, JOB_CACHE);
    }
}

/* An edge that was slow is tried again in the hope of its best; the hope is of the form sent. */
static void test_hope_is_of_the_form(void **state)
{
    struct decide_edge edge = edge_of("hall", 200);
    struct decide_input input = input_of(&edge, 1);
    struct choice choice;

    (void)state;
    edge.retry_due = true;
    edge.latency = (struct latency){900, 1200};
    edge.best_ms = 330;
    for (size_t i = 0; i < 3; i++) {
        edge.forms[i].latency = (struct latency){900 + (double)i, 1200};
    }
    input.deadline_ns = NOW_NS + 800 * NS_PER_MS;
    assert_int_equal(decide(&input, &choice), 0);
    assert_string_equal(choice.reason, "edge is asked again to learn its latency");
    assert_int_equal(choice.candidates[choice.asked].upload.width, 128);
    assert_int_equal(choice.candidates[choice.chosen].upload.width, 128);
    assert_true(fabs(choice.hoped_ms - edge.forms[1].best_ms) < 1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_link_says_which_form),
        cmocka_unit_test(test_errors_are_weighed),
        cmocka_unit_test(test_bytes_that_are_dear),
        cmocka_unit_test(test_too_big_as_it_came),
        cmocka_unit_test(test_the_cascade_takes_the_best_form),
        cmocka_unit_test(test_many_edges),
        cmocka_unit_test(test_hope_is_of_the_form),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
