/* test_server.c: the whole server in a process of its own, on temporary sockets, with a played engine (fake_engine.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/log.h"
#include "common/wire/answer.h"
#include "server/server.h"
#include "server/catalog.h"
#include "tests/unit/server/edge_client.h"
#include "tests/unit/server/fake_engine.h"

#include <fcntl.h>
#include <sys/resource.h>

struct fixture {
    char dir[64], config[96], socket[96], url[110], log[96];
    pid_t pid;
    uv_loop_t loop;
    struct client *client;
};

static char *in_dir(const struct fixture *f, const char *name, char path[160])
{
    snprintf(path, 160, "%s/%s", f->dir, name);
    return path;
}

static void config_write(const struct fixture *f, const char *more)
{
    char text[1024];

    snprintf(text, sizeof(text), "[server]\nlisten = ipc://%s/edge.sock, tcp://127.0.0.1:0\nstatus_socket = %s\ntasks_dir = %s/tasks.d\n"
             "sequences = 8\ndrain_timeout_ms = 3000\n%s", f->dir, f->socket, f->dir, more);
    file_write(f->config, text);
}

static void tasks_write(const struct fixture *f)
{
    char path[160];

    assert_int_equal(mkdir(in_dir(f, "tasks.d", path), 0700), 0);
    file_write(in_dir(f, "tasks.d/digits.conf", path), "[task]\nkind = classify\n[edge]\nmodel = p.gguf\n");
    file_write(in_dir(f, "tasks.d/letters.conf", path), "[task]\nkind = generate\nmax_new_tokens = 100\n[edge]\nmodel = g.gguf\n");
    file_write(in_dir(f, "tasks.d/p.gguf", path), "p1\n");
    file_write(in_dir(f, "tasks.d/g.gguf", path), "g1\n");
}

/* Runs the server in a child, this program anew (NNG does not survive a fork); its exit status is server_run's. */
static void server_fork(struct fixture *f)
{
    f->pid = fork();
    assert_true(f->pid >= 0);
    if (f->pid == 0) {
        const int fd = open(f->log, O_WRONLY | O_CREAT | O_APPEND, 0600);

        (void)dup2(fd, 2);
        (void)close(fd);
        (void)execl("/proc/self/exe", "test_server", "--serve", f->config, (char *)NULL);
        _exit(1);
    }
}

static void server_await(const struct fixture *f)
{
    for (int i = 0; i < 1000; i++) {
        if (status_number(f->socket, "schema") == 1) {
            return;
        }
        usleep(10000);
    }
    fail_msg("the server did not start");
}

static int server_wait(struct fixture *f)
{
    int status = 0;

    assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
    f->pid = 0;
    return status;
}

static bool log_has(const struct fixture *f, const char *word)
{
    static char text[1 << 20];
    const int fd = open(f->log, O_RDONLY);
    const ssize_t got = read(fd, text, sizeof(text) - 1);

    (void)close(fd);
    text[got > 0 ? got : 0] = '\0';
    return strstr(text, word) != NULL;
}

