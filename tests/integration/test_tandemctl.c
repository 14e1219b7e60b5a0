/* test_tandemctl.c: tandemctl and the status sockets of real daemons: the fields that design
 * promises, and the exit codes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/limits.h"
#include "tests/support/site.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct site site;

static int setup(void **state)
{
    (void)state;
    site_init(&site, NULL);
    site_server_start(&site);
    site_client_start(&site);
    site_edge_wait(&site, "up");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(site_client_stop(&site, SIGTERM), 0);
    assert_int_equal(site_server_stop(&site, SIGTERM), 0);
    site_fini(&site);
    return 0;
}

/* Every word of `names` (with blanks between them) is a key of the object. */
static void assert_keys(const cJSON *object, const char *names)
{
    char words[512], *rest = words, *word;

    assert_true(cJSON_IsObject(object));
    snprintf(words, sizeof(words), "%s", names);
    while ((word = strsep(&rest, " "))) {
        if (!cJSON_GetObjectItemCaseSensitive(object, word)) {
            fail_msg("no %s in %s", word, cJSON_Print(object));
        }
    }
}

static const char *text_of(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

    assert_true(cJSON_IsString(item));
    return item->valuestring;
}

/* The one object that the command prints with --json. Owned. */
static cJSON *run_json(const char *task, const char *input, const char *route, int exit_code)
{
    cJSON *object;
    char *out;

    assert_int_equal(site_run(&out, NULL, "tandemctl", "run", task, input, "--route", route,
                              "--deadline-ms", "20000", "--json", "--socket", site.status_socket,
                              NULL),
                     exit_code);
    assert_true(strchr(out, '\n') == out + strlen(out) - 1);
    object = cJSON_Parse(out);
    assert_keys(object, "schema id route outcome_route reason latency_ms met_deadline partial "
                        "error_code error_text answer");
    free(out);
    return object;
}

static void test_run_picture(void **state)
{
    cJSON *object = run_json("objects", SITE_PICTURE, "local", 0);
    const cJSON *answer = cJSON_GetObjectItemCaseSensitive(object, "answer");

    (void)state;
    assert_keys(answer, "label confidence scores");
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(answer, "scores")), 10);
    assert_string_equal(text_of(object, "outcome_route"), "local");
    assert_true(strspn(text_of(object, "id"), "0123456789") == strlen(text_of(object, "id")));
    cJSON_Delete(object);
}

static void test_run_text(void **state)
{
    cJSON *object = run_json("commands", "jump twice", "edge:den", 0);
    const cJSON *answer = cJSON_GetObjectItemCaseSensitive(object, "answer");
    char path[128], *out;

    (void)state;
    assert_keys(answer, "text tokens finish");
    assert_string_equal(text_of(answer, "text"), "I_JUMP I_JUMP");
    assert_string_equal(text_of(object, "outcome_route"), "edge:den");
    cJSON_Delete(object);
    snprintf(path, sizeof(path), "@%s/words", site.dir);
    site_write(path + 1, "jump twice\n");
    assert_int_equal(site_run(&out, NULL, "tandemctl", "run", "commands", path, "--session", "talk",
                              "--socket", site.status_socket, NULL),
                     0);
    assert_string_equal(out, "I_JUMP I_JUMP\n");
    free(out);
}

static void test_run_errors(void **state)
{
    cJSON *object = run_json("objects", "Makefile", "local", 1);

    (void)state;
    assert_int_equal(cJSON_GetObjectItemCaseSensitive(object, "error_code")->valueint,
                     TANDEM_EFORMAT);
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(object, "answer")));
    cJSON_Delete(object);
    object = run_json("nosuch", "x", "local", 1);
    assert_int_equal(cJSON_GetObjectItemCaseSensitive(object, "error_code")->valueint,
                     TANDEM_ENOTASK);
    cJSON_Delete(object);
    object = run_json("objects", "/no/such/file", "local", 1);
    assert_int_equal(cJSON_GetObjectItemCaseSensitive(object, "error_code")->valueint, TANDEM_EIO);
    cJSON_Delete(object);
    object = run_json("objects", SITE_PICTURE, "edge:attic", 1);
    assert_int_equal(cJSON_GetObjectItemCaseSensitive(object, "error_code")->valueint,
                     TANDEM_ENOROUTE);
    cJSON_Delete(object);
}

static void test_exit_codes(void **state)
{
    char *error;

    (void)state;
    assert_int_equal(site_run(NULL, NULL, "tandemctl", "--help", NULL), 0);
    assert_int_equal(site_run(NULL, &error, "tandemctl", "dance", NULL), 2);
    assert_non_null(strstr(error, "dance"));
    free(error);
    assert_int_equal(site_run(NULL, NULL, "tandemctl", "run", "objects", NULL), 2);
    assert_int_equal(site_run(NULL, NULL, "tandemctl", "decisions", "-n", "0", NULL), 2);
    assert_int_equal(
        site_run(NULL, NULL, "tandemctl", "explain", "x", "--socket", site.status_socket, NULL), 2);
    assert_int_equal(
        site_run(NULL, NULL, "tandemctl", "explain", "1", "--socket", site.status_socket, NULL), 1);
    assert_int_equal(
        site_run(NULL, &error, "tandemctl", "status", "--socket", "/tmp/no/such.sock", NULL), 3);
    assert_non_null(strstr(error, "not running"));
    free(error);
    assert_int_equal(site_run(NULL, NULL, "tandemctl", "run", "objects", SITE_PICTURE, "--socket",
                              "/tmp/no/such.sock", NULL),
                     3);
}

