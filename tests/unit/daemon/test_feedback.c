/* What is said of answers: who may say it, whom it teaches, and that the last word counts. The
 * decisions are put into memory by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/daemon/fake_parts.h"

#include "client/daemon/feedback.h"
#include "client/daemon/learn.h"
#include "common/base/error.h"

#include <math.h>

#define USER  1000
#define SURE  0.85 /* of the local answers */
#define BIN   8
#define LOCAL "11111111111111111111111111111111"
#define EDGE  "22222222222222222222222222222222"

static struct client_config config = {.result_cache_bytes = 1 << 20};
static struct task_config task_config = {.name = (char *)(uintptr_t) "objects",
                                         .kind = TASK_CLASSIFY};
static struct client_task task;
static struct tasks tasks = {.configs = &task_config, .items = &task, .count = 1};
static struct requests all;
static char links; /* only its address */
static unsigned words, rights, forgotten;

static void on_amended(const struct decision *decision, decision_member_fn *member, void *user)
{
    (void)user;
    if (member == decision_forgotten_json) {
        forgotten++;
        return;
    }
    assert_ptr_equal(member, decision_correct_json);
    words++;
    rights += decision->answers.told == TOLD_RIGHT;
}

static int setup(void **state)
{
    (void)state;
    words = rights = forgotten = 0;
    clock_set_fake(fake_now, NULL);
    task = (struct client_task){.config = &task_config, .has_local = true};
    confidence_init(&task.confidence);
    strcpy(task.known[0].digest, EDGE);
    strcpy(fake.local_digest, LOCAL);
    all = (struct requests){.config = &config,
                            .tasks = &tasks,
                            .links = (struct links *)&links,
                            .on_amended = on_amended};
    return requests_init(&all);
}

static int teardown(void **state)
{
    (void)state;
    requests_fini(&all);
    clock_set_fake(NULL, NULL);
    return 0;
}

/* A decision that has ended: `by` answered, and `both` says whether the other did, too. */
static struct told_answers *decision_add(uint64_t id, enum job_side by, bool both, bool agreed)
{
    struct told_answers answers = {.decision = id,
                                   .task = "objects",
                                   .uid = USER,
                                   .by = by,
                                   .agreed = agreed,
                                   .confidence = SURE,
                                   .one_right = true,
                                   .edge = "den",
                                   .local_digest = LOCAL,
                                   .edge_digest = EDGE};

    if (by == JOB_SIDE_LOCAL || by == JOB_SIDE_EDGE) {
        answers.whole[by] = true;
    }
    if (both) {
        answers.whole[JOB_SIDE_LOCAL] = answers.whole[JOB_SIDE_EDGE] = true;
    }
    feedback_keep(&all, &answers);
    return &all.told[(all.told_next + LIMIT_FEEDBACK_KEPT - 1) % LIMIT_FEEDBACK_KEPT];
}

static int say(uint64_t id, bool correct)
{
    const char *why = NULL;
    const int result = feedback_take(&all, USER, id, correct, &why);

    assert_true((result == 0) == (why == NULL));
    return result;
}

static void local_check(unsigned told, unsigned right)
{
    assert_int_equal(task.confidence.told[BIN], told);
    assert_int_equal(task.confidence.right[BIN], right);
}

/* What the status says of it: so many answers whose truth was told, and how far off they are. */
static void watch_check(size_t answers, double ece)
{
    size_t looked_at;
    const double is = confidence_watch_ece(&task.watch.truth, &looked_at);

    assert_int_equal(looked_at, answers);
    assert_true(answers == 0 ? isnan(is) : fabs(is - ece) < 1e-6);
}

static void edge_check(unsigned told, unsigned wrong)
{
    assert_int_equal(task.known[0].truth.told, told);
    assert_int_equal(task.known[0].truth.wrong, wrong);
}

static void test_who_may_say_it(void **state)
{
    const char *why = NULL;

    (void)state;
    (void)decision_add(5, JOB_SIDE_LOCAL, false, false);
    (void)decision_add(6, JOB_SIDES, false, false);
    assert_int_equal(say(4, true), TANDEM_ENOTFOUND);
    assert_int_equal(say(6, true), TANDEM_EINVAL);
    assert_int_equal(feedback_take(&all, USER + 1, 5, true, &why), TANDEM_EAUTH);
    local_check(0, 0);
    assert_int_equal(words, 0);
    assert_int_equal(feedback_take(&all, 0, 5, true, &why), 0);
    local_check(1, 1);
}

/* A request that runs has no answer to be judged; one that has ended without being kept is not
 * there.
 */
