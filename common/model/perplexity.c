/* perplexity.c: `tandem-model perplexity FILE TEXT`: how surprised a decoder is by a text. The
 * definition is llama.cpp's: the text's tokens are cut into chunks of --ctx, every chunk starts
 * from nothing (with BOS in place of its first token when the file says so), and the tokens of its
 * second half are scored: exp of the mean of -log p. */
#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/model/progress.h"
#include "common/model/tool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CTX_DEFAULT      512
#define STEP_TOKENS      2048         /* of all chunks that run together */
#define LOGITS_MAX_BYTES (256u << 20) /* of one step's rows */

struct scoring {
    struct engine_model *model;
    struct engine_pool *pool;
    struct engine_context *context;
    uint32_t *ids; /* [count] of the text; BOS is put over a chunk's first */
    size_t count;
    uint32_t ctx, first;     /* tokens of a chunk; the first position whose next token is scored */
    uint32_t together;       /* chunks at once */
    uint32_t piece;          /* positions of each of them in one step */
    struct engine_seq *seqs; /* [together] */
    struct engine_chunk *chunks; /* [together] */
    double sum;                  /* of -log p */
    uint64_t scored;
};

/* -log of the softmax probability of `id`. */
static double surprise(const float *logits, uint32_t n, uint32_t id)
{
    float highest = logits[0];
    double sum = 0;

    for (uint32_t i = 1; i < n; i++) {
        highest = logits[i] > highest ? logits[i] : highest;
    }
    for (uint32_t i = 0; i < n; i++) {
        sum += (double)expf(logits[i] - highest);
    }
    return log(sum) - ((double)logits[id] - (double)highest);
}

/* Rows of one chunk's positions at .. at + count - 1: each scores the token after it. */
static void rows_score(struct scoring *scoring, const float *logits, const uint32_t *ids,
                       uint32_t at, uint32_t count)
{
    const uint32_t n = engine_model_info(scoring->model)->n_vocab;

    for (uint32_t i = 0; i < count && at + i + 1 < scoring->ctx; i++) {
        scoring->sum += surprise(logits + (size_t)i * n, n, ids[at + i + 1]);
        scoring->scored++;
    }
}

/* Chunks from .. from + count - 1 of the text, side by side. */
static int chunks_run(struct scoring *scoring, size_t from, uint32_t count)
{
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        engine_seq_init(&scoring->seqs[i], scoring->pool);
        rc = engine_seq_reserve(&scoring->seqs[i], scoring->ctx);
    }
    for (uint32_t at = 0, here; rc == 0 && at < scoring->ctx; at += here) {
        const bool wanted = at >= scoring->first;
        const uint32_t end = wanted ? scoring->ctx : scoring->first;
        const float *logits = NULL;

        here = end - at < scoring->piece ? end - at : scoring->piece;
        for (uint32_t i = 0; i < count; i++) {
            scoring->chunks[i] = (struct engine_chunk){
                .seq = &scoring->seqs[i],
                .tokens = scoring->ids + (from + i) * scoring->ctx + at,
                .count = here,
                .want = wanted ? ENGINE_LOGITS_ALL : ENGINE_LOGITS_NONE,
            };
        }
        rc = engine_step(scoring->context, scoring->chunks, count, NULL, &logits);
        for (uint32_t i = 0; rc == 0 && wanted && i < count; i++) {
            rows_score(scoring,
                       logits + (size_t)scoring->chunks[i].ret_row *
                                    engine_model_info(scoring->model)->n_vocab,
                       scoring->ids + (from + i) * scoring->ctx, at, here);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        engine_seq_fini(&scoring->seqs[i]);
    }
    return rc;
}

/* How many chunks run together and how far in one step, so that a step is large and its rows of
 * logits stay within LOGITS_MAX_BYTES. */
static void sizes_choose(struct scoring *scoring)
{
    const uint32_t n = engine_model_info(scoring->model)->n_vocab;
    const size_t chunks = scoring->count / scoring->ctx;
    const uint32_t rows = LOGITS_MAX_BYTES / ((uint32_t)sizeof(float) * n);
    const uint32_t tokens = rows < STEP_TOKENS ? (rows ? rows : 1) : STEP_TOKENS;

    scoring->together = tokens / scoring->ctx ? tokens / scoring->ctx : 1;
    if (scoring->together > LIMIT_BATCH_SEQUENCES) {
        scoring->together = LIMIT_BATCH_SEQUENCES;
    }
    if (scoring->together > chunks) {
        scoring->together = (uint32_t)chunks;
    }
    scoring->piece = tokens / scoring->together;
    scoring->piece = scoring->piece < scoring->ctx ? scoring->piece : scoring->ctx;
}

static int scoring_init(struct scoring *scoring, char error[ENGINE_ERROR_BYTES])
{
    const struct engine_model_info *info = engine_model_info(scoring->model);
    uint64_t pages, whole = (info->n_context + ENGINE_PAGE_TOKENS - 1) / ENGINE_PAGE_TOKENS;
    int rc;

    sizes_choose(scoring);
    pages = (uint64_t)scoring->together *
            ((scoring->ctx + ENGINE_PAGE_TOKENS - 1) / ENGINE_PAGE_TOKENS);
    pages = pages > whole ? pages : whole; /* a pool holds one whole context at least */
    scoring->first = scoring->ctx / 2;
    scoring->seqs = calloc(scoring->together, sizeof(*scoring->seqs));
    scoring->chunks = calloc(scoring->together, sizeof(*scoring->chunks));
    if (!scoring->seqs || !scoring->chunks) {
        snprintf(error, ENGINE_ERROR_BYTES, "no memory");
        return TANDEM_ENOMEM;
    }
    rc = engine_pool_new(scoring->model, ENGINE_KV_F16, info->kv_bytes_per_page * pages,
                         &scoring->pool, error);
    return rc ? rc
              : input_context_many(scoring->model, scoring->together * scoring->piece,
                                   scoring->together, &scoring->context, error);
}

