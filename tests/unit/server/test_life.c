/* test_life.c: the life of the server process: start, reload, drain, the status socket and the
 * service manager. */
#include "tests/unit/server/server_fixture.h"

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
    assert_true(log_has(f, "server.conf:7: [server] colour: ")); /* file, line and key */
    assert_true(log_has(f, "the old configuration stays"));
    classify(f, 2, "2");
    assert_true(client_result(f->client, 2)->has_result);
    config_write(f, "");
    file_write(in_dir(f, "tasks.d/g.gguf", path),
               "g2\n"); /* another model, by a digest of its own */
    assert_int_equal(kill(f->pid, SIGHUP), 0);
    await_status(f, "reloads", 1);
    generate(f, 3, "w", 0, 0);
    assert_memory_equal(client_result(f->client, 3)->result.answer.text, "xyz", 3);
    assert_int_equal(client_result(f->client, 1)->result.answer.tokens, 200);
    assert_string_not_equal(client_of(f->client, 1)->result.model_digest,
                            client_of(f->client, 3)->result.model_digest);
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

/* A text that is cancelled while the compute thread is busy with another has not been seen by it
 * yet: nobody would give it back. */
static void test_cancelled_before_prepared(void **state)
{
    struct fixture *f = *state;

    generate(f, 1, "~", 0, 1);
    client_wait(f->client, &client_of(f->client, 1)->accepted);
    await_status(f, "running", 1);
    generate(f, 2, "a", 0, 0);
    client_wait(f->client, &client_of(f->client, 2)->accepted);
    conn_cancel(f->client->conn, 2);
    (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    await_status(f, "cancelled", 1);
    conn_cancel(f->client->conn, 1);
    (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    await_status(f, "cancelled", 2);
    assert_int_equal(kill(f->pid, SIGTERM), 0);
    client_wait(f->client, &f->client->closed);
    assert_int_equal(server_wait(f), 0);
    assert_false(log_has(f, "drain_timeout_ms is over"));
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
    assert_true(strlen(answer) < LIMIT_STATUS_ANSWER_BYTES);
    assert_true(status_ask(f->socket, "explode\n", answer, sizeof(answer)));
    assert_non_null(strstr(answer, "\"error\""));
    memset(line, 'a', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\0';
    assert_true(status_ask(f->socket, line, answer, sizeof(answer)));
    assert_string_equal(answer, "");
}

/* Whoever connects and does not ask, or asks half a line, is cut off; others are answered in the
 * meantime. */
static void test_status_waits_for_nobody(void **state)
{
    struct fixture *f = *state;
    const struct timeval patience = {.tv_sec = 50};
    const int silent = socket_open(f->socket), slow = socket_open(f->socket);
    char byte;

    assert_int_equal(write(slow, "stat", 4), 4);
    assert_true(status_number(f->socket, "schema") == 1);
    assert_int_equal(setsockopt(silent, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    assert_int_equal(setsockopt(slow, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    assert_int_equal(recv(silent, &byte, 1, 0), 0);
    assert_int_equal(recv(slow, &byte, 1, 0), 0);
    (void)close(silent);
    (void)close(slow);
}

/* A full disk takes the log's lines, not the answers, and the server counts what was lost. */
static void test_log_on_a_full_disk(void **state)
{
    struct fixture *f = *state;

    strcpy(f->log, "/dev/full");
    server_fork(f);
    server_await(f);
    f->client = malloc(sizeof(*f->client));
    client_init(f->client, &f->loop, 1);
    client_connect(f->client, f->url);
    classify(f, 1, "7");
    assert_string_equal(client_result(f->client, 1)->result.answer.labels[0].label, "seven");
    assert_true(status_number(f->socket, "log_lines_lost") > 2);
}

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

    snprintf(text, sizeof(text),
             "[server]\nlisten = tcp://0.0.0.0:0\nstatus_socket = %s\ntasks_dir = %s/tasks.d\n",
             f->socket, f->dir);
    file_write(f->config, text);
    expect_refused(f, "allow_plaintext");
    config_write(f, "colour = red\n");
    expect_refused(f, "[server] colour");
    config_write(f, "[tls]\ncert = /tmp/x\n");
    expect_refused(f, "all three or none");
    config_write(f, "");
    file_write(in_dir(f, "tasks.d/boxes.conf", path),
               "[task]\nkind = detect\n[edge]\nmodel = p.gguf\n");
    expect_refused(f, "no model of this version finds boxes");
    file_write(path, "[task]\nkind = classify\n[edge]\nmodel = g.gguf\n");
    expect_refused(f, "is of architecture gpt2");
    file_write(path, "[task]\nkind = classify\nlabels = a, b\n[edge]\nmodel = p.gguf\n");
    expect_refused(f, "labels: 2, but ");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(setenv("FAKE_BROKEN_KERNEL", "1", 1), 0);
    expect_refused(f, "OPENBLAS_CORETYPE");
    assert_int_equal(unsetenv("FAKE_BROKEN_KERNEL"), 0);
}

/* A notify socket that the next server will write to. */
static int notify_open(const struct fixture *f, const char *watchdog_us)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timeval patience = {.tv_sec = 20};
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", f->dir);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    assert_int_equal(setenv("NOTIFY_SOCKET", address.sun_path, 1), 0);
    assert_int_equal(setenv("WATCHDOG_USEC", watchdog_us, 1), 0);
    return fd;
}

static void notify_unset(void)
{
    assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
    assert_int_equal(unsetenv("WATCHDOG_USEC"), 0);
}

/* Messages that came up to now. */
static unsigned notify_count(int fd, const char *word)
{
    char text[512];
    unsigned count = 0;
    ssize_t got;

    while ((got = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT)) > 0) {
        text[got] = '\0';
        count += strstr(text, word) != NULL;
    }
    return count;
}

/* A step that never comes back starves the watchdog although the loop goes round: the service
 * manager will restart the server. */
static void test_watchdog_starves(void **state)
{
    struct fixture *f = *state;
    const int fd = notify_open(f, "200000");
    unsigned fed = 0;

    server_fork(f);
    notify_unset();
    server_await(f);
    f->client = malloc(sizeof(*f->client));
    client_init(f->client, &f->loop, 1);
    client_connect(f->client, f->url);
    for (int i = 0; i < 1000 && fed < 3; i++) {
        fed += notify_count(fd, "WATCHDOG=1");
        usleep(10000);
    }
    assert_true(fed >= 3);
    generate(f, 1, "~", 0, 1);
    client_wait(f->client, &client_of(f->client, 1)->accepted);
    for (int i = 0; i < 500 && !log_has(f, "the compute thread has not come back"); i++) {
        usleep(10000);
    }
    (void)notify_count(fd, "WATCHDOG=1"); /* those before it was noticed */
    usleep(1000000);                      /* ten feedings were due */
    assert_int_equal(notify_count(fd, "WATCHDOG=1"), 0);
    assert_true(status_number(f->socket, "running") == 1); /* the loop itself is well */
    conn_cancel(f->client->conn, 1);
    (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    for (int i = 0; i < 1000 && notify_count(fd, "WATCHDOG=1") == 0; i++) {
        usleep(10000);
        fed = (unsigned)i;
    }
    assert_true(fed < 999); /* and it is fed again */
    (void)close(fd);
}

static void test_notify(void **state)
{
    struct fixture *f = *state;
    char text[512], all[4096] = "";
    const int fd = notify_open(f, "200000");

    server_fork(f);
    notify_unset();
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

static int tests_run(void)
{
    const struct CMUnitTest tests[] = {
        SERVED(test_reload),
        SERVED(test_term_drains),
        SERVED(test_cancelled_before_prepared),
        SERVED(test_second_term_ends_now),
        SERVED(test_status_socket),
        SERVED(test_status_waits_for_nobody),
        FILES(test_log_on_a_full_disk),
        FILES(test_watchdog_starves),
        FILES(test_bad_starts),
        FILES(test_notify),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return fixture_main(argc, argv, tests_run);
}
