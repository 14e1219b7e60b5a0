/* test_frozen_edge.c: an edge that keeps its connection and does nothing costs a request or two
 * their patience, then nobody's, and is used again as soon as it moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/site.h"

#include "common/base/clock.h"
#include "common/base/error.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define DEADLINE_MS 1000
#define WAITED_MS   (DEADLINE_MS / 2)
#define REQUESTS    8
#define FORCED_MS   "300"
#define ENDED_MS    3000 /* ten times that: before the link is given up, LIMIT_IDLE_MS */

static struct site site;
static struct tandem *tandem;

static int setup(void **state)
{
    static const struct site_config config = {
        .client = "[policy]\nedge_error = 0\none_error_ms = 1000\n"};

    (void)state;
    site_init(&site, &config);
    return site_open(&site, &tandem);
}

static int teardown(void **state)
{
    (void)state;
    site_close(&site, tandem);
    return 0;
}

/* One request as the policy likes it; true: the edge answered. */
static bool edge_answers(double *ret_ms, bool *ret_silent)
{
    struct tandem_answer *answer = NULL;
    const int result = site_classify(tandem, SITE_PICTURE, NULL, DEADLINE_MS, &answer);
    bool by_edge;

    if (result == TANDEM_ELATE) { /* a starved machine may be late, and says so */
        *ret_ms = DEADLINE_MS;
        tandem_answer_free(answer);
        return false;
    }
    assert_int_equal(result, 0);
    assert_true(tandem_answer_met_deadline(answer));
    by_edge = strcmp(tandem_answer_outcome_route(answer), "edge:den") == 0;
    *ret_ms = tandem_answer_latency_ms(answer);
    *ret_silent = strstr(tandem_answer_reason(answer), "edge does not answer") != NULL;
    tandem_answer_free(answer);
    return by_edge;
}

static void edge_wait(void)
{
    const int64_t end_ns = clock_now_ns() + (int64_t)SITE_PATIENCE_MS * NS_PER_MS;
    double ms;
    bool silent;

    while (!edge_answers(&ms, &silent)) {
        assert_true(clock_now_ns() < end_ns);
        site_pause();
    }
}

static void test_frozen_edge(void **state)
{
    unsigned waited = 0;
    bool silent = false;
    double ms;

    (void)state;
    edge_wait();
    assert_int_equal(kill(site.server, SIGSTOP), 0);
    for (unsigned i = 0; i < REQUESTS; i++) {
        assert_false(edge_answers(&ms, &silent));
        waited += ms > WAITED_MS;
    }
    assert_in_range(waited, 0, 2);
    assert_true(silent);
    site_edge_wait(&site, "silent");
    assert_int_equal(kill(site.server, SIGCONT), 0);
    edge_wait();
    site_edge_wait(&site, "up");
}

/* Where nobody else may answer, the deadline ends it all the same, and says so. */
static void test_forced_edge_ends_at_its_deadline(void **state)
{
    int64_t start_ns;
    char *out, *error;

    (void)state;
    assert_int_equal(kill(site.server, SIGSTOP), 0);
    start_ns = clock_now_ns();
    assert_int_equal(site_run(&out, &error, "tandemctl", "run", "objects", SITE_PICTURE, "--route",
                              "edge", "--deadline-ms", FORCED_MS, "--json", "--socket",
                              site.status_socket, NULL),
                     1);
    assert_in_range(clock_now_ns() - start_ns, 0, ENDED_MS * NS_PER_MS);
    assert_non_null(strstr(out, "\"error_code\":-9,"));
    assert_non_null(strstr(out, "\"met_deadline\":false"));
    assert_int_equal(kill(site.server, SIGCONT), 0);
    edge_wait();
    free(out);
    free(error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_frozen_edge),
                                       cmocka_unit_test(test_forced_edge_ends_at_its_deadline)};

    return cmocka_run_group_tests(tests, setup, teardown);
}
