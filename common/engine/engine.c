/* engine.c: contexts and steps: what engine.h promises about running models. */
#include "common/engine/engine.h"

#include "common/base/limits.h"
#include "common/engine/forward.h"
#include "common/engine/kernels.h"
#include "common/engine/pages.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- contexts ---- */

static size_t at_least(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t widest_input(const struct engine_model *model)
{
    size_t widest = at_least(model->info.n_embd, model->info.n_ff);

    for (uint32_t i = 0; i < model->stem_count; i++) {
        widest = at_least(widest, model->stem[i].weight.weight.columns);
    }
    return widest;
}

/* Floats of the largest feature map, and of the widest unrolled window. */
static void stem_sizes(const struct engine_model *model, size_t *ret_map, size_t *ret_window)
{
    *ret_map = *ret_window = 0;
    for (uint32_t i = 0; i < model->stem_count; i++) {
        const struct stem_layer *layer = &model->stem[i];

        *ret_map = at_least(*ret_map,
                            (size_t)layer->conv_height * layer->conv_width * layer->out_channels);
        *ret_window = at_least(*ret_window, layer->weight.weight.columns);
    }
}

static void counts_set(struct engine_context *context)
{
    const struct engine_model_info *info = &context->model->info;

    context->tokens_max = context->params.max_tokens;
    /* The logits are the last buffer of the block: rows that nobody asks for are never touched and
     * take no memory. */
    context->rows_max = context->params.max_tokens > context->params.max_sequences
                            ? context->params.max_tokens
                            : context->params.max_sequences;
    if (info->architecture == ENGINE_VIT) {
        context->tokens_max = context->params.max_sequences * info->n_context;
    } else if (info->architecture == ENGINE_ENCODER) {
        context->tokens_max =
            context->tokens_max < info->n_context ? context->tokens_max : info->n_context;
        context->rows_max = context->tokens_max;
    }
}

struct part {
    float **buffer;
    size_t floats;
};

/* Floats up to the next cache line. */
static size_t part_floats(const struct part *part)
{
    return (part->floats + 15) / 16 * 16;
}

/* One block for all buffers; each starts on a cache line. */
static int parts_take(const struct part *parts, size_t count, float **ret_block)
{
    size_t total = 0;

    for (size_t i = 0; i < count; i++) {
        total += part_floats(&parts[i]);
    }
    *ret_block = aligned_alloc(64, total * sizeof(float));
    if (!*ret_block) {
        return TANDEM_ENOMEM;
    }
    total = 0;
    for (size_t i = 0; i < count; i++) {
        *parts[i].buffer = *ret_block + total;
        total += part_floats(&parts[i]);
    }
    return 0;
}

static int block_take(struct engine_context *context)
{
    const struct engine_model_info *info = &context->model->info;
    size_t t = context->tokens_max, map = 0, window = 0;
    bool decoder = engine_is_decoder(info->architecture);

    stem_sizes(context->model, &map, &window);
    {
        const struct part parts[] = {
            {&context->x, t * info->n_embd},
            {&context->h, t * info->n_embd},
            {&context->projected, t * context->model->layout.width},
            {&context->mixed, t * info->n_embd},
            {&context->ff, t * info->n_ff},
            {&context->gate, context->model->gated ? t * info->n_ff : 0},
            {&context->state, decoder ? t * info->n_head * 2 : 0},
            {&context->maps[0], map},
            {&context->maps[1], map},
            {&context->logits, (size_t)context->rows_max * info->n_class},
        };

        return parts_take(parts, sizeof(parts) / sizeof(parts[0]), &context->block);
    }
}

/* Every thread's own scratch, and the threads. */
static int lanes_take(struct engine_context *context)
{
    const struct engine_model_info *info = &context->model->info;
    const uint32_t threads = context->params.threads;
    size_t map = 0, window = 0;
    bool decoder = engine_is_decoder(info->architecture);

    stem_sizes(context->model, &map, &window);
    context->lanes = calloc(threads, sizeof(*context->lanes));
    for (uint32_t i = 0; context->lanes && i < threads; i++) {
        struct lane *lane = &context->lanes[i];
        const struct part parts[] = {
            {&lane->panel, LINEAR_PANEL_ROWS * widest_input(context->model)},
            {&lane->rows, decoder ? (size_t)2 * ENGINE_PAGE_TOKENS * info->head_dim : 0},
            {&lane->query, decoder ? info->head_dim : 0},
            {&lane->scores, decoder ? 0 : (size_t)SCORE_ROWS * info->n_context},
            {&lane->columns, STEM_ROWS * window},
        };

        if (parts_take(parts, sizeof(parts) / sizeof(parts[0]), &lane->block)) {
            return TANDEM_ENOMEM;
        }
    }
    return context->lanes && (threads == 1 || !team_new(threads, &context->team)) ? 0
                                                                                  : TANDEM_ENOMEM;
}

/* All but the reference on the model. */
static void context_free(struct engine_context *context)
{
    for (uint32_t i = 0; context && context->lanes && i < context->params.threads; i++) {
        free(context->lanes[i].block);
    }
    if (context) {
        team_free(context->team);
        free(context->lanes);
        free(context->block);
        free(context);
    }
}

int engine_context_new(struct engine_model *model, const struct engine_context_params *params,
                       struct engine_context **ret_context, char error[ENGINE_ERROR_BYTES])
{
    struct engine_context *context;

    if (params->max_tokens < 1 || params->max_tokens > LIMIT_BATCH_TOKENS ||
        params->max_sequences < 1 || params->max_sequences > LIMIT_BATCH_SEQUENCES ||
        params->threads > LIMIT_STEP_THREADS) {
        snprintf(error, ENGINE_ERROR_BYTES,
                 "a step takes 1 to %u tokens, 1 to %u sequences and at most %u threads",
                 LIMIT_BATCH_TOKENS, LIMIT_BATCH_SEQUENCES, LIMIT_STEP_THREADS);
        return TANDEM_EINVAL;
    }
    context = calloc(1, sizeof(*context));
    if (context) {
        context->model = model;
        context->params = *params;
        context->params.threads = params->threads ? params->threads : 1;
        context->team_work = TEAM_WORK;
        counts_set(context);
    }
    if (!context || block_take(context) || lanes_take(context)) {
        context_free(context);
        snprintf(error, ENGINE_ERROR_BYTES, "%s: no memory for the buffers or threads of a step",
                 model->info.path);
        return TANDEM_ENOMEM;
    }
    engine_model_ref(model);
    *ret_context = context;
    return 0;
}

void engine_context_free(struct engine_context *context)
{
    if (context) {
        engine_model_unref(context->model);
        context_free(context);
    }
}

/* ---- decoder ---- */

static bool chunk_valid(const struct engine_context *context, const struct engine_chunk *chunk)
{
    const struct engine_model_info *info = &context->model->info;
    const struct engine_seq *seq = chunk->seq;

    if (chunk->count == 0 || chunk->count > context->tokens_max || chunk->count > info->n_context ||
        seq->length > info->n_context - chunk->count || seq->pool->model != context->model ||
        (uint64_t)seq->page_count * ENGINE_PAGE_TOKENS < (uint64_t)seq->length + chunk->count) {
        return false;
    }
    for (uint32_t i = 0; i < chunk->count; i++) {
        if (chunk->tokens[i] >= info->n_vocab) {
            return false;
        }
    }
    return true;
}

static uint32_t chunk_rows(const struct engine_chunk *chunk)
{
    return chunk->want == ENGINE_LOGITS_ALL    ? chunk->count
           : chunk->want == ENGINE_LOGITS_LAST ? 1
                                               : 0;
}

static int chunks_check(const struct engine_context *context, const struct engine_chunk *chunks,
                        uint32_t count, size_t *ret_tokens)
{
    size_t tokens = 0, rows = 0;

    if (!engine_is_decoder(context->model->info.architecture) || count == 0 ||
        count > context->params.max_sequences) {
        return TANDEM_EINVAL;
    }
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (chunks[i].seq == chunks[j].seq) {
                return TANDEM_EINVAL;
            }
        }
        if (!chunk_valid(context, &chunks[i])) {
            return TANDEM_EINVAL;
        }
        tokens += chunks[i].count;
        rows += chunk_rows(&chunks[i]);
    }
    *ret_tokens = tokens;
    return tokens > context->tokens_max || rows > context->rows_max ? TANDEM_EINVAL : 0;
}

