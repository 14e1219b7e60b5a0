/* golden.h: reading tests/golden/data (make_golden.py). The folder is TANDEM_TEST_DATA, or
 * tests/golden/data below the current folder. A missing file fails the test that wants it. */
#ifndef TANDEM_TESTS_GOLDEN_H
#define TANDEM_TESTS_GOLDEN_H

#include "common/base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static inline void golden_path(char path[512], const char *name)
{
    const char *folder = getenv("TANDEM_TEST_DATA");

    snprintf(path, 512, "%s/%s", folder ? folder : "tests/golden/data", name);
}

/* A whole file; *returns owned*. */
static inline uint8_t *golden_read(const char *name, size_t *ret_bytes)
{
    char path[512];
    uint8_t *data = malloc(1u << 20);
    FILE *file;

    golden_path(path, name);
    file = fopen(path, "rb");
    if (!file || !data) {
        fail_msg("cannot read %s", path);
    }
    *ret_bytes = fread(data, 1, 1u << 20, file);
    fclose(file);
    return data;
}

struct golden {
    uint8_t *file;
    uint32_t kind, count, rows, columns;
    const uint8_t *inputs; /* [count] u32 or f32 */
    const float *values;   /* [rows, columns] */
};

static inline struct golden golden_load(const char *name)
{
    struct golden golden;
    char path[128];
    size_t bytes;

    snprintf(path, sizeof path, "%s.golden", name);
    golden.file = golden_read(path, &bytes);
    assert_true(bytes > 20 && memcmp(golden.file, "GOLD", 4) == 0);
    golden.kind = le32_load(golden.file + 4);
    golden.count = le32_load(golden.file + 8);
    golden.rows = le32_load(golden.file + 12);
    golden.columns = le32_load(golden.file + 16);
    assert_int_equal(bytes, 20 + 4 * ((size_t)golden.count + (size_t)golden.rows * golden.columns));
    golden.inputs = golden.file + 20;
    golden.values = (const float *)(const void *)(golden.inputs + 4 * (size_t)golden.count);
    return golden;
}

#endif
