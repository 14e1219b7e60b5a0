/* source.h: the tensors of a checkpoint in another format, by name, read on demand.
 *
 * A reader (pt.c, safetensors.c, llama2c.c) fills the table from its file and checks every number
 * first: each tensor's elements lie inside the file. Nothing is mapped; a file that shrinks
 * underneath gives TANDEM_EIO. One thread. */
#ifndef TANDEM_MODEL_SOURCE_H
#define TANDEM_MODEL_SOURCE_H

#include "common/engine/engine.h"

#define SOURCE_DIMENSIONS 4
#define SOURCE_FILES      256 /* shards of one checkpoint */

enum source_type {
    SOURCE_F32,
    SOURCE_F16,
    SOURCE_BF16,
    SOURCE_F64,
    SOURCE_OTHER /* integers and flags: named, never read */
};

struct source_tensor {
    char *name; /* owned */
    enum source_type type;
    uint32_t dimension_count;
    uint64_t shape[SOURCE_DIMENSIONS];  /* slowest first, as PyTorch prints it */
    uint64_t stride[SOURCE_DIMENSIONS]; /* in elements */
    uint64_t elements;
    uint32_t file;     /* index into source.files */
    uint64_t at_bytes; /* of the first element in that file */
    bool used;         /* the converter's: what is left over is refused */
};

struct cJSON;

struct source {
    int files[SOURCE_FILES]; /* open for reading */
    uint64_t file_bytes[SOURCE_FILES];
    uint32_t file_count;
    struct source_tensor *tensors;
    size_t tensor_count, tensor_capacity;
    bool pairs_adjacent; /* rotary rows stand pair after pair already (llama2.c) */
    char *tokenizer;     /* path of the one that lies beside; NULL: none. Owned */
    struct cJSON
        *config; /* config.json, or what the checkpoint says of itself; NULL: nothing. Owned */
};

/* Bytes of one element; 0 for SOURCE_OTHER. */
size_t source_type_bytes(enum source_type type);
void source_fini(struct source *source); /* a zeroed one is fine */

/* Opens `path` as one more file. TANDEM_EIO, ETOOBIG with a line. */
int source_open(struct source *source, const char *path, uint32_t *ret_file,
                char error[ENGINE_ERROR_BYTES]);
/* Exactly `bytes` at `at_bytes`; TANDEM_EIO when the file does not have them. */
int source_read(const struct source *source, uint32_t file, uint64_t at_bytes, void *ret_data,
                size_t bytes);
/* A whole file of at most `max_bytes`, with a NUL behind. *returns owned*, free(). TANDEM_EIO,
 * ETOOBIG, ENOMEM with a line. */
int source_text(const char *path, uint64_t max_bytes, char **ret_text, size_t *ret_bytes,
                char error[ENGINE_ERROR_BYTES]);
/* Adds a copy of `tensor` (its name too), after checking that its elements, by shape and stride,
 * are inside its file and its name is new. TANDEM_EFORMAT, ETOOBIG, ENOMEM with a line that names
 * it. */
int source_add(struct source *source, const struct source_tensor *tensor,
               char error[ENGINE_ERROR_BYTES]);
/* How many elements lie from the first to the last one that shape and stride reach; false on
 * overflow. */
bool source_span(const struct source_tensor *tensor, uint64_t *ret_elements);
/* NULL when there is none. */
struct source_tensor *source_find(const struct source *source, const char *name);

/* Rows [first, first + count) of a tensor seen as a matrix [shape[0], the rest], as floats. Any
 * stride. TANDEM_EIO, ENOMEM, EUNSUPPORTED (SOURCE_OTHER). */
int source_rows(const struct source *source, const struct source_tensor *tensor, uint64_t first,
                uint64_t count, float *ret_values);

#endif
