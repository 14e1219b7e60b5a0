/* convert_encoder.c: the paper's token encoders and vision transformers in all six variants, as
 * their authors save them.
 *
 * The (X)+ term (paper, section on the 2D positional encoding; precursor arXiv 2305.19129) adds
 * sum_c w_c P[i, j, c] + b to scores that are multiplied with sum_c w_c. P holds a code of i in its
 * first channels and one of j in the others, so the sum is f(i) + g(j); the softmax over j takes
 * f(i) and b away again. What is left is one factor and one number per key. */
#include "common/base/limits.h"
#include "common/model/convert.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ATTENTION       "blocks.%u.attn"
#define SEPARABLE_BOUND 1e-3 /* of the largest term: how far P may be from f(i) + g(j) */

bool convert_is_encoder(const struct source *source)
{
    return source_find(source, "blocks.0.ln1.weight") != NULL;
}

static int no_memory(const struct convert *convert)
{
    return convert_fail(convert, TANDEM_ENOMEM, "no memory for the conversion");
}

/* A whole tensor as floats. *returns owned*. */
static int tensor_load(const struct convert *convert, const struct source_tensor *tensor,
                       float **ret_values)
{
    const uint64_t rows = tensor->dimension_count ? tensor->shape[0] : 1;
    int result;

    if (tensor->elements > LIMIT_FOLDED_ELEMENTS) {
        return convert_fail(convert, TANDEM_ETOOBIG, "tensor %.200s is too large to be folded",
                            tensor->name);
    }
    *ret_values = malloc((size_t)(tensor->elements + 1) * sizeof(**ret_values));
    if (!*ret_values) {
        return no_memory(convert);
    }
    result = source_rows(convert->source, tensor, 0, rows, *ret_values);
    if (result != 0) {
        free(*ret_values);
        *ret_values = NULL;
        return convert_fail(convert, result, "cannot read tensor %.200s", tensor->name);
    }
    return 0;
}

static int values_put(const struct convert *convert, const char *name, uint32_t layer,
                      float *values, uint64_t count)
{
    struct target_tensor *tensor = target_add(convert->target, name, layer);

    if (!tensor) {
        free(values);
        return no_memory(convert);
    }
    tensor->values = values;
    tensor->dimension_count = 1;
    tensor->dimensions[0] = count;
    return 0;
}

/* One number of the sinusoidal code that the authors' code fills P with: channel c of `width` at
 * position t. */
static double code_value(uint64_t t, uint64_t c, uint64_t width)
{
    const double angle = (double)t * exp(-2.0 * (double)(c / 2) * log(10000.0) / (double)width);

    return c % 2 == 0 ? sin(angle) : cos(angle);
}

/* g(j) of a P that is not in the file: the channels from m/2 on encode j. */
static void code_fold(const float *weights, uint64_t channels, uint64_t count, float *ret_bias)
{
    const uint64_t first = channels / 2;

    for (uint64_t j = 0; j < count; j++) {
        double sum = 0;

        for (uint64_t c = first; c < channels; c++) {
            sum += (double)weights[c] * code_value(j, c - first, channels - first);
        }
        ret_bias[j] = (float)sum;
    }
}

/* g(j) up to a constant from the P of the file: row i = 0. Every other row must differ from it by a
 * constant. */
static int buffer_fold(const struct convert *convert, const struct source_tensor *buffer,
                       const float *weights, uint64_t channels, uint64_t count, float *ret_bias)
{
    float *values;
    double largest = 0, worst = 0;
    int result;

    if (buffer->dimension_count != 3 || buffer->shape[0] < count || buffer->shape[1] < count ||
        buffer->shape[2] != channels) {
        return convert_fail(convert, TANDEM_EFORMAT,
                            "tensor %.200s: not [n, n, m] with n at least %llu and m %llu",
                            buffer->name, (unsigned long long)count, (unsigned long long)channels);
    }
    result = tensor_load(convert, buffer, &values);
    for (uint64_t i = 0; result == 0 && i < count; i++) {
        double offset = 0;

        for (uint64_t j = 0; j < count; j++) {
            const float *at = values + (i * buffer->shape[1] + j) * channels;
            double sum = 0;

            for (uint64_t c = 0; c < channels; c++) {
                sum += (double)weights[c] * (double)at[c];
            }
            if (i == 0) {
                ret_bias[j] = (float)sum;
                largest = fmax(largest, fabs(sum));
            } else if (j == 0) {
                offset = sum - (double)ret_bias[0];
            }
            worst = fmax(worst, i == 0 ? 0 : fabs(sum - offset - (double)ret_bias[j]));
        }
    }
    if (result == 0) {
        free(values);
        if (!(worst <= SEPARABLE_BOUND * fmax(largest, 1e-3))) {
            return convert_fail(
                convert, TANDEM_EUNSUPPORTED,
                "tensor %.200s: its codes of rows and columns are not separate; cannot be folded",
                buffer->name);
        }
    }
    return result;
}

