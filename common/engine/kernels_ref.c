/* kernels_ref.c: the kernels in plain C. Slow and obvious; everything faster is measured against
 * these. */
#include "common/engine/kernels.h"

#include "common/engine/engine.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

float half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half >> 15) << 31, exponent = (half >> 10) & 31,
             fraction = half & 1023, bits;
    float value;

    if (exponent == 0) { /* zero and subnormals: fraction * 2^-24 */
        value = (float)fraction * 0x1p-24f;
        return sign ? -value : value;
    }
    bits = exponent == 31 ? sign | 0x7f800000u | fraction << 13
                          : sign | (exponent + 112) << 23 | fraction << 13;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

uint16_t float_to_half(float value)
{
    uint32_t bits, rest, half, magnitude;
    uint16_t sign;

    memcpy(&bits, &value, sizeof(bits));
    sign = (uint16_t)(bits >> 16 & 0x8000);
    magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return (uint16_t)(sign | 0x7e00);
    }
    if (magnitude >= 0x477ff000u) { /* rounds to 2^16 or is infinite */
        return (uint16_t)(sign | 0x7c00);
    }
    if (magnitude <
        0x38800000u) { /* below 2^-14: count of 2^-24, to nearest even by the addition */
        float scaled;

        memcpy(&scaled, &magnitude, sizeof(scaled));
        return (uint16_t)(sign | (uint16_t)nearbyintf(scaled * 0x1p24f));
    }
    half = (magnitude - 0x38000000u) >> 13;
    rest = magnitude & 0x1fff;
    half += rest > 0x1000 || (rest == 0x1000 && (half & 1));
    return (uint16_t)(sign | half);
}

static float dot(const float *a, const float *b, size_t n)
{
    float sum = 0;

    for (size_t i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

static void dots_f32(const float *rows, size_t count, const float *x, size_t n, float *ret_dots)
{
    for (size_t i = 0; i < count; i++) {
        ret_dots[i] = dot(rows + i * n, x, n);
    }
}

static void dots_f16(const uint16_t *rows, size_t count, const float *x, size_t n, float *ret_dots)
{
    for (size_t i = 0; i < count; i++) {
        float sum = 0;

        for (size_t j = 0; j < n; j++) {
            sum += half_to_float(rows[i * n + j]) * x[j];
        }
        ret_dots[i] = sum;
    }
}

static void mix_f32(const float *weights, const float *rows, size_t count, float *y, size_t n)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < n; j++) {
            y[j] += weights[i] * rows[i * n + j];
        }
    }
}

static void mix_f16(const float *weights, const uint16_t *rows, size_t count, float *y, size_t n)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < n; j++) {
            y[j] += weights[i] * half_to_float(rows[i * n + j]);
        }
    }
}

static void widen(const uint16_t *halves, float *ret_values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ret_values[i] = half_to_float(halves[i]);
    }
}

/* ---- weights: widened a piece at a time by the one place that knows the layouts ---- */

#define PIECE 256 /* numbers, a multiple of every block */

static float dot_packed(enum engine_weight_type type, const uint8_t *row, const float *x, size_t n)
{
    float values[PIECE], sum = 0;

    for (size_t at = 0; at < n; at += PIECE) {
        const size_t here = n - at < PIECE ? n - at : PIECE;

        engine_weight_unpack(type, row + engine_weight_bytes(type, at), here, values);
        sum += dot(values, x + at, here);
    }
    return sum;
}

#define PACKED(NAME, ROW, TYPE)                                                                    \
    static void dots_##NAME(const ROW *rows, size_t count, const float *x, size_t n,               \
                            float *ret_dots)                                                       \
    {                                                                                              \
        const size_t bytes = (size_t)engine_weight_bytes(TYPE, n);                                 \
                                                                                                   \
        for (size_t i = 0; i < count; i++) {                                                       \
            ret_dots[i] = dot_packed(TYPE, (const uint8_t *)rows + i * bytes, x, n);               \
        }                                                                                          \
    }                                                                                              \
    static void widen_##NAME(const ROW *row, float *ret_values, size_t n)                          \
    {                                                                                              \
        engine_weight_unpack(TYPE, row, n, ret_values);                                            \
    }

