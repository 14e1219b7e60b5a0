/* run.c: `tandem-model run`: a decoder continues a prompt, a vision model names a picture. */
#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/model/tool.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_TOKENS 512
#define NAMES_SHOWN  5

/* Everything one generation holds. */
struct generation {
    struct engine_pool *pool;
    struct engine_seq seq;
    struct engine_context *context;
    struct engine_sampler sampler;
    uint32_t *ids;   /* [n_context]: the prompt */
    void *scratch;   /* of the sampler */
    struct buf text; /* of one token */
};

static int generation_init(struct generation *generation, const struct tool *tool,
                           char error[ENGINE_ERROR_BYTES])
{
    const struct engine_model_info *info = engine_model_info(tool->model);
    const struct tool_options *options = &tool->options;
    const uint32_t pages = (info->n_context + ENGINE_PAGE_TOKENS - 1) / ENGINE_PAGE_TOKENS;
    const struct engine_sampling params = {(float)options->temperature, (uint32_t)options->top_k,
                                           (float)options->top_p, options->seed};
    int rc;

    buf_init(&generation->text, 0);
    engine_sampler_init(&generation->sampler, &params);
    generation->ids = calloc(info->n_context, sizeof *generation->ids);
    generation->scratch = calloc(info->n_vocab, 8);
    if (!generation->ids || !generation->scratch) {
        snprintf(error, ENGINE_ERROR_BYTES, "no memory");
        return TANDEM_ENOMEM;
    }
    rc = engine_pool_new(tool->model, ENGINE_KV_F16, info->kv_bytes_per_page * pages,
                         &generation->pool, error);
    if (rc == 0) {
        engine_seq_init(&generation->seq, generation->pool);
        rc = input_context(tool->model,
                           info->n_context < CHUNK_TOKENS ? info->n_context : CHUNK_TOKENS,
                           &generation->context, error);
    }
    return rc;
}

static void generation_fini(struct generation *generation)
{
    engine_context_free(generation->context);
    engine_seq_fini(&generation->seq);
    engine_pool_free(generation->pool);
    free(generation->ids);
    free(generation->scratch);
    buf_fini(&generation->text);
}

/* Runs the prompt; *ret_logits is the row after it. */
static int prompt_run(struct generation *generation, const struct tool *tool, const char *prompt,
                      size_t *ret_count, const float **ret_logits, char error[ENGINE_ERROR_BYTES])
{
    const struct engine_model_info *info = engine_model_info(tool->model);
    size_t count = 0;
    int rc;

    rc = engine_tokenize_prompt(tool->model, prompt, strlen(prompt), generation->ids,
                                info->n_context, &count, error);
    if (rc != 0) {
        return rc;
    }
    if (count == 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "an empty prompt");
        return TANDEM_EINVAL;
    }
    rc = input_prefill(generation->context, &generation->seq, generation->ids, count,
                       info->n_context < CHUNK_TOKENS ? info->n_context : CHUNK_TOKENS, ret_logits);
    if (rc != 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "the prompt could not be run: %s",
                 tandem_error_text(rc));
    }
    *ret_count = count;
    return rc;
}

/* Prints tokens as they come until the end token, `max_tokens` or the end of the context. */
static int tokens_run(struct generation *generation, const struct tool *tool, const float *logits,
                      size_t *ret_count, char error[ENGINE_ERROR_BYTES])
{
    const struct engine_model_info *info = engine_model_info(tool->model);
    size_t made = 0;
    int rc = 0;

    while (made < tool->options.max_tokens) {
        uint32_t id =
            engine_sample(&generation->sampler, logits, info->n_vocab, generation->scratch, NULL);
        struct engine_chunk chunk = {
            .seq = &generation->seq, .tokens = &id, .count = 1, .want = ENGINE_LOGITS_LAST};

        if (engine_is_end_token(tool->model, id)) {
            break;
        }
        buf_clear(&generation->text);
        rc = engine_detokenize(tool->model, id, made == 0, &generation->text);
        if (rc != 0) {
            break;
        }
        if (generation->text.bytes > 0) { /* a control token has no text */
            fwrite(generation->text.data, 1, generation->text.bytes, tool->out);
            fflush(tool->out);
        }
        made++;
        if (made == tool->options.max_tokens || generation->seq.length == info->n_context) {
            break;
        }
        rc = engine_seq_reserve(&generation->seq, 1);
        rc = rc == 0 ? engine_step(generation->context, &chunk, 1, NULL, &logits) : rc;
        if (rc != 0) {
            break;
        }
    }
    fputc('\n', tool->out);
    if (rc != 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "the model could not go on: %s", tandem_error_text(rc));
    }
    *ret_count = made;
    return rc;
}

