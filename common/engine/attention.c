/* attention.c: attention over cached pages (decoder) and over plain rows (encoder), for every
 * projection.
 *
 * The cached form is a streaming softmax: for each query a running maximum m, a running sum s of
 * exp(score - m) and the mix so far are carried from page to page, and rescaled when the maximum
 * grows. A page's rows of one head (32 x dk) fit the L1 cache, so with K=V a row comes from memory
 * once and serves the score and the mix.
 *
 * With rotary positions the cache holds turned keys, unless a key is also the value as it stands
 * (K=V, values unrotated): then the one cached row is turned when it is read. Values that are
 * relative to the query are the turned keys, and the mix is turned back at the end. */
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

/* Whether rows are cached as they are and keys turned when they are read. */
static bool turned_at_read(const struct engine_model *model)
{
    return model->rotation.pairs && model->layout.v_is_k && !model->relative_values;
}

/* Turns the query of one token, and its key when the cache is to hold it turned. */
static void line_turn(const struct engine_model *model, float *line, uint32_t position, bool keys)
{
    const struct projection_layout *layout = &model->layout;
    const struct engine_model_info *info = &model->info;

    rotation_turn(&model->rotation, line + layout->q_at, info->n_head, info->head_dim, position,
                  false);
    if (keys && !layout->q_is_k) {
        rotation_turn(&model->rotation, line + layout->k_at, info->n_head_kv, info->head_dim,
                      position, false);
    }
}

/* Writes K (and V, unless it is K) of the chunk's tokens into their pages. */
static void chunk_store(struct engine_context *context, uint32_t layer,
                        const struct engine_chunk *chunk, size_t first)
{
    const struct projection_layout *layout = &context->model->layout;
    const struct engine_model_info *info = &context->model->info;
    const struct engine_pool *pool = chunk->seq->pool;
    const bool turns = context->model->rotation.pairs != 0, late = turned_at_read(context->model);
    size_t dk = info->head_dim;

    for (uint32_t i = 0; i < chunk->count; i++) {
        uint32_t position = chunk->seq->length + i, row = position % ENGINE_PAGE_TOKENS;
        uint32_t page = chunk->seq->pages[position / ENGINE_PAGE_TOKENS];
        float *line = context->projected + (first + i) * layout->width;

        if (turns && !late) {
            line_turn(context->model, line, position, true);
        }
        for (uint32_t head = 0; head < info->n_head_kv; head++) {
            store(pool->type, pages_rows(pool, page, layer, 0, head), row,
                  line + layout->k_at + head * dk, dk);
            if (!layout->v_is_k) {
                store(pool->type, pages_rows(pool, page, layer, 1, head), row,
                      line + layout->v_at + head * dk, dk);
            }
        }
        if (late) {
            line_turn(context->model, line, position, false);
        }
    }
}

/* The queries of one chunk that go through the pages together: tokens from .. to-1 of the chunk and
 * every query head that reads KV head `head`. What one thread does without a word to the others. */
struct query_group {
    struct engine_context *context;
    struct lane *lane;
    const struct engine_chunk *chunk;
    uint32_t layer, head, from, to;
    size_t first; /* row of the chunk's first token */
};

/* Looks at one head of one page. Halves are widened once when several queries will read them, or
 * when keys are still to be turned. */
static struct page_view page_look(const struct query_group *group, uint32_t index, uint32_t end)
{
    const struct engine_chunk *chunk = group->chunk;
    const struct engine_pool *pool = chunk->seq->pool;
    const struct projection_layout *layout = &group->context->model->layout;
    uint32_t page = chunk->seq->pages[index], first = index * ENGINE_PAGE_TOKENS;
    size_t dk = group->context->model->info.head_dim;
    struct page_view view = {.halves = pool->type == ENGINE_KV_F16};

