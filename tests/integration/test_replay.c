/* test_replay.c: `tandemctl replay` over what a real daemon has recorded: its sums are those of the
 * file, whichever way it comes, and what was only observed is replayed as what would be done. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/site.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONG_ENOUGH 20000

static struct site site;
static struct tandem *tandem;
static char file_path[128];

static void picture(const char *path, const char *route, int wanted)
{
    struct tandem_answer *answer = NULL;

    assert_int_equal(site_classify(tandem, path, route, LONG_ENOUGH, &answer), wanted);
    tandem_answer_free(answer);
}

/* Whether the newest decision is not to stay here; on a starved machine the edge may seem to be
 * silent for a while. */
static bool is_elsewhere(void)
{
    char *line = site_ask(site.status_socket, "decisions 1\n");
    cJSON *decision = cJSON_Parse(line);
    const bool elsewhere =
        strcmp(cJSON_GetStringValue(cJSON_GetObjectItem(decision, "route")), "local") != 0;

    cJSON_Delete(decision);
    free(line);
    return elsewhere;
}

static void requests_make(void)
{
    static const char *const names[] = {"cat-0153", "dog-1657", "ship-0445", "truck-1737"};

    for (int i = 0; i < 12; i++) {
        char path[128];

        snprintf(path, sizeof(path), SITE_SAMPLES "%s.jpg", names[i % 4]);
        picture(path, i < 8 ? NULL : "cascade", 0);
    }
    for (int waited = 0; waited < SITE_PATIENCE_MS; waited += 10) {
        picture(SITE_PICTURE, NULL, 0);
        if (is_elsewhere()) {
            break;
        }
        site_pause();
    }
    picture(SITE_PICTURE, "edge", 0);
    picture("Makefile", NULL, TANDEM_EFORMAT); /* at fault: it does not count */
}

/* The requests above, with this policy, and the client stopped, so that all is on disk. */
static void record(const char *policy)
{
    char client[256];

    snprintf(client, sizeof(client), "[policy]\n%s", policy);
    site_init(&site, &(struct site_config){.client = client});
    snprintf(file_path, sizeof(file_path), "%s/state/decisions.jsonl", site.dir);
    assert_int_equal(site_open(&site, &tandem), 0);
    requests_make();
    tandem_close(tandem);
    tandem = NULL;
    assert_int_equal(site_client_stop(&site, SIGTERM), 0);
}

static int teardown(void **state)
{
    (void)state;
    site_fini(&site);
    return 0;
}

static cJSON *replay(const char *option, const char *value)
{
    char *out;
    cJSON *object;

    assert_int_equal(
        site_run(&out, NULL, "tandemctl", "replay", file_path, "--json", option, value, NULL), 0);
    object = cJSON_Parse(out);
    assert_non_null(object);
    free(out);
    return object;
}

