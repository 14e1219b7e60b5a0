/* test_requests.c: what a request gets from the whole server: answers, streams, sessions, cancels,
 * deadlines and refusals. */
#include "tests/unit/server/server_fixture.h"

static void test_classify(void **state)
{
    struct fixture *f = *state;
    struct client_request *got;

    assert_int_equal(f->client->hello.task_count, 2);
    assert_true(f->client->hello.has_load);
    /* Every model has run before the first hello: what it costs is known to who has asked nothing
     * yet. */
    assert_true(f->client->hello.load.picture_us > 0);
    assert_true(f->client->hello.load.decode_tokens_per_s > 0);
    classify(f, 1, "7");
    got = client_result(f->client, 1);
    assert_true(got->accepted && got->has_result);
    assert_int_equal(got->result.answer.label_count, 10);
    assert_string_equal(got->result.answer.labels[0].label, "seven");
    assert_true(fabs(got->result.answer.labels[0].score - 0.55) < 1e-6);
    assert_true(fabs(got->result.answer.confidence - 0.55 / 2) < 1e-6); /* calibrated */
    assert_true(got->result.run_us > 0);
    assert_true(got->result.load.picture_us > 0);
    assert_int_equal(got->result.load.running + got->result.load.queued,
                     0); /* it is itself no load any more */
    assert_int_equal(got->result.load.predicted_wait_us, 0);
    assert_true(log_has(f, "request 4711: task digits"));
}

/* A request waits once all of it is here: what its sender took is the sender's. */
static void test_a_slow_sender_has_not_waited(void **state)
{
    struct fixture *f = *state;
    struct edge_request request = {.task = "digits", .has_picture = true, .payload_bytes = 1};
    const struct timespec pause = {.tv_nsec = 500 * NS_PER_MS};
    uint8_t *picture = malloc(1);
    struct buf header;

    assert_non_null(picture);
    *picture = '7';
    buf_init(&header, 0);
    assert_int_equal(edge_request_pack(&request, &header), 0);
    assert_int_equal(conn_send(f->client->conn, FRAME_REQUEST, 0, 1, header.data, header.bytes), 0);
    buf_fini(&header);
    client_wait(f->client, &client_of(f->client, 1)->accepted);
    (void)nanosleep(&pause, NULL);
    assert_int_equal(conn_send_payload(f->client->conn, 1, picture, 1), 0);
    assert_true(client_result(f->client, 1)->has_result);
    assert_true(client_of(f->client, 1)->result.wait_us < 250000);
}

static void test_not_a_picture_costs_that_request_only(void **state)
{
    struct fixture *f = *state;

    classify(f, 1, "1");
    classify(f, 2, "x");
    classify(f, 3, "3");
    assert_true(client_result(f->client, 1)->has_result);
    assert_int_equal(client_result(f->client, 2)->error.code, TANDEM_EFORMAT);
    assert_string_equal(client_of(f->client, 2)->error.text, "this is no picture");
    assert_string_equal(client_result(f->client, 3)->result.answer.labels[0].label, "three");
}

static void test_generate_streams(void **state)
{
    struct fixture *f = *state;
    struct client_request *got;

    generate(f, 5, "ab w", 0, 0);
    got = client_result(f->client, 5);
    assert_true(got->has_result);
    assert_int_equal(got->result.answer.text_bytes, 3);
    assert_memory_equal(got->result.answer.text, "xyz", 3);
    assert_int_equal(got->result.answer.finish, WIRE_FINISH_END);
    assert_int_equal(got->token_frames, 3);
    assert_memory_equal(got->streamed.data, "xyz", 3);
    assert_true(fabs(got->result.answer.confidence - 0.9 * 0.9 * 0.9 * 0.9 / 2) < 1e-6);
    assert_int_equal(got->result.prompt_tokens, 4);
    generate(f, 6, "a", 0, 2);
    got = client_result(f->client, 6);
    assert_int_equal(got->result.answer.finish, WIRE_FINISH_LENGTH);
    assert_memory_equal(got->result.answer.text, "bc", 2);
}

static void test_requests_share_steps(void **state)
{
    struct fixture *f = *state;

    for (uint64_t id = 1; id <= 12; id++) {
        generate(f, id, "a", 0, 30);
    }
    for (uint64_t id = 1; id <= 12; id++) {
        assert_memory_equal(client_result(f->client, id)->result.answer.text,
                            "bcdefghijklmnopqrstuvwxyz", 25);
    }
    assert_true(status_number(f->socket, "batch_max") >= 6);
    assert_true(status_number(f->socket, "batch_max") <= 8); /* `sequences` */
    assert_true(status_number(f->socket, "batch_mean") > 2);
    assert_true(status_number(f->socket, "answered") == 12);
    assert_true(status_number(f->socket, "kv_pages_free") == FAKE_PAGES);
}

