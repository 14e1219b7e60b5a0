/* The codes of base and of the public header are the same numbers: this file sees the public ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tandem.h"

#include "common/base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void test_every_code_has_name_and_text(void **state)
{
    (void)state;
    for (int code = 0; code >= TANDEM_EPREFIX; code--) {
        assert_string_not_equal(tandem_error_name(code), "TANDEM_E?");
        assert_string_not_equal(tandem_error_text(code), "unknown error");
    }
    assert_string_equal(tandem_error_name(TANDEM_ELATE), "TANDEM_ELATE");
    assert_string_equal(tandem_error_name(TANDEM_ECONFIG), "TANDEM_ECONFIG");
    assert_string_equal(tandem_error_name(TANDEM_EPREFIX), "TANDEM_EPREFIX");
}

static void test_unknown_codes(void **state)
{
    (void)state;
    assert_string_equal(tandem_error_text(1), "unknown error");
    assert_string_equal(tandem_error_text(TANDEM_EPREFIX - 1), "unknown error");
    assert_string_equal(tandem_error_name(-100000), "TANDEM_E?");
}

/* Takes NAME and NUMBER of "    TANDEM_EX = -N," lines. */
static int code_read(const char *line, char name[64], int *ret_number)
{
    return sscanf(line, " TANDEM_%50[A-Z] = %d", name, ret_number) == 2;
}

static void test_public_header_has_the_same_numbers(void **state)
{
    char ours[512];
    char theirs[512];
    char name[64];
    char other[64];
    int number;
    int other_number;
    int compared = 0;
    FILE *base = fopen("common/base/error.h", "r");

    (void)state;
    assert_non_null(base);
    while (fgets(ours, sizeof(ours), base)) {
        FILE *public_header;
        int found = 0;

        if (!code_read(ours, name, &number)) {
            continue;
        }
        public_header = fopen("client/include/tandem.h", "r");
        assert_non_null(public_header);
        while (fgets(theirs, sizeof(theirs), public_header)) {
            if (code_read(theirs, other, &other_number) && strcmp(other, name) == 0) {
                assert_int_equal(other_number, number);
                found = 1;
            }
        }
        fclose(public_header);
        assert_true(found);
        compared++;
    }
    fclose(base);
    assert_int_equal(compared, 1 - TANDEM_EPREFIX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_code_has_name_and_text),
        cmocka_unit_test(test_unknown_codes),
        cmocka_unit_test(test_public_header_has_the_same_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
