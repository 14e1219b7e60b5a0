/* convert.c: tandem-model convert: which reader a file wants, which family it is, and that nothing
 * of it is left over. */
#include "common/model/convert.h"

#include "common/model/llama2c.h"
#include "common/model/progress.h"
#include "common/model/pt.h"
#include "common/model/safetensors.h"
#include "common/model/tool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct family {
    const char *name;
    bool (*is)(const struct source *source);
    int (*convert)(struct convert *convert);
} families[] = {
    {"a decoder with learned positions", convert_is_gpt2, convert_gpt2},
    {"a decoder with rotary positions", convert_is_llama, convert_llama},
    {"an encoder of the paper's release", convert_is_encoder, convert_encoder},
};
#define FAMILIES (sizeof(families) / sizeof(families[0]))

/* The first bytes say what a file is; .safetensors files, which have no mark, their name. */
static int source_load(struct source *source, const char *path, char error[ENGINE_ERROR_BYTES])
{
    uint8_t head[8] = {0};
    FILE *file;
    size_t bytes;

    if (safetensors_is(path)) {
        return safetensors_load(source, path, error);
    }
    file = fopen(path, "rbe");
    if (!file) {
        snprintf(error, ENGINE_ERROR_BYTES, "%.300s: %s", path, strerror(errno));
        return TANDEM_EIO;
    }
    bytes = fread(head, 1, sizeof(head), file);
    fclose(file);
    if (bytes >= 4 && memcmp(head, "PK\003\004", 4) == 0) {
        return pt_load(source, path, error);
    }
    if (bytes >= 4 && memcmp(head, "GGUF", 4) == 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "%.300s is a model file already", path);
    } else if (bytes >= 2 && head[0] == 0x80) {
        snprintf(error, ENGINE_ERROR_BYTES,
                 "%.300s: a PyTorch file of before version 1.6; save it again with a newer one",
                 path);
    } else {
        const int result = llama2c_load(source, path, error);

        if (result != TANDEM_ENOTFOUND) {
            return result;
        }
        snprintf(
            error, ENGINE_ERROR_BYTES,
            "%.300s: neither a PyTorch checkpoint, a .safetensors file nor a whole llama2.c file",
            path);
    }
    return TANDEM_EUNSUPPORTED;
}

static int leftovers_check(const struct source *source, char error[ENGINE_ERROR_BYTES])
{
    for (size_t i = 0; i < source->tensor_count; i++) {
        if (!source->tensors[i].used) {
            snprintf(error, ENGINE_ERROR_BYTES,
                     "tensor %.200s has no place in this kind of model; a model without it would "
                     "be another one",
                     source->tensors[i].name);
            return TANDEM_EUNSUPPORTED;
        }
    }
    return 0;
}

static int family_convert(struct convert *convert)
{
    for (size_t i = 0; i < FAMILIES; i++) {
        if (families[i].is(convert->source)) {
            const int result = families[i].convert(convert);

            return result ? result : leftovers_check(convert->source, convert->error);
        }
    }
    return convert_fail(convert, TANDEM_EUNSUPPORTED,
                        "its tensors are those of no known kind of model (the first is %.200s)",
                        convert->source->tensor_count ? convert->source->tensors[0].name
                                                      : "missing");
}

/* ---- the command ---- */

static bool numbers_parse(const char *text, float *values, uint32_t *ret_count)
{
    char *end;

    for (*ret_count = 0; text && *text; text = *end ? end + 1 : end) {
        if (*ret_count == 4) {
            return false;
        }
        values[(*ret_count)++] = strtof(text, &end);
        if (end == text || (*end && *end != ',')) {
            return false;
        }
    }
    return true;
}

static int options_take(struct tool *tool, struct convert_options *options,
                        enum engine_weight_type *type)
{
    const struct tool_options *from = &tool->options;

    *options = (struct convert_options){.heads = (uint32_t)from->heads,
                                        .tokenizer = from->tokenizer,
                                        .merges = from->merges,
                                        .labels = from->labels,
                                        .name = from->name,
                                        .license = from->license};
    *type = ENGINE_WEIGHT_F16;
    if (from->type && !engine_weight_parse(from->type, type)) {
        return tool_say(tool, TOOL_WRONG_USE, "--type: \"%s\" is none of " TOOL_TYPES, from->type);
    }
    if (!numbers_parse(from->mean, options->mean, &options->mean_count) ||
        !numbers_parse(from->std, options->std, &options->std_count)) {
        return tool_say(tool, TOOL_WRONG_USE,
                        "--mean and --std are up to 4 numbers with commas between them");
    }
    return TOOL_DONE;
}

/* Without --tokenizer the one that lies beside the checkpoint, which is then said. */
static void tokenizer_choose(struct tool *tool, const struct source *source,
                             struct convert_options *options)
{
    if (options->tokenizer && strcmp(options->tokenizer, "none") == 0) {
        options->tokenizer = NULL;
    } else if (!options->tokenizer && source->tokenizer) {
        options->tokenizer = source->tokenizer;
        fprintf(tool->notes, "tokenizer: %s (--tokenizer none leaves it out)\n", source->tokenizer);
    }
}

/* Whether OUT is one of the files that the model comes from. */
static bool output_is_read(const struct tool *tool, const struct source *source,
                           const struct convert_options *options)
{
    for (uint32_t i = 0; i < source->file_count; i++) {
        if (tool_output_is_open(tool, source->files[i])) {
            return true;
        }
    }
    return tool_output_is(tool, tool->options.file) || tool_output_is(tool, options->tokenizer) ||
           tool_output_is(tool, options->merges) || tool_output_is(tool, options->labels);
}

int convert_run(struct tool *tool)
{
    char error[ENGINE_ERROR_BYTES] = "";
    struct convert_options options;
    struct source source = {0};
    struct target target;
    struct convert convert = {
        .source = &source, .target = &target, .options = &options, .error = error};
    struct progress progress;
    enum engine_weight_type type;
    int result = options_take(tool, &options, &type);

    if (result != TOOL_DONE) {
        return result;
    }
    target_init(&target);
    result = source_load(&source, tool->options.file, error);
    if (result == 0) {
        tokenizer_choose(tool, &source, &options);
        if (output_is_read(tool, &source, &options)) {
            target_fini(&target);
            source_fini(&source);
            return tool_say_same(tool);
        }
    }
    if (result == 0) {
        result = family_convert(&convert);
    }
    if (result == 0) {
        target_types_choose(&target, type);
        result = target_write(&target, &source, tool->options.output,
                              progress_begin(&progress, tool->notes, "MB", 1e6), &progress, error);
    }
    target_fini(&target);
    source_fini(&source);
    return result == 0 ? TOOL_DONE : tool_say_file(tool, error);
}
