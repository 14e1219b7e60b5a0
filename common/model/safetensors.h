/* safetensors.h: checkpoints in .safetensors files: a JSON header that says where each tensor lies,
 * then their bytes. */
#ifndef TANDEM_MODEL_SAFETENSORS_H
#define TANDEM_MODEL_SAFETENSORS_H

#include "common/model/source.h"

/* Whether `path` is one: a folder that holds one, a file of this name, or an index of several. */
bool safetensors_is(const char *path);
/* Fills `source` with the tensors of a file, of all files of an index
 * (model.safetensors.index.json) or of what a folder holds. config.json beside them becomes
 * source->config, a tokenizer beside them source->tokenizer. TANDEM_E* with a line. */
int safetensors_load(struct source *source, const char *path, char error[ENGINE_ERROR_BYTES]);

#endif
