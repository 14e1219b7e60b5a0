/* check.c: whether the kernels of this machine compute right, before anything relies on them. Old
 * BLAS builds are known to choose kernels on new processors that give wrong products, so shapes on
 * both sides of their block sizes are tried. */
#include "common/engine/engine.h"

#include "common/engine/kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_SIDE      160 /* largest side of a checked product */
#define CHECK_LENGTH    67  /* longest row of the SIMD kernels */
#define CHECK_ROWS      7
#define CHECK_TOLERANCE 1e-3f

/* Small whole numbers and quarters: every product and sum below is exact in single precision, so
 * only a wrong kernel differs. */
static void fill(float *values, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        values[i] = (float)((int)(seed >> 24) % 9 - 4) / 4.0f;
    }
}

static bool same(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!(fabsf(a[i] - b[i]) <= CHECK_TOLERANCE)) {
            return false;
        }
    }
    return true;
}

static int blas_wrong(const char *form, size_t m, size_t n, size_t k, char *error)
{
    snprintf(error, ENGINE_ERROR_BYTES,
             "BLAS (%.120s) gives a wrong %zux%zux%zu product (%s) on this processor: set "
             "OPENBLAS_CORETYPE=Haswell (x86-64) or "
             "ARMV8 (aarch64) in the environment",
             kernels_blas_text(), m, n, k, form);
    return TANDEM_EINTERNAL;
}

/* B's transpose, so that both forms have one answer. */
static void turn(const float *b, size_t n, size_t k, float *ret_turned)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < k; j++) {
            ret_turned[j * n + i] = b[i * k + j];
        }
    }
}

static int blas_check(gemm_fn gemm_nt, gemm_fn gemm_nn, float *a, float *b, float *c, float *wanted,
                      char *error)
{
    static const uint16_t shapes[][3] = {
        {5, 7, 3}, {16, 16, 16}, {33, 65, 40}, {64, 128, 96}, {CHECK_SIDE, CHECK_SIDE, CHECK_SIDE}};
    float *turned = wanted + (size_t)CHECK_SIDE * CHECK_SIDE;

    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        size_t m = shapes[i][0], n = shapes[i][1], k = shapes[i][2];

        fill(a, m * k, 1);
        fill(b, n * k, 2);
        turn(b, n, k, turned);
        kernels_gemm_nt_ref(m, n, k, a, k, b, k, wanted, n);
        gemm_nt(m, n, k, a, k, b, k, c, n);
        if (!same(c, wanted, m * n)) {
            return blas_wrong("A B^T", m, n, k, error);
        }
        gemm_nn(m, n, k, a, k, turned, n, c, n);
        if (!same(c, wanted, m * n)) {
            return blas_wrong("A B", m, n, k, error);
        }
    }
    return 0;
}

/* Sizes around the vectors' widths; every sum of these numbers is exact, so only a wrong kernel
 * differs by more than rounding. */
static const char *simd_wrong(const struct kernels *k, const struct kernels *ref, float *a,
                              float *b, float *c, float *wanted, size_t n)
{
    uint16_t halves[CHECK_ROWS * CHECK_LENGTH], halves_wanted[CHECK_ROWS * CHECK_LENGTH];
    const size_t all = CHECK_ROWS * n;

    fill(a, all, (uint32_t)n);
    fill(b, n, (uint32_t)n + 99);
    ref->narrow(a, halves_wanted, all);
    k->narrow(a, halves, all);
    if (memcmp(halves, halves_wanted, all * sizeof(halves[0]))) {
        return "narrow";
    }
    k->widen(halves_wanted, c, all);
    if (!same(c, a, all)) {
        return "widen";
    }
    ref->dots_f32(a, CHECK_ROWS, b, n, wanted);
    k->dots_f32(a, CHECK_ROWS, b, n, c);
    if (!same(c, wanted, CHECK_ROWS)) {
        return "dots_f32";
    }
    k->dots_f16(halves_wanted, CHECK_ROWS, b, n, c);
    if (!same(c, wanted, CHECK_ROWS)) {
        return "dots_f16";
    }
    memcpy(wanted, b, n * sizeof(*b));
    ref->mix_f32(b, a, CHECK_ROWS < n ? CHECK_ROWS : n, wanted, n);
    memcpy(c, b, n * sizeof(*b));
    k->mix_f32(b, a, CHECK_ROWS < n ? CHECK_ROWS : n, c, n);
    if (!same(c, wanted, n)) {
        return "mix_f32";
    }
    memcpy(c, b, n * sizeof(*b));
    k->mix_f16(b, halves_wanted, CHECK_ROWS < n ? CHECK_ROWS : n, c, n);
    return same(c, wanted, n) ? NULL : "mix_f16";
}

