#include "common/base/help_line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static void line_is(const char *left, int column, const char *text, const char *expected)
{
    char *said = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&said, &bytes);

    assert_non_null(out);
    help_line(out, left, column, text);
    assert_int_equal(fclose(out), 0);
    assert_string_equal(said, expected);
    free(said);
}

static void test_fits(void **state)
{
    (void)state;
    line_is("top", 10, "what is so now", "  top     what is so now\n");
    line_is("top", 10, "", "  top     \n");
    line_is("top  ", 6, "now", "  top  \n      now\n"); /* it reaches as far as the text would */
}

static void test_wraps_at_words(void **state)
{
    (void)state;
    line_is("a", 70, "of this nine go",
            "  a                                                                   of this\n"
            "                                                                      nine go\n");
    line_is(
        "a", 70, "incomprehensible word",
        "  a                                                                   incomprehensible\n"
        "                                                                      word\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fits),
                                       cmocka_unit_test(test_wraps_at_words)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
