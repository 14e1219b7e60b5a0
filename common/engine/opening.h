/* opening.h: a model while its file is read: finding keys and tensors, each checked as it is found.
 *
 * Functions return 0 or TANDEM_E* and then have written one line (without the path) to open->error.
 */
#ifndef TANDEM_ENGINE_OPENING_H
#define TANDEM_ENGINE_OPENING_H

#include "common/engine/model.h"

#define KEY_BYTES 128

/* What is at hand while a model is opened. `error` gets one line without the path;
 * engine_model_open puts that in front. */
struct opening {
    struct engine_model *model;
    const struct gguf *gguf;
    const char *prefix; /* "gpt2" */
    char *error;
};

/* Writes the line and returns `code`. */
int opening_fail(struct opening *open, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- keys ---- */

/* The key's whole name, with the architecture in front. */
void opening_key(const struct opening *open, const char *key, char name[KEY_BYTES]);
/* A key that must be there and from min to max. */
int opening_u32(struct opening *open, const char *key, uint32_t min, uint32_t max,
                uint32_t *ret_value);
/* What a missing optional key or tensor means: TANDEM_ENOTFOUND becomes 0, the rest stays. */
int opening_optional(int code);
/* The index of an optional text key among `words` (NULL-terminated); *value is untouched without
 * the key. */
int opening_word(struct opening *open, const char *key, const char *const *words, uint32_t *value);

/* ---- tensors: TANDEM_ENOTFOUND when there is none of the name ---- */

int opening_vector(struct opening *open, const char *name, uint64_t n, const float **ret_vector);
/* `dims`, fastest first, gives the tensor's own shape when it has more than two dimensions. */
int opening_matrix(struct opening *open, const char *name, uint32_t dim_count, const uint64_t *dims,
                   uint32_t rows, uint32_t columns, struct matrix *ret_matrix);
/* A matrix of two dimensions. */
int opening_table(struct opening *open, const char *name, uint32_t rows, uint32_t columns,
                  struct matrix *ret_matrix);
/* `base`.weight [in, out] and, if there is one, `base`.bias [out]. */
int opening_linear(struct opening *open, const char *base, uint32_t out, uint32_t in,
                   struct linear *ret_linear);
/* `base`.weight and, but for RMS norms, `base`.bias [d]. */
int opening_norm(struct opening *open, const char *base, struct norm *ret_norm);
/* Rows (the second dimension) of `name`, within `max`. */
int opening_rows(struct opening *open, const char *name, uint32_t max, uint32_t *ret_rows);
/* head.weight and head.bias, and the number of classes from them. */
int opening_class_head(struct opening *open);

/* ---- model_rest.c: refuses keys and tensors that nothing has read; called last ---- */

int opening_rest_check(struct opening *open);

/* ---- model_vit.c: what is tandem-vit's alone: picture, stem, pooling, labels ---- */

int vit_find(struct opening *open);

/* ---- model_llama.c: rotary positions, and what a value is when it is the key ---- */

int rotation_find(struct opening *open);

/* ---- model_calibration.c: how far the model's own confidence can be believed ---- */

int calibration_find(struct opening *open);

#endif
