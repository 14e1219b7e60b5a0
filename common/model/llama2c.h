/* llama2c.h: the weight files of llama2.c (its first layout: seven numbers and then float32), and
 * the tokenizer files that go with them. */
#ifndef TANDEM_MODEL_LLAMA2C_H
#define TANDEM_MODEL_LLAMA2C_H

#include "common/model/convert.h"

/* Fills `source` with the tensors under Hugging Face's names and a configuration. TANDEM_ENOTFOUND
 * when the file is none of these: the seven numbers do not fit its size exactly. */
int llama2c_load(struct source *source, const char *path, char error[ENGINE_ERROR_BYTES]);
/* Puts the pairs of the tokenizer file options->tokenizer into the target (nothing without one);
 * it has `vocabulary` tokens. TANDEM_E* with a line. */
int llama2c_tokenizer_put(const struct convert *convert, uint32_t vocabulary);

#endif
