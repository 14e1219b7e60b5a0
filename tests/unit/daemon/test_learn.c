/* What is learned goes into one value and comes back from it, for the task, model, question and
 * edge that it was learned of and for no other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/daemon/fake_parts.h"

#include "client/daemon/learn.h"

#define SURE 0.85
#define BIN  8
#define EDGE "22222222222222222222222222222222"

static struct client_config config;
static struct task_config task_config;
static struct client_task task;
static struct edge_task contract;
static struct tasks tasks = {
    .configs = &task_config, .items = &task, .contracts = &contract, .count = 1};
static struct requests all;
static struct learned learned;
static char links; /* only its address */

static void fresh(void)
{
    fake_task("objects", TASK_CLASSIFY, &task_config, &task);
    strcpy(contract.model_digest, "abc");
    all = (struct requests){.config = &config, .tasks = &tasks, .links = (struct links *)&links};
}

static int setup(void **state)
{
    (void)state;
    clock_set_fake(fake_now, NULL);
    fake.now_ns = NS_PER_S;
    fresh();
    estimate_local_add(&task.estimate, 20);
    estimate_text_answer_add(&task.text, 8, false);
    strcpy(task.known[1].digest, EDGE);
    learn_agreement_of(&task, 1, EDGE, 1, SURE, true);
    confidence_see(&task.confidence, SURE);
    confidence_tell(&task.confidence, SURE, true);
    edge_truth_tell(&task.known[1].truth, false);
    estimate_edge_add(&task.edges[1], 30, 0, 1, fake.now_ns);
    assert_int_equal(learn_take(&all, &learned), 0);
    fresh();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    learned_fini(&learned);
    clock_set_fake(NULL, NULL);
    return 0;
}

/* What there is of the device and its model, of the question, and of what its edge's model taught.
 */
static void check(bool of_model, bool of_question, bool of_edge)
{
    learn_give(&all, &learned);
    assert_int_equal(task.estimate.run.count, of_model);
    assert_int_equal(task.text.answer.mean.count, of_model);
    assert_int_equal(task.text.answer.window.count, of_model);
    assert_int_equal(task.confidence.seen[BIN], of_question);
    assert_int_equal(task.confidence.told[BIN], of_question);
    assert_int_equal(task.confidence.right[BIN], of_question);
    assert_int_equal(task.confidence.both[BIN], of_question && of_edge);
    assert_int_equal(task.confidence.agreed[BIN], of_question && of_edge);
    assert_int_equal(task.known[1].agreement.both[BIN], of_question && of_edge);
    assert_string_equal(task.known[1].digest, of_edge ? EDGE : "");
    assert_int_equal(task.known[1].truth.wrong, of_edge);
    assert_int_equal(task.edges[1].rest.count, of_edge);
    assert_int_equal(task.known[0].truth.told + task.edges[0].rest.count, 0);
}

static void test_all_comes_back(void **state)
{
    (void)state;
    check(true, true, true);
}

/* Runs that were measured since the start stand behind those that were kept. */
static void test_the_first_runs_count_too(void **state)
{
    (void)state;
    estimate_local_add(&task.estimate, 40);
    learn_give(&all, &learned);
    assert_int_equal(task.estimate.run.count, 2);
    assert_true(task.estimate.window.samples[0] == 20 && task.estimate.window.samples[1] == 40);
}

static void test_another_local_model(void **state)
{
    (void)state;
    strcpy(contract.model_digest, "def");
    check(false, false, true);
}

static void test_another_question(void **state)
{
    static char cat[] = "cat";

    (void)state;
    task_config.positive_label = cat;
    task.asks = true;
    task.costs = (struct cascade_costs){10, 1};
    task_confidence_init(&task);
    check(true, false, true);
}

/* The same label, whose errors cost something else now: the bins are others. */
static void test_other_costs(void **state)
{
    static char cat[] = "cat";

    (void)state;
    for (int same = 0; same < 2; same++) {
        fresh();
        task_config.positive_label = cat;
        task.asks = true;
        task.costs = (struct cascade_costs){10, 1};
        task_confidence_init(&task);
        learned_fini(&learned);
        confidence_see(&task.confidence, 0.95);
        assert_int_equal(learn_take(&all, &learned), 0);
        task.costs.false_negative = same ? 10 : 11;
        task_confidence_init(&task);
        learn_give(&all, &learned);
        assert_int_equal(task.confidence.seen[0] + task.confidence.seen[9] > 0, same);
    }
}

static void test_another_kind(void **state)
{
    (void)state;
    task_config.kind = TASK_DETECT;
    check(false, false, false);
}

static void test_another_edge(void **state)
{
    (void)state;
    strcpy(learned.links[1].digest, "elsewhere"); /* of its url */
    check(true, true, false);
}

/* What an edge's model has taught goes with it. */
static void test_the_edge_has_another_model(void **state)
{
    (void)state;
    check(true, true, true);
    learn_edge_model(&all, 1, 0, EDGE);
    assert_int_equal(task.known[1].truth.told, 1);
    assert_int_equal(all.learned, 0);
    learn_edge_model(&all, 1, 0, "33333333333333333333333333333333");
    assert_string_equal(task.known[1].digest, "33333333333333333333333333333333");
    assert_int_equal(task.known[1].truth.told, 0);
    assert_int_equal(task.edges[1].rest.count, 0);
    assert_int_equal(task.confidence.both[BIN], 0);
    assert_int_equal(task.confidence.told[BIN], 1); /* what was told of local answers stays */
    assert_int_equal(all.learned, 1);
}

int main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH(test_all_comes_back),      WITH(test_the_first_runs_count_too),
        WITH(test_another_local_model), WITH(test_another_question),
        WITH(test_other_costs),         WITH(test_another_kind),
        WITH(test_another_edge),        WITH(test_the_edge_has_another_model)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
