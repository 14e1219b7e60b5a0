#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/base/error.h"
#include "common/base/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct fixture {
    struct buf out;
    struct json_writer json;
};

static void begin(struct fixture *f)
{
    buf_init(&f->out, 0);
    json_begin(&f->json, &f->out);
}

static void end(struct fixture *f, const char *expected)
{
    assert_int_equal(json_end(&f->json), 0);
    assert_int_equal(buf_append_u8(&f->out, 0), 0);
    assert_string_equal((const char *)f->out.data, expected);
    buf_fini(&f->out);
}

static void test_objects_and_arrays(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    json_object_open(&f.json, NULL);
    json_int(&f.json, "a", -5);
    json_uint(&f.json, "b", UINT64_MAX);
    json_bool(&f.json, "c", true);
    json_null(&f.json, "d");
    json_array_open(&f.json, "e");
    json_array_close(&f.json);
    json_array_open(&f.json, "f");
    json_int(&f.json, NULL, 1);
    json_object_open(&f.json, NULL);
    json_text(&f.json, "x", "y");
    json_text(&f.json, "n", NULL);
    json_object_close(&f.json);
    json_array_close(&f.json);
    json_object_close(&f.json);
    end(&f, "{\"a\":-5,\"b\":18446744073709551615,\"c\":true,\"d\":null,\"e\":[],"
            "\"f\":[1,{\"x\":\"y\",\"n\":null}]}");
}

static void test_escapes(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    json_text_n(&f.json, NULL, "q\" b\\ n\n r\r t\t 0\0 1\x01 d\x7f", 23);
    end(&f, "\"q\\\" b\\\\ n\\n r\\r t\\t 0\\u0000 1\\u0001 d\\u007f\"");
}

static void test_utf8(void **state)
{
    static const struct {
        const char *in;
        const char *out;
    } cases[] = {
        {"\xc3\xa9", "\"\xc3\xa9\""},
        {"\xe2\x82\xac", "\"\xe2\x82\xac\""},
        {"\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\""},
        {"\xff", "\"\xef\xbf\xbd\""},
        {"a\xc3", "\"a\xef\xbf\xbd\""},                               /* cut off */
        {"\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\""},                 /* overlong */
        {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* surrogate */
        {"\xf4\x90\x80\x80",
         "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* past U+10FFFF */
        {"\xe2\x82x", "\"\xef\xbf\xbd\xef\xbf\xbdx\""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture f;

        begin(&f);
        json_text(&f.json, NULL, cases[i].in);
        end(&f, cases[i].out);
    }
}

static void test_numbers(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    json_array_open(&f.json, NULL);
    json_double(&f.json, NULL, 0.1);
    json_double(&f.json, NULL, 1.0 / 3.0);
    json_double(&f.json, NULL, 12);
    json_double(&f.json, NULL, NAN);
    json_double(&f.json, NULL, -INFINITY);
    json_array_close(&f.json);
    end(&f, "[0.1,0.33333333333333331,12,null,null]");
}

static void test_depth(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    for (int i = 0; i < JSON_DEPTH_MAX + 3; i++) {
        json_array_open(&f.json, NULL);
    }
    assert_int_equal(json_end(&f.json), TANDEM_ETOOBIG);
    buf_fini(&f.out);
}

static void test_unbalanced(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    json_object_open(&f.json, NULL);
    assert_int_equal(json_end(&f.json), TANDEM_EINTERNAL);
    buf_fini(&f.out);
    begin(&f);
    json_object_close(&f.json);
    assert_int_equal(json_end(&f.json), TANDEM_EINTERNAL);
    buf_fini(&f.out);
}

static void test_errors_stick(void **state)
{
    struct fixture f;

    (void)state;
    buf_init(&f.out, 8);
    json_begin(&f.json, &f.out);
    json_array_open(&f.json, NULL);
    json_text(&f.json, NULL, "much too long");
    json_array_close(&f.json);
    assert_int_equal(json_end(&f.json), TANDEM_ETOOBIG);
    buf_fini(&f.out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_objects_and_arrays),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_unbalanced),
        cmocka_unit_test(test_errors_stick),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