    view.count = end - first < ENGINE_PAGE_TOKENS ? end - first : ENGINE_PAGE_TOKENS;
    view.keys = pages_rows(pool, page, group->layer, 0, group->head);
    view.values = layout->v_is_k ? view.keys : pages_rows(pool, page, group->layer, 1, group->head);
    if (view.halves && (group->to - group->from > 1 || turned_at_read(group->context->model))) {
        float *rows = group->lane->rows,
              *values = layout->v_is_k ? rows : rows + ENGINE_PAGE_TOKENS * dk;

        kernels()->widen(view.keys, rows, view.count * dk);
        if (!layout->v_is_k) {
            kernels()->widen(view.values, values, view.count * dk);
        }
        view = (struct page_view){rows, values, false, view.count};
    }
    if (turned_at_read(group->context->model)) {
        float *turned = group->lane->rows + ENGINE_PAGE_TOKENS * dk;

        rotation_rows(&group->context->model->rotation, view.keys, view.count, dk, turned);
        view.keys = turned;
    }
    return view;
}

/* Every query of the group over one page. */
static void group_page(const struct query_group *group, const struct page_view *view,
                       uint32_t index)
{
    const struct engine_context *context = group->context;
    const struct engine_model_info *info = &context->model->info;
    size_t dk = info->head_dim, shared = info->n_head / info->n_head_kv;
    uint32_t start = index * ENGINE_PAGE_TOKENS;
    const bool late = turned_at_read(context->model);
    float scale = 1.0f / sqrtf((float)dk);

    for (uint32_t i = group->from; i < group->to; i++) {
        uint32_t seen = group->chunk->seq->length + i + 1; /* causal: rows 0 .. seen-1 */
        size_t t = group->first + i;

        if (seen <= start) {
            continue;
        }
        for (size_t head = group->head * shared; head < (group->head + 1) * shared; head++) {
            const float *query = context->projected + t * context->model->layout.width + head * dk;

            if (late) {
                rotation_query(&context->model->rotation, query, dk, index, group->lane->query);
                query = group->lane->query;
            }
            query_page(view, seen - start < view->count ? seen - start : view->count, query, scale,
                       dk, context->state + (t * info->n_head + head) * 2,
                       context->mixed + t * info->n_embd + head * dk);
        }
    }
}

/* Before the first page (`share` false) and after the last one (true): the state of every query of
 * the group. */
static void group_state(const struct query_group *group, bool share)
{
    const struct engine_context *context = group->context;
    const struct engine_model_info *info = &context->model->info;
    size_t dk = info->head_dim, shared = info->n_head / info->n_head_kv;

    for (size_t t = group->first + group->from; t < group->first + group->to; t++) {
        for (size_t head = group->head * shared; head < (group->head + 1) * shared; head++) {
            float *state = context->state + (t * info->n_head + head) * 2,
                  *mixed = context->mixed + t * info->n_embd + head * dk;

            if (!share) {
                state[0] = -INFINITY;
                state[1] = 0;
            }
            for (size_t i = 0; i < dk; i++) {
                mixed[i] = share ? mixed[i] / state[1] : 0;
            }
            if (share && context->model->relative_values) {
                rotation_turn(&context->model->rotation, mixed, 1, dk,
                              group->chunk->seq->length + (uint32_t)(t - group->first), true);
            }
        }
    }
}

static void group_attend(const struct query_group *group)
{
    uint32_t end = group->chunk->seq->length + group->to;

    group_state(group, false);
    for (uint32_t index = 0; index * ENGINE_PAGE_TOKENS < end; index++) {
        struct page_view view = page_look(group, index, end);

        group_page(group, &view, index);
    }
    group_state(group, true);
}

/* ---- all groups of a step ---- */

struct cached_job {
    struct engine_context *context;
    const struct attend_chunks *all;
    uint32_t layer;
};

static size_t chunk_groups(const struct engine_context *context, const struct engine_chunk *chunk)
{
    return (size_t)(chunk->count + QUERY_ROWS - 1) / QUERY_ROWS * context->model->info.n_head_kv;
}

