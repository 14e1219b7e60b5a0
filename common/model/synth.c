/* synth.c: `tandem-model synth`. */
#include "common/model/synth.h"

#include "common/base/limits.h"
#include "common/model/progress.h"
#include "common/model/tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Letters: d width, F feed-forward width, L layers, H heads, n positions, V vocabulary. */
struct shape {
    const char *name;
    uint32_t layers, d, heads, ff, positions, vocabulary;
};
static const struct shape shapes[] = {
    {"300M", 20, 1024, 16, 4096, 2048, 50304},
    {"1.2B", 22, 2048, 32, 8192, 2048, 50304},
    {"tiny", 2, 64, 4, 256, 2048, 512},
};
static const struct {
    const char *name;
    bool q_is_k, v_is_k;
} projections[] = {
    {"QKV", false, false},
    {"Q=K-V", true, false},
    {"Q-K=V", false, true},
    {"Q=K=V", true, true},
};
#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define LETTERS      256   /* tokens of the tokenizer */
#define DEVIATION    0.02f /* of matrices, as the paper's code starts them */

struct synth {
    struct shape shape;
    uint32_t kv_width; /* columns of K or V */
    uint64_t seed;
    struct target *target;
    bool no_memory;
};

/* ---- numbers: each from its place alone, so that pieces can be made in any size ---- */

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* The sum of four uniform numbers of 16 bits is near enough to a normal one. */
static void noise_make(const struct target_tensor *tensor, uint64_t first, float *values,
                       uint64_t count)
{
    const float scale = DEVIATION / 37837.23f; /* 65536 * sqrt(4 / 12) */

    for (uint64_t i = 0; i < count; i++) {
        const uint64_t x = mix(tensor->seed + (first + i + 1) * UINT64_C(0x9e3779b97f4a7c15));
        const uint32_t sum = (uint32_t)(x & 0xffff) + (uint32_t)(x >> 16 & 0xffff) +
                             (uint32_t)(x >> 32 & 0xffff) + (uint32_t)(x >> 48);

        values[i] = ((float)sum - 131070.0f) * scale;
    }
}

static void zeros_make(const struct target_tensor *tensor, uint64_t first, float *values,
                       uint64_t count)
{
    (void)tensor;
    (void)first;
    memset(values, 0, (size_t)count * sizeof(*values));
}

static void ones_make(const struct target_tensor *tensor, uint64_t first, float *values,
                      uint64_t count)
{
    (void)tensor;
    (void)first;
    for (uint64_t i = 0; i < count; i++) {
        values[i] = 1;
    }
}

/* ---- tensors ---- */

static void tensor_add(struct synth *synth, const char *name, uint32_t columns, uint32_t rows,
                       target_make_fn make)
{
    struct target_tensor *tensor = target_add(synth->target, "%s", name);

    if (!tensor) {
        synth->no_memory = true;
        return;
    }
    tensor->make = make;
    tensor->seed = mix(synth->seed + synth->target->count * UINT64_C(0xd1342543de82ef95));
    tensor->dimension_count = rows ? 2 : 1;
    tensor->dimensions[0] = columns;
    tensor->dimensions[1] = rows ? rows : 1;
}

/* "blk.%u." in front when `layer` is none of the whole model's. */
#define WHOLE UINT32_MAX

static void pair_add(struct synth *synth, uint32_t layer, const char *base, uint32_t in,
                     uint32_t out)
{
    char name[64], prefix[24] = "";

    if (layer != WHOLE) {
        snprintf(prefix, sizeof(prefix), "blk.%u.", layer);
    }
    snprintf(name, sizeof(name), "%s%s.weight", prefix, base);
    tensor_add(synth, name, in ? in : out, in ? out : 0, in ? noise_make : ones_make);
    snprintf(name, sizeof(name), "%s%s.bias", prefix, base);
    tensor_add(synth, name, out, 0, zeros_make);
}

