/* utf8.h: where a text that comes in pieces may be cut. Pure. */
#ifndef TANDEM_BASE_UTF8_H
#define TANDEM_BASE_UTF8_H

#include <stddef.h>

/* How many of `bytes` can be shown without cutting a UTF-8 character in two: all of them, but for
 * the beginning of a character (at most 3 bytes) at the end. What is not UTF-8 passes as it is. */
size_t utf8_whole_bytes(const void *text, size_t bytes);

#endif
