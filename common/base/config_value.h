/* config_value.h: one value of a configuration table, as text and in its struct. Only config.c and
 * config_print.c use this. */
#ifndef TANDEM_BASE_CONFIG_VALUE_H
#define TANDEM_BASE_CONFIG_VALUE_H

#include "common/base/config.h"

/* Parses `text` as `key` says into `base` + offset, freeing the text that stood there. 0, or
 * TANDEM_ECONFIG with what is wrong in `why` (no file, no key); then nothing changed. */
int config_value_set(const struct config_key *key, const char *text, void *base,
                     char why[CONFIG_ERROR_BYTES]);
/* Frees and zeroes. */
void config_value_clear(const struct config_key *key, void *base);
/* Appends the value as config_value_set would read it. */
int config_value_print(const struct config_key *key, const void *base, struct buf *out);
/* Appends a number without digits that say nothing: bytes with K, M or G where that is exact. */
int config_number_print(enum config_type type, double value, struct buf *out);

#endif
