/* What the library says and does when the daemon is absent, dies, is silent, or speaks nonsense:
 * every accepted request ends once, and the handle is good again at the next call. */
#include "fake_daemon.h"

#include "common/base/clock.h"

#include <signal.h>
#include <sys/wait.h>

static int64_t fake_now_ns;

static int64_t fake_clock(void *user)
{
    (void)user;
    return fake_now_ns;
}

static void clock_stop(void)
{
    fake_now_ns = clock_now_ns();
    clock_set_fake(fake_clock, NULL);
}

static void test_nobody(void **state)
{
    struct tandem *tandem;
    struct fake fake;
    struct tandem_request request;
    struct end end = {0};

    (void)state;
    assert_int_equal(tandem_open("/tmp/tandem-test-none/app.sock", &tandem), TANDEM_EGONE);
    assert_non_null(tandem);
    assert_non_null(strstr(tandem_last_error(tandem), "not running"));
    assert_int_equal(tandem_fd(tandem), -1);
    assert_int_equal(tandem_process(tandem), 0);
    tandem_request_init(&request, "commands");
    request.text = "walk";
    assert_int_equal(tandem_submit(tandem, &request, end_note, NULL, &end, NULL), TANDEM_EGONE);
    assert_int_equal(end.count, 0);
    tandem_close(tandem);

    fake_start(&fake); /* a socket file that nobody listens on any more */
    close(fake.listener);
    assert_int_equal(tandem_open(fake.path, &tandem), TANDEM_EGONE);
    assert_non_null(strstr(tandem_last_error(tandem), "not running"));
    tandem_close(tandem);
    fake.listener = -1;
    fake_stop(&fake);
}

/* The daemon comes up after the handle was made: the next call finds it. */
static void test_late_daemon(void **state)
{
    struct tandem *tandem;
    struct fake fake;
    struct end end = {0};
    int listener;

    (void)state;
    fake_start(&fake);
    listener = fake.listener;
    assert_int_equal(rename(fake.path, "/tmp/tandem-test-late.sock"), 0);
    assert_int_equal(tandem_open(fake.path, &tandem), TANDEM_EGONE);
    assert_int_equal(rename("/tmp/tandem-test-late.sock", fake.path), 0);
    assert_int_equal(listener, fake.listener);
    fake_greet_begin(&fake);
    (void)submit_text(tandem, "walk", &end);
    fake_greet_end(&fake);
    fake_send_label(&fake, fake_take(&fake), "x");
    wait_end(tandem, &end);
    assert_int_equal(end.error, 0);
    end_fini(&end);
    tandem_close(tandem);
    fake_stop(&fake);
}

/* After a fault: submits again and expects a new connection and an answer on it. */
static void expect_recovery(struct fake *fake, struct tandem *tandem)
{
    struct end end = {0};

    fake_greet_begin(fake);
    (void)submit_text(tandem, "again", &end);
    fake_greet_end(fake);
    fake_send_label(fake, fake_take(fake), "x");
    wait_end(tandem, &end);
    assert_int_equal(end.count, 1);
    assert_int_equal(end.error, 0);
    end_fini(&end);
}

static void test_death_during_request(void **state)
{
    unsigned fds = open_fds();
    struct fake fake;
    struct tandem *tandem;
    struct end ends[3] = {{0}};
    uint64_t first;

    (void)state;
    fake_start(&fake);
    tandem = fake_open(&fake);
    first = submit_text(tandem, "walk", &ends[0]);
    (void)submit_text(tandem, "run", &ends[1]);
    (void)submit_text(tandem, "jump", &ends[2]);
    for (int i = 0; i < 3; i++) {
        fake_take(&fake);
    }
    fake_send_label(&fake, first, "x"); /* what was said before the end still counts */
    fake_hang_up(&fake);
    ends_seen = 0;
    assert_int_equal(tandem_wait(tandem, 1000), TANDEM_EGONE);
    assert_int_equal(ends[0].error, 0);
    assert_int_equal(ends[1].error, TANDEM_EGONE);
    assert_int_equal(ends[2].error, TANDEM_EGONE);
    assert_int_equal(ends[2].order, 3);
    assert_non_null(strstr(tandem_last_error(tandem), "went away"));
    assert_null(tandem_last_failure(tandem));
    assert_int_equal(tandem_fd(tandem), -1);
    assert_int_equal(tandem_in_flight(tandem), 0);
    assert_int_equal(tandem_process(tandem), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ends[i].count, 1);
        end_fini(&ends[i]);
    }
    expect_recovery(&fake, tandem);
    tandem_close(tandem);
    fake_stop(&fake);
    assert_int_equal(open_fds(), fds);
}

