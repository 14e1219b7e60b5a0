/* examples.h: lists of examples with their truths: a line is an input, one tab and the truth; empty
 * lines are passed over. One thread. */
#ifndef TANDEM_MODEL_EXAMPLES_H
#define TANDEM_MODEL_EXAMPLES_H

#include "common/engine/engine.h"

#include <stdio.h>

#define EXAMPLE_PATH_BYTES 4096

/* One line; both texts live for the call, `truth` may be NULL where lists without are taken. 0, or
 * TANDEM_E* with a line in `error`. */
typedef int (*example_fn)(const char *input, const char *truth, void *user,
                          char error[ENGINE_ERROR_BYTES]);

/* Calls `on_example` with each example of the list at `path`, in order, until one fails; shows
 * progress in `notes` where that is a terminal. TANDEM_EFORMAT for what is no list and for one
 * without examples, TANDEM_EIO, ETOOBIG, ENOMEM, with a line that names the list and the line's
 * number. `may_lack_truths`: a line may be an input alone. */
int examples_each(const char *path, bool may_lack_truths, FILE *notes, example_fn on_example,
                  void *user, char error[ENGINE_ERROR_BYTES]);
/* A class by its name, or by its number where the model has no such name. TANDEM_EINVAL with a
 * line. */
int example_class(const struct engine_model_info *info, const char *word, uint32_t *ret_class,
                  char error[ENGINE_ERROR_BYTES]);
/* Where a picture of the list at `list` is: taken from the list's folder. TANDEM_ETOOBIG with a
 * line. */
int example_path(const char *list, const char *picture, char ret_path[EXAMPLE_PATH_BYTES],
                 char error[ENGINE_ERROR_BYTES]);
/* Runs the model on a picture of the list at `list`: its path is taken from the list's folder.
 * *ret_logits [n_class] lives in `context`. */
int example_picture(struct engine_model *model, struct engine_context *context, const char *list,
                    const char *picture, const float **ret_logits, char error[ENGINE_ERROR_BYTES]);

#endif
