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

/* A few tokens: the weights are the traffic, so a few rows are read and used for all tokens while
 * they are in cache. */
static void linear_few(const struct matrix *weight, const float *in, size_t tokens, float *out,
                       size_t ld_out)
{
    const struct kernels *k = kernels();
    size_t columns = weight->columns;

    for (size_t row = 0; row < weight->rows; row += LINEAR_FEW_ROWS) {
        size_t count = weight->rows - row < LINEAR_FEW_ROWS ? weight->rows - row : LINEAR_FEW_ROWS;

        for (size_t t = 0; t < tokens; t++) {
            if (weight->type == GGUF_TENSOR_F16) {
                k->dots_f16((const uint16_t *)weight->data + row * columns, count, in + t * columns,
                            columns, out + t * ld_out + row);
            } else {
                k->dots_f32((const float *)weight->data + row * columns, count, in + t * columns,
                            columns, out + t * ld_out + row);
            }
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

static void activate(enum activation activation, float *x, size_t n)
{
    if (activation == ACTIVATION_GELU_ERF) {
        kernels()->gelu_erf(x, n);
    } else {
        kernels()->gelu_tanh(x, n);
    }
}

/* `rows` rows of x, normalised. In place is fine. */
static void norm_apply(const struct engine_model *model, const struct norm *norm, const float *in,
                       size_t rows, float *out)
{
    const size_t d = model->info.n_embd;

    for (size_t row = 0; row < rows; row++) {
        kernels()->norm(in + row * d, norm->weight, norm->bias, model->epsilon, d, out + row * d);
    }
}

static void block_run(struct engine_context *context, uint32_t layer, size_t tokens,
                      attend_fn attend, void *user)
{
    const struct engine_model *model = context->model;
    const struct block *block = &model->blocks[layer];
    size_t d = model->info.n_embd, width = model->layout.width;
    float *column = context->projected;

    norm_apply(model, &block->attn_norm, context->x, tokens, context->h);
    for (uint32_t i = 0; i < block->projection_count; i++) {
        linear_apply(context, &block->projections[i], context->h, tokens, column, width);
        column += block->projections[i].weight.rows;
    }
    attend(context, layer, user);
    linear_apply(context, &block->attn_output, context->mixed, tokens, context->h, d);
    kernels()->add(context->x, context->h, tokens * d);

    norm_apply(model, &block->ffn_norm, context->x, tokens, context->h);
    linear_apply(context, &block->ffn_up, context->h, tokens, context->ff, model->info.n_ff);
    activate(model->activation, context->ff, tokens * model->info.n_ff);
    linear_apply(context, &block->ffn_down, context->ff, tokens, context->h, d);
    kernels()->add(context->x, context->h, tokens * d);
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
    norm_apply(model, &model->output_norm, context->x, tokens, context->x);
    return 0;
}
