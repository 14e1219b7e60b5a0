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

/* Rows stand one after the other; `n` numbers each. */
struct kernels {
    const char *name;
    /* ret_dots[i] = sum of rows[i][j] * x[j], for `count` rows. */
    void (*dots_f32)(const float *rows, size_t count, const float *x, size_t n, float *ret_dots);
    void (*dots_f16)(const uint16_t *rows, size_t count, const float *x, size_t n, float *ret_dots);
    /* y[j] += sum of weights[i] * rows[i][j], for `count` rows. */
    void (*mix_f32)(const float *weights, const float *rows, size_t count, float *y, size_t n);
    void (*mix_f16)(const float *weights, const uint16_t *rows, size_t count, float *y, size_t n);
    void (*widen)(const uint16_t *halves, float *ret_values, size_t n);
    /* Weights as files store them (weights.c): `rows` are the bytes of rows of n numbers, in Q8_0
     * and Q4_0 a multiple of ENGINE_WEIGHT_BLOCK; half and bfloat16 rows stand on a border of 2.
     * The dots are those of the widened rows, within rounding; x is never rounded. */
    void (*dots_bf16)(const uint16_t *rows, size_t count, const float *x, size_t n,
                      float *ret_dots);
    void (*dots_q8_0)(const uint8_t *rows, size_t count, const float *x, size_t n, float *ret_dots);
    void (*dots_q4_0)(const uint8_t *rows, size_t count, const float *x, size_t n, float *ret_dots);
    /* Exactly what engine_weight_unpack gives. */
    void (*widen_bf16)(const uint16_t *row, float *ret_values, size_t n);
    void (*widen_q8_0)(const uint8_t *row, float *ret_values, size_t n);
    void (*widen_q4_0)(const uint8_t *row, float *ret_values, size_t n);
    /* To nearest even; overflow gives infinity. */
    void (*narrow)(const float *values, uint16_t *ret_halves, size_t n);
    /* x = exp(x - highest), where no x is above highest; returns the sum. What is below 1e-37 may
     * be 0. */
    float (*exp_sum)(float *x, float highest, size_t n);
    void (*gelu_erf)(float *x, size_t n);  /* x * Phi(x) */
    void (*gelu_tanh)(float *x, size_t n); /* the tanh approximation of GPT-2's code */
    /* x = the larger of x and y; of a number and a NaN the number. */
    void (*max)(float *x, const float *y, size_t n);
    void (*add)(float *x, const float *y, size_t n); /* x += y */
    /* out = (in - mean) / sqrt(variance + epsilon) * weight + bias over one row of n. In place is
     * fine. */
    void (*norm)(const float *in, const float *weight, const float *bias, float epsilon, size_t n,
                 float *out);
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
/* BLAS starts no threads of its own from now on: the team of a step (team.h) cuts the products, and
 * more threads would be in its way. The setting is process-wide. */
void kernels_blas_alone(void);
/* "OpenBLAS 0.3.21 ... Haswell". Static storage. */
const char *kernels_blas_text(void);

/* Each row += bias; NULL: nothing. */
void kernels_add_bias(float *x, size_t ld, const float *bias, size_t rows, size_t n);
void kernels_relu(float *x, size_t n);
/* gate = gate * sigmoid(gate) * up */
void kernels_silu(float *gate, const float *up, size_t n);
/* out = in / sqrt(mean of squares + epsilon) * weight over one row of n. In place is fine. */
void kernels_rms_norm(const float *in, const float *weight, float epsilon, size_t n, float *out);

/* Compares products and `fast` (NULL: none) with plain C on small known matrices: what
 * engine_self_check does with this machine's own, with anything that is passed in. 0,
 * TANDEM_ENOMEM, or TANDEM_EINTERNAL with a line of at most ENGINE_ERROR_BYTES. */
typedef void (*gemm_fn)(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b,
                        size_t ldb, float *c, size_t ldc);
int kernels_check(gemm_fn gemm_nt, gemm_fn gemm_nn, const struct kernels *fast, char *error);

/* Bytes of a block of 32 numbers: a half scale, then 32 signed bytes, or 16 bytes of two numbers.
 */
#define KERNELS_Q8_0_BYTES 34
#define KERNELS_Q4_0_BYTES 18

float half_to_float(uint16_t half);
uint16_t float_to_half(float value);

#endif
