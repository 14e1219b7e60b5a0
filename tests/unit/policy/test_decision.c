/* What a decision says after the end: why the delivered answer is that one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/policy/decision.h"
#include "common/base/error.h"

#include <math.h>
#include <string.h>

struct ending {
    enum job_route route;
    enum job_side by;
    enum job_side_state local, edge;
    int edge_error;
    bool race, hedged;
    double confidence;
    const char *said;
};

static void test_every_ending(void **state)
{
    static const struct ending endings[] = {
        {JOB_CASCADE, JOB_SIDE_LOCAL, JOB_SIDE_DONE, JOB_SIDE_IDLE, 0, false, false, 0.91,
         "why: sure enough, 0.91 >= 0.70"},
        {JOB_CASCADE, JOB_SIDE_LOCAL, JOB_SIDE_DONE, JOB_SIDE_IDLE, 0, false, false, 0.63,
         "why: kept at 0.63 < 0.70, the edge would miss the deadline"},
        {JOB_CASCADE, JOB_SIDE_LOCAL, JOB_SIDE_DONE, JOB_SIDE_FAILED, TANDEM_EBUSY, false, true,
         0.63, "why: kept at 0.63 < 0.70, the edge failed ("},
        {JOB_CASCADE, JOB_SIDE_LOCAL, JOB_SIDE_DONE, JOB_SIDE_FAILED, 0, false, true, 0.63,
         "why: kept at 0.63 < 0.70, the edge had no better answer in time"},
        {JOB_CASCADE, JOB_SIDE_EDGE, JOB_SIDE_DONE, JOB_SIDE_DONE, 0, false, true, 0.63,
         "why: not sure, 0.63 < 0.70, the edge was asked"},
        {JOB_CASCADE, JOB_SIDE_EDGE, JOB_SIDE_FAILED, JOB_SIDE_DONE, 0, false, true, NAN,
         "why: local failed ("},
        {JOB_EDGE, JOB_SIDE_EDGE, JOB_SIDE_IDLE, JOB_SIDE_DONE, 0, false, false, NAN, "why"},
        {JOB_EDGE, JOB_SIDE_EDGE, JOB_SIDE_FAILED, JOB_SIDE_DONE, 0, false, true, NAN,
         "why: local started too, the edge's answer was taken"},
        {JOB_EDGE, JOB_SIDE_LOCAL, JOB_SIDE_DONE, JOB_SIDE_FAILED, 0, true, true, 0.9,
         "why: local started with it and answered first"},
        {JOB_EDGE, JOB_SIDE_LOCAL, JOB_SIDE_DONE, JOB_SIDE_FAILED, 0, false, true, 0.9,
         "why: no answer by the last moment for a local run, local took over"},
        {JOB_EDGE, JOB_SIDE_LOCAL, JOB_SIDE_DONE, JOB_SIDE_FAILED, TANDEM_ENOROUTE, false, true,
         0.9, "why: the edge failed ("},
        {JOB_LOCAL, JOB_SIDE_LOCAL, JOB_SIDE_DONE, JOB_SIDE_IDLE, 0, false, false, 0.9, "why"}};

    (void)state;
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        const struct ending *ending = &endings[i];
        struct decision decision = {.reason = "why", .confidence = ending->confidence};
        struct job job = {.plan = {.route = ending->route, .race = ending->race, .threshold = 0.7},
                          .side = {ending->local, ending->edge},
                          .error = {0, ending->edge_error},
                          .hedged = ending->hedged};
        const struct job_action end = {.kind = JOB_DELIVER, .side = ending->by};
        const size_t bytes = strlen(ending->said);

        decision_end(&decision, &job, &end);
        if (ending->said[bytes - 1] == '(') { /* the error's own text follows */
            assert_memory_equal(decision.reason, ending->said, bytes);
        } else {
            assert_string_equal(decision.reason, ending->said);
        }
    }
}

static void test_errors_and_long_reasons(void **state)
{
    struct decision decision = {.reason = "why", .confidence = 0.6};
    const struct job job = {.plan = {.route = JOB_CASCADE, .threshold = 0.7},
                            .side = {JOB_SIDE_DONE, JOB_SIDE_IDLE}};

    (void)state;
    decision_end(&decision, &job, &(struct job_action){.kind = JOB_FAIL, .error = TANDEM_ELATE});
    assert_string_equal(decision.reason, "why");
    memset(decision.reason, 'x', sizeof(decision.reason) - 4);
    decision_end(&decision, &job, &(struct job_action){.kind = JOB_DELIVER});
    assert_int_equal(strlen(decision.reason), sizeof(decision.reason) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_ending),
                                       cmocka_unit_test(test_errors_and_long_reasons)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
