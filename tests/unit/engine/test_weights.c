/* The stored types of weights: how far packing may move a number, and the kernels that read them
 * against the numbers that unpacking gives. */
#include "common/engine/engine.h"
#include "common/engine/kernels.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define BLOCK ENGINE_WEIGHT_BLOCK
#define COUNT (8 * BLOCK)
#define ROWS  5

static void fill(float *values, size_t n, uint32_t seed, float range)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        values[i] = (float)(int32_t)seed / 2147483648.0f * range;
    }
}

static float largest_of(const float *values, size_t n)
{
    float largest = 0;

    for (size_t i = 0; i < n; i++) {
        largest = fmaxf(largest, fabsf(values[i]));
    }
    return largest;
}

/* Every number of a block within `steps` steps of largest / `levels`, and what the half that holds
 * the step is off (a 2048th of the number, or the smallest half times the levels). */
static void bound_check(enum engine_weight_type type, float levels, float steps)
{
    static const float ranges[] = {1, 1e-3f, 30000, 1e-7f};
    float values[COUNT], back[COUNT];
    uint8_t packed[COUNT * 4];

    for (size_t r = 0; r < sizeof(ranges) / sizeof(ranges[0]); r++) {
        for (uint32_t seed = 0; seed < 50; seed++) {
            fill(values, COUNT, seed, ranges[r]);
            engine_weight_pack(type, values, COUNT, packed);
            engine_weight_unpack(type, packed, COUNT, back);
            for (size_t i = 0; i < COUNT; i++) {
                const float largest = largest_of(values + i / BLOCK * BLOCK, BLOCK);
                const float bound =
                    largest / levels * steps * 1.0001f + largest / 2048 + levels * 0x1p-25f;

                if (!(fabsf(back[i] - values[i]) <= bound)) {
                    fail_msg("%s: %.9g became %.9g, more than %.9g away", engine_weight_text(type),
                             (double)values[i], (double)back[i], (double)bound);
                }
            }
        }
    }
}

static void test_bounds(void **state)
{
    (void)state;
    bound_check(ENGINE_WEIGHT_Q8_0, 127, 0.5f);
    /* 16 levels from -8 to 7: the end without a level of its own may be a whole step away */
    bound_check(ENGINE_WEIGHT_Q4_0, 8, 1);
}

/* Inside the levels that both signs have, Q4_0 is half a step away. */
static void test_q4_0_inside(void **state)
{
    float values[BLOCK], back[BLOCK];
    uint8_t packed[18];

    (void)state;
    for (uint32_t seed = 0; seed < 200; seed++) {
        fill(values, BLOCK, seed, 0.93f); /* 7.5 of 8 steps */
        values[seed % BLOCK] = seed % 2 ? 1 : -1;
        engine_weight_pack(ENGINE_WEIGHT_Q4_0, values, BLOCK, packed);
        engine_weight_unpack(ENGINE_WEIGHT_Q4_0, packed, BLOCK, back);
        for (size_t i = 0; i < BLOCK; i++) {
            assert_true(fabsf(back[i] - values[i]) <= 0.5f / 8 + 1e-6f);
        }
    }
}

