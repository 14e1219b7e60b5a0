#include "common/engine/engine.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define DRAWS 20000

/* How often each of 5 ids comes out of DRAWS. */
static void frequencies(const struct engine_sampling *params, const float logits[5],
                        double ret_share[5])
{
    struct engine_sampler sampler;
    uint64_t scratch[5];

    engine_sampler_init(&sampler, params);
    for (int i = 0; i < 5; i++) {
        ret_share[i] = 0;
    }
    for (int i = 0; i < DRAWS; i++) {
        ret_share[engine_sample(&sampler, logits, 5, scratch, NULL)] += 1.0 / DRAWS;
    }
}

/* Probabilities 0.4, 0.1, 0.3, 0.15, 0.05. */
static const float probabilities[5] = {0.4f, 0.1f, 0.3f, 0.15f, 0.05f};

static void logits_make(float logits[5])
{
    for (int i = 0; i < 5; i++) {
        logits[i] = logf(probabilities[i]) + 3;
    }
}

static void test_greedy(void **state)
{
    const float logits[6] = {1, NAN, 4, -INFINITY, 4, 2}; /* the smaller id wins the tie */
    struct engine_sampler sampler;
    float logprob = 0;

    (void)state;
    engine_sampler_init(&sampler, &(struct engine_sampling){0, 0, 1, 7});
    assert_int_equal(engine_sample(&sampler, logits, 6, NULL, &logprob), 2);
    assert_true(fabs((double)logprob + log(2 + exp(-3) + exp(-2))) < 1e-6);
}

static void test_temperature(void **state)
{
    double share[5], expected[5], sum = 0;
    float logits[5];

    (void)state;
    logits_make(logits);
    frequencies(&(struct engine_sampling){1, 0, 1, 42}, logits, share);
    for (int i = 0; i < 5; i++) {
        assert_true(fabs(share[i] - (double)probabilities[i]) < 0.015);
    }
    frequencies(&(struct engine_sampling){2, 0, 1, 42}, logits, share);
    for (int i = 0; i < 5; i++) {
        expected[i] = sqrt((double)probabilities[i]);
        sum += expected[i];
    }
    for (int i = 0; i < 5; i++) {
        assert_true(fabs(share[i] - expected[i] / sum) < 0.015);
    }
}

static void test_top_k(void **state)
{
    double share[5];
    float logits[5];

    (void)state;
    logits_make(logits);
    frequencies(&(struct engine_sampling){1, 2, 1, 1}, logits, share);
    assert_true(fabs(share[0] - 4.0 / 7) < 0.015 && fabs(share[2] - 3.0 / 7) < 0.015);
    assert_true(share[1] + share[3] + share[4] <= 0);
    frequencies(&(struct engine_sampling){1, 1, 1, 1}, logits, share);
    assert_true(share[0] > 0.9999);
    frequencies(&(struct engine_sampling){1, 99, 1, 1}, logits, share); /* more than there are */
    assert_true(share[4] > 0.03);
}

static void test_top_p(void **state)
{
    double share[5];
    float logits[5];

    (void)state;
    logits_make(logits);
    frequencies(&(struct engine_sampling){1, 0, 0.6f, 1}, logits, share); /* 0.4 + 0.3 */
    assert_true(fabs(share[0] - 4.0 / 7) < 0.015 && share[1] + share[3] + share[4] <= 0);
    frequencies(&(struct engine_sampling){1, 0, 0.8f, 1}, logits, share); /* and 0.15 */
    assert_true(fabs(share[3] - 0.15 / 0.85) < 0.015 && share[1] + share[4] <= 0);
    frequencies(&(struct engine_sampling){1, 0, 0, 1}, logits, share); /* always at least one */
    assert_true(share[0] > 0.9999);
    frequencies(&(struct engine_sampling){1, 2, 0.5f, 1}, logits,
                share); /* of what top-k left: 4/7 is enough */
    assert_true(share[0] > 0.9999);
}