static double number(const cJSON *object, const char *outer, const char *key)
{
    const cJSON *from = outer ? cJSON_GetObjectItem(object, outer) : object;
    const cJSON *item = cJSON_GetObjectItem(from, key);

    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

static void same(double is, double should)
{
    if (!(fabs(is - should) <= 1e-9 * fmax(1, fabs(should)))) {
        fail_msg("%.9g, not %.9g", is, should);
    }
}

/* Of the lines of the file that count. */
struct sums {
    size_t count, local, forced;
    double latency_ms, bytes;
};

static struct sums file_sums(void)
{
    char *text = site_file(file_path, NULL), *rest = text, *line;
    struct sums sums = {0};

    while ((line = strsep(&rest, "\n")) && line[0]) {
        cJSON *decision = cJSON_Parse(line);
        const cJSON *outcome = cJSON_GetObjectItem(decision, "outcome");
        const char *route = cJSON_GetStringValue(cJSON_GetObjectItem(decision, "route"));

        if (number(outcome, NULL, "error_code") == 0) {
            sums.count++;
            sums.local += strcmp(route, "local") == 0;
            sums.forced += strstr(line, "forced by caller") != NULL;
            sums.latency_ms += number(outcome, NULL, "latency_ms");
            sums.bytes += fmax(number(outcome, NULL, "bytes_up"), 0);
        }
        cJSON_Delete(decision);
    }
    free(text);
    return sums;
}

static void test_sums_of_the_file(void **state)
{
    cJSON *object;
    struct sums sums;

    (void)state;
    record("edge_error = 0\none_error_ms = 100000\n");
    sums = file_sums();
    assert_true(sums.count >= 14 && sums.forced == 5);
    object = replay("--policy", "tandem");
    same(number(object, NULL, "requests"), (double)sums.count);
    same(number(object, NULL, "changed"), 0); /* the decisions it has made */
    same(number(object, NULL, "forced"), 5);
    same(number(object, NULL, "unfinished"), 1);
    same(number(object, "recorded", "latency_mean_ms"), sums.latency_ms / (double)sums.count);
    same(number(object, "recorded", "megabytes"), sums.bytes / 1e6);
    same(number(object, "replayed", "cost_ms"), number(object, "recorded", "cost_ms"));
    cJSON_Delete(object);
    object = replay("--policy", "local");
    same(number(object, NULL, "changed"), (double)(sums.count - sums.forced - sums.local));
    same(number(cJSON_GetObjectItem(object, "replayed"), "routes", "local"),
         (double)(sums.count - sums.forced));
    assert_true(number(object, "replayed", "megabytes") < number(object, "recorded", "megabytes"));
    assert_true(number(object, "replayed", "cost_ms") > number(object, "recorded", "cost_ms"));
    cJSON_Delete(object);
}

/* The file, and the same lines from the daemon. */
static void test_either_way(void **state)
{
    char copy[160], *lines, *from_file, *from_daemon;

    (void)state;
    record("");
    assert_int_equal(site_run(&from_file, NULL, "tandemctl", "replay", file_path, "--json",
                              "--prefer", "battery", NULL),
                     0);
    site_client_start(&site);
    assert_int_equal(site_run(&lines, NULL, "tandemctl", "decisions", "--since", "1h", "--json",
                              "--socket", site.status_socket, NULL),
                     0);
    snprintf(copy, sizeof(copy), "%s/copy.jsonl", site.dir);
    site_write(copy, "%s", lines);
    assert_int_equal(site_run(&from_daemon, NULL, "tandemctl", "replay", copy, "--json", "--prefer",
                              "battery", NULL),
                     0);
    assert_string_equal(from_daemon, from_file);
    free(lines);
    free(from_file);
    free(from_daemon);
}

/* Recorded is what was prescribed, replayed what Tandem would have done. */
static void test_observed(void **state)
{
    char wanted[64], *out;
    struct sums sums;
    double changed;
    cJSON *object;

    (void)state;
    record("mode = observe\nobserve_route = local\nedge_error = 0\none_error_ms = 100000\n");
    sums = file_sums();
    object = replay("--policy", "tandem");
    same(number(object, NULL, "requests"), (double)sums.count);
    same(number(cJSON_GetObjectItem(object, "recorded"), "routes", "local"),
         (double)(sums.count - sums.forced));
    changed = number(object, NULL, "changed");
    same(changed, (double)(sums.count - sums.forced - sums.local));
    assert_true(number(object, "replayed", "errors") < number(object, "recorded", "errors"));
    cJSON_Delete(object);
    assert_int_equal(site_run(&out, NULL, "tandemctl", "replay", file_path, NULL), 0);
    snprintf(wanted, sizeof(wanted), "%zu requests, policy tandem: %.0f (", sums.count, changed);
    assert_non_null(strstr(out, wanted));
    assert_non_null(strstr(out, "as recorded: 5 forced by their callers\n"
                                "left out: 1 unfinished or at fault\n"));
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_sums_of_the_file, teardown),
        cmocka_unit_test_teardown(test_either_way, teardown),
        cmocka_unit_test_teardown(test_observed, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
