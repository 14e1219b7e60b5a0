/* names.h: which names tasks, edges, tenants and sessions may have. They become file names, log
 * words and JSON values, so they are plain. Pure. */
#ifndef TANDEM_BASE_NAMES_H
#define TANDEM_BASE_NAMES_H

#include <stdbool.h>
#include <stddef.h>

/* 1 to LIMIT_NAME_BYTES bytes of [A-Za-z0-9._-], not beginning with a dot. NULL is not valid. */
bool name_is_valid(const char *name);
/* The same for a name of `bytes` bytes that need not end in NUL. */
bool name_is_valid_n(const char *name, size_t bytes);

#endif
