/* Answers made of boxes: how sure they are, and which of them say the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "client/daemon/boxes.h"

#include <math.h>

#define ANSWER_OF(list)                                                                            \
    {                                                                                              \
        .kind = WIRE_DETECT, .boxes = (list), .box_count = sizeof(list) / sizeof((list)[0])        \
    }

static bool agree(const struct answer *a, const struct answer *b)
{
    assert_int_equal(boxes_agree(a, b), boxes_agree(b, a));
    return boxes_agree(a, b);
}

static void test_judged(void **state)
{
    struct answer_box boxes[] = {{"cat", 0.9, 0, 0, 9, 9}, {"dog", 0.6, 9, 9, 9, 9}};
    struct answer_box noise[] = {{"cat", 0.05, 0, 0, 9, 9}};
    struct answer two = ANSWER_OF(boxes), none = {.kind = WIRE_DETECT}, faint = ANSWER_OF(noise);
    struct confidence confidence;

    (void)state;
    confidence_init(&confidence);
    confidence.nothing = true;
    boxes_judge(&two, &confidence);
    assert_float_equal(two.confidence, 0.54, 1e-9);
    assert_true(boxes_found(&two));
    assert_float_equal(boxes_sure(&two), 0.54, 1e-9);
    for (int learned = 0; learned < 2; learned++) {
        boxes_judge(&none, &confidence);
        boxes_judge(&faint, &confidence);
        assert_true(fabs(none.confidence - (learned ? 0.9 : 0.5)) < 1e-9);
        assert_true(fabs(faint.confidence - (learned ? 0.9 : 0.5)) < 1e-9);
        assert_false(boxes_found(&none) || boxes_found(&faint));
        assert_true(boxes_sure(&none) == CONFIDENCE_NOTHING);
        assert_true(boxes_sure(&faint) == CONFIDENCE_NOTHING);
        for (int i = 0; i < 8; i++) {
            confidence_compare(&confidence, boxes_sure(&none), true);
        }
    }
}

static void test_nothing_agrees_with_nothing(void **state)
{
    struct answer_box one[] = {{"cat", 0.5, 0, 0, 9, 9}}, unlikely[] = {{"cat", 0.49, 0, 0, 9, 9}};
    const struct answer none = {.kind = WIRE_DETECT}, some = ANSWER_OF(one),
                        hint = ANSWER_OF(unlikely);

    (void)state;
    assert_true(agree(&none, &none));
    assert_true(agree(&none, &hint)); /* it says that none is there */
    assert_false(agree(&none, &some));
    assert_false(agree(&some, &hint));
    assert_true(agree(&some, &some));
}

/* Two of 10 x 10, the other moved: of 20 - s wide unions s are common. */
static void test_overlap(void **state)
{
    static const struct {
        float moved;
        bool same;
    } cases[] = {{0, true}, {3.3f, true}, {3.4f, false}, {10, false}, {-3.3f, true}, {-40, false}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct answer_box a[] = {{"cat", 0.9, 50, 50, 10, 10}},
                          b[] = {{"cat", 0.6, 50, 50, 10, 10}};
        const struct answer ours = ANSWER_OF(a), theirs = ANSWER_OF(b);

        b[0].x += cases[i].moved;
        assert_int_equal(agree(&ours, &theirs), cases[i].same);
        b[0].x = a[0].x;
        b[0].y += cases[i].moved;
        assert_int_equal(agree(&ours, &theirs), cases[i].same);
    }
}

static void test_labels_and_counts(void **state)
{
    struct answer_box a[] = {{"cat", 0.9, 0, 0, 10, 10}, {"dog", 0.8, 30, 0, 10, 10}};
    struct answer_box swapped[] = {{"cat", 0.9, 30, 0, 10, 10}, {"dog", 0.8, 0, 0, 10, 10}};
    struct answer_box turned[] = {{"dog", 0.9, 30, 0, 10, 10}, {"cat", 0.5, 0, 0, 10, 10}};
    struct answer_box cats[] = {{"cat", 0.9, 0, 0, 10, 10}, {"cat", 0.8, 30, 0, 10, 10}};
    struct answer_box twice[] = {{"cat", 0.9, 0, 0, 10, 10}, {"cat", 0.8, 0, 0, 10, 10}};
    struct answer_box more[] = {
        {"cat", 0.9, 0, 0, 10, 10}, {"dog", 0.8, 30, 0, 10, 10}, {"dog", 0.7, 60, 0, 10, 10}};
    struct answer_box flat[] = {{"cat", 0.9, 0, 0, 10, 0}};
    const struct answer pair = ANSWER_OF(a), other = ANSWER_OF(swapped), same = ANSWER_OF(turned),
                        two_cats = ANSWER_OF(cats), one_twice = ANSWER_OF(twice),
                        three = ANSWER_OF(more), line = ANSWER_OF(flat);

    (void)state;
    assert_true(agree(&pair, &same)); /* in whatever order */
    assert_false(agree(&pair, &other));
    assert_false(agree(&pair, &two_cats));
    assert_false(agree(&pair, &three));
    assert_false(agree(&two_cats, &one_twice)); /* a partner for each */
    assert_true(agree(&one_twice, &one_twice));
    assert_false(agree(&line, &line)); /* no area, no overlap */
}

/* Each takes the one it overlaps most, not the first that it overlaps enough: 0 could have 3, and 5
 * would be left with 0. */
static void test_the_nearest_is_the_partner(void **state)
{
    struct answer_box a[] = {{"cat", 0.9, 0, 0, 10, 10}, {"cat", 0.8, 5, 0, 10, 10}};
    struct answer_box b[] = {{"cat", 0.9, 3, 0, 10, 10}, {"cat", 0.8, 0, 0, 10, 10}};
    const struct answer ours = ANSWER_OF(a), theirs = ANSWER_OF(b);

    (void)state;
    assert_true(agree(&ours, &theirs));
    b[0].x = -3; /* 5 has none */
    assert_false(agree(&ours, &theirs));
}

/* As many as a message holds; each has a partner, and one that has not is seen. */
static void test_many(void **state)
{
    static struct answer_box a[LIMIT_BOXES], b[LIMIT_BOXES];
    const struct answer ours = ANSWER_OF(a), theirs = ANSWER_OF(b);

    (void)state;
    for (int i = 0; i < LIMIT_BOXES; i++) {
        a[i] = (struct answer_box){i % 2 ? "cat" : "dog", 0.9, (float)(20 * (i % 32)),
                                   (float)(20 * i / 32),  10,  10};
        b[LIMIT_BOXES - 1 - i] = a[i];
    }
    assert_true(agree(&ours, &theirs));
    b[100].x += 5;
    assert_false(agree(&ours, &theirs));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_judged),
                                       cmocka_unit_test(test_nothing_agrees_with_nothing),
                                       cmocka_unit_test(test_overlap),
                                       cmocka_unit_test(test_labels_and_counts),
                                       cmocka_unit_test(test_the_nearest_is_the_partner),
                                       cmocka_unit_test(test_many)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