static void test_too_early(void **state)
{
    struct request running = {.decision.id = 9}, ended = {.decision.id = 10, .ended = true};

    (void)state;
    running.next = &ended;
    all.list = &running;
    assert_int_equal(say(9, true), TANDEM_EINVAL);
    assert_int_equal(say(10, true), TANDEM_ENOTFOUND);
    assert_int_equal(say(11, true), TANDEM_ENOTFOUND);
    all.list = NULL;
    assert_int_equal(words, 0);
}

/* Where no answers are kept there is none to be taken away. */
static void test_without_a_cache(void **state)
{
    (void)teardown(state);
    config.result_cache_bytes = 0;
    assert_int_equal(setup(state), 0);
    assert_null(all.results);
    (void)decision_add(1, JOB_SIDE_LOCAL, false, false);
    assert_int_equal(say(1, false), 0);
    local_check(1, 0);
    config.result_cache_bytes = 1 << 20;
}

static void test_last_word_counts(void **state)
{
    const struct told_answers *answers = decision_add(5, JOB_SIDE_LOCAL, false, false);

    (void)state;
    assert_int_equal(say(5, true), 0);
    local_check(1, 1);
    assert_int_equal(say(5, true), 0);
    local_check(1, 1);
    assert_int_equal(words, 1); /* nothing new */
    assert_int_equal(answers->told, TOLD_RIGHT);
    assert_int_equal(say(5, false), 0);
    local_check(1, 0);
    watch_check(1, SURE);
    assert_int_equal(words, 2);
    assert_int_equal(answers->told, TOLD_WRONG);
    assert_int_equal(rights, 1);
    edge_check(0, 0);
}

static void test_both_sides(void **state)
{
    (void)state;
    (void)decision_add(1, JOB_SIDE_EDGE, true, false);
    (void)decision_add(2, JOB_SIDE_EDGE, true, true);
    assert_int_equal(say(1, true), 0); /* so the other one was wrong */
    local_check(1, 0);
    edge_check(1, 0);
    assert_int_equal(say(1, false), 0); /* nothing is known of the other one */
    local_check(0, 0);
    watch_check(0, NAN);
    edge_check(1, 1);
    assert_int_equal(say(2, false), 0);
    local_check(1, 0);
    edge_check(2, 2);
}

/* What a shadow run answers is judged by what was said before it came. */
static void test_other_side_later(void **state)
{
    (void)state;
    (void)decision_add(1, JOB_SIDE_EDGE, false, false);
    (void)decision_add(2, JOB_SIDE_EDGE, false, false);
    assert_int_equal(say(1, true), 0);
    local_check(0, 0);
    edge_check(1, 0);
    feedback_both(&all, 1, LOCAL, SURE, "den", EDGE, false);
    local_check(1, 0);
    edge_check(1, 0);
    feedback_both(&all, 2, LOCAL, SURE, "den", EDGE, true); /* and by what is said then */
    local_check(1, 0);
    assert_int_equal(say(2, true), 0);
    local_check(2, 1);
    edge_check(2, 0);
    feedback_both(&all, 3, LOCAL, SURE, "den", EDGE, true); /* nobody remembers it */
    local_check(2, 1);
}

/* The edge's answer that comes for the record is that of its model, and so is the local one's. */
static void test_whose_the_other_side_is(void **state)
{
    struct told_answers *answers = decision_add(1, JOB_SIDE_LOCAL, false, false);

    (void)state;
    answers->edge[0] = answers->edge_digest[0] = '\0';
    assert_int_equal(say(1, true), 0);
    local_check(1, 1);
    feedback_both(&all, 1, LOCAL, SURE, "den", EDGE, false);
    local_check(1, 1); /* once */
    edge_check(1, 1);
    answers = decision_add(2, JOB_SIDE_EDGE, false, false);
    answers->local_digest[0] = '\0';
    assert_int_equal(say(2, true), 0);
    edge_check(2, 1);
    feedback_both(&all, 2, LOCAL, SURE, "den", EDGE, true);
    edge_check(2, 1);
    local_check(2, 2);
}

/* What is said of a model's answers concerns that model. */
static void test_another_model(void **state)
{
    (void)state;
    (void)decision_add(1, JOB_SIDE_EDGE, true, true);
    strcpy(fake.local_digest, EDGE);
    assert_int_equal(say(1, false), 0);
    local_check(0, 0);
    edge_check(1, 1);
    strcpy(fake.local_digest, LOCAL);
    strcpy(task.known[0].digest, LOCAL);
    assert_int_equal(say(1, true), 0);
    edge_check(1, 1);
}

