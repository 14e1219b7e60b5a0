/* test_positive.c: a task that must not miss a cat, with the shipped models: which label is given,
 * when the edge is asked, what the decision and the status say of it, and what is kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/site.h"

#include "common/base/error.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BORDER (1.0 / 11.0) /* false_negative_cost = 10 */

static const char *const pictures[] = {"cat-0153",  "cat-0179",  "cat-0839",     "cat-2856",
                                       "dog-1657",  "dog-2487",  "dog-3681",     "deer-0032",
                                       "frog-0050", "bird-2411", "airplane-0574"};
#define PICTURES (sizeof(pictures) / sizeof(pictures[0]))

static struct site site;
static struct tandem *tandem;

static void task_write(const char *positive, double false_negative_cost)
{
    char path[160];

    snprintf(path, sizeof(path), "%s/tasks/objects.conf", site.dir);
    site_write(path,
               "[task]\nkind = classify\nconfidence_threshold = 0.8\npositive_label = %s\n"
               "false_negative_cost = %g\n[local]\nmodel = %s/deploy/models/objects-local.gguf\n"
               "[edge]\nmodel = %s/deploy/models/objects-edge.gguf\n",
               positive, false_negative_cost, site.top, site.top);
}

static int setup(void **state)
{
    (void)state;
    site_init(&site, &(struct site_config){.results = true});
    task_write("cat", 10);
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

/* The answer to a picture and its decision. *returns owned*, both. */
static struct tandem_answer *ask(const char *picture, const char *route, cJSON **ret_decision)
{
    struct tandem_answer *answer = NULL;
    char path[128], line[64], *text;

    snprintf(path, sizeof(path), "deploy/models/samples/%s.jpg", picture);
    assert_int_equal(site_classify(tandem, path, route, 0, &answer), 0);
    snprintf(line, sizeof(line), "explain %s\n", tandem_answer_id(answer));
    text = site_ask(site.status_socket, line);
    *ret_decision = cJSON_Parse(text);
    assert_non_null(*ret_decision);
    free(text);
    return answer;
}

static bool says_yes(const struct tandem_answer *answer)
{
    return strcmp(tandem_answer_label(answer, 0), "cat") == 0;
}

/* That it is a cat: the application, which has the answer, can tell; the record cannot. */
static double probability_of(const struct tandem_answer *answer)
{
    return says_yes(answer) ? tandem_answer_confidence(answer)
                            : 1 - tandem_answer_confidence(answer);
}

/* Here: the positive label from its border on, else the likeliest of the others; and how sure that
 * answer to the question is. */
static void test_label_follows_the_costs(void **state)
{
    size_t cats = 0, turned = 0;

    (void)state;
    for (size_t i = 0; i < PICTURES; i++) {
        cJSON *decision;
        struct tandem_answer *answer = ask(pictures[i], "local", &decision);
        const bool yes = says_yes(answer);

        assert_true(yes == (probability_of(answer) >= BORDER));
        assert_null(cJSON_GetObjectItem(decision, "positive_probability"));
        assert_true(cJSON_IsNull(cJSON_GetObjectItem(decision, "confidence")));
        assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(decision, "positive_label")),
                            "cat");
        assert_true(cJSON_IsNull(cJSON_GetObjectItem(decision, "threshold_low")));
        cats += yes;
        turned += tandem_answer_score(answer, 0) < tandem_answer_score(answer, 1);
        tandem_answer_free(answer);
        cJSON_Delete(decision);
    }
    assert_true(cats >= 4 && cats < PICTURES);
    assert_true(turned > 0); /* one that is rather something else is called a cat */
}

/* Both sides: the edge is asked between the two thresholds and nowhere else. */
static void test_two_thresholds(void **state)
{
    size_t stayed = 0, went = 0;

    (void)state;
    for (size_t i = 0; i < PICTURES; i++) {
        cJSON *decision, *local_decision;
        struct tandem_answer *local = ask(pictures[i], "local", &local_decision),
                             *answer = ask(pictures[i], "cascade", &decision);
        const double probability = probability_of(local);
        const double low = number(decision, "threshold_low"),
                     high = number(decision, "threshold_high");
        const bool asked = strcmp(tandem_answer_outcome_route(answer), "local") != 0;
        const char *reason = tandem_answer_reason(answer);

        assert_true(0 < low && low < BORDER && BORDER < high && high < 1);
        assert_int_equal(asked, probability >= low && probability < high);
        assert_non_null(strstr(reason, asked ? "not sure enough of yes or no, the edge was asked"
                                             : ": sure enough of yes or no"));
        assert_null(strpbrk(strstr(reason, "sure enough of"), "0123456789"));
        assert_null(cJSON_GetObjectItem(decision, "positive_probability"));
        assert_true(cJSON_IsNull(cJSON_GetObjectItem(decision, "threshold")));
        assert_true(cJSON_IsNumber(cJSON_GetObjectItem(
            cJSON_GetArrayItem(cJSON_GetObjectItem(decision, "candidates"), 0), "error_weight")));
        stayed += !asked;
        went += asked;
        tandem_answer_free(local);
        tandem_answer_free(answer);
        cJSON_Delete(local_decision);
        cJSON_Delete(decision);
    }
    assert_true(stayed > 0 && went > 0);
}

