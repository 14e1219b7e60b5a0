/* examples_once.h: which inputs of a list were there before, so that each counts once: what is
 * fitted to an input and then measured on the same is no measure. One thread. */
#ifndef TANDEM_MODEL_EXAMPLES_ONCE_H
#define TANDEM_MODEL_EXAMPLES_ONCE_H

#include "common/base/buf.h"

#include <stdbool.h>
#include <stddef.h>

struct examples_once {
    struct buf seen; /* struct example_seen, in order */
    size_t repeated; /* inputs that were there before */
};

void examples_once_init(struct examples_once *once);
void examples_once_fini(struct examples_once *once);
/* *ret_news: whether this content is new. TANDEM_EINVAL when it was there with another truth,
 * TANDEM_ENOMEM. */
int examples_once_take(struct examples_once *once, const void *content, size_t bytes,
                       const char *truth, bool *ret_news);

#endif
