#include "tests/unit/wire/samples.h"

static void test_hello(void **state)
{
    char names[LIMIT_TASKS + 1][LIMIT_NAME_BYTES + 1] = {"objects", "commands"};
    uint32_t kinds[LIMIT_TASKS + 1] = {WIRE_CLASSIFY, WIRE_GENERATE};
    struct local_hello hello = {.version_low = 1,
                                .version_high = 1,
                                .software = "libtandem",
                                .tasks = names,
                                .kinds = kinds,
                                .task_count = 2};
    struct local_hello back;
    struct buf out = {0};

    (void)state;
    assert_int_equal(local_hello_pack(&hello, &out), 0);
    assert_int_equal(local_hello_unpack(out.data, out.bytes, &back), 0);
    assert_int_equal(back.task_count, 2);
    assert_string_equal(back.tasks[1], "commands");
    assert_string_equal(back.software, "libtandem");
    assert_int_equal(back.kinds[0], WIRE_CLASSIFY);
    assert_int_equal(back.kinds[1], WIRE_GENERATE);
    local_hello_fini(&back);
    hello.kinds = NULL; /* a daemon that does not say */
    buf_clear(&out);
    assert_int_equal(local_hello_pack(&hello, &out), 0);
    assert_int_equal(local_hello_unpack(out.data, out.bytes, &back), 0);
    assert_int_equal(back.task_count, 2);
    assert_int_equal(back.kinds[1], 0);
    local_hello_fini(&back);
    put_number(&out, 5, 1); /* a kind for each task, or for none */
    assert_int_equal(local_hello_unpack(out.data, out.bytes, &back), TANDEM_EPROTO);
    buf_clear(&out);
    put_number(&out, 1, 1);
    put_number(&out, 2, 1);
    put_text(&out, 4, "a b");
    assert_int_equal(local_hello_unpack(out.data, out.bytes, &back), TANDEM_EPROTO);
    buf_clear(&out);
    put_number(&out, 1, 1);
    put_number(&out, 2, 1);
    for (size_t i = 0; i <= LIMIT_TASKS; i++) {
        put_text(&out, 4, "a");
    }
    assert_int_equal(local_hello_unpack(out.data, out.bytes, &back), TANDEM_ETOOBIG);
    hello.task_count = LIMIT_TASKS + 1;
    assert_int_equal(local_hello_pack(&hello, &out), TANDEM_ETOOBIG);
    buf_fini(&out);
}

static void test_submit(void **state)
{
    const struct local_submit submit = sample_submit();
    struct local_submit back;
    struct buf out = {0};

    (void)state;
    assert_int_equal(local_submit_pack(&submit, &out), 0);
    assert_int_equal(local_submit_unpack(out.data, out.bytes, &back), 0);
    assert_string_equal(back.task, "objects");
    assert_string_equal(back.route, "edge:kitchen");
    assert_string_equal(back.session, "s-1");
    assert_int_equal(back.leaves_device, 1);
    assert_true(back.deliver_late && back.stream && back.has_picture && !back.memfd);
    assert_int_equal(back.capture_age_us, 5);
    assert_memory_equal(&back.picture, &submit.picture, sizeof(back.picture));
    for (size_t bytes = 0; bytes < out.bytes; bytes++) {
        (void)local_submit_unpack(out.data, bytes, &back);
    }
    buf_fini(&out);
}

static int submit_result(const char *route, uint64_t payload_bytes, bool memfd,
                         uint64_t leaves_device)
{
    struct local_submit back;
    struct buf out = {0};
    int result;

    put_text(&out, 1, "objects");
    put_number(&out, 3, payload_bytes);
    put_number(&out, 4, memfd);
    put_text(&out, 10, route);
    put_number(&out, 11, leaves_device);
    result = local_submit_unpack(out.data, out.bytes, &back);
    buf_fini(&out);
    return result;
}

