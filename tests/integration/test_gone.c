/* test_gone.c: daemons that go away under requests: the client daemon under the library, the edge
 * under the client daemon. Each request ends once, in an answer or a stated error, and what comes
 * back is used again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "tests/support/site.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define OUT         32    /* requests under way at one time */
#define LONG_ENOUGH 20000 /* ms: a deadline that only a hang would miss */

static struct site site;
static struct tandem *tandem;

struct ends {
    unsigned count, answers, local, edge;
    int errors[32]; /* how often each code came */
    char text[256]; /* of the last error */
};

static int setup(void **state)
{
    (void)state;
    /* Errors are so dear that the edge is chosen wherever it may be. */
    site_init(&site, &(struct site_config){
                         .client = "[policy]\none_error_ms = 1000000\nedge_error = 0.01\n"});
    site_client_start(&site);
    return tandem_open(site.app_socket, &tandem);
}

static int teardown(void **state)
{
    (void)state;
    tandem_close(tandem);
    site_fini(&site);
    return 0;
}

static void on_done(struct tandem *handle, uint64_t id, int error, struct tandem_answer *answer,
                    void *user)
{
    struct ends *ends = user;

    (void)id;
    ends->count++;
    if (error == 0) {
        ends->answers++;
        ends->local += strcmp(tandem_answer_outcome_route(answer), "local") == 0;
        ends->edge += strcmp(tandem_answer_outcome_route(answer), "edge:den") == 0;
        assert_true(tandem_answer_met_deadline(answer));
        tandem_answer_free(answer);
    } else {
        assert_null(answer);
        assert_true(-error < 32);
        ends->errors[-error]++;
        snprintf(ends->text, sizeof(ends->text), "%s", tandem_last_error(handle));
    }
}

static void submit(const char *route, struct ends *ends)
{
    static uint8_t *data;
    static size_t bytes;
    struct tandem_request request;

    if (!data) {
        data = site_file(SITE_PICTURE, &bytes);
    }
    tandem_request_init(&request, "objects");
    request.picture.data = data;
    request.picture.bytes = bytes;
    request.route = route;
    request.deadline_ms = LONG_ENOUGH;
    assert_int_equal(tandem_submit(tandem, &request, on_done, NULL, ends, NULL), 0);
}

static void ends_wait(const struct ends *ends, unsigned count)
{
    const int64_t end_ns = clock_now_ns() + (int64_t)SITE_PATIENCE_MS * NS_PER_MS;

    while (ends->count < count) {
        if (clock_now_ns() > end_ns) {
            fail_msg("%u of %u requests ended", ends->count, count);
        }
        (void)tandem_wait(tandem, 100);
    }
}

static void assert_answered(const char *route, const char *outcome)
{
    struct tandem_answer *answer = NULL;
    const int result = site_classify(tandem, SITE_PICTURE, route, LONG_ENOUGH, &answer);

    if (result != 0) {
        fail_msg("by %s: %d: %s", route, result, tandem_last_error(tandem));
    }
    assert_string_equal(tandem_answer_outcome_route(answer), outcome);
    tandem_answer_free(answer);
}

/* ---- the client daemon ---- */

static void test_daemon_killed_with_requests_out(void **state)
{
    struct ends ends = {0};
    struct tandem_answer *answer = NULL;

    (void)state;
    assert_answered("local", "local");
    assert_int_equal(kill(site.client, SIGSTOP), 0); /* so that none is answered */
    for (unsigned i = 0; i < OUT; i++) {
        submit("local", &ends);
    }
    assert_int_equal(tandem_in_flight(tandem), OUT);
    assert_int_equal(WTERMSIG(site_client_stop(&site, SIGKILL)), SIGKILL);
    ends_wait(&ends, OUT);
    assert_int_equal(ends.errors[-TANDEM_EGONE], OUT);
    assert_non_null(strstr(ends.text, "tandem-client"));
    assert_int_equal(tandem_in_flight(tandem), 0);
    assert_int_equal(site_classify(tandem, SITE_PICTURE, "local", 0, &answer), TANDEM_EGONE);
    assert_non_null(strstr(tandem_last_error(tandem), "not running"));
    site_client_start(&site); /* its sockets' files are still there */
    assert_answered("local", "local");
    assert_int_equal(ends.count, OUT);
}

/* Killed in the middle: some are answered, the others end with EGONE, none is lost and none is
 * asked twice. */
static void test_daemon_killed_in_the_middle(void **state)
{
    struct ends ends = {0};

    (void)state;
    assert_answered("local", "local");
    for (unsigned i = 0; i < OUT; i++) {
        submit("local", &ends);
    }
    ends_wait(&ends, 1);
    (void)site_client_stop(&site, SIGKILL);
    ends_wait(&ends, OUT);
    assert_int_equal((int)ends.answers + ends.errors[-TANDEM_EGONE], OUT);
    site_client_start(&site);
    assert_answered("local", "local");
}

