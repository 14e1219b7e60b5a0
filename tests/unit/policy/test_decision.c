/* What a decision says after the end: why the delivered answer is that one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/policy/decision.h"
#include "common/base/clock.h"
#include "common/base/error.h"

#include <math.h>
#include <string.h>

#define MS       NS_PER_MS
#define ASKED_NS (5 * MS)

/* `now_ms`: after the edge was asked. */
struct ending {
    enum job_route route;
    enum job_side by;
    enum job_side_state local, edge;
    int local_error, edge_error;
    bool race, hedged, partial, gone;
    double confidence, threshold; /* threshold 0: 0.7 */
    int64_t now_ms, patience_ms, insure_ms;
    uint32_t doubt_tokens;
    double doubt;
    const char *refused; /* by a budget */
    const char *said;
};

#define LOCAL   .by = JOB_SIDE_LOCAL
#define EDGE    .by = JOB_SIDE_EDGE
#define CASCADE .route = JOB_CASCADE
#define ALONE   .route = JOB_EDGE
#define DONE    JOB_SIDE_DONE
#define FAILED  JOB_SIDE_FAILED
#define IDLE    JOB_SIDE_IDLE

static const struct ending endings[] = {
    {CASCADE, LOCAL, .local = DONE, .edge = FAILED, .edge_error = TANDEM_ENOROUTE, .gone = true,
     .confidence = 0.63,
     .said = "why: kept at 0.63 < 0.70, the edge failed (its connection was lost)"},
    {ALONE, LOCAL, .local = DONE, .edge = FAILED, .edge_error = TANDEM_ENOROUTE, .gone = true,
     .said = "why: the edge failed (its connection was lost), local took over"},
    {CASCADE, LOCAL, .local = DONE, .edge = IDLE, .confidence = 0.91,
     .said = "why: sure enough, 0.91 >= 0.70"},
    {CASCADE, LOCAL, .local = DONE, .edge = FAILED, .race = true, .confidence = 0.91,
     .said = "why: sure enough, 0.91 >= 0.70"},
    {CASCADE, LOCAL, .local = DONE, .edge = IDLE, .confidence = 0.63,
     .said = "why: kept at 0.63 < 0.70, the edge would miss the deadline"},
    {CASCADE, LOCAL, .local = DONE, .edge = FAILED, .edge_error = TANDEM_EBUSY, .confidence = 0.63,
     .said = "why: kept at 0.63 < 0.70, the edge failed ("},
    {CASCADE, LOCAL, .local = DONE, .edge = FAILED, .edge_error = TANDEM_ENOROUTE,
     .refused = "byte budget of this hour is used up", .confidence = 0.63,
     .said = "why: kept at 0.63 < 0.70, the edge failed (byte budget of this hour is used up)"},
    {CASCADE, LOCAL, .local = DONE, .edge = FAILED, .confidence = 0.63, .now_ms = 295,
     .said = "why: kept at 0.63 < 0.70, the edge had not answered in the 295 ms that the deadline "
             "left"},
    {CASCADE, LOCAL, .local = DONE, .edge = FAILED, .confidence = 0.63, .now_ms = 54,
     .patience_ms = 53,
     .said = "why: kept at 0.63 < 0.70, the edge was given up after 54 ms as not worth waiting "
             "for"},
    {CASCADE, LOCAL, .local = DONE, .edge = FAILED, .confidence = 0.999, .threshold = 1,
     .now_ms = 54, .patience_ms = 53,
     .said = "why: kept though not sure, the edge was given up after 54 ms as not worth waiting "
             "for"},
    {CASCADE, LOCAL, .local = DONE, .edge = FAILED, .confidence = 0.6996, .now_ms = 54,
     .patience_ms = 53,
     .said = "why: kept at 0.6996 < 0.7000, the edge was given up after 54 ms as not worth waiting "
             "for"},
    {CASCADE, LOCAL, .local = DONE, .edge = IDLE, .partial = true, .confidence = 0.9,
     .said = "why: kept though cut short, the edge would miss the deadline"},
    {CASCADE, LOCAL, .local = DONE, .edge = DONE, .confidence = 0.63,
     .said = "why: kept at 0.63 < 0.70, the deadline cut the edge's answer short"},
    {CASCADE, EDGE, .local = DONE, .edge = DONE, .confidence = 0.63,
     .said = "why: not sure, 0.63 < 0.70, the edge was asked"},
    {CASCADE, EDGE, .local = FAILED, .edge = DONE, .confidence = 0.21, .threshold = 0.8,
     .doubt_tokens = 5, .doubt = 0.21,
     .said = "why: not sure after 5 tokens, 0.21 < 0.80, the edge was asked"},
    {CASCADE, EDGE, .local = DONE, .edge = DONE, .confidence = 0.02, .threshold = 0.8,
     .doubt_tokens = 1, .doubt = 0.7961,
     .said = "why: not sure after 1 token, 0.7961 < 0.8000, the edge was asked"},
    {CASCADE, LOCAL, .local = DONE, .edge = FAILED, .edge_error = TANDEM_EBUSY, .confidence = 0.02,
     .doubt_tokens = 5, .doubt = 0.21, .said = "why: kept at 0.02 < 0.70, the edge failed ("},
    {CASCADE, EDGE, .local = DONE, .edge = DONE, .race = true, .confidence = 0.63,
     .said = "why: not sure, 0.63 < 0.70, the edge's answer was taken"},
    {CASCADE, EDGE, .local = DONE, .edge = DONE, .confidence = 0.66, .threshold = 1,
     .said = "why: no local answer counts as sure here, the edge was asked"},
    {CASCADE, EDGE, .local = DONE, .edge = DONE, .partial = true, .confidence = 0.9,
     .said = "why: the deadline cut the local answer short, the edge was asked"},
    {CASCADE, EDGE, .local = FAILED, .edge = DONE, .race = true, .confidence = NAN,
     .said = "why: the edge answered first"},
    {CASCADE, EDGE, .local = FAILED, .edge = DONE, .local_error = TANDEM_EIO, .confidence = NAN,
     .said = "why: local failed ("},
    {ALONE, EDGE, .local = IDLE, .edge = DONE, .said = "why"},
    {ALONE, EDGE, .local = FAILED, .edge = DONE, .hedged = true,
     .said = "why: local started too, the edge's answer was taken"},
    {ALONE, LOCAL, .local = DONE, .edge = FAILED, .race = true, .hedged = true,
     .said = "why: local started with it and answered first"},
    {ALONE, LOCAL, .local = DONE, .edge = FAILED, .hedged = true, .insure_ms = 60,
     .said = "why: no answer of the edge in 60 ms, local took over"},
    {ALONE, LOCAL, .local = DONE, .edge = FAILED, .hedged = true,
     .said = "why: no answer of the edge in time, local took over"},
    {ALONE, LOCAL, .local = DONE, .edge = DONE, .hedged = true, .race = true,
     .said = "why: the deadline cut the edge's answer short, the local one was whole"},
    {ALONE, LOCAL, .local = DONE, .edge = FAILED, .edge_error = TANDEM_ENOROUTE, .hedged = true,
     .said = "why: the edge failed ("},
    {.route = JOB_LOCAL, LOCAL, .local = DONE, .edge = IDLE, .confidence = 0.9, .said = "why"}};