/* The daemon was restarted while nobody asked: the next request must not pay for it. */
static void test_death_while_idle(void **state)
{
    struct fake fake;
    struct tandem *tandem;

    (void)state;
    fake_start(&fake);
    tandem = fake_open(&fake);
    fake_hang_up(&fake);
    expect_recovery(&fake, tandem);
    fake_send_header(&fake, FRAME_GOODBYE, 0, 0, NULL); /* with a goodbye, unread */
    fake_hang_up(&fake);
    expect_recovery(&fake, tandem);
    fake_hang_up(&fake);
    assert_int_equal(tandem_process(tandem), TANDEM_EGONE); /* as a foreign loop would see it */
    expect_recovery(&fake, tandem);
    tandem_close(tandem);
    fake_stop(&fake);
}

/* With a request under way, too, the next one finds the new daemon; the old one ends on its own. */
static void test_death_before_submit(void **state)
{
    struct fake fake;
    struct tandem *tandem;
    struct end lost = {0}, end = {0};

    (void)state;
    fake_start(&fake);
    tandem = fake_open(&fake);
    (void)submit_text(tandem, "walk", &lost);
    fake_take(&fake);
    fake_greet_begin(&fake);
    (void)submit_text(tandem, "again", &end);
    fake_greet_end(&fake);
    assert_int_equal(lost.count, 0); /* callbacks run in process, not in submit */
    assert_int_equal(tandem_timeout_ms(tandem), 0);
    fake_send_label(&fake, fake_take(&fake), "x");
    wait_end(tandem, &end);
    assert_int_equal(lost.count, 1);
    assert_int_equal(lost.error, TANDEM_EGONE);
    assert_int_equal(end.error, 0);
    end_fini(&end);
    tandem_close(tandem);
    fake_stop(&fake);
}

/* Dies while the handle still has much to write; with SIGPIPE at its default, which kills. */
static void test_death_during_write(void **state)
{
    char *text = malloc(LIMIT_TEXT_BYTES + (size_t)1);
    struct end ends[8] = {{0}};
    struct fake fake;
    struct tandem *tandem;

    (void)state;
    assert_non_null(text);
    signal(SIGPIPE, SIG_DFL);
    memset(text, 'x', LIMIT_TEXT_BYTES);
    text[LIMIT_TEXT_BYTES] = '\0';
    fake_start(&fake);
    tandem = fake_open(&fake);
    for (size_t i = 0; i < 8; i++) {
        (void)submit_text(tandem, text, &ends[i]);
    }
    assert_true(tandem_wants_write(tandem));
    fake_hang_up(&fake);
    assert_int_equal(tandem_process(tandem), TANDEM_EGONE);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(ends[i].count, 1);
        assert_int_equal(ends[i].error, TANDEM_EGONE);
    }
    assert_false(tandem_wants_write(tandem));
    free(text);
    expect_recovery(&fake, tandem);
    tandem_close(tandem);
    fake_stop(&fake);
}