/* The layout itself, by hand. */
static void test_layout(void **state)
{
    float values[BLOCK] = {0}, back[BLOCK];
    uint8_t packed[34];

    (void)state;
    values[0] = -127;
    values[1] = 5;
    values[31] = 127;
    engine_weight_pack(ENGINE_WEIGHT_Q8_0, values, BLOCK, packed);
    assert_int_equal(le16_load(packed), 0x3c00); /* 1 */
    assert_int_equal(packed[2], 0x81);
    assert_int_equal(packed[3], 5);
    assert_int_equal(packed[33], 127);
    memset(values, 0, sizeof(values));
    values[0] = -8;
    values[15] = 7;
    values[16] = 3;
    engine_weight_pack(ENGINE_WEIGHT_Q4_0, values, BLOCK, packed);
    assert_int_equal(le16_load(packed), 0x3c00);
    assert_int_equal(packed[2], 0 | (3 + 8) << 4);
    assert_int_equal(packed[17], 15 | 8 << 4);
    memset(values, 0, sizeof(values)); /* a block of zeros stays one */
    for (int i = 0; i < 2; i++) {
        const enum engine_weight_type type = i ? ENGINE_WEIGHT_Q4_0 : ENGINE_WEIGHT_Q8_0;

        engine_weight_pack(type, values, BLOCK, packed);
        engine_weight_unpack(type, packed, BLOCK, back);
        for (size_t j = 0; j < BLOCK; j++) {
            assert_true(back[j] == 0);
        }
    }
    assert_int_equal(engine_weight_bytes(ENGINE_WEIGHT_Q8_0, 64), 68);
    assert_int_equal(engine_weight_bytes(ENGINE_WEIGHT_Q4_0, 64), 36);
    assert_int_equal(engine_weight_bytes(ENGINE_WEIGHT_BF16, 64), 128);
}

static uint16_t bf16_of(uint32_t bits)
{
    uint8_t packed[2];
    float value;

    memcpy(&value, &bits, sizeof(value));
    engine_weight_pack(ENGINE_WEIGHT_BF16, &value, 1, packed);
    return le16_load(packed);
}

static void test_bf16(void **state)
{
    (void)state;
    assert_int_equal(bf16_of(0x3f800000), 0x3f80);
    assert_int_equal(bf16_of(0x3f808000), 0x3f80); /* half way: to the even one below */
    assert_int_equal(bf16_of(0x3f818000), 0x3f82); /* and above */
    assert_int_equal(bf16_of(0x3f808001), 0x3f81);
    assert_int_equal(bf16_of(0x3f807fff), 0x3f80);
    assert_int_equal(bf16_of(0x7f800000), 0x7f80); /* infinity */
    assert_int_equal(bf16_of(0xff800000), 0xff80);
    assert_int_equal(bf16_of(0x7f7fffff), 0x7f80); /* the largest number rounds to it */
    assert_int_equal(bf16_of(0x80000000), 0x8000);
    assert_int_equal(bf16_of(0x00000001), 0x0000);
    assert_int_equal(bf16_of(0x7f800001) & 0x7fc0,
                     0x7fc0); /* a NaN whose high half says infinity */
    assert_int_equal(bf16_of(0xffffffff) & 0x7fc0, 0x7fc0);
}

static void near(float a, float b, float tolerance)
{
    if (!(fabsf(a - b) <= tolerance)) {
        fail_msg("%.9g and %.9g", (double)a, (double)b);
    }
}

/* Rows of n numbers of one type, through the kernels of `k`, with a border that must stay. */
static void kernel_check(const struct kernels *k, enum engine_weight_type type, size_t n)
{
    static float values[ROWS * COUNT], back[ROWS * COUNT], widened[ROWS * COUNT + 1], x[COUNT];
    static uint16_t packed[ROWS * COUNT];
    const uint8_t *bytes = (const uint8_t *)packed;
    float dots[ROWS + 1];

    fill(values, ROWS * n, (uint32_t)n + 3, 2);
    fill(x, n, (uint32_t)n + 5, 2);
    engine_weight_pack(type, values, ROWS * n, packed);
    engine_weight_unpack(type, packed, ROWS * n, back);
    widened[ROWS * n] = dots[ROWS] = -77;
    if (type == ENGINE_WEIGHT_BF16) {
        k->widen_bf16(packed, widened, ROWS * n);
        k->dots_bf16(packed, ROWS, x, n, dots);
    } else if (type == ENGINE_WEIGHT_Q8_0) {
        k->widen_q8_0(bytes, widened, ROWS * n);
        k->dots_q8_0(bytes, ROWS, x, n, dots);
    } else {
        k->widen_q4_0(bytes, widened, ROWS * n);
        k->dots_q4_0(bytes, ROWS, x, n, dots);
    }
    assert_memory_equal(widened, back, ROWS * n * sizeof(float));
    assert_true(widened[ROWS * n] == -77 && dots[ROWS] == -77);
    for (size_t i = 0; i < ROWS; i++) {
        double sum = 0;

        for (size_t j = 0; j < n; j++) {
            sum += (double)back[i * n + j] * (double)x[j];
        }
        near(dots[i], (float)sum, 2e-4f);
    }
}

