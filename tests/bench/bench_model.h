/* bench_model.h: writes a decoder of random weights, large enough that its products and its cache
 * are what takes the time. */
#ifndef TANDEM_TESTS_BENCH_MODEL_H
#define TANDEM_TESTS_BENCH_MODEL_H

#include "common/base/buf.h"
#include "common/engine/kernels.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct bench_shape {
    uint32_t layers, width, inner, heads, context, vocabulary;
    bool v_is_k, f16;
};

struct bench_writer {
    struct buf keys, infos, data;
    uint64_t key_count, tensor_count;
    bool f16;
    uint32_t seed;
};

static inline void bench_text(struct buf *out, const char *text)
{
    (void)buf_append_le64(out, strlen(text));
    (void)buf_append_text(out, text);
}

static inline void bench_key_u32(struct bench_writer *writer, const char *key, uint32_t value)
{
    bench_text(&writer->keys, key);
    (void)buf_append_le32(&writer->keys, 4);
    (void)buf_append_le32(&writer->keys, value);
    writer->key_count++;
}

static inline void bench_key_text(struct bench_writer *writer, const char *key, const char *value)
{
    bench_text(&writer->keys, key);
    (void)buf_append_le32(&writer->keys, 8);
    bench_text(&writer->keys, value);
    writer->key_count++;
}

/* A tensor of `rows` (0: a vector of ones) by `columns`. */
static inline void bench_tensor(struct bench_writer *writer, const char *name, uint32_t columns,
                                uint32_t rows)
{
    const bool half = writer->f16 && rows > 0;
    const size_t n = (size_t)columns * (rows ? rows : 1);

    bench_text(&writer->infos, name);
    (void)buf_append_le32(&writer->infos, rows ? 2 : 1);
    (void)buf_append_le64(&writer->infos, columns);
    if (rows) {
        (void)buf_append_le64(&writer->infos, rows);
    }
    (void)buf_append_le32(&writer->infos, half);
    (void)buf_append_le64(&writer->infos, writer->data.bytes);
    for (size_t i = 0; i < n; i++) {
        float value = 1;

        if (rows) {
            writer->seed = writer->seed * 1664525u + 1013904223u;
            value = ((float)(writer->seed >> 8) / 8388608.0f - 1) * 0.05f;
        }
        if (half) {
            const uint16_t bits = float_to_half(value);

            (void)buf_append(&writer->data, &bits, sizeof bits);
        } else {
            (void)buf_append(&writer->data, &value, sizeof value);
        }
    }
    while (writer->data.bytes % 32) {
        (void)buf_append_u8(&writer->data, 0);
    }
    writer->tensor_count++;
}

static inline void bench_block(struct bench_writer *writer, const struct bench_shape *shape,
                               uint32_t layer)
{
    const uint32_t d = shape->width;
    const struct {
        const char *name;
        uint32_t columns, rows;
    } parts[] = {
        {"attn_norm.weight", d, 0},
        {"attn_norm.bias", d, 0},
        {"ffn_norm.weight", d, 0},
        {"ffn_norm.bias", d, 0},
        {"attn_q.weight", d, d},
        {"attn_k.weight", d, d},
        {"attn_output.weight", d, d},
        {"ffn_up.weight", d, shape->inner},
        {"ffn_down.weight", shape->inner, d},
        {"attn_v.weight", d, d},
    };
    char name[64];

    for (size_t i = 0; i < sizeof parts / sizeof parts[0] - shape->v_is_k; i++) {
        snprintf(name, sizeof name, "blk.%u.%s", layer, parts[i].name);
        bench_tensor(writer, name, parts[i].columns, parts[i].rows);
    }
}

/* 0, or -1 when the file cannot be written. */
static inline int bench_model_write(const char *path, const struct bench_shape *shape)
{
    struct bench_writer writer = {.f16 = shape->f16, .seed = 1};
    const float epsilon = 1e-5f;
    struct buf head;
    FILE *file = fopen(path, "wb");
    bool wrong;

    buf_init(&writer.data, (size_t)1 << 30);
    bench_key_text(&writer, "general.architecture", "gpt2");
    bench_key_text(&writer, "gpt2.attention.projection", shape->v_is_k ? "Q-K=V" : "QKV");
    bench_key_text(&writer, "gpt2.activation", "gelu_erf");
    bench_key_u32(&writer, "gpt2.block_count", shape->layers);
    bench_key_u32(&writer, "gpt2.embedding_length", shape->width);
    bench_key_u32(&writer, "gpt2.feed_forward_length", shape->inner);
    bench_key_u32(&writer, "gpt2.attention.head_count", shape->heads);
    bench_key_u32(&writer, "gpt2.context_length", shape->context);
    bench_text(&writer.keys, "gpt2.attention.layer_norm_epsilon");
    (void)buf_append_le32(&writer.keys, 6);
    (void)buf_append(&writer.keys, &epsilon, sizeof epsilon);
    writer.key_count++;
    bench_tensor(&writer, "token_embd.weight", shape->width, shape->vocabulary);
    bench_tensor(&writer, "position_embd.weight", shape->width, shape->context);
    bench_tensor(&writer, "output_norm.weight", shape->width, 0);
    bench_tensor(&writer, "output_norm.bias", shape->width, 0);
    for (uint32_t i = 0; i < shape->layers; i++) {
        bench_block(&writer, shape, i);
    }
    buf_init(&head, 0);
    (void)buf_append_text(&head, "GGUF");
    (void)buf_append_le32(&head, 3);
    (void)buf_append_le64(&head, writer.tensor_count);
    (void)buf_append_le64(&head, writer.key_count);
    (void)buf_append(&head, writer.keys.data, writer.keys.bytes);
    (void)buf_append(&head, writer.infos.data, writer.infos.bytes);
    while (head.bytes % 32) {
        (void)buf_append_u8(&head, 0);
    }
    wrong = !file || fwrite(head.data, 1, head.bytes, file) != head.bytes ||
            fwrite(writer.data.data, 1, writer.data.bytes, file) != writer.data.bytes;
    wrong = (file && fclose(file) != 0) || wrong;
    buf_fini(&writer.keys);
    buf_fini(&writer.infos);
    buf_fini(&writer.data);
    buf_fini(&head);
    return wrong ? -1 : 0;
}

#endif
