#include "common/base/names.h"

#include "common/base/limits.h"

#include <string.h>

bool name_is_valid(const char *name)
{
    return name && name_is_valid_n(name, strlen(name));
}

bool name_is_valid_n(const char *name, size_t bytes)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

    if (bytes == 0 || bytes > LIMIT_NAME_BYTES || name[0] == '.') {
        return false; /* a leading dot would be a hidden file, or worse, ".." */
    }
    for (size_t i = 0; i < bytes; i++) {
        if (!memchr(allowed, name[i], sizeof(allowed) - 1)) {
            return false;
        }
    }
    return true;
}
