/* test_bounds.c: what the whole server bounds: requests, inputs, answers, batches, connections. */
#include "tests/unit/server/server_fixture.h"

static void test_bounds(void **state)
{
    struct fixture *f = *state;
    unsigned busy = 0;

    for (uint64_t id = 1; id <= LIMIT_REQUESTS_PER_CONNECTION + 1; id++) {
        struct edge_request request = {
            .task = "digits", .has_picture = true, .payload_bytes = 2}; /* one byte stays away */
        struct buf header;

        buf_init(&header, 0);
        assert_int_equal(edge_request_pack(&request, &header), 0);
        assert_int_equal(
            conn_send(f->client->conn, FRAME_REQUEST, 0, id, header.data, header.bytes), 0);
        buf_fini(&header);
    }
    assert_int_equal(client_result(f->client, LIMIT_REQUESTS_PER_CONNECTION + 1)->error.code,
                     TANDEM_EBUSY);
    for (uint64_t id = 1; id <= LIMIT_REQUESTS_PER_CONNECTION; id++) {
        busy += client_of(f->client, id)->has_error;
    }
    assert_int_equal(busy, 0);
    assert_true(client_of(f->client, LIMIT_REQUESTS_PER_CONNECTION + 1)->error.retry_after_ms > 0);
}

static void test_requests_are_bounded(void **state)
{
    struct fixture *f = *state;
    struct client *others =
        malloc(sizeof(*others) * (LIMIT_REQUESTS / LIMIT_REQUESTS_PER_CONNECTION));

    for (uint8_t i = 0; i < LIMIT_REQUESTS / LIMIT_REQUESTS_PER_CONNECTION; i++) {
        client_init(&others[i], &f->loop, (uint8_t)(10 + i));
        client_connect(&others[i], f->url);
        for (uint64_t id = 1; id <= LIMIT_REQUESTS_PER_CONNECTION; id++) {
            announce(&others[i], id, 2);
        }
        client_wait(&others[i], &client_of(&others[i], LIMIT_REQUESTS_PER_CONNECTION)->accepted);
    }
    classify(f, 1, "1");
    assert_int_equal(client_result(f->client, 1)->error.code, TANDEM_EBUSY);
    assert_string_equal(client_of(f->client, 1)->error.text, "the server's queue is full");
    for (uint8_t i = 0; i < LIMIT_REQUESTS / LIMIT_REQUESTS_PER_CONNECTION; i++) {
        client_fini(&others[i]);
    }
    free(others);
    await_status(f, "connections", 1);
    classify(f, 2, "1"); /* and all of it is free again */
    assert_true(client_result(f->client, 2)->has_result);
}

static void test_inputs_are_bounded(void **state)
{
    struct fixture *f = *state;
    struct client *greedy = malloc(2 * sizeof(*greedy));

    assert_non_null(greedy);
    for (int i = 0; i < 2; i++) {
        client_init(&greedy[i], &f->loop, (uint8_t)(10 + i));
        client_connect(&greedy[i], f->url);
        for (uint64_t id = 1; id <= LIMIT_PEER_PAYLOADS_BYTES / LIMIT_PAYLOAD_BYTES; id++) {
            announce(&greedy[i], id, LIMIT_PAYLOAD_BYTES);
            client_wait(&greedy[i], &client_of(&greedy[i], id)->accepted);
        }
        if (i == 0) { /* one connection alone cannot shut the others out */
            announce(&greedy[0], 100, 1);
            (void)client_result(&greedy[0], 100);
            assert_string_equal(client_of(&greedy[0], 100)->error.text,
                                "this connection's requests hold as much input as they may");
            classify(f, 99, "1");
            assert_true(client_result(f->client, 99)->has_result);
        }
    }
    assert_int_equal(2 * LIMIT_PEER_PAYLOADS_BYTES, LIMIT_PAYLOADS_BYTES);
    classify(f, 100, "1");
    assert_int_equal(client_result(f->client, 100)->error.code, TANDEM_EBUSY);
    conn_cancel(greedy[0].conn, 1); /* its room is free again for what comes behind it */
    announce(&greedy[0], 101, 2);
    client_wait(&greedy[0], &client_of(&greedy[0], 101)->accepted);
    client_fini(&greedy[0]);
    client_fini(&greedy[1]);
    free(greedy);
}

