/* attention.c: attention over cached pages (decoder) and over plain rows (encoder), for every
 * projection.
 *
 * The cached form is a streaming softmax: for each query a running maximum m, a running sum s of
 * exp(score - m) and the mix so far are carried from page to page, and rescaled when the maximum
 * grows. A page's rows of one head (32 x dk) fit the L1 cache, so with K=V a row comes from memory
 * once and serves the score and the mix. */
#include "common/engine/forward.h"
#include "common/engine/kernels.h"
#include "common/engine/pages.h"

#include <math.h>
#include <string.h>

/* The rows of one head in one page, in whatever form the reading kernel takes. */
struct page_view {
    const void *keys, *values; /* [count, dk] */
    bool halves;
    uint32_t count;
};

/* One query over the first `count` rows of a page. state[0] is m, state[1] is s. */
static void query_page(const struct page_view *view, uint32_t count, const float *query,
                       float scale, size_t dk, float *state, float *mix)
{
    const struct kernels *k = kernels();
    float scores[ENGINE_PAGE_TOKENS], highest = state[0];

    if (view->halves) {
        k->dots_f16(view->keys, count, query, dk, scores);
    } else {
        k->dots_f32(view->keys, count, query, dk, scores);
    }
    for (uint32_t row = 0; row < count; row++) {
        scores[row] *= scale;
        highest = scores[row] > highest ? scores[row] : highest;
    }
    if (highest > state[0]) {
        float shrink = expf(state[0] - highest); /* exp(-inf) is 0 at the first page */

        for (size_t i = 0; i < dk; i++) {
            mix[i] *= shrink;
        }
        state[1] *= shrink;
        state[0] = highest;
    }
    state[1] += k->exp_sum(scores, highest, count);
    if (view->halves) {
        k->mix_f16(scores, view->values, count, mix, dk);
    } else {
        k->mix_f32(scores, view->values, count, mix, dk);
    }
}

static void store(enum engine_kv_type type, void *rows, uint32_t row, const float *values,
                  size_t dk)
{
    if (type == ENGINE_KV_F16) {
        kernels()->narrow(values, (uint16_t *)rows + row * dk, dk);
    } else {
        memcpy((float *)rows + row * dk, values, dk * sizeof(float));
    }
}

/* Writes K (and V, unless it is K) of the chunk's tokens into their pages. */
static void chunk_store(struct engine_context *context, uint32_t layer,
                        const struct engine_chunk *chunk, size_t first)
{
    const struct projection_layout *layout = &context->model->layout;
    const struct engine_model_info *info = &context->model->info;
    const struct engine_pool *pool = chunk->seq->pool;
    size_t dk = info->head_dim;

    for (uint32_t i = 0; i < chunk->count; i++) {
        uint32_t position = chunk->seq->length + i, row = position % ENGINE_PAGE_TOKENS;
        uint32_t page = chunk->seq->pages[position / ENGINE_PAGE_TOKENS];
        const float *line = context->projected + (first + i) * layout->width;

        for (uint32_t head = 0; head < info->n_head_kv; head++) {
            store(pool->type, pages_rows(pool, page, layer, 0, head), row,
                  line + layout->k_at + head * dk, dk);
            if (!layout->v_is_k) {
                store(pool->type, pages_rows(pool, page, layer, 1, head), row,
                      line + layout->v_at + head * dk, dk);
            }
        }
    }
}

/* Looks at one head of one page. Halves are widened once when several queries of this chunk will
 * read them. */
static struct page_view page_look(struct engine_context *context, uint32_t layer,
                                  const struct engine_chunk *chunk, uint32_t index, uint32_t head)
{
    const struct engine_pool *pool = chunk->seq->pool;
    uint32_t page = chunk->seq->pages[index], end = chunk->seq->length + chunk->count,
             first = index * ENGINE_PAGE_TOKENS;
    size_t dk = context->model->info.head_dim;
    bool one = context->model->layout.v_is_k;
    struct page_view view = {.halves = pool->type == ENGINE_KV_F16};

    view.count = end - first < ENGINE_PAGE_TOKENS ? end - first : ENGINE_PAGE_TOKENS;
    view.keys = pages_rows(pool, page, layer, 0, head);
    view.values = one ? view.keys : pages_rows(pool, page, layer, 1, head);
    if (view.halves && chunk->count > 1) {
        float *values = one ? context->rows : context->rows + ENGINE_PAGE_TOKENS * dk;

        kernels()->widen(view.keys, context->rows, view.count * dk);
        if (!one) {
            kernels()->widen(view.values, values, view.count * dk);
        }
        view = (struct page_view){context->rows, values, false, view.count};
    }
    return view;
}