/* Of a yes/no question local learns whether it was that label, an edge how often its likeliest
 * answer is wrong; and what was said of another question than the one that is asked now teaches
 * local nothing. */
static void test_question(void **state)
{
    static char cat[] = "cat";
    struct told_answers *answers;

    (void)state;
    task_config.positive_label = cat;
    task.asks = true;
    task.costs = (struct cascade_costs){10, 1};
    answers = decision_add(1, JOB_SIDE_LOCAL, false, false);
    assert_int_equal(say(1, true), 0);
    local_check(0, 0); /* it was no question then */
    answers = decision_add(2, JOB_SIDE_LOCAL, false, false);
    answers->question = learn_question(&task);
    assert_int_equal(say(2, true), 0);
    local_check(1, 1); /* 0.85 said cat, and it was */
    assert_int_equal(say(2, false), 0);
    local_check(1, 0);
    answers = decision_add(3, JOB_SIDE_LOCAL, false, false);
    answers->question = learn_question(&task);
    answers->confidence = 0.05;
    assert_int_equal(say(3, true), 0); /* it said no, and was right: no cat */
    assert_int_equal(task.confidence.told[0], 1);
    assert_int_equal(task.confidence.right[0], 0);
    assert_int_equal(say(3, false), 0);
    assert_int_equal(task.confidence.right[0], 1);
    answers = decision_add(4, JOB_SIDE_EDGE, false, false);
    assert_int_equal(say(4, false), 0);
    edge_check(1, 1);
    answers = decision_add(5, JOB_SIDE_EDGE, false, false);
    answers->edge_turned = true; /* it answered what it held for less likely */
    assert_int_equal(say(5, true), 0);
    edge_check(2, 2);
    assert_int_equal(say(5, false), 0);
    edge_check(2, 1);
    task_config.positive_label = NULL;
}

/* What two models were compared at says nothing of another one at that edge. */
static void test_agreement_of_another_model(void **state)
{
    size_t looked_at;

    (void)state;
    learn_agreement_of(&task, 0, EDGE, 1, SURE, true);
    assert_int_equal(task.confidence.both[BIN], 1);
    assert_int_equal(task.known[0].agreement.agreed[BIN], 1);
    learn_agreement_of(&task, 0, LOCAL, 2, SURE, true);
    assert_int_equal(task.confidence.both[BIN], 1);
    (void)confidence_watch_ece(&task.watch.agreement, &looked_at);
    assert_int_equal(looked_at, 1);
    learn_agreement_of(&task, 0, "", 3, SURE, false); /* an edge that does not say */
    assert_int_equal(task.confidence.both[BIN], 2);
    assert_int_equal(task.known[0].agreement.agreed[BIN], 1);
}

/* What was forgotten is not taken back from what was learned since. */
static void test_after_forget(void **state)
{
    (void)state;
    (void)decision_add(1, JOB_SIDE_LOCAL, false, false);
    (void)decision_add(2, JOB_SIDE_LOCAL, false, false);
    assert_int_equal(say(1, true), 0);
    assert_int_equal(learn_forget(&all, "objects"), 0);
    local_check(0, 0);
    watch_check(0, NAN);
    assert_int_equal(say(2, true), 0);
    assert_int_equal(say(1, false), 0);
    local_check(2, 1);
}

static void answer_keep(uint64_t decision)
{
    struct answer_label labels[1] = {{(char *)(uintptr_t) "cat", 0.85}};
    const struct answer answer = {.kind = WIRE_CLASSIFY, .labels = labels, .label_count = 1};
    const struct result_origin origin = {.route = "local", .task = "objects", .decision = decision};

    assert_int_equal(result_cache_put(all.results, (struct result_key){decision, 0},
                                      (struct result_key){0, 0}, NULL, &answer, &origin),
                     0);
}

static size_t kept(void)
{
    struct result_counts counts;

    result_cache_counts(all.results, &counts);
    return counts.entries;
}

/* What is said of a repeated answer is said of the one that it repeats; one that was given to a
 * similar frame teaches nothing; and neither is given again once it was wrong. */
