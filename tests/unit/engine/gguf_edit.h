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
};

/* A tensor of two dimensions, of F32, whose data is the start of the file's. */
static inline void edit_put_tensor(struct gguf_edit *edit, const char *name, uint64_t columns,
                                   uint64_t rows)
{
    (void)buf_append_le64(&edit->tensors, strlen(name));
    (void)buf_append_text(&edit->tensors, name);
    (void)buf_append_le32(&edit->tensors, 2);
    (void)buf_append_le64(&edit->tensors, columns);
    (void)buf_append_le64(&edit->tensors, rows);
    (void)buf_append_le32(&edit->tensors, 0);
    (void)buf_append_le64(&edit->tensors, 0);
    edit->tensor_count++;
}

/* Where the description of `tensor` begins. */
static inline size_t edit_find(const uint8_t *data, size_t bytes, const char *tensor)
{
    const uint8_t *at = memmem(data, bytes, tensor, strlen(tensor));

    assert_non_null(at);
    return (size_t)(at - data) - 8;
}

/* Opens golden model `name` with the edit applied and empties the edit; what engine_model_open
 * says. The model is released at once. */
static inline int edit_open(struct gguf_edit *edit, const char *name,
                            char error[ENGINE_ERROR_BYTES])
{
    char path[512], copy[] = "/tmp/tandem_edit_XXXXXX", filler[64] = "";
    struct engine_model *model = NULL;
    struct buf file;
    size_t bytes, at, fill;
    uint8_t *data;
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
    (void)buf_append(&file, edit->tensors.data, edit->tensors.bytes);
    (void)buf_append(&file, data + at, bytes - at);
    assert_int_equal(write(fd, file.data, file.bytes), file.bytes);
    code = engine_model_open(copy, &model, error);
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

#endif
