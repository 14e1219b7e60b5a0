/* test_pages.c: more work than pages, work that keeps the engine busy, and deadlines that cannot be
 * met: each request ends in an answer or a stated error, and every page comes back. */
#include "tests/unit/server/server_fixture.h"

/* Waits until the engine is inside the step of this request that hangs. */
static void engine_hang(struct fixture *f, uint64_t id)
{
    const double steps = status_number(f->socket, "steps");

    generate(f, id, "~", 0, 1);
    client_wait(f->client, &client_of(f->client, id)->accepted);
    await_status(f, "steps", steps + 1);
}

/* Forty generations of 400 tokens each want 13 pages of the 64, and eight may run at once. */
static void test_more_work_than_pages(void **state)
{
    struct fixture *f = *state;

    for (uint64_t id = 1; id <= 40; id++) {
        generate(f, id, "!", 0, id % 4 == 0 ? 400 : 60);
    }
    conn_cancel(f->client->conn, 8);
    conn_cancel(f->client->conn, 39);
    for (uint64_t id = 1; id <= 40; id++) {
        if (id != 8 && id != 39) {
            assert_true(client_result(f->client, id)->has_result);
            assert_int_equal(client_of(f->client, id)->result.answer.tokens,
                             id % 4 == 0 ? 400 : 60);
        }
    }
    await_status(f, "kv_pages_free", FAKE_PAGES);
    await_status(f, "cancelled", 2);
    assert_true(status_number(f->socket, "running") == 0 &&
                status_number(f->socket, "queued") == 0);
}

#define TALKS      7
#define LINE_BYTES 280 /* tokens, so nine pages a conversation */

static void turn_send(struct fixture *f, uint64_t id, unsigned talk, const struct buf *known,
                      const char *text, size_t bytes)
{
    struct edge_request request = {
        .task = "letters", .max_new_tokens = 40, .prefix_bytes = known ? known->bytes : 0};
    struct buf payload;

    snprintf(request.session, sizeof(request.session), "talk%u", talk);
    if (known) {
        digest_hex(known->data, known->bytes, request.prefix_digest);
    }
    buf_init(&payload, 0);
    assert_int_equal(transcript_append(&payload, TURN_USER, text, bytes), 0);
    client_send(f->client, id, &request, payload.data, payload.bytes);
    buf_fini(&payload);
}

/* (That no page is lost is what every teardown checks.) Conversations whose rows fill the pool, all
 * going on at once: each turn waits with the rows of the turns before it, and none has room to
 * begin until one of them gives its rows up. */
static void test_turns_that_hold_all_pages(void **state)
{
    struct fixture *f = *state;
    char line[LINE_BYTES];
    struct buf known;

    memset(line, 'y', sizeof(line));
    buf_init(&known, 0);
    assert_int_equal(transcript_append(&known, TURN_USER, line, sizeof(line)), 0);
    assert_int_equal(transcript_append(&known, TURN_ANSWER, "z", 1), 0);
    for (unsigned talk = 0; talk < TALKS; talk++) {
        turn_send(f, 1 + talk, talk, NULL, line, sizeof(line));
        assert_int_equal(client_result(f->client, 1 + talk)->result.answer.text_bytes, 1);
    }
    assert_true(status_number(f->socket, "kv_pages_free") == FAKE_PAGES - 9 * TALKS);
    engine_hang(f, 50); /* it has the last page, and the turns come all together */
    for (unsigned talk = 0; talk < TALKS; talk++) {
        turn_send(f, 100 + talk, talk, &known, "more x", 6);
    }
    client_wait(f->client, &client_of(f->client, 100 + TALKS - 1)->accepted);
    await_status(f, "queued", TALKS);
    conn_cancel(f->client->conn, 50);
    for (unsigned talk = 0; talk < TALKS; talk++) {
        assert_true(client_result(f->client, 100 + talk)->has_result);
        assert_memory_equal(client_of(f->client, 100 + talk)->result.answer.text, "yz", 2);
    }
    buf_fini(&known);
}

/* The engine works on something for eight seconds; who gives it up has the pages back at its next
 * layer. */