static int decoder_run(struct tool *tool, char error[ENGINE_ERROR_BYTES])
{
    struct generation generation = {0};
    size_t prompt_tokens = 0, made = 0;
    const float *logits = NULL;
    int64_t start_ns, prompt_ns, end_ns;
    int rc;

    rc = generation_init(&generation, tool, error);
    if (rc != 0) {
        goto out;
    }
    start_ns = clock_now_ns();
    rc = prompt_run(&generation, tool, tool->options.prompt, &prompt_tokens, &logits, error);
    prompt_ns = clock_now_ns();
    if (rc == 0) {
        rc = tokens_run(&generation, tool, logits, &made, error);
    }
    end_ns = clock_now_ns();
    if (rc == 0) {
        fprintf(tool->notes, "prompt: %zu tokens in %.1f ms; answer: %zu tokens in %.1f ms\n",
                prompt_tokens, (double)(prompt_ns - start_ns) / 1e6, made,
                (double)(end_ns - prompt_ns) / 1e6);
    }
out:
    generation_fini(&generation);
    return rc;
}

/* The names of the best classes with their probabilities, best first. */
static void names_print(FILE *out, const struct engine_model_info *info, float *scores)
{
    for (uint32_t shown = 0; shown < NAMES_SHOWN && shown < info->n_class; shown++) {
        uint32_t best = 0;

        for (uint32_t i = 1; i < info->n_class; i++) {
            best = scores[i] > scores[best] ? i : best;
        }
        if (info->labels) {
            fprintf(out, "%s %.4f\n", info->labels[best], (double)scores[best]);
        } else {
            fprintf(out, "%u %.4f\n", best, (double)scores[best]);
        }
        scores[best] = -1;
    }
}

static int picture_run(struct tool *tool, char error[ENGINE_ERROR_BYTES])
{
    const struct engine_model_info *info = engine_model_info(tool->model);
    float *scores = calloc(info->n_class, sizeof *scores);
    struct engine_context *context = NULL;
    const float *logits = NULL;
    int rc;

    if (!scores) {
        snprintf(error, ENGINE_ERROR_BYTES, "no memory");
        return TANDEM_ENOMEM;
    }
    rc = input_context(tool->model, info->n_context, &context, error);
    if (rc == 0) {
        rc = input_encode_picture(tool->model, context, tool->options.image, &logits, error);
    }
    if (rc == 0) {
        memcpy(scores, logits, info->n_class * sizeof *scores);
        engine_softmax(scores, info->n_class, info->calibration.temperature);
        names_print(tool->out, info, scores);
    }
    engine_context_free(context);
    free(scores);
    return rc;
}

int run_run(struct tool *tool)
{
    const struct engine_model_info *info = engine_model_info(tool->model);
    char error[ENGINE_ERROR_BYTES] = "";
    int rc;

    if (!tool->options.prompt == !tool->options.image) {
        return tool_say(tool, TOOL_WRONG_USE, "run needs either --prompt or --image");
    }
    if (info->architecture == ENGINE_ENCODER) {
        return tool_say(tool, TOOL_FAILED,
                        "%s: a token encoder has rows of numbers for an answer; see logits",
                        tool->options.file);
    }
    if ((info->architecture == ENGINE_VIT) != (tool->options.image != NULL)) {
        return tool_say(tool, TOOL_FAILED, "%s: this model takes %s", tool->options.file,
                        info->architecture == ENGINE_VIT ? "--image" : "--prompt");
    }
    rc = tool->options.image ? picture_run(tool, error) : decoder_run(tool, error);
    return rc == 0 ? TOOL_DONE : tool_say(tool, TOOL_FAILED, "%s", error);
}
