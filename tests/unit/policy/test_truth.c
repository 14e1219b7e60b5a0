/* What an application says of answers: it outweighs agreement, and it is taken back without a rest.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/policy/cascade.h"
#include "client/policy/confidence.h"
#include "client/policy/edge_truth.h"
#include "common/base/limits.h"

#include <math.h>
#include <string.h>

#define SURE 0.95

/* The edge agreed a thousand times; the application says that both were wrong. */
static void test_truth_outweighs_agreement(void **state)
{
    struct confidence confidence;
    double before;

    (void)state;
    confidence_init(&confidence);
    for (int i = 0; i < 1000; i++) {
        confidence_compare(&confidence, SURE, true);
    }
    before = confidence_error(&confidence, SURE);
    assert_true(before < 0.01);
    confidence_tell(&confidence, SURE, false);
    assert_true(confidence_error(&confidence, SURE) > before + 0.03);
    for (int i = 0; i < 30; i++) {
        confidence_tell(&confidence, SURE, false);
    }
    assert_true(confidence_error(&confidence, SURE) > 0.4);
    for (int i = 0; i < 31; i++) {
        confidence_untell(&confidence, SURE, false);
    }
    assert_true(confidence_error(&confidence, SURE) == before);
    confidence_tell(&confidence, SURE, true);
    confidence_tell(&confidence, SURE, true);
    confidence_untell(&confidence, SURE, true);
    assert_int_equal(confidence.told[9], 1);
    assert_int_equal(confidence.right[9], 1);
    confidence_untell(&confidence, SURE, false); /* another word than the one that was told */
    assert_int_equal(confidence.told[9], 0);
    assert_int_equal(confidence.right[9], 0);
    confidence_untell(&confidence, SURE, true); /* what was never told */
    assert_int_equal(confidence.told[9], 0);
    assert_int_equal(confidence.right[9], 0);
}

/* What an edge's model has taught goes with it, and nothing else. */
static void test_a_pair_is_forgotten(void **state)
{
    struct confidence confidence, rest;
    struct confidence_pair a = {{0}, {0}, {0}}, b = {{0}, {0}, {0}};

    (void)state;
    confidence_init(&confidence);
    confidence_init(&rest);
    for (int i = 0; i < 40; i++) {
        confidence_pair_compare(&confidence, &a, SURE, false);
        confidence_pair_compare(&confidence, &b, 0.92, i % 4 != 0);
        confidence_compare(&rest, 0.92, i % 4 != 0);
    }
    assert_true(confidence_error(&confidence, SURE) > confidence_error(&rest, SURE) + 0.2);
    confidence_pair_forget(&confidence, &a);
    assert_int_equal(confidence.both[9], 40);
    assert_int_equal(confidence.agreed[9], 30);
    assert_float_equal(confidence.claimed[9], (float)(40 * 0.92), 1e-5);
    assert_true(fabs(confidence_error(&confidence, SURE) - confidence_error(&rest, SURE)) < 1e-9);
    confidence_pair_forget(&confidence, &a); /* empty now */
    assert_int_equal(confidence.both[9], 40);
}

static void test_counts_are_bounded(void **state)
{
    struct confidence confidence;
    struct edge_truth truth = {LIMIT_LEARNED_COUNT, LIMIT_LEARNED_COUNT / 4};

    (void)state;
    confidence_init(&confidence);
    confidence.seen[9] = confidence.both[9] = confidence.told[9] = LIMIT_LEARNED_COUNT;
    confidence.seen[5] = LIMIT_LEARNED_COUNT / 2;
    confidence_see(&confidence, SURE);
    assert_int_equal(confidence.seen[9], LIMIT_LEARNED_COUNT / 2 + 1);
    assert_int_equal(confidence.seen[5], LIMIT_LEARNED_COUNT / 4);
    confidence_compare(&confidence, SURE, true);
    confidence_tell(&confidence, SURE, true);
    assert_int_equal(confidence.both[9], LIMIT_LEARNED_COUNT / 2 + 1);
    assert_int_equal(confidence.told[9], LIMIT_LEARNED_COUNT / 2 + 1);
    edge_truth_tell(&truth, false);
    assert_int_equal(truth.told, LIMIT_LEARNED_COUNT / 2 + 1);
    assert_int_equal(truth.wrong, LIMIT_LEARNED_COUNT / 8 + 1);
}

/* After a long time of one kind, what comes next is believed once it is as much as is kept, and not
 * as much as there was; each edge's part goes down with the whole. */
static void test_memory_is_short(void **state)
{
    struct confidence confidence;
    struct confidence_pair a = {{0}, {0}, {0}}, b = {{0}, {0}, {0}};

    (void)state;
    confidence_init(&confidence);
    for (int i = 0; i < 20000; i++) {
        confidence_pair_compare(&confidence, i % 2 ? &a : &b, SURE, true);
        confidence_tell(&confidence, 0.55, true);
    }
    assert_true(a.both[9] <= CONFIDENCE_MEMORY && b.both[9] <= CONFIDENCE_MEMORY);
    assert_int_equal(confidence.both[9], a.both[9] + b.both[9]);
    assert_int_equal(confidence.agreed[9], confidence.both[9]);
    assert_true(fabs(confidence.claimed[9] / (double)confidence.both[9] - SURE) < 1e-6);
    assert_true(confidence.told[5] <= CONFIDENCE_MEMORY);
    for (int i = 0; i < CONFIDENCE_MEMORY; i++) {
        confidence_pair_compare(&confidence, &a, SURE, false);
        confidence_tell(&confidence, 0.55, false);
    }
    assert_true(a.agreed[9] < a.both[9] / 2);
    assert_int_equal(confidence.both[9] - confidence.agreed[9], a.both[9] - a.agreed[9]);
    assert_true(confidence_error(&confidence, 0.55) > 0.5);
    confidence_pair_forget(&confidence, &a);
    assert_int_equal(confidence.both[9], b.both[9]);
    assert_int_equal(confidence.agreed[9], b.agreed[9]);
}

