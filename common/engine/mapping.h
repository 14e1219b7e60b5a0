/* mapping.h: a file mapped for reading that survives being cut short underneath.
 *
 * A read past the new end of a shortened file raises SIGBUS. The first mapping installs a handler
 * for it, process-wide, because a signal has no other owner: a fault inside one of our mappings
 * puts a page of zeros in place and marks the mapping as truncated, and the reader goes on; whoever
 * runs on the bytes asks mapping_truncated before it believes a result. Any other SIGBUS goes to
 * the handler that was there before. Any thread may open, read and close. */
#ifndef TANDEM_ENGINE_MAPPING_H
#define TANDEM_ENGINE_MAPPING_H

#include "common/engine/engine.h"

struct mapping; /* opaque */

/* TANDEM_EIO, EFORMAT (empty or not a plain file), ETOOBIG (LIMIT_MODEL_FILE_BYTES), ENOMEM
 * (memory, or LIMIT_MODEL_MAPPINGS are open). *returns owned*. */
int mapping_open(const char *path, struct mapping **ret_mapping, char error[ENGINE_ERROR_BYTES]);
void mapping_close(struct mapping *mapping); /* NULL is fine */

const uint8_t *mapping_data(const struct mapping *mapping);
size_t mapping_bytes(const struct mapping *mapping);
/* Whether the file is, or was at any read until now, shorter than when it was opened. One fstat. */
bool mapping_truncated(const struct mapping *mapping);

#endif
