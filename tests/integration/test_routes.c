/* test_routes.c: every route through real daemons: who answered, what was said about it, and that
 * what must not leave did not. */
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

#define PICTURES 10

static struct site site;
static struct tandem *tandem;

static int setup(void **state)
{
    (void)state;
    site_init(&site, NULL);
    return site_open(&site, &tandem);
}

static int teardown(void **state)
{
    (void)state;
    site_close(&site, tandem);
    return 0;
}

/* Requests that have come to the server. */
static double at_server(void)
{
    const double accepted = site_number(site.server_socket, "requests.accepted");
    const double refused = site_number(site.server_socket, "requests.refused");

    assert_true(accepted >= 0 && refused >= 0);
    return accepted + refused;
}

static void test_local_stays_here(void **state)
{
    struct tandem_answer *answer = NULL;
    const double before = at_server();

    (void)state;
    assert_int_equal(site_classify(tandem, SITE_PICTURE, "local", 0, &answer), 0);
    assert_string_equal(tandem_answer_route(answer), "local");
    assert_string_equal(tandem_answer_outcome_route(answer), "local");
    assert_true(tandem_answer_met_deadline(answer));
    assert_true(tandem_answer_latency_ms(answer) >= 0);
    assert_true(tandem_answer_elapsed_ms(answer) >= tandem_answer_latency_ms(answer));
    assert_true(tandem_answer_reason(answer)[0] != '\0');
    tandem_answer_free(answer);
    assert_true(at_server() == before);
}

static void test_edge_is_asked(void **state)
{
    struct tandem_answer *answer = NULL;
    const double before = at_server();

    (void)state;
    assert_int_equal(site_classify(tandem, SITE_PICTURE, "edge", 0, &answer), 0);
    assert_string_equal(tandem_answer_route(answer), "edge:den");
    assert_string_equal(tandem_answer_outcome_route(answer), "edge:den");
    tandem_answer_free(answer);
    assert_int_equal(site_generate(tandem, "walk twice", "edge:den", 0, &answer), 0);
    assert_string_equal(tandem_answer_outcome_route(answer), "edge:den");
    tandem_answer_free(answer);
    assert_true(at_server() == before + 2);
}

static void test_unknown_edge_is_refused(void **state)
{
    struct tandem_answer *answer = NULL;

    (void)state;
    assert_int_equal(site_classify(tandem, SITE_PICTURE, "edge:attic", 0, &answer),
                     TANDEM_ENOROUTE);
    assert_true(tandem_last_error(tandem)[0] != '\0');
    assert_non_null(tandem_last_failure(tandem));
    assert_true(tandem_answer_id(tandem_last_failure(tandem))[0] != '\0');
}

/* Asks for a cascade with every sample until one ended as wanted. */
static void cascade_until(const char *outcome, double *ret_confidence)
{
    char *list = NULL, *rest, *line;

    list = site_file(SITE_SAMPLES "labels.csv", NULL);
    rest = list;
    (void)strsep(&rest, "\n");
    while ((line = strsep(&rest, "\n")) && line[0]) {
        struct tandem_answer *answer = NULL;
        char path[256];
        bool found;

        line[strcspn(line, ",")] = '\0';
        snprintf(path, sizeof(path), SITE_SAMPLES "%.100s", line);
        assert_int_equal(site_classify(tandem, path, "cascade", 0, &answer), 0);
        assert_string_equal(tandem_answer_route(answer), "cascade");
        found = strcmp(tandem_answer_outcome_route(answer), outcome) == 0;
        *ret_confidence = tandem_answer_confidence(answer);
        tandem_answer_free(answer);
        if (found) {
            free(list);
            return;
        }
    }
    fail_msg("no cascade ended as %s", outcome);
}

