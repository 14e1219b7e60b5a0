/* What would have become of a request: every number here is computed by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/policy/replay_totals.h"
#include "common/base/error.h"

#include <math.h>
#include <string.h>

/* one_miss 1000, one_megabyte 20, one_error 200, one_joule 20 */
#define WEIGHTS                                                                                    \
    {                                                                                              \
        1000, 20, 200, 20                                                                          \
    }

static struct candidate candidate(const char *route, double mean_ms, double miss, double error,
                                  double bytes, double joule)
{
    struct candidate made = {.latency_known = true,
                             .latency = {mean_ms, 2 * mean_ms},
                             .miss_probability = miss,
                             .error_probability = error,
                             .error_weight = error,
                             .bytes = bytes,
                             .energy_j = joule};

    strcpy(made.route, route);
    return made;
}

/* A cascade that was 0.6 sure where 0.5 was enough: it stayed, after 12 of 100 ms.
 * local:   20 + 1000*0.01 + 200*0.3  + 20*0.5            = 100
 * edge:    40 + 1000*0.02 + 200*0.05 + 20*0.5 + 20*0.1   =  82
 * cascade: 30 + 1000*0.01 + 200*0.1  + 20*0.25 + 20*0.55 =  76 */
static struct replay_record record_make(void)
{
    struct replay_record record = {.id = 7,
                                   .task = "objects",
                                   .deadline_ms = 100,
                                   .candidate_count = 3,
                                   .has_weights = true,
                                   .weights = WEIGHTS,
                                   .route = "cascade",
                                   .threshold = 0.5,
                                   .confidence = 0.6,
                                   .by = "local",
                                   .latency_ms = 12,
                                   .bytes_up = 0,
                                   .local_wait_ms = 2,
                                   .local_run_ms = 9,
                                   .met_deadline = true};

    record.candidates[0] = candidate("local", 20, 0.01, 0.3, 0, 0.5);
    record.candidates[1] = candidate("edge:den", 40, 0.02, 0.05, 500000, 0.1);
    record.candidates[2] = candidate("cascade", 30, 0.01, 0.1, 250000, 0.55);
    return record;
}

static struct replay_way again(const struct replay_record *record, struct replay_options options,
                               enum replay_result result)
{
    struct replay_way way;

    assert_int_equal(replay_again(record, &options, &way), result);
    return way;
}

static struct replay_options policy(enum replay_policy policy)
{
    struct replay_options options;

    replay_options_init(&options);
    options.policy = policy;
    return options;
}

/* Nothing asked for: as it went, all measured but the error. */
static void test_as_it_went(void **state)
{
    const struct replay_record record = record_make();
    const struct replay_way way = again(&record, policy(REPLAY_TANDEM), REPLAY_DONE);

    (void)state;
    assert_string_equal(way.route, "cascade");
    assert_string_equal(way.by, "local");
    assert_float_equal(way.latency_ms, 12, 1e-9);
    assert_float_equal(way.miss, 0, 0);
    assert_float_equal(way.error, 0.4, 1e-6); /* 1 - 0.6 */
    assert_float_equal(way.energy_j, 0.5, 1e-6);
    assert_float_equal(way.cost, 12 + 200 * 0.4 + 20 * 0.5, 1e-4); /* 102 */
    assert_true(way.latency_measured && way.bytes_measured && !way.error_measured);
}

static void test_policies(void **state)
{
    const struct replay_record record = record_make();
    struct replay_way way = again(&record, policy(REPLAY_LOCAL), REPLAY_DONE);

    (void)state;
    assert_string_equal(way.route, "local");
    assert_float_equal(way.latency_ms, 12, 1e-9); /* as it went: 2 + 9, and 1 besides */
    assert_true(way.latency_measured);
    way = again(&record, policy(REPLAY_EDGE), REPLAY_DONE);
    assert_string_equal(way.by, "edge:den");
    assert_float_equal(way.latency_ms, 40, 1e-9);
    assert_float_equal(way.cost, 82, 1e-4); /* nothing of it was measured */
    assert_false(way.latency_measured || way.bytes_measured || way.error_measured);
    way = again(&record, policy(REPLAY_AVAILABILITY), REPLAY_DONE);
    assert_string_equal(way.route, "edge:den");
    way = again(&record, policy(REPLAY_LATENCY), REPLAY_DONE);
    assert_string_equal(way.route, "local");
    way = again(&record, policy(REPLAY_THRESHOLD), REPLAY_DONE);
    assert_string_equal(way.by, "local"); /* 0.6 >= 0.5, as it went */
    assert_float_equal(way.latency_ms, 12, 1e-9);
}

