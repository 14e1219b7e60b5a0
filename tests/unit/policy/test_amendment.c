/* Lines that tell more of a decision: which are that, and how a decision gets what they say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/policy/amendment.h"
#include "common/base/error.h"
#include "common/base/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DECISION(id) "{\"schema\":1,\"id\":\"" id "\",\"task\":\"t\",\"outcome\":{\"x\":1}}"

static void applied_is(struct amendments *amendments, const char *line, const char *expected)
{
    struct buf out;

    buf_init(&out, 0);
    assert_int_equal(amendments_apply(amendments, line, &out), 0);
    assert_int_equal(buf_append_u8(&out, 0), 0);
    assert_string_equal((const char *)out.data, expected);
    buf_fini(&out);
}

static void test_which_lines(void **state)
{
    static const char *const none[] = {
        "",
        "{}",
        "{\"id\":\"7\"}",
        "{\"id\":7,\"measured\":[]}",
        "{\"id\":\"x\",\"measured\":[]}",
        "{\"id\":\"7\",\"measured\":[]",
        "{\"id\":\"7\" \"measured\":[]}",
        DECISION("7"),
        "{\"text\":\"\\\"id\\\":\\\"7\\\",\"}",
    };
    uint64_t id = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        if (amendment_is(none[i], &id)) {
            fail_msg("'%s' is one", none[i]);
        }
    }
    assert_true(amendment_is("{\"schema\":1,\"id\":\"18446744073709551615\",\"a\":{}}", &id));
    assert_true(id == UINT64_MAX);
    assert_true(amendment_is("{ \"id\" : \"12\" , \"a\": 1 } \r\n", &id));
    assert_int_equal(id, 12);
    assert_int_equal(amendment_id(DECISION("31")), 31);
    assert_int_equal(amendment_id("{\"schema\":1}"), 0);
}

/* Each decision gets its own; a member that is said anew replaces the one before. */
static void test_apply(void **state)
{
    struct amendments amendments;

    (void)state;
    amendments_init(&amendments);
    applied_is(&amendments, DECISION("2"), DECISION("2"));
    assert_int_equal(amendments_add(&amendments, DECISION("2")), TANDEM_EINVAL);
    assert_int_equal(amendments_add(&amendments, "{\"id\":\"3\",\"measured\":[1]}"), 0);
    assert_int_equal(amendments_add(&amendments, "{\"id\":\"2\",\"measured\":[2]}\n"), 0);
    assert_int_equal(amendments_add(&amendments, "{\"id\":\"2\",\"feedback\":{\"a\":1}}"), 0);
    applied_is(&amendments, DECISION("1"), DECISION("1"));
    applied_is(&amendments, DECISION("2"),
               "{\"schema\":1,\"id\":\"2\",\"task\":\"t\",\"outcome\":{\"x\":1},"
               "\"measured\":[2],\"feedback\":{\"a\":1}}");
    assert_int_equal(amendments_add(&amendments, "{\"id\": \"2\", \"feedback\": {\"a\": 2} }"), 0);
    applied_is(&amendments, DECISION("2"),
               "{\"schema\":1,\"id\":\"2\",\"task\":\"t\",\"outcome\":{\"x\":1},"
               "\"measured\":[2],\"feedback\": {\"a\": 2} }");
    applied_is(&amendments, DECISION("3"),
               "{\"schema\":1,\"id\":\"3\",\"task\":\"t\",\"outcome\":{\"x\":1},"
               "\"measured\":[1]}");
    applied_is(&amendments, "no object", "no object");
    amendments_fini(&amendments);
}

/* What does not fit the reader's buffer leaves it as it was; nor is more kept than the bound. */
static void test_bounds(void **state)
{
    const size_t bytes = LIMIT_AMENDMENTS_BYTES / 4;
    struct amendments amendments;
    char *line = malloc(bytes + 64);
    struct buf out;
    size_t used;

    (void)state;
    assert_non_null(line);
    used = (size_t)snprintf(line, 64, "{\"id\":\"1\",\"a\":\"");
    memset(line + used, 'x', bytes - 6);
    memcpy(line + used + bytes - 6, "\"}", 3);
    amendments_init(&amendments);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(amendments_add(&amendments, line), 0);
    }
    assert_int_equal(amendments.texts.bytes, LIMIT_AMENDMENTS_BYTES);
    assert_int_equal(amendments_add(&amendments, line), TANDEM_ETOOBIG);
    assert_int_equal(amendments.count, 4);
    buf_init(&out, 1000);
    assert_int_equal(buf_append_text(&out, "before"), 0);
    assert_int_equal(amendments_apply(&amendments, DECISION("1"), &out), TANDEM_ETOOBIG);
    assert_int_equal(out.bytes, strlen("before"));
    buf_fini(&out);
    amendments_fini(&amendments);
    free(line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_which_lines),
                                       cmocka_unit_test(test_apply), cmocka_unit_test(test_bounds)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
