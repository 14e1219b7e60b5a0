/* What was learned, as text: found again as it was, old samples as old, and nothing that is not
 * what was written is believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/daemon/learned.h"
#include "common/base/error.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW_NS  (1000 * NS_PER_S)
#define UNIX_NS (INT64_C(1700000000) * NS_PER_S)

static struct learned_task tasks[2];
static struct learned learned;

static void learned_make(void)
{
    struct learned_task *task = &tasks[0];
    struct learned_pair *pair = &task->pairs[0];

    memset(tasks, 0, sizeof(tasks));
    learned = (struct learned){.link_count = 1, .tasks = tasks, .task_count = 2};
    strcpy(learned.links[0].name, "shed");
    strcpy(learned.links[0].digest, "00000000000000aa");
    for (int i = 0; i < 40; i++) { /* more than are held: the ring has turned */
        estimate_samples_add(&learned.links[0].link.rtt_ms, 10 + i, NOW_NS - (40 - i) * NS_PER_S);
    }
    estimate_samples_add(&learned.links[0].link.up_bytes_per_ms, 1250.5, NOW_NS);
    estimate_spread_add(&learned.links[0].link.up_spread, 1, 2, NOW_NS);
    estimate_spread_add(&learned.links[0].link.rtt_spread, 1, 3, NOW_NS);
    for (int i = 0; i < 2; i++) {
        snprintf(tasks[i].name, sizeof(tasks[i].name), "task%d", i);
        estimate_local_init(&tasks[i].run);
        estimate_text_init(&tasks[i].text);
    }
    strcpy(task->digest, "0123456789abcdef0123456789abcdef");
    strcpy(task->question, "00000000000000bb");
    task->confidence.odds = 10;
    for (int i = 0; i < 100; i++) {
        estimate_local_add(&task->run, 5 + i % 7);
        confidence_see(&task->confidence, 0.01 * i);
    }
    estimate_text_add(&task->text, &(struct estimate_text_run){.prompt_bytes = 20,
                                                               .prompt_tokens = 6,
                                                               .prefill_tokens = 6,
                                                               .prefill_ms = 3,
                                                               .decode_tokens = 4,
                                                               .decode_ms = 9});
    confidence_tell(&task->confidence, 0.95, false);
    confidence_tell(&task->confidence, 0.95, true);
    task->pair_count = 1;
    strcpy(pair->edge, "shed");
    strcpy(pair->digest, "ff");
    estimate_edge_init(&pair->estimate);
    estimate_edge_add(&pair->estimate, 30, 2, 8, NOW_NS);
    estimate_spread_add(&pair->estimate.rest_spread, 1, 4, NOW_NS);
    pair->estimate.tail_log = -1.25;
    confidence_pair_compare(&task->confidence, &pair->agreement, 0.91, true);
    confidence_pair_compare(&task->confidence, &pair->agreement, 0.45, false);
    edge_truth_tell(&pair->truth, false);
}

static void text_make(struct buf *text)
{
    learned_make();
    buf_init(text, 0);
    assert_int_equal(learned_write(&learned, NOW_NS, UNIX_NS, text), 0);
}

static int read_result(const void *text, size_t bytes)
{
    char error[LEARNED_ERROR_BYTES];
    struct learned got;
    const int result = learned_read(text, bytes, NOW_NS, UNIX_NS, &got, error);

    if (result == 0) {
        learned_fini(&got);
    } else {
        assert_true(error[0] != '\0');
    }
    return result;
}

