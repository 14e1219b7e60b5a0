/* test_feedback.c: what an application says of answers, with a real daemon: the local model is
 * believed to be as wrong as it is said to be, over a restart, until that is forgotten; and
 * decisions tell it wherever they are read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "tests/support/raw_app.h"
#include "tests/support/site.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS    20 /* so often it was wrong */
#define ID_BYTES 21 /* of a decision */

static struct site site;
static struct tandem *tandem;

static int setup(void **state)
{
    (void)state;
    site_init(&site, NULL);
    site_client_start(&site);
    return tandem_open(site.app_socket, &tandem);
}

static int teardown(void **state)
{
    (void)state;
    tandem_close(tandem);
    assert_int_equal(site_client_stop(&site, SIGTERM), 0);
    site_fini(&site);
    return 0;
}

static void restart(void)
{
    tandem_close(tandem);
    assert_int_equal(site_client_stop(&site, SIGTERM), 0);
    site_client_start(&site);
    assert_int_equal(tandem_open(site.app_socket, &tandem), 0);
}

/* One local answer to the picture: its decision's id. */
static void local_answer(char ret_id[ID_BYTES])
{
    struct tandem_answer *answer = NULL;

    assert_int_equal(site_classify(tandem, SITE_PICTURE, "local", 20000, &answer), 0);
    assert_string_equal(tandem_answer_outcome_route(answer), "local");
    snprintf(ret_id, ID_BYTES, "%s", tandem_answer_id(answer));
    tandem_answer_free(answer);
}

/* The same of other bytes that show the same: `number` follows the picture's end. */
static void fresh_answer(unsigned number, char ret_id[ID_BYTES])
{
    struct tandem_request request;
    struct tandem_answer *answer = NULL;
    uint8_t data[4096];
    size_t bytes;
    char *picture = site_file(SITE_PICTURE, &bytes);

    assert_true(bytes + sizeof(number) <= sizeof(data));
    memcpy(data, picture, bytes);
    memcpy(data + bytes, &number, sizeof(number));
    free(picture);
    tandem_request_init(&request, "objects");
    request.picture.data = data;
    request.picture.bytes = bytes + sizeof(number);
    request.route = "local";
    request.deadline_ms = 20000;
    assert_int_equal(tandem_call(tandem, &request, &answer), 0);
    snprintf(ret_id, ID_BYTES, "%s", tandem_answer_id(answer));
    tandem_answer_free(answer);
}

/* What `tandemctl` prints as one JSON object. Owned. */
static cJSON *explained(const char *id)
{
    char line[64], *text;
    cJSON *object;

    snprintf(line, sizeof(line), "explain %s\n", id);
    text = site_ask(site.status_socket, line);
    assert_non_null(text);
    object = cJSON_Parse(text);
    assert_non_null(object);
    free(text);
    return object;
}