/* The recorded confidence decides under another threshold: 12 ms here, then 40 there. */
static void test_threshold(void **state)
{
    const struct replay_record record = record_make();
    struct replay_options options = policy(REPLAY_TANDEM);
    struct replay_way way;

    (void)state;
    options.threshold = 0.7;
    way = again(&record, options, REPLAY_DONE);
    assert_string_equal(way.route, "cascade");
    assert_string_equal(way.by, "edge:den");
    assert_float_equal(way.latency_ms, 52, 1e-9);
    assert_false(way.latency_measured);
    assert_float_equal(way.bytes, 500000, 0);
    assert_float_equal(way.energy_j, 0.6, 1e-6);
    assert_float_equal(way.error, 0.05, 1e-6);
    assert_float_equal(way.cost, 52 + 200 * 0.05 + 20 * 0.5 + 20 * 0.6, 1e-4); /* 84 */
    options.threshold = 0.55;
    way = again(&record, options, REPLAY_DONE);
    assert_float_equal(way.latency_ms, 12, 1e-9); /* stays as it stayed */
}

/* An edge that comes after the deadline costs its answer, not the deadline. */
static void test_late_edge(void **state)
{
    struct replay_record record = record_make();
    struct replay_options options = policy(REPLAY_TANDEM);
    struct replay_way way;

    (void)state;
    record.deadline_ms = 45;
    options.threshold = 0.7;
    way = again(&record, options, REPLAY_DONE);
    assert_string_equal(way.by, "local");
    assert_float_equal(way.latency_ms, 45, 1e-9);
    assert_float_equal(way.miss, 0, 0);
    assert_float_equal(way.error, 0.4, 1e-6);
}

/* Dear bytes, twenty times: local 100 as before, the edge 82 + 190, the cascade 76 + 95. */
static void test_weights(void **state)
{
    struct replay_record record = record_make();
    struct replay_options options = policy(REPLAY_TANDEM);

    (void)state;
    options.prefer = PREFER_BANDWIDTH;
    assert_string_equal(again(&record, options, REPLAY_DONE).route, "local");
    options.weights.one_megabyte_ms = 20; /* what is given counts more than the leaning */
    assert_string_equal(again(&record, options, REPLAY_DONE).route, "cascade");
    assert_float_equal(replay_weights(&record, &options).one_error_ms, 200, 0);
    options.prefer = -1;
    options.weights.one_miss_ms = 0;
    options.weights.one_error_ms = 10; /* local 20+3+10 = 33, edge 40+.5+10+2, cascade 30+1+5+11 */
    assert_string_equal(again(&record, options, REPLAY_DONE).route, "local");
    options.weights.one_error_ms = 1000; /* edge 40+50+10+2 = 102, cascade 30+100+5+11 = 146 */
    assert_string_equal(again(&record, options, REPLAY_DONE).route, "edge:den");
    record.has_weights = false; /* the defaults */
    assert_float_equal(replay_weights(&record, &options).one_joule_ms, PREFER_JOULE_MS, 0);
}

/* What was decided stays where no weight is another, also where something looks cheaper by its
 * candidates now; whichever weight is another one, the cheapest counts. */
static void test_each_weight(void **state)
{
    struct replay_record record = record_make();
    struct replay_options options = policy(REPLAY_TANDEM);
    double *const weights[] = {&options.weights.one_miss_ms, &options.weights.one_megabyte_ms,
                               &options.weights.one_error_ms, &options.weights.one_joule_ms};

    (void)state;
    strcpy(record.route, "local"); /* 100, where the cascade would be 76 */
    assert_string_equal(again(&record, options, REPLAY_DONE).route, "local");
    for (size_t i = 0; i < 4; i++) {
        const double was = *weights[i];

        *weights[i] = ((const double[]){1000, 20, 200, 20})[i] + 1;
        assert_string_equal(again(&record, options, REPLAY_DONE).route, "cascade");
        *weights[i] = was;
    }
    strcpy(record.route, "cascade"); /* and what is the cheapest stays */
    options.weights.one_joule_ms = 21;
    assert_string_equal(again(&record, options, REPLAY_DONE).route, "cascade");
}

