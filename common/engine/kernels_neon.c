/* kernels_neon.c: the kernels for aarch64, where NEON and the conversions of halves are always
 * there. */
#if defined(__aarch64__)

#include "common/engine/kernels.h"

#include <arm_neon.h>
#include <math.h>

static inline float32x4_t load_halves(const uint16_t *at)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(at)));
}

/* ---- products: each pair of functions differs in how a row is loaded ---- */

#define DOTS(NAME, TYPE, LOAD, ONE)                                                                \
    static inline float NAME##_one(const TYPE *row, const float *x, size_t n)                      \
    {                                                                                              \
        float32x4_t s0 = vdupq_n_f32(0), s1 = s0;                                                  \
        size_t i = 0;                                                                              \
        float sum;                                                                                 \
                                                                                                   \
        for (; i + 8 <= n; i += 8) {                                                               \
            s0 = vfmaq_f32(s0, LOAD(row + i), vld1q_f32(x + i));                                   \
            s1 = vfmaq_f32(s1, LOAD(row + i + 4), vld1q_f32(x + i + 4));                           \
        }                                                                                          \
        sum = vaddvq_f32(vaddq_f32(s0, s1));                                                       \
        for (; i < n; i++) {                                                                       \
            sum += ONE(row[i]) * x[i];                                                             \
        }                                                                                          \
        return sum;                                                                                \
    }                                                                                              \
    static void NAME(const TYPE *rows, size_t count, const float *x, size_t n, float *ret_dots)    \
    {                                                                                              \
        for (size_t i = 0; i < count; i++) {                                                       \
            ret_dots[i] = NAME##_one(rows + i * n, x, n);                                          \
        }                                                                                          \
    }

/* Columns in strips that stay in registers while all rows pass. */
#define MIX(NAME, TYPE, LOAD, ONE)                                                                 \
    static void NAME(const float *weights, const TYPE *rows, size_t count, float *y, size_t n)     \
    {                                                                                              \
        size_t j = 0;                                                                              \
                                                                                                   \
        for (; j + 16 <= n; j += 16) {                                                             \
            float32x4_t s0 = vld1q_f32(y + j), s1 = vld1q_f32(y + j + 4);                          \
            float32x4_t s2 = vld1q_f32(y + j + 8), s3 = vld1q_f32(y + j + 12);                     \
                                                                                                   \
            for (size_t i = 0; i < count; i++) {                                                   \
                const TYPE *row = rows + i * n + j;                                                \
                                                                                                   \
                s0 = vfmaq_n_f32(s0, LOAD(row), weights[i]);                                       \
                s1 = vfmaq_n_f32(s1, LOAD(row + 4), weights[i]);                                   \
                s2 = vfmaq_n_f32(s2, LOAD(row + 8), weights[i]);                                   \
                s3 = vfmaq_n_f32(s3, LOAD(row + 12), weights[i]);                                  \
            }                                                                                      \
            vst1q_f32(y + j, s0);                                                                  \
            vst1q_f32(y + j + 4, s1);                                                              \
            vst1q_f32(y + j + 8, s2);                                                              \
            vst1q_f32(y + j + 12, s3);                                                             \
        }                                                                                          \
        for (; j < n; j++) {                                                                       \
            for (size_t i = 0; i < count; i++) {                                                   \
                y[j] += weights[i] * ONE(rows[i * n + j]);                                         \
            }                                                                                      \
        }                                                                                          \
    }

#define SAME(value) (value)
DOTS(dots_f32, float, vld1q_f32, SAME)
DOTS(dots_f16, uint16_t, load_halves, half_to_float)
MIX(mix_f32, float, vld1q_f32, SAME)
MIX(mix_f16, uint16_t, load_halves, half_to_float)

/* ---- weights of other types ---- */

static inline float32x4_t load_bf16(const uint16_t *at)
{
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(at), 16));
}

