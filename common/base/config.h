/* config.h: one table describes every key of a file: section, key, type, default, bounds, unit,
 * help. The table parses (inih), checks, prints the effective configuration and writes the
 * annotated example, so these four can never disagree. Every error is one line "FILE:LINE:
 * [section] key: what is wrong". Loop thread or start-up only. */
#ifndef TANDEM_BASE_CONFIG_H
#define TANDEM_BASE_CONFIG_H

#include "common/base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum config_type {
    CONFIG_TEXT,   /* char *, owned by the target struct */
    CONFIG_BOOL,   /* bool: yes/no/true/false/on/off/1/0 */
    CONFIG_INT,    /* int64_t, bounds in min/max */
    CONFIG_BYTES,  /* int64_t, takes K, M, G suffixes (1024) */
    CONFIG_DOUBLE, /* double, bounds in min/max */
    CONFIG_CHOICE, /* int: index into `choices` */
    CONFIG_LIST,   /* char *, comma separated words kept as given; the owner splits */
};

struct config_key {
    const char
        *section; /* "server"; for repeated sections the first word: "edge" matches [edge NAME] */
    const char *key;
    enum config_type type;
    size_t offset; /* into the target struct (or into the struct of the repeated section) */
    const char *default_text; /* parsed like a file's value; NULL: required; "": empty */
    double min,
        max; /* CONFIG_INT, CONFIG_BYTES, CONFIG_DOUBLE; min == max == 0: no bound but the type's */
    const char *unit;           /* "ms", "bytes", "" */
    const char *help;           /* one line */
    const char *const *choices; /* CONFIG_CHOICE: NULL-terminated words */
};

/* A key of [tls], which both daemons have: `name` is cert, key or ca, and a text of `target`. */
#define CONFIG_TLS_KEY(target, name, help_text)                                                    \
    {                                                                                              \
        .section = "tls", .key = #name, .type = CONFIG_TEXT,                                       \
        .offset = offsetof(target, tls_##name), .default_text = "", .help = (help_text)            \
    }

/* A section that may stand several times with a name: [edge NAME]. The owner supplies the array. */
struct config_repeated {
    const char *section;
    size_t item_bytes;   /* one item; its first member must be `char *name` (owned) */
    size_t offset_items; /* in the target: `struct item *` (grown with realloc, zeroed, defaults
                            filled) */
    size_t offset_count; /* in the target: size_t */
    size_t count_max;
};

struct config_source;

struct config_schema {
    const char
        *title; /* first comment line of the annotated example: "tandem-server configuration" */
    const struct config_key *keys;
    size_t key_count;
    const struct config_repeated *repeated; /* may be NULL */
    size_t repeated_count;
};

#define CONFIG_ERROR_BYTES 512

/* Fills defaults, then reads `path`. `target` must be zeroed. On failure returns TANDEM_ECONFIG (or
 * EIO when the file cannot be read), writes one line to `error` and leaves what was allocated for
 * config_free. Unknown sections and keys, repeated keys, bad values and missing required keys are
 * errors that name the line (missing keys: the section). */
int config_load(const struct config_schema *schema, const char *path, void *target,
                char error[CONFIG_ERROR_BYTES]);
/* The same, and tells where each key stood, also on failure; for config_source_free. */
int config_load_source(const struct config_schema *schema, const char *path, void *target,
                       struct config_source *source, char error[CONFIG_ERROR_BYTES]);
/* The same from memory; `name` stands for the path in messages. */
int config_parse(const struct config_schema *schema, const char *name, const char *text,
                 void *target, char error[CONFIG_ERROR_BYTES]);
/* Frees the texts and repeated items of `target` and zeroes the described members. */
void config_free(const struct config_schema *schema, void *target);
/* Appends the effective configuration, in file syntax. */
int config_print(const struct config_schema *schema, const void *target, struct buf *out);
/* Appends the annotated example file: every key with help, unit, bounds and default, commented out
 * unless required. */
int config_annotate(const struct config_schema *schema, struct buf *out);

#endif