static void send_junk(struct fake *fake)
{
    fake_send_bytes(fake, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
}

static void send_mandatory(struct fake *fake)
{
    fake_send_header(fake, 200, FRAME_FLAG_MANDATORY, 0, NULL);
}

static void send_never_made(struct fake *fake)
{
    fake_send_label(fake, 1000, "x");
}

static void send_second_hello(struct fake *fake)
{
    fake_send_hello(fake);
}

static void send_request(struct fake *fake)
{
    fake_send_header(fake, FRAME_REQUEST, 0, 1, NULL);
}

static void send_damaged_answer(struct fake *fake)
{
    struct buf header;

    buf_init(&header, 0);
    assert_int_equal(buf_append(&header, "\xff\xff\xff\xff\xff", 5), 0);
    fake_send_header(fake, FRAME_RESULT, 0, 1, &header);
    buf_fini(&header);
}

static void send_damaged_error(struct fake *fake)
{
    fake_send_header(fake, FRAME_ERROR, 0, 1, NULL); /* no code: 0 is no error */
}

static void send_huge(struct fake *fake)
{
    uint8_t prefix[FRAME_PREFIX_BYTES];
    struct frame frame = {
        .kind = FRAME_RESULT, .request_id = 1, .header_bytes = LIMIT_FRAME_HEADER_BYTES + 1};

    frame_prefix_store(&frame, prefix);
    fake_send_bytes(fake, prefix, sizeof(prefix));
}

static void test_nonsense(void **state)
{
    void (*const senders[])(struct fake *) = {
        send_junk,    send_mandatory,      send_never_made,    send_second_hello,
        send_request, send_damaged_answer, send_damaged_error, send_huge};

    (void)state;
    for (size_t i = 0; i < sizeof(senders) / sizeof(senders[0]); i++) {
        struct fake fake;
        struct tandem *tandem;
        struct end end = {0};

        fake_start(&fake);
        tandem = fake_open(&fake);
        (void)submit_text(tandem, "walk", &end);
        senders[i](&fake);
        assert_int_equal(tandem_wait(tandem, 1000), TANDEM_EPROTO);
        assert_int_equal(end.count, 1);
        assert_int_equal(end.error, TANDEM_EPROTO);
        assert_true(tandem_last_error(tandem)[0] != '\0');
        expect_recovery(&fake, tandem);
        tandem_close(tandem);
        fake_stop(&fake);
    }
}

static void test_truncated_frame(void **state)
{
    uint8_t prefix[FRAME_PREFIX_BYTES];
    struct frame frame = {.kind = FRAME_RESULT, .request_id = 1, .header_bytes = 100};
    struct fake fake;
    struct tandem *tandem;
    struct end end = {0};

    (void)state;
    fake_start(&fake);
    tandem = fake_open(&fake);
    (void)submit_text(tandem, "walk", &end);
    frame_prefix_store(&frame, prefix);
    fake_send_bytes(&fake, prefix, sizeof(prefix));
    assert_int_equal(tandem_process(tandem), 0);
    fake_hang_up(&fake);
    assert_int_equal(tandem_process(tandem), TANDEM_EGONE);
    assert_int_equal(end.error, TANDEM_EGONE);
    expect_recovery(&fake, tandem);
    tandem_close(tandem);
    fake_stop(&fake);
}

/* Frames of a later version that may be skipped are. */
static void test_unknown_optional(void **state)
{
    struct fake fake;
    struct tandem *tandem;
    struct end end = {0};
    uint64_t id;

    (void)state;
    fake_start(&fake);
    tandem = fake_open(&fake);
    id = submit_text(tandem, "walk", &end);
    fake_send_header(&fake, 200, 0, id, NULL);
    fake_send_header(&fake, FRAME_ACCEPTED, 0, id, NULL);
    fake_send_label(&fake, id, "x");
    fake_send_label(&fake, id, "twice"); /* over already: not news, and no harm */
    wait_end(tandem, &end);
    assert_int_equal(end.count, 1);
    assert_int_equal(end.error, 0);
    assert_int_equal(tandem_process(tandem), 0);
    end_fini(&end);
    tandem_close(tandem);
    fake_stop(&fake);
}

static void test_errors(void **state)
{
    struct fake fake;
    struct tandem *tandem;
    struct end end = {0};
    uint64_t id;

    (void)state;
    fake_start(&fake);
    tandem = fake_open(&fake);
    id = submit_text(tandem, "walk", &end);
    fake_send_error(&fake, id, TANDEM_ELATE, "the deadline passed", "42");
    wait_end(tandem, &end);
    assert_int_equal(end.error, TANDEM_ELATE);
    assert_null(end.answer);
    assert_string_equal(tandem_last_error(tandem), "the deadline passed");
    assert_non_null(tandem_last_failure(tandem));
    assert_string_equal(tandem_answer_id(tandem_last_failure(tandem)), "42");
    assert_string_equal(tandem_answer_route(tandem_last_failure(tandem)), "edge:hall");
    assert_string_equal(tandem_answer_outcome_route(tandem_last_failure(tandem)), "local");
    assert_string_equal(tandem_answer_reason(tandem_last_failure(tandem)), "fastest in time");
    assert_true(tandem_answer_latency_ms(tandem_last_failure(tandem)) == 1.5);
    end_fini(&end);
    id = submit_text(tandem, "walk", &end);
    fake_send_error(&fake, id, TANDEM_ENOTASK, "", "");
    wait_end(tandem, &end);
    assert_int_equal(end.error, TANDEM_ENOTASK);
    assert_string_equal(tandem_last_error(tandem), tandem_strerror(TANDEM_ENOTASK));
    assert_null(tandem_last_failure(tandem));
    end_fini(&end);
    (void)submit_text(tandem, "walk", &end);
    fake_send_error(&fake, 0, TANDEM_EBUSY, "too many applications", "");
    assert_int_equal(tandem_wait(tandem, 1000), TANDEM_EBUSY); /* the connection's end */
    assert_int_equal(end.error, TANDEM_EBUSY);
    assert_string_equal(tandem_last_error(tandem), "too many applications");
    expect_recovery(&fake, tandem);
    tandem_close(tandem);
    fake_stop(&fake);
}

static void test_draining(void **state)
{
    struct fake fake;
    struct tandem *tandem;
    struct tandem_request request;
    struct end end = {0}, refused = {0};
    uint64_t id;

    (void)state;
    fake_start(&fake);
    tandem = fake_open(&fake);
    id = submit_text(tandem, "walk", &end);
    fake_send_header(&fake, FRAME_GOODBYE, 0, 0, NULL);
    assert_int_equal(tandem_wait(tandem, 1000), 0);
    tandem_request_init(&request, "commands");
    request.text = "walk";
    assert_int_equal(tandem_submit(tandem, &request, end_note, NULL, &refused, NULL),
                     TANDEM_EDRAINING);
    fake_send_label(&fake, id, "x"); /* what runs still ends */
    wait_end(tandem, &end);
    assert_int_equal(end.error, 0);
    assert_int_equal(refused.count, 0);
    end_fini(&end);
    expect_recovery(&fake, tandem);
    tandem_close(tandem);
    fake_stop(&fake);
}

/* A daemon that stopped answering (a debugger, a full disk): the guard ends the request two seconds
 * after its deadline. */
static void test_silent_daemon(void **state)
{
    struct fake fake;
    struct tandem *tandem;
    struct tandem_request request;
    struct frame frame;
    struct end late = {0}, patient = {0};
    uint64_t id = 0, patient_id = 0;

    (void)state;
    fake_start(&fake);
    tandem = fake_open(&fake);
    clock_stop();
    tandem_request_init(&request, "commands");
    request.text = "walk";
    request.deadline_ms = 100;
    assert_int_equal(tandem_submit(tandem, &request, end_note, NULL, &late, &id), 0);
    request.deliver_late = 1;
    assert_int_equal(tandem_submit(tandem, &request, end_note, NULL, &patient, &patient_id), 0);
    assert_int_equal(tandem_timeout_ms(tandem), 100 + LIMIT_LIB_GRACE_MS);
    fake_now_ns += (100 + LIMIT_LIB_GRACE_MS) * NS_PER_MS - 1;
    assert_int_equal(tandem_process(tandem), 0);
    fake_now_ns += 1;
    assert_int_equal(tandem_timeout_ms(tandem), 0);
    assert_int_equal(tandem_process(tandem), 1);
    assert_int_equal(late.error, TANDEM_ELATE);
    assert_int_equal(fake_take(&fake), id);
    assert_int_equal(fake_take(&fake), patient_id);
    assert_true(fake_frame(&fake, &frame)); /* and the daemon is told that nobody waits */
    assert_int_equal(frame.kind, FRAME_CANCEL);
    assert_int_equal(frame.request_id, id);
    fake_send_label(&fake, id, "too late"); /* nobody is told twice */
    fake_send_label(&fake, patient_id, "late but welcome");
    wait_end(tandem, &patient);
    assert_int_equal(late.count, 1);
    assert_int_equal(patient.error, 0);
    end_fini(&patient);
    clock_set_fake(NULL, NULL);
    tandem_close(tandem);
    fake_stop(&fake);
}

static void test_cancel_not_confirmed(void **state)
{
    struct fake fake;
    struct tandem *tandem;
    struct end end = {0};
    uint64_t id;

    (void)state;
    fake_start(&fake);
    tandem = fake_open(&fake);
    clock_stop();
    id = submit_text(tandem, "walk", &end);
    assert_int_equal(tandem_timeout_ms(tandem), -1);
    assert_int_equal(tandem_cancel(tandem, id), 0);
    assert_int_equal(tandem_timeout_ms(tandem), LIMIT_LIB_GRACE_MS);
    fake_now_ns += LIMIT_LIB_GRACE_MS * NS_PER_MS;
    assert_int_equal(tandem_process(tandem), 1);
    assert_int_equal(end.error, TANDEM_ECANCELED);
    clock_set_fake(NULL, NULL);
    tandem_close(tandem);
    fake_stop(&fake);
}

static void refuse_submit(struct tandem *tandem, uint64_t id, int error,
                          struct tandem_answer *answer, void *user)
{
    struct tandem_request request;

    end_note(tandem, id, error, answer, user);
    tandem_request_init(&request, "commands");
    request.text = "walk";
    assert_int_equal(tandem_submit(tandem, &request, end_note, NULL, user, NULL), TANDEM_EINVAL);
}

static void test_close_under_way(void **state)
{
    unsigned fds = open_fds();
    struct fake fake;
    struct tandem *tandem;
    struct tandem_request request;
    struct end ends[3] = {{0}};
    char *picture = calloc(1, 1u << 20);

    (void)state;
    assert_non_null(picture);
    fake_start(&fake);
    tandem = fake_open(&fake);
    tandem_request_init(&request, "objects");
    request.picture.data = picture;
    request.picture.bytes = 1u << 20;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(tandem_submit(tandem, &request, refuse_submit, NULL, &ends[i], NULL), 0);
    }
    tandem_close(tandem);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(ends[i].count, 1);
        assert_int_equal(ends[i].error, TANDEM_ECANCELED);
    }
    free(picture);
    fake_stop(&fake);
    assert_int_equal(open_fds(), fds);
}

