/* generate.h: one sequence of a decoder, from a prompt to its answer. One thread. */
#ifndef TANDEM_MODEL_GENERATE_H
#define TANDEM_MODEL_GENERATE_H

#include "common/engine/engine.h"

struct generate {
    struct engine_model *model; /* borrowed */
    struct engine_pool *pool;
    struct engine_seq seq;
    struct engine_context *context;
    struct engine_sampler sampler;
    uint32_t *ids;   /* [n_context]: the prompt */
    void *scratch;   /* of the sampler */
    struct buf text; /* of one token */
};

/* Memory for sequences of the model's whole context; end with generate_fini also after an error.
 * Errors here and below: TANDEM_E* with a line. */
int generate_init(struct generate *generate, struct engine_model *model,
                  const struct engine_sampling *sampling, char error[ENGINE_ERROR_BYTES]);
void generate_fini(struct generate *generate); /* a zeroed one is fine */

/* Begins anew with this prompt: *ret_count tokens; *ret_logits is the row after the last. */
int generate_prompt(struct generate *generate, const char *prompt, size_t *ret_count,
                    const float **ret_logits, char error[ENGINE_ERROR_BYTES]);

/* The text of a token as it comes: not of the one that ends the answer. */
typedef void (*generate_text_fn)(const void *text, size_t bytes, void *user);
struct generated {
    size_t tokens;
    double logprob; /* sum over the tokens, the end's too: 0 or less */
};
/* From the logits after a prompt until the end token, `max_tokens` or the end of the context. */
int generate_answer(struct generate *generate, const float *logits, uint64_t max_tokens,
                    generate_text_fn on_text, void *user, struct generated *ret_generated,
                    char error[ENGINE_ERROR_BYTES]);

#endif
