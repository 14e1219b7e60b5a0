/* gguf.h: the parts of a GGUF v3 file: keys with values, and the table of tensors. Knows nothing
 * about models.
 *
 * gguf_load copies everything before the tensor data and checks it on the copy, so that a file that
 * changes underneath cannot undo a check. Lengths, counts, offsets and products are checked without
 * overflow against the file's size and limits.h; keys and tensors that stand twice are refused.
 * Immutable after loading: any thread may read. Texts are bytes with a length, inside the copy,
 * without a NUL; they live as long as the struct gguf. */
#ifndef TANDEM_ENGINE_GGUF_H
#define TANDEM_ENGINE_GGUF_H

#include "common/engine/engine.h"

enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_TEXT,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
};

#define GGUF_DIMENSIONS 4
#define GGUF_ALIGNMENT  32 /* of the data section, when the file names none */

struct gguf; /* opaque */

struct gguf_text {
    const char *data;
    size_t bytes;
};

/* An array value and how far it has been read. A copy of the struct is a second reader. */
struct gguf_array {
    enum gguf_type type; /* of the items */
    size_t count;        /* items left */
    const uint8_t *next;
};

struct gguf_tensor {
    struct gguf_text name;
    enum engine_weight_type type;
    uint32_t dimension_count;
    uint64_t dimensions[GGUF_DIMENSIONS]; /* fastest first; 1 past dimension_count */
    uint64_t elements;                    /* their product */
    uint64_t bytes;
    const void *data; /* inside the file given to gguf_load, on a 4-byte border of it */
};

/* Reads `size` bytes of a file (borrowed for as long as the tensors' data is used; at least 8-byte
 * aligned). TANDEM_EFORMAT, EUNSUPPORTED (version, tensor type), ETOOBIG, ENOMEM with one line.
 * *returns owned*. */
int gguf_load(const void *file, size_t size, struct gguf **ret_gguf,
              char error[ENGINE_ERROR_BYTES]);
void gguf_free(struct gguf *gguf); /* NULL is fine */

/* Names of a file are quoted in errors; what they hold must not make two lines of one. */
void gguf_line_clean(char error[ENGINE_ERROR_BYTES]);

bool gguf_has(const struct gguf *gguf, const char *key);

/* Each writes the value and returns 0; TANDEM_ENOTFOUND when there is no such key, TANDEM_EFORMAT
 * when the value is of another kind or out of range, both with a line that names the key; the
 * result is untouched then. An integer of any width is a u32 when its value fits. */
int gguf_get_u32(const struct gguf *gguf, const char *key, uint32_t *ret_value,
                 char error[ENGINE_ERROR_BYTES]);
int gguf_get_f32(const struct gguf *gguf, const char *key, float *ret_value,
                 char error[ENGINE_ERROR_BYTES]); /* finite */
int gguf_get_bool(const struct gguf *gguf, const char *key, bool *ret_value,
                  char error[ENGINE_ERROR_BYTES]);
int gguf_get_text(const struct gguf *gguf, const char *key, struct gguf_text *ret_text,
                  char error[ENGINE_ERROR_BYTES]);
/* An array of any item type; the caller looks at ret_array->type. */
int gguf_get_array(const struct gguf *gguf, const char *key, struct gguf_array *ret_array,
                   char error[ENGINE_ERROR_BYTES]);
/* A whole integer array into values[capacity]; TANDEM_EFORMAT also when it has more items. */
int gguf_get_u32s(const struct gguf *gguf, const char *key, uint32_t *values, size_t capacity,
                  size_t *ret_count, char error[ENGINE_ERROR_BYTES]);
int gguf_get_f32s(const struct gguf *gguf, const char *key, float *values, size_t capacity,
                  size_t *ret_count, char error[ENGINE_ERROR_BYTES]);

/* The next item, false at the end or when the items are of another kind (integer readers take any
 * width that fits). */
bool gguf_next_u32(struct gguf_array *array, uint32_t *ret_value);
bool gguf_next_i32(struct gguf_array *array, int32_t *ret_value);
bool gguf_next_f32(struct gguf_array *array, float *ret_value);
bool gguf_next_text(struct gguf_array *array, struct gguf_text *ret_text);

bool gguf_text_is(struct gguf_text text, const char *word);
/* A copy with a NUL; TANDEM_EFORMAT when the text has a NUL inside, ENOMEM. *returns owned*,
 * free(). */
int gguf_text_copy(struct gguf_text text, char **ret_copy);

size_t gguf_tensor_count(const struct gguf *gguf);
const struct gguf_tensor *gguf_tensor_at(const struct gguf *gguf, size_t index);
/* The index of a tensor, or SIZE_MAX. */
size_t gguf_tensor_find(const struct gguf *gguf, const char *name);

/* What nobody has looked for by name yet (marks that gguf_has, gguf_get_* and gguf_tensor_find
 * leave; atomic): the first such key that begins with `prefix`, the first such tensor. False when
 * there is none. */
bool gguf_unasked_key(const struct gguf *gguf, const char *prefix, struct gguf_text *ret_key);
bool gguf_unasked_tensor(const struct gguf *gguf, struct gguf_text *ret_name);

#endif
