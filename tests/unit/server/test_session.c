/* test_session.c: every event in every state of a request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/error.h"
#include "server/session.h"

#define DEADLINE 1000

/* A text request that was brought to `state` with `tokens` generated. */
static struct session bring(enum session_state state, uint32_t tokens, int64_t deadline_ns)
{
    static const enum session_event way[] = {SESSION_INPUT, SESSION_STEP, SESSION_PREPARED,
                                             SESSION_STEP};
    struct session session;

    session_init(&session, true, deadline_ns);
    for (unsigned i = 0; i < (unsigned)state; i++) {
        (void)session_event(&session, way[i], 0, 0);
    }
    assert_int_equal(session.state, state);
    session.tokens = tokens;
    return session;
}

static bool is_held(enum session_state state)
{
    return state == SESSION_PREPARING || state == SESSION_RUNNING;
}

static void expect(struct session_actions actions, uint32_t mask, int error, bool partial)
{
    assert_int_equal(actions.mask, mask);
    assert_int_equal(actions.error, error);
    assert_int_equal(actions.partial, partial);
}

static void test_text_runs_through(void **state)
{
    struct session s = bring(SESSION_RECEIVING, 0, DEADLINE);

    (void)state;
    expect(session_event(&s, SESSION_INPUT, 0, 1), SESSION_PREPARE, 0, false);
    expect(session_event(&s, SESSION_STEP, 0, 2), 0, 0, false);
    expect(session_event(&s, SESSION_PREPARED, 0, 2), SESSION_ENQUEUE, 0, false);
    expect(session_event(&s, SESSION_STEP, 0, 3), 0, 0, false);
    expect(session_event(&s, SESSION_STEPPED, 0, 4), SESSION_ENQUEUE, 0, false);
    expect(session_event(&s, SESSION_STEP, 0, 5), 0, 0, false);
    expect(session_event(&s, SESSION_FINISHED, 0, 6), SESSION_SEND_RESULT | SESSION_RELEASE, 0,
           false);
    assert_int_equal(s.state, SESSION_ENDED);
}

static void test_picture_runs_through(void **state)
{
    struct session s;

    (void)state;
    session_init(&s, false, 0);
    expect(session_event(&s, SESSION_INPUT, 0, 1), SESSION_ENQUEUE, 0, false);
    expect(session_event(&s, SESSION_STEP, 0, 2), 0, 0, false);
    expect(session_event(&s, SESSION_FINISHED, 0, 3), SESSION_SEND_RESULT | SESSION_RELEASE, 0,
           false);
}

static void test_cancel_and_gone_everywhere(void **state)
{
    static const enum session_event events[] = {SESSION_CANCEL, SESSION_GONE};

    (void)state;
    for (unsigned e = 0; e < 2; e++) {
        for (enum session_state at = SESSION_RECEIVING; at <= SESSION_RUNNING; at++) {
            struct session s = bring(at, 3, DEADLINE);

            /* Nothing is sent; held memory waits for the compute thread. */
            expect(session_event(&s, events[e], 0, 1), is_held(at) ? 0 : SESSION_RELEASE, 0, false);
            assert_int_equal(s.state, is_held(at) ? SESSION_LEAVING : SESSION_ENDED);
            if (is_held(at)) {
                expect(session_event(&s, SESSION_DEADLINE, 0, DEADLINE), 0, 0, false);
                expect(session_event(&s, SESSION_CANCEL, 0, 2), 0, 0, false);
                expect(session_event(&s, SESSION_STEPPED, 0, 3), SESSION_RELEASE, 0, false);
            }
            expect(session_event(&s, SESSION_FINISHED, 0, 4), 0, 0, false); /* ended is ended */
        }
    }
}

