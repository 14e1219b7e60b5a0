/* test_client_bounds.c: what a running tandem-client keeps is bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/limits.h"
#include "tests/support/site.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXTRA 6

static size_t lines_of(const char *text)
{
    size_t lines = 0;

    for (; (text = strchr(text, '\n')) != NULL; text++) {
        lines++;
    }
    return lines;
}

/* One request that ends at once: no edge is connected. Its decision is kept all the same. */
static void refused_request(struct tandem *tandem)
{
    struct tandem_answer *answer = NULL;

    assert_int_equal(site_generate(tandem, "walk", "edge", 0, &answer), TANDEM_ENOROUTE);
    tandem_answer_free(answer);
}

/* The id of the newest decision, as text. */
static void newest_id(const struct site *site, char id[32])
{
    char *line = site_ask(site->status_socket, "decisions 1\n");
    const char *at = line ? strstr(line, "\"id\":\"") : NULL;

    assert_non_null(at);
    snprintf(id, 32, "%.*s", (int)strcspn(at + 6, "\""), at + 6);
    free(line);
}

static bool is_explained(const struct site *site, const char *id)
{
    char request[64], *line;
    bool found;

    snprintf(request, sizeof(request), "explain %s\n", id);
    line = site_ask(site->status_socket, request);
    assert_non_null(line);
    found = strstr(line, "\"error\"") == NULL && strstr(line, id) != NULL;
    free(line);
    return found;
}

/* The ring holds the newest LIMIT_DECISION_RING decisions, oldest first, and forgets the ones
 * before. */
static void test_decision_ring(void **state)
{
    struct site site;
    struct tandem *tandem = NULL;
    char oldest[32], kept[32], *lines;

    (void)state;
    site_init(&site, NULL);
    site_client_start(&site);
    assert_int_equal(tandem_open(site.app_socket, &tandem), 0);
    for (int i = 0; i < EXTRA; i++) {
        refused_request(tandem);
    }
    newest_id(&site, oldest);
    for (int i = 0; i < LIMIT_DECISION_RING - 1; i++) {
        refused_request(tandem);
        if (i == 0) {
            newest_id(&site, kept);
        }
    }
    assert_true(is_explained(&site, oldest)); /* the last that still has a place */
    refused_request(tandem);
    assert_false(is_explained(&site, oldest));
    assert_true(is_explained(&site, kept));
    lines = site_ask(site.status_socket, "decisions 5000\n");
    assert_non_null(lines);
    assert_int_equal(lines_of(lines), LIMIT_DECISION_RING);
    assert_true(strstr(lines, kept) < strchr(lines, '\n')); /* oldest first */
    free(lines);
    tandem_close(tandem);
    assert_int_equal(site_client_stop(&site, SIGTERM), 0);
    site_fini(&site);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decision_ring),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
