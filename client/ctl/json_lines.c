#include "client/ctl/json_lines.h"

#include "client/ctl/ctl.h"
#include "common/base/error.h"
#include "common/base/limits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int json_lines_open(struct json_lines *lines, const char *path)
{
    const bool standard = strcmp(path, "-") == 0;

    *lines = (struct json_lines){.name = standard ? "standard input" : path};
    lines->file = standard ? stdin : fopen(path, "re");
    if (!lines->file) {
        (void)ctl_fail(TANDEM_EIO, "%s: %s", path, strerror(errno));
        return TANDEM_EIO;
    }
    return 0;
}

void json_lines_close(struct json_lines *lines)
{
    if (lines->file && lines->file != stdin) {
        (void)fclose(lines->file);
    }
    free(lines->line);
}

/* The next line without its newline, at most LIMIT_CTL_LINE_BYTES; the rest of a longer one is
 * passed over, and *ret_long says so. False: the end, or an error. */
static bool line_read(struct json_lines *lines, bool *ret_long)
{
    size_t used = 0;
    int byte;

    *ret_long = false;
    while ((byte = getc_unlocked(lines->file)) != EOF && byte != '\n') {
        if (used >= LIMIT_CTL_LINE_BYTES) {
            *ret_long = true;
            continue;
        }
        if (used + 1 >= lines->capacity) {
            const size_t capacity = lines->capacity ? 2 * lines->capacity : 4096;
            char *line = realloc(lines->line, capacity);

            if (!line) {
                *ret_long = true;
                continue;
            }
            lines->line = line;
            lines->capacity = capacity;
        }
        lines->line[used++] = (char)byte;
    }
    if (lines->line) {
        lines->line[used] = '\0';
    }
    return byte != EOF || used > 0;
}

static void bad_say(struct json_lines *lines)
{
    if (lines->bad++ == 0) {
        (void)fprintf(stderr, "tandemctl: %s: line %" PRIu64 " is no JSON object: passed over\n",
                      lines->name, lines->number);
    }
}

int json_lines_next(struct json_lines *lines, const char **ret_line, cJSON **ret_object)
{
    bool too_long;

    while (line_read(lines, &too_long)) {
        cJSON *object;

        lines->number++;
        if (!lines->line || (!too_long && lines->line[0] == '\0')) {
            continue; /* an empty line says nothing wrong */
        }
        object = too_long ? NULL : cJSON_Parse(lines->line);
        if (cJSON_IsObject(object)) {
            *ret_line = lines->line;
            *ret_object = object;
            return 0;
        }
        cJSON_Delete(object);
        bad_say(lines);
    }
    if (ferror(lines->file)) {
        (void)ctl_fail(TANDEM_EIO, "%s: %s", lines->name, strerror(errno));
        return TANDEM_EIO;
    }
    return 1;
}
