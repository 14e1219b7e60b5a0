/* test_status.c: the status sockets of both daemons, asked from outside: metrics, running
 * decisions, words they do not know, and every key described in tandem-status(5). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/site.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PAGE        "deploy/man/tandem-status.5"
#define LONG_ENOUGH 60000 /* ms: a deadline that only a hang would miss */

static struct site site;
static struct tandem *tandem;

static int setup(void **state)
{
    (void)state;
    site_init(&site, NULL);
    return site_open(&site, &tandem);
}

static int teardown(void **state)
{
    (void)state;
    site_close(&site, tandem);
    return 0;
}

/* One object on one line: owned. */
static cJSON *ask(const char *socket, const char *line)
{
    char *text = site_ask(socket, line);
    cJSON *object = text ? cJSON_Parse(text) : NULL;

    assert_non_null(object);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    free(text);
    return object;
}

/* A number of `object` by its path ("routes.local.in_time"). */
static double number(const cJSON *object, const char *path)
{
    char copy[96], *at = NULL;

    snprintf(copy, sizeof(copy), "%s", path);
    for (char *key = strtok_r(copy, ".", &at); key; key = strtok_r(NULL, ".", &at)) {
        object = cJSON_GetObjectItemCaseSensitive(object, key);
    }
    if (!cJSON_IsNumber(object)) {
        fail_msg("no number %s", path);
    }
    return object->valuedouble;
}

static const char *text(const cJSON *object, const char *key)
{
    const char *value = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));

    return value ? value : "";
}

static void run(const char *route, bool picture)
{
    struct tandem_answer *answer = NULL;
    const int result = picture ? site_classify(tandem, SITE_PICTURE, route, LONG_ENOUGH, &answer)
                               : site_generate(tandem, "walk", route, LONG_ENOUGH, &answer);

    if (result != 0) {
        fail_msg("by %s: %d: %s", route, result, tandem_last_error(tandem));
    }
    tandem_answer_free(answer);
}

static void test_metrics(void **state)
{
    static const char *const grow[] = {"requests", "routes.local.in_time", "routes.edge.in_time",
                                       "routes.none.failed", "bytes_up"};
    struct tandem_answer *answer = NULL;
    cJSON *before = ask(site.status_socket, "metrics\n"), *after, *server;

    (void)state;
    run("local", true);
    run("edge", true);
    run("edge", false);
    assert_int_equal(site_classify(tandem, SITE_PICTURE, "edge:attic", 0, &answer),
                     TANDEM_ENOROUTE);
    tandem_answer_free(answer);
    after = ask(site.status_socket, "metrics\n");
    assert_string_equal(text(after, "daemon"), "tandem-client");
    assert_true(number(after, "schema") == 1);
    for (size_t i = 0; i < sizeof(grow) / sizeof(grow[0]); i++) {
        if (number(after, grow[i]) <= number(before, grow[i])) {
            fail_msg("%s did not grow", grow[i]);
        }
    }
    assert_true(number(after, "requests") == number(before, "requests") + 4);
    assert_true(number(after, "routes.edge.in_time") == number(before, "routes.edge.in_time") + 2);
    assert_true(number(after, "answer_tokens") > number(before, "answer_tokens"));
    assert_true(number(after, "in_flight") == 0 && number(after, "local_queue") == 0);
    assert_true(number(after, "edges") == 1 && number(after, "edges_up") == 1);
    assert_true(number(after, "applications") == 1);
    server = ask(site.server_socket, "metrics\n");
    assert_string_equal(text(server, "daemon"), "tandem-server");
    assert_true(number(server, "schema") == 1);
    assert_true(number(server, "requests.answered") >= 2);
    assert_true(number(server, "batches.pictures") >= 1);
    assert_true(number(server, "batches.answer_tokens") >= 1);
    assert_true(number(server, "kv_pages_total") >= number(server, "kv_pages_free"));
    assert_true(number(server, "kv_pages_free") > 0);
    cJSON_Delete(before);
    cJSON_Delete(after);
    cJSON_Delete(server);
}

static void test_unknown_words(void **state)
{
    static const char *const words[] = {
        "\n",           "metrics 1\n",    "statuses\n",     "decisions\n",
        "decisions \n", "decisions -1\n", "decisions 5x\n", "explain\n",
        "explain x\n",  "explain 1 2\n",  "Follow\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        const char *const sockets[] = {site.status_socket, site.server_socket};

        for (size_t side = 0; side < 2; side++) {
            cJSON *object = ask(sockets[side], words[i]);

            if (!strstr(text(object, "error"), "metrics")) {
                fail_msg("what is known is not told to: %s", words[i]);
            }
            assert_string_equal(text(object, "daemon"), side ? "tandem-server" : "tandem-client");
            assert_true(number(object, "schema") == 1);
            cJSON_Delete(object);
        }
    }
}

/* ---- a decision that runs ---- */

static int follow(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", site.status_socket);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(write(fd, "follow\n", 7), 7);
    return fd;
}

/* The next whole line that followers are told: owned. */
static cJSON *followed(int fd)
{
    char line[16384];
    size_t bytes = 0;
    cJSON *object;

    do {
        struct pollfd one = {.fd = fd, .events = POLLIN};

        assert_int_equal(poll(&one, 1, SITE_PATIENCE_MS), 1);
        assert_true(bytes < sizeof(line) - 1);
        assert_int_equal(read(fd, line + bytes, 1), 1);
    } while (line[bytes++] != '\n');
    line[bytes] = '\0';
    object = cJSON_Parse(line);
    assert_non_null(object);
    return object;
}

