/* model_tool.h: runs tandem-model inside a test, on files of a folder of its own. */
#ifndef TANDEM_TESTS_MODEL_TOOL_H
#define TANDEM_TESTS_MODEL_TOOL_H

#include "common/model/tool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

struct tool_result {
    int status;
    char *out, *notes;
};

/* Words up to NULL, at most 15. */
static inline struct tool_result tool_run(const char *const *words)
{
    const char *all[17] = {"tandem-model"};
    size_t out_bytes, notes_bytes;
    struct tool_result result = {0};
    FILE *out = open_memstream(&result.out, &out_bytes);
    FILE *notes = open_memstream(&result.notes, &notes_bytes);
    int count = 1;

    for (; words[count - 1]; count++) {
        all[count] = words[count - 1];
    }
    result.status = tool_main(count, (char **)(uintptr_t)all, out, notes);
    fclose(out);
    fclose(notes);
    return result;
}
#define TOOL(...) tool_run((const char *const[]){__VA_ARGS__, NULL})

static inline void tool_free(struct tool_result *result)
{
    free(result->out);
    free(result->notes);
}

/* Runs and expects `status`, and `part` in the notes (NULL: anything). */
static inline void tool_expect(int status, const char *part, const char *const *words)
{
    struct tool_result result = tool_run(words);

    if (result.status != status || (part && !strstr(result.notes, part))) {
        fail_msg("%s: status %d, \"%s\"", words[0], result.status, result.notes);
    }
    tool_free(&result);
}
#define EXPECT(status, part, ...)                                                                  \
    tool_expect(status, part, (const char *const[]){__VA_ARGS__, NULL})

/* A folder for the files of one test program; `path` of a name in it lives until the next call but
 * three. */
static char work_folder[64];

static inline int work_begin(void **state)
{
    (void)state;
    strcpy(work_folder, "/tmp/tandem-tool-XXXXXX");
    return mkdtemp(work_folder) ? 0 : -1;
}

static inline const char *work_path(const char *name)
{
    static char paths[4][160];
    static unsigned next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof(paths[0]), "%s/%s", work_folder, name);
    return path;
}

static inline int work_end(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", work_folder);
    return system(command); // NOLINT: a folder of this test's own
}

/* *returns owned*: engine_file_close. */
static inline struct engine_file *file_get(const char *path)
{
    char error[ENGINE_ERROR_BYTES] = "";
    struct engine_file *file = NULL;

    if (engine_file_open(path, &file, error) != 0) {
        fail_msg("%s", error);
    }
    return file;
}

/* A whole file; *returns owned*. */
static inline uint8_t *bytes_of(const char *path, size_t *ret_bytes)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data;
    long size;

    if (!file) {
        fail_msg("cannot read %s", path);
    }
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    size = ftell(file);
    rewind(file);
    data = malloc((size_t)size + 1);
    assert_non_null(data);
    *ret_bytes = fread(data, 1, (size_t)size, file);
    fclose(file);
    return data;
}

static inline bool files_same(const char *left, const char *right)
{
    size_t left_bytes, right_bytes;
    uint8_t *a = bytes_of(left, &left_bytes), *b = bytes_of(right, &right_bytes);
    const bool same = left_bytes == right_bytes && memcmp(a, b, left_bytes) == 0;

    free(a);
    free(b);
    return same;
}

static inline void text_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    fclose(file);
}

#endif