static void test_explain(void **state)
{
    cJSON *object = run_json("objects", SITE_PICTURE, "cascade", 0), *decision;
    char id[32], *out;

    (void)state;
    snprintf(id, sizeof(id), "%s", text_of(object, "id"));
    cJSON_Delete(object);
    assert_int_equal(site_run(&out, NULL, "tandemctl", "explain", id, "--json", "--socket",
                              site.status_socket, NULL),
                     0);
    decision = cJSON_Parse(out);
    free(out);
    assert_keys(decision, "daemon schema id time_unix_ns task session tenant deadline_ms "
                          "candidates route reason confidence hedged outcome");
    assert_string_equal(text_of(decision, "route"), "cascade");
    assert_keys(cJSON_GetObjectItemCaseSensitive(decision, "outcome"),
                "route latency_ms met_deadline error_code local_run_ms model_digest");
    assert_keys(
        cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(decision, "candidates"), 0),
        "route latency_ms latency_p95_ms miss_probability energy_j bytes error_probability cost");
    cJSON_Delete(decision);
    assert_int_equal(
        site_run(&out, NULL, "tandemctl", "explain", id, "--socket", site.status_socket, NULL), 0);
    assert_non_null(strstr(out, id));
    free(out);
}

static void test_decisions(void **state)
{
    char *out, *rest, *line;
    unsigned lines = 0;

    (void)state;
    for (int i = 0; i < 4; i++) {
        cJSON_Delete(run_json("objects", SITE_PICTURE, "local", 0));
    }
    assert_int_equal(site_run(&out, NULL, "tandemctl", "decisions", "-n", "3", "--json", "--socket",
                              site.status_socket, NULL),
                     0);
    rest = out;
    while ((line = strsep(&rest, "\n")) && line[0]) {
        cJSON *object = cJSON_Parse(line);

        assert_keys(object, "schema daemon id outcome");
        cJSON_Delete(object);
        lines++;
    }
    assert_int_equal(lines, 3);
    free(out);
}

/* A tandemctl that goes on by itself: what it is told and what it says are pipes. */
struct running {
    pid_t pid;
    int in, out;
    char text[65536];
    size_t bytes;
};

static void running_start(struct running *running, char *const *words)
{
    const char *build = getenv("BUILD");
    char path[512];
    int in[2], out[2];

    *running = (struct running){0};
    snprintf(path, sizeof(path), "%s/bin/tandemctl", build ? build : "build");
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    running->pid = fork();
    assert_true(running->pid >= 0);
    if (running->pid == 0) {
        (void)alarm(2 * SITE_PATIENCE_MS / 1000);
        if (dup2(in[0], 0) < 0 || dup2(out[1], 1) < 0) {
            _exit(126);
        }
        (void)execv(path, words);
        _exit(127);
    }
    (void)close(in[0]);
    (void)close(out[1]);
    running->in = in[1];
    running->out = out[0];
}

/* Reads until `word` was said. */
static void running_read(struct running *running, const char *word)
{
    struct pollfd poll_fd = {.fd = running->out, .events = POLLIN};

    while (!strstr(running->text, word)) {
        ssize_t got;

        assert_int_equal(poll(&poll_fd, 1, SITE_PATIENCE_MS), 1);
        got = read(running->out, running->text + running->bytes,
                   sizeof(running->text) - 1 - running->bytes);
        if (got <= 0) {
            fail_msg("it ended without %s: %s", word, running->text);
        }
        running->bytes += (size_t)got;
    }
}