static void test_cascade_stays_and_goes(void **state)
{
    const double stayed = site_number(site.status_socket, "counters.cascade_stayed");
    const double went = site_number(site.status_socket, "counters.cascade_went");
    double before = at_server(), confidence;

    (void)state;
    cascade_until("local", &confidence);
    assert_true(confidence >= 0.8); /* the task's threshold */
    cascade_until("edge:den", &confidence);
    assert_true(at_server() > before);
    assert_true(site_number(site.status_socket, "counters.cascade_stayed") > stayed);
    assert_true(site_number(site.status_socket, "counters.cascade_went") > went);
}

/* The task says never: whatever route is asked for, nothing comes to the server. */
static void test_private_task_never_leaves(void **state)
{
    static const char *const routes[] = {NULL, "local", "cascade", "edge", "edge:den"};
    struct tandem_request request;
    const double before = at_server();
    size_t bytes;
    void *data = site_file(SITE_PICTURE, &bytes);

    (void)state;
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        for (int own = 0; own < 2; own++) { /* the task's rule, and the application's own */
            struct tandem_answer *answer = NULL;
            int result;

            tandem_request_init(&request, own ? "objects" : "private");
            request.never_leave_device = own;
            request.picture.data = data;
            request.picture.bytes = bytes;
            request.route = routes[i];
            result = tandem_call(tandem, &request, &answer);
            if (result == 0) {
                assert_string_equal(tandem_answer_outcome_route(answer), "local");
            } else {
                assert_int_equal(result, TANDEM_ENOROUTE);
                assert_true(i >= 2); /* auto and local are always answered */
            }
            tandem_answer_free(answer);
        }
    }
    free(data);
    assert_true(at_server() == before);
}

/* Answers whose confidence is another one than their best score. */
static unsigned calibrated;

/* The daemon's confidence is what tandem-model, which has printed `notes`, calls sure. */
static void assert_sure(const struct tandem_answer *answer, const char *notes)
{
    const char *at = strstr(notes, "sure to ");

    assert_non_null(at);
    assert_true(fabs(strtod(at + strlen("sure to "), NULL) - tandem_answer_confidence(answer)) <
                0.001);
}

static void assert_same_as_alone(const char *path, const char *route, const char *model)
{
    struct tandem_answer *answer = NULL;
    char file[128], label[64], *out, *notes;
    double score;

    snprintf(file, sizeof(file), "deploy/models/%s", model);
    assert_int_equal(site_run(&out, &notes, "tandem-model", "run", file, "--image", path, NULL), 0);
    assert_int_equal(sscanf(out, "%63s %lf", label, &score), 2);
    assert_int_equal(site_classify(tandem, path, route, 0, &answer), 0);
    assert_string_equal(tandem_answer_label(answer, 0), label);
    assert_true(tandem_answer_score(answer, 0) > score - 0.001 &&
                tandem_answer_score(answer, 0) < score + 0.001);
    assert_sure(answer, notes);
    calibrated += fabs(tandem_answer_confidence(answer) - score) > 0.02;
    tandem_answer_free(answer);
    free(out);
    free(notes);
}

/* What comes through the daemons is what the model says by itself. */
static void test_answers_are_the_models(void **state)
{
    char *list = site_file(SITE_SAMPLES "labels.csv", NULL), *rest = list, *line;
    unsigned count = 0;

    (void)state;
    (void)strsep(&rest, "\n");
    while (count < PICTURES && (line = strsep(&rest, "\n")) && line[0]) {
        char path[256];

        line[strcspn(line, ",")] = '\0';
        snprintf(path, sizeof(path), SITE_SAMPLES "%.100s", line);
        assert_same_as_alone(path, "local", "objects-local.gguf");
        assert_same_as_alone(path, "edge", "objects-edge.gguf");
        count++;
    }
    free(list);
    assert_int_equal(count, PICTURES);
    assert_true(calibrated > 0); /* objects-edge.gguf says how */
}