static void block_add(struct synth *synth, uint32_t layer, bool q_is_k, bool v_is_k)
{
    const struct shape *shape = &synth->shape;

    pair_add(synth, layer, "attn_norm", 0, shape->d);
    if (!q_is_k && !v_is_k) {
        pair_add(synth, layer, "attn_qkv", shape->d, shape->d + 2 * synth->kv_width);
    } else {
        pair_add(synth, layer, "attn_q", shape->d, shape->d);
        if (!q_is_k) {
            pair_add(synth, layer, "attn_k", shape->d, synth->kv_width);
        }
        if (!v_is_k) {
            pair_add(synth, layer, "attn_v", shape->d, synth->kv_width);
        }
    }
    pair_add(synth, layer, "attn_output", shape->d, shape->d);
    pair_add(synth, layer, "ffn_norm", 0, shape->d);
    pair_add(synth, layer, "ffn_up", shape->d, shape->ff);
    pair_add(synth, layer, "ffn_down", shape->ff, shape->d);
}

/* ---- pairs ---- */

/* The 256 letters that GPT-2 writes bytes as: a text is as many tokens as it has bytes. The rest of
 * the vocabulary prints nothing. */
static void tokenizer_put(struct gguf_writer *writer)
{
    char letters[LETTERS][4];
    const char *tokens[LETTERS];
    uint32_t others = 256;

    for (uint32_t byte = 0; byte < LETTERS; byte++) {
        const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
        const uint32_t code = printable ? byte : others++;

        memset(letters[byte], 0, sizeof(letters[byte]));
        if (code < 128) {
            letters[byte][0] = (char)code;
        } else {
            letters[byte][0] = (char)(0xc0 | code >> 6);
            letters[byte][1] = (char)(0x80 | (code & 63));
        }
        tokens[byte] = letters[byte];
    }
    gguf_put_text(writer, "tokenizer.ggml.model", "gpt2");
    gguf_put_text(writer, "tokenizer.ggml.pre", "gpt-2");
    gguf_put_texts(writer, "tokenizer.ggml.tokens", tokens, NULL, LETTERS);
    gguf_put_texts(writer, "tokenizer.ggml.merges", NULL, NULL, 0);
}

static void pairs_put(const struct synth *synth, const char *projection, uint32_t kv_heads)
{
    const struct shape *shape = &synth->shape;
    struct gguf_writer *writer = &synth->target->writer;
    const struct {
        const char *key;
        uint32_t value;
    } counts[] = {
        {"gpt2.block_count", shape->layers},        {"gpt2.embedding_length", shape->d},
        {"gpt2.feed_forward_length", shape->ff},    {"gpt2.attention.head_count", shape->heads},
        {"gpt2.attention.head_count_kv", kv_heads}, {"gpt2.context_length", shape->positions},
    };
    char name[64];

    snprintf(name, sizeof(name), "synthetic %s %s, %u KV heads", shape->name, projection, kv_heads);
    gguf_put_text(writer, "general.architecture", "gpt2");
    gguf_put_text(writer, "general.name", name);
    for (size_t i = 0; i < COUNT(counts); i++) {
        gguf_put_u32(writer, counts[i].key, counts[i].value);
    }
    gguf_put_f32(writer, "gpt2.attention.layer_norm_epsilon", 1e-5f);
    gguf_put_text(writer, "gpt2.attention.projection", projection);
    gguf_put_text(writer, "gpt2.activation", "gelu_erf");
    tokenizer_put(writer);
}

static int fail(char error[ENGINE_ERROR_BYTES], const char *line)
{
    snprintf(error, ENGINE_ERROR_BYTES, "%s", line);
    return TANDEM_EINVAL;
}

/* The named shape with what is asked for in place of its own. */
static int shape_take(const struct synth_options *options, struct shape *ret_shape,
                      char error[ENGINE_ERROR_BYTES])
{
    const struct {
        const char *option;
        uint32_t wish, least, most, *at;
    } wishes[] = {
        {"--layers", options->layers, 1, LIMIT_MODEL_LAYERS, &ret_shape->layers},
        {"--context", options->context, 1, LIMIT_MODEL_CONTEXT_TOKENS, &ret_shape->positions},
        {"--vocabulary", options->vocabulary, LETTERS, LIMIT_MODEL_VOCABULARY,
         &ret_shape->vocabulary},
    };
    size_t i = 0;

    while (i < COUNT(shapes) && strcmp(shapes[i].name, options->shape) != 0) {
        i++;
    }
    if (i == COUNT(shapes)) {
        return fail(error, "--shape is none of 300M, 1.2B, tiny");
    }
    *ret_shape = shapes[i];
    for (i = 0; i < COUNT(wishes); i++) {
        if (wishes[i].wish == 0) {
            continue;
        }
        if (wishes[i].wish < wishes[i].least || wishes[i].wish > wishes[i].most) {
            snprintf(error, ENGINE_ERROR_BYTES, "%s is %u to %u", wishes[i].option, wishes[i].least,
                     wishes[i].most);
            return TANDEM_EINVAL;
        }
        *wishes[i].at = wishes[i].wish;
    }
    return 0;
}

