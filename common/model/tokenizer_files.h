/* tokenizer_files.h: a tokenizer from the files that lie beside checkpoints: vocab.json with
 * merges.txt, tokenizer.json, or SentencePiece's tokenizer.model. */
#ifndef TANDEM_MODEL_TOKENIZER_FILES_H
#define TANDEM_MODEL_TOKENIZER_FILES_H

#include "common/model/convert.h"

/* Puts the pairs of options->tokenizer into the target (nothing without one). `vocabulary` is how
 * many rows the token table has; it may have more than the tokenizer knows. TANDEM_E* with a line
 * that names file and entry. */
int tokenizer_files_put(const struct convert *convert, uint32_t vocabulary);

/* tokenizer_model.c: the pairs of a SentencePiece model (BPE pieces; texts are not changed before
 * they are cut) of at most `vocabulary` pieces. TANDEM_EFORMAT, EUNSUPPORTED, ENOMEM with a line.
 */
int tokenizer_model_put(const struct convert *convert, const void *data, size_t bytes,
                        uint32_t vocabulary);

struct cJSON;

/* tokenizer_pieces.c: the pairs of a tokenizer.json whose model falls back to bytes, as scored
 * pieces. `types` [count] are 1 or 3 and become those of this kind. TANDEM_EFORMAT, ENOMEM. */
int tokenizer_pieces_put(const struct convert *convert, const struct cJSON *json,
                         const char *const *tokens, int32_t *types, uint32_t count,
                         const char *const *merges, size_t merge_count);

#endif