/* ---- hello ---- */

static void test_newer_daemon(void **state)
{
    struct fake fake;
    struct tandem *tandem;

    (void)state;
    fake_start(&fake);
    fake.version_high = 7;
    tandem = fake_open(&fake); /* it still speaks ours */
    expect_recovery(&fake, (fake_hang_up(&fake), tandem));
    tandem_close(tandem);
    fake.version_low = 2;
    fake_greet_begin(&fake);
    assert_int_equal(tandem_open(fake.path, &tandem), TANDEM_EPROTO);
    fake_greet_end(&fake);
    assert_non_null(strstr(tandem_last_error(tandem), "2 to 7"));
    assert_int_equal(tandem_fd(tandem), -1);
    fake.version_low = 1; /* and after its downgrade the same handle works */
    expect_recovery(&fake, tandem);
    tandem_close(tandem);
    fake_stop(&fake);
}

static void *refuse_thread(void *user)
{
    struct fake *fake = user;

    fake->fd = accept(fake->listener, NULL, NULL);
    fake_send_error(fake, 0, TANDEM_EAUTH, "user 1000 is not in group tandem", "");
    return NULL;
}

static void *junk_thread(void *user)
{
    struct fake *fake = user;

    fake->fd = accept(fake->listener, NULL, NULL);
    fake_send_bytes(fake, "220 mail ready\r\n", 16);
    return NULL;
}