static struct job job_make(const struct ending *ending)
{
    return (struct job){
        .plan = {.route = ending->route,
                 .race = ending->race,
                 .threshold = ending->threshold > 0 ? ending->threshold : 0.7,
                 .patience_ns = ending->patience_ms * MS,
                 .insure_at_ns = ending->insure_ms ? ASKED_NS + ending->insure_ms * MS : 0},
        .side = {ending->local, ending->edge},
        .error = {ending->local_error, ending->edge_error},
        .partial = {ending->partial, false},
        .asked_ns = ASKED_NS,
        .edge_gone = ending->gone,
        .doubt_tokens = ending->doubt_tokens,
        .doubt = ending->doubt,
        .hedged = ending->hedged};
}

static void test_every_ending(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        const struct ending *ending = &endings[i];
        struct decision decision = {.reason = "why", .confidence = ending->confidence};
        const struct job job = job_make(ending);
        const struct job_action end = {.kind = JOB_DELIVER, .side = ending->by};
        const size_t bytes = strlen(ending->said);

        strcpy(decision.edge_refused, ending->refused ? ending->refused : "");
        decision_end(&decision, &job, &end, ASKED_NS + ending->now_ms * MS);
        if (ending->said[bytes - 1] == '(') { /* the error's own text follows */
            assert_memory_equal(decision.reason, ending->said, bytes);
        } else {
            assert_string_equal(decision.reason, ending->said);
        }
    }
}