static void test_submit_limits(void **state)
{
    static const char *const good[] = {"", "auto", "local", "edge", "cascade", "edge:a"};
    static const char *const bad[] = {"cloud", "edge:", "edge:a b", ":a", "local:x", "edge:a:b"};

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(submit_result(good[i], 1, false, 0), 0);
        assert_int_equal(submit_result(bad[i], 1, false, 0), TANDEM_EPROTO);
    }
    assert_int_equal(submit_result("", LIMIT_PAYLOAD_BYTES, false, 0), 0);
    assert_int_equal(submit_result("", LIMIT_PAYLOAD_BYTES + 1, false, 0), TANDEM_ETOOBIG);
    assert_int_equal(submit_result("", LIMIT_PAYLOAD_BYTES + 1, true, 0), 0);
    assert_int_equal(submit_result("", LIMIT_MEMFD_BYTES + 1, true, 0), TANDEM_ETOOBIG);
    assert_int_equal(submit_result("", 1, false, 2), TANDEM_ETOOBIG);
}

static void test_answer(void **state)
{
    static const uint32_t kinds[] = {WIRE_CLASSIFY, WIRE_DETECT, WIRE_GENERATE};
    struct local_answer answer = {.id = "42",
                                  .route = "cascade",
                                  .outcome_route = "edge:kitchen",
                                  .reason = "sure enough",
                                  .latency_us = 12345,
                                  .predicted_ms = -5,
                                  .met_deadline = true,
                                  .partial = true,
                                  .hedged = true};
    struct local_answer back;
    struct buf out = {0};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        answer.answer = sample_answer(kinds[i]);
        buf_clear(&out);
        assert_int_equal(local_answer_pack(&answer, &out), 0);
        assert_int_equal(local_answer_unpack(out.data, out.bytes, &back), 0);
        assert_answer_equal(&back.answer, &answer.answer);
        assert_string_equal(back.id, "42");
        assert_string_equal(back.route, "cascade");
        assert_string_equal(back.outcome_route, "edge:kitchen");
        assert_string_equal(back.reason, "sure enough");
        assert_int_equal(back.latency_us, 12345);
        assert_true(back.predicted_ms == -1); /* unknown */
        assert_true(back.met_deadline && back.partial && back.hedged);
        local_answer_fini(&back);
        for (size_t bytes = 0; bytes < out.bytes; bytes++) {
            if (local_answer_unpack(out.data, bytes, &back) == 0) {
                local_answer_fini(&back);
            }
        }
    }
    put_double(&out, 13, NAN);
    assert_int_equal(local_answer_unpack(out.data, out.bytes, &back), TANDEM_EPROTO);
    buf_fini(&out);
}

static void test_small_ones(void **state)
{
    struct answer_piece partial = {(const uint8_t *)"abc", 3, 1, true};
    struct local_error error = {.code = TANDEM_EGONE,
                                .text = "gone",
                                .id = "7",
                                .route = "local",
                                .reason = "x",
                                .latency_us = 9};
    struct answer_piece partial_back;
    struct local_error error_back;
    struct buf out = {0};
    char id[21];

    (void)state;
    assert_int_equal(local_accepted_pack("12345678901234567890", &out), 0);
    assert_int_equal(local_accepted_unpack(out.data, out.bytes, id), 0);
    assert_string_equal(id, "12345678901234567890");
    assert_int_equal(local_accepted_pack("12x", &out), TANDEM_EINVAL);
    buf_clear(&out);
    assert_int_equal(answer_piece_pack(&partial, &out), 0);
    assert_int_equal(answer_piece_unpack(out.data, out.bytes, &partial_back), 0);
    assert_memory_equal(partial_back.text, "abc", 4);
    assert_int_equal(partial_back.count, 1);
    assert_true(partial_back.restart);
    answer_piece_fini(&partial_back);
    buf_clear(&out);
    assert_int_equal(local_error_pack(&error, &out), 0);
    assert_int_equal(local_error_unpack(out.data, out.bytes, &error_back), 0);
    assert_int_equal(error_back.code, TANDEM_EGONE);
    assert_string_equal(error_back.route, "local");
    assert_string_equal(error_back.id, "7");
    error.code = 0;
    assert_int_equal(local_error_pack(&error, &out), TANDEM_EINVAL);
    assert_int_equal(local_error_unpack(out.data, 0, &error_back), TANDEM_EPROTO); /* code 0 */
    buf_fini(&out);
}