static void on_done(struct tandem *handle, uint64_t id, int error, struct tandem_answer *answer,
                    void *user)
{
    (void)handle;
    (void)id;
    tandem_answer_free(answer);
    *(int *)user = error;
}

/* The newest decision: owned, once it runs (or has ended). */
static cJSON *newest_wait(bool running)
{
    for (int waited = 0; waited < SITE_PATIENCE_MS; waited += 10) {
        char *line = site_ask(site.status_socket, "decisions 1\n");
        cJSON *object = line && line[0] ? cJSON_Parse(line) : NULL;

        free(line);
        if (object && cJSON_IsNull(cJSON_GetObjectItem(object, "outcome")) == running) {
            return object;
        }
        cJSON_Delete(object);
        site_pause();
    }
    fail_msg("no decision that %s", running ? "runs" : "has ended");
    return NULL;
}

static void assert_ctl_says(const char *command, const char *id, const char *wanted)
{
    char *out = NULL;

    assert_int_equal(
        site_run(&out, NULL, "tandemctl", "--socket", site.status_socket, command, id, NULL), 0);
    if (!strstr(out, wanted)) {
        fail_msg("tandemctl %s does not say '%s': %s", command, wanted, out);
    }
    free(out);
}

/* Until the daemon knows the follower, which may be after it has answered a request or two. */
static void follow_wait(int fd)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};

    for (int tries = 0; poll(&one, 1, 10) == 0; tries++) {
        assert_true(tries < SITE_PATIENCE_MS / 10);
        run("local", false);
    }
}

static void test_running_decision(void **state)
{
    struct tandem_request request;
    const int fd = follow();
    char id[32], line[64];
    int error = 1;
    cJSON *object;

    (void)state;
    follow_wait(fd);
    assert_int_equal(kill(site.server, SIGSTOP), 0);
    tandem_request_init(&request, "commands");
    request.text = "walk";
    request.route = "edge";
    request.deadline_ms = LONG_ENOUGH;
    assert_int_equal(tandem_submit(tandem, &request, on_done, NULL, &error, NULL), 0);
    (void)tandem_process(tandem);
    object = newest_wait(true);
    snprintf(id, sizeof(id), "%s", text(object, "id"));
    assert_string_equal(text(object, "route"), "edge:den");
    cJSON_Delete(object);
    snprintf(line, sizeof(line), "explain %s\n", id);
    object = ask(site.status_socket, line);
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(object, "outcome")));
    assert_string_equal(text(object, "id"), id);
    cJSON_Delete(object);
    assert_ctl_says("explain", id, "still running");
    assert_ctl_says("decisions", NULL, "  ...");
    assert_int_equal(kill(site.server, SIGCONT), 0);
    for (int waited = 0; error == 1 && waited < SITE_PATIENCE_MS; waited += 100) {
        (void)tandem_wait(tandem, 100);
    }
    assert_int_equal(error, 0);
    object = newest_wait(false);
    assert_string_equal(text(object, "id"), id);
    cJSON_Delete(object);
    while (strcmp(text(object = followed(fd), "id"), id) != 0) {
        assert_string_equal(text(object, "route"), "local"); /* of before */
        cJSON_Delete(object);
    }
    assert_true(cJSON_IsObject(cJSON_GetObjectItem(object, "outcome")));
    cJSON_Delete(object);
    run("local", false);
    object = followed(fd); /* one line a decision */
    assert_string_not_equal(text(object, "id"), id);
    cJSON_Delete(object);
    (void)close(fd);
}

/* ---- the page ---- */

static bool is_named(const char *page, const char *key)
{
    const size_t bytes = strlen(key);

    for (const char *at = page; (at = strstr(at, key)) != NULL; at++) {
        const char *line = at;

        while (line > page && line[-1] != '\n') {
            line--;
        }
        if ((strncmp(line, ".B", 2) == 0 || strncmp(line, ".RB", 3) == 0) && at[-1] == ' ' &&
            strchr(" \n", at[bytes])) {
            return true;
        }
    }
    return false;
}

static void assert_keys_named(const char *page, const cJSON *value)
{
    const cJSON *child;

    cJSON_ArrayForEach(child, value)
    {
        if (child->string && !is_named(page, child->string)) {
            fail_msg("%s does not describe %s", PAGE, child->string);
        }
        assert_keys_named(page, child);
    }
}

static void test_page(void **state)
{
    const char *const questions[][2] = {
        {site.status_socket, "status\n"},      {site.status_socket, "metrics\n"},
        {site.status_socket, "decisions 1\n"}, {site.status_socket, "explain 1\n"},
        {site.server_socket, "status\n"},      {site.server_socket, "metrics\n"}};
    size_t bytes;
    char *page = site_file(PAGE, &bytes);

    (void)state;
    assert_false(is_named(page, "status.sock") || is_named(page, "toke"));
    run("edge", true);
    run("edge", false);
    for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
        cJSON *object = ask(questions[i][0], questions[i][1]);

        assert_keys_named(page, object);
        cJSON_Delete(object);
    }
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metrics), cmocka_unit_test(test_unknown_words),
        cmocka_unit_test(test_running_decision), cmocka_unit_test(test_page)};

    return cmocka_run_group_tests(tests, setup, teardown);
}