static void test_kernels(void **state)
{
    const struct kernels *all[] = {kernels(), &kernels_ref};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        for (size_t n = 1; n <= COUNT; n++) {
            kernel_check(all[i], ENGINE_WEIGHT_BF16, n);
            if (n % BLOCK == 0) {
                kernel_check(all[i], ENGINE_WEIGHT_Q8_0, n);
                kernel_check(all[i], ENGINE_WEIGHT_Q4_0, n);
            }
        }
    }
}

/* ---- the check at the start ---- */

static void dots_wrong(const uint8_t *rows, size_t count, const float *x, size_t n, float *ret_dots)
{
    kernels_ref.dots_q4_0(rows, count, x, n, ret_dots);
    ret_dots[count - 1] += 0.01f;
}

static void widen_wrong(const uint8_t *row, float *ret_values, size_t n)
{
    kernels_ref.widen_q8_0(row, ret_values, n);
    ret_values[n - 1] = -ret_values[n - 1] + 1;
}

static void bf16_wrong(const uint16_t *row, float *ret_values, size_t n)
{
    kernels_ref.widen(row, ret_values, n); /* as if they were halves */
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
    broken.dots_q4_0 = dots_wrong;
    expect_named(&broken, "dots_q4_0");
    broken = kernels_ref;
    broken.widen_q8_0 = widen_wrong;
    expect_named(&broken, "widen_q8_0");
    broken = kernels_ref;
    broken.widen_bf16 = bf16_wrong;
    expect_named(&broken, "widen_bf16");
    broken = kernels_ref;
    broken.dots_bf16 = kernels_ref.dots_f16;
    expect_named(&broken, "dots_bf16");
    broken = kernels_ref;
    broken.dots_q8_0 = kernels_ref.dots_q4_0;
    expect_named(&broken, "dots_q8_0");
    broken = kernels_ref;
    broken.widen_q4_0 = kernels_ref.widen_q8_0;
    expect_named(&broken, "widen_q4_0");
}

/* Halves at odd addresses, where a kernel cannot write them, are the same halves. */
static void test_odd_addresses(void **state)
{
    static const float values[] = {0,       -0.0f,   1,        1.0009765f, 65504,   65520,  -1e9f,
                                   6.1e-5f, 5.9e-8f, 2.98e-8f, -2.99e-8f,  3e-39f,  0.333f, 1e-3f,
                                   7,       -7,      123.4f,   1.0004883f, 1.0f / 3};
    enum { ODD_COUNT = sizeof(values) / sizeof(values[0]) };
    uint16_t even[ODD_COUNT];
    uint8_t odd[1 + sizeof(even)] = {0};
    float from_even[ODD_COUNT], from_odd[ODD_COUNT];

    (void)state;
    engine_weight_pack(ENGINE_WEIGHT_F16, values, ODD_COUNT, even);
    engine_weight_pack(ENGINE_WEIGHT_F16, values, ODD_COUNT, odd + 1);
    assert_memory_equal(even, odd + 1, sizeof(even));
    for (size_t i = 0; i < ODD_COUNT; i++) {
        assert_int_equal(even[i], float_to_half(values[i]));
    }
    engine_weight_unpack(ENGINE_WEIGHT_F16, even, ODD_COUNT, from_even);
    engine_weight_unpack(ENGINE_WEIGHT_F16, odd + 1, ODD_COUNT, from_odd);
    assert_memory_equal(from_even, from_odd, sizeof(from_even));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_odd_addresses),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_q4_0_inside),
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_kernels),
        cmocka_unit_test(test_wrong_kernel_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
