/* logits.c: `tandem-model logits`. Nine digits bring a float back exactly. */
#include "common/base/limits.h"
#include "common/model/tool.h"

#include <math.h>
#include <stdlib.h>

#define CHUNK_TOKENS 512 /* of a decoder's prefill when only the last row is wanted */

static void row_print(FILE *out, const float *row, uint32_t count)
{
    fputc('[', out);
    for (uint32_t i = 0; i < count; i++) {
        if (isfinite(row[i])) {
            fprintf(out, "%s%.9g", i ? "," : "", (double)row[i]);
        } else {
            fprintf(out, "%snull", i ? "," : "");
        }
    }
    fputc(']', out);
}

/* `rows` 0: one array; else an array of arrays. */
static void logits_print(FILE *out, const float *logits, uint32_t rows, uint32_t columns)
{
    fputs("{\"logits\": ", out);
    if (rows == 0) {
        row_print(out, logits, columns);
    } else {
        fputc('[', out);
        for (uint32_t i = 0; i < rows; i++) {
            fputs(i ? ",\n" : "", out);
            row_print(out, logits + (size_t)i * columns, columns);
        }
        fputc(']', out);
    }
    fputs("}\n", out);
}

static int decoder_run(struct tool *tool, const uint32_t *ids, uint32_t count,
                       char error[ENGINE_ERROR_BYTES])
{
    const struct engine_model_info *info = engine_model_info(tool->model);
    const uint32_t chunk = tool->options.all || count < CHUNK_TOKENS ? count : CHUNK_TOKENS;
    const uint32_t pages = (info->n_context + ENGINE_PAGE_TOKENS - 1) / ENGINE_PAGE_TOKENS;
    struct engine_context *context = NULL;
    struct engine_pool *pool = NULL;
    struct engine_seq seq = {0};
    struct engine_chunk all = {
        .seq = &seq, .tokens = ids, .count = count, .want = ENGINE_LOGITS_ALL};
    const float *logits = NULL;
    int rc;

    rc = engine_pool_new(tool->model, ENGINE_KV_F16, info->kv_bytes_per_page * pages, &pool, error);
    if (rc != 0) {
        goto out;
    }
    engine_seq_init(&seq, pool);
    rc = input_context(tool->model, chunk, &context, error);
    if (rc != 0) {
        goto out;
    }
    if (tool->options.all) {
        rc = engine_seq_reserve(&seq, count);
        rc = rc == 0 ? engine_step(context, &all, 1, NULL, &logits) : rc;
    } else {
        rc = input_prefill(context, &seq, ids, count, chunk, &logits);
    }
    if (rc == 0) {
        logits_print(tool->out, logits, tool->options.all ? count : 0, info->n_class);
    } else {
        snprintf(error, ENGINE_ERROR_BYTES, "the tokens could not be run: %s",
                 tandem_error_text(rc));
    }
out:
    engine_context_free(context);
    engine_seq_fini(&seq);
    engine_pool_free(pool);
    return rc;
}

static int encoder_run(struct tool *tool, const uint32_t *ids, uint32_t count,
                       char error[ENGINE_ERROR_BYTES])
{
    struct engine_context *context = NULL;
    const float *logits = NULL;
    int rc = input_context(tool->model, count, &context, error);

    if (rc != 0) {
        return rc;
    }
    rc = engine_encode_tokens(context, ids, count, NULL, &logits);
    if (rc == 0) {
        logits_print(tool->out, logits, count, engine_model_info(tool->model)->n_class);
    } else {
        snprintf(error, ENGINE_ERROR_BYTES, "the tokens could not be run: %s",
                 tandem_error_text(rc));
    }
    engine_context_free(context);
    return rc;
}

static int tokens_run(struct tool *tool, char error[ENGINE_ERROR_BYTES])
{
    const struct engine_model_info *info = engine_model_info(tool->model);
    const bool at_once = tool->options.all || info->architecture == ENGINE_ENCODER;
    const size_t capacity =
        at_once && info->n_context > LIMIT_BATCH_TOKENS ? LIMIT_BATCH_TOKENS : info->n_context;
    uint32_t *ids = calloc(capacity, sizeof *ids);
    size_t count = 0;
    int rc;

    if (!ids) {
        snprintf(error, ENGINE_ERROR_BYTES, "no memory for %zu tokens", capacity);
        return TANDEM_ENOMEM;
    }
    rc = input_tokens(tool->options.tokens, ids, capacity, &count, error);
    if (rc == 0 && engine_is_decoder(info->architecture)) {
        rc = decoder_run(tool, ids, (uint32_t)count, error);
    } else if (rc == 0) {
        rc = encoder_run(tool, ids, (uint32_t)count, error);
    }
    free(ids);
    return rc;
}

static int picture_run(struct tool *tool, char error[ENGINE_ERROR_BYTES])
{
    const struct engine_model_info *info = engine_model_info(tool->model);
    struct engine_context *context = NULL;
    const float *logits = NULL;
    int rc = input_context(tool->model, info->n_context, &context, error);

    if (rc == 0) {
        rc = input_encode_picture(tool->model, context, tool->options.image, &logits, error);
    }
    if (rc == 0) {
        logits_print(tool->out, logits, 0, info->n_class);
    }
    engine_context_free(context);
    return rc;
}

int logits_run(struct tool *tool)
{
    const bool vision = engine_model_info(tool->model)->architecture == ENGINE_VIT;
    char error[ENGINE_ERROR_BYTES] = "";
    int rc;

    if (!tool->options.tokens == !tool->options.image) {
        return tool_say(tool, TOOL_WRONG_USE, "logits needs either --tokens or --image");
    }
    if (vision != (tool->options.image != NULL)) {
        return tool_say(tool, TOOL_FAILED, "%s: this model takes %s", tool->options.file,
                        vision ? "--image" : "--tokens");
    }
    rc = vision ? picture_run(tool, error) : tokens_run(tool, error);
    return rc == 0 ? TOOL_DONE : tool_say(tool, TOOL_FAILED, "%s", error);
}
