/* kernels.h: the arithmetic under the forward pass. Matrices are rows of floats; `ld` is the
 * distance of two rows in elements.
 *
 * kernels_ref.c is plain C and the truth; the table `kernels()` holds the fastest versions this
 * processor can run, chosen once; kernels_blas.c has the large f32 products and is the only file
 * that knows BLAS. check.c compares all three. Pure functions, any thread, no allocation; buffers
 * of one call do not overlap unless said. Halves are IEEE binary16 in uint16_t. */
#ifndef TANDEM_ENGINE_KERNELS_H
#define TANDEM_ENGINE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

struct kernels {
    const char *name;
    float (*dot_f32)(const float *a, const float *b, size_t n); /* sum of a[i]*b[i] */
    float (*dot_f16)(const uint16_t *a, const float *b, size_t n);
    void (*axpy_f32)(float scale, const float *x, float *y, size_t n); /* y += scale * x */
    void (*axpy_f16)(float scale, const uint16_t *x, float *y, size_t n);
    void (*widen)(const uint16_t *halves, float *ret_values, size_t n);
    void (*narrow)(const float *values, uint16_t *ret_halves,
                   size_t n); /* to nearest even; overflow gives infinity */
};

/* What this processor runs best, decided at the first call. */
const struct kernels *kernels(void);
extern const struct kernels kernels_ref;
/* The SIMD set of this build's architecture if the processor has it, else NULL. */
const struct kernels *kernels_simd(void);

/* C[m, n] = A[m, k] * B[n, k]^T   and   C[m, n] = A[m, k] * B[k, n]; C is overwritten. */
void kernels_gemm_nt(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b,
                     size_t ldb, float *c, size_t ldc);
void kernels_gemm_nn(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b,
                     size_t ldb, float *c, size_t ldc);
void kernels_gemm_nt_ref(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b,
                         size_t ldb, float *c, size_t ldc);
/* How many threads BLAS takes from now on. The setting is BLAS's own and process-wide; the last
 * caller wins. */
void kernels_blas_threads(uint32_t threads);
/* "OpenBLAS 0.3.21 ... Haswell". Static storage. */
const char *kernels_blas_text(void);

/* out[i] = (in[i] - mean) / sqrt(variance + epsilon) * weight + bias over each of `rows` rows of d.
 * In place is fine. */
void kernels_layer_norm(const float *in, const float *weight, const float *bias, float epsilon,
                        size_t rows, size_t d, float *out);
void kernels_add(float *x, const float *y, size_t n); /* x += y */
void kernels_add_bias(float *x, size_t ld, const float *bias, size_t rows,
                      size_t n); /* each row += bias; NULL: nothing */
void kernels_relu(float *x, size_t n);
void kernels_gelu_erf(float *x, size_t n);  /* x * Phi(x) */
void kernels_gelu_tanh(float *x, size_t n); /* the tanh approximation of GPT-2's code */

float half_to_float(uint16_t half);
uint16_t float_to_half(float value);

#endif