static inline float one_bf16(uint16_t word)
{
    return vget_lane_f32(vreinterpret_f32_u32(vdup_n_u32((uint32_t)word << 16)), 0);
}

DOTS(dots_bf16, uint16_t, load_bf16, one_bf16)

static inline float block_scale(const uint8_t *block)
{
    return half_to_float((uint16_t)(block[0] | block[1] << 8));
}

/* Sixteen signed bytes as floats. */
static inline void bytes_float(int8x16_t bytes, float32x4_t values[4])
{
    const int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_s8(vget_high_s8(bytes));

    values[0] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(low)));
    values[1] = vcvtq_f32_s32(vmovl_s16(vget_high_s16(low)));
    values[2] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(high)));
    values[3] = vcvtq_f32_s32(vmovl_s16(vget_high_s16(high)));
}

/* The 32 numbers of a block before the scale. */
static inline void q8_0_load(const uint8_t *block, float32x4_t values[8])
{
    bytes_float(vreinterpretq_s8_u8(vld1q_u8(block + 2)), values);
    bytes_float(vreinterpretq_s8_u8(vld1q_u8(block + 18)), values + 4);
}

static inline void q4_0_load(const uint8_t *block, float32x4_t values[8])
{
    const uint8x16_t both = vld1q_u8(block + 2);
    const int8x16_t eight = vdupq_n_s8(8);

    bytes_float(vsubq_s8(vreinterpretq_s8_u8(vandq_u8(both, vdupq_n_u8(15))), eight), values);
    bytes_float(vsubq_s8(vreinterpretq_s8_u8(vshrq_n_u8(both, 4)), eight), values + 4);
}

#define BLOCKS(NAME, BYTES)                                                                        \
    static void dots_##NAME(const uint8_t *rows, size_t count, const float *x, size_t n,           \
                            float *ret_dots)                                                       \
    {                                                                                              \
        for (size_t i = 0; i < count; i++) {                                                       \
            float32x4_t sum = vdupq_n_f32(0), v[8];                                                \
                                                                                                   \
            for (size_t j = 0; j + 32 <= n; j += 32, rows += (BYTES)) {                            \
                float32x4_t s0 = vdupq_n_f32(0), s1 = s0;                                          \
                                                                                                   \
                NAME##_load(rows, v);                                                              \
                for (size_t k = 0; k < 8; k += 2) {                                                \
                    s0 = vfmaq_f32(s0, v[k], vld1q_f32(x + j + 4 * k));                            \
                    s1 = vfmaq_f32(s1, v[k + 1], vld1q_f32(x + j + 4 * k + 4));                    \
                }                                                                                  \
                sum = vfmaq_n_f32(sum, vaddq_f32(s0, s1), block_scale(rows));                      \
            }                                                                                      \
            ret_dots[i] = vaddvq_f32(sum);                                                         \
        }                                                                                          \
    }                                                                                              \
    static void widen_##NAME(const uint8_t *row, float *ret_values, size_t n)                      \
    {                                                                                              \
        for (size_t j = 0; j + 32 <= n; j += 32, row += (BYTES)) {                                 \
            const float scale = block_scale(row);                                                  \
            float32x4_t v[8];                                                                      \
                                                                                                   \
            NAME##_load(row, v);                                                                   \
            for (size_t i = 0; i < 8; i++) {                                                       \
                vst1q_f32(ret_values + j + 4 * i, vmulq_n_f32(v[i], scale));                       \
            }                                                                                      \
        }                                                                                          \
    }

BLOCKS(q8_0, KERNELS_Q8_0_BYTES)
BLOCKS(q4_0, KERNELS_Q4_0_BYTES)

static void widen_bf16(const uint16_t *row, float *ret_values, size_t n)
{
    size_t i = 0;

    for (; i + 4 <= n; i += 4) {
        vst1q_f32(ret_values + i, load_bf16(row + i));
    }
    for (; i < n; i++) {
        ret_values[i] = one_bf16(row[i]);
    }
}