/* SIGTERM: what was accepted is answered, new ones are told, the daemon ends with 0 and its files
 * are gone. */
static void test_daemon_drains(void **state)
{
    struct ends ends = {0};
    struct tandem_answer *answer = NULL;
    struct tandem *other;
    int result;

    (void)state;
    assert_answered("local", "local");
    for (unsigned i = 0; i < OUT; i++) {
        submit("local", &ends);
    }
    ends_wait(&ends, 1);
    assert_int_equal(site_client_stop(&site, SIGTERM), 0);
    ends_wait(&ends, OUT);
    if (ends.answers < OUT) {
        assert_int_equal((int)ends.answers + ends.errors[-TANDEM_EDRAINING], OUT);
    }
    result = tandem_open(site.app_socket, &other);
    assert_int_equal(result, TANDEM_EGONE);
    tandem_close(other);
    assert_null(site_ask(site.status_socket, "status\n"));
    assert_int_equal(site_classify(tandem, SITE_PICTURE, "local", 0, &answer), TANDEM_EGONE);
    site_client_start(&site);
    assert_answered("local", "local");
}

/* ---- the edge ---- */

static void test_edge_is_not_there(void **state)
{
    struct tandem_answer *answer = NULL;

    (void)state;
    assert_answered("local", "local");
    assert_answered(NULL, "local");
    assert_answered("cascade", "local");
    assert_int_equal(site_classify(tandem, SITE_PICTURE, "edge", LONG_ENOUGH, &answer),
                     TANDEM_ENOROUTE);
    assert_true(tandem_last_error(tandem)[0] != '\0');
}

/* A server that comes later than the client, dies and comes again is used each time. */
static void test_edge_comes_and_goes(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        site_server_start(&site);
        site_edge_wait(&site, "up");
        assert_answered("edge", "edge:den");
        (void)site_server_stop(&site, i == 0 ? SIGKILL : SIGTERM);
        assert_answered(NULL, "local");
    }
}

/* The edge stops dead with requests on it: the device answers where it may, and a route that was
 * forced ends in a stated error. */
static void test_edge_stopped_with_requests_out(void **state)
{
    struct ends ends = {0}, forced = {0};

    (void)state;
    site_server_start(&site);
    site_edge_wait(&site, "up");
    assert_answered(NULL, "edge:den");
    assert_int_equal(kill(site.server, SIGSTOP), 0);
    for (unsigned i = 0; i < OUT / 2; i++) {
        submit(NULL, &ends);
        submit("edge", &forced);
    }
    (void)tandem_wait(tandem, 100);
    (void)site_server_stop(&site, SIGKILL);
    ends_wait(&ends, OUT / 2);
    ends_wait(&forced, OUT / 2);
    assert_int_equal(ends.local, OUT / 2);
    assert_int_equal(forced.errors[-TANDEM_ENOROUTE], OUT / 2);
    assert_non_null(strstr(forced.text, "edge"));
}

/* A stream of requests over an edge that is killed and started again and again: all are answered.
 */
static void test_edge_killed_under_a_stream(void **state)
{
    struct ends ends = {0};
    unsigned sent = 0;

    (void)state;
    for (int round = 0; round < 3; round++) {
        const unsigned edge = ends.edge;

        site_server_start(&site);
        site_edge_wait(&site, "up");
        for (int i = 0; i < OUT; i++, sent++) {
            submit(i % 2 ? NULL : "cascade", &ends);
            if (i == OUT / 2) {
                ends_wait(&ends, sent - OUT / 4);
            }
        }
        (void)site_server_stop(&site, SIGKILL);
        ends_wait(&ends, sent);
        assert_true(ends.edge > edge); /* used again */
    }
    assert_int_equal(ends.answers, sent);
}

/* The server's SIGTERM: what it has is finished, and it leaves with 0. What was still on its way to
 * it may only end with the word that it stops: it was forced there. */
static void test_edge_drains(void **state)
{
    struct ends ends = {0};

    (void)state;
    site_server_start(&site);
    site_edge_wait(&site, "up");
    for (unsigned i = 0; i < OUT; i++) {
        submit("edge", &ends);
    }
    ends_wait(&ends, 1);
    assert_int_equal(site_server_stop(&site, SIGTERM), 0);
    ends_wait(&ends, OUT);
    assert_true(ends.answers > 0);
    assert_int_equal((int)ends.answers + (int)ends.errors[-TANDEM_EDRAINING] +
                         (int)ends.errors[-TANDEM_ENOROUTE],
                     OUT);
    assert_answered(NULL, "local");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_daemon_killed_with_requests_out),
        cmocka_unit_test(test_daemon_killed_in_the_middle),
        cmocka_unit_test(test_daemon_drains),
        cmocka_unit_test(test_edge_is_not_there),
        cmocka_unit_test(test_edge_comes_and_goes),
        cmocka_unit_test(test_edge_stopped_with_requests_out),
        cmocka_unit_test(test_edge_killed_under_a_stream),
        cmocka_unit_test(test_edge_drains),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
