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

#define ROWS 7

static void test_simd_against_plain(void **state)
{
    const struct kernels *fast = kernels();
    float rows[ROWS * COUNT], x[COUNT], weights[ROWS], y[COUNT], z[COUNT];
    uint16_t halves[ROWS * COUNT], other[ROWS * COUNT];

    (void)state;
    fill(weights, ROWS, 77);
    for (size_t n = 0; n <= COUNT; n++) {
        fill(rows, ROWS * COUNT, (uint32_t)n);
        fill(x, COUNT, (uint32_t)n + 1000);
        fast->narrow(rows, halves, ROWS * n);
        kernels_ref.narrow(rows, other, ROWS * n);
        assert_memory_equal(halves, other, ROWS * n * sizeof(halves[0]));
        for (size_t count = 0; count <= ROWS; count++) {
            y[count] = z[count] = -1; /* what stands after the rows is untouched in both */
            fast->dots_f32(rows, count, x, n, y);
            kernels_ref.dots_f32(rows, count, x, n, z);
            for (size_t i = 0; i <= count; i++) {
                near(y[i], z[i], 1e-3f);
            }
            fast->dots_f16(halves, count, x, n, y);
            kernels_ref.dots_f16(halves, count, x, n, z);
            for (size_t i = 0; i <= count; i++) {
                near(y[i], z[i], 1e-3f);
            }
            memcpy(y, x, sizeof(y));
            memcpy(z, x, sizeof(z));
            fast->mix_f32(weights, rows, count, y, n);
            fast->mix_f16(weights, halves, count, y, n);
            kernels_ref.mix_f32(weights, rows, count, z, n);
            kernels_ref.mix_f16(weights, halves, count, z, n);
            for (size_t i = 0; i < COUNT; i++) {
                near(y[i], z[i], 1e-4f);
            }
        }
        memcpy(y, x, sizeof(y));
        memcpy(z, x, sizeof(z));
        fast->add(y, rows, n);
        kernels_ref.add(z, rows, n);
        assert_memory_equal(y, z, sizeof(y));
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

static double gelu_erf_of(double x)
{
    return 0.5 * x * (1 + erf(x / sqrt(2)));
}

static double gelu_tanh_of(double x)
{
    return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
}

#define SWEEP 4099 /* no multiple of a vector */

/* From -20 to 20 the plain functions and the fast ones stay within 5e-7 of the true value and of
 * 3e-7 of its size. */
static void activation_check(void (*run)(float *x, size_t n), double (*truth)(double x))
{
    static const float special[] = {0, -0.0f, 1e-30f, -1e-30f, 50, -50, 1e10f, -1e10f};
    float values[SWEEP], in[SWEEP];

    for (int i = 0; i < SWEEP; i++) {
        in[i] = values[i] = ((float)i / (SWEEP - 1) * 2 - 1) * 20;
    }
    memcpy(in, special, sizeof(special));
    memcpy(values, special, sizeof(special));
    run(values, SWEEP);
    for (int i = 0; i < SWEEP; i++) {
        near(values[i], (float)truth((double)in[i]), 5e-7f + 3e-7f * fabsf(in[i]));
    }
    values[0] = values[9] = NAN;
    run(values, 10);
    assert_true(isnan(values[0]) && isnan(values[9])); /* in a vector and in the rest */
}

static void test_activations(void **state)
{
    (void)state;
    activation_check(kernels()->gelu_erf, gelu_erf_of);
    activation_check(kernels()->gelu_tanh, gelu_tanh_of);
    activation_check(kernels_ref.gelu_erf, gelu_erf_of);
    activation_check(kernels_ref.gelu_tanh, gelu_tanh_of);
}

/* exp within 1e-6 of itself down to where floats are full, and the sum of what is left. */
static void exp_check(const struct kernels *k)
{
    float values[SWEEP], sum;
    double wanted = 0;

    for (size_t n = 1; n < SWEEP; n = n * 2 + 1) {
        for (size_t i = 0; i < n; i++) {
            values[i] = 3 - (float)i / SWEEP * 120;
        }
        sum = k->exp_sum(values, 3, n);
        wanted = 0;
        for (size_t i = 0; i < n; i++) {
            const float x = 3 - (float)i / SWEEP * 120 - 3; /* as it was rounded */
            const double e = exp((double)x);

            wanted += e;
            if (x > -86) {
                near(values[i], (float)e, (float)(e * 1e-6));
            } else {
                assert_true(values[i] >= 0 && values[i] < 1e-36f);
            }
        }
        near(sum, (float)wanted, (float)(wanted * 3e-6));
    }
    values[0] = -INFINITY;
    values[1] = 0;
    near(k->exp_sum(values, 0, 2), 1, 0);
    near(values[0], 0, 0);
    values[0] = NAN;
    assert_true(isnan(k->exp_sum(values, 0, 9)));
}

static void test_exp(void **state)
{
    (void)state;
    exp_check(kernels());
    exp_check(&kernels_ref);
}

static void norm_check(const struct kernels *k)
{
    float values[COUNT], weight[COUNT], bias[COUNT], out[COUNT];

    fill(values, COUNT, 11);
    fill(weight, COUNT, 12);
    fill(bias, COUNT, 13);
    for (size_t n = 1; n <= COUNT; n++) {
        double mean = 0, variance = 0;

        for (size_t i = 0; i < n; i++) {
            mean += (double)values[i] / (double)n;
        }
        for (size_t i = 0; i < n; i++) {
            variance += ((double)values[i] - mean) * ((double)values[i] - mean) / (double)n;
        }
        memcpy(out, values, sizeof(out));
        k->norm(out, weight, bias, 1e-5f, n, out); /* in place */
        for (size_t i = 0; i < COUNT; i++) {
            const double norm = ((double)values[i] - mean) / sqrt(variance + 1e-5);

            near(out[i], i < n ? (float)(norm * (double)weight[i] + (double)bias[i]) : values[i],
                 1e-5f);
        }
    }
}

static void test_norm(void **state)
{
    (void)state;
    norm_check(kernels());
    norm_check(&kernels_ref);
}

/* ---- the check at the start finds what is wrong ---- */

static void nt_wrong_when_large(size_t m, size_t n, size_t k, const float *a, size_t lda,
                                const float *b, size_t ldb, float *c, size_t ldc)
{
    kernels_gemm_nt(m, n, k, a, lda, b, ldb, c, ldc);
    if (n > 64) { /* as a kernel that goes wrong past its block: one number of many */
        c[(m - 1) * ldc + n - 1] += 0.25f;
    }
}

static void nn_wrong(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b,
                     size_t ldb, float *c, size_t ldc)
{
    kernels_gemm_nn(m, n, k, a, lda, b, ldb, c, ldc);
    c[0] = NAN;
}

static void test_wrong_product_is_found(void **state)
{
    char error[ENGINE_ERROR_BYTES] = "";

    (void)state;
    assert_int_equal(kernels_check(kernels_gemm_nt, kernels_gemm_nn, &kernels_ref, error), 0);
    assert_int_equal(kernels_check(nt_wrong_when_large, kernels_gemm_nn, NULL, error),
                     TANDEM_EINTERNAL);
    assert_non_null(strstr(error, "33x65x40"));
    assert_non_null(strstr(error, "OPENBLAS_CORETYPE=Haswell"));
    assert_null(strchr(error, '\n'));
    assert_int_equal(kernels_check(kernels_gemm_nt, nn_wrong, NULL, error), TANDEM_EINTERNAL);
    assert_non_null(strstr(error, "(A B)"));
}

static void dots_wrong(const float *rows, size_t count, const float *x, size_t n, float *ret_dots)
{
    kernels_ref.dots_f32(rows, count, x, n - n % 8,
                         ret_dots); /* forgets the rest and strides wrongly */
}

static void add_wrong(float *x, const float *y, size_t n)
{
    kernels_ref.add(x, y, n / 4 * 4);
}

static float exp_wrong(float *x, float highest, size_t n)
{
    return kernels_ref.exp_sum(x, highest, n) * 1.5f;
}

static void expect_named(const struct kernels *broken, const char *name)
{
    char error[ENGINE_ERROR_BYTES] = "";

    assert_int_equal(kernels_check(kernels_gemm_nt, kernels_gemm_nn, broken, error),
                     TANDEM_EINTERNAL);
    assert_non_null(strstr(error, name));
}

static void test_wrong_kernel_is_named(void **state)
{
    struct kernels broken = kernels_ref;

    (void)state;
    broken.dots_f32 = dots_wrong;
    expect_named(&broken, "dots_f32");
    broken = kernels_ref;
    broken.add = add_wrong;
    expect_named(&broken, " add ");
    broken = kernels_ref;
    broken.exp_sum = exp_wrong;
    expect_named(&broken, "exp_sum");
    broken = kernels_ref;
    broken.max = kernels_ref.add;
    expect_named(&broken, "max");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_self_check),
        cmocka_unit_test(test_halves),
        cmocka_unit_test(test_simd_against_plain),
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_activations),
        cmocka_unit_test(test_exp),
        cmocka_unit_test(test_wrong_product_is_found),
        cmocka_unit_test(test_wrong_kernel_is_named),
        cmocka_unit_test(test_norm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