/* The smaller of the times here and there, whatever a cascade would take; what is not known is not
 * small. */
static void test_latency_policy(void **state)
{
    struct replay_record record = record_make();

    (void)state;
    record.candidates[2].latency.mean_ms = 1;
    assert_string_equal(again(&record, policy(REPLAY_LATENCY), REPLAY_DONE).route, "local");
    record.candidates[1].latency.mean_ms = 19;
    assert_string_equal(again(&record, policy(REPLAY_LATENCY), REPLAY_DONE).route, "edge:den");
    record.candidates[1].latency_known = false;
    assert_string_equal(again(&record, policy(REPLAY_LATENCY), REPLAY_DONE).route, "local");
}

/* What ran beside it is measured: the edge took 70, and said something else. */
static void test_measured_sides(void **state)
{
    struct replay_record record = record_make();
    struct replay_options options = policy(REPLAY_THRESHOLD);
    struct replay_way way;

    (void)state;
    record.side_count = 2;
    record.sides[0] = (struct replay_side){"local", 12, NAN, NAN, 0, 1, 0.6};
    record.sides[1] = (struct replay_side){"edge:den", 70, 300000, 0.2, 0, 0, NAN};
    way = again(&record, policy(REPLAY_EDGE), REPLAY_DONE);
    assert_float_equal(way.latency_ms, 70, 1e-9);
    assert_true(way.latency_measured && way.bytes_measured);
    assert_float_equal(way.bytes, 300000, 0); /* it was sent in another form than predicted */
    assert_float_equal(way.energy_j, 0.2f, 1e-6);
    assert_float_equal(way.miss, 0, 0);
    assert_int_equal(way.agreed, 1);
    options.threshold = 0.7;
    way = again(&record, options, REPLAY_DONE); /* 0.6 sure: it would have asked */
    assert_float_equal(way.bytes, 300000, 0);
    assert_true(way.bytes_measured && way.latency_measured);
    assert_float_equal(way.energy_j, 0.7f, 1e-6); /* local's as predicted */
    way = again(&record, policy(REPLAY_TANDEM), REPLAY_DONE);
    assert_float_equal(way.error, 0.4f / 0.43f, 1e-6); /* the edge's answer was another one */
    assert_false(way.error_measured);
    assert_int_equal(way.agreed, 0);
    record.sides[1].agreed = 1;
    way = again(&record, policy(REPLAY_LOCAL), REPLAY_DONE);
    assert_float_equal(way.error, 0.05, 1e-6); /* as wrong as the edge's */
    assert_false(way.error_measured);
    record.sides[1].latency_ms = 120;
    assert_float_equal(again(&record, policy(REPLAY_EDGE), REPLAY_DONE).miss, 1, 0);
    record.sides[1].latency_ms = 30;
    record.sides[1].error_code = TANDEM_EGONE;
    way = again(&record, policy(REPLAY_EDGE), REPLAY_DONE);
    assert_float_equal(way.miss, 1, 0);
    assert_float_equal(way.error, 1, 0);
    assert_string_equal(way.by, "");
}

/* What would do the same costs what was recorded, whether nothing was sent, which a null says too,
 * or the edge was asked at once and not needed. */
