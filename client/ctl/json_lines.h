/* json_lines.h: JSON objects from a file, one a line, read as they are needed. What is no object is
 * counted and passed over. A decision comes with what later lines tell of it (amendment.h); those
 * lines do not come by themselves. So a file is read twice, and what cannot be is copied into a
 * temporary one first. One thread. */
#ifndef TANDEM_CTL_JSON_LINES_H
#define TANDEM_CTL_JSON_LINES_H

#include "client/policy/amendment.h"

#include <cjson/cJSON.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct json_lines {
    FILE *file;
    const char *name; /* borrowed, for messages */
    char *line;
    size_t capacity;
    uint64_t number, bad; /* lines so far; of them those that are no object */
    struct amendments amendments;
    struct buf whole; /* a line with what was told of it */
};

/* `path`: "-" is standard input. 0, or TANDEM_EIO, said; then there is nothing to close. */
int json_lines_open(struct json_lines *lines, const char *path);
void json_lines_close(struct json_lines *lines);
/* The next object (returns owned, cJSON_Delete) and its line without the newline, which lives until
 * the next call. The first bad line is said on standard error. 0; 1 at the end; TANDEM_EIO, said.
 */
int json_lines_next(struct json_lines *lines, const char **ret_line, cJSON **ret_object);

#endif