/* x = token embedding + position embedding, if the model has one. */
static void embed(struct engine_context *context, const uint32_t *tokens, uint32_t count,
                  uint32_t position, float *x)
{
    const struct engine_model *model = context->model;
    size_t d = model->info.n_embd;

    for (uint32_t i = 0; i < count; i++, x += d) {
        matrix_row(&model->token_embd, tokens[i], x);
        if (model->position_embd.data) {
            matrix_row(&model->position_embd, position + i, context->lanes[0].panel);
            kernels()->add(x, context->lanes[0].panel, d);
        }
    }
}

/* Gathers the rows that were asked for into h, then one product with the head for all of them. */
static void logits_compute(struct engine_context *context, struct engine_chunk *chunks,
                           uint32_t count)
{
    size_t d = context->model->info.n_embd, first = 0;
    uint32_t rows = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t wanted = chunk_rows(&chunks[i]);

        chunks[i].ret_row = rows;
        memcpy(context->h + rows * d, context->x + (first + chunks[i].count - wanted) * d,
               wanted * d * sizeof(float));
        rows += wanted;
        first += chunks[i].count;
    }
    if (rows) {
        linear_apply(context, &context->model->head, context->h, rows, context->logits,
                     context->model->info.n_class);
    }
}

int engine_step(struct engine_context *context, struct engine_chunk *chunks, uint32_t chunk_count,
                const atomic_bool *abort, const float **ret_logits)
{
    struct attend_chunks attend = {chunks, chunk_count};
    size_t tokens = 0, first = 0;
    int code = chunks_check(context, chunks, chunk_count, &tokens);

    if (code || (code = model_file_check(context->model))) {
        return code;
    }
    kernels_blas_alone();
    for (uint32_t i = 0; i < chunk_count; i++) {
        embed(context, chunks[i].tokens, chunks[i].count, chunks[i].seq->length,
              context->x + first * context->model->info.n_embd);
        first += chunks[i].count;
    }
    code = forward_blocks(context, tokens, attention_cached, &attend, abort);
    if (code) {
        return code;
    }
    logits_compute(context, chunks, chunk_count);
    if ((code = model_file_check(context->model))) {
        return code;
    }
    for (uint32_t i = 0; i < chunk_count; i++) {
        chunks[i].seq->length += chunks[i].count;
    }
    *ret_logits = context->logits;
    return 0;
}