static void test_feedback(void **state)
{
    static const uint8_t no_id[] = {0x10, 1}, letters[] = {0x0a, 2, '1', 'x', 0x10, 1};
    struct local_feedback feedback = {.id = "18446744073709551615", .correct = true}, back;
    struct buf out = {0};

    (void)state;
    for (int correct = 0; correct <= 1; correct++) {
        buf_clear(&out);
        feedback.correct = correct != 0;
        assert_int_equal(local_feedback_pack(&feedback, &out), 0);
        assert_int_equal(local_feedback_unpack(out.data, out.bytes, &back), 0);
        assert_string_equal(back.id, feedback.id);
        assert_int_equal(back.correct, correct);
    }
    feedback.id[0] = '\0';
    assert_int_equal(local_feedback_pack(&feedback, &out), TANDEM_EINVAL);
    assert_int_equal(local_feedback_unpack(no_id, sizeof(no_id), &back), TANDEM_EPROTO);
    assert_int_equal(local_feedback_unpack(letters, sizeof(letters), &back), TANDEM_EPROTO);
    assert_int_equal(local_feedback_unpack(NULL, 0, &back), TANDEM_EPROTO);
    buf_fini(&out);
}

static void test_answer_copy(void **state)
{
    static const uint32_t kinds[] = {WIRE_CLASSIFY, WIRE_DETECT, WIRE_GENERATE};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        const struct answer from = sample_answer(kinds[i]);
        struct answer copy;

        assert_int_equal(answer_copy(&from, &copy), 0);
        assert_answer_equal(&copy, &from);
        assert_true(copy.text == NULL || copy.text != from.text);
        answer_fini(&copy);
        answer_fini(&copy); /* a zeroed one is fine */
    }
}

static void test_transcript(void **state)
{
    struct buf transcript = {0};
    enum turn_role role;
    const char *text;
    size_t offset = 0;
    size_t bytes;

    (void)state;
    assert_int_equal(transcript_append(&transcript, TURN_USER, "walk", 4), 0);
    assert_int_equal(transcript_append(&transcript, TURN_ANSWER, "", 0), 0);
    assert_int_equal(transcript_append(&transcript, TURN_USER, "", LIMIT_TEXT_BYTES + 1),
                     TANDEM_ETOOBIG);
    assert_int_equal(transcript.bytes, 14);
    assert_int_equal(
        transcript_next(transcript.data, transcript.bytes, &offset, &role, &text, &bytes), 0);
    assert_int_equal(role, TURN_USER);
    assert_int_equal(bytes, 4);
    assert_memory_equal(text, "walk", 4);
    assert_int_equal(
        transcript_next(transcript.data, transcript.bytes, &offset, &role, &text, &bytes), 0);
    assert_int_equal(role, TURN_ANSWER);
    assert_int_equal(bytes, 0);
    assert_int_equal(
        transcript_next(transcript.data, transcript.bytes, &offset, &role, &text, &bytes), 1);
    for (size_t cut = 1; cut < 9; cut++) {
        offset = 0;
        assert_int_equal(transcript_next(transcript.data, cut, &offset, &role, &text, &bytes),
                         TANDEM_EFORMAT);
        assert_int_equal(offset, 0);
    }
    offset = 0;
    transcript.data[0] = 3;
    assert_int_equal(
        transcript_next(transcript.data, transcript.bytes, &offset, &role, &text, &bytes),
        TANDEM_EFORMAT);
    transcript.data[0] = 1;
    le32_store(transcript.data + 1, UINT32_MAX);
    assert_int_equal(
        transcript_next(transcript.data, transcript.bytes, &offset, &role, &text, &bytes),
        TANDEM_EFORMAT);
    buf_fini(&transcript);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello),         cmocka_unit_test(test_submit),
        cmocka_unit_test(test_submit_limits), cmocka_unit_test(test_answer),
        cmocka_unit_test(test_small_ones),    cmocka_unit_test(test_feedback),
        cmocka_unit_test(test_answer_copy),   cmocka_unit_test(test_transcript),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
