#include "common/model/generate.h"

#include "common/model/tool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_TOKENS 512

static uint32_t chunk_tokens(const struct engine_model_info *info)
{
    return info->n_context < CHUNK_TOKENS ? info->n_context : CHUNK_TOKENS;
}

int generate_init(struct generate *generate, struct engine_model *model,
                  const struct engine_sampling *sampling, char error[ENGINE_ERROR_BYTES])
{
    const struct engine_model_info *info = engine_model_info(model);
    const uint32_t pages = (info->n_context + ENGINE_PAGE_TOKENS - 1) / ENGINE_PAGE_TOKENS;
    int rc;

    *generate = (struct generate){.model = model};
    buf_init(&generate->text, 0);
    engine_sampler_init(&generate->sampler, sampling);
    generate->ids = calloc(info->n_context, sizeof *generate->ids);
    generate->scratch = calloc(info->n_vocab, 8);
    if (!generate->ids || !generate->scratch) {
        snprintf(error, ENGINE_ERROR_BYTES, "no memory");
        return TANDEM_ENOMEM;
    }
    rc = engine_pool_new(model, ENGINE_KV_F16, info->kv_bytes_per_page * pages, &generate->pool,
                         error);
    if (rc == 0) {
        engine_seq_init(&generate->seq, generate->pool);
        rc = input_context(model, chunk_tokens(info), &generate->context, error);
    }
    return rc;
}

void generate_fini(struct generate *generate)
{
    engine_context_free(generate->context);
    engine_seq_fini(&generate->seq);
    engine_pool_free(generate->pool);
    free(generate->ids);
    free(generate->scratch);
    buf_fini(&generate->text);
}

int generate_prompt(struct generate *generate, const char *prompt, size_t *ret_count,
                    const float **ret_logits, char error[ENGINE_ERROR_BYTES])
{
    const struct engine_model_info *info = engine_model_info(generate->model);
    size_t count = 0;
    int rc;

    engine_seq_fini(&generate->seq);
    engine_seq_init(&generate->seq, generate->pool);
    rc = engine_tokenize_prompt(generate->model, prompt, strlen(prompt), generate->ids,
                                info->n_context, &count, error);
    if (rc != 0) {
        if (rc == TANDEM_ETOOBIG) {
            snprintf(error, ENGINE_ERROR_BYTES,
                     "the prompt has %zu tokens, the model takes at most %u", count,
                     info->n_context);
        }
        return rc;
    }
    if (count == 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "an empty prompt");
        return TANDEM_EINVAL;
    }
    rc = input_prefill(generate->context, &generate->seq, generate->ids, count, chunk_tokens(info),
                       ret_logits);
    if (rc != 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "the prompt could not be run: %s",
                 tandem_error_text(rc));
    }
    *ret_count = count;
    return rc;
}

/* Feeds `id` and gives the row after it. */
static int token_feed(struct generate *generate, uint32_t id, const float **ret_logits)
{
    struct engine_chunk chunk = {
        .seq = &generate->seq, .tokens = &id, .count = 1, .want = ENGINE_LOGITS_LAST};
    const int rc = engine_seq_reserve(&generate->seq, 1);

    return rc == 0 ? engine_step(generate->context, &chunk, 1, NULL, ret_logits) : rc;
}

int generate_answer(struct generate *generate, const float *logits, uint64_t max_tokens,
                    generate_text_fn on_text, void *user, struct generated *ret_generated,
                    char error[ENGINE_ERROR_BYTES])
{
    const struct engine_model_info *info = engine_model_info(generate->model);
    struct generated made = {0};
    int rc = 0;

    while (rc == 0 && made.tokens < max_tokens) {
        float logprob = 0;
        const uint32_t id =
            engine_sample(&generate->sampler, logits, info->n_vocab, generate->scratch, &logprob);

        made.logprob += fmin((double)logprob, 0); /* rounding */
        if (engine_is_end_token(generate->model, id)) {
            break;
        }
        buf_clear(&generate->text);
        rc = engine_detokenize(generate->model, id, made.tokens == 0, &generate->text);
        if (rc != 0) {
            break;
        }
        if (generate->text.bytes > 0) { /* a control token has no text */
            on_text(generate->text.data, generate->text.bytes, user);
        }
        made.tokens++;
        if (made.tokens == max_tokens || generate->seq.length == info->n_context) {
            break;
        }
        rc = token_feed(generate, id, &logits);
    }
    if (rc != 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "the model could not go on: %s", tandem_error_text(rc));
    }
    *ret_generated = made;
    return rc;
}