int synth_describe(const struct synth_options *options, struct target *target,
                   char error[ENGINE_ERROR_BYTES])
{
    struct synth synth = {.seed = options->seed, .target = target};
    size_t projection = 0;
    uint32_t kv_heads;
    int result = shape_take(options, &synth.shape, error);

    if (result != 0) {
        return result;
    }
    while (projection < COUNT(projections) &&
           strcmp(projections[projection].name, options->projection) != 0) {
        projection++;
    }
    if (projection == COUNT(projections)) {
        return fail(error, "--projection is none of QKV, Q=K-V, Q-K=V, Q=K=V");
    }
    kv_heads = options->kv_heads ? options->kv_heads : synth.shape.heads;
    if (kv_heads > synth.shape.heads || synth.shape.heads % kv_heads != 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "--kv-heads: %u does not divide the %u heads of %s",
                 kv_heads, synth.shape.heads, synth.shape.name);
        return TANDEM_EINVAL;
    }
    if (projections[projection].q_is_k && kv_heads != synth.shape.heads) {
        return fail(error, "--kv-heads: a key that is the query (Q=K) needs as many as heads");
    }
    synth.kv_width = synth.shape.d / synth.shape.heads * kv_heads;
    pairs_put(&synth, options->projection, kv_heads);
    tensor_add(&synth, "token_embd.weight", synth.shape.d, synth.shape.vocabulary, noise_make);
    tensor_add(&synth, "position_embd.weight", synth.shape.d, synth.shape.positions, noise_make);
    for (uint32_t i = 0; i < synth.shape.layers; i++) {
        block_add(&synth, i, projections[projection].q_is_k, projections[projection].v_is_k);
    }
    pair_add(&synth, WHOLE, "output_norm", 0, synth.shape.d);
    if (synth.no_memory) {
        snprintf(error, ENGINE_ERROR_BYTES, "no memory for the table of tensors");
        return TANDEM_ENOMEM;
    }
    return 0;
}

/* ---- the command ---- */

int synth_run(struct tool *tool)
{
    const struct tool_options *from = &tool->options;
    const struct synth_options options = {
        .shape = from->shape ? from->shape : "",
        .projection = from->projection ? from->projection : "QKV",
        .kv_heads = (uint32_t)from->kv_heads,
        .layers = (uint32_t)from->layers,
        .context = (uint32_t)from->context,
        .vocabulary = (uint32_t)from->vocabulary,
        .seed = from->seed,
    };
    enum engine_weight_type type = ENGINE_WEIGHT_F16;
    char error[ENGINE_ERROR_BYTES] = "";
    struct progress progress;
    struct target target;
    int result;

    if (!from->shape) {
        return tool_say(tool, TOOL_WRONG_USE, "synth needs --shape");
    }
    if (from->type && !engine_weight_parse(from->type, &type)) {
        return tool_say(tool, TOOL_WRONG_USE, "--type: \"%s\" is none of " TOOL_TYPES, from->type);
    }
    target_init(&target);
    result = synth_describe(&options, &target, error);
    if (result == TANDEM_EINVAL) {
        target_fini(&target);
        return tool_say(tool, TOOL_WRONG_USE, "%s", error);
    }
    if (result == 0) {
        target_types_choose(&target, type);
        result = target_write(&target, NULL, from->output,
                              progress_begin(&progress, tool->notes, "MB", 1e6), &progress, error);
    }
    target_fini(&target);
    return result == 0 ? TOOL_DONE : tool_say(tool, TOOL_FAILED, "%s", error);
}