/* Truth that was told of local says how much an edge mends: else it were the edge that is believed
 * to be wrong where they differ. */
static void test_truth_says_what_is_mended(void **state)
{
    const struct edge_belief edge = {.error = 0.05, .mended_min = 0};
    struct confidence_bin bins[CONFIDENCE_BINS];
    struct cascade_error local, of_edge;
    struct confidence confidence;

    (void)state;
    confidence_init(&confidence);
    for (int i = 0; i < 300; i++) {
        confidence_see(&confidence, SURE);
        confidence_compare(&confidence, SURE, i % 2);
    }
    confidence_bins(&confidence, bins);
    cascade_errors(bins, &edge, &local, &of_edge);
    assert_true(of_edge.probability > 0.8 * local.probability);
    for (int i = 0; i < 300; i++) {
        confidence_tell(&confidence, SURE, i % 2);
    }
    confidence_bins(&confidence, bins);
    cascade_errors(bins, &edge, &local, &of_edge);
    assert_true(of_edge.probability < 0.2 * local.probability);
}

static void test_edge_truth(void **state)
{
    struct edge_truth truth = {0, 0};

    (void)state;
    assert_float_equal(edge_truth_error(&truth, 0.05), 0.05, 1e-12);
    for (int i = 0; i < 200; i++) {
        edge_truth_tell(&truth, i % 2 == 0);
    }
    assert_float_equal(edge_truth_error(&truth, 0.05), 0.5, 0.03);
    for (int i = 0; i < 200; i++) {
        edge_truth_untell(&truth, i % 2 == 0);
    }
    assert_float_equal(edge_truth_error(&truth, 0.05), 0.05, 1e-12);
    edge_truth_untell(&truth, false);
    assert_int_equal(truth.told + truth.wrong, 0);
    for (int i = 0; i < 4; i++) {
        edge_truth_tell(&truth, i > 1);
    }
    edge_truth_untell(&truth, false);
    assert_int_equal(truth.told, 3);
    assert_int_equal(truth.wrong, 1);
    edge_truth_untell(&truth, true);
    assert_int_equal(truth.told, 2);
    assert_int_equal(truth.wrong, 1);
    edge_truth_untell(&truth, true);
    edge_truth_untell(&truth, true); /* one word too many: never more wrong than told */
    assert_int_equal(truth.told + truth.wrong, 0);
}

/* Local claims an error of 0.5 and is asked about there alone; both differ in 0.4 of 10000; the
 * edge errs in 0.3: of what differs it mends (0.5 - 0.3) / 0.4 = 0.5. */
static void test_edge_mends_what_it_is_better_by(void **state)
{
    struct confidence confidence;
    struct confidence_bin bins[CONFIDENCE_BINS];
    const struct edge_belief belief = {.error = 0.3, .mended_min = 0};
    struct cascade_error local, edge;

    (void)state;
    confidence_init(&confidence);
    for (int i = 0; i < 10000; i++) {
        confidence_see(&confidence, 0.5);
        confidence_compare(&confidence, 0.5, i % 10 >= 4);
    }
    confidence_bins(&confidence, bins);
    cascade_errors(bins, &belief, &local, &edge);
    assert_float_equal(local.probability, 0.4f, 2e-3);
    assert_float_equal((float)(edge.probability / local.probability), 0.5f, 5e-3);
}

/* An edge that is known to be no better than the local model is not worth asking. */
static void test_a_bad_edge_mends_nothing(void **state)
{
    struct confidence confidence;
    struct confidence_bin bins[CONFIDENCE_BINS];
    struct edge_truth truth = {0, 0};
    struct edge_belief belief = edge_truth_belief(&truth, 0.05);
    struct cascade_terms terms = {.bins = bins,
                                  .one_error_ms = 1000,
                                  .edge = belief,
                                  .local_ms = 5,
                                  .edge_ms = 20,
                                  .edge_p95_ms = 30,
                                  .threshold = NAN};
    struct cascade before, after;
    struct cascade_error local, edge;

    (void)state;
    confidence_init(&confidence);
    confidence_bins(&confidence, bins);
    cascade_errors(bins, &belief, &local, &edge);
    assert_true(edge.probability < local.probability);
    cascade_plan(&terms, &before);
    assert_true(before.asked > 0.3);
    for (int i = 0; i < 2000; i++) {
        edge_truth_tell(&truth, false);
    }
    belief = terms.edge = edge_truth_belief(&truth, 0.05);
    cascade_errors(bins, &belief, &local, &edge);
    assert_true(edge.probability > 0.95 * local.probability);
    cascade_plan(&terms, &after);
    assert_true(after.asked < before.asked / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_truth_outweighs_agreement),
                                       cmocka_unit_test(test_a_pair_is_forgotten),
                                       cmocka_unit_test(test_counts_are_bounded),
                                       cmocka_unit_test(test_memory_is_short),
                                       cmocka_unit_test(test_truth_says_what_is_mended),
                                       cmocka_unit_test(test_edge_truth),
                                       cmocka_unit_test(test_edge_mends_what_it_is_better_by),
                                       cmocka_unit_test(test_a_bad_edge_mends_nothing)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
