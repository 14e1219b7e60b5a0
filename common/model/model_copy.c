#include "common/model/model_copy.h"

#include <stdio.h>
#include <string.h>

static bool pair_is_one_of(const struct engine_file_pair *pair, const char *const *keys)
{
    for (size_t i = 0; keys[i]; i++) {
        if (strlen(keys[i]) == pair->key_bytes &&
            memcmp(keys[i], pair->key, pair->key_bytes) == 0) {
            return true;
        }
    }
    return false;
}

void model_copy_pairs(const struct engine_file *file, const char *const *left_out,
                      struct gguf_writer *writer)
{
    for (size_t i = 0; i < engine_file_pair_count(file); i++) {
        const struct engine_file_pair pair = engine_file_pair(file, i);

        if (!pair_is_one_of(&pair, left_out)) {
            gguf_put_pair(writer, pair.data, pair.bytes);
        }
    }
}

int model_copy_tensors(const struct engine_file *file, struct target *target,
                       char error[ENGINE_ERROR_BYTES])
{
    target->file = file;
    for (size_t i = 0; i < engine_file_tensor_count(file); i++) {
        const struct engine_file_tensor from = engine_file_tensor(file, i);
        struct target_tensor *tensor;

        if (from.name_bytes >= sizeof(tensor->name) || memchr(from.name, '\0', from.name_bytes)) {
            snprintf(error, ENGINE_ERROR_BYTES,
                     "tensor %.*s: a name of %zu bytes, at most %zu and no NUL are written",
                     (int)from.name_bytes, from.name, from.name_bytes, sizeof(tensor->name) - 1);
            return TANDEM_EUNSUPPORTED;
        }
        tensor = target_add(target, "%.*s", (int)from.name_bytes, from.name);
        if (!tensor) {
            snprintf(error, ENGINE_ERROR_BYTES, "no memory for the table of tensors");
            return TANDEM_ENOMEM;
        }
        tensor->packed = from.data;
        tensor->type = tensor->packed_type = from.type;
        tensor->dimension_count = from.dimension_count;
        memcpy(tensor->dimensions, from.dimensions, sizeof(tensor->dimensions));
    }
    return 0;
}