/* Its exit status. */
static int running_end(struct running *running)
{
    int status;

    (void)close(running->in);
    assert_int_equal(waitpid(running->pid, &status, 0), running->pid);
    (void)close(running->out);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void test_run_stdin(void **state)
{
    static const char words[] = "jump twice\n";
    char *const command[] = {(char *)"tandemctl", (char *)"run",      (char *)"commands",
                             (char *)"-",         (char *)"--socket", site.app_socket,
                             (char *)"--route",   (char *)"edge",     NULL};
    struct running running;

    (void)state;
    running_start(&running, command);
    assert_int_equal(write(running.in, words, sizeof(words) - 1), sizeof(words) - 1);
    (void)close(running.in);
    running.in = -1;
    running_read(&running, "I_JUMP I_JUMP\n");
    assert_int_equal(running_end(&running), 0);
}

static void test_follow(void **state)
{
    char *const command[] = {(char *)"tandemctl",
                             (char *)"decisions",
                             (char *)"--follow",
                             (char *)"--json",
                             (char *)"--socket",
                             site.status_socket,
                             NULL};
    cJSON *object = run_json("objects", SITE_PICTURE, "local", 0);
    struct running running;
    char word[64], *first;

    (void)state;
    snprintf(word, sizeof(word), "\"id\":\"%s\"", text_of(object, "id"));
    cJSON_Delete(object);
    running_start(&running, command);
    running_read(&running, word); /* the past */
    object = run_json("commands", "jump", "local", 0);
    snprintf(word, sizeof(word), "\"id\":\"%s\"", text_of(object, "id"));
    cJSON_Delete(object);
    running_read(&running, word); /* what comes, as it comes */
    first = strstr(running.text, word);
    assert_null(strstr(first + 1, word)); /* once */
    assert_int_equal(kill(running.pid, SIGTERM), 0);
    assert_int_equal(running_end(&running), 128 + SIGTERM);
}

/* Each socket is told from the other, in both directions. */
static void test_sockets(void **state)
{
    char *out, *error;

    (void)state;
    assert_int_equal(site_run(&out, NULL, "tandemctl", "--socket", site.app_socket, "--json", "run",
                              "objects", SITE_PICTURE, NULL),
                     0);
    assert_true(out[0] == '{');
    free(out);
    assert_int_equal(
        site_run(NULL, &error, "tandemctl", "status", "--socket", site.app_socket, NULL), 1);
    assert_non_null(strstr(error, "this is the application socket; give the status socket"));
    free(error);
    assert_int_equal(site_run(NULL, &error, "tandemctl", "status", "--server", "--socket",
                              site.status_socket, NULL),
                     1);
    assert_non_null(strstr(error, "tandem-client answers here, not tandem-server"));
    free(error);
    assert_int_equal(site_run(NULL, &error, "tandemctl", "run", "nosuch", "x", "--socket",
                              site.app_socket, NULL),
                     1);
    assert_non_null(strstr(error, "'nosuch'"));
    free(error);
    assert_int_equal(site_run(NULL, &error, "tandemctl", "run", "objects", "Makefile", "--socket",
                              site.app_socket, NULL),
                     1);
    assert_non_null(strstr(error, "failed after"));
    assert_null(strstr(error, "late"));
    assert_null(strstr(error, "nobody"));
    free(error);
}

static void test_looks(void **state)
{
    static const char *const commands[] = {"status", "edges", "decisions"};
    char *out;

    (void)state;
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        assert_int_equal(
            site_run(&out, NULL, "tandemctl", commands[i], "--socket", site.status_socket, NULL),
            0);
        assert_true(strlen(out) > 0);
        assert_null(strchr(out, '\033')); /* no terminal, no colours */
        free(out);
    }
    assert_int_equal(
        site_run(&out, NULL, "tandemctl", "top", "-n", "1", "--socket", site.status_socket, NULL),
        0);
    assert_non_null(strstr(out, "den"));
    assert_non_null(strstr(out, "P95 MS"));
    free(out);
    assert_int_equal(site_run(&out, NULL, "tandemctl", "top", "-n", "2", "--server", "--socket",
                              site.server_socket, NULL),
                     0);
    assert_non_null(strstr(out, "ANSWERED/S"));
    assert_non_null(strstr(out, "commands"));
    free(out);
    assert_int_equal(site_run(&out, NULL, "tandemctl", "status", "--server", "--json", "--socket",
                              site.server_socket, NULL),
                     0);
    assert_non_null(strstr(out, "\"daemon\":\"tandem-server\""));
    free(out);
}

/* Each line of a status socket is one object with schema and daemon, whatever was asked. */
static void test_status_lines(void **state)
{
    static const char *const lines[] = {
        "status\n", "decisions 2\n", "explain 1\n", "explain x\n", "dance\n", "\n", "status\r\n"};
    char longer[2 * LIMIT_STATUS_LINE_BYTES], *answer;

    (void)state;
    for (size_t i = 0; i < 2 * sizeof(lines) / sizeof(lines[0]); i++) {
        char *rest, *line;

        answer = site_ask(i % 2 ? site.server_socket : site.status_socket, lines[i / 2]);
        assert_non_null(answer);
        assert_true(answer[0] == '{');
        rest = answer;
        while ((line = strsep(&rest, "\n")) && line[0]) {
            cJSON *object = cJSON_Parse(line);

            assert_keys(object, "schema daemon");
            cJSON_Delete(object);
        }
        free(answer);
    }
    memset(longer, 'x', sizeof(longer));
    longer[sizeof(longer) - 1] = '\0';
    free(site_ask(site.status_socket, longer)); /* closed */
    free(site_ask(site.server_socket, longer));
    assert_true(site_number(site.status_socket, "schema") == 1);
    assert_true(site_number(site.server_socket, "schema") == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run_picture),  cmocka_unit_test(test_run_text),
        cmocka_unit_test(test_run_errors),   cmocka_unit_test(test_exit_codes),
        cmocka_unit_test(test_explain),      cmocka_unit_test(test_decisions),
        cmocka_unit_test(test_looks),        cmocka_unit_test(test_run_stdin),
        cmocka_unit_test(test_follow),       cmocka_unit_test(test_sockets),
        cmocka_unit_test(test_status_lines),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
