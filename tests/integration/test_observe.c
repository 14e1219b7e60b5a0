/* test_observe.c: `mode = observe` with real daemons: requests go the prescribed way, decisions say
 * what would have been done, and all else is as ever: answers, callers who say where, the file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/site.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONG_ENOUGH 20000

/* An edge that is never wrong, and errors that are dear: what is decided goes there; and one that
 * is not to be had where a byte is dear. */
#define TO_THE_EDGE "edge_error = 0\none_error_ms = 100000\n"
#define STAYS_HERE  "one_error_ms = 0\none_megabyte_ms = 1000000000\n"

static struct site site;
static struct tandem *tandem;

static int teardown(void **state)
{
    (void)state;
    site_close(&site, tandem);
    return 0;
}

static const char *text(const cJSON *object, const char *name)
{
    const char *value = cJSON_GetStringValue(cJSON_GetObjectItem(object, name));

    assert_non_null(value);
    return value;
}

static void has(const char *whole, const char *part)
{
    if (!strstr(whole, part)) {
        fail_msg("no \"%s\" in: %s", part, whole);
    }
}

/* One picture; its decision, owned, after it has ended. */
static cJSON *classify(const char *route)
{
    struct tandem_answer *answer = NULL;
    char *line;
    cJSON *decision;

    assert_int_equal(site_classify(tandem, SITE_PICTURE, route, LONG_ENOUGH, &answer), 0);
    assert_non_null(tandem_answer_label(answer, 0));
    assert_true(tandem_answer_met_deadline(answer));
    tandem_answer_free(answer);
    line = site_ask(site.status_socket, "decisions 1\n");
    decision = cJSON_Parse(line);
    free(line);
    assert_non_null(decision);
    return decision;
}

/* The same, again until one is answered by `by`: on a starved machine the edge may seem to be
 * silent for a while, and local answers in its stead. */
static cJSON *classify_until(const char *by)
{
    for (int waited = 0; waited < SITE_PATIENCE_MS; waited += 10) {
        cJSON *decision = classify(NULL);

        if (strncmp(text(cJSON_GetObjectItem(decision, "outcome"), "route"), by, strlen(by)) == 0) {
            return decision;
        }
        cJSON_Delete(decision);
        site_pause();
    }
    fail_msg("no answer by %s", by);
    return NULL;
}

/* Observed, answered by `by`; where it would have gone. */
static const char *assert_observed(const cJSON *decision, const char *by)
{
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(decision, "observed")));
    assert_string_equal(text(cJSON_GetObjectItem(decision, "outcome"), "route"), by);
    return text(decision, "route");
}

/* A decision that says what was not done. */
static void elsewhere_check(const cJSON *decision)
{
    char reason[128];

    snprintf(reason, sizeof(reason), "observed only: would have taken %s (",
             text(decision, "route"));
    has(text(decision, "reason"), reason);
    has(text(decision, "reason"), "), ran local");
    assert_true(cJSON_GetArraySize(cJSON_GetObjectItem(decision, "candidates")) >= 3);
}

static void test_local(void **state)
{
    int elsewhere = 0;
    cJSON *decision;
    char *out, id[32];

    (void)state;
    site_open_policy(&site, "mode = observe\nobserve_route = local\n" TO_THE_EDGE, &tandem);
    for (int waited = 0; elsewhere < 5; waited += 10, site_pause()) {
        assert_true(waited < SITE_PATIENCE_MS);
        decision = classify(NULL);
        assert_observed(decision, "local");
        /* nothing left the device */
        assert_false(
            cJSON_GetObjectItem(cJSON_GetObjectItem(decision, "outcome"), "bytes_up")->valuedouble >
            0);
        if (strcmp(text(decision, "route"), "local") != 0) {
            elsewhere_check(decision);
            snprintf(id, sizeof(id), "%s", text(decision, "id"));
            elsewhere++;
        }
        cJSON_Delete(decision);
    }
    assert_true(site_number(site.server_socket, "requests.accepted") == 0);
    decision = classify("edge:den"); /* who says where is obeyed */
    assert_true(cJSON_IsFalse(cJSON_GetObjectItem(decision, "observed")));
    assert_string_equal(text(decision, "reason"), "forced by caller");
    assert_true(site_number(site.server_socket, "requests.accepted") == 1);
    cJSON_Delete(decision);
    assert_int_equal(
        site_run(&out, NULL, "tandemctl", "explain", id, "--socket", site.status_socket, NULL), 0);
    has(out, "\nobserved only: would have taken ");
    assert_null(strstr(out, "a place was kept")); /* nor was it */
    has(out, "answered by local");
    free(out);
    decision = site_status(site.status_socket);
    assert_string_equal(text(decision, "mode"), "observe");
    assert_string_equal(text(decision, "observe_route"), "local");
    cJSON_Delete(decision);
}

static void test_edge(void **state)
{
    cJSON *decision;

    (void)state;
    site_open_policy(&site, "mode = observe\nobserve_route = edge\n" STAYS_HERE, &tandem);
    decision = classify_until("edge:den");
    assert_string_equal(assert_observed(decision, "edge:den"), "local");
    has(text(decision, "reason"), "would have taken local");
    has(text(decision, "reason"), ", ran edge:den");
    cJSON_Delete(decision);
    /* Local is its insurance, as where Tandem decides. */
    assert_int_equal(site_server_stop(&site, SIGKILL), SIGKILL);
    decision = classify(NULL);
    assert_string_equal(assert_observed(decision, "local"), "local");
    cJSON_Delete(decision);
    site_server_start(&site);
}

static void test_cascade(void **state)
{
    cJSON *decision;

    (void)state;
    site_open_policy(&site, "mode = observe\nobserve_route = cascade\n" STAYS_HERE, &tandem);
    decision = classify(NULL);
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(decision, "observed")));
    assert_string_equal(text(decision, "route"), "local");
    has(text(decision, "reason"), ", ran cascade");
    cJSON_Delete(decision);
}

/* To act is one word and a reload; what is on disk tells the two apart. */
static void test_then_decide(void **state)
{
    char path[128], *lines;
    cJSON *decision;

    (void)state;
    site_open_policy(&site, "mode = observe\nobserve_route = local\n" TO_THE_EDGE, &tandem);
    cJSON_Delete(classify(NULL));
    site_configure(&site, &(struct site_config){.client = "[policy]\n" TO_THE_EDGE});
    assert_int_equal(kill(site.client, SIGHUP), 0);
    for (int waited = 0; site_number(site.status_socket, "reloads") < 1; waited += 10) {
        assert_true(waited < SITE_PATIENCE_MS);
        site_pause();
    }
    site_edge_wait(&site, "up");
    decision = classify_until("edge:den");
    assert_true(cJSON_IsFalse(cJSON_GetObjectItem(decision, "observed")));
    assert_string_not_equal(text(decision, "route"), "local");
    cJSON_Delete(decision);
    decision = site_status(site.status_socket);
    assert_string_equal(text(decision, "mode"), "decide");
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(decision, "observe_route")));
    cJSON_Delete(decision);
    assert_int_equal(site_client_stop(&site, SIGTERM), 0);
    snprintf(path, sizeof(path), "%s/state/decisions.jsonl", site.dir);
    lines = site_file(path, NULL);
    has(lines, "\"observed\":true");
    has(strstr(lines, "\"observed\":true"), "\"observed\":false");
    free(lines);
    site_client_start(&site);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_local, teardown),
        cmocka_unit_test_teardown(test_edge, teardown),
        cmocka_unit_test_teardown(test_cascade, teardown),
        cmocka_unit_test_teardown(test_then_decide, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
