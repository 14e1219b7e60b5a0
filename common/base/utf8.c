#include "common/base/utf8.h"

#include <stdint.h>

/* Bytes of the character that begins with `lead`; 1 for what begins none. */
static size_t character_bytes(uint8_t lead)
{
    if (lead >= 0xc2 && lead <= 0xdf) {
        return 2;
    }
    if (lead >= 0xe0 && lead <= 0xef) {
        return 3;
    }
    return lead >= 0xf0 && lead <= 0xf4 ? 4 : 1;
}

size_t utf8_whole_bytes(const void *text, size_t bytes)
{
    const uint8_t *at = text;
    size_t back = 1;

    if (bytes == 0) {
        return 0;
    }
    while (back < 4 && back < bytes && (at[bytes - back] & 0xc0) == 0x80) {
        back++;
    }
    return character_bytes(at[bytes - back]) > back ? bytes - back : bytes;
}
