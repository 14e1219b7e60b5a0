/* kernels_avx2.c: the kernels with AVX2, FMA and F16C, for x86-64. Each function is compiled for
 * these instructions alone, so the rest of the program still runs on older processors. */
#if defined(__x86_64__)

#include "common/engine/kernels.h"

#include <cpuid.h>
#include <immintrin.h>
#include <math.h>

#define FOR_AVX2 __attribute__((target("avx2,fma,f16c")))
#define INLINE   FOR_AVX2 static inline

INLINE float sum8(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));

    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}

INLINE __m256 load_halves(const uint16_t *at)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)at));
}

/* ---- products: each pair of functions differs in how a row is loaded ---- */

#define DOTS(NAME, TYPE, LOAD, ONE)                                                                \
    INLINE float NAME##_one(const TYPE *row, const float *x, size_t n)                             \
    {                                                                                              \
        __m256 s0 = _mm256_setzero_ps(), s1 = s0;                                                  \
        size_t i = 0;                                                                              \
        float sum;                                                                                 \
                                                                                                   \
        for (; i + 16 <= n; i += 16) {                                                             \
            s0 = _mm256_fmadd_ps(LOAD(row + i), _mm256_loadu_ps(x + i), s0);                       \
            s1 = _mm256_fmadd_ps(LOAD(row + i + 8), _mm256_loadu_ps(x + i + 8), s1);               \
        }                                                                                          \
        for (; i + 8 <= n; i += 8) {                                                               \
            s0 = _mm256_fmadd_ps(LOAD(row + i), _mm256_loadu_ps(x + i), s0);                       \
        }                                                                                          \
        sum = sum8(_mm256_add_ps(s0, s1));                                                         \
        for (; i < n; i++) {                                                                       \
            sum += ONE(row[i]) * x[i];                                                             \
        }                                                                                          \
        return sum;                                                                                \
    }                                                                                              \
    FOR_AVX2 static void NAME(const TYPE *rows, size_t count, const float *x, size_t n,            \
                              float *ret_dots)                                                     \
    {                                                                                              \
        for (size_t i = 0; i < count; i++) {                                                       \
            ret_dots[i] = NAME##_one(rows + i * n, x, n);                                          \
        }                                                                                          \
    }

/* Columns in strips that stay in registers while all rows pass. */
#define MIX(NAME, TYPE, LOAD, ONE)                                                                 \
    FOR_AVX2 static void NAME(const float *weights, const TYPE *rows, size_t count, float *y,      \
                              size_t n)                                                            \
    {                                                                                              \
        size_t j = 0;                                                                              \
                                                                                                   \
        for (; j + 32 <= n; j += 32) {                                                             \
            __m256 s0 = _mm256_loadu_ps(y + j), s1 = _mm256_loadu_ps(y + j + 8);                   \
            __m256 s2 = _mm256_loadu_ps(y + j + 16), s3 = _mm256_loadu_ps(y + j + 24);             \
                                                                                                   \
            for (size_t i = 0; i < count; i++) {                                                   \
                const __m256 w = _mm256_set1_ps(weights[i]);                                       \
                const TYPE *row = rows + i * n + j;                                                \
                                                                                                   \
                s0 = _mm256_fmadd_ps(w, LOAD(row), s0);                                            \
                s1 = _mm256_fmadd_ps(w, LOAD(row + 8), s1);                                        \
                s2 = _mm256_fmadd_ps(w, LOAD(row + 16), s2);                                       \
                s3 = _mm256_fmadd_ps(w, LOAD(row + 24), s3);                                       \
            }                                                                                      \
            _mm256_storeu_ps(y + j, s0);                                                           \
            _mm256_storeu_ps(y + j + 8, s1);                                                       \
            _mm256_storeu_ps(y + j + 16, s2);                                                      \
            _mm256_storeu_ps(y + j + 24, s3);                                                      \
        }                                                                                          \
        for (; j + 8 <= n; j += 8) {                                                               \
            __m256 s = _mm256_loadu_ps(y + j);                                                     \
                                                                                                   \
            for (size_t i = 0; i < count; i++) {                                                   \
                s = _mm256_fmadd_ps(_mm256_set1_ps(weights[i]), LOAD(rows + i * n + j), s);        \
            }                                                                                      \
            _mm256_storeu_ps(y + j, s);                                                            \
        }                                                                                          \
        for (; j < n; j++) {                                                                       \
            for (size_t i = 0; i < count; i++) {                                                   \
                y[j] += weights[i] * ONE(rows[i * n + j]);                                         \
            }                                                                                      \
        }                                                                                          \
    }