static int text_score(struct scoring *scoring, FILE *notes, char error[ENGINE_ERROR_BYTES])
{
    const size_t chunks = scoring->count / scoring->ctx;
    struct progress progress;
    const progress_fn show = progress_begin(&progress, notes, "chunks", 1);
    int rc = 0;

    for (size_t at = 0; rc == 0 && at < chunks; at += scoring->together) {
        const size_t left = chunks - at;
        const uint32_t count = left < scoring->together ? (uint32_t)left : scoring->together;

        rc = chunks_run(scoring, at, count);
        if (rc == 0 && show) {
            show(at + count, chunks, &progress);
        }
    }
    if (rc != 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "the text could not be run: %s", tandem_error_text(rc));
    }
    return rc;
}

/* The tokens of the file at `path`, after BOS when the model wants one. */
static int text_tokens(struct scoring *scoring, const char *path, char error[ENGINE_ERROR_BYTES])
{
    uint32_t bos = 0;
    const bool has_bos = engine_bos_token(scoring->model, &bos);
    struct buf text;
    size_t count = 0;
    int rc;

    buf_init(&text, LIMIT_TEXT_FILE_BYTES);
    rc = input_file(path, LIMIT_TEXT_FILE_BYTES, &text, error);
    if (rc != 0) {
        goto out;
    }
    rc = TANDEM_ENOMEM;
    snprintf(error, ENGINE_ERROR_BYTES, "no memory for the tokens of %.300s", path);
    /* no tokenizer here makes more tokens than bytes, and one to spare */
    scoring->ids = calloc(text.bytes + 2, sizeof(*scoring->ids));
    if (!scoring->ids) {
        goto out;
    }
    scoring->ids[0] = bos;
    rc = engine_tokenize(scoring->model, (const char *)text.data, text.bytes,
                         scoring->ids + has_bos, text.bytes + 1, &count, error);
    scoring->count = count + has_bos;
    for (size_t at = 0; rc == 0 && has_bos && at < scoring->count; at += scoring->ctx) {
        scoring->ids[at] = bos;
    }
out:
    buf_fini(&text);
    return rc;
}

static int scoring_run(struct tool *tool, struct scoring *scoring, char error[ENGINE_ERROR_BYTES])
{
    const int64_t start_ns = clock_now_ns();
    double seconds;
    int rc = text_tokens(scoring, tool->options.text, error);

    if (rc != 0) {
        return rc;
    }
    if (scoring->count < scoring->ctx) {
        snprintf(error, ENGINE_ERROR_BYTES,
                 "%.300s is %zu tokens; at least one chunk of %u is needed (--ctx)",
                 tool->options.text, scoring->count, scoring->ctx);
        return TANDEM_EINVAL;
    }
    rc = scoring_init(scoring, error);
    rc = rc ? rc : text_score(scoring, tool->notes, error);
    if (rc == 0 && !isfinite(scoring->sum)) {
        snprintf(error, ENGINE_ERROR_BYTES, "the model's outputs are not numbers");
        rc = TANDEM_EINVAL;
    }
    if (rc != 0) {
        return rc;
    }
    seconds = (double)(clock_now_ns() - start_ns) / 1e9;
    fprintf(tool->notes, "%zu tokens, %zu chunks of %u, %llu scored; %.0f tokens/s\n",
            scoring->count, scoring->count / scoring->ctx, scoring->ctx,
            (unsigned long long)scoring->scored,
            (double)(scoring->count / scoring->ctx * scoring->ctx) / seconds);
    fprintf(tool->out, "perplexity: %.6f\n", exp(scoring->sum / (double)scoring->scored));
    return 0;
}

int perplexity_run(struct tool *tool)
{
    const struct engine_model_info *info = engine_model_info(tool->model);
    const uint32_t most = info->n_context < STEP_TOKENS ? info->n_context : STEP_TOKENS;
    struct scoring scoring = {.model = tool->model, .ctx = (uint32_t)tool->options.ctx};
    char error[ENGINE_ERROR_BYTES] = "";
    int rc;

    if (info->kv_tensors_per_layer == 0) {
        return tool_say(tool, TOOL_FAILED, "%s: an encoder has no perplexity; a decoder has",
                        tool->options.file);
    }
    if (scoring.ctx == 0) {
        scoring.ctx = most < CTX_DEFAULT ? most : CTX_DEFAULT;
    }
    if (scoring.ctx < 4 || scoring.ctx > info->n_context) {
        return tool_say(tool, TOOL_FAILED, "--ctx: a chunk of %s has 4 to %u tokens",
                        tool->options.file, info->n_context);
    }
    rc = scoring_run(tool, &scoring, error);
    engine_context_free(scoring.context);
    engine_pool_free(scoring.pool);
    free(scoring.seqs);
    free(scoring.chunks);
    free(scoring.ids);
    return rc == 0 ? TOOL_DONE : tool_say(tool, TOOL_FAILED, "%s", error);
}
