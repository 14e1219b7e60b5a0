/* pt.h: PyTorch checkpoints (the zip files of torch.save). */
#ifndef TANDEM_MODEL_PT_H
#define TANDEM_MODEL_PT_H

#include "common/model/source.h"

/* Fills `source` with the tensors of a state dictionary: the whole pickle, or its
 * `model_state_dict`, `state_dict` or `model`. `module.` and `_orig_mod.` in front of names go.
 * What `model_config`, `config` or `model_args` says (numbers, texts, flags) becomes
 * source->config, with `variant` and `model` of the dictionary itself. TANDEM_E* with a line. */
int pt_load(struct source *source, const char *path, char error[ENGINE_ERROR_BYTES]);

#endif