PACKED(bf16, uint16_t, ENGINE_WEIGHT_BF16)
PACKED(q8_0, uint8_t, ENGINE_WEIGHT_Q8_0)
PACKED(q4_0, uint8_t, ENGINE_WEIGHT_Q4_0)

static void narrow(const float *values, uint16_t *ret_halves, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ret_halves[i] = float_to_half(values[i]);
    }
}

static float exp_sum(float *x, float highest, size_t n)
{
    float sum = 0;

    for (size_t i = 0; i < n; i++) {
        x[i] = expf(x[i] - highest);
        sum += x[i];
    }
    return sum;
}

static void gelu_erf(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = 0.5f * x[i] * (1.0f + erff(x[i] * 0.70710678f));
    }
}

static void gelu_tanh(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = 0.5f * x[i] * (1.0f + tanhf(0.79788456f * (x[i] + 0.044715f * x[i] * x[i] * x[i])));
    }
}

static void max(float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = fmaxf(x[i], y[i]);
    }
}

static void add(float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] += y[i];
    }
}

static void norm(const float *in, const float *weight, const float *bias, float epsilon, size_t n,
                 float *out)
{
    float sum = 0, squares = 0, mean, scale;

    for (size_t i = 0; i < n; i++) {
        sum += in[i];
    }
    mean = sum / (float)n;
    for (size_t i = 0; i < n; i++) {
        squares += (in[i] - mean) * (in[i] - mean);
    }
    scale = 1.0f / sqrtf(squares / (float)n + epsilon);
    for (size_t i = 0; i < n; i++) {
        out[i] = (in[i] - mean) * scale * weight[i] + bias[i];
    }
}

const struct kernels kernels_ref = {
    .name = "plain C",
    .dots_f32 = dots_f32,
    .dots_f16 = dots_f16,
    .mix_f32 = mix_f32,
    .mix_f16 = mix_f16,
    .widen = widen,
    .dots_bf16 = dots_bf16,
    .dots_q8_0 = dots_q8_0,
    .dots_q4_0 = dots_q4_0,
    .widen_bf16 = widen_bf16,
    .widen_q8_0 = widen_q8_0,
    .widen_q4_0 = widen_q4_0,
    .narrow = narrow,
    .exp_sum = exp_sum,
    .gelu_erf = gelu_erf,
    .gelu_tanh = gelu_tanh,
    .max = max,
    .add = add,
    .norm = norm,
};

const struct kernels *kernels(void)
{
    /* Remembered, because under a hypervisor each question to the processor traps and takes tens of
     * microseconds. Two threads that ask at once find the same. */
    static _Atomic(const struct kernels *) chosen;
    const struct kernels *found = atomic_load_explicit(&chosen, memory_order_relaxed);

    if (!found) {
        found = kernels_simd();
        found = found ? found : &kernels_ref;
        atomic_store_explicit(&chosen, found, memory_order_relaxed);
    }
    return found;
}

void kernels_gemm_nt_ref(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b,
                         size_t ldb, float *c, size_t ldc)
{
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            c[i * ldc + j] = dot(a + i * lda, b + j * ldb, k);
        }
    }
}

void kernels_add_bias(float *x, size_t ld, const float *bias, size_t rows, size_t n)
{
    for (size_t row = 0; bias && row < rows; row++) {
        kernels()->add(x + row * ld, bias, n);
    }
}

void kernels_relu(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = x[i] > 0 ? x[i] : 0;
    }
}

void kernels_silu(float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        gate[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
    }
}

void kernels_rms_norm(const float *in, const float *weight, float epsilon, size_t n, float *out)
{
    float squares, scale;

    kernels()->dots_f32(in, 1, in, n, &squares);
    scale = 1.0f / sqrtf(squares / (float)n + epsilon);
    for (size_t i = 0; i < n; i++) {
        out[i] = in[i] * scale * weight[i];
    }
}
