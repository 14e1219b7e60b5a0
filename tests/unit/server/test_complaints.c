/* test_complaints.c: what is said of strangers, and how often. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "server/complaints.h"

#include <stdio.h>

static void test_once_a_minute(void **state)
{
    struct complaints complaints = {0};
    uint64_t held = 7;

    (void)state;
    assert_true(complaint_is_due(&complaints, "a", 0, &held));
    assert_int_equal(held, 0);
    assert_false(complaint_is_due(&complaints, "a", 1, &held));
    assert_false(complaint_is_due(&complaints, "a", COMPLAINT_S * NS_PER_S - 1, &held));
    assert_true(complaint_is_due(&complaints, "b", 2, &held));
    assert_true(complaint_is_due(&complaints, "a", COMPLAINT_S * NS_PER_S, &held));
    assert_int_equal(held, 2);
}

static void test_so_many_different_ones(void **state)
{
    struct complaints complaints = {0};
    uint64_t held;
    char text[16];

    (void)state;
    for (int i = 0; i < LIMIT_PEER_COMPLAINTS; i++) {
        snprintf(text, sizeof(text), "%d", i);
        assert_true(complaint_is_due(&complaints, text, i, &held));
    }
    assert_false(complaint_is_due(&complaints, "one more", 100, &held));
    assert_true(complaint_is_due(&complaints, "one more", COMPLAINT_S * NS_PER_S, &held));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_once_a_minute),
                                       cmocka_unit_test(test_so_many_different_ones)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