static void widen(const uint16_t *halves, float *ret_values, size_t n)
{
    size_t i = 0;

    for (; i + 4 <= n; i += 4) {
        vst1q_f32(ret_values + i, load_halves(halves + i));
    }
    for (; i < n; i++) {
        ret_values[i] = half_to_float(halves[i]);
    }
}

static void narrow(const float *values, uint16_t *ret_halves, size_t n)
{
    size_t i = 0;

    for (; i + 4 <= n; i += 4) {
        vst1_u16(ret_halves + i, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(values + i))));
    }
    for (; i < n; i++) {
        ret_halves[i] = float_to_half(values[i]);
    }
}

/* ---- functions of one number: four at a time, the rest through a block of four ---- */

/* exp(x) within 2 units in the last place from -87 to 88; 0 below, exp(88) above; NaN stays (FMIN
 * and FMAX keep it). x = k ln 2 + r with |r| at most half of ln 2, exp(r) by its series to r^7. */
static inline float32x4_t exp4(float32x4_t x)
{
    const uint32x4_t small = vcltq_f32(x, vdupq_n_f32(-87.0f));
    float32x4_t k, r, p;
    int32x4_t power;

    x = vmaxq_f32(vdupq_n_f32(-87.0f), vminq_f32(vdupq_n_f32(88.0f), x));
    k = vrndnq_f32(vmulq_n_f32(x, 1.44269504f));
    r = vfmsq_n_f32(x, k, 0.693145752f); /* ln 2 in two parts */
    r = vfmsq_n_f32(r, k, 1.42860677e-6f);
    p = vdupq_n_f32(1.0f / 5040);
    p = vfmaq_f32(vdupq_n_f32(1.0f / 720), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f / 120), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f / 24), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f / 6), p, r);
    p = vfmaq_f32(vdupq_n_f32(0.5f), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f), p, r);
    power = vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(k), vdupq_n_s32(127)), 23);
    p = vmulq_f32(p, vreinterpretq_f32_s32(power));
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(p), small));
}

/* x * Phi(x) = max(x, 0) - |x|/2 * erfc(|x|/sqrt 2), with erfc by formula 7.1.26 of Abramowitz and
 * Stegun (1.5e-7). */
static inline float32x4_t gelu_erf4(float32x4_t x)
{
    const float32x4_t one = vdupq_n_f32(1.0f), size = vabsq_f32(x);
    const float32x4_t t = vdivq_f32(one, vfmaq_n_f32(one, size, 0.3275911f * 0.70710678f));
    float32x4_t p = vdupq_n_f32(1.061405429f);

    p = vfmaq_f32(vdupq_n_f32(-1.453152027f), p, t);
    p = vfmaq_f32(vdupq_n_f32(1.421413741f), p, t);
    p = vfmaq_f32(vdupq_n_f32(-0.284496736f), p, t);
    p = vfmaq_f32(vdupq_n_f32(0.254829592f), p, t);
    p = vmulq_f32(vmulq_f32(p, t), exp4(vmulq_n_f32(vmulq_f32(x, x), -0.5f)));
    return vfmsq_f32(vmaxq_f32(vdupq_n_f32(0), x), vmulq_n_f32(size, 0.5f), p);
}

/* x/2 (1 + tanh u) = x / (1 + exp(-2u)) */
static inline float32x4_t gelu_tanh4(float32x4_t x)
{
    const float32x4_t u = vfmaq_n_f32(x, vmulq_f32(vmulq_f32(x, x), x), 0.044715f);

    return vdivq_f32(x, vaddq_f32(vdupq_n_f32(1.0f), exp4(vmulq_n_f32(u, -2 * 0.79788456f))));
}

