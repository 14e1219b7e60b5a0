/* The fast kernels against plain C, and plain C against the maths library. */
#include "common/engine/engine.h"
#include "common/engine/kernels.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define COUNT 133

static void fill(float *values, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        values[i] = (float)(int32_t)seed / 2147483648.0f * 4;
    }
}

static void near(float a, float b, float tolerance)
{
    if (!(fabsf(a - b) <= tolerance)) {
        fail_msg("%.9g and %.9g", (double)a, (double)b);
    }
}

static void test_self_check(void **state)
{
    char error[ENGINE_ERROR_BYTES] = "";

    (void)state;
    assert_int_equal(engine_self_check(error), 0);
    assert_true(strlen(engine_kernels_text()) > 10);
}

/* All 65536 halves there and back; and each halfway case goes to the even neighbour. */
static void test_halves(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 65536; i++) {
        const uint16_t half = (uint16_t)i;
        const float value = half_to_float(half);
        float widened;
        uint16_t narrowed;

        kernels()->widen(&half, &widened, 1);
        if (isnan(value)) {
            assert_true(isnan(widened) && (half & 0x7c00) == 0x7c00);
            continue;
        }
        assert_memory_equal(&value, &widened, sizeof(value));
        kernels()->narrow(&value, &narrowed, 1);
        assert_int_equal(float_to_half(value), half);
        assert_int_equal(narrowed, half);
        if ((half & 0x7fff) < 0x7bff) {
            const float middle = (value + half_to_float((uint16_t)(half + 1))) / 2;

            assert_int_equal(float_to_half(middle), half + (half & 1));
        }
    }
    assert_int_equal(float_to_half(65520.0f), 0x7c00);
    assert_int_equal(float_to_half(65519.0f), 0x7bff);
}

static void test_simd_against_plain(void **state)
{
    const struct kernels *fast = kernels();
    float a[COUNT], b[COUNT], y[COUNT], z[COUNT];
    uint16_t halves[COUNT], other[COUNT];

    (void)state;
    for (size_t n = 0; n <= COUNT; n++) {
        fill(a, COUNT, (uint32_t)n);
        fill(b, COUNT, (uint32_t)n + 1000);
        fast->narrow(a, halves, n);
        kernels_ref.narrow(a, other, n);
        assert_memory_equal(halves, other, n * sizeof(halves[0]));
        near(fast->dot_f32(a, b, n), kernels_ref.dot_f32(a, b, n), 1e-3f);
        near(fast->dot_f16(halves, b, n), kernels_ref.dot_f16(halves, b, n), 1e-3f);
        memcpy(y, b, sizeof(y));
        memcpy(z, b, sizeof(z));
        fast->axpy_f32(0.7f, a, y, n);
        fast->axpy_f16(-0.3f, halves, y, n);
        kernels_ref.axpy_f32(0.7f, a, z, n);
        kernels_ref.axpy_f16(-0.3f, halves, z, n);
        for (size_t i = 0; i < COUNT; i++) {
            near(y[i], z[i], 1e-5f); /* what stands after n is untouched in both */
        }
    }
}

static void test_products(void **state)
{
    enum { M = 9, N = 21, K = 37 };
    float a[M * K], b[N * K], c[M * N], wanted[M * N];

    (void)state;
    fill(a, M * K, 1);
    fill(b, N * K, 2);
    kernels_gemm_nt(M, N, K, a, K, b, K, c, N);
    for (size_t i = 0; i < M; i++) {
        for (size_t j = 0; j < N; j++) {
            double sum = 0;

            for (size_t k = 0; k < K; k++) {
                sum += (double)a[i * K + k] * (double)b[j * K + k];
            }
            wanted[i * N + j] = (float)sum;
            near(c[i * N + j], wanted[i * N + j], 1e-3f);
        }
    }
    kernels_gemm_nt_ref(M, N, K, a, K, b, K, c, N);
    for (size_t i = 0; i < M * N; i++) {
        near(c[i], wanted[i], 1e-3f);
    }
}

static void test_activations(void **state)
{
    float erf_values[COUNT], tanh_values[COUNT], values[COUNT];

    (void)state;
    fill(values, COUNT, 5);
    memcpy(erf_values, values, sizeof(values));
    memcpy(tanh_values, values, sizeof(values));
    kernels_gelu_erf(erf_values, COUNT);
    kernels_gelu_tanh(tanh_values, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        const double x = (double)values[i];

        near(erf_values[i], (float)(0.5 * x * (1 + erf(x / sqrt(2)))), 2e-6f);
        near(tanh_values[i],
             (float)(0.5 * x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)))), 2e-6f);
    }
}

static void test_layer_norm(void **state)
{
    float values[2 * COUNT], weight[COUNT], bias[COUNT], out[2 * COUNT];

    (void)state;
    fill(values, 2 * COUNT, 11);
    fill(weight, COUNT, 12);
    fill(bias, COUNT, 13);
    kernels_layer_norm(values, weight, bias, 1e-5f, 2, COUNT, out);
    for (size_t row = 0; row < 2; row++) {
        double mean = 0, variance = 0;

        for (size_t i = 0; i < COUNT; i++) {
            mean += (double)values[row * COUNT + i] / COUNT;
        }
        for (size_t i = 0; i < COUNT; i++) {
            const double off = (double)values[row * COUNT + i] - mean;

            variance += off * off / COUNT;
        }
        for (size_t i = 0; i < COUNT; i++) {
            const double norm = ((double)values[row * COUNT + i] - mean) / sqrt(variance + 1e-5);

            near(out[row * COUNT + i], (float)(norm * (double)weight[i] + (double)bias[i]), 1e-5f);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_self_check),         cmocka_unit_test(test_halves),
        cmocka_unit_test(test_simd_against_plain), cmocka_unit_test(test_products),
        cmocka_unit_test(test_activations),        cmocka_unit_test(test_layer_norm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
