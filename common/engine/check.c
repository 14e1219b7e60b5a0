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

static int blas_check(float *a, float *b, float *c, float *wanted, char *error)
{
    static const uint16_t shapes[][3] = {
        {5, 7, 3}, {16, 16, 16}, {33, 65, 40}, {64, 128, 96}, {CHECK_SIDE, CHECK_SIDE, CHECK_SIDE}};

    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        size_t m = shapes[i][0], n = shapes[i][1], k = shapes[i][2];

        fill(a, m * k, 1);
        fill(b, n * k, 2);
        kernels_gemm_nt_ref(m, n, k, a, k, b, k, wanted, n);
        kernels_gemm_nt(m, n, k, a, k, b, k, c, n);
        if (!same(c, wanted, m * n)) {
            snprintf(error, ENGINE_ERROR_BYTES,
                     "BLAS (%.120s) gives a wrong %zux%zux%zu product on this processor: set "
                     "OPENBLAS_CORETYPE=Haswell (x86-64) or "
                     "ARMV8 (aarch64) in the environment",
                     kernels_blas_text(), m, n, k);
            return TANDEM_EINTERNAL;
        }
    }
    return 0;
}

static int simd_check(const struct kernels *k, const struct kernels *ref, float *a, float *b,
                      float *c, float *wanted, char *error)
{
    uint16_t halves[67], halves_wanted[67];
    const char *wrong = NULL;

    for (size_t n = 1; n <= 67 && !wrong; n++) {
        fill(a, n, (uint32_t)n);
        fill(b, n, (uint32_t)n + 99);
        ref->narrow(a, halves_wanted, n);
        k->narrow(a, halves, n);
        wrong = memcmp(halves, halves_wanted, n * sizeof(halves[0])) ? "narrow" : wrong;
        k->widen(halves_wanted, c, n);
        wrong = same(c, a, n) ? wrong : "widen";
        wrong = fabsf(k->dot_f32(a, b, n) - ref->dot_f32(a, b, n)) <= CHECK_TOLERANCE ? wrong
                                                                                      : "dot_f32";
        wrong = fabsf(k->dot_f16(halves_wanted, b, n) - ref->dot_f16(halves_wanted, b, n)) <=
                        CHECK_TOLERANCE
                    ? wrong
                    : "dot_f16";
        memcpy(c, b, n * sizeof(*c));
        memcpy(wanted, b, n * sizeof(*c));
        k->axpy_f32(0.5f, a, c, n);
        ref->axpy_f32(0.5f, a, wanted, n);
        wrong = same(c, wanted, n) ? wrong : "axpy_f32";
        k->axpy_f16(0.25f, halves_wanted, c, n);
        ref->axpy_f16(0.25f, halves_wanted, wanted, n);
        wrong = same(c, wanted, n) ? wrong : "axpy_f16";
    }
    if (wrong) {
        snprintf(error, ENGINE_ERROR_BYTES,
                 "our own %s kernel %s gives a wrong result on this processor: please report it",
                 k->name, wrong);
        return TANDEM_EINTERNAL;
    }
    return 0;
}

int engine_self_check(char error[ENGINE_ERROR_BYTES])
{
    size_t side = (size_t)CHECK_SIDE * CHECK_SIDE;
    float *block = malloc(4 * side * sizeof(float));
    int code;

    if (!block) {
        snprintf(error, ENGINE_ERROR_BYTES, "no memory for the check of the kernels");
        return TANDEM_ENOMEM;
    }
    code = blas_check(block, block + side, block + 2 * side, block + 3 * side, error);
    if (!code && kernels_simd()) {
        code = simd_check(kernels_simd(), &kernels_ref, block, block + side, block + 2 * side,
                          block + 3 * side, error);
    }
    free(block);
    return code;
}

const char *engine_kernels_text(void)
{
    static _Thread_local char text[160];

    snprintf(text, sizeof(text), "%.120s; %s attention and half-precision kernels",
             kernels_blas_text(), kernels()->name);
    return text;
}