/* All queries of a chunk that share one KV head, over one page. */
static void chunk_page(struct engine_context *context, const struct engine_chunk *chunk,
                       size_t first, const struct page_view *view, uint32_t index, uint32_t kv_head)
{
    const struct engine_model_info *info = &context->model->info;
    size_t dk = info->head_dim, group = info->n_head / info->n_head_kv;
    float scale = 1.0f / sqrtf((float)dk);

    for (uint32_t i = 0; i < chunk->count; i++) {
        uint32_t seen = chunk->seq->length + i + 1,
                 start = index * ENGINE_PAGE_TOKENS; /* causal: rows 0 .. seen-1 */
        size_t t = first + i;

        if (seen <= start) {
            continue;
        }
        for (size_t head = kv_head * group; head < (kv_head + 1) * group; head++) {
            query_page(view, seen - start < view->count ? seen - start : view->count,
                       context->projected + t * context->model->layout.width + head * dk, scale, dk,
                       context->state + (t * info->n_head + head) * 2,
                       context->mixed + t * info->n_embd + head * dk);
        }
    }
}

static void chunk_attend(struct engine_context *context, uint32_t layer,
                         const struct engine_chunk *chunk, size_t first)
{
    const struct engine_model_info *info = &context->model->info;
    uint32_t pages =
        (chunk->seq->length + chunk->count + ENGINE_PAGE_TOKENS - 1) / ENGINE_PAGE_TOKENS;
    size_t heads = (size_t)chunk->count * info->n_head, dk = info->head_dim;
    float *state = context->state + first * info->n_head * 2,
          *mixed = context->mixed + first * info->n_embd;

    for (size_t i = 0; i < heads; i++) {
        state[2 * i] = -INFINITY;
        state[2 * i + 1] = 0;
    }
    memset(mixed, 0, chunk->count * (size_t)info->n_embd * sizeof(float));
    for (uint32_t head = 0; head < info->n_head_kv; head++) {
        for (uint32_t index = 0; index < pages; index++) {
            struct page_view view = page_look(context, layer, chunk, index, head);

            chunk_page(context, chunk, first, &view, index, head);
        }
    }
    for (size_t i = 0; i < heads; i++) {
        float share = 1.0f / state[2 * i + 1];

        for (size_t j = 0; j < dk; j++) {
            mixed[i * dk + j] *= share;
        }
    }
}

void attention_cached(struct engine_context *context, uint32_t layer, void *user)
{
    const struct attend_chunks *all = user;
    size_t first = 0;

    for (uint32_t i = 0; i < all->count; i++) {
        chunk_store(context, layer, &all->chunks[i], first);
        chunk_attend(context, layer, &all->chunks[i], first);
        first += all->chunks[i].count;
    }
}

/* softmax over n of scale * score + bias, in place. */
static void scores_softmax(float *scores, uint32_t n, float scale, const float *bias)
{
    float highest = -INFINITY, share;

    for (uint32_t i = 0; i < n; i++) {
        scores[i] = scores[i] * scale + (bias ? bias[i] : 0);
        highest = scores[i] > highest ? scores[i] : highest;
    }
    share = 1.0f / kernels()->exp_sum(scores, highest, n);
    for (uint32_t i = 0; i < n; i++) {
        scores[i] *= share;
    }
}

void attention_full(struct engine_context *context, uint32_t layer, void *user)
{
    const struct attend_groups *groups = user;
    const struct engine_model_info *info = &context->model->info;
    const struct projection_layout *layout = &context->model->layout;
    const struct block *block = &context->model->blocks[layer];
    size_t dk = info->head_dim, group = info->n_head / info->n_head_kv, width = layout->width,
           d = info->n_embd;
    float scale = block->position_scale / sqrtf((float)dk);
    uint32_t n = groups->length;

    for (uint32_t sequence = 0; sequence < groups->count; sequence++) {
        const float *lines = context->projected + (size_t)sequence * n * width;
        float *mixed = context->mixed + (size_t)sequence * n * d;

        for (size_t head = 0; head < info->n_head; head++) {
            const float *keys = lines + layout->k_at + head / group * dk,
                        *values = lines + layout->v_at + head / group * dk;

            for (uint32_t row = 0; row < n; row += SCORE_ROWS) {
                uint32_t count = n - row < SCORE_ROWS ? n - row : SCORE_ROWS;

                kernels_gemm_nt(count, n, dk, lines + row * width + head * dk, width, keys, width,
                                context->scores, n);
                for (uint32_t i = 0; i < count; i++) {
                    scores_softmax(context->scores + (size_t)i * n, n, scale, block->position_bias);
                }
                kernels_gemm_nn(count, dk, n, context->scores, n, values, width,
                                mixed + row * d + head * dk, d);
            }
        }
    }
}
