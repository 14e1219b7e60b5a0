/* Where a text may be cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "common/base/utf8.h"

/* Every prefix of a text with characters of one to four bytes. */
static void test_prefixes(void **state)
{
    static const char text[] = "a\xc3\xa4\xe2\x82\xac\xf0\x9f\xa4\x96z";
    static const size_t whole[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11};

    (void)state;
    assert_int_equal(strlen(text) + 1, sizeof(whole) / sizeof(whole[0]));
    for (size_t bytes = 0; bytes <= strlen(text); bytes++) {
        assert_int_equal(utf8_whole_bytes(text, bytes), whole[bytes]);
    }
}

/* Nothing to wait for: it is shown as it is. */
static void test_what_is_none(void **state)
{
    static const char *const texts[] = {"\x80", "\x80\x80\x80\x80\x80", "a\xff",
                                        "\xc1", "\xc3\xa4\xa4",         "\xf5\x80"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_int_equal(utf8_whole_bytes(texts[i], strlen(texts[i])), strlen(texts[i]));
    }
    assert_int_equal(utf8_whole_bytes(NULL, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_prefixes),
                                       cmocka_unit_test(test_what_is_none)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
