/* test_refused.c: an edge that refuses the client's token is never up, is asked ever more seldom,
 * and says why, once in the log; a right token and a SIGHUP mend it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <stdio.h>
#include <cmocka.h>

#include "tests/support/site.h"

#include "common/base/clock.h"

#define WHY        "the token is nobody's"
#define LONG_PAUSE 2000 /* ms: longer than any after a failure that is no refusal */

static void token_write(const struct site *site, const char *token)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/token", site->dir);
    site_write(path, "%s\n", token);
}

/* Polls until a pause is long; the edge is not usable at any look. */
static void pauses_grow(struct site *site)
{
    const int64_t end_ns = clock_now_ns() + (int64_t)SITE_PATIENCE_MS * NS_PER_MS;

    while (site_number(site->status_socket, "edges.0.next_attempt_ms") < LONG_PAUSE) {
        char *answer = site_ask(site->status_socket, "status\n");

        assert_non_null(answer);
        assert_null(strstr(answer, "\"state\":\"up\""));
        assert_null(strstr(answer, "\"state\":\"silent\""));
        free(answer);
        assert_true(clock_now_ns() < end_ns);
        site_pause();
    }
}

static void assert_run(struct site *site, int wanted, const char *words)
{
    char *out, *error;
    const int status = site_run(&out, &error, "tandemctl", "run", "objects", SITE_PICTURE,
                                "--route", "edge", "--json", "--socket", site->status_socket, NULL);

    if (status != wanted || !strstr(out, words)) {
        fail_msg("%d, wanted \"%s\": %s%s", status, words, out, error);
    }
    free(out);
    free(error);
}

static void test_wrong_token(void **state)
{
    static struct site site;
    char *out;

    (void)state;
    site_init(&site, NULL);
    site_server_start(&site);
    token_write(&site, "fedcba98765432100000");
    site_client_start(&site);
    site_log_wait(&site, "client", WHY);
    pauses_grow(&site);
    assert_run(&site, 1, WHY);
    assert_int_equal(
        site_run(&out, NULL, "tandemctl", "edges", "--socket", site.status_socket, NULL), 0);
    assert_non_null(strstr(out, WHY));
    free(out);
    assert_int_equal(site_log_count(&site, "client", ": not connected: "), 1);
    assert_int_equal(site_log_count(&site, "client", WHY), 2); /* and of the request that failed */
    assert_int_equal(site_log_count(&site, "client", "connected to"), 0);
    assert_int_equal(site_log_count(&site, "server", WHY), 1);
    token_write(&site, "0123456789abcdef0123");
    assert_int_equal(kill(site.client, SIGHUP), 0);
    site_edge_wait(&site, "up");
    assert_run(&site, 0, "\"outcome_route\":\"edge:den\"");
    assert_int_equal(site_client_stop(&site, SIGTERM), 0);
    assert_int_equal(site_server_stop(&site, SIGTERM), 0);
    site_fini(&site);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_wrong_token)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