static void test_the_same_way_costs_the_same(void **state)
{
    static const double sent[] = {0, NAN, 480000};
    struct replay_options options = policy(REPLAY_TANDEM);

    (void)state;
    options.threshold = 0.55;
    for (size_t i = 0; i < sizeof(sent) / sizeof(sent[0]); i++) {
        struct replay_record record = record_make();
        struct replay_way recorded, way;

        record.bytes_up = sent[i];
        record.latency_ms = 63.9;
        replay_recorded(&record, &record.weights, &recorded);
        way = again(&record, options, REPLAY_DONE);
        assert_float_equal(way.latency_ms, 63.9f, 1e-4);
        assert_float_equal(way.cost, recorded.cost, 1e-9);
        assert_true(way.bytes == (sent[i] > 0 ? sent[i] : 0));
        assert_true(way.bytes_measured);
        way = again(&record, policy(REPLAY_LOCAL), REPLAY_DONE);
        assert_float_equal(way.latency_ms, 63.9f, 1e-4);
        assert_true(way.latency_measured);
        strcpy(record.route, "local"); /* and the other way round */
        way = again(&record, policy(REPLAY_THRESHOLD), REPLAY_DONE);
        assert_string_equal(way.route, "cascade");
        assert_float_equal(way.latency_ms, 63.9f, 1e-4);
    }
}

/* Not sure, but no edge could be asked: a null says that nothing was sent, and nothing was waited
 * for. */
static void test_nobody_to_ask(void **state)
{
    struct replay_record record = record_make();
    struct replay_options options = policy(REPLAY_TANDEM);
    struct replay_way way;

    (void)state;
    record.bytes_up = NAN;
    record.threshold = 0.7;
    way = again(&record, policy(REPLAY_LOCAL), REPLAY_DONE);
    assert_float_equal(way.latency_ms, 12, 1e-9);
    assert_true(way.latency_measured);
    options.threshold = 0.8; /* nor could it have been asked then */
    way = again(&record, options, REPLAY_DONE);
    assert_string_equal(way.by, "local");
    assert_float_equal(way.latency_ms, 12, 1e-9);
    assert_float_equal(way.bytes, 0, 0);
}

/* A cascade that asked: what its local answer alone would have taken is its wait and its run, and
 * what else is not recorded. */
static void test_half_of_a_cascade(void **state)
{
    struct replay_record record = record_make();
    struct replay_options options = policy(REPLAY_TANDEM);
    struct replay_way way;

    (void)state;
    record.bytes_up = 500000;
    record.threshold = 0.7;
    record.latency_ms = 90; /* no answer of the edge came; this was waited for it */
    way = again(&record, policy(REPLAY_LOCAL), REPLAY_DONE);
    assert_float_equal(way.latency_ms, 11, 1e-9);
    assert_false(way.latency_measured);
    options.threshold = 0.5; /* it would not have asked */
    way = again(&record, options, REPLAY_DONE);
    assert_string_equal(way.by, "local");
    assert_float_equal(way.latency_ms, 11, 1e-9);
    assert_false(way.latency_measured);
    options.threshold = 0.8; /* it would have asked, and waited as it did */
    way = again(&record, options, REPLAY_DONE);
    assert_float_equal(way.latency_ms, 90, 1e-9);
    assert_true(way.latency_measured);
}

/* Local, 0.4 wrong as its confidence says, and an edge, 0.05 as is believed of it, say different
 * things: at least one is wrong, which happens 0.4 + 0.05 - 0.02 = 0.43 of the times. Only what the
 * application said is measured, and it says something of the other answer, too. */
static void test_another_answer(void **state)
{
    struct replay_record record = record_make();
    struct replay_way way;

    (void)state;
    record.side_count = 2;
    record.sides[0] = (struct replay_side){"local", 12, NAN, NAN, 0, 1, 0.6};
    record.sides[1] = (struct replay_side){"edge:den", 30, 300000, 0.2, 0, 0, NAN};
    way = again(&record, policy(REPLAY_EDGE), REPLAY_DONE);
    assert_float_equal(way.error, 0.05f / 0.43f, 1e-6);
    assert_false(way.error_measured);
    record.told = TOLD_RIGHT; /* the local one that was delivered: then the edge's was wrong */
    way = again(&record, policy(REPLAY_EDGE), REPLAY_DONE);
    assert_float_equal(way.error, 1, 1e-6);
    assert_false(way.error_measured);
    way = again(&record, policy(REPLAY_TANDEM), REPLAY_DONE);
    assert_float_equal(way.error, 0, 0);
    assert_true(way.error_measured);
    record.told = TOLD_WRONG; /* of the edge's follows nothing: both may be wrong */
    way = again(&record, policy(REPLAY_EDGE), REPLAY_DONE);
    assert_float_equal(way.error, 0.05, 1e-6);
    record.candidates[record.candidate_count++] = candidate("edge:attic", 9, 0, 0.2, 100, 0);
    record.told = TOLD_NOTHING; /* the cheapest edge is not the one that answered */
    way = again(&record, policy(REPLAY_TANDEM), REPLAY_DONE);
    assert_float_equal(way.error, 0.4f / 0.43f, 1e-6);
    way = again(&record, policy(REPLAY_EDGE), REPLAY_DONE);
    assert_string_equal(way.by, "edge:attic");
    assert_float_equal(way.error, 0.2, 1e-6);
    strcpy(record.sides[1].route, "edge:gone"); /* what was believed of it is not recorded */
    way = again(&record, policy(REPLAY_TANDEM), REPLAY_DONE);
    assert_float_equal(way.error, 0.4, 1e-6);
}

