/* models.h: the small models of tests/golden/data for tests of the engine, and help around them. */
#ifndef TANDEM_TESTS_ENGINE_MODELS_H
#define TANDEM_TESTS_ENGINE_MODELS_H

#include "common/engine/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static inline void model_path(char path[512], const char *name)
{
    const char *folder = getenv("TANDEM_TEST_DATA");

    snprintf(path, 512, "%s/%s.gguf", folder ? folder : "tests/golden/data", name);
}

static inline struct engine_model *model_get(const char *name)
{
    char path[512], error[ENGINE_ERROR_BYTES] = "";
    struct engine_model *model = NULL;

    model_path(path, name);
    if (engine_model_open(path, &model, error) != 0) {
        fail_msg("%s", error);
    }
    return model;
}

/* A whole file; *returns owned*. */
static inline uint8_t *file_get(const char *path, size_t *ret_bytes)
{
    uint8_t *data = malloc(1u << 20);
    FILE *file = fopen(path, "rb");

    if (!file || !data) {
        fail_msg("cannot read %s", path);
    }
    *ret_bytes = fread(data, 1, 1u << 20, file);
    fclose(file);
    return data;
}

#endif
