/* test_past.c: last night's decisions: what real daemons keep on disk answers `decisions` and
 * `explain` after a kill, and stays within its bound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/site.h"

#include "common/base/limits.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LONG_ENOUGH 20000
#define EARLY       4 /* decisions before the pause, and after it */
#define LATER       4

static struct site site;
static struct tandem *tandem;
static char file_path[128];
static char middle[32]; /* when the later ones began, as --since and --until have it */
static char failed_id[32], late_id[32];

static size_t lines_of(const char *text)
{
    size_t lines = 0;

    for (; *text; text++) {
        lines += *text == '\n';
    }
    return lines;
}

/* Until the disk has so many lines: it is written at most once a second. */
static void kept_wait(size_t lines)
{
    for (int waited = 0; waited < SITE_PATIENCE_MS; waited += 10) {
        char *text = site_file(file_path, NULL);
        const bool done = lines_of(text) >= lines;

        free(text);
        if (done) {
            return;
        }
        site_pause();
    }
    fail_msg("%s never had %zu lines", file_path, lines);
}

/* The id of the newest decision. */
static void id_take(char ret_id[32])
{
    char *line = site_ask(site.status_socket, "decisions 1\n");
    cJSON *decision = cJSON_Parse(line);

    snprintf(ret_id, 32, "%s", cJSON_GetObjectItem(decision, "id")->valuestring);
    cJSON_Delete(decision);
    free(line);
}

static void picture(const char *route)
{
    struct tandem_answer *answer = NULL;

    assert_int_equal(site_classify(tandem, SITE_PICTURE, route, LONG_ENOUGH, &answer), 0);
    tandem_answer_free(answer);
}

static void text(const char *route)
{
    struct tandem_answer *answer = NULL;

    assert_int_equal(site_generate(tandem, "walk twice", route, LONG_ENOUGH, &answer), 0);
    tandem_answer_free(answer);
}

/* Early: 2 here, 1 at the edge, 1 that has no route. Later: 1 here, 2 texts, 1 that is late. */
static int setup(void **state)
{
    struct tandem_answer *answer = NULL;

    (void)state;
    site_init(&site, NULL);
    snprintf(file_path, sizeof(file_path), "%s/state/decisions.jsonl", site.dir);
    if (site_open(&site, &tandem) != 0) {
        return 1;
    }
    picture("local");
    picture("edge");
    picture("local");
    assert_int_equal(site_classify(tandem, SITE_PICTURE, "edge:attic", LONG_ENOUGH, &answer),
                     TANDEM_ENOROUTE);
    id_take(failed_id);
    (void)sleep(1);
    snprintf(middle, sizeof(middle), "@%lld", (long long)time(NULL));
    (void)sleep(1);
    picture("local");
    text("local");
    text("edge");
    assert_int_equal(kill(site.server, SIGSTOP), 0);
    assert_int_equal(site_generate(tandem, "jump", "edge", 200, &answer), TANDEM_ELATE);
    id_take(late_id);
    assert_int_equal(kill(site.server, SIGCONT), 0);
    kept_wait(EARLY + LATER);
    tandem_close(tandem);
    assert_int_equal(site_client_stop(&site, SIGKILL), SIGKILL);
    site_client_start(&site);
    site_edge_wait(&site, "up");
    return tandem_open(site.app_socket, &tandem);
}

static int teardown(void **state)
{
    (void)state;
    site_close(&site, tandem);
    return 0;
}

/* Lines of `tandemctl decisions WORDS --json`; `first_id` (may be NULL) is that of the first. */
static size_t past(char first_id[32], const char *a, const char *b, const char *c, const char *d)
{
    const char *words[4] = {a, b, c, d};
    char *out;
    size_t lines;

    for (size_t i = 0; i < 4; i++) { /* an option of no effect where there is none */
        words[i] = words[i] ? words[i] : "--json";
    }
    assert_int_equal(site_run(&out, NULL, "tandemctl", "decisions", words[0], words[1], words[2],
                              words[3], "--json", "--socket", site.status_socket, NULL),
                     0);
    lines = lines_of(out);
    if (first_id && lines > 0) {
        cJSON *decision = cJSON_Parse(out);

        snprintf(first_id, 32, "%s", cJSON_GetObjectItem(decision, "id")->valuestring);
        cJSON_Delete(decision);
    }
    free(out);
    return lines;
}

static void test_by_time(void **state)
{
    (void)state;
    assert_int_equal(past(NULL, "-n", "100", NULL, NULL), 0); /* memory is empty */
    assert_int_equal(past(NULL, "--since", "1h", NULL, NULL), EARLY + LATER);
    assert_int_equal(past(NULL, "--since", middle, NULL, NULL), LATER);
    assert_int_equal(past(NULL, "--until", middle, NULL, NULL), EARLY);
    assert_int_equal(past(NULL, "--since", "1h", "--until", middle), EARLY);
    assert_int_equal(past(NULL, "--since", "1h", "-n", "2"), 2);
}