#define EACH(NAME, FOUR)                                                                           \
    static void NAME(float *x, size_t n)                                                           \
    {                                                                                              \
        float rest[4] = {0};                                                                       \
        size_t i = 0;                                                                              \
                                                                                                   \
        for (; i + 4 <= n; i += 4) {                                                               \
            vst1q_f32(x + i, FOUR(vld1q_f32(x + i)));                                              \
        }                                                                                          \
        for (size_t j = i; j < n; j++) {                                                           \
            rest[j - i] = x[j];                                                                    \
        }                                                                                          \
        vst1q_f32(rest, FOUR(vld1q_f32(rest)));                                                    \
        for (; i < n; i++) {                                                                       \
            x[i] = rest[i % 4];                                                                    \
        }                                                                                          \
    }

EACH(gelu_erf, gelu_erf4)
EACH(gelu_tanh, gelu_tanh4)

static float exp_sum(float *x, float highest, size_t n)
{
    const float32x4_t top = vdupq_n_f32(highest);
    float32x4_t sum = vdupq_n_f32(0);
    float rest[4] = {0}, all;
    size_t i = 0;

    for (; i + 4 <= n; i += 4) {
        const float32x4_t e = exp4(vsubq_f32(vld1q_f32(x + i), top));

        vst1q_f32(x + i, e);
        sum = vaddq_f32(sum, e);
    }
    all = vaddvq_f32(sum);
    for (size_t j = i; j < n; j++) {
        rest[j - i] = x[j] - highest;
    }
    vst1q_f32(rest, exp4(vld1q_f32(rest)));
    for (; i < n; i++) {
        x[i] = rest[i % 4];
        all += x[i];
    }
    return all;
}

static void max(float *x, const float *y, size_t n)
{
    size_t i = 0;

    for (; i + 4 <= n; i += 4) {
        vst1q_f32(x + i, vmaxnmq_f32(vld1q_f32(x + i), vld1q_f32(y + i)));
    }
    for (; i < n; i++) {
        x[i] = fmaxf(x[i], y[i]);
    }
}

static void add(float *x, const float *y, size_t n)
{
    size_t i = 0;

    for (; i + 4 <= n; i += 4) {
        vst1q_f32(x + i, vaddq_f32(vld1q_f32(x + i), vld1q_f32(y + i)));
    }
    for (; i < n; i++) {
        x[i] += y[i];
    }
}

/* Sum of in - shift, or of its square, over n numbers. */
static inline float deviations(const float *in, float shift, int squared, size_t n)
{
    const float32x4_t from = vdupq_n_f32(shift);
    float32x4_t sum = vdupq_n_f32(0);
    size_t i = 0;
    float all;

    for (; i + 4 <= n; i += 4) {
        const float32x4_t off = vsubq_f32(vld1q_f32(in + i), from);

        sum = squared ? vfmaq_f32(sum, off, off) : vaddq_f32(sum, off);
    }
    all = vaddvq_f32(sum);
    for (; i < n; i++) {
        const float off = in[i] - shift;

        all += squared ? off * off : off;
    }
    return all;
}

static void norm(const float *in, const float *weight, const float *bias, float epsilon, size_t n,
                 float *out)
{
    const float mean = deviations(in, 0, 0, n) / (float)n;
    const float scale = 1.0f / sqrtf(deviations(in, mean, 1, n) / (float)n + epsilon);
    const float32x4_t from = vdupq_n_f32(mean);
    size_t i = 0;

    for (; i + 4 <= n; i += 4) {
        const float32x4_t v = vmulq_n_f32(vsubq_f32(vld1q_f32(in + i), from), scale);

        vst1q_f32(out + i, vfmaq_f32(vld1q_f32(bias + i), v, vld1q_f32(weight + i)));
    }
    for (; i < n; i++) {
        out[i] = (in[i] - mean) * scale * weight[i] + bias[i];
    }
}

static const struct kernels neon = {
    .name = "NEON",
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

const struct kernels *kernels_simd(void)
{
    return &neon;
}

#else
typedef int kernels_neon_is_for_other_processors; /* an empty file is not C */
#endif