static int setup_files(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    snprintf(f->dir, sizeof(f->dir), "/tmp/tandem-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->config, sizeof(f->config), "%s/server.conf", f->dir);
    snprintf(f->socket, sizeof(f->socket), "%s/status.sock", f->dir);
    snprintf(f->url, sizeof(f->url), "ipc://%s/edge.sock", f->dir);
    snprintf(f->log, sizeof(f->log), "%s/log", f->dir);
    tasks_write(f);
    config_write(f, "");
    assert_int_equal(uv_loop_init(&f->loop), 0);
    *state = f;
    return 0;
}

static int setup(void **state)
{
    struct fixture *f;

    (void)setup_files(state);
    f = *state;
    server_fork(f);
    server_await(f);
    f->client = malloc(sizeof(*f->client));
    client_init(f->client, &f->loop, 1);
    client_connect(f->client, f->url);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[96];
    int status = 0;

    if (f->client) {
        client_fini(f->client);
        free(f->client);
    }
    if (f->pid > 0) {
        (void)kill(f->pid, SIGTERM);
        status = server_wait(f);
    }
    (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    if (status != 0) {
        snprintf(command, sizeof(command), "tail -n 60 %s/log >&2", f->dir);
        (void)!system(command);
    }
    snprintf(command, sizeof(command), "rm -r %s", f->dir);
    assert_int_equal(system(command), 0);
    free(f);
    assert_int_equal(status, 0); /* every test ends with a drain that exits 0 and loses no page */
    return 0;
}

static void classify(struct fixture *f, uint64_t id, const char *picture)
{
    struct edge_request request = {.task = "digits", .has_picture = true, .decision_id = "4711"};

    client_send(f->client, id, &request, picture, strlen(picture));
}

static void generate(struct fixture *f, uint64_t id, const char *text, uint64_t budget_us, uint32_t max_new)
{
    struct edge_request request = {.task = "letters", .budget_us = budget_us, .max_new_tokens = max_new, .stream = true};

    client_send(f->client, id, &request, text, strlen(text));
}

static void test_classify(void **state)
{
    struct fixture *f = *state;
    struct client_request *got;

    assert_int_equal(f->client->hello.task_count, 2);
    assert_true(f->client->hello.has_load);
    classify(f, 1, "7");
    got = client_result(f->client, 1);
    assert_true(got->accepted && got->has_result);
    assert_int_equal(got->result.answer.label_count, 10);
    assert_string_equal(got->result.answer.labels[0].label, "seven");
    assert_true(got->result.answer.confidence > 0.5 && got->result.answer.confidence < 0.6);
    assert_true(got->result.run_us > 0);
    assert_true(got->result.load.picture_us > 0);
    assert_true(log_has(f, "request 4711: task digits"));
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
    assert_true(got->result.answer.confidence > 0.64 && got->result.answer.confidence < 0.66); /* 0.9^4 */
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
        assert_memory_equal(client_result(f->client, id)->result.answer.text, "bcdefghijklmnopqrstuvwxyz", 25);
    }
    assert_true(status_number(f->socket, "batch_max") >= 6);
    assert_true(status_number(f->socket, "batch_max") <= 8); /* `sequences` */
    assert_true(status_number(f->socket, "batch_mean") > 2);
    assert_true(status_number(f->socket, "answered") == 12);
    assert_true(status_number(f->socket, "kv_pages_free") == FAKE_PAGES);
}

static void await_status(const struct fixture *f, const char *key, double value)
{
    for (int i = 0; i < 500 && status_number(f->socket, key) != value; i++) {
        usleep(10000);
    }
    assert_true(status_number(f->socket, key) == value);
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

static void turn(struct fixture *f, uint64_t id, const struct buf *known, const char *text)
{
    struct edge_request request = {.task = "letters", .session = "talk", .prefix_bytes = known ? known->bytes : 0};
    struct buf payload;

    if (known) {
        digest_hex(known->data, known->bytes, request.prefix_digest);
    }
    buf_init(&payload, 0);
    assert_int_equal(transcript_append(&payload, TURN_USER, text, strlen(text)), 0);
    client_send(f->client, id, &request, payload.data, payload.bytes);
    buf_fini(&payload);
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
    assert_int_equal(got->result.cached_tokens, 7 + 3); /* the first turn and its answer ran before */
    known.data[7] ^= 1;
    turn(f, 4, &known, "and v"); /* another prefix of the same length */
    assert_int_equal(client_result(f->client, 4)->error.code, TANDEM_EPREFIX);
    assert_true(status_number(f->socket, "sessions") == 1);
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

static void test_refusals(void **state)
{
    struct fixture *f = *state;
    struct edge_request unknown = {.task = "nothing", .has_picture = true}, wrong = {.task = "digits"}, huge = {.task = "letters"};
    struct edge_request transcript = {.task = "letters", .session = "s", .payload_bytes = LIMIT_TRANSCRIPT_BYTES + 1};
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
    client_send(f->client, 4, &huge, text, FAKE_CONTEXT); /* short enough for the wire, too long for the model */
    assert_int_equal(client_result(f->client, 4)->error.code, TANDEM_ETOOBIG);
    client_send(f->client, 5, &transcript, "x", 1);
    assert_int_equal(client_result(f->client, 5)->error.code, TANDEM_ETOOBIG);
    free(text);
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

static void test_bounds(void **state)
{
    struct fixture *f = *state;
    unsigned busy = 0;

    for (uint64_t id = 1; id <= LIMIT_REQUESTS_PER_CONNECTION + 1; id++) {
        struct edge_request request = {.task = "digits", .has_picture = true, .payload_bytes = 2}; /* one byte stays away */
        struct buf header;

        buf_init(&header, 0);
        assert_int_equal(edge_request_pack(&request, &header), 0);
        assert_int_equal(conn_send(f->client->conn, FRAME_REQUEST, 0, id, header.data, header.bytes), 0);
        buf_fini(&header);
    }
    assert_int_equal(client_result(f->client, LIMIT_REQUESTS_PER_CONNECTION + 1)->error.code, TANDEM_EBUSY);
    for (uint64_t id = 1; id <= LIMIT_REQUESTS_PER_CONNECTION; id++) {
        busy += client_of(f->client, id)->has_error;
    }
    assert_int_equal(busy, 0);
    assert_true(client_of(f->client, LIMIT_REQUESTS_PER_CONNECTION + 1)->error.retry_after_ms > 0);
}

/* Requests whose input never comes, to fill what is bounded. */
static void announce(struct client *client, uint64_t id, uint64_t payload_bytes)
{
    struct edge_request request = {.task = "digits", .has_picture = true, .payload_bytes = payload_bytes};
    struct buf header;

    buf_init(&header, 0);
    assert_int_equal(edge_request_pack(&request, &header), 0);
    assert_int_equal(conn_send(client->conn, FRAME_REQUEST, 0, id, header.data, header.bytes), 0);
    buf_fini(&header);
}

static void test_requests_are_bounded(void **state)
{
    struct fixture *f = *state;
    struct client *others = malloc(sizeof(*others) * (LIMIT_REQUESTS / LIMIT_REQUESTS_PER_CONNECTION));

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

    for (uint64_t id = 1; id <= LIMIT_PAYLOADS_BYTES / LIMIT_PAYLOAD_BYTES; id++) {
        announce(f->client, id, LIMIT_PAYLOAD_BYTES);
        client_wait(f->client, &client_of(f->client, id)->accepted);
    }
    classify(f, 100, "1");
    assert_int_equal(client_result(f->client, 100)->error.code, TANDEM_EBUSY);
    conn_cancel(f->client->conn, 1);
    classify(f, 101, "1");
    assert_true(client_result(f->client, 101)->has_result);
}

/* Pictures share steps up to LIMIT_PICTURE_BATCH, and a server forgets which requests it had after LIMIT_RECENT_REQUESTS. */
static void test_picture_batches_and_memory_of_requests(void **state)
{
    struct fixture *f = *state;
    uint64_t id = 1;

    while (id <= LIMIT_RECENT_REQUESTS + 1) {
        const uint64_t first = id;

        for (; id < first + 200; id++) {
            memset(&client_of(f->client, id)->accepted, 0, sizeof(struct client_request) - offsetof(struct client_request, accepted));
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

static int socket_open(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void test_connections_are_bounded(void **state)
{
    struct fixture *f = *state;
    int fds[LIMIT_CONNECTIONS + 8], last;
    char path[160], byte;
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
    assert_int_equal(recv(last, &byte, 1, 0), 0); /* closed at once, long before the others' five seconds are over */
    (void)close(last);
    for (int i = 0; i < LIMIT_STATUS_CONNECTIONS; i++) {
        (void)close(fds[i]);
    }
}

static void test_versions_and_contracts(void **state)
{
    struct fixture *f = *state;
    struct client newer, future, wrong;
    struct edge_request request = {.task = "digits", .has_picture = true};

    client_init(&newer, &f->loop, 2);
    newer.version_high = WIRE_VERSION_HIGH + 5;
    client_connect(&newer, f->url);
    client_send(&newer, 1, &request, "1", 1);
    assert_true(client_result(&newer, 1)->has_result);
    client_fini(&newer);
    client_init(&future, &f->loop, 3);
    future.version_low = future.version_high = WIRE_VERSION_HIGH + 1;
    client_dial(&future, f->url);
    client_wait(&future, &future.closed);
    assert_int_equal(future.connection_error, TANDEM_EPROTO);
    client_fini(&future);
    client_init(&wrong, &f->loop, 4);
    wrong.contract = (struct edge_task){.name = "digits", .kind = WIRE_CLASSIFY, .label_count = 3,
                                        .label_digest = "00000000000000000000000000000001"};
    client_connect(&wrong, f->url);
    request.payload_bytes = 0;
    client_send(&wrong, 1, &request, "1", 1);
    assert_int_equal(client_result(&wrong, 1)->error.code, TANDEM_ENOTASK);
    assert_true(log_has(f, "task digits is off for it"));
    client_fini(&wrong);
}

static void test_bad_peers_cost_their_connection(void **state)
{
    struct fixture *f = *state;
    struct edge_request request = {.task = "digits", .has_picture = true, .payload_bytes = 1};
    struct client bad;

    client_init(&bad, &f->loop, 5);
    bad.silent = true; /* a request without a hello */
    client_dial(&bad, f->url);
    client_wait(&bad, &bad.opened);
    client_send(&bad, 1, &request, "1", 1);
    client_wait(&bad, &bad.closed);
    assert_int_equal(bad.connection_error, TANDEM_EPROTO);
    client_fini(&bad);
    client_init(&bad, &f->loop, 6);
    client_connect(&bad, f->url);
    assert_int_equal(conn_send(bad.conn, (enum frame_kind)77, 0, 0, NULL, 0), 0); /* unknown and optional: skipped */
    client_send(&bad, 1, &request, "12345", 5);                                  /* more than announced */
    client_wait(&bad, &bad.closed);
    assert_int_equal(bad.connection_error, TANDEM_EPROTO);
    client_fini(&bad);
    client_init(&bad, &f->loop, 7);
    client_connect(&bad, f->url);
    assert_int_equal(conn_send(bad.conn, (enum frame_kind)77, FRAME_FLAG_MANDATORY, 0, NULL, 0), 0);
    client_wait(&bad, &bad.closed);
    assert_int_equal(bad.connection_error, TANDEM_EPROTO);
    client_fini(&bad);
    classify(f, 3, "3");
    assert_true(client_result(f->client, 3)->has_result);
}

static void test_a_thousand_connections(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    unsigned refused = 0;

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/edge.sock", f->dir);
    for (int i = 0; i < 1000; i++) {
        const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        refused += connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0;
        if (i % 2) {
            (void)!write(fd, "GET / HTTP/1.1\r\n\r\n", 18);
        }
        (void)close(fd);
    }
    assert_int_equal(refused, 0);
    await_status(f, "connections", 1);
    classify(f, 1, "8");
    assert_string_equal(client_result(f->client, 1)->result.answer.labels[0].label, "eight");
}

static void test_reload(void **state)
{
    struct fixture *f = *state;
    char path[160];

    generate(f, 1, "!", 0, 200); /* runs on through the reloads */
    while (client_of(f->client, 1)->token_frames < 2) {
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    }
    config_write(f, "colour = red\n");
    assert_int_equal(kill(f->pid, SIGHUP), 0);
    await_status(f, "reload_failures", 1);
    assert_true(log_has(f, "colour"));
    assert_true(log_has(f, "the old configuration stays"));
    classify(f, 2, "2");
    assert_true(client_result(f->client, 2)->has_result);
    config_write(f, "");
    file_write(in_dir(f, "tasks.d/g.gguf", path), "g2\n"); /* another model, by a digest of its own */
    assert_int_equal(kill(f->pid, SIGHUP), 0);
    await_status(f, "reloads", 1);
    generate(f, 3, "w", 0, 0);
    assert_memory_equal(client_result(f->client, 3)->result.answer.text, "xyz", 3);
    assert_int_equal(client_result(f->client, 1)->result.answer.tokens, 200);
    assert_string_not_equal(client_of(f->client, 1)->result.model_digest, client_of(f->client, 3)->result.model_digest);
}

static void test_term_drains(void **state)
{
    struct fixture *f = *state;

    generate(f, 1, "!", 0, 300);
    while (client_of(f->client, 1)->token_frames < 2) {
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    }
    assert_int_equal(kill(f->pid, SIGTERM), 0);
    client_wait(f->client, &f->client->goodbye);
    generate(f, 2, "a", 0, 0);
    assert_int_equal(client_result(f->client, 2)->error.code, TANDEM_EDRAINING);
    assert_int_equal(client_result(f->client, 1)->result.answer.tokens, 300);
    client_wait(f->client, &f->client->closed);
    assert_int_equal(server_wait(f), 0);
    assert_int_not_equal(access(f->socket, F_OK), 0);
}

static void test_second_term_ends_now(void **state)
{
    struct fixture *f = *state;

    generate(f, 1, "!", 0, 400);
    while (client_of(f->client, 1)->token_frames < 2) {
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    }
    assert_int_equal(kill(f->pid, SIGTERM), 0);
    client_wait(f->client, &f->client->goodbye);
    assert_int_equal(kill(f->pid, SIGTERM), 0);
    assert_int_equal(client_result(f->client, 1)->error.code, TANDEM_EDRAINING);
    assert_int_equal(server_wait(f), 0);
}

static void test_status_socket(void **state)
{
    struct fixture *f = *state;
    char answer[1 << 16], line[LIMIT_STATUS_LINE_BYTES * 2];
    struct stat info;

    assert_int_equal(stat(f->socket, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0660);
    assert_true(status_ask(f->socket, "status\n", answer, sizeof(answer)));
    assert_memory_equal(answer, "{\"schema\":1,\"daemon\":\"tandem-server\",", 37);
    assert_int_equal(answer[strlen(answer) - 1], '\n');
    assert_true(strlen(answer) < LIMIT_STATUS_QUEUE_BYTES);
    assert_true(status_ask(f->socket, "explode\n", answer, sizeof(answer)));
    assert_non_null(strstr(answer, "\"error\""));
    memset(line, 'a', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\0';
    assert_true(status_ask(f->socket, line, answer, sizeof(answer)));
    assert_string_equal(answer, "");
}

/* ---- starts that must fail, and systemd ---- */

static void expect_refused(struct fixture *f, const char *word)
{
    server_fork(f);
    assert_int_not_equal(server_wait(f), 0);
    assert_true(log_has(f, word));
}

static void test_bad_starts(void **state)
{
    struct fixture *f = *state;
    char path[160], text[512];

    snprintf(text, sizeof(text), "[server]\nlisten = tcp://0.0.0.0:0\nstatus_socket = %s\ntasks_dir = %s/tasks.d\n", f->socket, f->dir);
    file_write(f->config, text);
    expect_refused(f, "allow_plaintext");
    config_write(f, "colour = red\n");
    expect_refused(f, "[server] colour");
    config_write(f, "[tls]\ncert = /tmp/x\n");
    expect_refused(f, "belong together");
    config_write(f, "");
    file_write(in_dir(f, "tasks.d/boxes.conf", path), "[task]\nkind = detect\n[edge]\nmodel = p.gguf\n");
    expect_refused(f, "no model of this version finds boxes");
    file_write(path, "[task]\nkind = classify\n[edge]\nmodel = g.gguf\n");
    expect_refused(f, "is of architecture gpt2");
    file_write(path, "[task]\nkind = classify\nlabels = a, b\n[edge]\nmodel = p.gguf\n");
    expect_refused(f, "2 labels");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(setenv("FAKE_BROKEN_KERNEL", "1", 1), 0);
    expect_refused(f, "OPENBLAS_CORETYPE");
    assert_int_equal(unsetenv("FAKE_BROKEN_KERNEL"), 0);
}

static void test_tokens(void **state)
{
    struct fixture *f = *state;
    struct edge_request request = {.task = "digits", .has_picture = true};
    char path[160], more[256];
    struct client client;

    file_write(in_dir(f, "secret", path), "correct-horse-battery\n");
    assert_int_equal(chmod(path, 0600), 0);
    snprintf(more, sizeof(more), "[tenant farm]\ntoken_file = %s\n", path);
    config_write(f, more);
    server_fork(f);
    server_await(f);
    client_init(&client, &f->loop, 1);
    client.token = "correct-horse-batterz";
    client_dial(&client, f->url);
    client_wait(&client, &client.closed);
    assert_int_equal(client.connection_error, TANDEM_EAUTH);
    client_fini(&client);
    client_init(&client, &f->loop, 1);
    client.token = "correct-horse-battery";
    client_connect(&client, f->url);
    client_send(&client, 1, &request, "1", 1);
    assert_true(client_result(&client, 1)->has_result);
    client_fini(&client);
    assert_true(log_has(f, "tenant farm"));
    assert_false(log_has(f, "correct-horse"));
}

/* With certificates the tenant is the name in the client's; a reload takes a new certificate for new connections. */
static void test_tls(void **state)
{
    struct fixture *f = *state;
    struct edge_request request = {.task = "digits", .has_picture = true};
    char command[512], more[512], error[CONN_ERROR_BYTES], cert[160], key[160], ca[160];
    struct client client;
    struct conn_tls *tls;

    snprintf(command, sizeof(command), "(deploy/certs.sh %s ca && deploy/certs.sh %s server edge1 127.0.0.1 && "
             "deploy/certs.sh %s client robot7) >/dev/null 2>&1", f->dir, f->dir, f->dir);
    assert_int_equal(system(command), 0);
    snprintf(more, sizeof(more), "[tls]\ncert = %s/edge1.pem\nkey = %s/edge1.key\nca = %s/ca.pem\n", f->dir, f->dir, f->dir);
    config_write(f, more);
    server_fork(f);
    server_await(f);
    assert_int_equal(conn_tls_load(in_dir(f, "robot7.pem", cert), in_dir(f, "robot7.key", key), in_dir(f, "ca.pem", ca), &tls, error), 0);
    for (uint8_t round = 0; round < 2; round++) {
        char answer[1 << 16], url[64];
        const char *at;

        assert_true(status_ask(f->socket, "status\n", answer, sizeof(answer)));
        at = strstr(answer, "tcp://");
        assert_non_null(at);
        snprintf(url, sizeof(url), "%.*s", (int)strcspn(at, "\""), at);
        client_init(&client, &f->loop, round);
        client.tls = tls;
        client_connect(&client, url);
        client_send(&client, 1, &request, "6", 1);
        assert_string_equal(client_result(&client, 1)->result.answer.labels[0].label, "six");
        client_fini(&client);
        assert_true(log_has(f, "tenant robot7"));
        client_init(&client, &f->loop, 9); /* plaintext gets nowhere */
        client_dial(&client, url);
        client_wait(&client, &client.closed);
        assert_false(client.greeted);
        client_fini(&client);
        assert_int_equal(kill(f->pid, SIGHUP), 0);
        await_status(f, "reloads", round + 1);
    }
    conn_tls_unref(tls);
}

static void test_notify(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timeval patience = {.tv_sec = 20};
    char text[512], all[4096] = "";
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", f->dir);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    assert_int_equal(setenv("NOTIFY_SOCKET", address.sun_path, 1), 0);
    assert_int_equal(setenv("WATCHDOG_USEC", "200000", 1), 0);
    server_fork(f);
    assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
    assert_int_equal(unsetenv("WATCHDOG_USEC"), 0);
    for (int i = 0; !strstr(all, "STOPPING=1"); i++) {
        const ssize_t got = recv(fd, text, sizeof(text) - 1, 0);

        assert_true(got > 0);
        text[got] = '\0';
        assert_true(strlen(all) + strlen(text) + 2 < sizeof(all));
        strcat(strcat(all, text), "\n");
        if (i == 4) {
            assert_int_equal(kill(f->pid, SIGHUP), 0);
        } else if (i == 9) {
            assert_int_equal(kill(f->pid, SIGTERM), 0);
        }
    }
    assert_memory_equal(all, "READY=1", 7); /* and nothing before it */
    assert_non_null(strstr(all, "WATCHDOG=1"));
    assert_non_null(strstr(all, "STATUS="));
    assert_non_null(strstr(all, "RELOADING=1"));
    assert_non_null(strstr(strstr(all, "RELOADING=1"), "READY=1"));
    assert_int_equal(server_wait(f), 0);
    (void)close(fd);
}

#define SERVED(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define FILES(name)  cmocka_unit_test_setup_teardown(name, setup_files, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        SERVED(test_classify),
        SERVED(test_not_a_picture_costs_that_request_only),
        SERVED(test_generate_streams),
        SERVED(test_requests_share_steps),
        SERVED(test_cancel_frees_pages),
        SERVED(test_peer_gone_frees_pages),
        SERVED(test_deadlines),
        SERVED(test_sessions),
        SERVED(test_sessions_are_evicted),
        SERVED(test_refusals),
        SERVED(test_no_request_runs_twice),
        SERVED(test_bounds),
        SERVED(test_requests_are_bounded),
        SERVED(test_inputs_are_bounded),
        SERVED(test_picture_batches_and_memory_of_requests),
        SERVED(test_answers_are_bounded),
        SERVED(test_connections_are_bounded),
        SERVED(test_versions_and_contracts),
        SERVED(test_bad_peers_cost_their_connection),
        SERVED(test_a_thousand_connections),
        SERVED(test_reload),
        SERVED(test_term_drains),
        SERVED(test_second_term_ends_now),
        SERVED(test_status_socket),
        FILES(test_bad_starts),
        FILES(test_tokens),
        FILES(test_tls),
        FILES(test_notify),
    };

    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    if (argc == 3 && strcmp(argv[1], "--serve") == 0) {
        log_init("tandem-server", LOG_LEVEL_DEBUG, 2);
        return server_run(argv[2]) == 0 ? 0 : 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
