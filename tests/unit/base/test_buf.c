#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/error.h"
#include "common/base/limits.h"

#include <stdlib.h>
#include <string.h>

static void test_append_and_consume(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 0);
    assert_int_equal(buf_append_text(&buf, "hello "), 0);
    assert_int_equal(buf_printf(&buf, "%s-%d", "world", 7), 0);
    assert_int_equal(buf.bytes, 13);
    assert_memory_equal(buf.data, "hello world-7", 13);
    buf_consume(&buf, 6);
    assert_int_equal(buf.bytes, 7);
    assert_memory_equal(buf.data, "world-7", 7);
    buf_consume(&buf, 100);
    assert_int_equal(buf.bytes, 0);
    buf_fini(&buf);
    assert_null(buf.data);
}

static void test_long_printf(void **state)
{
    struct buf buf;
    char text[5000];

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    buf_init(&buf, 0);
    assert_int_equal(buf_printf(&buf, "<%s>", text), 0);
    assert_int_equal(buf.bytes, sizeof(text) + 1);
    assert_int_equal(buf.data[0], '<');
    assert_int_equal(buf.data[buf.bytes - 1], '>');
    buf_fini(&buf);
}

static void test_own_cap(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 1000);
    assert_int_equal(buf_reserve(&buf, 1000), 0);
    assert_true(buf.capacity <= 1000);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(buf_append_u8(&buf, (uint8_t)i), 0);
    }
    assert_int_equal(buf_append_u8(&buf, 1), TANDEM_ETOOBIG);
    assert_int_equal(buf.bytes, 1000);
    assert_int_equal(buf_reserve(&buf, SIZE_MAX), TANDEM_ETOOBIG);
    buf_consume(&buf, 1);
    assert_int_equal(buf_append_u8(&buf, 1), 0);
    buf_fini(&buf);
}

static void test_default_cap(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 0);
    assert_int_equal(buf_reserve(&buf, LIMIT_BUF_BYTES + 1u), TANDEM_ETOOBIG);
    assert_null(buf.data);
    assert_int_equal(buf_reserve(&buf, LIMIT_BUF_BYTES), 0);
    buf.bytes = LIMIT_BUF_BYTES;
    assert_int_equal(buf_append_u8(&buf, 0), TANDEM_ETOOBIG);
    buf_fini(&buf);
}

static void test_zeroed_buf(void **state)
{
    struct buf buf = {0};

    (void)state;
    assert_int_equal(buf_append(&buf, NULL, 0), 0);
    assert_int_equal(buf_append_text(&buf, "a"), 0);
    buf_fini(&buf);
    buf_fini(&buf);
}

static void test_take(void **state)
{
    struct buf buf;
    uint8_t *data;
    size_t bytes = 9;

    (void)state;
    buf_init(&buf, 100);
    assert_null(buf_take(&buf, &bytes));
    assert_int_equal(bytes, 0);
    assert_int_equal(buf_append_text(&buf, "abc"), 0);
    data = buf_take(&buf, &bytes);
    assert_int_equal(bytes, 3);
    assert_memory_equal(data, "abc", 3);
    assert_int_equal(buf.bytes, 0);
    assert_int_equal(buf.max_bytes, 100);
    free(data);
    assert_int_equal(buf_append_text(&buf, "d"), 0);
    buf_clear(&buf);
    assert_null(buf_take(&buf, &bytes));
    buf_fini(&buf);
}

static void test_little_endian(void **state)
{
    static const uint8_t expected[] = {0x02, 0x01, 0x06, 0x05, 0x04, 0x03, 0xfe,
                                       0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0xf0};
    struct buf buf;

    (void)state;
    buf_init(&buf, 0);
    buf_append_le16(&buf, 0x0102);
    buf_append_le32(&buf, 0x03040506);
    buf_append_le64(&buf, UINT64_C(0xf032547698badcfe));
    assert_int_equal(buf.bytes, sizeof(expected));
    assert_memory_equal(buf.data, expected, sizeof(expected));
    assert_int_equal(le16_load(buf.data), 0x0102);
    assert_int_equal(le32_load(buf.data + 2), 0x03040506);
    assert_true(le64_load(buf.data + 6) == UINT64_C(0xf032547698badcfe));
    buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append_and_consume),
        cmocka_unit_test(test_long_printf),
        cmocka_unit_test(test_own_cap),
        cmocka_unit_test(test_default_cap),
        cmocka_unit_test(test_zeroed_buf),
        cmocka_unit_test(test_take),
        cmocka_unit_test(test_little_endian),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
