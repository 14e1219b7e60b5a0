/* The memory that one unpacking may take, and protobuf-c's own good manners when it gets no more.
 */
#include "tests/unit/wire/samples.h"

#include "common/wire/pb.h"
#include "edge.pb-c.h"

#include <stdalign.h>

static void test_arena_budget(void **state)
{
    struct pb_arena arena;
    size_t got = 0;

    (void)state;
    pb_arena_init(&arena);
    for (;;) {
        uint8_t *memory = arena.allocator.alloc(arena.allocator.allocator_data, 1000);

        if (!memory) {
            break;
        }
        assert_int_equal((uintptr_t)memory % alignof(max_align_t), 0);
        memset(memory, 0xff, 1000);
        got += 1000;
    }
    assert_int_equal(arena.error, TANDEM_ETOOBIG);
    assert_true(got <= LIMIT_UNPACK_BYTES && got > LIMIT_UNPACK_BYTES * 3 / 4);
    pb_arena_fini(&arena);
    pb_arena_init(&arena);
    assert_non_null(arena.allocator.alloc(&arena, LIMIT_UNPACK_BYTES));
    assert_null(arena.allocator.alloc(&arena, 1));
    pb_arena_fini(&arena);
    pb_arena_init(&arena);
    assert_null(arena.allocator.alloc(&arena, SIZE_MAX - 3));
    assert_int_equal(arena.error, TANDEM_ETOOBIG);
    pb_arena_fini(&arena);
}

/* Memory that ends at every possible moment of an unpacking. */
static void test_budget_ends_anywhere(void **state)
{
    struct edge_result result = {
        .answer = sample_answer(WIRE_CLASSIFY), .model_digest = DIGEST, .load = sample_load};
    struct buf out = {0};
    bool done = false;

    (void)state;
    assert_int_equal(edge_result_pack(&result, &out), 0);
    for (size_t budget = 0; !done; budget += 8192) {
        ProtobufCMessage *message;
        struct pb_arena arena;
        int unpacked;

        pb_arena_init(&arena);
        arena.budget_bytes = budget;
        unpacked =
            pb_unpack(&tandem__edge__result__descriptor, out.data, out.bytes, &arena, &message);
        assert_true(unpacked == 0 || unpacked == TANDEM_ETOOBIG);
        assert_true(unpacked != 0 || budget > 0);
        done = unpacked == 0;
        pb_arena_fini(&arena);
    }
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arena_budget),
        cmocka_unit_test(test_budget_ends_anywhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