/* The (X)+ of one layer, if it has one. */
static int plus_write(const struct convert *convert, uint32_t layer, uint64_t positions)
{
    const struct source_tensor *weights = convert_find(convert, ATTENTION ".pos_w", layer);
    const struct source_tensor *buffer = convert_find(convert, ATTENTION ".pos2d", layer);
    float *values = NULL, *scale = NULL, *bias = NULL;
    double sum = 0;
    int result;

    (void)convert_find(convert, ATTENTION ".pos_b", layer); /* the softmax takes it away */
    if (!weights) {
        return convert_fail(convert, TANDEM_EFORMAT, "there is no tensor " ATTENTION ".pos_w",
                            layer);
    }
    result = tensor_load(convert, weights, &values);
    scale = malloc(sizeof(*scale));
    bias = malloc((size_t)positions * sizeof(*bias));
    if (result == 0 && (!scale || !bias)) {
        result = no_memory(convert);
    }
    if (result == 0 && buffer) {
        result = buffer_fold(convert, buffer, values, weights->elements, positions, bias);
    } else if (result == 0) {
        code_fold(values, weights->elements, positions, bias);
    }
    if (result != 0) {
        free(values);
        free(scale);
        free(bias);
        return result;
    }
    for (uint64_t c = 0; c < weights->elements; c++) {
        sum += (double)values[c];
    }
    *scale = (float)sum;
    free(values);
    result = values_put(convert, "blk.%u.attn_pos.scale", layer, scale, 1);
    if (result != 0) {
        free(bias);
        return result;
    }
    return values_put(convert, "blk.%u.attn_pos.bias", layer, bias, positions);
}

static int layer_write(const struct convert *convert, const struct convert_attention *attention,
                       const char *down, bool plus, uint64_t positions, uint32_t i)
{
    const struct {
        const char *name, *base;
        uint64_t in, out; /* in 0: a norm */
    } parts[] = {
        {"attn_norm", "ln1", 0, 0},
        {"attn_output", "attn.c_proj", convert->d, convert->d},
        {"ffn_norm", "ln2", 0, 0},
        {"ffn_up", "mlp.0", convert->d, convert->ff},
        {"ffn_down", down, convert->ff, convert->d},
    };
    int result = convert_attention_write(convert, attention, ATTENTION, i);

    if (result == 0 && plus) {
        result = plus_write(convert, i, positions);
    }
    for (size_t j = 0; result == 0 && j < sizeof(parts) / sizeof(parts[0]); j++) {
        char name[64], base[64];
        const struct convert_rows rows = {.base = base, .count = parts[j].out};

        snprintf(name, sizeof(name), "blk.%u.%s", i, parts[j].name);
        snprintf(base, sizeof(base), "blocks.%u.%s", i, parts[j].base);
        result = parts[j].in ? convert_linear(convert, name, parts[j].in, &rows, 1)
                             : convert_norm(convert, name, base);
    }
    return result;
}

