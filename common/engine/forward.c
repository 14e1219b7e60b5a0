/* forward.c: linear layers and the stack of blocks, the same for every architecture and projection.
 */
#include "common/engine/forward.h"

#include "common/engine/kernels.h"

#include <string.h>

void matrix_row(const struct matrix *matrix, uint32_t row, float *ret_values)
{
    if (matrix->type == GGUF_TENSOR_F32) {
        memcpy(ret_values, (const float *)matrix->data + (size_t)row * matrix->columns,
               matrix->columns * sizeof(float));
    } else {
        kernels()->widen((const uint16_t *)matrix->data + (size_t)row * matrix->columns, ret_values,
                         matrix->columns);
    }
}

/* A few tokens: the weights are the traffic, so each row is read once and used for all tokens while
 * it is in cache. */
static void linear_few(const struct matrix *weight, const float *in, size_t tokens, float *out,
                       size_t ld_out)
{
    const struct kernels *k = kernels();
    size_t columns = weight->columns;

    for (size_t row = 0; row < weight->rows; row++) {
        for (size_t t = 0; t < tokens; t++) {
            out[t * ld_out + row] = weight->type == GGUF_TENSOR_F16
                                        ? k->dot_f16((const uint16_t *)weight->data + row * columns,
                                                     in + t * columns, columns)
                                        : k->dot_f32((const float *)weight->data + row * columns,
                                                     in + t * columns, columns);
        }
    }
}

/* Many tokens: BLAS; halves are widened a panel of rows at a time, never the whole matrix. */
static void linear_many(struct engine_context *context, const struct matrix *weight,
                        const float *in, size_t tokens, float *out, size_t ld_out)
{
    size_t columns = weight->columns;

    if (weight->type == GGUF_TENSOR_F32) {
        kernels_gemm_nt(tokens, weight->rows, columns, in, columns, weight->data, columns, out,
                        ld_out);
        return;
    }
    for (size_t row = 0; row < weight->rows; row += LINEAR_PANEL_ROWS) {
        size_t count =
            weight->rows - row < LINEAR_PANEL_ROWS ? weight->rows - row : LINEAR_PANEL_ROWS;

        kernels()->widen((const uint16_t *)weight->data + row * columns, context->panel,
                         count * columns);
        kernels_gemm_nt(tokens, count, columns, in, columns, context->panel, columns, out + row,
                        ld_out);
    }
}

void linear_apply(struct engine_context *context, const struct linear *linear, const float *in,
                  size_t tokens, float *out, size_t ld_out)
{
    if (tokens <= LINEAR_FEW_TOKENS) {
        linear_few(&linear->weight, in, tokens, out, ld_out);
    } else {
        linear_many(context, &linear->weight, in, tokens, out, ld_out);
    }
    kernels_add_bias(out, ld_out, linear->bias, tokens, linear->weight.rows);
}

static void (*const activations[])(float *x, size_t n) = {
    [ACTIVATION_GELU_ERF] = kernels_gelu_erf,
    [ACTIVATION_GELU_TANH] = kernels_gelu_tanh,
};

static void block_run(struct engine_context *context, uint32_t layer, size_t tokens,
                      attend_fn attend, void *user)
{
    const struct engine_model *model = context->model;
    const struct block *block = &model->blocks[layer];
    size_t d = model->info.n_embd, width = model->layout.width;
    float *column = context->projected;

    kernels_layer_norm(context->x, block->attn_norm.weight, block->attn_norm.bias, model->epsilon,
                       tokens, d, context->h);
    for (uint32_t i = 0; i < block->projection_count; i++) {
        linear_apply(context, &block->projections[i], context->h, tokens, column, width);
        column += block->projections[i].weight.rows;
    }
    attend(context, layer, user);
    linear_apply(context, &block->attn_output, context->mixed, tokens, context->h, d);
    kernels_add(context->x, context->h, tokens * d);

    kernels_layer_norm(context->x, block->ffn_norm.weight, block->ffn_norm.bias, model->epsilon,
                       tokens, d, context->h);
    linear_apply(context, &block->ffn_up, context->h, tokens, context->ff, model->info.n_ff);
    activations[model->activation](context->ff, tokens * model->info.n_ff);
    linear_apply(context, &block->ffn_down, context->ff, tokens, context->h, d);
    kernels_add(context->x, context->h, tokens * d);
}

int forward_blocks(struct engine_context *context, size_t tokens, attend_fn attend, void *user,
                   const atomic_bool *abort)
{
    const struct engine_model *model = context->model;

    for (uint32_t layer = 0; layer < model->info.n_layer; layer++) {
        if (abort && atomic_load(abort)) {
            return TANDEM_ECANCELED;
        }
        block_run(context, layer, tokens, attend, user);
    }
    kernels_layer_norm(context->x, model->output_norm.weight, model->output_norm.bias,
                       model->epsilon, tokens, model->info.n_embd, context->x);
    return 0;
}