/* What is announced and never comes holds its place for LIMIT_UPLOAD_STALL_MS. */
static void test_an_input_that_stops_coming_is_given_up(void **state)
{
    struct fixture *f = *state;
    const int64_t start_ns = clock_now_ns();

    announce(f->client, 1, 1000);
    assert_int_equal(client_result(f->client, 1)->error.code, TANDEM_ETIMEDOUT);
    assert_true(clock_now_ns() - start_ns >= LIMIT_UPLOAD_STALL_MS * NS_PER_MS);
    assert_string_equal(client_of(f->client, 1)->error.text, "its input stopped coming");
    classify(f, 2, "1");
    assert_true(client_result(f->client, 2)->has_result);
}

/* Pictures share steps up to LIMIT_PICTURE_BATCH, and a server forgets which requests it had after
 * LIMIT_RECENT_REQUESTS. */
static void test_picture_batches_and_memory_of_requests(void **state)
{
    struct fixture *f = *state;
    uint64_t id = 1;

    while (id <= LIMIT_RECENT_REQUESTS + 1) {
        const uint64_t first = id;

        for (; id < first + 200; id++) {
            memset(&client_of(f->client, id)->accepted, 0,
                   sizeof(struct client_request) - offsetof(struct client_request, accepted));
            classify(f, id, "4");
        }
        for (uint64_t i = first; i < id; i++) {
            assert_true(client_result(f->client, i)->has_result);
            edge_result_fini(&client_of(f->client, i)->result);
        }
    }
    assert_true(status_number(f->socket, "batch_max") == LIMIT_PICTURE_BATCH);
    memset(client_of(f->client, 1), 0, sizeof(struct client_request));
    classify(f, 1, "4");
    assert_true(client_result(f->client, 1)->has_result);
    memset(client_of(f->client, id - 1), 0, sizeof(struct client_request));
    classify(f, id - 1, "4");
    assert_int_equal(client_result(f->client, id - 1)->error.code, TANDEM_EINVAL);
}

static void test_answers_are_bounded(void **state)
{
    struct fixture *f = *state;
    struct client_request *got;

    generate(f, 1, "#", 0, 400);
    got = client_result(f->client, 1);
    assert_true(got->has_result);
    assert_int_equal(got->result.answer.finish, WIRE_FINISH_LENGTH);
    assert_true(got->result.answer.text_bytes > LIMIT_ANSWER_TEXT_BYTES);
    assert_true(got->result.answer.text_bytes <= LIMIT_ANSWER_TEXT_BYTES + sizeof(fake_long_word));
}

static void test_connections_are_bounded(void **state)
{
    struct fixture *f = *state;
    int fds[LIMIT_CONNECTIONS + 8], last;
    char path[160], refusal[256] = "";
    struct timeval patience = {.tv_sec = 20};

    for (int i = 0; i < LIMIT_CONNECTIONS + 8; i++) {
        fds[i] = socket_open(in_dir(f, "edge.sock", path));
    }
    assert_true(status_number(f->socket, "connections") <= LIMIT_CONNECTIONS);
    for (int i = 0; i < LIMIT_CONNECTIONS + 8; i++) {
        (void)close(fds[i]);
    }
    await_status(f, "connections", 1);
    classify(f, 1, "1");
    assert_true(client_result(f->client, 1)->has_result);
    for (int i = 0; i < LIMIT_STATUS_CONNECTIONS; i++) {
        fds[i] = socket_open(f->socket);
    }
    last = socket_open(f->socket);
    assert_int_equal(setsockopt(last, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    /* One line and the end, at once, long before the others' five seconds are over. */
    assert_true(recv(last, refusal, sizeof(refusal) - 1, MSG_WAITALL) > 0);
    assert_non_null(strstr(refusal, "too many ask at once"));
    (void)close(last);
    for (int i = 0; i < LIMIT_STATUS_CONNECTIONS; i++) {
        (void)close(fds[i]);
    }
}

static int tests_run(void)
{
    const struct CMUnitTest tests[] = {
        SERVED(test_bounds),
        SERVED(test_requests_are_bounded),
        SERVED(test_inputs_are_bounded),
        SERVED(test_an_input_that_stops_coming_is_given_up),
        SERVED(test_picture_batches_and_memory_of_requests),
        SERVED(test_answers_are_bounded),
        SERVED(test_connections_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return fixture_main(argc, argv, tests_run);
}