/* A cascade at the recorded threshold where the local answer was never known: as it was expected.
 */
static void test_expected_cascade(void **state)
{
    struct replay_record record = record_make();
    struct replay_options options = policy(REPLAY_THRESHOLD);
    struct replay_way way;

    (void)state;
    strcpy(record.route, "edge:den");
    strcpy(record.by, "edge:den");
    record.latency_ms = 44;
    record.bytes_up = 480000;
    record.threshold = record.confidence = record.local_wait_ms = record.local_run_ms = NAN;
    way = again(&record, options, REPLAY_DONE);
    assert_string_equal(way.route, "cascade");
    assert_string_equal(way.by, "");
    assert_float_equal(way.cost, 76, 1e-4);
    way = again(&record, policy(REPLAY_EDGE), REPLAY_DONE);
    assert_float_equal(way.latency_ms, 44, 1e-9);
    assert_float_equal(way.bytes, 480000, 0);
    assert_true(way.bytes_measured);
    way = again(&record, policy(REPLAY_LOCAL), REPLAY_DONE);
    assert_float_equal(way.cost, 100, 1e-4);
    assert_false(way.latency_measured);
}

/* Hard limits are no matter of policy. */
static void test_forced_and_impossible(void **state)
{
    struct replay_record record = record_make();

    (void)state;
    record.forced = true;
    assert_string_equal(again(&record, policy(REPLAY_EDGE), REPLAY_FORCED).route, "cascade");
    record.forced = false;
    record.candidate_count = 1;
    assert_string_equal(again(&record, policy(REPLAY_EDGE), REPLAY_IMPOSSIBLE).route, "cascade");
    assert_string_equal(again(&record, policy(REPLAY_AVAILABILITY), REPLAY_DONE).route, "local");
    strcpy(record.route, "cache");
    assert_string_equal(again(&record, policy(REPLAY_LOCAL), REPLAY_DONE).route, "cache");
    record.route[0] = record.by[0] = '\0'; /* it had no route */
    record.candidate_count = 0;
    record.error_code = TANDEM_ENOROUTE;
    assert_string_equal(again(&record, policy(REPLAY_TANDEM), REPLAY_IMPOSSIBLE).route, "none");
}

/* Observed: the edge really answered, a cascade is what would have been done. */
static void test_observed(void **state)
{
    struct replay_record record = record_make();
    struct replay_way way;
    const struct decide_weights weights = WEIGHTS;

    (void)state;
    record.observed = true;
    strcpy(record.by, "edge:den");
    record.latency_ms = 38;
    record.bytes_up = 500000;
    replay_recorded(&record, &weights, &way);
    assert_string_equal(way.route, "edge:den");
    assert_float_equal(way.cost, 38 + 200 * 0.05 + 20 * 0.5 + 20 * 0.1, 1e-4); /* 60 */
    record.side_count = 1;
    record.sides[0] = (struct replay_side){"local", 15, NAN, NAN, 0, 1, 0.6};
    way = again(&record, policy(REPLAY_TANDEM), REPLAY_DONE);
    assert_string_equal(way.route, "cascade");
    assert_string_equal(way.by, "local");
    assert_float_equal(way.latency_ms, 15, 1e-9);
    assert_true(way.latency_measured && !way.error_measured);
    assert_float_equal(way.cost, 15 + 200 * 0.05 + 20 * 0.5, 1e-4); /* 35 */
}

