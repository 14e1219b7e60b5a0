/* source_rows: rows of a tensor wherever shape and strides put its numbers in the file, read many
 * at once or number by number. */
#include "common/model/source.h"
#include "tests/unit/model/model_tool.h"

#define NUMBERS 70000 /* more than are read at once */

static struct source source;

/* NUMBERS numbers: the file has i as F32 at 4 * i, then i % 2048 as F16. */
static void file_write(void)
{
    char error[ENGINE_ERROR_BYTES];
    FILE *file = fopen(work_path("numbers"), "wb");
    uint32_t index;

    assert_non_null(file);
    for (int i = 0; i < NUMBERS; i++) {
        const float value = (float)i;

        assert_int_equal(fwrite(&value, sizeof(value), 1, file), 1);
    }
    for (int i = 0; i < NUMBERS; i++) {
        const float value = (float)(i % 2048);
        uint16_t half;

        engine_weight_pack(ENGINE_WEIGHT_F16, &value, 1, &half);
        assert_int_equal(fwrite(&half, sizeof(half), 1, file), 1);
    }
    fclose(file);
    assert_int_equal(source_open(&source, work_path("numbers"), &index, error), 0);
    assert_int_equal(index, 0);
}

/* Every run of rows from `first`, against the strides' own meaning. */
static void rows_check(struct source_tensor tensor, uint64_t first, uint64_t count)
{
    static float got[NUMBERS];
    uint64_t columns = 1, at = 0;

    tensor.elements = 1;
    for (uint32_t i = 0; i < tensor.dimension_count; i++) {
        tensor.elements *= tensor.shape[i];
        columns *= i ? tensor.shape[i] : 1;
    }
    memset(got, 0xff, sizeof(got));
    assert_int_equal(source_rows(&source, &tensor, first, count, got), 0);
    for (uint64_t row = first; row < first + count; row++) {
        for (uint64_t i = 0; i < columns; i++) {
            uint64_t place = tensor.dimension_count ? row * tensor.stride[0] : 0, left = i;

            for (uint32_t d = tensor.dimension_count; d-- > 1;) {
                place += left % tensor.shape[d] * tensor.stride[d];
                left /= tensor.shape[d];
            }
            if (tensor.type == SOURCE_F16) {
                place %= 2048;
            } else {
                place += tensor.at_bytes / 4;
            }
            if (got[at++] != (float)place) {
                fail_msg("row %llu, number %llu: %g, not %g", (unsigned long long)row,
                         (unsigned long long)i, (double)got[at - 1], (double)place);
            }
        }
    }
}

static void test_strides(void **state)
{
    static const struct source_tensor tensors[] = {
        {.dimension_count = 2, .shape = {4, 6}, .stride = {6, 1}},         /* dense */
        {.dimension_count = 2, .shape = {6, 4}, .stride = {1, 6}},         /* turned */
        {.dimension_count = 3, .shape = {4, 2, 3}, .stride = {6, 3, 1}},   /* dense */
        {.dimension_count = 3, .shape = {4, 2, 3}, .stride = {6, 1, 2}},   /* rows turned */
        {.dimension_count = 2, .shape = {4, 3}, .stride = {6, 2}},         /* every second */
        {.dimension_count = 2, .shape = {4, 3}, .stride = {6, 1}},         /* rows apart */
        {.dimension_count = 2, .shape = {4, 3}, .stride = {0, 1}},         /* one row again */
        {.dimension_count = 3, .shape = {4, 1, 3}, .stride = {3, 777, 1}}, /* of one: any */
        {.dimension_count = 1, .shape = {9}, .stride = {1}},
        {.dimension_count = 1, .shape = {9}, .stride = {3}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(tensors) / sizeof(tensors[0]); i++) {
        struct source_tensor tensor = tensors[i];

        rows_check(tensor, 0, tensor.shape[0]);
        rows_check(tensor, 1, 2);
        tensor.at_bytes = 4 * 13;
        rows_check(tensor, 0, tensor.shape[0]);
        tensor.type = SOURCE_F16;
        tensor.at_bytes = 4 * NUMBERS;
        rows_check(tensor, 1, 3);
    }
    rows_check((struct source_tensor){.dimension_count = 0}, 0, 1);
}

static void test_more_than_one_read(void **state)
{
    const struct source_tensor tensor = {
        .dimension_count = 2, .shape = {2, 35000}, .stride = {35000, 1}};
    struct source_tensor half = tensor;

    (void)state;
    rows_check(tensor, 0, 2);
    rows_check(tensor, 1, 1);
    half.type = SOURCE_F16;
    half.at_bytes = 4 * NUMBERS;
    rows_check(half, 0, 2);
}

/* A file that ends early is an error, not zeros. */
static void test_short(void **state)
{
    const struct source_tensor tensor = {.dimension_count = 2,
                                         .shape = {2, 35000},
                                         .stride = {35000, 1},
                                         .elements = 70000,
                                         .at_bytes = 4 * 60000};
    static float values[70000];

    (void)state;
    assert_int_equal(source_rows(&source, &tensor, 0, 2, values), TANDEM_EIO);
}

static int begin(void **state)
{
    const int result = work_begin(state);

    if (result == 0) {
        file_write();
    }
    return result;
}

static int end(void **state)
{
    source_fini(&source);
    return work_end(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strides),
        cmocka_unit_test(test_more_than_one_read),
        cmocka_unit_test(test_short),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