static void test_cancel_stops_the_step(void **state)
{
    struct fixture *f = *state;
    const int64_t start_ns = clock_now_ns();

    engine_hang(f, 1);
    assert_true(status_number(f->socket, "kv_pages_free") == FAKE_PAGES - 1);
    conn_cancel(f->client->conn, 1);
    (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    await_status(f, "kv_pages_free", FAKE_PAGES);
    assert_true((clock_now_ns() - start_ns) / NS_PER_US < FAKE_HANG_US);
    assert_true(status_number(f->socket, "steps") == 1);
}

/* A deadline does the same, without anybody's word. */
static void test_deadline_stops_the_step(void **state)
{
    struct fixture *f = *state;
    const int64_t start_ns = clock_now_ns();

    generate(f, 1, "~", 300000, 1);
    assert_int_equal(client_result(f->client, 1)->error.code, TANDEM_ELATE);
    await_status(f, "kv_pages_free", FAKE_PAGES);
    assert_true((clock_now_ns() - start_ns) / NS_PER_US < FAKE_HANG_US);
    await_status(f, "late", 1);
}

/* What cannot meet its deadline is told at once, while the engine is busy with something else. */
static void test_admission(void **state)
{
    struct fixture *f = *state;
    struct edge_request soon = {.task = "digits", .has_picture = true, .budget_us = 40000};
    struct edge_request now = {.task = "digits", .has_picture = true, .budget_us = 100};
    struct edge_request later = {.task = "digits", .has_picture = true, .budget_us = 60000000};
    const struct edge_error *error;

    for (uint64_t id = 1; id <= 8;
         id++) { /* one by one, so that the server knows what a picture takes: 2 ms and more */
        classify(f, id, "1");
        assert_true(client_result(f->client, id)->has_result);
    }
    engine_hang(f, 9);
    for (uint64_t id = 10; id < 110; id++) { /* 200 ms of pictures */
        classify(f, id, "2");
    }
    client_wait(f->client, &client_of(f->client, 109)->accepted);
    client_send(f->client, 200, &soon, "3", 1);
    error = &client_result(f->client, 200)->error;
    assert_int_equal(error->code, TANDEM_EBUSY);
    assert_string_equal(error->text, "the deadline cannot be met now");
    assert_true(error->retry_after_ms >= 100 && error->retry_after_ms < 20000);
    assert_true(error->has_load && error->load.queued >= 100 &&
                error->load.predicted_wait_us > 100000);
    client_send(f->client, 201, &now, "3", 1);
    error = &client_result(f->client, 201)->error;
    assert_int_equal(error->code, TANDEM_ELATE);
    assert_int_equal(error->retry_after_ms, 0); /* waiting would not help */
    client_send(f->client, 202, &later, "3", 1);
    client_wait(f->client, &client_of(f->client, 202)->accepted);
    assert_true(status_number(f->socket, "refused") == 2);
    conn_cancel(f->client->conn, 9);
    for (uint64_t id = 10; id < 110; id++) {
        assert_true(client_result(f->client, id)->has_result);
    }
    assert_true(client_result(f->client, 202)->has_result);
}

/* Work that has more time than the newcomer is not counted against it. */
static void test_admission_looks_at_urgency(void **state)
{
    struct fixture *f = *state;
    struct edge_request soon = {.task = "digits", .has_picture = true, .budget_us = 100000};

    for (uint64_t id = 1; id <= 8; id++) {
        classify(f, id, "1");
        assert_true(client_result(f->client, id)->has_result);
    }
    engine_hang(f, 9);
    for (uint64_t id = 10; id < 110; id++) {
        struct edge_request later = {.task = "digits", .has_picture = true, .budget_us = 60000000};

        client_send(f->client, id, &later, "2", 1);
    }
    client_wait(f->client, &client_of(f->client, 109)->accepted);
    client_send(f->client, 200, &soon, "3", 1);
    client_wait(f->client, &client_of(f->client, 200)->accepted);
    conn_cancel(f->client->conn, 9);
    for (uint64_t id = 10; id < 110; id++) {
        assert_true(client_result(f->client, id)->has_result);
    }
}

static int tests_run(void)
{
    const struct CMUnitTest tests[] = {
        SERVED(test_more_work_than_pages),
        SERVED(test_turns_that_hold_all_pages),
        SERVED(test_cancel_stops_the_step),
        SERVED(test_deadline_stops_the_step),
        SERVED(test_admission),
        SERVED(test_admission_looks_at_urgency),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return fixture_main(argc, argv, tests_run);
}
