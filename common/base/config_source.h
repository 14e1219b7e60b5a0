/* config_source.h: where in a file each key stood, so that what is found wrong with its values
 * together still names a line. Loop thread or start-up only. */
#ifndef TANDEM_BASE_CONFIG_SOURCE_H
#define TANDEM_BASE_CONFIG_SOURCE_H

#include "common/base/config.h"
#include "common/base/limits.h"

#include <stddef.h>

struct config_place {
    const struct config_key *key;    /* borrowed from the schema */
    char name[LIMIT_NAME_BYTES + 1]; /* of a repeated section; "" for the others */
    int line;
};

/* Zeroed before it is filled. */
struct config_source {
    char *path;
    struct config_place *places; /* in the order of the file */
    size_t count;
};

/* The key stood on this line; `name` "" for a plain section. 0 or TANDEM_ENOMEM. */
int config_source_add(struct config_source *source, const struct config_key *key, const char *name,
                      int line);
void config_source_free(struct config_source *source);
/* The line of the key, 0 when the file does not have it. */
int config_source_line(const struct config_source *source, const char *section, const char *name,
                       const char *key);
/* Writes "FILE:LINE: [section name] key: what" to `error` and returns TANDEM_ECONFIG. `name` "" for
 * a plain section; a key that the file does not have is named without a line, and `key` NULL is the
 * section as a whole. */
int config_wrong(const struct config_source *source, const char *section, const char *name,
                 const char *key, char error[CONFIG_ERROR_BYTES], const char *format, ...)
    __attribute__((format(printf, 6, 7)));
/* What [tls] says: all three, or none. 0, or TANDEM_ECONFIG with one line in `error`. */
int config_tls_check(const struct config_source *source, const char *cert, const char *key,
                     const char *ca, char error[CONFIG_ERROR_BYTES]);

#endif