/* Stayed: delivered without waiting for the edge, also where that had been asked at once. */
static void test_stayed(void **state)
{
    static const struct {
        struct ending ending;
        bool stayed;
    } cases[] = {
        {{CASCADE, LOCAL, .local = DONE, .edge = IDLE, .confidence = 0.9}, true},
        {{CASCADE, LOCAL, .local = DONE, .edge = FAILED, .race = true, .confidence = 0.9}, true},
        {{CASCADE, LOCAL, .local = DONE, .edge = IDLE, .confidence = 0.6}, true},
        {{CASCADE, LOCAL, .local = DONE, .edge = FAILED, .confidence = 0.6}, false},
        {{CASCADE, LOCAL, .local = DONE, .edge = FAILED, .partial = true, .confidence = 0.9},
         false},
        {{CASCADE, EDGE, .local = DONE, .edge = DONE, .confidence = 0.6}, false},
        {{CASCADE, EDGE, .local = FAILED, .edge = DONE, .confidence = NAN}, false}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct decision decision = {.confidence = cases[i].ending.confidence};
        const struct job job = job_make(&cases[i].ending);
        const struct job_action end = {.kind = JOB_DELIVER, .side = cases[i].ending.by};

        assert_int_equal(decision_stayed(&decision, &job, &end), cases[i].stayed);
    }
}

/* Of one that failed the error says most, but not what became of the edge. */
static void test_failed(void **state)
{
    static const struct {
        struct ending ending;
        int error;
        const char *said;
    } cases[] = {
        {{ALONE, .local = IDLE, .edge = FAILED, .edge_error = TANDEM_ENOROUTE, .gone = true},
         TANDEM_ENOROUTE,
         "why: the edge failed (its connection was lost)"},
        {{ALONE, .local = FAILED, .edge = FAILED, .edge_error = TANDEM_EBUSY},
         TANDEM_EIO,
         "why: the edge failed ("},
        {{ALONE, .local = IDLE, .edge = FAILED, .edge_error = TANDEM_EBUSY}, TANDEM_EBUSY, "why"},
        {{ALONE, .local = IDLE, .edge = FAILED}, TANDEM_ELATE, "why"}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct decision decision = {.reason = "why", .confidence = NAN};
        const struct job job = job_make(&cases[i].ending);

        decision_end(&decision, &job,
                     &(struct job_action){.kind = JOB_FAIL, .error = cases[i].error}, 0);
        assert_memory_equal(decision.reason, cases[i].said, strlen(cases[i].said));
        assert_true(decision.reason[strlen(cases[i].said)] == '\0' ||
                    strchr(cases[i].said, '\0')[-1] == '(');
    }
}

/* Of a question the reason is the same whatever the answer was. */
static void test_question_tells_no_answer(void **state)
{
    static const struct {
        struct ending ending;
        double probability;
    } cases[] = {
        {{CASCADE, LOCAL, .local = DONE, .edge = IDLE, .said = "why: sure enough of yes or no"},
         0.02},
        {{CASCADE, LOCAL, .local = DONE, .edge = IDLE, .said = "why: sure enough of yes or no"},
         0.91},
        {{CASCADE, LOCAL, .local = DONE, .edge = IDLE,
          .said = "why: kept though not sure enough of yes or no, the edge would miss the "
                  "deadline"},
         0.3},
        {{CASCADE, EDGE, .local = DONE, .edge = DONE,
          .said = "why: not sure enough of yes or no, the edge was asked"},
         0.3}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct decision decision = {
            .reason = "why",
            .confidence = fmax(cases[i].probability, 1 - cases[i].probability),
            .question = {
                .label = "cat", .probability = cases[i].probability, .low = 0.05, .high = 0.7}};
        struct job job = job_make(&cases[i].ending);

        job.plan.stay_below = 0.05;
        decision_end(&decision, &job,
                     &(struct job_action){.kind = JOB_DELIVER, .side = cases[i].ending.by},
                     ASKED_NS);
        assert_string_equal(decision.reason, cases[i].ending.said);
    }
}

/* What found nothing has no confidence of its own: the reason says how such answers are believed to
 * be, and no threshold. */
