#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/error.h"
#include "common/base/limits.h"
#include "common/wire/frame.h"

#include <stdlib.h>
#include <string.h>

static struct buf encoded(uint8_t kind, uint16_t flags, uint64_t id, uint32_t header_bytes,
                          uint32_t payload_bytes)
{
    static const uint8_t bytes[LIMIT_FRAME_HEADER_BYTES] = {1, 2, 3};
    const struct frame frame = {kind, flags, id, bytes, header_bytes, bytes, payload_bytes};
    struct buf out = {0};

    assert_int_equal(frame_encode(&frame, &out), 0);
    return out;
}

static void test_layout(void **state)
{
    static const uint8_t expected[] = {'T', 'N', 'D', 'M', 1, FRAME_DATA, 2, 0, 1, 0, 0, 0, 2, 0,
                                       0,   0,   8,   7,   6, 5,          4, 3, 2, 1, 1, 1, 2};
    struct buf out = encoded(FRAME_DATA, FRAME_FLAG_LAST, 0x0102030405060708u, 1, 2);

    (void)state;
    assert_int_equal(out.bytes, sizeof(expected));
    assert_memory_equal(out.data, expected, sizeof(expected));
    buf_fini(&out);
}

/* Each prefix of a frame asks for more and reads nothing behind its end; the whole gives back what
 * went in. */
static void test_every_truncation(void **state)
{
    struct buf out = encoded(FRAME_DATA, 0x1234, 77, 100, 200);
    struct frame frame;
    size_t used;

    (void)state;
    for (size_t bytes = 0; bytes < out.bytes; bytes++) {
        uint8_t *exact = malloc(bytes ? bytes : 1); /* a read too far is the sanitizer's to see */

        memcpy(exact, out.data, bytes);
        assert_int_equal(frame_decode(exact, bytes, &frame, &used), 1);
        assert_int_equal(used, bytes < FRAME_PREFIX_BYTES ? FRAME_PREFIX_BYTES : out.bytes);
        free(exact);
    }
    assert_int_equal(frame_decode(out.data, out.bytes, &frame, &used), 0);
    assert_int_equal(used, out.bytes);
    assert_int_equal(frame.kind, FRAME_DATA);
    assert_int_equal(frame.flags, 0x1234);
    assert_int_equal(frame.request_id, 77);
    assert_int_equal(frame.header_bytes, 100);
    assert_int_equal(frame.payload_bytes, 200);
    assert_ptr_equal(frame.header, out.data + FRAME_PREFIX_BYTES);
    assert_ptr_equal(frame.payload, out.data + FRAME_PREFIX_BYTES + 100);
    buf_fini(&out);
}

static void decodes_to(const struct buf *bytes, int expected)
{
    struct frame frame;
    size_t used;

    assert_int_equal(frame_decode(bytes->data, bytes->bytes, &frame, &used), expected);
}

static void test_hostile_sizes(void **state)
{
    struct buf out = encoded(FRAME_DATA, 0, 1, LIMIT_FRAME_HEADER_BYTES, LIMIT_FRAME_DATA_BYTES);

    (void)state;
    decodes_to(&out, 0); /* at the limits */
    le32_store(out.data + 8, LIMIT_FRAME_HEADER_BYTES + 1);
    decodes_to(&out, TANDEM_EPROTO);
    le32_store(out.data + 8, UINT32_MAX);
    decodes_to(&out, TANDEM_EPROTO);
    le32_store(out.data + 8, 0);
    le32_store(out.data + 12, LIMIT_FRAME_DATA_BYTES + 1);
    decodes_to(&out, TANDEM_EPROTO);
    le32_store(out.data + 12, UINT32_MAX);
    out.bytes = FRAME_PREFIX_BYTES; /* said before anything of it is there */
    decodes_to(&out, TANDEM_EPROTO);
    buf_fini(&out);
}

static void test_strangers_are_told_early(void **state)
{
    static const char *const starts[] = {"G", "TX", "TNX", "TNDX", "TNDM\2", "\x16\x03\x01"};

    (void)state;
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        const struct buf bytes = {.data = (uint8_t *)starts[i], .bytes = strlen(starts[i])};

        decodes_to(&bytes, TANDEM_EPROTO);
    }
}

static void test_kinds_ids_and_payload(void **state)
{
    static const uint8_t byte[1];
    struct buf out = {0};
    struct frame frame;
    size_t used;

    (void)state;
    for (unsigned kind = 0; kind < 256; kind++) {
        const bool of_request =
            (kind >= FRAME_REQUEST && kind <= FRAME_RESULT) || kind == FRAME_FEEDBACK;
        const bool known = kind >= FRAME_HELLO && kind <= FRAME_FEEDBACK;
        const struct frame without_id = {(uint8_t)kind, 0, 0, byte, 1, byte, 0};
        const struct frame with_payload = {(uint8_t)kind, 0, 1, byte, 0, byte, 1};
        uint8_t prefix[FRAME_PREFIX_BYTES];

        assert_int_equal(frame_kind_is_known(kind), known);
        assert_int_equal(strcmp(frame_kind_name(kind), "?") == 0, !known);
        buf_clear(&out);
        assert_int_equal(frame_encode(&without_id, &out),
                         kind == 0 || of_request ? TANDEM_EINVAL : 0);
        assert_int_equal(frame_encode(&with_payload, &out),
                         kind == 0 || (known && kind != FRAME_DATA) ? TANDEM_EINVAL : 0);
        frame_prefix_store(&without_id, prefix);
        assert_int_equal(frame_decode(prefix, sizeof(prefix), &frame, &used),
                         kind == 0 || of_request ? TANDEM_EPROTO : 1);
        frame_prefix_store(&with_payload, prefix);
        assert_int_equal(frame_decode(prefix, sizeof(prefix), &frame, &used),
                         kind == 0 || (known && kind != FRAME_DATA) ? TANDEM_EPROTO : 1);
    }
    buf_fini(&out);
}

static void test_encode_limits(void **state)
{
    static const uint8_t bytes[LIMIT_FRAME_HEADER_BYTES + 1];
    const struct frame header = {FRAME_REQUEST, 0, 1, bytes, LIMIT_FRAME_HEADER_BYTES + 1,
                                 bytes,         0};
    const struct frame payload = {FRAME_DATA, 0, 1, bytes, 0, bytes, LIMIT_FRAME_DATA_BYTES + 1};
    const struct frame fine = {FRAME_REQUEST, 0, 1, bytes, 100, bytes, 0};
    struct buf out = {.max_bytes = 50};

    (void)state;
    assert_int_equal(frame_encode(&header, &out), TANDEM_ETOOBIG);
    assert_int_equal(frame_encode(&payload, &out), TANDEM_ETOOBIG);
    assert_int_equal(frame_encode(&fine, &out), TANDEM_ETOOBIG); /* the buffer's own cap */
    assert_int_equal(out.bytes, 0);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_hostile_sizes),
        cmocka_unit_test(test_strangers_are_told_early),
        cmocka_unit_test(test_kinds_ids_and_payload),
        cmocka_unit_test(test_encode_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