static void test_deadline_everywhere(void **state)
{
    (void)state;
    for (enum session_state at = SESSION_RECEIVING; at <= SESSION_RUNNING; at++) {
        for (uint32_t tokens = 0; tokens < 2; tokens++) {
            struct session s = bring(at, tokens, DEADLINE);
            const uint32_t release = is_held(at) ? 0 : SESSION_RELEASE;

            expect(session_event(&s, SESSION_DEADLINE, 0, DEADLINE - 1), 0, 0, false); /* not yet */
            assert_int_equal(s.state, at);
            if (tokens > 0) {
                expect(session_event(&s, SESSION_DEADLINE, 0, DEADLINE),
                       release | SESSION_SEND_RESULT, 0, true);
            } else {
                expect(session_event(&s, SESSION_DEADLINE, 0, DEADLINE),
                       release | SESSION_SEND_ERROR, TANDEM_ELATE, false);
            }
            if (is_held(at)) {
                expect(session_event(&s, SESSION_FAILED, TANDEM_EIO, DEADLINE), SESSION_RELEASE, 0,
                       false); /* no second word */
            }
        }
    }
}

static void test_deadline_is_seen_when_a_step_returns(void **state)
{
    struct session s = bring(SESSION_RUNNING, 2, DEADLINE);

    (void)state;
    expect(session_event(&s, SESSION_STEPPED, 0, DEADLINE), SESSION_SEND_RESULT | SESSION_RELEASE,
           0, true);
    s = bring(SESSION_QUEUED, 0, DEADLINE);
    expect(session_event(&s, SESSION_STEP, 0, DEADLINE), SESSION_SEND_ERROR | SESSION_RELEASE,
           TANDEM_ELATE, false);
    /* A whole answer that is a moment late is still the answer. */
    s = bring(SESSION_RUNNING, 2, DEADLINE);
    expect(session_event(&s, SESSION_FINISHED, 0, DEADLINE), SESSION_SEND_RESULT | SESSION_RELEASE,
           0, false);
}

static void test_picture_past_its_deadline_is_an_error(void **state)
{
    struct session s;

    (void)state;
    session_init(&s, false, DEADLINE);
    (void)session_event(&s, SESSION_INPUT, 0, 1);
    expect(session_event(&s, SESSION_DEADLINE, 0, DEADLINE), SESSION_SEND_ERROR | SESSION_RELEASE,
           TANDEM_ELATE, false);
}

static void test_failure_and_drain(void **state)
{
    (void)state;
    for (enum session_state at = SESSION_RECEIVING; at <= SESSION_RUNNING; at++) {
        struct session s = bring(at, 1, 0);

        expect(session_event(&s, SESSION_FAILED, TANDEM_EFORMAT, 1),
               SESSION_SEND_ERROR | SESSION_RELEASE, TANDEM_EFORMAT, false);
        s = bring(at, 1, 0);
        expect(session_event(&s, SESSION_DRAIN, 0, 1),
               SESSION_SEND_ERROR | (is_held(at) ? 0 : SESSION_RELEASE), TANDEM_EDRAINING, false);
    }
}

static void test_events_out_of_place_change_nothing(void **state)
{
    static const struct {
        enum session_state state;
        enum session_event event;
    } odd[] = {{SESSION_RECEIVING, SESSION_STEP},    {SESSION_RECEIVING, SESSION_PREPARED},
               {SESSION_PREPARING, SESSION_INPUT},   {SESSION_QUEUED, SESSION_STEPPED},
               {SESSION_QUEUED, SESSION_FINISHED},   {SESSION_RUNNING, SESSION_STEP},
               {SESSION_PREPARING, SESSION_FINISHED}};

    (void)state;
    for (unsigned i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        struct session s = bring(odd[i].state, 0, 0);

        expect(session_event(&s, odd[i].event, 0, 1), 0, 0, false);
        assert_int_equal(s.state, odd[i].state);
    }
    assert_string_equal(session_state_text(SESSION_LEAVING), "leaving");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_runs_through),
        cmocka_unit_test(test_picture_runs_through),
        cmocka_unit_test(test_cancel_and_gone_everywhere),
        cmocka_unit_test(test_deadline_everywhere),
        cmocka_unit_test(test_deadline_is_seen_when_a_step_returns),
        cmocka_unit_test(test_picture_past_its_deadline_is_an_error),
        cmocka_unit_test(test_failure_and_drain),
        cmocka_unit_test(test_events_out_of_place_change_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