/* Given again, an answer is believed to be as wrong as it was: that, and what is measured of a side
 * besides, would tell which it is. */
static void test_record_of_a_repeat(void **state)
{
    size_t kept = 0, measured = 0;

    (void)state;
    for (size_t i = 0; i < PICTURES; i++) {
        cJSON *decision, *item;

        tandem_answer_free(ask(pictures[i], "auto", &decision));
        cJSON_ArrayForEach(item, cJSON_GetObjectItem(decision, "candidates"))
        {
            const bool is_kept =
                strcmp(cJSON_GetStringValue(cJSON_GetObjectItem(item, "route")), "cache") == 0;

            kept += is_kept;
            assert_true(!is_kept || cJSON_IsNull(cJSON_GetObjectItem(item, "cost")));
        }
        cJSON_Delete(decision);
    }
    for (size_t i = 0; i < PICTURES; i++) {
        cJSON *decision, *item;

        tandem_answer_free(ask(pictures[i], "cascade", &decision));
        cJSON_ArrayForEach(item, cJSON_GetObjectItem(decision, "measured"))
        {
            measured++;
            assert_true(cJSON_IsNull(cJSON_GetObjectItem(item, "confidence")));
        }
        cJSON_Delete(decision);
    }
    assert_true(kept > 0 && measured > 0);
}

/* Numbers of the task's bins, summed. */
static double bins_sum(const char *name)
{
    cJSON *status = site_status(site.status_socket), *task, *bin;
    double sum = 0;

    cJSON_ArrayForEach(task, cJSON_GetObjectItem(status, "tasks"))
    {
        const cJSON *learned = cJSON_GetObjectItem(task, "learned");

        cJSON_ArrayForEach(bin, cJSON_GetObjectItem(learned, "bins"))
        {
            sum += number(bin, name);
        }
    }
    cJSON_Delete(status);
    return sum;
}

/* What the application says of an answer is said of the label. */
static void test_truth_is_of_the_label(void **state)
{
    cJSON *decision;
    struct tandem_answer *answer = ask("airplane-0574", "local", &decision);
    const bool yes = strcmp(tandem_answer_label(answer, 0), "cat") == 0;

    (void)state;
    assert_int_equal(tandem_feedback(tandem, tandem_answer_id(answer), !yes), 0);
    assert_true(bins_sum("told") == 1);
    assert_true(bins_sum("told_yes") == 0); /* it is a plane, whatever was answered */
    tandem_answer_free(answer);
    cJSON_Delete(decision);
    answer = ask("cat-0153", "local", &decision);
    assert_int_equal(tandem_feedback(tandem, tandem_answer_id(answer),
                                     strcmp(tandem_answer_label(answer, 0), "cat") == 0),
                     0);
    assert_true(bins_sum("told") == 2);
    assert_true(bins_sum("told_yes") == 1);
    tandem_answer_free(answer);
    cJSON_Delete(decision);
}

static void client_restart(void)
{
    tandem_close(tandem);
    assert_int_equal(site_client_stop(&site, SIGTERM), 0);
    site_client_start(&site);
    site_edge_wait(&site, "up");
    assert_int_equal(tandem_open(site.app_socket, &tandem), 0);
}

/* What was learned is of one question: it is found again for that one, and forgotten for another.
 */
static void test_learned_of_one_question(void **state)
{
    const double answers = bins_sum("answers"), compared = bins_sum("compared");

    (void)state;
    assert_true(answers >= 2 * PICTURES);
    assert_true(compared > 0);
    assert_true(bins_sum("edge_yes") == 0); /* a deer was called a cat for its cost, no more */
    client_restart();
    assert_true(bins_sum("answers") == answers);
    assert_true(bins_sum("compared") == compared);
    task_write("cat", 2);
    client_restart();
    site_log_wait(&site, "client",
                  "another question, what was learned of the one before is forgotten");
    assert_true(bins_sum("answers") == 0);
    assert_true(bins_sum("compared") == 0);
}

/* A label that no model knows: one line, and no daemon. */
static void test_wrong_label(void **state)
{
    char config[160], *error;

    (void)state;
    task_write("cow", 10);
    snprintf(config, sizeof(config), "%s/client.conf", site.dir);
    assert_int_not_equal(
        site_run(NULL, &error, "tandem-client", "--config", config, "--check-config", NULL), 0);
    assert_non_null(strstr(error, "objects.conf:4: [task] positive_label: 'cow' is no label of "));
    free(error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_label_follows_the_costs),
                                       cmocka_unit_test(test_two_thresholds),
                                       cmocka_unit_test(test_record_of_a_repeat),
                                       cmocka_unit_test(test_truth_is_of_the_label),
                                       cmocka_unit_test(test_learned_of_one_question),
                                       cmocka_unit_test(test_wrong_label)};

    return cmocka_run_group_tests(tests, setup, teardown);
}