/* How many of 8 equal ids come out. */
static int equal_kept(uint32_t top_k, float top_p)
{
    const float logits[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    struct engine_sampler sampler;
    uint64_t scratch[8];
    unsigned seen = 0;

    engine_sampler_init(&sampler, &(struct engine_sampling){1, top_k, top_p, 3});
    for (int i = 0; i < 1000; i++) {
        seen |= 1u << engine_sample(&sampler, logits, 8, scratch, NULL);
    }
    assert_int_equal(seen & (seen + 1), 0); /* of equals the smaller ids */
    return __builtin_popcount(seen);
}

/* The smallest set whose share is at least top-p: of eight equals (all sums are exact), and around
 * 0.7 and 0.85. */
static void test_top_p_threshold(void **state)
{
    double share[5];
    float logits[5];

    (void)state;
    assert_int_equal(equal_kept(0, 0.5f), 4);
    assert_int_equal(equal_kept(0, 0.500001f), 5);
    assert_int_equal(equal_kept(0, 0.499999f), 4);
    assert_int_equal(equal_kept(0, 0.125f), 1);
    assert_int_equal(equal_kept(0, 0.875f), 7);
    assert_int_equal(equal_kept(0, 0.999999f), 8);
    assert_int_equal(equal_kept(4, 0.5f), 2); /* of what top-k left */
    assert_int_equal(equal_kept(4, 0.75f), 3);
    assert_int_equal(equal_kept(4, 0.76f), 4);
    assert_int_equal(equal_kept(1, 0.9f), 1);
    logits_make(logits);
    frequencies(&(struct engine_sampling){1, 0, 0.69f, 1}, logits, share);
    assert_true(share[2] > 0.4 && share[1] + share[3] + share[4] <= 0);
    frequencies(&(struct engine_sampling){1, 0, 0.71f, 1}, logits, share);
    assert_true(share[3] > 0.15 && share[1] + share[4] <= 0);
    frequencies(&(struct engine_sampling){2, 0, 0.71f, 1}, logits,
                share); /* flatter: 0.632, 0.548, 0.387, 0.316 of 2.107 */
    assert_true(share[3] > 0.2 && share[1] + share[4] <= 0);
}

static void test_same_seed_same_ids(void **state)
{
    /* Written down once: a change of the generator is a change for every caller with a seed. */
    static const uint32_t expected[8] = {0, 1, 2, 2, 0, 0, 2, 2};
    struct engine_sampler sampler;
    uint64_t scratch[5];
    float logits[5];

    (void)state;
    logits_make(logits);
    engine_sampler_init(&sampler, &(struct engine_sampling){1, 0, 1, 1234});
    for (int i = 0; i < 8; i++) {
        assert_int_equal(engine_sample(&sampler, logits, 5, scratch, NULL), expected[i]);
    }
}

static void test_logprob_is_of_the_whole(void **state)
{
    struct engine_sampler sampler;
    uint64_t scratch[5];
    float logits[5], logprob;

    (void)state;
    logits_make(logits);
    engine_sampler_init(&sampler, &(struct engine_sampling){0.5f, 3, 0.9f, 5});
    for (int i = 0; i < 50; i++) {
        const uint32_t id = engine_sample(&sampler, logits, 5, scratch, &logprob);

        assert_true(fabsf(logprob - logf(probabilities[id])) < 1e-5f);
    }
}

static void test_overflown_logits(void **state)
{
    const float infinite[3] = {0, INFINITY, 1}, nothing[3] = {NAN, NAN, NAN};
    float softmax[3] = {0, INFINITY, 1};
    struct engine_sampler sampler;
    uint64_t scratch[3];

    (void)state;
    engine_sampler_init(&sampler, &(struct engine_sampling){1, 0, 1, 5});
    assert_int_equal(engine_sample(&sampler, infinite, 3, scratch, NULL), 1);
    assert_int_equal(engine_sample(&sampler, nothing, 3, scratch, NULL), 0);
    assert_int_equal(engine_softmax(softmax, 3, 1), 1);
    assert_true(softmax[1] >= 1 && softmax[0] <= 0);
}

static void test_softmax(void **state)
{
    float logits[5], sum = 0;

    (void)state;
    logits_make(logits);
    logits[1] += 1000;
    logits[1] -= 1000; /* large values do not overflow below */
    for (int i = 0; i < 5; i++) {
        logits[i] += 500;
    }
    assert_int_equal(engine_softmax(logits, 5, 1), 0);
    for (int i = 0; i < 5; i++) {
        assert_true(fabsf(logits[i] - probabilities[i]) < 1e-4f);
        sum += logits[i];
    }
    assert_true(fabsf(sum - 1) < 1e-6f);
}

/* Temperature T of logits is temperature 1 of logits / T, and the best stays the best. */
static void test_softmax_temperature(void **state)
{
    float cool[5], divided[5];

    (void)state;
    logits_make(cool);
    for (int i = 0; i < 5; i++) {
        divided[i] = cool[i] / 2.5f;
    }
    assert_int_equal(engine_softmax(cool, 5, 2.5), 0);
    assert_int_equal(engine_softmax(divided, 5, 1), 0);
    for (int i = 0; i < 5; i++) {
        assert_true(fabsf(cool[i] - divided[i]) < 1e-6f);
    }
    assert_true(cool[0] < probabilities[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_temperature),
        cmocka_unit_test(test_top_k),
        cmocka_unit_test(test_top_p),
        cmocka_unit_test(test_top_p_threshold),
        cmocka_unit_test(test_same_seed_same_ids),
        cmocka_unit_test(test_logprob_is_of_the_whole),
        cmocka_unit_test(test_overflown_logits),
        cmocka_unit_test(test_softmax),
        cmocka_unit_test(test_softmax_temperature),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
