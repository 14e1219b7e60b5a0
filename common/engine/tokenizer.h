/* tokenizer.h: text to ids and back, from a model file's own metadata (FORMAT.md, "Tokenizers").
 *
 * A tokenizer is built once by model.c, belongs to the model and is immutable from then on: any
 * thread may use it, two at the same time. The scratch of one call is taken from the heap and given
 * back before it returns. The public functions (engine_tokenize and its kin) are thin: they find
 * the model's tokenizer and call these. */
#ifndef TANDEM_ENGINE_TOKENIZER_H
#define TANDEM_ENGINE_TOKENIZER_H

#include "common/engine/engine.h"

struct gguf;
struct tokenizer;

/* Reads and checks the tokenizer of `gguf` (borrowed for the call; every text is copied). `n_vocab`
 * is V: the file may name fewer tokens, never more, and no id of the metadata may reach V. A file
 * without `tokenizer.ggml.model` gives 0 and NULL. TANDEM_EFORMAT, EUNSUPPORTED, ETOOBIG, ENOMEM
 * with one line in `error`. *returns owned*. */
int tokenizer_load(const struct gguf *gguf, uint32_t n_vocab, struct tokenizer **ret_tokenizer,
                   char error[ENGINE_ERROR_BYTES]);
void tokenizer_free(struct tokenizer *tokenizer); /* NULL is fine */

/* The contracts of engine_tokenize, engine_tokenize_prompt, engine_detokenize and
 * engine_is_end_token and engine_bos_token. */
int tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t text_bytes,
                     uint32_t *ids, size_t capacity, size_t *ret_count,
                     char error[ENGINE_ERROR_BYTES]);
int tokenizer_encode_prompt(const struct tokenizer *tokenizer, const char *text, size_t text_bytes,
                            uint32_t *ids, size_t capacity, size_t *ret_count,
                            char error[ENGINE_ERROR_BYTES]);
int tokenizer_decode(const struct tokenizer *tokenizer, uint32_t id, bool first, struct buf *out);
bool tokenizer_is_end(const struct tokenizer *tokenizer, uint32_t id);
bool tokenizer_bos(const struct tokenizer *tokenizer, uint32_t *ret_id);

/* Whether it is of the kind `llama`, which has keys of its own. NULL is not. */
bool tokenizer_is_scored(const struct tokenizer *tokenizer);

#endif