static void test_totals(void **state)
{
    struct replay_totals totals = {0};
    struct replay_way way = {.route = "local", .by = "local", .agreed = -1, .energy_j = NAN};

    (void)state;
    for (int i = 1; i <= 100; i++) {
        way.latency_ms = i;
        way.cost = 2 * i;
        way.miss = i > 90;
        way.bytes = 10000;
        way.error = 0.25;
        way.latency_measured = i % 4 == 0;
        way.agreed = i % 10 == 0 ? i % 20 == 0 : -1;
        way.energy_j = i == 1 ? 3 : NAN;
        assert_int_equal(replay_totals_add(&totals, &way), 0);
    }
    assert_int_equal(totals.count, 100);
    assert_float_equal(totals.cost, 10100, 1e-6);
    assert_float_equal(totals.latency_ms, 5050, 1e-6);
    assert_float_equal(totals.misses, 10, 0);
    assert_float_equal(totals.megabytes, 1, 1e-6);
    assert_float_equal(totals.errors, 25, 1e-6);
    assert_int_equal(totals.latency_measured, 25);
    assert_int_equal(totals.compared, 10);
    assert_int_equal(totals.agreed, 5);
    assert_int_equal(totals.energy_known, 1);
    assert_float_equal(replay_totals_quantile(&totals, 0.95), 95, 0);
    while (totals.count < LIMIT_REPLAY_REQUESTS) {
        assert_int_equal(replay_totals_add(&totals, &way), 0);
    }
    assert_int_equal(replay_totals_add(&totals, &way), TANDEM_ETOOBIG);
    replay_totals_fini(&totals);
}

static void test_moves(void **state)
{
    static struct replay_moves moves;
    const struct replay_way local = {.route = "local", .by = "local"},
                            stayed = {.route = "cascade", .by = "local"},
                            asked = {.route = "cascade", .by = "edge:den"},
                            expected = {.route = "cascade"};

    (void)state;
    replay_moves_add(&moves, &stayed, &asked);
    replay_moves_add(&moves, &stayed, &asked);
    replay_moves_add(&moves, &local, &expected);
    assert_int_equal(moves.count, 2);
    assert_string_equal(moves.items[0].from, "cascade stayed");
    assert_string_equal(moves.items[0].to, "cascade asked");
    assert_int_equal(moves.items[0].count, 2);
    assert_string_equal(moves.items[1].to, "cascade");
}

/* Of the forms of a picture the one that would have been sent, under these weights. */
static void test_forms_of_a_picture(void **state)
{
    struct decide_weights weights = WEIGHTS;
    struct replay_record record = record_make();
    struct replay_way way;

    (void)state;
    record.candidates[record.candidate_count++] = candidate("edge:den", 40, 0.02, 0.1, 25000, 0.1);
    assert_true(replay_route(&record, "edge:den", NAN, &weights, &way));
    assert_float_equal(way.bytes, 500000, 0); /* 82 against 20 + 40 + 20 + 0.5 + 2 = 82.5 */
    weights.one_megabyte_ms = 2000;
    assert_true(replay_route(&record, "edge:den", NAN, &weights, &way));
    assert_float_equal(way.bytes, 25000, 0);
    assert_float_equal(way.error, 0.1, 1e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_it_went),
        cmocka_unit_test(test_policies),
        cmocka_unit_test(test_threshold),
        cmocka_unit_test(test_late_edge),
        cmocka_unit_test(test_each_weight),
        cmocka_unit_test(test_latency_policy),
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_measured_sides),
        cmocka_unit_test(test_the_same_way_costs_the_same),
        cmocka_unit_test(test_nobody_to_ask),
        cmocka_unit_test(test_half_of_a_cascade),
        cmocka_unit_test(test_another_answer),
        cmocka_unit_test(test_expected_cascade),
        cmocka_unit_test(test_forced_and_impossible),
        cmocka_unit_test(test_observed),
        cmocka_unit_test(test_totals),
        cmocka_unit_test(test_moves),
        cmocka_unit_test(test_forms_of_a_picture),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