#define SAME(value) (value)
DOTS(dots_f32, float, _mm256_loadu_ps, SAME)
DOTS(dots_f16, uint16_t, load_halves, _cvtsh_ss)
MIX(mix_f32, float, _mm256_loadu_ps, SAME)
MIX(mix_f16, uint16_t, load_halves, _cvtsh_ss)

/* ---- weights of other types ---- */

INLINE __m256 load_bf16(const uint16_t *at)
{
    const __m128i words = _mm_loadu_si128((const __m128i *)(const void *)at);

    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(words), 16));
}

INLINE float one_bf16(uint16_t word)
{
    return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128((int)((uint32_t)word << 16))));
}

DOTS(dots_bf16, uint16_t, load_bf16, one_bf16)

INLINE float block_scale(const uint8_t *block)
{
    return _cvtsh_ss((uint16_t)(block[0] | block[1] << 8));
}

/* Eight signed bytes, the low ones, as floats. */
INLINE __m256 bytes_float(__m128i bytes)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}

/* The 32 numbers of a block before the scale. */
INLINE void q8_0_load(const uint8_t *block, __m256 values[4])
{
    for (int i = 0; i < 4; i++) {
        values[i] =
            bytes_float(_mm_loadl_epi64((const __m128i *)(const void *)(block + 2 + 8 * i)));
    }
}

INLINE void q4_0_load(const uint8_t *block, __m256 values[4])
{
    const __m128i both = _mm_loadu_si128((const __m128i *)(const void *)(block + 2));
    const __m128i mask = _mm_set1_epi8(15), eight = _mm_set1_epi8(8);
    const __m128i low = _mm_sub_epi8(_mm_and_si128(both, mask), eight);
    const __m128i high = _mm_sub_epi8(_mm_and_si128(_mm_srli_epi16(both, 4), mask), eight);

    values[0] = bytes_float(low);
    values[1] = bytes_float(_mm_unpackhi_epi64(low, low));
    values[2] = bytes_float(high);
    values[3] = bytes_float(_mm_unpackhi_epi64(high, high));
}

#define BLOCKS(NAME, BYTES)                                                                        \
    FOR_AVX2 static void dots_##NAME(const uint8_t *rows, size_t count, const float *x, size_t n,  \
                                     float *ret_dots)                                              \
    {                                                                                              \
        for (size_t i = 0; i < count; i++) {                                                       \
            __m256 sum = _mm256_setzero_ps(), v[4];                                                \
                                                                                                   \
            for (size_t j = 0; j + 32 <= n; j += 32, rows += (BYTES)) {                            \
                __m256 s0, s1;                                                                     \
                                                                                                   \
                NAME##_load(rows, v);                                                              \
                s0 = _mm256_mul_ps(v[0], _mm256_loadu_ps(x + j));                                  \
                s1 = _mm256_mul_ps(v[1], _mm256_loadu_ps(x + j + 8));                              \
                s0 = _mm256_fmadd_ps(v[2], _mm256_loadu_ps(x + j + 16), s0);                       \
                s1 = _mm256_fmadd_ps(v[3], _mm256_loadu_ps(x + j + 24), s1);                       \
                sum = _mm256_fmadd_ps(_mm256_add_ps(s0, s1), _mm256_set1_ps(block_scale(rows)),    \
                                      sum);                                                        \
            }                                                                                      \
            ret_dots[i] = sum8(sum);                                                               \
        }                                                                                          \
    }                                                                                              \
    FOR_AVX2 static void widen_##NAME(const uint8_t *row, float *ret_values, size_t n)             \
    {                                                                                              \
        for (size_t j = 0; j + 32 <= n; j += 32, row += (BYTES)) {                                 \
            const __m256 scale = _mm256_set1_ps(block_scale(row));                                 \
            __m256 v[4];                                                                           \
                                                                                                   \
            NAME##_load(row, v);                                                                   \
            for (size_t i = 0; i < 4; i++) {                                                       \
                _mm256_storeu_ps(ret_values + j + 8 * i, _mm256_mul_ps(v[i], scale));              \
            }                                                                                      \
        }                                                                                          \
    }

