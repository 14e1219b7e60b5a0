/* tandem_feedback against a daemon that takes it, refuses it, or says nothing. */
#include "fake_daemon.h"

#include "common/base/clock.h"

struct script {
    struct fake fake;
    enum { TAKE, REFUSE, SILENT, ANSWER } how;
    unsigned words;
    struct local_feedback said; /* the last one */
};

static void *serve(void *user)
{
    struct script *script = user;
    struct frame frame;

    (void)fake_accept_thread(&script->fake);
    while (fake_frame(&script->fake, &frame)) {
        struct buf header;

        if (frame.kind != FRAME_FEEDBACK ||
            local_feedback_unpack(frame.header, frame.header_bytes, &script->said) != 0) {
            abort();
        }
        script->words++;
        if (script->how == TAKE) {
            buf_init(&header, 0);
            if (buf_append(&header, frame.header, frame.header_bytes) != 0) {
                abort();
            }
            fake_send_header(&script->fake, FRAME_FEEDBACK, 0, frame.request_id, &header);
            buf_fini(&header);
        } else if (script->how == REFUSE) {
            fake_send_error(&script->fake, frame.request_id, TANDEM_ENOTFOUND, "too old", "");
        } else if (script->how == ANSWER) {
            fake_send_label(&script->fake, frame.request_id, "cup");
        }
    }
    return NULL;
}

static struct tandem *script_start(struct script *script)
{
    struct tandem *tandem;

    fake_start(&script->fake);
    assert_int_equal(pthread_create(&script->fake.thread, NULL, serve, script), 0);
    assert_int_equal(tandem_open(script->fake.path, &tandem), 0);
    return tandem;
}

static void script_stop(struct script *script, struct tandem *tandem)
{
    tandem_close(tandem);
    fake_greet_end(&script->fake);
    fake_stop(&script->fake);
}

static void test_taken(void **state)
{
    struct script script = {.how = TAKE};
    struct tandem *tandem = script_start(&script);

    (void)state;
    assert_int_equal(tandem_feedback(tandem, "18446744073709551615", 7), 0);
    assert_string_equal(script.said.id, "18446744073709551615");
    assert_true(script.said.correct);
    assert_int_equal(tandem_feedback(tandem, "17", 0), 0);
    assert_string_equal(script.said.id, "17");
    assert_false(script.said.correct);
    assert_int_equal(tandem_in_flight(tandem), 0);
    script_stop(&script, tandem);
    assert_int_equal(script.words, 2);
}

static void test_refused(void **state)
{
    static const char *const bad[] = {"", "x", "1x", "-1", " 1", "123456789012345678901"};
    struct script script = {.how = REFUSE};
    struct tandem *tandem = script_start(&script);

    (void)state;
    assert_int_equal(tandem_feedback(tandem, "17", 1), TANDEM_ENOTFOUND);
    assert_string_equal(tandem_last_error(tandem), "too old");
    assert_null(tandem_last_failure(tandem));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(tandem_feedback(tandem, bad[i], 1), TANDEM_EINVAL);
    }
    assert_int_equal(tandem_feedback(tandem, NULL, 1), TANDEM_EINVAL);
    script_stop(&script, tandem);
    assert_int_equal(script.words, 1);
}

/* An older daemon passes over what it does not know. */
static void test_silent(void **state)
{
    struct script script = {.how = SILENT};
    struct tandem *tandem = script_start(&script);
    const int64_t start_ns = clock_now_ns();

    (void)state;
    assert_int_equal(tandem_feedback(tandem, "17", 1), TANDEM_ETIMEDOUT);
    assert_true(clock_now_ns() - start_ns >= LIMIT_LIB_GRACE_MS * NS_PER_MS);
    script_stop(&script, tandem);
}

static void test_answered_like_a_request(void **state)
{
    struct script script = {.how = ANSWER};
    struct tandem *tandem = script_start(&script);

    (void)state;
    assert_int_equal(tandem_feedback(tandem, "17", 1), TANDEM_EPROTO);
    script_stop(&script, tandem);
}

static void feedback_inside(struct tandem *tandem, uint64_t request_id, int error,
                            struct tandem_answer *answer, void *user)
{
    (void)request_id;
    (void)answer;
    *(int *)user = error != 0 ? tandem_feedback(tandem, "17", 1) : 1;
}

/* tandem_close ends the request with its callback. */
static void test_not_inside_a_callback(void **state)
{
    struct script script = {.how = TAKE};
    struct tandem_request request;
    struct tandem *tandem;
    int inside = 1;

    (void)state;
    fake_start(&script.fake);
    tandem = fake_open(&script.fake);
    tandem_request_init(&request, "objects");
    request.text = "walk";
    assert_int_equal(tandem_submit(tandem, &request, feedback_inside, NULL, &inside, NULL), 0);
    tandem_close(tandem);
    fake_stop(&script.fake);
    assert_int_equal(inside, TANDEM_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_silent),
        cmocka_unit_test(test_answered_like_a_request),
        cmocka_unit_test(test_not_inside_a_callback),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
