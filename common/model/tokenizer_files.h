/* tokenizer_files.h: a tokenizer from the files that lie beside checkpoints: vocab.json with
 * merges.txt, or tokenizer.json. */
#ifndef TANDEM_MODEL_TOKENIZER_FILES_H
#define TANDEM_MODEL_TOKENIZER_FILES_H

#include "common/model/convert.h"

/* Puts the pairs of options->tokenizer into the target (nothing without one). `vocabulary` is how
 * many rows the token table has; it may have more than the tokenizer knows. TANDEM_E* with a line
 * that names file and entry. */
int tokenizer_files_put(const struct convert *convert, uint32_t vocabulary);

#endif