/* ---- encoders ---- */

/* One picture's tokens at x: stem, cls, positions. */
static void picture_embed(struct engine_context *context, const float *pixels, float *x)
{
    const struct engine_model *model = context->model;
    size_t d = model->info.n_embd;
    float *tokens = x;

    if (model->pooling == POOLING_CLS) {
        memcpy(x, model->cls, d * sizeof(float));
        tokens += d;
    }
    stem_run(context, pixels, tokens);
    for (uint32_t i = 0; model->position_embd.data && i < model->info.n_context; i++) {
        matrix_row(&model->position_embd, i, context->lanes[0].panel);
        kernels()->add(x + i * d, context->lanes[0].panel, d);
    }
}

/* One row of [d] for each picture, in h: the cls row, or the rows weighted by the softmax of what
 * seq_pool says of them. */
static void picture_pool(struct engine_context *context, const float *x, float *ret_row)
{
    const struct engine_model *model = context->model;
    size_t d = model->info.n_embd, n = model->info.n_context;
    float *weights = context->lanes[0].scores;

    if (model->pooling == POOLING_CLS) {
        memcpy(ret_row, x, d * sizeof(float));
        return;
    }
    linear_apply(context, &model->seq_pool, x, n, weights, 1);
    engine_softmax(weights, n, 1);
    memset(ret_row, 0, d * sizeof(float));
    kernels()->mix_f32(weights, x, n, ret_row, d);
}

int engine_encode_pictures(struct engine_context *context, const float *const *pixels,
                           uint32_t count, const atomic_bool *abort, const float **ret_logits)
{
    const struct engine_model *model = context->model;
    const struct engine_model_info *info = &model->info;
    struct attend_groups groups = {count, info->n_context};
    size_t picture = (size_t)info->n_context * info->n_embd;
    int code;

    if (info->architecture != ENGINE_VIT || count == 0 || count > context->params.max_sequences) {
        return TANDEM_EINVAL;
    }
    if ((code = model_file_check(model))) {
        return code;
    }
    kernels_blas_alone();
    for (uint32_t i = 0; i < count; i++) {
        if (abort && atomic_load(abort)) {
            return TANDEM_ECANCELED;
        }
        picture_embed(context, pixels[i], context->x + i * picture);
    }
    code = forward_blocks(context, (size_t)count * info->n_context, attention_full, &groups, abort);
    if (code) {
        return code;
    }
    for (uint32_t i = 0; i < count; i++) {
        picture_pool(context, context->x + i * picture, context->h + i * info->n_embd);
    }
    linear_apply(context, &model->head, context->h, count, context->logits, info->n_class);
    if ((code = model_file_check(model))) {
        return code;
    }
    *ret_logits = context->logits;
    return 0;
}

int engine_encode_tokens(struct engine_context *context, const uint32_t *tokens, uint32_t count,
                         const atomic_bool *abort, const float **ret_logits)
{
    const struct engine_model_info *info = &context->model->info;
    struct attend_groups groups = {1, count};
    int code;

    if (info->architecture != ENGINE_ENCODER || count == 0 || count > context->tokens_max) {
        return TANDEM_EINVAL;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (tokens[i] >= info->n_vocab) {
            return TANDEM_EINVAL;
        }
    }
    if ((code = model_file_check(context->model))) {
        return code;
    }
    kernels_blas_alone();
    embed(context, tokens, count, 0, context->x);
    code = forward_blocks(context, count, attention_full, &groups, abort);
    if (code) {
        return code;
    }
    linear_apply(context, &context->model->head, context->x, count, context->logits, info->n_class);
    if ((code = model_file_check(context->model))) {
        return code;
    }
    *ret_logits = context->logits;
    return 0;
}
