/* What every architecture asks of its file: keys within bounds, tensors of the right shape. */
#include "common/engine/opening.h"

#include <stdarg.h>
#include <stdio.h>

int opening_fail(struct opening *open, int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(open->error, ENGINE_ERROR_BYTES, format, args);
    va_end(args);
    gguf_line_clean(open->error);
    return code;
}

/* ---- keys ---- */

void opening_key(const struct opening *open, const char *key, char name[KEY_BYTES])
{
    snprintf(name, KEY_BYTES, "%s.%s", open->prefix, key);
}

int opening_u32(struct opening *open, const char *key, uint32_t min, uint32_t max,
                uint32_t *ret_value)
{
    char name[KEY_BYTES];
    int code;

    opening_key(open, key, name);
    code = gguf_get_u32(open->gguf, name, ret_value, open->error);
    if (code) {
        return TANDEM_EFORMAT;
    }
    if (*ret_value < min || *ret_value > max) {
        return opening_fail(open, TANDEM_EFORMAT, "key %s is %u; it must be from %u to %u", name,
                            *ret_value, min, max);
    }
    return 0;
}

int opening_optional(int code)
{
    return code == TANDEM_ENOTFOUND ? 0 : code;
}

/* The index of an optional text key among `words` (NULL-terminated); *value is untouched without
 * the key. */
int opening_word(struct opening *open, const char *key, const char *const *words, uint32_t *value)
{
    char name[KEY_BYTES];
    struct gguf_text text;
    int code;

    opening_key(open, key, name);
    code = gguf_get_text(open->gguf, name, &text, open->error);
    if (code) {
        return opening_optional(code);
    }
    for (uint32_t i = 0; words[i]; i++) {
        if (gguf_text_is(text, words[i])) {
            *value = i;
            return 0;
        }
    }
    return opening_fail(open, TANDEM_EUNSUPPORTED, "key %s is \"%.*s\", which is not supported",
                        name, (int)(text.bytes < 64 ? text.bytes : 64), text.data);
}

/* ---- tensors ---- */

/* Finds a tensor and checks its shape: dims[0] fastest. TANDEM_ENOTFOUND when it is not there. */
static int tensor_find(struct opening *open, const char *name, uint32_t count, const uint64_t *dims,
                       const struct gguf_tensor **ret)
{
    size_t index = gguf_tensor_find(open->gguf, name);
    const struct gguf_tensor *tensor;
    char found[96] = "", wanted[96] = "";
    size_t used_found = 0, used_wanted = 0;
    bool same = true;

    if (index == SIZE_MAX) {
        return opening_fail(open, TANDEM_ENOTFOUND, "tensor %s is missing", name);
    }
    tensor = gguf_tensor_at(open->gguf, index);
    for (uint32_t i = 0; i < GGUF_DIMENSIONS; i++) {
        uint64_t want = i < count ? dims[i] : 1;

        same = same && tensor->dimensions[i] == want;
        used_found += (size_t)snprintf(found + used_found, sizeof(found) - used_found, "%s%llu",
                                       i ? "," : "", (unsigned long long)tensor->dimensions[i]);
        used_wanted += (size_t)snprintf(wanted + used_wanted, sizeof(wanted) - used_wanted,
                                        "%s%llu", i ? "," : "", (unsigned long long)want);
    }
    if (!same) {
        return opening_fail(open, TANDEM_EFORMAT, "tensor %s is [%s]; it must be [%s]", name, found,
                            wanted);
    }
    *ret = tensor;
    return 0;
}

int opening_vector(struct opening *open, const char *name, uint64_t n, const float **ret_vector)
{
    const struct gguf_tensor *tensor = NULL;
    int code = tensor_find(open, name, 1, &n, &tensor);

    if (code) {
        return code;
    }
    if (tensor->type != ENGINE_WEIGHT_F32) {
        return opening_fail(open, TANDEM_EFORMAT, "tensor %s must be F32", name);
    }
    *ret_vector = tensor->data;
    return 0;
}

/* [columns, rows] in GGUF order; `dims` gives the tensor's own shape when it has more than two
 * dimensions. */
int opening_matrix(struct opening *open, const char *name, uint32_t dim_count, const uint64_t *dims,
                   uint32_t rows, uint32_t columns, struct matrix *ret_matrix)
{
    const struct gguf_tensor *tensor = NULL;
    int code = tensor_find(open, name, dim_count, dims, &tensor);

    if (!code) {
        *ret_matrix = (struct matrix){tensor->data, tensor->type, rows, columns};
    }
    return code;
}

int opening_table(struct opening *open, const char *name, uint32_t rows, uint32_t columns,
                  struct matrix *ret_matrix)
{
    const uint64_t dims[] = {columns, rows};

    return opening_matrix(open, name, 2, dims, rows, columns, ret_matrix);
}

/* `base`.weight [in, out] and, if there is one, `base`.bias [out]. */
int opening_linear(struct opening *open, const char *base, uint32_t out, uint32_t in,
                   struct linear *ret_linear)
{
    char name[KEY_BYTES];
    int code;

    snprintf(name, sizeof(name), "%s.weight", base);
    if ((code = opening_table(open, name, out, in, &ret_linear->weight))) {
        return code;
    }
    snprintf(name, sizeof(name), "%s.bias", base);
    return opening_optional(opening_vector(open, name, out, &ret_linear->bias));
}

int opening_norm(struct opening *open, const char *base, struct norm *ret_norm)
{
    char name[KEY_BYTES];
    int code;

    snprintf(name, sizeof(name), "%s.weight", base);
    code = opening_vector(open, name, open->model->info.n_embd, &ret_norm->weight);
    if (code || open->model->rms_norm) {
        return code;
    }
    snprintf(name, sizeof(name), "%s.bias", base);
    return opening_vector(open, name, open->model->info.n_embd, &ret_norm->bias);
}

/* Rows of the second dimension of `name`, within `max`. */
int opening_rows(struct opening *open, const char *name, uint32_t max, uint32_t *ret_rows)
{
    size_t index = gguf_tensor_find(open->gguf, name);
    uint64_t rows;

    if (index == SIZE_MAX) {
        return opening_fail(open, TANDEM_EFORMAT, "tensor %s is missing", name);
    }
    rows = gguf_tensor_at(open->gguf, index)->dimensions[1];
    if (rows > max) {
        return opening_fail(open, TANDEM_ETOOBIG, "tensor %s has %llu rows; at most %u are read",
                            name, (unsigned long long)rows, max);
    }
    *ret_rows = (uint32_t)rows;
    return 0;
}

int opening_class_head(struct opening *open)
{
    struct engine_model_info *info = &open->model->info;
    int code = opening_rows(open, "head.weight", LIMIT_MODEL_CLASSES, &info->n_class);

    return code ? code
                : opening_linear(open, "head", info->n_class, info->n_embd, &open->model->head);
}