BLOCKS(q8_0, KERNELS_Q8_0_BYTES)
BLOCKS(q4_0, KERNELS_Q4_0_BYTES)

FOR_AVX2 static void widen_bf16(const uint16_t *row, float *ret_values, size_t n)
{
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        _mm256_storeu_ps(ret_values + i, load_bf16(row + i));
    }
    for (; i < n; i++) {
        ret_values[i] = one_bf16(row[i]);
    }
}

FOR_AVX2 static void widen(const uint16_t *halves, float *ret_values, size_t n)
{
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        _mm256_storeu_ps(ret_values + i, load_halves(halves + i));
    }
    for (; i < n; i++) {
        ret_values[i] = _cvtsh_ss(halves[i]);
    }
}

FOR_AVX2 static void narrow(const float *values, uint16_t *ret_halves, size_t n)
{
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        _mm_storeu_si128((__m128i *)(void *)(ret_halves + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(values + i), _MM_FROUND_TO_NEAREST_INT));
    }
    for (; i < n; i++) {
        ret_halves[i] = float_to_half(values[i]);
    }
}

/* ---- functions of one number: eight at a time, the rest through a block of eight ---- */

/* exp(x) within 2 units in the last place from -87 to 88; 0 below, exp(88) above; NaN stays. x = k
 * ln 2 + r with |r| at most half of ln 2, exp(r) by its series to r^7. The second operand of min
 * and max is the one that wins against NaN. */
INLINE __m256 exp8(__m256 x)
{
    const __m256 small = _mm256_cmp_ps(x, _mm256_set1_ps(-87.0f), _CMP_LT_OQ);
    __m256 k, r, p;
    __m256i power;

    x = _mm256_max_ps(_mm256_set1_ps(-87.0f), _mm256_min_ps(_mm256_set1_ps(88.0f), x));
    k = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504f)),
                        _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    r = _mm256_fnmadd_ps(k, _mm256_set1_ps(0.693145752f), x); /* ln 2 in two parts */
    r = _mm256_fnmadd_ps(k, _mm256_set1_ps(1.42860677e-6f), r);
    p = _mm256_set1_ps(1.0f / 5040);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 720));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 120));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 24));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 6));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
    power = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(k), _mm256_set1_epi32(127)), 23);
    return _mm256_andnot_ps(small, _mm256_mul_ps(p, _mm256_castsi256_ps(power)));
}

/* x * Phi(x) = max(x, 0) - |x|/2 * erfc(|x|/sqrt 2), with erfc by formula 7.1.26 of Abramowitz and
 * Stegun (1.5e-7). */
INLINE __m256 gelu_erf8(__m256 x)
{
    const __m256 one = _mm256_set1_ps(1.0f), sign = _mm256_set1_ps(-0.0f);
    const __m256 size = _mm256_andnot_ps(sign, x);
    const __m256 t =
        _mm256_div_ps(one, _mm256_fmadd_ps(size, _mm256_set1_ps(0.3275911f * 0.70710678f), one));
    __m256 p = _mm256_set1_ps(1.061405429f), bell;

    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(-1.453152027f));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(1.421413741f));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(-0.284496736f));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(0.254829592f));
    bell = exp8(_mm256_mul_ps(_mm256_mul_ps(x, x), _mm256_set1_ps(-0.5f)));
    p = _mm256_mul_ps(_mm256_mul_ps(p, t), bell);
    return _mm256_fnmadd_ps(_mm256_mul_ps(size, _mm256_set1_ps(0.5f)), p,
                            _mm256_max_ps(_mm256_setzero_ps(), x));
}

/* x/2 (1 + tanh u) = x / (1 + exp(-2u)) */
INLINE __m256 gelu_tanh8(__m256 x)
{
    const __m256 cube = _mm256_mul_ps(_mm256_mul_ps(x, x), x);
    const __m256 u = _mm256_fmadd_ps(cube, _mm256_set1_ps(0.044715f), x);
    const __m256 e = exp8(_mm256_mul_ps(u, _mm256_set1_ps(-2 * 0.79788456f)));

    return _mm256_div_ps(x, _mm256_add_ps(_mm256_set1_ps(1.0f), e));
}