static void test_found_again(void **state)
{
    const int64_t later_ns = 5 * NS_PER_S; /* the machine has started anew */
    char error[LEARNED_ERROR_BYTES];
    const struct learned_pair *pair;
    const struct learned_task *task;
    struct learned got;
    struct buf text;

    (void)state;
    text_make(&text);
    assert_int_equal(
        learned_read(text.data, text.bytes, later_ns, UNIX_NS + 1000 * NS_PER_S, &got, error), 0);
    assert_int_equal(got.link_count, 1);
    assert_int_equal(got.task_count, 2);
    assert_string_equal(got.links[0].name, "shed");
    assert_int_equal(got.links[0].link.rtt_ms.count, ESTIMATE_SAMPLES);
    assert_float_equal(estimate_samples_mean(&got.links[0].link.rtt_ms, NAN, later_ns),
                       estimate_samples_mean(&learned.links[0].link.rtt_ms, NAN, NOW_NS), 1e-5);
    task = &got.tasks[0];
    assert_string_equal(task->digest, tasks[0].digest);
    assert_string_equal(task->question, tasks[0].question);
    assert_true(task->confidence.odds == 10);
    assert_string_equal(got.tasks[1].question, "");
    assert_true(got.tasks[1].confidence.odds == 0);
    assert_int_equal(task->run.run.count, 100);
    assert_float_equal(task->run.run.mean, tasks[0].run.run.mean, 1e-6);
    assert_float_equal(quantile_window_get(&task->run.window, 0.95),
                       quantile_window_get(&tasks[0].run.window, 0.95), 1e-6);
    assert_float_equal(task->text.decode.mean.mean, 2.25, 1e-6);
    assert_int_equal(task->text.answer.mean.count, 0);
    for (double value = 0.05; value < 1; value += 0.1) {
        assert_float_equal(confidence_error(&task->confidence, value),
                           confidence_error(&tasks[0].confidence, value), 1e-9);
    }
    assert_memory_equal(task->confidence.seen, tasks[0].confidence.seen,
                        sizeof(task->confidence.seen));
    pair = &task->pairs[0];
    assert_string_equal(pair->digest, "ff");
    assert_int_equal(pair->truth.told, 1);
    assert_int_equal(pair->truth.wrong, 1);
    assert_float_equal(pair->estimate.tail_log, -1.25, 1e-9);
    assert_true(fabs(got.links[0].link.up_spread.squares - 2 * log(2) * log(2)) < 1e-6);
    assert_true(fabs(got.links[0].link.rtt_spread.squares - 2 * log(3) * log(3)) < 1e-6);
    assert_true(fabs(pair->estimate.rest_spread.squares - 2 * log(4) * log(4)) < 1e-6);
    assert_float_equal(pair->estimate.rest_spread.weight, 1, 1e-6);
    assert_int_equal(pair->estimate.rest.count, 1);
    assert_string_equal(got.tasks[1].digest, "");
    learned_fini(&got);
    buf_fini(&text);
}

/* As old as the wall clock says, and old in any case: it may have been set back. */
static void test_samples_are_old(void **state)
{
    static const int64_t passed_s[] = {0, -86400, 3600, INT64_C(86400) * 10000};
    static const int64_t oldest_s[] = {150, 150, 3600, INT64_C(86400) * 366};
    char error[LEARNED_ERROR_BYTES];
    struct learned got;
    struct buf text;

    (void)state;
    text_make(&text);
    for (size_t i = 0; i < 4; i++) {
        const struct estimate_samples *samples;

        assert_int_equal(learned_read(text.data, text.bytes, NOW_NS,
                                      UNIX_NS + passed_s[i] * NS_PER_S, &got, error),
                         0);
        samples = &got.links[0].link.up_bytes_per_ms;
        assert_int_equal((NOW_NS - samples->at_ns[0]) / NS_PER_S, oldest_s[i]);
        assert_int_equal((NOW_NS - got.links[0].link.up_spread.newest_ns) / NS_PER_S, oldest_s[i]);
        /* One fresh measurement outweighs all that was kept. */
        estimate_samples_add(&got.links[0].link.rtt_ms, 500, NOW_NS);
        assert_true(estimate_samples_mean(&got.links[0].link.rtt_ms, NAN, NOW_NS) > 400);
        learned_fini(&got);
    }
    buf_fini(&text);
}

static void test_cut_or_changed(void **state)
{
    static const char bytes[] = {'\0', '\n', ' ', '-', 'n', '9', ':', '\xff'};
    struct buf text;

    (void)state;
    text_make(&text);
    assert_int_equal(read_result(text.data, text.bytes), 0);
    for (size_t cut = 0; cut < text.bytes; cut++) {
        assert_int_equal(read_result(text.data, cut), TANDEM_EFORMAT);
    }
    for (size_t at = 0; at < text.bytes; at++) {
        const uint8_t was = text.data[at];

        for (size_t i = 0; i < sizeof(bytes); i++) {
            const int result =
                (text.data[at] = (uint8_t)bytes[i], /* believed only if it may be so */
                 read_result(text.data, text.bytes));

            assert_true(result == 0 || result == TANDEM_EFORMAT);
        }
        text.data[at] = was;
    }
    buf_fini(&text);
}