/* The types of weights that are not also those of the cache. */
static const char *weights_wrong(const struct kernels *k, const struct kernels *ref, float *a,
                                 float *b, float *c, float *wanted, size_t n)
{
    uint16_t words[CHECK_ROWS * CHECK_LENGTH];
    uint8_t blocks[CHECK_ROWS * (CHECK_LENGTH / ENGINE_WEIGHT_BLOCK) * KERNELS_Q8_0_BYTES];
    const struct {
        const char *dots_name, *widen_name;
        enum engine_weight_type type;
        void (*dots)(const uint8_t *, size_t, const float *, size_t, float *);
        void (*dots_plain)(const uint8_t *, size_t, const float *, size_t, float *);
        void (*widen)(const uint8_t *, float *, size_t);
    } quantised[] = {{"dots_q8_0", "widen_q8_0", ENGINE_WEIGHT_Q8_0, k->dots_q8_0, ref->dots_q8_0,
                      k->widen_q8_0},
                     {"dots_q4_0", "widen_q4_0", ENGINE_WEIGHT_Q4_0, k->dots_q4_0, ref->dots_q4_0,
                      k->widen_q4_0}};
    const size_t all = CHECK_ROWS * n;

    fill(a, all, (uint32_t)n + 7);
    fill(b, n, (uint32_t)n + 105);
    engine_weight_pack(ENGINE_WEIGHT_BF16, a, all, words);
    ref->dots_bf16(words, CHECK_ROWS, b, n, wanted);
    k->dots_bf16(words, CHECK_ROWS, b, n, c);
    if (!same(c, wanted, CHECK_ROWS)) {
        return "dots_bf16";
    }
    k->widen_bf16(words, c, all);
    if (!same(c, a, all)) {
        return "widen_bf16";
    }
    for (size_t i = 0; n % ENGINE_WEIGHT_BLOCK == 0 && i < 2; i++) {
        engine_weight_pack(quantised[i].type, a, all, blocks);
        quantised[i].dots_plain(blocks, CHECK_ROWS, b, n, wanted);
        quantised[i].dots(blocks, CHECK_ROWS, b, n, c);
        if (!same(c, wanted, CHECK_ROWS)) {
            return quantised[i].dots_name;
        }
        engine_weight_unpack(quantised[i].type, blocks, all, wanted);
        quantised[i].widen(blocks, c, all);
        if (!same(c, wanted, all)) {
            return quantised[i].widen_name;
        }
    }
    return NULL;
}

/* The functions of one number and the norm. */
static const char *functions_wrong(const struct kernels *k, const struct kernels *ref, float *a,
                                   float *b, float *c, float *wanted, size_t n)
{
    const struct {
        const char *name;
        void (*fast)(float *, size_t), (*plain)(float *, size_t);
    } each[] = {{"gelu_erf", k->gelu_erf, ref->gelu_erf},
                {"gelu_tanh", k->gelu_tanh, ref->gelu_tanh}};
    float sum, sum_wanted;

    for (size_t i = 0; i < sizeof(each) / sizeof(each[0]); i++) {
        memcpy(c, a, n * sizeof(*a));
        memcpy(wanted, a, n * sizeof(*a));
        each[i].fast(c, n);
        each[i].plain(wanted, n);
        if (!same(c, wanted, n)) {
            return each[i].name;
        }
    }
    memcpy(c, a, n * sizeof(*a));
    memcpy(wanted, a, n * sizeof(*a));
    sum = k->exp_sum(c, 1, n);
    sum_wanted = ref->exp_sum(wanted, 1, n);
    if (!same(c, wanted, n) || !same(&sum, &sum_wanted, 1)) {
        return "exp_sum";
    }
    k->add(c, b, n);
    ref->add(wanted, b, n);
    if (!same(c, wanted, n)) {
        return "add";
    }
    k->max(c, a, n);
    ref->max(wanted, a, n);
    if (!same(c, wanted, n)) {
        return "max";
    }
    k->norm(a, b, a, 1e-5f, n, c);
    ref->norm(a, b, a, 1e-5f, n, wanted);
    return same(c, wanted, n) ? NULL : "norm";
}

static int simd_check(const struct kernels *k, const struct kernels *ref, float *a, float *b,
                      float *c, float *wanted, char *error)
{
    const char *wrong = NULL;

    for (size_t n = 1; n <= CHECK_LENGTH && !wrong; n++) {
        wrong = simd_wrong(k, ref, a, b, c, wanted, n);
        wrong = wrong ? wrong : weights_wrong(k, ref, a, b, c, wanted, n);
        wrong = wrong ? wrong : functions_wrong(k, ref, a, b, c, wanted, n);
    }
    if (wrong) {
        snprintf(error, ENGINE_ERROR_BYTES,
                 "our own %s kernel %s gives a wrong result on this processor: please report it",
                 k->name, wrong);
        return TANDEM_EINTERNAL;
    }
    return 0;
}

int kernels_check(gemm_fn gemm_nt, gemm_fn gemm_nn, const struct kernels *fast, char *error)
{
    size_t side = (size_t)CHECK_SIDE * CHECK_SIDE;
    float *block = malloc(5 * side * sizeof(float));
    int code;

    if (!block) {
        snprintf(error, ENGINE_ERROR_BYTES, "no memory for the check of the kernels");
        return TANDEM_ENOMEM;
    }
    code = blas_check(gemm_nt, gemm_nn, block, block + side, block + 2 * side, block + 3 * side,
                      error);
    if (!code && fast) {
        code = simd_check(fast, &kernels_ref, block, block + side, block + 2 * side,
                          block + 3 * side, error);
    }
    free(block);
    return code;
}

int engine_self_check(char error[ENGINE_ERROR_BYTES])
{
    kernels_blas_alone();
    return kernels_check(kernels_gemm_nt, kernels_gemm_nn, kernels_simd(), error);
}

const char *engine_kernels_text(void)
{
    static _Thread_local char text[160];

    snprintf(text, sizeof(text), "%.120s; %s attention and half-precision kernels",
             kernels_blas_text(), kernels()->name);
    return text;
}
