/* test_upload.c: a large picture through real daemons. Over a thin link it goes to the edge smaller
 * than it came, the decision says so and why, and the answer is the same; over a fast one, and
 * where nothing was measured, it goes as it came. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/picture.h"
#include "tests/support/site.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMES  40 /* 1280x960 */
#define LABEL  "cat"
#define SAMPLE SITE_SAMPLES "cat-0153.jpg"

static struct site site;
static struct tandem *tandem;
static char picture[128];
static double picture_bytes;

/* `edge`: more lines of the edge; `measured`: more lines of the task's [edge]. */
static void begin(const char *edge, const char *measured)
{
    /* Errors are so dear that a machine which has no time for this test looks like no thin link. */
    const struct site_config config = {.edge = edge, .client = "[policy]\none_error_ms = 50000\n"};
    char path[128];

    site_init(&site, &config);
    snprintf(path, sizeof(path), "%s/tasks/objects.conf", site.dir);
    site_write(path,
               "[task]\nkind = classify\ndefault_deadline_ms = 20000\n"
               "[local]\nmodel = %s/deploy/models/objects-local.gguf\n"
               "[edge]\nmodel = %s/deploy/models/objects-edge.gguf\n",
               site.top, site.top);
    if (measured) {
        site_write(path,
                   "[task]\nkind = classify\ndefault_deadline_ms = 20000\n"
                   "[local]\nmodel = %s/deploy/models/objects-local.gguf\n"
                   "[edge]\nmodel = %s/deploy/models/objects-edge.gguf\nupload_effects = %s/%s\n",
                   site.top, site.top, site.top, measured);
    }
    assert_int_equal(site_open(&site, &tandem), 0);
    snprintf(picture, sizeof(picture), "%s/picture.jpg", site.dir);
    picture_bytes = (double)picture_enlarge(SAMPLE, TIMES, picture);
    assert_true(picture_bytes > 100000);
}

static void end(void)
{
    site_close(&site, tandem);
}

/* Sends it to the edge; its decision's outcome as JSON, owned. The answer is a cat in any case. */
static cJSON *outcome_of(char reason[256])
{
    struct tandem_answer *answer = NULL;
    char line[64];
    cJSON *decision;

    assert_int_equal(site_classify(tandem, picture, "edge", 0, &answer), 0);
    assert_string_equal(tandem_answer_outcome_route(answer), "edge:den");
    assert_string_equal(tandem_answer_label(answer, 0), LABEL);
    snprintf(reason, 256, "%s", tandem_answer_reason(answer));
    snprintf(line, sizeof(line), "explain %s\n", tandem_answer_id(answer));
    tandem_answer_free(answer);
    {
        char *text = site_ask(site.status_socket, line);

        decision = cJSON_Parse(text);
        free(text);
    }
    assert_non_null(decision);
    return decision;
}

static double outcome_number(const cJSON *decision, const char *of, const char *name)
{
    const cJSON *outcome = cJSON_GetObjectItemCaseSensitive(decision, "outcome");
    const cJSON *item =
        of ? cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(outcome, of), name)
           : cJSON_GetObjectItemCaseSensitive(outcome, name);

    return cJSON_IsNumber(item) ? item->valuedouble : -1;
}

/* What the status says of the task's pictures. */
static void status_check(const char *mode, bool measured)
{
    cJSON *status = site_status(site.status_socket);
    const cJSON *task;
    bool seen = false;

    cJSON_ArrayForEach(task, cJSON_GetObjectItemCaseSensitive(status, "tasks"))
    {
        const cJSON *upload = cJSON_GetObjectItemCaseSensitive(task, "upload");
        const cJSON *edge = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(task, "edges"), 0);

        if (strcmp(cJSON_GetObjectItemCaseSensitive(task, "name")->valuestring, "objects") != 0) {
            continue;
        }
        seen = true;
        assert_string_equal(cJSON_GetObjectItemCaseSensitive(upload, "mode")->valuestring, mode);
        assert_int_equal(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(edge, "upload_measured")),
                         measured);
        assert_int_equal(cJSON_HasObjectItem(upload, "measured_digest"), measured);
    }
    assert_true(seen);
    cJSON_Delete(status);
}

static void test_thin_link(void **state)
{
    char reason[256];
    cJSON *decision;

    (void)state;
    begin("max_up_kbit = 800\n", "deploy/models/objects-edge.forms.csv");
    decision = outcome_of(reason);
    assert_true(outcome_number(decision, "upload", "width") >= 32);
    assert_true(outcome_number(decision, "upload", "width") <= 256);
    assert_true(outcome_number(decision, "upload", "quality") >= 50);
    assert_true(outcome_number(decision, NULL, "bytes_up") < picture_bytes / 20);
    assert_true(outcome_number(decision, NULL, "bytes_up") >=
                outcome_number(decision, "upload", "bytes"));
    assert_true(outcome_number(decision, NULL, "prepare_ms") > 0);
    if (!strstr(reason, "; sent as ") || !strstr(reason, ": the link is thin")) {
        fail_msg("the reason is: %s", reason);
    }
    cJSON_Delete(decision);
    status_check("auto", true);
    end();
}

static void as_it_came_check(void)
{
    char reason[256];

    for (int i = 0; i < 3; i++) { /* the first ones learn how fast it is */
        cJSON *decision = outcome_of(reason);

        assert_true(outcome_number(decision, "upload", "width") < 0);
        assert_true(outcome_number(decision, NULL, "bytes_up") >= picture_bytes);
        assert_null(strstr(reason, "sent as"));
        cJSON_Delete(decision);
    }
}

static void test_fast_link(void **state)
{
    (void)state;
    begin("", "deploy/models/objects-edge.forms.csv");
    as_it_came_check();
    end();
}

static void test_nothing_was_measured(void **state)
{
    (void)state;
    begin("max_up_kbit = 8000\n", NULL);
    as_it_came_check();
    status_check("original", false);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_thin_link),
        cmocka_unit_test(test_fast_link),
        cmocka_unit_test(test_nothing_was_measured),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
