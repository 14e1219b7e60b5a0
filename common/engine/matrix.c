/* matrix.c: from the type of a stored matrix to the kernel that reads it. */
#include "common/engine/forward.h"
#include "common/engine/kernels.h"

#include <string.h>

static const uint8_t *row_at(const struct matrix *matrix, size_t row)
{
    return (const uint8_t *)matrix->data + row * engine_weight_bytes(matrix->type, matrix->columns);
}

void matrix_widen(const struct matrix *matrix, size_t row, size_t count, float *ret_values)
{
    const struct kernels *k = kernels();
    const void *at = row_at(matrix, row);
    const size_t n = count * matrix->columns;

    switch (matrix->type) {
    case ENGINE_WEIGHT_F32:
        memcpy(ret_values, at, n * sizeof(float));
        break;
    case ENGINE_WEIGHT_F16:
        k->widen(at, ret_values, n);
        break;
    case ENGINE_WEIGHT_BF16:
        k->widen_bf16(at, ret_values, n);
        break;
    case ENGINE_WEIGHT_Q8_0:
        k->widen_q8_0(at, ret_values, n);
        break;
    case ENGINE_WEIGHT_Q4_0:
        k->widen_q4_0(at, ret_values, n);
        break;
    }
}

void matrix_row(const struct matrix *matrix, uint32_t row, float *ret_values)
{
    matrix_widen(matrix, row, 1, ret_values);
}

void matrix_dots(const struct matrix *matrix, size_t row, size_t count, const float *x,
                 float *ret_dots)
{
    const struct kernels *k = kernels();
    const void *at = row_at(matrix, row);
    const size_t n = matrix->columns;

    switch (matrix->type) {
    case ENGINE_WEIGHT_F32:
        k->dots_f32(at, count, x, n, ret_dots);
        break;
    case ENGINE_WEIGHT_F16:
        k->dots_f16(at, count, x, n, ret_dots);
        break;
    case ENGINE_WEIGHT_BF16:
        k->dots_bf16(at, count, x, n, ret_dots);
        break;
    case ENGINE_WEIGHT_Q8_0:
        k->dots_q8_0(at, count, x, n, ret_dots);
        break;
    case ENGINE_WEIGHT_Q4_0:
        k->dots_q4_0(at, count, x, n, ret_dots);
        break;
    }
}
