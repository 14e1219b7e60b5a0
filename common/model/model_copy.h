/* model_copy.h: what one model file says, into another one that is written. One thread. */
#ifndef TANDEM_MODEL_MODEL_COPY_H
#define TANDEM_MODEL_MODEL_COPY_H

#include "common/model/target.h"

/* Copies the pairs byte for byte, but those whose key is one of `left_out` (NULL ends them). */
void model_copy_pairs(const struct engine_file *file, const char *const *left_out,
                      struct gguf_writer *writer);
/* A tensor of the target for each of the file, in its order and of its type, whose data
 * target_write copies. The file is borrowed until then. TANDEM_EUNSUPPORTED, ENOMEM with a line. */
int model_copy_tensors(const struct engine_file *file, struct target *target,
                       char error[ENGINE_ERROR_BYTES]);

#endif
