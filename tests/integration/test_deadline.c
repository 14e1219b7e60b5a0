/* test_deadline.c: a deadline in the middle of a text that takes far longer: here and at the edge
 * what there is by then comes in time and is marked as a part. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/site.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define MOST_TOKENS "2000" /* seconds of work, on any machine */
#define FIRST_MS    250
#define LAST_MS     16000 /* a starved machine may need this long for the first token */

static struct site site;
static struct tandem *tandem;

/* A random model, deep and narrow: it is slow for its size, and never ends by itself. */
static int setup(void **state)
{
    char path[128], model[128];

    (void)state;
    site_init(&site, NULL);
    snprintf(model, sizeof(model), "%s/slow.gguf", site.dir);
    assert_int_equal(site_run(NULL, NULL, "tandem-model", "synth", model, "--shape", "tiny",
                              "--layers", "200", "--projection", "Q-K=V", "--kv-heads", "1",
                              "--seed", "5", NULL),
                     0);
    snprintf(path, sizeof(path), "%s/tasks/stories.conf", site.dir);
    site_write(path,
               "[task]\nkind = generate\nmax_new_tokens = " MOST_TOKENS
               "\n[local]\nmodel = %s\n[edge]\nmodel = %s\n",
               model, model);
    return site_open(&site, &tandem);
}

static int teardown(void **state)
{
    (void)state;
    site_close(&site, tandem);
    return 0;
}

/* True: a part of the text came in time. An answer that came is never whole and never late. */
static bool part_comes(const char *route, const char *outcome_route, uint32_t deadline_ms)
{
    struct tandem_request request;
    struct tandem_answer *answer = NULL;
    size_t bytes;
    int result;

    tandem_request_init(&request, "stories");
    request.text = "walk";
    request.route = route;
    request.deadline_ms = deadline_ms;
    result = tandem_call(tandem, &request, &answer);
    if (result == TANDEM_ELATE) {
        return false;
    }
    if (result != 0) {
        fail_msg("by %s within %u ms: %d: %s", route, deadline_ms, result,
                 tandem_last_error(tandem));
    }
    assert_true(tandem_answer_partial(answer));
    assert_true(tandem_answer_met_deadline(answer));
    assert_true(tandem_answer_latency_ms(answer) <= deadline_ms);
    assert_string_equal(tandem_answer_outcome_route(answer), outcome_route);
    assert_true(tandem_answer_tokens(answer) > 0);
    assert_non_null(tandem_answer_text(answer, &bytes));
    assert_true(bytes > 0 || strcmp(route, "edge") == 0); /* a token may have no text */
    tandem_answer_free(answer);
    return true;
}

static void part_wait(const char *route, const char *outcome_route)
{
    for (uint32_t deadline_ms = FIRST_MS; !part_comes(route, outcome_route, deadline_ms);
         deadline_ms *= 2) {
        assert_true(deadline_ms < LAST_MS);
    }
}

static void test_here(void **state)
{
    (void)state;
    part_wait("local", "local");
}

static void test_at_the_edge(void **state)
{
    (void)state;
    part_wait("edge", "edge:den");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_here),
                                       cmocka_unit_test(test_at_the_edge)};

    return cmocka_run_group_tests(tests, setup, teardown);
}