/* Groups from .. to-1 in the order of the chunks. */
static void cached_run(void *user, uint32_t member, size_t from, size_t to)
{
    const struct cached_job *job = user;
    struct engine_context *context = job->context;
    size_t at = 0, first = 0;

    for (uint32_t i = 0; i < job->all->count && at < to; i++) {
        const struct engine_chunk *chunk = &job->all->chunks[i];
        const size_t count = chunk_groups(context, chunk);

        for (size_t j = at < from ? from - at : 0; j < count && at + j < to; j++) {
            const uint32_t row = (uint32_t)(j / context->model->info.n_head_kv) * QUERY_ROWS;
            const struct query_group group = {
                .context = context,
                .lane = &context->lanes[member],
                .chunk = chunk,
                .layer = job->layer,
                .head = (uint32_t)(j % context->model->info.n_head_kv),
                .from = row,
                .to = chunk->count - row < QUERY_ROWS ? chunk->count : row + QUERY_ROWS,
                .first = first,
            };

            group_attend(&group);
        }
        at += count;
        first += chunk->count;
    }
}

void attention_cached(struct engine_context *context, uint32_t layer, void *user)
{
    const struct attend_chunks *all = user;
    struct cached_job job = {context, all, layer};
    size_t first = 0, groups = 0, work = 0;

    for (uint32_t i = 0; i < all->count; i++) {
        const struct engine_chunk *chunk = &all->chunks[i];

        chunk_store(context, layer, chunk, first);
        first += chunk->count;
        groups += chunk_groups(context, chunk);
        work += (size_t)chunk->count * (chunk->seq->length + chunk->count) *
                context->model->info.n_embd * 2;
    }
    team_run(forward_team(context, work), groups, 1, cached_run, &job);
}

/* ---- encoders ---- */

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

struct full_job {
    struct engine_context *context;
    const struct attend_groups *groups;
    uint32_t layer;
};

/* Query rows from `row` of one head of one sequence. */
static void full_rows(const struct full_job *job, struct lane *lane, size_t sequence, size_t head,
                      uint32_t row)
{
    const struct engine_context *context = job->context;
    const struct engine_model_info *info = &context->model->info;
    const struct projection_layout *layout = &context->model->layout;
    const struct block *block = &context->model->blocks[job->layer];
    size_t dk = info->head_dim, group = info->n_head / info->n_head_kv, width = layout->width,
           d = info->n_embd;
    uint32_t n = job->groups->length, count = n - row < SCORE_ROWS ? n - row : SCORE_ROWS;
    const float *lines = context->projected + sequence * n * width;
    const float *keys = lines + layout->k_at + head / group * dk,
                *values = lines + layout->v_at + head / group * dk;

    kernels_gemm_nt(count, n, dk, lines + row * width + head * dk, width, keys, width, lane->scores,
                    n);
    for (uint32_t i = 0; i < count; i++) {
        scores_softmax(lane->scores + (size_t)i * n, n, block->position_scale / sqrtf((float)dk),
                       block->position_bias);
    }
    kernels_gemm_nn(count, dk, n, lane->scores, n, values, width,
                    context->mixed + (sequence * n + row) * d + head * dk, d);
}

static void full_run(void *user, uint32_t member, size_t from, size_t to)
{
    const struct full_job *job = user;
    const size_t heads = job->context->model->info.n_head,
                 blocks = (job->groups->length + SCORE_ROWS - 1) / SCORE_ROWS;

    for (size_t i = from; i < to; i++) {
        full_rows(job, &job->context->lanes[member], i / blocks / heads, i / blocks % heads,
                  (uint32_t)(i % blocks) * SCORE_ROWS);
    }
}

void attention_full(struct engine_context *context, uint32_t layer, void *user)
{
    const struct attend_groups *groups = user;
    const struct engine_model_info *info = &context->model->info;
    struct full_job job = {context, groups, layer};
    const size_t n = groups->length,
                 items = groups->count * (size_t)info->n_head * ((n + SCORE_ROWS - 1) / SCORE_ROWS);

    team_run(forward_team(context, groups->count * n * n * info->n_embd * 2), items, 1, full_run,
             &job);
}
