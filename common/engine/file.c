/* file.c: a model file's pairs and tensors as they stand, for tools that copy them. */
#include "common/engine/gguf_parts.h"
#include "common/engine/mapping.h"

#include <stdio.h>
#include <stdlib.h>

struct engine_file {
    struct mapping *mapping;
    struct gguf *gguf;
    const struct gguf_entry **pairs;    /* [entry_count] in the file's order */
    const struct gguf_tensor **tensors; /* [tensor_count] in the order of their data */
};

static int key_order(const void *a, const void *b)
{
    const char *left = (*(const struct gguf_entry *const *)a)->key.data;
    const char *right = (*(const struct gguf_entry *const *)b)->key.data;

    return left < right ? -1 : left > right;
}

static int data_order(const void *a, const void *b)
{
    const struct gguf_tensor *left = *(const struct gguf_tensor *const *)a;
    const struct gguf_tensor *right = *(const struct gguf_tensor *const *)b;

    if (left->data != right->data) {
        return (const char *)left->data < (const char *)right->data ? -1 : 1;
    }
    return gguf_name_compare(left, right); /* two of the same bytes */
}

static int order_make(struct engine_file *file)
{
    const struct gguf *gguf = file->gguf;

    file->pairs = calloc(gguf->entry_count + 1, sizeof(*file->pairs));
    file->tensors = calloc(gguf->tensor_count + 1, sizeof(*file->tensors));
    if (!file->pairs || !file->tensors) {
        return TANDEM_ENOMEM;
    }
    for (size_t i = 0; i < gguf->entry_count; i++) {
        file->pairs[i] = &gguf->entries[i];
    }
    for (size_t i = 0; i < gguf->tensor_count; i++) {
        file->tensors[i] = &gguf->tensors[i];
    }
    qsort(file->pairs, gguf->entry_count, sizeof(*file->pairs), key_order);
    qsort(file->tensors, gguf->tensor_count, sizeof(*file->tensors), data_order);
    return 0;
}

int engine_file_open(const char *path, struct engine_file **ret_file,
                     char error[ENGINE_ERROR_BYTES])
{
    struct engine_file *file = calloc(1, sizeof(*file));
    char line[ENGINE_ERROR_BYTES] = "no memory";
    int code;

    if (!file) {
        snprintf(error, ENGINE_ERROR_BYTES, "%.200s: no memory", path);
        return TANDEM_ENOMEM;
    }
    code = mapping_open(path, &file->mapping, error);
    if (code != 0) {
        engine_file_close(file);
        return code;
    }
    code = gguf_load(mapping_data(file->mapping), mapping_bytes(file->mapping), &file->gguf, line);
    code = code ? code : order_make(file);
    if (code != 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "%.200s: %.300s", path, line);
        engine_file_close(file);
        return code;
    }
    *ret_file = file;
    return 0;
}

void engine_file_close(struct engine_file *file)
{
    if (!file) {
        return;
    }
    free(file->pairs);
    free(file->tensors);
    gguf_free(file->gguf);
    mapping_close(file->mapping);
    free(file);
}

size_t engine_file_pair_count(const struct engine_file *file)
{
    return file->gguf->entry_count;
}

struct engine_file_pair engine_file_pair(const struct engine_file *file, size_t index)
{
    const struct gguf_text key = file->pairs[index]->key;
    const char *start = key.data - sizeof(uint64_t); /* the key's length field */
    const char *end = index + 1 < file->gguf->entry_count
                          ? file->pairs[index + 1]->key.data - sizeof(uint64_t)
                          : (const char *)file->gguf->pairs_end;

    return (struct engine_file_pair){key.data, key.bytes, start, (size_t)(end - start)};
}

size_t engine_file_tensor_count(const struct engine_file *file)
{
    return file->gguf->tensor_count;
}

struct engine_file_tensor engine_file_tensor(const struct engine_file *file, size_t index)
{
    const struct gguf_tensor *tensor = file->tensors[index];
    struct engine_file_tensor found = {
        .name = tensor->name.data,
        .name_bytes = tensor->name.bytes,
        .type = tensor->type,
        .dimension_count = tensor->dimension_count,
        .elements = tensor->elements,
        .data = tensor->data,
    };

    for (size_t i = 0; i < GGUF_DIMENSIONS; i++) {
        found.dimensions[i] = tensor->dimensions[i];
    }
    return found;
}

int engine_file_check(const struct engine_file *file)
{
    return mapping_truncated(file->mapping) ? TANDEM_EIO : 0;
}
