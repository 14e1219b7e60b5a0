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

#include "client/policy/told.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same),
        cmocka_unit_test(test_whom_it_judges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