#define EACH(NAME, EIGHT)                                                                          \
    FOR_AVX2 static void NAME(float *x, size_t n)                                                  \
    {                                                                                              \
        float rest[8] = {0};                                                                       \
        size_t i = 0;                                                                              \
                                                                                                   \
        for (; i + 8 <= n; i += 8) {                                                               \
            _mm256_storeu_ps(x + i, EIGHT(_mm256_loadu_ps(x + i)));                                \
        }                                                                                          \
        for (size_t j = i; j < n; j++) {                                                           \
            rest[j - i] = x[j];                                                                    \
        }                                                                                          \
        _mm256_storeu_ps(rest, EIGHT(_mm256_loadu_ps(rest)));                                      \
        for (; i < n; i++) {                                                                       \
            x[i] = rest[i % 8];                                                                    \
        }                                                                                          \
    }

EACH(gelu_erf, gelu_erf8)
EACH(gelu_tanh, gelu_tanh8)

FOR_AVX2 static float exp_sum(float *x, float highest, size_t n)
{
    const __m256 top = _mm256_set1_ps(highest);
    __m256 sum = _mm256_setzero_ps();
    float rest[8] = {0}, all;
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        const __m256 e = exp8(_mm256_sub_ps(_mm256_loadu_ps(x + i), top));

        _mm256_storeu_ps(x + i, e);
        sum = _mm256_add_ps(sum, e);
    }
    all = sum8(sum);
    for (size_t j = i; j < n; j++) {
        rest[j - i] = x[j] - highest;
    }
    _mm256_storeu_ps(rest, exp8(_mm256_loadu_ps(rest)));
    for (; i < n; i++) {
        x[i] = rest[i % 8];
        all += x[i];
    }
    return all;
}

FOR_AVX2 static void max(float *x, const float *y, size_t n)
{
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        const __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(y + i);
        const __m256 no_b = _mm256_cmp_ps(b, b, _CMP_UNORD_Q);

        /* max gives b against a NaN in a */
        _mm256_storeu_ps(x + i, _mm256_blendv_ps(_mm256_max_ps(a, b), a, no_b));
    }
    for (; i < n; i++) {
        x[i] = fmaxf(x[i], y[i]);
    }
}

FOR_AVX2 static void add(float *x, const float *y, size_t n)
{
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        _mm256_storeu_ps(x + i, _mm256_add_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i)));
    }
    for (; i < n; i++) {
        x[i] += y[i];
    }
}

/* Sum of in - shift, or of its square, over n numbers. */
INLINE float deviations(const float *in, float shift, int squared, size_t n)
{
    const __m256 from = _mm256_set1_ps(shift);
    __m256 sum = _mm256_setzero_ps();
    size_t i = 0;
    float all;

    for (; i + 8 <= n; i += 8) {
        const __m256 off = _mm256_sub_ps(_mm256_loadu_ps(in + i), from);

        sum = squared ? _mm256_fmadd_ps(off, off, sum) : _mm256_add_ps(sum, off);
    }
    all = sum8(sum);
    for (; i < n; i++) {
        const float off = in[i] - shift;

        all += squared ? off * off : off;
    }
    return all;
}

FOR_AVX2 static void norm(const float *in, const float *weight, const float *bias, float epsilon,
                          size_t n, float *out)
{
    const float mean = deviations(in, 0, 0, n) / (float)n;
    const float scale = 1.0f / sqrtf(deviations(in, mean, 1, n) / (float)n + epsilon);
    const __m256 from = _mm256_set1_ps(mean), by = _mm256_set1_ps(scale);
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        const __m256 v = _mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(in + i), from), by);

        _mm256_storeu_ps(
            out + i, _mm256_fmadd_ps(v, _mm256_loadu_ps(weight + i), _mm256_loadu_ps(bias + i)));
    }
    for (; i < n; i++) {
        out[i] = (in[i] - mean) * scale * weight[i] + bias[i];
    }
}

static const struct kernels avx2 = {
    .name = "AVX2",
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

/* clang 14 cannot ask for f16c by name: it is bit 29 of leaf 1's ecx. The operating system's side
 * is covered by the avx2 question. */
static int has_f16c(void)
{
    unsigned eax, ebx, ecx, edx;

    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx >> 29 & 1);
}

const struct kernels *kernels_simd(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c() ? &avx2
                                                                                         : NULL;
}

#elif !defined(__aarch64__)

#include "common/engine/kernels.h"

#include <stddef.h>

/* No vector kernels for this processor: plain C does all. */
const struct kernels *kernels_simd(void)
{
    return NULL;
}

#else
typedef int kernels_avx2_is_for_other_processors; /* an empty file is not C */
#endif
