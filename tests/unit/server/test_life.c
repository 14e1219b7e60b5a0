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
    assert_true(log_has(f, "colour"));
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
    expect_refused(f, "belong together");
    config_write(f, "");
    file_write(in_dir(f, "tasks.d/boxes.conf", path),
               "[task]\nkind = detect\n[edge]\nmodel = p.gguf\n");
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

static int tests_run(void)
{
    const struct CMUnitTest tests[] = {
        SERVED(test_reload),        SERVED(test_term_drains), SERVED(test_second_term_ends_now),
        SERVED(test_status_socket), FILES(test_bad_starts),   FILES(test_notify),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return fixture_main(argc, argv, tests_run);
}