static void test_texts_are_the_models(void **state)
{
    static const char *const sides[][2] = {{"local", "deploy/models/commands-local.gguf"},
                                           {"edge", "deploy/models/commands-edge.gguf"}};
    static const char *const texts[] = {"jump", "walk twice", "look around right",
                                        "run left and walk thrice after jump"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        for (size_t k = 0; k < 3 + i; k++) {
            struct tandem_answer *answer = NULL;
            char *out, *notes;

            assert_int_equal(site_run(&out, &notes, "tandem-model", "run", sides[i][1], "--prompt",
                                      texts[k], NULL),
                             0);
            out[strcspn(out, "\n")] = '\0';
            assert_int_equal(site_generate(tandem, texts[k], sides[i][0], 0, &answer), 0);
            assert_string_equal(tandem_answer_text(answer, NULL), out);
            assert_int_equal(tandem_answer_finish(answer), TANDEM_FINISH_END);
            assert_true(tandem_answer_tokens(answer) > 0);
            assert_sure(answer, notes);
            tandem_answer_free(answer);
            free(out);
            free(notes);
        }
    }
}

/* The decision's id is the one under which the server speaks of the request. */
static void test_same_id_on_both_sides(void **state)
{
    struct tandem_answer *answer;
    char wanted[64];

    (void)state;
    /* Of many requests in one second the server writes a few lines only: one of these is written.
     */
    for (int tries = SITE_PATIENCE_MS / 10; tries > 0; tries--) {
        answer = NULL;
        assert_int_equal(site_classify(tandem, SITE_PICTURE, "edge", 0, &answer), 0);
        snprintf(wanted, sizeof(wanted), "%s", tandem_answer_id(answer));
        tandem_answer_free(answer);
        if (site_log_count(&site, "server", wanted) > 0) {
            return;
        }
        site_pause();
    }
    fail_msg("no line of the server has the id of its decision");
}

static const cJSON *member(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

    assert_non_null(item);
    return item;
}

/* There is at least one such answer, and the shares are ones. */
static void predictions_check(const cJSON *predictions)
{
    const double within = member(predictions, "within_p95")->valuedouble;

    assert_true(member(predictions, "answers")->valuedouble >= 1);
    assert_true(within >= 0 && within <= 1);
    assert_true(member(predictions, "median_error")->valuedouble >= 0);
}

/* After cascades that stayed and one that went: what was predicted of both sides was looked at, and
 * the local half of the one that went was for nothing. */
static void test_status_looks_back(void **state)
{
    cJSON *status;
    const cJSON *task;
    double confidence;
    char *text;

    (void)state;
    cascade_until("edge:den", &confidence);
    status = site_status(site.status_socket);
    task = member(status, "tasks")->child;
    while (task && strcmp(member(task, "name")->valuestring, "objects") != 0) {
        task = task->next;
    }
    assert_non_null(task);
    predictions_check(member(member(task, "local"), "predictions"));
    predictions_check(member(member(task, "edges")->child, "predictions"));
    assert_true(member(member(member(task, "confidence"), "agreement"), "answers")->valuedouble >=
                1);
    assert_true(member(member(status, "counters"), "wasted_local_ms")->valuedouble > 0);
    cJSON_Delete(status);
    assert_int_equal(
        site_run(&text, NULL, "tandemctl", "status", "--socket", site.status_socket, NULL), 0);
    assert_non_null(strstr(text, "latency of local"));
    assert_non_null(strstr(text, "latency of edge:den"));
    assert_non_null(strstr(text, "by agreement"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_local_stays_here),
        cmocka_unit_test(test_edge_is_asked),
        cmocka_unit_test(test_unknown_edge_is_refused),
        cmocka_unit_test(test_cascade_stays_and_goes),
        cmocka_unit_test(test_status_looks_back),
        cmocka_unit_test(test_private_task_never_leaves),
        cmocka_unit_test(test_answers_are_the_models),
        cmocka_unit_test(test_texts_are_the_models),
        cmocka_unit_test(test_same_id_on_both_sides),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