static void test_cached(void **state)
{
    struct told_answers *repeat, *similar, *origin;

    (void)state;
    origin = decision_add(1, JOB_SIDE_LOCAL, false, false);
    (void)decision_add(2, JOB_SIDE_LOCAL, false, false);
    repeat = decision_add(3, JOB_SIDE_CACHE, false, false);
    similar = decision_add(4, JOB_SIDE_CACHE, false, false);
    repeat->origin = 1;
    repeat->origin_same = true;
    similar->origin = 2;
    answer_keep(1);
    answer_keep(2);
    assert_int_equal(say(3, true), 0);
    local_check(1, 1);
    assert_int_equal(origin->told, TOLD_RIGHT);
    assert_int_equal(words, 2);
    assert_int_equal(kept(), 2);
    assert_int_equal(say(3, false), 0);
    local_check(1, 0);
    assert_int_equal(kept(), 1);
    assert_int_equal(say(4, false), 0);
    local_check(1, 0);
    assert_int_equal(kept(), 0);
}

/* The same content, judged again and again as it is asked again: one word about each model. */
static void test_content_once(void **state)
{
    const uint64_t content[2] = {7, 8};

    (void)state;
    for (uint64_t id = 1; id <= 8; id++) {
        struct told_answers *answers =
            decision_add(id, id == 4 ? JOB_SIDE_LOCAL : JOB_SIDE_EDGE, false, false);

        memcpy(answers->content, content, sizeof(content));
        if (id == 5) {
            answers->content[1]++;
        } else if (id == 6) {
            strcpy(answers->edge_digest, LOCAL); /* which is not there any more */
        } else if (id == 7) {
            memset(answers->content, 0, sizeof(content)); /* not known to be the same */
        }
    }
    for (uint64_t id = 1; id <= 3; id++) {
        assert_int_equal(say(id, false), 0);
        edge_check(1, 1);
    }
    assert_int_equal(say(4, false), 0);
    local_check(1, 0);
    edge_check(1, 1);
    assert_int_equal(say(1, true), 0); /* the last word, whichever it is said of */
    edge_check(1, 0);
    assert_int_equal(say(3, false), 0);
    edge_check(1, 1);
    assert_int_equal(say(5, false), 0); /* another content */
    edge_check(2, 2);
    assert_int_equal(say(6, true), 0); /* another model */
    edge_check(2, 2);
    assert_int_equal(say(7, false), 0);
    edge_check(3, 3);
    feedback_both(&all, 3, LOCAL, SURE, "den", EDGE, true); /* and the local one's, judged anew */
    edge_check(3, 3);
    local_check(1, 0);
}

/* Each change is a line on the disk: their number is bounded, whoever says it. The last word can be
 * said again, and teaches once. */
static void test_turns_are_bounded(void **state)
{
    const char *why = NULL;

    (void)state;
    (void)decision_add(5, JOB_SIDE_LOCAL, false, false);
    for (int i = 0; i < LIMIT_FEEDBACK_TURNS; i++) {
        assert_int_equal(say(5, i % 2 == 0), 0);
    }
    assert_int_equal(words, LIMIT_FEEDBACK_TURNS);
    assert_int_equal(say(5, true), TANDEM_EBUSY);
    assert_int_equal(feedback_take(&all, 0, 5, true, &why), TANDEM_EBUSY);
    assert_int_equal(say(5, false), 0);
    assert_int_equal(words, LIMIT_FEEDBACK_TURNS);
    local_check(1, 0);
    (void)decision_add(6, JOB_SIDE_LOCAL, false, false);
    assert_int_equal(say(6, true), 0);
}

/* What is too old cannot be judged any more; what is not can, also where the decision itself is no
 * longer in memory. */
static void test_bound(void **state)
{
    (void)state;
    for (uint64_t id = 1; id <= LIMIT_FEEDBACK_KEPT; id++) {
        (void)decision_add(id, JOB_SIDE_LOCAL, false, false);
    }
    assert_int_equal(say(1, true), 0);
    (void)decision_add(LIMIT_FEEDBACK_KEPT + 1, JOB_SIDE_LOCAL, false, false);
    assert_int_equal(say(1, false), TANDEM_ENOTFOUND);
    assert_int_equal(say(2, true), 0);
    assert_int_equal(say(LIMIT_FEEDBACK_KEPT, true), 0);
    assert_int_equal(say(LIMIT_FEEDBACK_KEPT + 1, true), 0);
    local_check(4, 4);
    assert_int_equal(words, 4);
}

int main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH(test_who_may_say_it),
        WITH(test_last_word_counts),
        WITH(test_both_sides),
        WITH(test_other_side_later),
        WITH(test_whose_the_other_side_is),
        WITH(test_another_model),
        WITH(test_after_forget),
        WITH(test_cached),
        WITH(test_bound),
        WITH(test_content_once),
        WITH(test_too_early),
        WITH(test_without_a_cache),
        WITH(test_question),
        WITH(test_agreement_of_another_model),
        WITH(test_turns_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
