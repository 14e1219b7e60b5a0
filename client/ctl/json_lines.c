#include "client/ctl/json_lines.h"

#include "client/ctl/ctl.h"
#include "common/base/error.h"
#include "common/base/limits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

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

/* ---- opening ---- */

/* A file that can be read twice, with all that `file` has; NULL with errno. */
static FILE *file_copy(FILE *file)
{
    FILE *copy = tmpfile();
    char piece[1 << 16];
    size_t bytes;

    while (copy && (bytes = fread(piece, 1, sizeof(piece), file)) > 0) {
        if (fwrite(piece, 1, bytes, copy) != bytes) {
            (void)fclose(copy);
            return NULL;
        }
    }
    if (copy && (ferror(file) || fseeko(copy, 0, SEEK_SET) != 0)) {
        (void)fclose(copy);
        return NULL;
    }
    return copy;
}

/* Goes over the file once for what is told of decisions, and back to where it began. */
static void amendments_gather(struct json_lines *lines, off_t start)
{
    bool too_long;
    int result = 0;

    while (line_read(lines, &too_long)) {
        if (result == 0 && lines->line && !too_long) {
            result = amendments_add(&lines->amendments, lines->line);
            result = result == TANDEM_EINVAL ? 0 : result;
        }
    }
    if (result != 0) {
        (void)fprintf(stderr,
                      "tandemctl: %s: %s: what is told later of its decisions counts in part\n",
                      lines->name, tandem_error_text(result));
    }
    if (!ferror(lines->file)) { /* else the next reading says it */
        (void)fseeko(lines->file, start, SEEK_SET);
    }
}

int json_lines_open(struct json_lines *lines, const char *path)
{
    const bool standard = strcmp(path, "-") == 0;
    off_t start;

    *lines = (struct json_lines){.name = standard ? "standard input" : path};
    amendments_init(&lines->amendments);
    buf_init(&lines->whole, 0);
    lines->file = standard ? stdin : fopen(path, "re");
    start = lines->file ? ftello(lines->file) : 0;
    if (lines->file && start < 0) { /* a pipe */
        FILE *const pipe = lines->file;

        lines->file = file_copy(pipe);
        start = 0;
        if (pipe != stdin) {
            (void)fclose(pipe);
        }
    }
    if (!lines->file) {
        (void)ctl_fail(TANDEM_EIO, "%s: %s", path, strerror(errno));
        return TANDEM_EIO;
    }
    amendments_gather(lines, start);
    return 0;
}

void json_lines_close(struct json_lines *lines)
{
    if (lines->file && lines->file != stdin) {
        (void)fclose(lines->file);
    }
    free(lines->line);
    amendments_fini(&lines->amendments);
    buf_fini(&lines->whole);
}

/* ---- reading ---- */

static void bad_say(struct json_lines *lines)
{
    if (lines->bad++ == 0) {
        (void)fprintf(stderr, "tandemctl: %s: line %" PRIu64 " is no JSON object: passed over\n",
                      lines->name, lines->number);
    }
}

/* The line with what was told of it, in lines->whole; NULL: it is no JSON. */
static cJSON *object_read(struct json_lines *lines)
{
    buf_clear(&lines->whole);
    return amendments_apply(&lines->amendments, lines->line, &lines->whole) == 0 &&
                   buf_append_u8(&lines->whole, 0) == 0
               ? cJSON_Parse((const char *)lines->whole.data)
               : NULL;
}

int json_lines_next(struct json_lines *lines, const char **ret_line, cJSON **ret_object)
{
    bool too_long;
    uint64_t id;

    while (line_read(lines, &too_long)) {
        cJSON *object;

        lines->number++;
        if (!lines->line || (!too_long && lines->line[0] == '\0')) {
            continue; /* an empty line says nothing wrong */
        }
        if (!too_long && amendment_is(lines->line, &id)) {
            continue; /* its decision has it */
        }
        object = too_long ? NULL : object_read(lines);
        if (cJSON_IsObject(object)) {
            *ret_line = (const char *)lines->whole.data;
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
