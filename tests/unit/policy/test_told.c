/* What an application says of an answer: whose answers that judges, its line, and the table of
 * many.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/policy/told_line.h"

#define LINE_BYTES 512

#define NONE  TOLD_NOTHING
#define RIGHT TOLD_RIGHT
#define WRONG TOLD_WRONG

/* Who answered, how, and what follows for local and edge when the delivered one was right, and when
 * it was wrong. */
static void test_whom_it_judges(void **state)
{
    static const struct {
        enum job_side by;
        bool local, edge, agreed, one_right;
        enum told local_right, edge_right, local_wrong, edge_wrong;
    } cases[] = {
        {JOB_SIDE_LOCAL, true, false, false, true, RIGHT, NONE, WRONG, NONE},
        {JOB_SIDE_EDGE, false, true, false, true, NONE, RIGHT, NONE, WRONG},
        {JOB_SIDE_EDGE, true, true, true, true, RIGHT, RIGHT, WRONG, WRONG},
        {JOB_SIDE_EDGE, true, true, false, true, WRONG, RIGHT, NONE, WRONG},
        {JOB_SIDE_LOCAL, true, true, false, true, RIGHT, WRONG, WRONG, NONE},
        /* two texts may both be right */
        {JOB_SIDE_LOCAL, true, true, false, false, RIGHT, NONE, WRONG, NONE},
        {JOB_SIDE_LOCAL, true, true, true, false, RIGHT, RIGHT, WRONG, WRONG},
        /* a text that was cut short, beside a whole one or alone */
        {JOB_SIDE_LOCAL, false, true, false, false, NONE, NONE, NONE, NONE},
        {JOB_SIDE_LOCAL, false, false, false, false, NONE, NONE, NONE, NONE},
        {JOB_SIDE_CACHE, false, false, false, true, NONE, NONE, NONE, NONE},
        {JOB_SIDES, true, true, true, true, NONE, NONE, NONE, NONE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct told_answers answers = {.by = cases[i].by,
                                             .whole = {cases[i].local, cases[i].edge},
                                             .agreed = cases[i].agreed,
                                             .one_right = cases[i].one_right};

        if (told_of(&answers, JOB_SIDE_LOCAL, true) != cases[i].local_right ||
            told_of(&answers, JOB_SIDE_EDGE, true) != cases[i].edge_right ||
            told_of(&answers, JOB_SIDE_LOCAL, false) != cases[i].local_wrong ||
            told_of(&answers, JOB_SIDE_EDGE, false) != cases[i].edge_wrong) {
            fail_msg("case %zu", i);
        }
    }
}

/* The same content asked of the same model, and by local of the same question. */
static void test_the_same(void **state)
{
    static const struct told_answers answers = {.task = "people",
                                                .content = {7, 8},
                                                .question = 3,
                                                .edge = "den",
                                                .local_digest = "here",
                                                .edge_digest = "there"};
    struct told_answers other = answers;

#define CHECK(local, edge_)                                                                        \
    assert_int_equal(told_same(&answers, &other, JOB_SIDE_LOCAL), local);                          \
    assert_int_equal(told_same(&answers, &other, JOB_SIDE_EDGE), edge_);                           \
    other = answers
    (void)state;
    CHECK(true, true);
    other.content[1]++;
    CHECK(false, false);
    strcpy(other.task, "objects");
    CHECK(false, false);
    strcpy(other.local_digest, "another");
    CHECK(false, true);
    other.question++;
    CHECK(false, true);
    strcpy(other.edge, "attic");
    CHECK(true, false);
    strcpy(other.edge_digest, "another");
    CHECK(true, false);
#undef CHECK
}

/* The line of a decision whose answers these are. */
static void line_of(const struct told_answers *answers, char line[LINE_BYTES])
{
    struct json_writer json;
    struct buf out;

    buf_init(&out, 0);
    json_begin(&json, &out);
    json_object_open(&json, NULL);
    json_text(&json, "task", "objects");
    told_answers_json(answers, &json);
    json_object_close(&json);
    assert_int_equal(json_end(&json), 0);
    assert_true(out.bytes < LINE_BYTES);
    memcpy(line, out.data, out.bytes);
    line[out.bytes] = '\0';
    buf_fini(&out);
}

static void test_line(void **state)
{
    struct told_answers answers = {.decision = 7,
                                   .uid = 1000,
                                   .by = JOB_SIDE_EDGE,
                                   .whole = {true, true},
                                   .confidence = 0.25,
                                   .agreed = true,
                                   .edge = "den",
                                   .local_digest = "11111111111111111111111111111111",
                                   .edge_digest = "22222222222222222222222222222222"},
                        got;
    char line[LINE_BYTES];

    (void)state;
    line_of(&answers, line);
    assert_true(told_answers_read(line, &got));
    assert_int_equal(got.uid, 1000);
    assert_int_equal(got.by, JOB_SIDE_EDGE);
    assert_true(got.whole[JOB_SIDE_LOCAL] && got.whole[JOB_SIDE_EDGE] && got.agreed);
    assert_true(got.confidence == 0.25);
    assert_string_equal(got.local_digest, answers.local_digest);
    assert_string_equal(got.edge, "den");
    assert_string_equal(got.edge_digest, answers.edge_digest);
    assert_int_equal(got.origin, 0);
    answers = (struct told_answers){
        .decision = 8, .by = JOB_SIDE_CACHE, .origin = UINT64_MAX, .origin_same = true};
    line_of(&answers, line);
    assert_true(told_answers_read(line, &got));
    assert_int_equal(got.by, JOB_SIDE_CACHE);
    assert_true(got.origin == UINT64_MAX && got.origin_same);
    assert_false(got.whole[JOB_SIDE_LOCAL] || got.whole[JOB_SIDE_EDGE] || got.agreed);
}

/* How sure local was would be the answer to a question; and who gave none has none. */
static void test_line_of_a_question(void **state)
{
    static const char *const wrong[] = {
        "",
        "{\"answers\":{",
        "{\"answers\":{}}",
        "{\"answers\":{\"uid\":1,\"by\":\"nobody\"}}",
        "{\"answers\":{\"by\":\"local\"},\"uid\":1}",
        "{\"answers\":{\"uid\":-1,\"by\":\"local\"}}",
    };
    struct told_answers answers = {.decision = 7, .by = JOB_SIDE_LOCAL, .question = 1};
    char line[LINE_BYTES];

    (void)state;
    line_of(&answers, line);
    assert_string_equal(line, "{\"task\":\"objects\"}");
    answers.question = 0;
    answers.by = JOB_SIDES;
    line_of(&answers, line);
    assert_string_equal(line, "{\"task\":\"objects\"}");
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        if (told_answers_read(wrong[i], &answers)) {
            fail_msg("'%s' was read", wrong[i]);
        }
    }
}

static void test_later_lines(void **state)
{
    struct told_answers answers = {.decision = 7, .by = JOB_SIDE_LOCAL, .whole = {true, false}};

    (void)state;
    assert_false(told_amend("{\"id\":\"7\",\"measured\":[]}", &answers));
    assert_true(told_amend("{\"id\":\"7\",\"correct\":false}", &answers));
    assert_int_equal(answers.told, WRONG);
    assert_true(answers.taught[JOB_SIDE_LOCAL] && !answers.taught[JOB_SIDE_EDGE]);
    assert_true(told_amend("{\"id\":\"7\",\"forgotten\":true}", &answers));
    assert_int_equal(answers.told, WRONG);
    assert_false(answers.taught[JOB_SIDE_LOCAL]);
    assert_true(told_amend("{\"id\":\"7\",\"correct\":true}", &answers));
    assert_int_equal(answers.told, RIGHT);
    assert_true(answers.taught[JOB_SIDE_LOCAL]);
    assert_int_equal(answers.turns, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same),    cmocka_unit_test(test_whom_it_judges),
        cmocka_unit_test(test_line),        cmocka_unit_test(test_line_of_a_question),
        cmocka_unit_test(test_later_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
