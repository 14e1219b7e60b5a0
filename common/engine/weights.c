/* weights.c: the stored types of weights, to and from floats. Block layouts are ggml's public ones:
 * 32 numbers share one half-precision scale. */
#include "common/engine/engine.h"
#include "common/engine/kernels.h"

#include <math.h>
#include <string.h>

#define BLOCK ENGINE_WEIGHT_BLOCK

static void pack_f32(const float *values, size_t count, uint8_t *out)
{
    memcpy(out, values, count * sizeof(*values));
}

static void unpack_f32(const uint8_t *in, size_t count, float *values)
{
    memcpy(values, in, count * sizeof(*values));
}

/* The kernels take halves where halves can lie. */
static bool is_even(const void *address)
{
    return (uintptr_t)address % sizeof(uint16_t) == 0;
}

static void pack_f16(const float *values, size_t count, uint8_t *out)
{
    if (is_even(out)) {
        kernels()->narrow(values, (uint16_t *)(void *)out, count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        le16_store(out + 2 * i, float_to_half(values[i]));
    }
}

static void unpack_f16(const uint8_t *in, size_t count, float *values)
{
    if (is_even(in)) {
        kernels()->widen((const uint16_t *)(const void *)in, values, count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        values[i] = half_to_float(le16_load(in + 2 * i));
    }
}

/* To nearest, ties to even; a NaN stays one. */
static void pack_bf16(const float *values, size_t count, uint8_t *out)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;

        memcpy(&bits, &values[i], sizeof(bits));
        if ((bits & 0x7fffffffu) > 0x7f800000u) {
            bits |= 0x400000u;
        } else {
            bits += 0x7fffu + (bits >> 16 & 1);
        }
        le16_store(out + 2 * i, (uint16_t)(bits >> 16));
    }
}

static void unpack_bf16(const uint8_t *in, size_t count, float *values)
{
    for (size_t i = 0; i < count; i++) {
        const uint32_t bits = (uint32_t)le16_load(in + 2 * i) << 16;

        memcpy(&values[i], &bits, sizeof(bits));
    }
}

/* Q8_0: {half scale, 32 signed bytes}; value = scale * byte. */
static void pack_q8_0(const float *values, size_t count, uint8_t *out)
{
    for (; count >= BLOCK; count -= BLOCK, values += BLOCK, out += 2 + BLOCK) {
        float largest = 0, scale, inverse;

        for (size_t i = 0; i < BLOCK; i++) {
            largest = fmaxf(largest, fabsf(values[i]));
        }
        scale = largest / 127;
        inverse = scale > 0 ? 1 / scale : 0;
        le16_store(out, float_to_half(scale));
        for (size_t i = 0; i < BLOCK; i++) {
            out[2 + i] = (uint8_t)(int8_t)lrintf(values[i] * inverse);
        }
    }
}

static void unpack_q8_0(const uint8_t *in, size_t count, float *values)
{
    for (; count >= BLOCK; count -= BLOCK, values += BLOCK, in += 2 + BLOCK) {
        const float scale = half_to_float(le16_load(in));

        for (size_t i = 0; i < BLOCK; i++) {
            values[i] = scale * (float)(int8_t)in[2 + i];
        }
    }
}

/* Q4_0: {half scale, 16 bytes}; byte i holds number i in its low half and number i + 16 in its high
 * half, each plus 8. The number of the largest magnitude becomes -8, so that the scale has its
 * sign. */
static void pack_q4_0(const float *values, size_t count, uint8_t *out)
{
    for (; count >= BLOCK; count -= BLOCK, values += BLOCK, out += 2 + BLOCK / 2) {
        float extreme = 0, scale, inverse;

        for (size_t i = 0; i < BLOCK; i++) {
            if (fabsf(values[i]) > fabsf(extreme)) {
                extreme = values[i];
            }
        }
        scale = extreme / -8;
        inverse = scale != 0 ? 1 / scale : 0;
        le16_store(out, float_to_half(scale));
        for (size_t i = 0; i < BLOCK / 2; i++) {
            const int low = (int)(values[i] * inverse + 8.5f);
            const int high = (int)(values[i + BLOCK / 2] * inverse + 8.5f);

            out[2 + i] = (uint8_t)((low > 15 ? 15 : low) | (high > 15 ? 15 : high) << 4);
        }
    }
}

static void unpack_q4_0(const uint8_t *in, size_t count, float *values)
{
    for (; count >= BLOCK; count -= BLOCK, values += BLOCK, in += 2 + BLOCK / 2) {
        const float scale = half_to_float(le16_load(in));

        for (size_t i = 0; i < BLOCK / 2; i++) {
            values[i] = scale * (float)((in[2 + i] & 15) - 8);
            values[i + BLOCK / 2] = scale * (float)((in[2 + i] >> 4) - 8);
        }
    }
}

static const struct weight_type {
    const char *text;
    enum engine_weight_type type;
    uint32_t block, block_bytes;
    void (*pack)(const float *values, size_t count, uint8_t *out);
    void (*unpack)(const uint8_t *in, size_t count, float *values);
} types[] = {
    {"F32", ENGINE_WEIGHT_F32, 1, 4, pack_f32, unpack_f32},
    {"F16", ENGINE_WEIGHT_F16, 1, 2, pack_f16, unpack_f16},
    {"BF16", ENGINE_WEIGHT_BF16, 1, 2, pack_bf16, unpack_bf16},
    {"Q8_0", ENGINE_WEIGHT_Q8_0, BLOCK, 2 + BLOCK, pack_q8_0, unpack_q8_0},
    {"Q4_0", ENGINE_WEIGHT_Q4_0, BLOCK, 2 + BLOCK / 2, pack_q4_0, unpack_q4_0},
};
#define TYPES (sizeof(types) / sizeof(types[0]))

static const struct weight_type *type_find(enum engine_weight_type type)
{
    for (size_t i = 0; i < TYPES; i++) {
        if (types[i].type == type) {
            return &types[i];
        }
    }
    return NULL;
}

const char *engine_weight_text(enum engine_weight_type type)
{
    const struct weight_type *found = type_find(type);

    return found ? found->text : NULL;
}

bool engine_weight_parse(const char *text, enum engine_weight_type *ret_type)
{
    for (size_t i = 0; i < TYPES; i++) {
        if (strcmp(types[i].text, text) == 0) {
            *ret_type = types[i].type;
            return true;
        }
    }
    return false;
}

uint32_t engine_weight_block(enum engine_weight_type type)
{
    const struct weight_type *found = type_find(type);

    return found ? found->block : 0;
}

uint64_t engine_weight_bytes(enum engine_weight_type type, uint64_t count)
{
    const struct weight_type *found = type_find(type);

    return found ? count / found->block * found->block_bytes : 0;
}

void engine_weight_pack(enum engine_weight_type type, const float *values, size_t count,
                        void *ret_data)
{
    type_find(type)->pack(values, count, ret_data);
}

void engine_weight_unpack(enum engine_weight_type type, const void *data, size_t count,
                          float *ret_values)
{
    type_find(type)->unpack(data, count, ret_values);
}
