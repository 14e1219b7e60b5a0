/* gguf_write.h: writes GGUF v3 files: pairs first, then the table of tensors, then their data,
 * which is asked for piece by piece. The file appears under its name complete or not at all
 * (written beside, synced, renamed). The same calls give the same bytes. One thread. */
#ifndef TANDEM_MODEL_GGUF_WRITE_H
#define TANDEM_MODEL_GGUF_WRITE_H

#include "common/engine/engine.h"

struct gguf_writer {
    struct buf pairs, table;
    uint64_t pair_count, tensor_count, data_bytes;
    int error; /* the first one; later calls do nothing */
};

void gguf_writer_init(struct gguf_writer *writer);
void gguf_writer_fini(struct gguf_writer *writer);
void gguf_put_text(struct gguf_writer *writer, const char *key, const char *value);
void gguf_put_u32(struct gguf_writer *writer, const char *key, uint32_t value);
void gguf_put_f32(struct gguf_writer *writer, const char *key, float value);
void gguf_put_bool(struct gguf_writer *writer, const char *key, bool value);
void gguf_put_f32s(struct gguf_writer *writer, const char *key, const float *values, size_t count);
void gguf_put_i32s(struct gguf_writer *writer, const char *key, const int32_t *values,
                   size_t count);
void gguf_put_u32s(struct gguf_writer *writer, const char *key, const uint32_t *values,
                   size_t count);
/* A whole pair as another file has it: key, type and value. */
void gguf_put_pair(struct gguf_writer *writer, const void *data, size_t bytes);
/* Texts may hold any bytes; lengths[i] NULL-terminated when `lengths` is NULL. */
void gguf_put_texts(struct gguf_writer *writer, const char *key, const char *const *values,
                    const size_t *lengths, size_t count);
/* A line of the table; dimensions fastest first. The data must come in the same order. */
void gguf_put_tensor(struct gguf_writer *writer, const char *name, enum engine_weight_type type,
                     const uint64_t *dimensions, uint32_t dimension_count);

struct gguf_file;
/* Creates the file beside `path` and writes pairs and table. TANDEM_EIO, ENOMEM with a line.
 * *returns owned*: end with gguf_file_commit or gguf_file_discard. */
int gguf_file_create(struct gguf_writer *writer, const char *path, struct gguf_file **ret_file,
                     char error[ENGINE_ERROR_BYTES]);
/* Converts `elements` floats to `type` (a whole number of blocks) and appends them. */
int gguf_file_append(struct gguf_file *file, enum engine_weight_type type, const float *values,
                     size_t elements, char error[ENGINE_ERROR_BYTES]);
/* Appends bytes that are packed already. */
int gguf_file_append_packed(struct gguf_file *file, const void *data, size_t bytes,
                            char error[ENGINE_ERROR_BYTES]);
/* To be called after each tensor's last piece. */
int gguf_file_tensor_end(struct gguf_file *file, char error[ENGINE_ERROR_BYTES]);
/* Puts it under its name; frees `file` in any case. */
int gguf_file_commit(struct gguf_file *file, char error[ENGINE_ERROR_BYTES]);
void gguf_file_discard(struct gguf_file *file); /* NULL is fine */

#endif