static void test_cancel_frees_pages(void **state)
{
    struct fixture *f = *state;

    generate(f, 1, "!", 0, 400);
    while (client_of(f->client, 1)->token_frames < 3) {
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    }
    assert_true(status_number(f->socket, "kv_pages_free") < FAKE_PAGES);
    conn_cancel(f->client->conn, 1);
    (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    await_status(f, "kv_pages_free", FAKE_PAGES);
    await_status(f, "cancelled", 1);
    generate(f, 2, "x", 0, 0); /* and the connection goes on */
    assert_true(client_result(f->client, 2)->has_result);
    assert_false(client_of(f->client, 1)->has_result || client_of(f->client, 1)->has_error);
}

static void test_peer_gone_frees_pages(void **state)
{
    struct fixture *f = *state;

    generate(f, 1, "!", 0, 400);
    while (client_of(f->client, 1)->token_frames < 3) {
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    }
    conn_close(f->client->conn, false);
    client_wait(f->client, &f->client->closed);
    await_status(f, "kv_pages_free", FAKE_PAGES);
    await_status(f, "connections", 0);
}

static void test_deadlines(void **state)
{
    struct fixture *f = *state;
    struct client_request *got;

    generate(f, 1, "!", 200000, 400); /* 400 steps of 2 ms do not fit */
    got = client_result(f->client, 1);
    assert_true(got->has_result);
    assert_int_equal(got->result.answer.finish, WIRE_FINISH_DEADLINE);
    assert_true(got->result.answer.tokens > 0 && got->result.answer.tokens < 400);
    generate(f, 2, "a", 1, 30); /* one microsecond: over before anything was made */
    got = client_result(f->client, 2);
    assert_true(got->has_error);
    assert_int_equal(got->error.code, TANDEM_ELATE);
}

static void turn_of(struct client *client, uint64_t id, const struct buf *known, const char *text)
{
    struct edge_request request = {
        .task = "letters", .session = "talk", .prefix_bytes = known ? known->bytes : 0};
    struct buf payload;

    if (known) {
        digest_hex(known->data, known->bytes, request.prefix_digest);
    }
    buf_init(&payload, 0);
    assert_int_equal(transcript_append(&payload, TURN_USER, text, strlen(text)), 0);
    client_send(client, id, &request, payload.data, payload.bytes);
    buf_fini(&payload);
}

static void turn(struct fixture *f, uint64_t id, const struct buf *known, const char *text)
{
    turn_of(f->client, id, known, text);
}

static void test_sessions(void **state)
{
    struct fixture *f = *state;
    struct buf known;
    struct client_request *got;

    buf_init(&known, 0);
    assert_int_equal(transcript_append(&known, TURN_USER, "hello w", 7), 0);
    assert_int_equal(transcript_append(&known, TURN_ANSWER, "xyz", 3), 0);
    turn(f, 1, &known, "and v"); /* nothing of that is here */
    assert_int_equal(client_result(f->client, 1)->error.code, TANDEM_EPREFIX);
    turn(f, 2, NULL, "hello w");
    got = client_result(f->client, 2);
    assert_memory_equal(got->result.answer.text, "xyz", 3);
    assert_int_equal(got->result.cached_tokens, 0);
    turn(f, 3, &known, "and v");
    got = client_result(f->client, 3);
    assert_true(got->has_result);
    assert_memory_equal(got->result.answer.text, "wxyz", 4);
    assert_int_equal(got->result.prompt_tokens, 7 + 3 + 5);
    assert_int_equal(got->result.cached_tokens,
                     7 + 3);     /* the first turn and its answer ran before */
    turn(f, 5, NULL, "hello w"); /* from the start again: all its rows are here, and the last one
                                    runs all the same */
    got = client_result(f->client, 5);
    assert_true(got->has_result);
    assert_memory_equal(got->result.answer.text, "xyz", 3);
    assert_int_equal(got->result.cached_tokens, 7 - 1);
    known.data[7] ^= 1;
    turn(f, 4, &known, "and v"); /* another prefix of the same length */
    assert_int_equal(client_result(f->client, 4)->error.code, TANDEM_EPREFIX);
    assert_true(status_number(f->socket, "sessions") == 1);
    buf_fini(&known);
}

static void tenant_add(struct fixture *f, const char *name, const char *token, char *more)
{
    char path[160];

    file_write(in_dir(f, name, path), token);
    assert_int_equal(chmod(path, 0600), 0);
    sprintf(more + strlen(more), "[tenant %s]\ntoken_file = %s\n", name, path);
}

/* Two tenants with the same words under the same name: neither gets what was computed for the
 * other. */
static void test_tenants_share_nothing(void **state)
{
    static const char *const tokens[] = {"correct-horse-battery", "another-horse-battery"};
    struct fixture *f = *state;
    struct client clients[2];
    char more[512] = "";
    struct buf known;

    tenant_add(f, "farm", tokens[0], more);
    tenant_add(f, "mill", tokens[1], more);
    config_write(f, more);
    server_fork(f);
    server_await(f);
    for (unsigned i = 0; i < 2; i++) {
        client_init(&clients[i], &f->loop, (uint8_t)(i + 1));
        clients[i].token = tokens[i];
        client_connect(&clients[i], f->url);
    }
    buf_init(&known, 0);
    assert_int_equal(transcript_append(&known, TURN_USER, "hello w", 7), 0);
    assert_int_equal(transcript_append(&known, TURN_ANSWER, "xyz", 3), 0);
    turn_of(&clients[0], 1, NULL, "hello w");
    assert_true(client_result(&clients[0], 1)->has_result);
    turn_of(&clients[1], 1, &known, "and v"); /* knows the words, and is still not the other */
    assert_int_equal(client_result(&clients[1], 1)->error.code, TANDEM_EPREFIX);
    turn_of(&clients[1], 2, NULL, "hello w");
    assert_int_equal(client_result(&clients[1], 2)->result.cached_tokens, 0);
    turn_of(&clients[0], 2, &known, "and v");
    assert_int_equal(client_result(&clients[0], 2)->result.cached_tokens, 7 + 3);
    assert_true(status_number(f->socket, "sessions") == 2);
    buf_fini(&known);
    client_fini(&clients[0]);
    client_fini(&clients[1]);
}

/* One turn of a session at a time, and a session does not go on with another model's rows. */
static void test_one_turn_at_a_time(void **state)
{
    struct fixture *f = *state;
    struct buf known;
    char path[160];

    buf_init(&known, 0);
    assert_int_equal(transcript_append(&known, TURN_USER, "hello w", 7), 0);
    assert_int_equal(transcript_append(&known, TURN_ANSWER, "xyz", 3), 0);
    turn(f, 1, NULL, "~");
    turn(f, 2, NULL, "w");
    assert_int_equal(client_result(f->client, 2)->error.code, TANDEM_EBUSY);
    assert_true(client_of(f->client, 2)->error.retry_after_ms > 0);
    conn_cancel(f->client->conn, 1);
    (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    await_status(f, "cancelled", 1);
    await_status(f, "running", 0);
    turn(f, 3, NULL, "hello w");
    assert_true(client_result(f->client, 3)->has_result);
    file_write(in_dir(f, "tasks.d/g.gguf", path), "g2\n");
    assert_int_equal(kill(f->pid, SIGHUP), 0);
    await_status(f, "reloads", 1);
    turn(f, 4, &known, "and v");
    assert_int_equal(client_result(f->client, 4)->error.code, TANDEM_EPREFIX);
    buf_fini(&known);
}

/* More conversations than pages: the oldest make room, and nothing is lost. */
static void test_sessions_are_evicted(void **state)
{
    struct fixture *f = *state;

    for (uint64_t id = 1; id <= LIMIT_SESSIONS + 5; id++) {
        struct edge_request request = {.task = "letters", .max_new_tokens = 1};
        struct buf payload;

        snprintf(request.session, sizeof(request.session), "s%u", (unsigned)id);
        buf_init(&payload, 0);
        assert_int_equal(transcript_append(&payload, TURN_USER, "y", 1), 0);
        client_send(f->client, id, &request, payload.data, payload.bytes);
        buf_fini(&payload);
        assert_true(client_result(f->client, id)->has_result);
    }
    assert_true(status_number(f->socket, "sessions") <= LIMIT_SESSIONS);
}

/* What the model computes is no number: a stated error, at the first token and after some. */
static void test_no_numbers(void **state)
{
    struct fixture *f = *state;

    generate(f, 1, "*", 0, 8);
    assert_int_equal(client_result(f->client, 1)->error.code, TANDEM_EINTERNAL);
    assert_string_equal(client_of(f->client, 1)->error.text,
                        "the model computes what is no number");
    generate(f, 2, "(", 0, 8);
    assert_int_equal(client_result(f->client, 2)->error.code, TANDEM_EINTERNAL);
    generate(f, 3, "x", 0, 8); /* nobody else is the worse for it */
    assert_true(client_result(f->client, 3)->has_result);
}

static void test_refusals(void **state)
{
    struct fixture *f = *state;
    struct edge_request unknown = {.task = "nothing", .has_picture = true},
                        wrong = {.task = "digits"}, huge = {.task = "letters"};
    struct edge_request transcript = {
        .task = "letters", .session = "s", .payload_bytes = LIMIT_TRANSCRIPT_BYTES + 1};
    char *text = malloc(LIMIT_TEXT_BYTES + 1);

    client_send(f->client, 1, &unknown, "1", 1);
    assert_int_equal(client_result(f->client, 1)->error.code, TANDEM_ENOTASK);
    assert_true(client_of(f->client, 1)->error.has_load);
    client_send(f->client, 2, &wrong, "1", 1);
    assert_int_equal(client_result(f->client, 2)->error.code, TANDEM_EINVAL);
    memset(text, 'a', LIMIT_TEXT_BYTES + 1);
    client_send(f->client, 3, &huge, text, LIMIT_TEXT_BYTES + 1);
    assert_int_equal(client_result(f->client, 3)->error.code, TANDEM_ETOOBIG);
    huge.payload_bytes = 0;
    client_send(f->client, 4, &huge, text,
                FAKE_CONTEXT); /* short enough for the wire, too long for the model */
    assert_int_equal(client_result(f->client, 4)->error.code, TANDEM_ETOOBIG);
    client_send(f->client, 5, &transcript, "x", 1);
    assert_int_equal(client_result(f->client, 5)->error.code, TANDEM_ETOOBIG);
    free(text);
}

/* A prefix counts against the length of a conversation, and needs one. */
static void test_prefix_refusals(void **state)
{
    struct fixture *f = *state;
    struct edge_request request = {.task = "letters",
                                   .session = "s",
                                   .prefix_bytes = 100,
                                   .prefix_digest = "00000000000000000000000000000001",
                                   .payload_bytes = LIMIT_TRANSCRIPT_BYTES - 99};

    client_send(f->client, 1, &request, "x", 1);
    assert_int_equal(client_result(f->client, 1)->error.code, TANDEM_ETOOBIG);
    request.payload_bytes = 1;
    client_send(f->client, 2, &request, "x", 1);
    assert_int_equal(client_result(f->client, 2)->error.code, TANDEM_EPREFIX);
    request.session[0] = '\0';
    client_send(f->client, 3, &request, "x", 1);
    assert_int_equal(client_result(f->client, 3)->error.code, TANDEM_EINVAL);
    announce(f->client, 4, 0); /* no input at all */
    assert_int_equal(client_result(f->client, 4)->error.code, TANDEM_EINVAL);
}

static void test_no_request_runs_twice(void **state)
{
    struct fixture *f = *state;
    struct client again;

    classify(f, 9, "1");
    assert_true(client_result(f->client, 9)->has_result);
    client_init(&again, &f->loop, 1); /* the same boot id on a new connection */
    client_connect(&again, f->url);
    {
        struct edge_request request = {.task = "digits", .has_picture = true};

        client_send(&again, 9, &request, "1", 1);
        assert_int_equal(client_result(&again, 9)->error.code, TANDEM_EINVAL);
    }
    client_fini(&again);
    assert_true(status_number(f->socket, "answered") == 1);
}

static int tests_run(void)
{
    const struct CMUnitTest tests[] = {
        FILES(test_tenants_share_nothing),
        SERVED(test_classify),
        SERVED(test_a_slow_sender_has_not_waited),
        SERVED(test_not_a_picture_costs_that_request_only),
        SERVED(test_generate_streams),
        SERVED(test_requests_share_steps),
        SERVED(test_cancel_frees_pages),
        SERVED(test_peer_gone_frees_pages),
        SERVED(test_deadlines),
        SERVED(test_sessions),
        SERVED(test_sessions_are_evicted),
        SERVED(test_no_numbers),
        SERVED(test_refusals),
        SERVED(test_one_turn_at_a_time),
        SERVED(test_prefix_refusals),
        SERVED(test_no_request_runs_twice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return fixture_main(argc, argv, tests_run);
}