/* Of all that are on disk. */
static void slowest_find(char ret_id[32])
{
    char *out, *rest, *line;
    double slowest_ms = -1;

    assert_int_equal(site_run(&out, NULL, "tandemctl", "decisions", "--since", "1h", "--json",
                              "--socket", site.status_socket, NULL),
                     0);
    rest = out;
    while ((line = strsep(&rest, "\n")) && line[0]) {
        cJSON *decision = cJSON_Parse(line);
        const cJSON *latency =
            cJSON_GetObjectItem(cJSON_GetObjectItem(decision, "outcome"), "latency_ms");

        if (latency->valuedouble > slowest_ms) {
            slowest_ms = latency->valuedouble;
            snprintf(ret_id, 32, "%s", cJSON_GetObjectItem(decision, "id")->valuestring);
        }
        cJSON_Delete(decision);
    }
    free(out);
    assert_true(slowest_ms >= 200); /* the late one, at least */
}

static void test_of_a_kind(void **state)
{
    char id[32], slowest[32];

    (void)state;
    assert_int_equal(past(NULL, "--since", "1h", "--task", "commands"), 3);
    assert_int_equal(past(NULL, "--since", "1h", "--task", "nosuch"), 0);
    assert_int_equal(past(NULL, "--since", "1h", "--route", "local"), 4);
    assert_int_equal(past(NULL, "--since", "1h", "--route", "edge"), 3);
    assert_int_equal(past(NULL, "--since", "1h", "--route", "edge:den"), 3);
    assert_int_equal(past(NULL, "--since", middle, "--route", "cascade"), 0);
    assert_int_equal(past(NULL, "--missed", NULL, NULL, NULL), 2);
    assert_int_equal(past(id, "--missed", "--until", middle, NULL), 1);
    assert_string_equal(id, failed_id);
    assert_int_equal(past(id, "--slow", "3", NULL, NULL), 3);
    slowest_find(slowest);
    assert_string_equal(id, slowest);
    assert_int_equal(past(NULL, "--slow", "--task", "objects", NULL), EARLY + 1);
}

static void test_explained(void **state)
{
    char *out;

    (void)state;
    assert_int_equal(
        site_run(&out, NULL, "tandemctl", "explain", late_id, "--socket", site.status_socket, NULL),
        0);
    assert_non_null(strstr(out, late_id));
    assert_non_null(strstr(out, "commands"));
    assert_non_null(strstr(out, "failed: "));
    free(out);
    assert_int_equal(site_run(&out, NULL, "tandemctl", "decisions", "--missed", "--socket",
                              site.status_socket, NULL),
                     0);
    assert_non_null(strstr(out, "ENOROUTE"));
    assert_non_null(strstr(out, "ELATE"));
    free(out);
}

/* No file is ever larger than its bound, and both are looked through. */
static void test_bound(void **state)
{
    char old_path[160], id[32], *lines, *end;
    struct stat now, old;
    size_t held = 0, bytes;
    FILE *file;

    (void)state;
    tandem_close(tandem);
    assert_int_equal(site_client_stop(&site, SIGTERM), 0);
    lines = site_file(file_path, &held);
    end = strchr(lines, '\n') + 1;
    bytes = (size_t)(end - lines);
    file = fopen(file_path, "a");
    assert_non_null(file);
    for (; held + 2 * bytes < LIMIT_DECISION_FILE_BYTES; held += bytes) {
        assert_int_equal(fwrite(lines, 1, bytes, file), bytes);
    }
    assert_int_equal(fclose(file), 0);
    free(lines);
    site_client_start(&site);
    site_edge_wait(&site, "up");
    assert_int_equal(tandem_open(site.app_socket, &tandem), 0);
    snprintf(old_path, sizeof(old_path), "%s.1", file_path);
    for (int waited = 0; stat(old_path, &old) != 0; waited += 10) {
        assert_true(waited < SITE_PATIENCE_MS);
        picture("local");
        site_pause();
    }
    id_take(id);
    tandem_close(tandem);
    assert_int_equal(site_client_stop(&site, SIGTERM), 0);
    assert_int_equal(stat(file_path, &now), 0);
    assert_int_equal(stat(old_path, &old), 0);
    assert_true(old.st_size <= LIMIT_DECISION_FILE_BYTES);
    assert_true(old.st_size > LIMIT_DECISION_FILE_BYTES / 2);
    assert_true(now.st_size > 0 && now.st_size < LIMIT_DECISION_FILE_BYTES / 2);
    site_client_start(&site);
    site_edge_wait(&site, "up");
    assert_int_equal(tandem_open(site.app_socket, &tandem), 0);
    assert_int_equal(
        site_run(NULL, NULL, "tandemctl", "explain", id, "--socket", site.status_socket, NULL), 0);
    assert_int_equal(
        site_run(NULL, NULL, "tandemctl", "explain", late_id, "--socket", site.status_socket, NULL),
        0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_time), cmocka_unit_test(test_of_a_kind),
        cmocka_unit_test(test_explained), cmocka_unit_test(test_bound)};

    return cmocka_run_group_tests(tests, setup, teardown);
}
