/* gguf_edit.h: a model file of tests/golden with keys and tensors put in, for tests of what opening
 * it says. What is put in is filled up to the alignment, so that the tensor data stays in place. */
#ifndef TANDEM_TESTS_GGUF_EDIT_H
#define TANDEM_TESTS_GGUF_EDIT_H

#include "tests/unit/engine/gguf_keys.h"
#include "tests/unit/engine/models.h"

#include <unistd.h>

struct gguf_edit {
    struct gguf_keys keys;
    struct buf tensors; /* descriptions */
    uint64_t tensor_count;
    uint64_t data_bytes; /* of their data, which comes after the file's */
};

/* A tensor of two dimensions, of F32, all zeros. */
static inline void edit_put_tensor(struct gguf_edit *edit, const char *name, uint64_t columns,
                                   uint64_t rows)
{
    (void)buf_append_le64(&edit->tensors, strlen(name));
    (void)buf_append_text(&edit->tensors, name);
    (void)buf_append_le32(&edit->tensors, 2);
    (void)buf_append_le64(&edit->tensors, columns);
    (void)buf_append_le64(&edit->tensors, rows);
    (void)buf_append_le32(&edit->tensors, 0);
    (void)buf_append_le64(&edit->tensors, edit->data_bytes); /* from the end of the file's data */
    edit->data_bytes += (columns * rows * 4 + 31) / 32 * 32;
    edit->tensor_count++;
}

/* Bytes of the data section. */
static inline size_t edit_data_bytes(const uint8_t *data, size_t bytes)
{
    const uint8_t *first = data + bytes;
    struct gguf *gguf = NULL;
    char error[ENGINE_ERROR_BYTES];

    assert_int_equal(gguf_load(data, bytes, &gguf, error), 0);
    for (size_t i = 0; i < gguf_tensor_count(gguf); i++) {
        const uint8_t *at = gguf_tensor_at(gguf, i)->data;

        first = at < first ? at : first;
    }
    gguf_free(gguf);
    assert_int_equal((data + bytes - first) % 32, 0);
    return (size_t)(data + bytes - first);
}

/* The descriptions with the places that their data gets. */
static inline void edit_place(struct gguf_edit *edit, size_t after)
{
    uint8_t *at = edit->tensors.data;

    for (uint64_t i = 0; i < edit->tensor_count; i++) {
        at += 8 + le64_load(at) + 4 + 2 * 8 + 4;
        le64_store(at, le64_load(at) + after);
        at += 8;
    }
}

/* Where the description of `tensor` begins. */
static inline size_t edit_find(const uint8_t *data, size_t bytes, const char *tensor)
{
    const uint8_t *at = memmem(data, bytes, tensor, strlen(tensor));

    assert_non_null(at);
    return (size_t)(at - data) - 8;
}

/* Opens golden model `name` with the edit applied and empties the edit; what engine_model_open
 * says. The model is released at once; of *ret_info (may be NULL) only the numbers stay. */
static inline int edit_open_info(struct gguf_edit *edit, const char *name,
                                 struct engine_model_info *ret_info, char error[ENGINE_ERROR_BYTES])
{
    char path[512], copy[] = "/tmp/tandem_edit_XXXXXX", filler[64] = "";
    struct engine_model *model = NULL;
    struct buf file;
    size_t bytes, at, fill;
    uint8_t *data, *zeros;
    int fd = mkstemp(copy), code;

    model_path(path, name);
    data = file_get(path, &bytes);
    at = edit_find(data, bytes, "output_norm.weight");
    fill = edit->keys.body.bytes + edit->tensors.bytes + 8 + 6 + 4 + 8;
    memset(filler, 'x', (32 - fill % 32) % 32);
    keys_put_text(&edit->keys, "filler", filler);
    buf_init(&file, 0);
    (void)buf_append(&file, data, 8);
    (void)buf_append_le64(&file, le64_load(data + 8) + edit->tensor_count);
    (void)buf_append_le64(&file, le64_load(data + 16) + edit->keys.count);
    (void)buf_append(&file, edit->keys.body.data, edit->keys.body.bytes);
    (void)buf_append(&file, data + 24, at - 24);
    edit_place(edit, edit_data_bytes(data, bytes));
    (void)buf_append(&file, edit->tensors.data, edit->tensors.bytes);
    (void)buf_append(&file, data + at, bytes - at);
    zeros = calloc(1, edit->data_bytes + 1);
    assert_non_null(zeros);
    (void)buf_append(&file, zeros, edit->data_bytes);
    free(zeros);
    assert_int_equal(write(fd, file.data, file.bytes), file.bytes);
    code = engine_model_open(copy, &model, error);
    if (code == 0 && ret_info) {
        *ret_info = *engine_model_info(model);
    }
    engine_model_unref(model);
    close(fd);
    unlink(copy);
    buf_fini(&file);
    buf_fini(&edit->keys.body);
    buf_fini(&edit->tensors);
    *edit = (struct gguf_edit){0};
    free(data);
    return code;
}

static inline int edit_open(struct gguf_edit *edit, const char *name,
                            char error[ENGINE_ERROR_BYTES])
{
    return edit_open_info(edit, name, NULL, error);
}

#endif
