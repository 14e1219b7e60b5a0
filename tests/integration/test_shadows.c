/* test_shadows.c: `shadow_percent` with real daemons: what did not run is run for the record and
 * told, on the socket, in the file and by replay; requests go first; what may not leave does not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/site.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONG_ENOUGH 20000
#define HERE        "mode = observe\nobserve_route = local\nshadow_percent = 100\n"
#define BURST       48 /* requests that run here, long enough for an edge to answer meanwhile */
#define ELSEWHERE   4
#define LARGE_SIDE  400

static struct site site;
static struct tandem *tandem;

static int teardown(void **state)
{
    (void)state;
    site_close(&site, tandem);
    return 0;
}

static const cJSON *member(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

static const char *text(const cJSON *object, const char *name)
{
    const char *value = cJSON_GetStringValue(member(object, name));

    assert_non_null(value);
    return value;
}

static void classify(const char *route)
{
    struct tandem_answer *answer = NULL;

    assert_int_equal(site_classify(tandem, SITE_PICTURE, route, LONG_ENOUGH, &answer), 0);
    tandem_answer_free(answer);
}

static void generate(const char *route)
{
    struct tandem_answer *answer = NULL;

    assert_int_equal(site_generate(tandem, "walk twice", route, LONG_ENOUGH, &answer), 0);
    tandem_answer_free(answer);
}

/* Until so many sides have run for the record, and none is under way. */
static void shadows_wait(const char *side, double count)
{
    char path[64];

    snprintf(path, sizeof(path), "shadows.%s", side);
    for (int waited = 0; site_number(site.status_socket, path) < count ||
                         site_number(site.status_socket, "shadows.under_way") > 0;
         waited += 10) {
        if (waited >= SITE_PATIENCE_MS) {
            fail_msg("%s: %g of %g", path, site_number(site.status_socket, path), count);
        }
        site_pause();
    }
    assert_true(site_number(site.status_socket, path) == count);
}

/* The objects of an answer, one a line, in an array: owned. */
static cJSON *objects(char *lines)
{
    cJSON *all = cJSON_CreateArray();
    char *at = NULL;

    for (char *line = strtok_r(lines, "\n", &at); line; line = strtok_r(NULL, "\n", &at)) {
        cJSON *object = cJSON_Parse(line);

        assert_non_null(object);
        cJSON_AddItemToArray(all, object);
    }
    free(lines);
    return all;
}

/* Every decision has one side besides: this one, with a latency. */
static void assert_measured(cJSON *decisions, int count, const char *route)
{
    const cJSON *decision;

    assert_int_equal(cJSON_GetArraySize(decisions), count);
    cJSON_ArrayForEach(decision, decisions)
    {
        const cJSON *measured = member(decision, "measured");
        const cJSON *side = cJSON_GetArrayItem(measured, 0);

        assert_int_equal(cJSON_GetArraySize(measured), 1);
        assert_string_equal(text(side, "route"), route);
        assert_true(member(side, "latency_ms")->valuedouble > 0);
        assert_true(cJSON_IsBool(member(side, "agreed")));
        assert_int_equal(member(side, "error_code")->valueint, 0);
    }
    cJSON_Delete(decisions);
}

static void has(const char *whole, const char *part)
{
    if (!strstr(whole, part)) {
        fail_msg("no \"%s\" in: %s", part, whole);
    }
}

/* ---- observed here, measured there ---- */

static void told_on_disk_check(int count)
{
    char path[128], *out;

    snprintf(path, sizeof(path), "%s/state/decisions.jsonl", site.dir);
    assert_int_equal(
        site_run(&out, NULL, "tandemctl", "decisions", "--file", path, "-n", "100", "--json", NULL),
        0);
    assert_measured(objects(out), count, "edge:den");
    assert_int_equal(site_run(&out, NULL, "tandemctl", "replay", path, "--policy", "edge", NULL),
                     0);
    has(out, "4 requests, policy edge");
    for (const char *row = out; (row = strstr(row, "mean latency")) != NULL; row++) {
        has(row, "measured");
    }
    has(strstr(out, "mean latency"), "  measured\n");
    free(out);
}

static void test_edge(void **state)
{
    cJSON *decisions;
    char id[32], line[64], *out;

    (void)state;
    site_open_policy(&site, HERE, &tandem);
    for (int i = 0; i < 3; i++) {
        classify(NULL);
    }
    generate(NULL);
    shadows_wait("edge", 4);
    assert_true(site_number(site.status_socket, "shadows.local") == 0);
    assert_true(site_number(site.status_socket, "shadows.bytes_up") > 0);
    assert_true(site_number(site.server_socket, "requests.accepted") == 4);
    assert_true(site_number(site.status_socket, "counters.edge") == 0); /* of requests: none */
    decisions = objects(site_ask(site.status_socket, "decisions 10\n"));
    snprintf(id, sizeof(id), "%s", text(cJSON_GetArrayItem(decisions, 0), "id"));
    assert_measured(decisions, 4, "edge:den");
    decisions = objects(site_ask(site.status_socket, "decisions 10 since=0\n"));
    assert_measured(decisions, 4, "edge:den");
    assert_int_equal(
        site_run(&out, NULL, "tandemctl", "explain", id, "--socket", site.status_socket, NULL), 0);
    has(strstr(out, "otherwise:"), "measured");
    free(out);
    /* A restart: memory has nothing, the file everything. */
    assert_int_equal(site_client_stop(&site, SIGTERM), 0);
    site_client_start(&site);
    site_edge_wait(&site, "up");
    snprintf(line, sizeof(line), "explain %s\n", id);
    assert_measured(objects(site_ask(site.status_socket, line)), 1, "edge:den");
    told_on_disk_check(4);
}

static void test_local(void **state)
{
    (void)state;
    site_open_policy(&site, "mode = observe\nobserve_route = edge\nshadow_percent = 100\n",
                     &tandem);
    classify("edge:den");
    generate("edge:den");
    shadows_wait("local", 2);
    assert_measured(objects(site_ask(site.status_socket, "decisions 10\n")), 2, "local");
}

/* ---- requests go first ---- */

static void on_done(struct tandem *handle, uint64_t id, int error, struct tandem_answer *answer,
                    void *user)
{
    int *left = user;

    (void)handle;
    (void)id;
    assert_int_equal(error, 0);
    tandem_answer_free(answer);
    --*left;
}

/* A raw picture of many pixels, so that a run here takes a while. */
static void large_begin(const char *route, int *left)
{
    static uint8_t pixels[LARGE_SIDE * LARGE_SIDE * 3];
    struct tandem_request request;

    tandem_request_init(&request, "objects");
    request.picture.format = TANDEM_PIXELS_RGB;
    request.picture.width = request.picture.height = LARGE_SIDE;
    request.picture.data = pixels;
    request.picture.bytes = sizeof(pixels);
    request.route = route;
    request.deadline_ms = LONG_ENOUGH;
    assert_int_equal(tandem_submit(tandem, &request, on_done, NULL, left, NULL), 0);
}

/* While a burst runs here, an edge answers others, whose shadows are to run here. None has run
 * before the burst is over: the file, which has what happened in its order, tells of the first
 * shadow behind the last request that ran here. */
static void test_burst(void **state)
{
    int left = BURST + ELSEWHERE;
    char path[128], *lines, *first, *last, *shadow;

    (void)state;
    site_open_policy(&site, "shadow_percent = 100\n", &tandem);
    for (int i = 0; i < BURST; i++) {
        large_begin("local", &left);
    }
    for (int i = 0; i < ELSEWHERE; i++) {
        large_begin("edge:den", &left);
    }
    while (left > 0) {
        assert_true(tandem_wait(tandem, SITE_PATIENCE_MS) >= 0);
    }
    shadows_wait("local", ELSEWHERE);
    assert_int_equal(site_client_stop(&site, SIGTERM), 0);
    snprintf(path, sizeof(path), "%s/state/decisions.jsonl", site.dir);
    lines = site_file(path, NULL);
    first = strstr(lines, "\"route\":\"local\",\"reason\"");
    assert_non_null(first);
    for (last = first; (shadow = strstr(last + 1, "\"route\":\"local\",\"reason\"")) != NULL;) {
        last = shadow;
    }
    shadow = strstr(first, "\"measured\":");
    assert_non_null(shadow);
    assert_true(shadow > last);
    free(lines);
    site_client_start(&site);
}

/* ---- what may not leave ---- */

/* By the task's rule, by the caller's, and by the route. */
static void private_classify(const char *task, bool never, const char *route)
{
    struct tandem_answer *answer = NULL;
    struct tandem_request request;
    size_t bytes;
    void *data = site_file(SITE_PICTURE, &bytes);

    tandem_request_init(&request, task);
    request.never_leave_device = never;
    request.picture.data = data;
    request.picture.bytes = bytes;
    request.route = route;
    assert_int_equal(tandem_call(tandem, &request, &answer), 0);
    tandem_answer_free(answer);
    free(data);
}

static void test_privacy(void **state)
{
    cJSON *decisions;

    (void)state;
    site_open_policy(&site, HERE, &tandem);
    private_classify("private", false, NULL);
    private_classify("objects", true, NULL);
    private_classify("objects", false, "local");
    private_classify("objects", false, NULL); /* may leave; what stood before it did not */
    shadows_wait("edge", 1);
    assert_true(site_number(site.server_socket, "requests.accepted") == 1);
    decisions = objects(site_ask(site.status_socket, "decisions 10\n"));
    assert_int_equal(cJSON_GetArraySize(decisions), 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(member(cJSON_GetArrayItem(decisions, i), "measured") != NULL, i == 3);
    }
    cJSON_Delete(decisions);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_edge, teardown),
        cmocka_unit_test_teardown(test_local, teardown),
        cmocka_unit_test_teardown(test_burst, teardown),
        cmocka_unit_test_teardown(test_privacy, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
