/* quantize.c: `tandem-model quantize IN OUT TYPE`: the same model with its matrices in another
 * type. What the file says of itself is copied byte for byte; a tensor that has its type already is
 * too. */
#include "common/model/progress.h"
#include "common/model/target.h"
#include "common/model/tool.h"

#include <stdio.h>
#include <string.h>

/* Pairs about the file and not about the model, which the new file has its own values of
 * (target_types_choose). */
static const char *const replaced[] = {"general.alignment", "general.file_type",
                                       "general.quantization_version"};

static bool pair_is_replaced(const struct engine_file_pair *pair)
{
    for (size_t i = 0; i < sizeof(replaced) / sizeof(replaced[0]); i++) {
        if (strlen(replaced[i]) == pair->key_bytes &&
            memcmp(replaced[i], pair->key, pair->key_bytes) == 0) {
            return true;
        }
    }
    return false;
}

static void pairs_copy(const struct engine_file *file, struct gguf_writer *writer)
{
    for (size_t i = 0; i < engine_file_pair_count(file); i++) {
        const struct engine_file_pair pair = engine_file_pair(file, i);

        if (!pair_is_replaced(&pair)) {
            gguf_put_pair(writer, pair.data, pair.bytes);
        }
    }
}

static int tensors_take(const struct engine_file *file, struct target *target,
                        char error[ENGINE_ERROR_BYTES])
{
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
        tensor->packed_type = from.type;
        tensor->dimension_count = from.dimension_count;
        memcpy(tensor->dimensions, from.dimensions, sizeof(tensor->dimensions));
    }
    return 0;
}

int quantize_run(struct tool *tool)
{
    char error[ENGINE_ERROR_BYTES] = "";
    enum engine_weight_type type;
    struct engine_file *file = NULL;
    struct target target;
    struct progress progress;
    int result;

    if (!engine_weight_parse(tool->options.type, &type)) {
        return tool_say(tool, TOOL_WRONG_USE, "TYPE \"%s\" is none of " TOOL_TYPES,
                        tool->options.type);
    }
    if (tool_output_is(tool, tool->options.file)) {
        return tool_say_same(tool);
    }
    target_init(&target);
    result = engine_file_open(tool->options.file, &file, error);
    if (result != 0) {
        target_fini(&target);
        return tool_say(tool, TOOL_FAILED, "%s", error);
    }
    target.file = file;
    pairs_copy(file, &target.writer);
    result = tensors_take(file, &target, error);
    if (result == 0) {
        target_types_choose(&target, type);
        result = target_write(&target, NULL, tool->options.output,
                              progress_begin(&progress, tool->notes, "MB", 1e6), &progress, error);
    }
    target_fini(&target);
    engine_file_close(file);
    return result == 0 ? TOOL_DONE : tool_say_file(tool, error);
}
