/* Answers to a yes/no question: the label of least expected cost comes first, whoever computed it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "client/daemon/request.h"

#include <math.h>
#include <string.h>

static const struct cascade_costs costs = {.false_negative = 10, .false_positive = 1};

static bool same(double a, double b)
{
    return fabs(a - b) < 1e-12;
}

/* dog 0.6, cat 0.3, fox 0.1: as likely as that, a cat must not be missed. */
static void test_the_dear_error_is_avoided(void **state)
{
    struct answer_label labels[] = {{"dog", 0.6}, {"cat", 0.3}, {"fox", 0.1}};
    struct answer answer = {.labels = labels, .label_count = 3, .confidence = 0.6};

    (void)state;
    positive_choose(&answer, "cat", &costs);
    assert_string_equal(labels[0].label, "cat");
    assert_string_equal(labels[1].label, "dog");
    assert_string_equal(labels[2].label, "fox");
    assert_true(labels[0].score == 0.3 && labels[1].score == 0.6);
    assert_true(same(answer.confidence, 0.3)); /* that it is a cat */
    assert_true(same(positive_sure(&answer, "cat"), 0.3));
    assert_true(positive_is_first(&answer, "cat"));
    assert_false(positive_is_likely(&answer, "cat"));
}

/* Where a false alarm is dear, the likeliest of the others is the answer. */
static void test_the_other_way_round(void **state)
{
    const struct cascade_costs other = {.false_negative = 1, .false_positive = 10};
    struct answer_label labels[] = {{"cat", 0.7}, {"dog", 0.2}, {"fox", 0.1}};
    struct answer answer = {.labels = labels, .label_count = 3, .confidence = 0.7};

    (void)state;
    positive_choose(&answer, "cat", &other);
    assert_string_equal(labels[0].label, "dog");
    assert_string_equal(labels[1].label, "cat");
    assert_true(same(answer.confidence, 0.3)); /* that it is none */
    assert_true(same(positive_sure(&answer, "cat"), 0.7));
    assert_false(positive_is_first(&answer, "cat"));
    assert_true(positive_is_likely(&answer, "cat"));
}

static void test_sure_ones_stay(void **state)
{
    struct answer_label no[] = {{"dog", 0.97}, {"fox", 0.02}, {"cat", 0.01}};
    struct answer_label yes[] = {{"cat", 0.9}, {"dog", 0.1}};
    struct answer answer = {.labels = no, .label_count = 3, .confidence = 0.97};

    (void)state;
    positive_choose(&answer, "cat", &costs);
    assert_string_equal(no[0].label, "dog");
    assert_true(same(answer.confidence, 0.99));
    assert_true(same(positive_sure(&answer, "cat"), 0.01));
    answer = (struct answer){.labels = yes, .label_count = 2, .confidence = 0.9};
    positive_choose(&answer, "cat", &costs);
    assert_string_equal(yes[0].label, "cat");
    assert_true(same(answer.confidence, 0.9));
    assert_true(same(positive_sure(&answer, "cat"), 0.9));
}

/* A table of the model's says that 0.6 is right in half of the cases: what is left of the other
 * labels grows with it. */
static void test_calibrated(void **state)
{
    struct answer_label labels[] = {{"dog", 0.6}, {"cat", 0.2}, {"fox", 0.2}};
    struct answer_label all[] = {{"dog", 1}, {"cat", 0}};
    struct answer answer = {.labels = labels, .label_count = 3, .confidence = 0.5};

    (void)state;
    positive_choose(&answer, "cat", &costs);
    assert_true(same(positive_sure(&answer, "cat"), 0.25));
    answer = (struct answer){.labels = all, .label_count = 2, .confidence = 1};
    positive_choose(&answer, "cat", &costs);
    assert_true(same(positive_sure(&answer, "cat"), 0));
    assert_string_equal(all[0].label, "dog");
}

/* Without costs, without labels, or without that label nothing is turned round. */
static void test_what_stays_as_it_is(void **state)
{
    struct answer_label labels[] = {{"dog", 0.6}, {"cat", 0.4}};
    struct answer answer = {.labels = labels, .label_count = 2, .confidence = 0.6};
    struct answer text = {.text_bytes = 3, .confidence = 0.2};

    (void)state;
    positive_choose(&answer, "cat", NULL);
    assert_string_equal(labels[0].label, "dog");
    assert_true(positive_sure(&answer, "") == 0.6);
    positive_choose(&text, "cat", &costs);
    assert_true(text.confidence == 0.2);
    assert_false(positive_is_likely(&text, "cat"));
    positive_choose(&answer, "cow", &costs);
    assert_string_equal(labels[0].label, "dog");
    assert_true(positive_sure(&answer, "cow") == 0);
}

/* Of a question an edge's answer teaches what it is likeliest to be, not what its costs made of it:
 * a doubtful yes said no likelier thing. */
static void test_what_teaches(void **state)
{
    static char cat[] = "cat";
    const struct task_config config = {.kind = TASK_CLASSIFY, .positive_label = cat};
    struct client_task task = {.config = &config, .costs = costs, .asks = true};
    struct answer_label labels[] = {{"dog", 0.6}, {"cat", 0.4}};
    struct answer_label sure[] = {{"cat", 0.9}, {"dog", 0.1}};
    struct answer turned = {
        .kind = WIRE_CLASSIFY, .labels = labels, .label_count = 2, .confidence = 0.6};
    const struct answer local = {
        .kind = WIRE_CLASSIFY, .labels = sure, .label_count = 2, .confidence = 0.9};

    (void)state;
    positive_choose(&turned, "cat", &costs);
    assert_true(positive_is_first(&turned, "cat")); /* a missed cat costs more */
    assert_true(answers_agree(&task, &local, &turned));
    assert_false(answers_teach(&task, &turned, answers_agree(&task, &local, &turned)));
    assert_true(answers_teach(&task, &local, answers_agree(&task, &turned, &local)));
    task.asks = false;
    assert_true(answers_teach(&task, &turned, answers_agree(&task, &local, &turned)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_dear_error_is_avoided),
                                       cmocka_unit_test(test_the_other_way_round),
                                       cmocka_unit_test(test_sure_ones_stay),
                                       cmocka_unit_test(test_calibrated),
                                       cmocka_unit_test(test_what_stays_as_it_is),
                                       cmocka_unit_test(test_what_teaches)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