static void test_nothing_was_found(void **state)
{
    static const struct {
        struct ending ending;
        bool stays; /* what found nothing */
        const char *said;
    } cases[] = {
        {{CASCADE, LOCAL, .local = DONE, .edge = IDLE},
         true,
         "why: sure enough, found nothing, believed wrong 12 % of such times"},
        {{CASCADE, LOCAL, .local = DONE, .edge = IDLE, .threshold = 1},
         true,
         "why: sure enough, found nothing, believed wrong 12 % of such times"},
        {{CASCADE, EDGE, .local = DONE, .edge = DONE},
         false,
         "why: found nothing, believed wrong 12 % of such times, the edge was asked"},
        {{CASCADE, EDGE, .local = DONE, .edge = DONE, .race = true},
         false,
         "why: found nothing, believed wrong 12 % of such times, the edge's answer was taken"},
        {{CASCADE, LOCAL, .local = DONE, .edge = IDLE},
         false,
         "why: kept though it found nothing, believed wrong 12 % of such times, the edge would "
         "miss the deadline"},
        {{CASCADE, LOCAL, .local = DONE, .edge = FAILED, .now_ms = 54, .patience_ms = 53},
         false,
         "why: kept though it found nothing, believed wrong 12 % of such times, the edge was given "
         "up after 54 ms as not worth waiting for"}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct decision decision = {.reason = "why", .confidence = 0.88, .threshold = 0.7};
        struct job job = job_make(&cases[i].ending);
        const struct job_action end = {.kind = JOB_DELIVER, .side = cases[i].ending.by};

        job.plan.stay_below = cases[i].stays ? 0 : CONFIDENCE_NOTHING;
        decision_found(&decision, false);
        assert_true(isnan(decision.threshold));
        decision_end(&decision, &job, &end, ASKED_NS + cases[i].ending.now_ms * MS);
        assert_string_equal(decision.reason, cases[i].said);
    }
}

/* What found something is as any other answer; that none counts as sure is said only where nothing
 * found is none either. */
static void test_something_was_found(void **state)
{
    static const struct ending stayed = {CASCADE, LOCAL, .local = DONE, .edge = IDLE},
                               asked = {CASCADE, EDGE, .local = DONE, .edge = DONE, .threshold = 1};
    const struct job_action local = {.kind = JOB_DELIVER, .side = JOB_SIDE_LOCAL},
                            edge = {.kind = JOB_DELIVER, .side = JOB_SIDE_EDGE};
    struct decision decision = {.reason = "why", .confidence = 0.88, .threshold = 0.7};
    struct job job = job_make(&stayed);

    (void)state;
    decision_found(&decision, true);
    assert_true(decision.threshold == 0.7);
    decision_end(&decision, &job, &local, ASKED_NS);
    assert_string_equal(decision.reason, "why: sure enough, 0.88 >= 0.70");
    job = job_make(&asked);
    strcpy(decision.reason, "why");
    decision_end(&decision, &job, &edge, ASKED_NS);
    assert_string_equal(decision.reason, "why: not sure, 0.88 < 1.00, the edge was asked");
    job.plan.stay_below = CONFIDENCE_NOTHING;
    strcpy(decision.reason, "why");
    decision_end(&decision, &job, &edge, ASKED_NS);
    assert_string_equal(decision.reason,
                        "why: no local answer counts as sure here, the edge was asked");
}

static void test_errors_and_long_reasons(void **state)
{
    struct decision decision = {.reason = "why", .confidence = 0.6};
    const struct job job = {.plan = {.route = JOB_CASCADE, .threshold = 0.7},
                            .side = {JOB_SIDE_DONE, JOB_SIDE_IDLE}};

    (void)state;
    decision_end(&decision, &job, &(struct job_action){.kind = JOB_FAIL, .error = TANDEM_ELATE}, 0);
    assert_string_equal(decision.reason, "why");
    memset(decision.reason, 'x', sizeof(decision.reason) - 4);
    decision_end(&decision, &job, &(struct job_action){.kind = JOB_DELIVER}, 0);
    assert_int_equal(strlen(decision.reason), sizeof(decision.reason) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_ending),
                                       cmocka_unit_test(test_stayed),
                                       cmocka_unit_test(test_failed),
                                       cmocka_unit_test(test_question_tells_no_answer),
                                       cmocka_unit_test(test_nothing_was_found),
                                       cmocka_unit_test(test_something_was_found),
                                       cmocka_unit_test(test_errors_and_long_reasons)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
