/* source_fuzz.h: any bytes through a reader of checkpoints: they become a file without a name, and
 * what is accepted is read: every tensor's first and last row. */
#ifndef TANDEM_TESTS_SOURCE_FUZZ_H
#define TANDEM_TESTS_SOURCE_FUZZ_H

#include "common/model/source.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ROW_FLOATS (1u << 16) /* longer rows are left alone */

static inline void source_fuzz_rows(const struct source *source)
{
    float *row = malloc(ROW_FLOATS * sizeof(*row));

    for (size_t i = 0; row && i < source->tensor_count; i++) {
        const struct source_tensor *tensor = &source->tensors[i];
        const uint64_t rows = tensor->dimension_count ? tensor->shape[0] : 1;

        if (rows > 0 && tensor->elements / rows <= ROW_FLOATS) {
            (void)source_rows(source, tensor, 0, 1, row);
            (void)source_rows(source, tensor, rows - 1, 1, row);
        }
    }
    free(row);
}

static inline void source_fuzz(int (*load)(struct source *, const char *, char *),
                               const uint8_t *data, size_t bytes)
{
    char path[64], error[ENGINE_ERROR_BYTES] = "";
    struct source source = {0};
    const int file = memfd_create("fuzz", MFD_CLOEXEC);
    int code;

    if (file < 0 || write(file, data, bytes) != (ssize_t)bytes) {
        abort();
    }
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    code = load(&source, path, error);
    if (code == 0) {
        source_fuzz_rows(&source);
    } else {
        assert(code == TANDEM_ENOTFOUND || error[0] != '\0');
    }
    source_fini(&source);
    close(file);
}

#endif