/* Everything between the input and the head; the number of positions is known. */
static int body_write(struct convert *convert, uint64_t positions)
{
    struct convert_attention attention;
    const char *down = convert_find(convert, "blocks.0.mlp.3.weight") ? "mlp.3" : "mlp.2";
    const struct source_tensor *up = convert_find(convert, "blocks.0.mlp.0.weight");
    const bool plus = convert_find(convert, ATTENTION ".pos_w", 0u) != NULL;
    char key[64];
    int result;

    while (convert->layers < LIMIT_MODEL_LAYERS &&
           convert_find(convert, "blocks.%u.ln1.weight", (unsigned)convert->layers)) {
        convert->layers++;
    }
    if (!up || up->dimension_count != 2) {
        return convert_fail(convert, TANDEM_EFORMAT, "there is no matrix blocks.0.mlp.0.weight");
    }
    convert->ff = up->shape[0];
    result = convert_attention_find(convert, ATTENTION, true, &attention);
    if (result != 0) {
        return result;
    }
    convert_pairs(convert, attention.projection, "gelu_erf", 1e-5);
    snprintf(key, sizeof(key), "%s.attention.position_2d", convert->architecture);
    gguf_put_bool(&convert->target->writer, key, plus);
    for (uint32_t i = 0; result == 0 && i < convert->layers; i++) {
        result = layer_write(convert, &attention, down, plus, positions, i);
    }
    return result ? result : convert_norm(convert, "output_norm", "ln_f");
}

static int head_write(const struct convert *convert, uint64_t classes)
{
    const struct convert_rows rows = {.base = "head", .count = classes};

    return convert_linear(convert, "head", convert->d, &rows, 1);
}

/* A linear layer on one-hot digits is a table: column t and the bias. */
static int embedding_write(const struct convert *convert, uint64_t vocabulary)
{
    const struct source_tensor *weight, *bias;
    struct target_tensor *table;
    float *columns = NULL, *shift = NULL;
    int result = convert_want(convert, "embed.weight", convert->d, vocabulary, &weight);

    result = result ? result : convert_want(convert, "embed.bias", 0, convert->d, &bias);
    result = result ? result : tensor_load(convert, weight, &columns);
    result = result ? result : tensor_load(convert, bias, &shift);
    table = result == 0 ? target_add(convert->target, "token_embd.weight") : NULL;
    if (result == 0 &&
        (!table || !(table->values = malloc((size_t)(convert->d * vocabulary) * sizeof(float))))) {
        result = no_memory(convert);
    }
    if (result == 0) {
        table->dimension_count = 2;
        table->dimensions[0] = convert->d;
        table->dimensions[1] = vocabulary;
        for (uint64_t t = 0; t < vocabulary; t++) {
            for (uint64_t i = 0; i < convert->d; i++) {
                table->values[t * convert->d + i] = columns[i * vocabulary + t] + shift[i];
            }
        }
    }
    free(columns);
    free(shift);
    return result;
}

static int token_encoder(struct convert *convert)
{
    const struct source_tensor *embed = convert_find(convert, "embed.weight");
    const struct source_tensor *positions = convert_find(convert, "pos_emb.weight");
    const struct source_tensor *head = convert_find(convert, "head.weight");
    int result;

    convert->architecture = "tandem-encoder";
    if (embed->dimension_count != 2 || !positions || positions->dimension_count != 2 || !head ||
        head->dimension_count != 2 || embed->shape[0] == 0 || embed->shape[0] > LIMIT_MODEL_WIDTH ||
        positions->shape[0] == 0 || positions->shape[0] > LIMIT_MODEL_CONTEXT_TOKENS) {
        return convert_fail(convert, TANDEM_EFORMAT,
                            "embed.weight, pos_emb.weight and head.weight must be matrices");
    }
    convert->d = embed->shape[0];
    result = convert_heads(convert);
    result = result ? result : body_write(convert, positions->shape[0]);
    if (result == 0) {
        gguf_put_u32(&convert->target->writer, "tandem-encoder.context_length",
                     (uint32_t)positions->shape[0]);
    }
    result = result ? result : embedding_write(convert, embed->shape[1]);
    result = result ? result
                    : convert_table(convert, "position_embd.weight", "pos_emb.weight",
                                    positions->shape[0]);
    return result ? result : head_write(convert, head->shape[0]);
}

int convert_encoder(struct convert *convert)
{
    if (convert_find(convert, "patch_embed.proj.weight")) {
        return convert_vit(convert, body_write, head_write);
    }
    return convert_find(convert, "embed.weight")
               ? token_encoder(convert)
               : convert_fail(
                     convert, TANDEM_EUNSUPPORTED,
                     "blocks without embed.weight or patch_embed.proj.weight: no known encoder");
}
