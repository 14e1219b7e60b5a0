/* kernels_simd.c: the kernels with vector instructions: AVX2 + FMA + F16C on x86-64, NEON on
 * aarch64. Each function is compiled for its instructions alone, so the rest of the program still
 * runs on older processors. */
#include "common/engine/kernels.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

#define FOR_AVX2 __attribute__((target("avx2,fma,f16c")))

FOR_AVX2 static float sum8(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));

    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}

FOR_AVX2 static inline __m256 load_halves(const uint16_t *at)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)at));
}

FOR_AVX2 static float dot_f32(const float *a, const float *b, size_t n)
{
    __m256 s0 = _mm256_setzero_ps(), s1 = s0;
    size_t i = 0;
    float sum;

    for (; i + 16 <= n; i += 16) {
        s0 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), s0);
        s1 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8), _mm256_loadu_ps(b + i + 8), s1);
    }
    for (; i + 8 <= n; i += 8) {
        s0 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), s0);
    }
    sum = sum8(_mm256_add_ps(s0, s1));
    for (; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

FOR_AVX2 static float dot_f16(const uint16_t *a, const float *b, size_t n)
{
    __m256 s0 = _mm256_setzero_ps(), s1 = s0;
    size_t i = 0;
    float sum;

    for (; i + 16 <= n; i += 16) {
        s0 = _mm256_fmadd_ps(load_halves(a + i), _mm256_loadu_ps(b + i), s0);
        s1 = _mm256_fmadd_ps(load_halves(a + i + 8), _mm256_loadu_ps(b + i + 8), s1);
    }
    for (; i + 8 <= n; i += 8) {
        s0 = _mm256_fmadd_ps(load_halves(a + i), _mm256_loadu_ps(b + i), s0);
    }
    sum = sum8(_mm256_add_ps(s0, s1));
    for (; i < n; i++) {
        sum += _cvtsh_ss(a[i]) * b[i];
    }
    return sum;
}

FOR_AVX2 static void axpy_f32(float scale, const float *x, float *y, size_t n)
{
    __m256 s = _mm256_set1_ps(scale);
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        _mm256_storeu_ps(y + i, _mm256_fmadd_ps(s, _mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i)));
    }
    for (; i < n; i++) {
        y[i] += scale * x[i];
    }
}

FOR_AVX2 static void axpy_f16(float scale, const uint16_t *x, float *y, size_t n)
{
    __m256 s = _mm256_set1_ps(scale);
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        _mm256_storeu_ps(y + i, _mm256_fmadd_ps(s, load_halves(x + i), _mm256_loadu_ps(y + i)));
    }
    for (; i < n; i++) {
        y[i] += scale * _cvtsh_ss(x[i]);
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

static const struct kernels avx2 = {"AVX2", dot_f32, dot_f16, axpy_f32, axpy_f16, widen, narrow};

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

#elif defined(__aarch64__)

#include <arm_neon.h>

static inline float32x4_t load_halves(const uint16_t *at)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(at)));
}

static float dot_f32(const float *a, const float *b, size_t n)
{
    float32x4_t s0 = vdupq_n_f32(0), s1 = s0;
    size_t i = 0;
    float sum;

    for (; i + 8 <= n; i += 8) {
        s0 = vfmaq_f32(s0, vld1q_f32(a + i), vld1q_f32(b + i));
        s1 = vfmaq_f32(s1, vld1q_f32(a + i + 4), vld1q_f32(b + i + 4));
    }
    sum = vaddvq_f32(vaddq_f32(s0, s1));
    for (; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

static float dot_f16(const uint16_t *a, const float *b, size_t n)
{
    float32x4_t s0 = vdupq_n_f32(0), s1 = s0;
    size_t i = 0;
    float sum;

    for (; i + 8 <= n; i += 8) {
        s0 = vfmaq_f32(s0, load_halves(a + i), vld1q_f32(b + i));
        s1 = vfmaq_f32(s1, load_halves(a + i + 4), vld1q_f32(b + i + 4));
    }
    sum = vaddvq_f32(vaddq_f32(s0, s1));
    for (; i < n; i++) {
        sum += half_to_float(a[i]) * b[i];
    }
    return sum;
}

static void axpy_f32(float scale, const float *x, float *y, size_t n)
{
    size_t i = 0;

    for (; i + 4 <= n; i += 4) {
        vst1q_f32(y + i, vfmaq_n_f32(vld1q_f32(y + i), vld1q_f32(x + i), scale));
    }
    for (; i < n; i++) {
        y[i] += scale * x[i];
    }
}

static void axpy_f16(float scale, const uint16_t *x, float *y, size_t n)
{
    size_t i = 0;

    for (; i + 4 <= n; i += 4) {
        vst1q_f32(y + i, vfmaq_n_f32(vld1q_f32(y + i), load_halves(x + i), scale));
    }
    for (; i < n; i++) {
        y[i] += scale * half_to_float(x[i]);
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

static const struct kernels neon = {"NEON", dot_f32, dot_f16, axpy_f32, axpy_f16, widen, narrow};

const struct kernels *kernels_simd(void)
{
    return &neon;
}

#else

const struct kernels *kernels_simd(void)
{
    return NULL;
}

#endif
