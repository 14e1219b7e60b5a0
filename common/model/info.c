/* info.c: `tandem-model info`. */
#include "common/model/tool.h"

#include <inttypes.h>
#include <string.h>

uint64_t info_kv_bytes(uint32_t tensors, uint32_t layers, uint32_t kv_heads, uint32_t head_dim)
{
    return UINT64_C(2) * tensors * layers * kv_heads * head_dim;
}

double info_kv_reduction(uint32_t tensors, uint32_t kv_heads, uint32_t heads)
{
    return 100.0 * (1.0 - (double)tensors * kv_heads / (2.0 * heads));
}

/* "81920 bytes (80 KiB)" */
static void bytes_print(FILE *out, const char *label, uint64_t bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1024;
        unit++;
    }
    fprintf(out, "%-22s %" PRIu64, label, bytes);
    if (unit > 0) {
        fprintf(out, " (%.4g %s)", value, units[unit]);
    }
    fputc('\n', out);
}

static void cache_print(FILE *out, const struct engine_model_info *info)
{
    if (info->kv_tensors_per_layer == 0) {
        fprintf(out, "%-22s none: an encoder keeps no cache\n", "KV cache");
        return;
    }
    fprintf(out, "%-22s %u a layer, F16\n", "KV tensors", info->kv_tensors_per_layer);
    bytes_print(out, "KV bytes per token", info->kv_bytes_per_token);
    bytes_print(out, "KV bytes per page", info->kv_bytes_per_page);
    bytes_print(out, "KV bytes, 2k tokens", info->kv_bytes_per_token * 2048);
    bytes_print(out, "KV bytes, 32k tokens", info->kv_bytes_per_token * 32768);
    fprintf(out, "%-22s %.1f %% less than QKV with %u heads\n", "KV reduction",
            info_kv_reduction(info->kv_tensors_per_layer, info->n_head_kv, info->n_head),
            info->n_head);
}

struct type_bytes {
    const char *label, *key;
    uint64_t bytes;
};
enum { TYPES = 5 };

static void type_bytes_list(const struct engine_model_info *info, struct type_bytes ret_list[TYPES])
{
    const struct type_bytes list[TYPES] = {
        {"F32 bytes", "f32_bytes", info->f32_bytes},
        {"F16 bytes", "f16_bytes", info->f16_bytes},
        {"BF16 bytes", "bf16_bytes", info->bf16_bytes},
        {"Q8_0 bytes", "q8_0_bytes", info->q8_0_bytes},
        {"Q4_0 bytes", "q4_0_bytes", info->q4_0_bytes},
    };

    memcpy(ret_list, list, sizeof(list));
}

static void text_print(FILE *out, struct engine_model *model)
{
    const struct engine_model_info *info = engine_model_info(model);
    const struct calibration *calibration = &info->calibration;
    struct type_bytes types[TYPES];

    fprintf(out, "%-22s %s\n", "file", info->path);
    if (info->name[0]) {
        fprintf(out, "%-22s %s\n", "name", info->name);
    }
    if (info->license[0]) {
        fprintf(out, "%-22s %s\n", "licence", info->license);
    }
    fprintf(out, "%-22s %s\n", "architecture", info->architecture_text);
    fprintf(out, "%-22s %s\n", "projection", info->projection_text);
    fprintf(out, "%-22s %u layers, width %u, feed-forward %u\n", "shape", info->n_layer,
            info->n_embd, info->n_ff);
    fprintf(out, "%-22s %u, of them %u for KV, width %u\n", "heads", info->n_head, info->n_head_kv,
            info->head_dim);
    fprintf(out, "%-22s %u tokens\n", "context", info->n_context);
    if (info->n_vocab) {
        fprintf(out, "%-22s %u%s\n", "vocabulary", info->n_vocab,
                info->has_tokenizer ? "" : ", no tokenizer");
    }
    if (info->image_width) {
        fprintf(out, "%-22s %u x %u, %u channels\n", "picture", info->image_width,
                info->image_height, info->image_channels);
    }
    if (!engine_is_decoder(info->architecture)) {
        fprintf(out, "%-22s %u\n", "classes", info->n_class);
    }
    if (calibration->temperature != 1 || calibration->count > 0) {
        fprintf(out, "%-22s temperature %.4g, a table of %zu points\n", "calibration",
                calibration->temperature, calibration->count);
    }
    fprintf(out, "%-22s %" PRIu64 "\n", "parameters", info->parameters);
    type_bytes_list(info, types);
    for (size_t i = 0; i < TYPES; i++) {
        if (types[i].bytes > 0) {
            bytes_print(out, types[i].label, types[i].bytes);
        }
    }
    bytes_print(out, "file bytes", info->file_bytes);
    cache_print(out, info);
    fprintf(out, "%-22s %s\n", "digest", engine_model_digest(model));
}

struct number {
    const char *key;
    uint64_t value;
};

static int json_print(const struct tool *tool, const struct engine_model_info *info)
{
    const struct number numbers[] = {
        {"parameters", info->parameters},
        {"n_layer", info->n_layer},
        {"n_embd", info->n_embd},
        {"n_ff", info->n_ff},
        {"n_head", info->n_head},
        {"n_head_kv", info->n_head_kv},
        {"head_dim", info->head_dim},
        {"n_context", info->n_context},
        {"n_vocab", info->n_vocab},
        {"n_class", info->n_class},
        {"image_width", info->image_width},
        {"image_height", info->image_height},
        {"image_channels", info->image_channels},
        {"file_bytes", info->file_bytes},
        {"kv_tensors_per_layer", info->kv_tensors_per_layer},
        {"kv_bytes_per_token", info->kv_bytes_per_token},
        {"kv_bytes_per_page", info->kv_bytes_per_page},
        {"page_tokens", ENGINE_PAGE_TOKENS},
        {"kv_bytes_2k", info->kv_bytes_per_token * 2048},
        {"kv_bytes_32k", info->kv_bytes_per_token * 32768},
        {"calibration_points", info->calibration.count},
    };
    struct type_bytes types[TYPES];
    struct json_writer json;
    struct buf buf;

    tool_json_begin(&json, &buf);
    json_text(&json, "path", info->path);
    json_text(&json, "name", info->name);
    json_text(&json, "license", info->license);
    json_text(&json, "architecture", info->architecture_text);
    json_text(&json, "projection", info->projection_text);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        json_uint(&json, numbers[i].key, numbers[i].value);
    }
    type_bytes_list(info, types);
    for (size_t i = 0; i < TYPES; i++) {
        json_uint(&json, types[i].key, types[i].bytes);
    }
    if (info->kv_tensors_per_layer > 0) {
        json_double(&json, "kv_reduction_percent",
                    info_kv_reduction(info->kv_tensors_per_layer, info->n_head_kv, info->n_head));
    }
    json_double(&json, "calibration_temperature", info->calibration.temperature);
    json_bool(&json, "has_tokenizer", info->has_tokenizer);
    json_text(&json, "digest", engine_model_digest(tool->model));
    return tool_json_end(tool, &json, &buf);
}

int info_run(struct tool *tool)
{
    const struct engine_model_info *info = engine_model_info(tool->model);

    if (tool->options.json) {
        return json_print(tool, info);
    }
    text_print(tool->out, tool->model);
    return TOOL_DONE;
}