static const cJSON *member(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

/* How wrong a local answer to this picture is believed to be now. */
static double local_error(void)
{
    double error = -1;
    const cJSON *item;
    cJSON *decision;
    char id[ID_BYTES];

    local_answer(id);
    decision = explained(id);
    cJSON_ArrayForEach(item, member(decision, "candidates"))
    {
        if (strcmp(cJSON_GetStringValue(member(item, "route")), "local") == 0) {
            error = member(item, "error_probability")->valuedouble;
        }
    }
    cJSON_Delete(decision);
    assert_true(error >= 0 && error <= 1);
    return error;
}

/* How many local answers something was said of, as learned. */
static unsigned told(void)
{
    cJSON *status = site_status(site.status_socket), *task;
    double sum = 0;

    cJSON_ArrayForEach(task, cJSON_GetObjectItem(status, "tasks"))
    {
        const cJSON *is = member(member(task, "learned"), "told");

        sum += is ? is->valuedouble : 0;
    }
    cJSON_Delete(status);
    return (unsigned)sum;
}

/* "right", "wrong" or "" as the decision says it. */
static const char *said_of(const char *id)
{
    cJSON *decision = explained(id);
    const cJSON *correct = member(decision, "correct");
    const char *said = !correct ? "" : cJSON_IsTrue(correct) ? "right" : "wrong";

    assert_string_equal(cJSON_GetStringValue(member(decision, "id")), id);
    cJSON_Delete(decision);
    return said;
}

static void test_wrong_is_learned(void **state)
{
    const double before = local_error();
    double after;
    char id[ID_BYTES];

    (void)state;
    for (unsigned i = 0; i < WORDS; i++) {
        fresh_answer(i, id);
        assert_int_equal(tandem_feedback(tandem, id, 0), 0);
    }
    after = local_error();
    assert_true(after > before + 0.2);
    assert_string_equal(said_of(id), "wrong");
    restart();
    assert_true(local_error() > before + 0.2);
    assert_string_equal(said_of(id), "wrong"); /* from the disk */
    assert_int_equal(site_run(NULL, NULL, "tandemctl", "forget", "--task", "objects", "--socket",
                              site.status_socket, NULL),
                     0);
    assert_true(local_error() < before + 0.1);
    restart();
    assert_true(local_error() < before + 0.1);
}

/* Of a content that is asked and judged again and again, one word counts. */
static void test_content_once(void **state)
{
    unsigned before;
    char id[ID_BYTES];

    (void)state;
    local_answer(id);
    assert_int_equal(tandem_feedback(tandem, id, 0), 0);
    before = told();
    for (int i = 0; i < 3; i++) {
        local_answer(id);
        assert_int_equal(tandem_feedback(tandem, id, 0), 0);
    }
    assert_int_equal(told(), before);
    fresh_answer(WORDS, id);
    assert_int_equal(tandem_feedback(tandem, id, 1), 0);
    assert_int_equal(told(), before + 1);
}

/* What was answered is on disk, whatever happens then. */
static void test_killed(void **state)
{
    unsigned before = told();
    char id[ID_BYTES];

    (void)state;
    for (unsigned i = 0; i < 2; i++) { /* the second one waits for the write after the first */
        fresh_answer(WORDS + 1 + i, id);
        assert_int_equal(tandem_feedback(tandem, id, 0), 0);
        assert_int_not_equal(site_client_stop(&site, SIGKILL), 0);
        tandem_close(tandem);
        site_client_start(&site);
        assert_int_equal(tandem_open(site.app_socket, &tandem), 0);
        assert_int_equal(told(), ++before);
    }
}

static void forget(void)
{
    assert_int_equal(site_run(NULL, NULL, "tandemctl", "forget", "--task", "objects", "--socket",
                              site.status_socket, NULL),
                     0);
}

/* What was answered before a restart can be judged after it, and one word counts once, over as many
 * restarts as there are; what was forgotten can be told anew. */
static void test_judged_after_a_restart(void **state)
{
    char id[ID_BYTES];
    unsigned before;

    (void)state;
    fresh_answer(WORDS + 10, id);
    restart();
    before = told();
    assert_int_equal(tandem_feedback(tandem, id, 0), 0);
    assert_int_equal(told(), before + 1);
    restart();
    assert_string_equal(said_of(id), "wrong");
    assert_int_equal(tandem_feedback(tandem, id, 0), 0);
    assert_int_equal(told(), before + 1);
    assert_int_equal(tandem_feedback(tandem, id, 1), 0);
    assert_int_equal(told(), before + 1);
    assert_string_equal(said_of(id), "right");
    forget();
    assert_int_equal(told(), 0);
    restart();
    assert_int_equal(tandem_feedback(tandem, id, 1), 0);
    assert_int_equal(told(), 1);
    restart();
    assert_int_equal(tandem_feedback(tandem, id, 1), 0);
    assert_int_equal(told(), 1);
}

static void test_last_word(void **state)
{
    char id[ID_BYTES];

    (void)state;
    local_answer(id);
    assert_string_equal(said_of(id), "");
    assert_int_equal(tandem_feedback(tandem, id, 0), 0);
    assert_int_equal(tandem_feedback(tandem, id, 1), 0);
    assert_string_equal(said_of(id), "right");
    restart();
    assert_string_equal(said_of(id), "right");
}

static void test_refused(void **state)
{
    struct tandem_answer *answer = NULL;

    (void)state;
    assert_int_equal(tandem_feedback(tandem, "12345", 1), TANDEM_ENOTFOUND);
    assert_non_null(
        strstr(tandem_last_error(tandem), "among the last 8192 that can still be judged"));
    assert_int_equal(tandem_feedback(tandem, "cat", 1), TANDEM_EINVAL);
    assert_int_not_equal(site_classify(tandem, SITE_PICTURE, "edge:attic", 20000, &answer), 0);
    assert_int_equal(tandem_feedback(tandem, tandem_answer_id(tandem_last_failure(tandem)), 1),
                     TANDEM_EINVAL);
}

static void test_tandemctl(void **state)
{
    char id[ID_BYTES], *out, *error;

    (void)state;
    local_answer(id);
    assert_int_equal(site_run(&out, NULL, "tandemctl", "feedback", id, "wrong", "--json",
                              "--socket", site.status_socket, NULL),
                     0);
    assert_non_null(strstr(out, "\"correct\":false"));
    assert_non_null(strstr(out, id));
    free(out);
    assert_string_equal(said_of(id), "wrong");
    assert_int_equal(
        site_run(&out, NULL, "tandemctl", "explain", id, "--socket", site.status_socket, NULL), 0);
    assert_non_null(strstr(out, "(it was wrong)"));
    free(out);
    assert_int_equal(site_run(NULL, &error, "tandemctl", "feedback", "1", "right", "--socket",
                              site.status_socket, NULL),
                     1);
    assert_non_null(strstr(error, "no decision of this id"));
    free(error);
    assert_int_equal(site_run(NULL, NULL, "tandemctl", "feedback", id, "maybe", "--socket",
                              site.status_socket, NULL),
                     2);
    assert_int_equal(site_run(NULL, NULL, "tandemctl", "feedback", "x", "right", "--socket",
                              site.status_socket, NULL),
                     2);
}

/* One application says no more than so much a second, and what it says beyond is refused. */
static void test_bound(void **state)
{
    struct local_feedback feedback = {.correct = true};
    const int64_t start_ns = clock_now_ns();
    unsigned taken = 0, refused = 0;
    struct raw_app app;
    struct buf header;
    struct frame frame;

    (void)state;
    local_answer(feedback.id);
    raw_ready(&app, site.app_socket);
    buf_init(&header, 0);
    assert_int_equal(local_feedback_pack(&feedback, &header), 0);
    for (uint64_t i = 1; i <= 3 * LIMIT_FEEDBACK_PER_S; i++) {
        assert_true(raw_frame(&app, FRAME_FEEDBACK, 0, i, header.data, header.bytes));
    }
    while (taken + refused < 3 * LIMIT_FEEDBACK_PER_S) {
        struct local_error error;

        assert_true(raw_next(&app, &frame));
        if (frame.kind == FRAME_FEEDBACK) {
            taken++;
            continue;
        }
        assert_int_equal(frame.kind, FRAME_ERROR);
        assert_int_equal(local_error_unpack(frame.header, frame.header_bytes, &error), 0);
        assert_int_equal(error.code, TANDEM_EBUSY);
        refused++;
    }
    assert_true(taken >= LIMIT_FEEDBACK_PER_S);
    assert_true(taken <= LIMIT_FEEDBACK_PER_S * (1 + (clock_now_ns() - start_ns) / NS_PER_S));
    assert_true(raw_frame(&app, FRAME_FEEDBACK, 0, 1, "\x0a\x01x", 3));
    assert_int_equal(raw_thrown_out(&app, NULL), TANDEM_EPROTO);
    buf_fini(&header);
    raw_close(&app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_is_learned), cmocka_unit_test(test_content_once),
        cmocka_unit_test(test_killed),           cmocka_unit_test(test_judged_after_a_restart),
        cmocka_unit_test(test_last_word),        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_tandemctl),        cmocka_unit_test(test_bound),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