static void test_wrong_lines(void **state)
{
#define HEAD "tandem-learned 1\nsaved_unix_ms 5\n"
#define TASK HEAD "task a 0 -\n"
#define PAIR TASK "with e -\n"
    static const char *const texts[] = {
        "tandem-learned 2\nend\n",
        HEAD,
        HEAD "end\nend\n",
        HEAD "end\ntask a 0 -\n",
        HEAD "surprise\nend\n",
        HEAD "rtt_ms 5:5\nend\n",
        HEAD "with e -\nend\n",
        TASK "rest 5:5\nend\n",
        HEAD "task ../a 0 -\nend\n",
        HEAD "task a 0 xyz\nend\n",
        HEAD "task a 0 0123456789abcdef0123456789abcdef0\nend\n",
        HEAD "edge e\nend\n",
        HEAD "edge e -\nrtt_ms 5:nan\nend\n",
        HEAD "edge e -\nrtt_ms 5:inf\nend\n",
        HEAD "edge e -\nrtt_ms 5:0x10\nend\n",
        HEAD "edge e -\nrtt_ms 5:1e300\nend\n",
        HEAD "edge e -\nrtt_ms 5:-1\nend\n",
        HEAD "edge e -\nrtt_ms -5:1\nend\n",
        HEAD "edge e -\nrtt_ms 5:1\nrtt_ms 5:1\nend\n",
        HEAD "edge e -\nup_bytes_per_ms 5:0\nend\n",
        TASK "question bb\nend\n",
        TASK "question - 10\nend\n",
        TASK "question bb 0\nend\n",
        TASK "question bb 1e7\nend\n",
        TASK "question bb 2\nquestion bb 2\nend\n",
        TASK "run 0 1 1 1\nend\n",
        TASK "run 5 1 1\nend\n",
        TASK "run 5 nan 1 1\nend\n",
        TASK "seen 1 2 3\nend\n",
        TASK "seen 1 2 3 4 5 6 7 8 9 4294967296\nend\n",
        TASK "seen 1 2 3 4 5 6 7 8 9 10 11\nend\n",
        TASK "told 0 0 0 0 0 0 0 0 0 0\nright 1 0 0 0 0 0 0 0 0 0\nend\n",
        PAIR "tail_log 99\nend\n",
        PAIR "rest_spread 5 1\nend\n",
        PAIR "rest_spread 5 1 1\nrest_spread 5 1 1\nend\n",
        HEAD "edge e -\nup_spread 5 19 1\nend\n",
        HEAD "edge e -\nrtt_spread 5 nan 1\nend\n",
        HEAD "edge e -\nrtt_spread 5 1 1000\nend\n",
        PAIR "truth 1 2\nend\n",
        PAIR "claimed 0 0 0 0 0 0 0 0 0 nan\nend\n",
        PAIR "both 0 0 0 0 0 0 0 0 0 0\nagreed 1 0 0 0 0 0 0 0 0 0\nend\n",
        PAIR "both 1073741824 0 0 0 0 0 0 0 0 0\nwith f -\nboth 1 0 0 0 0 0 0 0 0 0\nend\n",
    };

    (void)state;
    assert_int_equal(read_result(PAIR "end\n", strlen(PAIR "end\n")), 0);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (read_result(texts[i], strlen(texts[i])) != TANDEM_EFORMAT) {
            fail_msg("believed: %s", texts[i]);
        }
    }
}

/* As many as there may be, and one more. */
static void test_bounds(void **state)
{
    static const struct {
        const char *line, *before;
        int most;
    } bounds[] = {{"edge e -\n", HEAD, LIMIT_EDGES},
                  {"task a 0 -\n", HEAD, LIMIT_TASKS},
                  {"with e -\n", TASK, LIMIT_EDGES}};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        for (int more = 0; more <= 1; more++) {
            struct buf text;

            buf_init(&text, 0);
            assert_int_equal(buf_append_text(&text, bounds[i].before), 0);
            for (int k = 0; k < bounds[i].most + more; k++) {
                assert_int_equal(buf_append_text(&text, bounds[i].line), 0);
            }
            assert_int_equal(buf_append_text(&text, "end\n"), 0);
            assert_int_equal(read_result(text.data, text.bytes), more ? TANDEM_EFORMAT : 0);
            buf_fini(&text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found_again), cmocka_unit_test(test_samples_are_old),
        cmocka_unit_test(test_cut_or_changed), cmocka_unit_test(test_wrong_lines),
        cmocka_unit_test(test_bounds)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
