/* quantize.c: `tandem-model quantize IN OUT TYPE`: the same model with its matrices in another
 * type. What the file says of itself is copied byte for byte; a tensor that has its type already is
 * too. */
#include "common/model/model_copy.h"
#include "common/model/progress.h"
#include "common/model/tool.h"

/* Pairs about the file and not about the model, which the new file has its own values of
 * (target_types_choose). */
static const char *const replaced[] = {"general.alignment", "general.file_type",
                                       "general.quantization_version", NULL};

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
    model_copy_pairs(file, replaced, &target.writer);
    result = model_copy_tensors(file, &target, error);
    if (result == 0) {
        target_types_choose(&target, type);
        result = target_write(&target, NULL, tool->options.output,
                              progress_begin(&progress, tool->notes, "MB", 1e6), &progress, error);
    }
    target_fini(&target);
    engine_file_close(file);
    return result == 0 ? TOOL_DONE : tool_say_file(tool, error);
}