static void *hang_up_thread(void *user)
{
    struct fake *fake = user;

    close(accept(fake->listener, NULL, NULL));
    return NULL;
}

static void *silent_thread(void *user)
{
    struct fake *fake = user;

    fake->fd = accept(fake->listener, NULL, NULL);
    return NULL;
}

static void expect_open_error(void *(*thread)(void *), int expect)
{
    struct fake fake;
    struct tandem *tandem;

    fake_start(&fake);
    assert_int_equal(pthread_create(&fake.thread, NULL, thread, &fake), 0);
    assert_int_equal(tandem_open(fake.path, &tandem), expect);
    fake_greet_end(&fake);
    assert_non_null(tandem);
    assert_true(tandem_last_error(tandem)[0] != '\0');
    assert_int_equal(tandem_fd(tandem), -1);
    expect_recovery(&fake, tandem);
    tandem_close(tandem);
    fake_stop(&fake);
}

static void test_bad_hello(void **state)
{
    (void)state;
    expect_open_error(refuse_thread, TANDEM_EAUTH);
    expect_open_error(junk_thread, TANDEM_EPROTO);
    expect_open_error(hang_up_thread, TANDEM_EGONE);
    expect_open_error(silent_thread, TANDEM_ETIMEDOUT); /* takes the two seconds */
}

/* As a user who may not; root becomes nobody for it, in a process of its own. */
static void test_no_permission(void **state)
{
    struct tandem *tandem;
    struct fake fake;
    int status;
    pid_t child;

    (void)state;
    fake_start(&fake);
    assert_int_equal(chmod(fake.path, 0), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        bool other = geteuid() != 0 || (setgid(65534) == 0 && setuid(65534) == 0);
        int error = tandem_open(fake.path, &tandem);

        tandem_close(tandem);
        _exit(other && error == TANDEM_EAUTH ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    fake_stop(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody),
        cmocka_unit_test(test_late_daemon),
        cmocka_unit_test(test_death_during_request),
        cmocka_unit_test(test_death_while_idle),
        cmocka_unit_test(test_death_during_write),
        cmocka_unit_test(test_death_before_submit),
        cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_truncated_frame),
        cmocka_unit_test(test_unknown_optional),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_draining),
        cmocka_unit_test(test_silent_daemon),
        cmocka_unit_test(test_cancel_not_confirmed),
        cmocka_unit_test(test_close_under_way),
        cmocka_unit_test(test_newer_daemon),
        cmocka_unit_test(test_bad_hello),
        cmocka_unit_test(test_no_permission),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
