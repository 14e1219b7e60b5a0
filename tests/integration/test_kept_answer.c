/* test_kept_answer.c: a cascade whose edge is frozen keeps the local answer and hands it over in
 * time; what is marked in time was in time, by the daemon's own record. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/site.h"

#include "common/base/clock.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEADLINE_MS 200
#define KEPT_MS     (DEADLINE_MS / 2) /* who waited this long had the answer for most of it */
#define ROUNDS      20                /* a starved machine may be late with one or another */

static struct site site;
static struct tandem *tandem;

static int setup(void **state)
{
    char path[512];

    (void)state;
    site_init(&site, &(struct site_config){0});
    snprintf(path, sizeof(path), "%s/tasks/objects.conf", site.dir);
    site_write(path,
               "[task]\nkind = classify\nconfidence_threshold = 1\n[local]\nmodel = "
               "%s/deploy/models/objects-local.gguf\n[edge]\nmodel = "
               "%s/deploy/models/objects-edge.gguf\n",
               site.top, site.top);
    return site_open(&site, &tandem);
}

static int teardown(void **state)
{
    (void)state;
    site_close(&site, tandem);
    return 0;
}

static double number(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItem(object, name);

    assert_true(cJSON_IsNumber(item));
    return item->valuedouble;
}

/* One line of `decisions`: what it says of itself agrees. True: an answer that was kept. */
static bool decision_agrees(const char *line)
{
    cJSON *decision = cJSON_Parse(line);
    const cJSON *outcome = cJSON_GetObjectItem(decision, "outcome");
    const double latency_ms = number(outcome, "latency_ms");
    const bool met = cJSON_IsTrue(cJSON_GetObjectItem(outcome, "met_deadline"));
    const char *route = cJSON_GetStringValue(cJSON_GetObjectItem(outcome, "route"));
    const bool here = route && strcmp(route, "local") == 0;
    const bool answered = number(outcome, "error_code") == 0;

    assert_int_equal(met, answered && latency_ms <= number(decision, "deadline_ms"));
    cJSON_Delete(decision);
    return met && here && latency_ms > KEPT_MS;
}

/* True: by the edge. */
static bool cascade_run(uint32_t deadline_ms)
{
    struct tandem_answer *answer = NULL;
    const int result = site_classify(tandem, SITE_PICTURE, "cascade", deadline_ms, &answer);
    bool by_edge = false;

    if (result == 0) {
        assert_true(!tandem_answer_met_deadline(answer) ||
                    tandem_answer_latency_ms(answer) <= deadline_ms);
        by_edge = strcmp(tandem_answer_outcome_route(answer), "edge:den") == 0;
    } else {
        assert_int_equal(result, TANDEM_ELATE); /* a starved machine may be late, and says so */
    }
    tandem_answer_free(answer);
    return by_edge;
}

/* The edge moves again and is asked again. */
static void edge_thaw(void)
{
    assert_int_equal(kill(site.server, SIGCONT), 0);
    site_edge_wait(&site, "up");
    for (int waited = 0; !cascade_run(SITE_PATIENCE_MS); waited += 10) {
        assert_true(waited < SITE_PATIENCE_MS);
        site_pause();
    }
}

/* Of all decisions so far; every one agrees with itself. */
static unsigned kept_count(void)
{
    unsigned kept = 0;
    char *text = site_ask(site.status_socket, "decisions 1000\n"), *at = NULL;

    assert_non_null(text);
    for (char *line = strtok_r(text, "\n", &at); line; line = strtok_r(NULL, "\n", &at)) {
        kept += decision_agrees(line);
    }
    free(text);
    return kept;
}

/* The first request after the freeze is the one that waits; those after it know better. */
static void test_kept_answers_are_in_time(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ROUNDS && kept_count() == 0; i++) {
        edge_thaw();
        assert_int_equal(kill(site.server, SIGSTOP), 0);
        (void)cascade_run(DEADLINE_MS);
        (void)cascade_run(DEADLINE_MS);
    }
    assert_int_equal(kill(site.server, SIGCONT), 0);
    assert_true(kept_count() > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kept_answers_are_in_time)};

    return cmocka_run_group_tests(tests, setup, teardown);
}
