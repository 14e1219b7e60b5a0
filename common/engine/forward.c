/* forward.c: linear layers and the stack of blocks, the same for every architecture and projection.
 */
#include "common/engine/forward.h"

#include "common/engine/kernels.h"

#include <string.h>

#define ACTIVATION_PIECE 16384 /* numbers */

struct team *forward_team(const struct engine_context *context, size_t work)
{
    return work < context->team_work ? NULL : context->team;
}

/* One product, cut into ranges of weight rows. */
struct product {
    struct engine_context *context;
    const struct linear *linear;
    const float *in; /* [tokens, columns] */
    size_t tokens;
    float *out; /* [tokens, ld_out] */
    size_t ld_out;
};

/* A few tokens: the weights are the traffic, so a few rows are read and used for all tokens while
 * they are in cache. */
static void product_few(const struct product *product, size_t from, size_t to)
{
    const struct matrix *weight = &product->linear->weight;
    size_t columns = weight->columns;

    for (size_t row = from; row < to; row += LINEAR_FEW_ROWS) {
        size_t count = to - row < LINEAR_FEW_ROWS ? to - row : LINEAR_FEW_ROWS;

        for (size_t t = 0; t < product->tokens; t++) {
            const float *in = product->in + t * columns;
            float *out = product->out + t * product->ld_out + row;

            matrix_dots(weight, row, count, in, out);
        }
    }
}

/* Many tokens: BLAS; what is not F32 is widened a panel of rows at a time, never the whole matrix.
 */
static void product_many(const struct product *product, struct lane *lane, size_t from, size_t to)
{
    const struct matrix *weight = &product->linear->weight;
    size_t columns = weight->columns;

    if (weight->type == ENGINE_WEIGHT_F32) {
        kernels_gemm_nt(product->tokens, to - from, columns, product->in, columns,
                        (const float *)weight->data + from * columns, columns, product->out + from,
                        product->ld_out);
        return;
    }
    for (size_t row = from; row < to; row += LINEAR_PANEL_ROWS) {
        size_t count = to - row < LINEAR_PANEL_ROWS ? to - row : LINEAR_PANEL_ROWS;

        matrix_widen(weight, row, count, lane->panel);
        kernels_gemm_nt(product->tokens, count, columns, product->in, columns, lane->panel, columns,
                        product->out + row, product->ld_out);
    }
}

static void product_run(void *user, uint32_t member, size_t from, size_t to)
{
    const struct product *product = user;
    const float *bias = product->linear->bias;

    if (product->tokens <= LINEAR_FEW_TOKENS) {
        product_few(product, from, to);
    } else {
        product_many(product, &product->context->lanes[member], from, to);
    }
    kernels_add_bias(product->out + from, product->ld_out, bias ? bias + from : NULL,
                     product->tokens, to - from);
}

void linear_apply(struct engine_context *context, const struct linear *linear, const float *in,
                  size_t tokens, float *out, size_t ld_out)
{
    struct product product = {context, linear, in, tokens, out, ld_out};
    const size_t rows = linear->weight.rows;
    struct team *team = forward_team(context, rows * linear->weight.columns * tokens);
    size_t piece = rows;

    if (team) { /* two pieces a thread, of whole groups of rows */
        piece = rows / (2 * context->params.threads) / LINEAR_FEW_ROWS * LINEAR_FEW_ROWS +
                LINEAR_FEW_ROWS;
        piece = piece < LINEAR_PANEL_ROWS ? piece : LINEAR_PANEL_ROWS;
    }
    team_run(team, rows, piece, product_run, &product);
}

static void activate(enum activation activation, float *x, size_t n)
{
    if (activation == ACTIVATION_GELU_ERF) {
        kernels()->gelu_erf(x, n);
    } else {
        kernels()->gelu_tanh(x, n);
    }
}

struct activation_job {
    enum activation activation;
    float *x;        /* [count] */
    const float *up; /* [count], gated: x is the gate and gets the product */
};

static void activation_run(void *user, uint32_t member, size_t from, size_t to)
{
    const struct activation_job *job = user;

    (void)member;
    if (job->activation == ACTIVATION_SILU) {
        kernels_silu(job->x + from, job->up + from, to - from);
    } else {
        activate(job->activation, job->x + from, to - from);
    }
}

/* `rows` rows of x, normalised. In place is fine. */
static void norm_apply(const struct engine_model *model, const struct norm *norm, const float *in,
                       size_t rows, float *out)
{
    const size_t d = model->info.n_embd;

    for (size_t row = 0; row < rows; row++) {
        if (model->rms_norm) {
            kernels_rms_norm(in + row * d, norm->weight, model->epsilon, d, out + row * d);
        } else {
            kernels()->norm(in + row * d, norm->weight, norm->bias, model->epsilon, d,
                            out + row * d);
        }
    }
}

static void block_run(struct engine_context *context, uint32_t layer, size_t tokens,
                      attend_fn attend, void *user)
{
    const struct engine_model *model = context->model;
    const struct block *block = &model->blocks[layer];
    size_t d = model->info.n_embd, width = model->layout.width;
    size_t count = tokens * model->info.n_ff;
    float *active = model->gated ? context->gate : context->ff;
    struct activation_job activation = {model->activation, active, context->ff};
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
    if (model->gated) {
        linear_apply(context, &block->ffn_gate, context->h, tokens, active, model->info.n_ff);
    }
    team_run(forward_team(context, 8 * count), count, ACTIVATION_PIECE, activation_run,
             &activation);
    linear_apply(context, &block->ffn_down, active, tokens, context->h, d);
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
