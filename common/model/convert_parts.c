/* convert_parts.c: what every family of checkpoints needs: finding, checking, handing on. */
#include "common/base/limits.h"
#include "common/model/convert.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_BYTES 160

int convert_fail(const struct convert *convert, int code, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(convert->error, ENGINE_ERROR_BYTES, format, arguments);
    va_end(arguments);
    return code;
}

struct source_tensor *convert_find(const struct convert *convert, const char *format, ...)
{
    char name[NAME_BYTES];
    struct source_tensor *tensor;
    const int at = snprintf(name, sizeof(name), "%s", convert->prefix);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(name + at, sizeof(name) - (size_t)at, format, arguments);
    va_end(arguments);
    tensor = source_find(convert->source, name);
    if (tensor) {
        tensor->used = true;
    }
    return tensor;
}

static void shape_text(const struct source_tensor *tensor, char *text, size_t bytes)
{
    size_t at = (size_t)snprintf(text, bytes, "[");

    for (uint32_t i = 0; i < tensor->dimension_count && at < bytes; i++) {
        at += (size_t)snprintf(text + at, bytes - at, "%s%llu", i ? ", " : "",
                               (unsigned long long)tensor->shape[i]);
    }
    if (at < bytes) {
        snprintf(text + at, bytes - at, "]");
    }
}

static int shape_check(const struct convert *convert, const struct source_tensor *tensor,
                       uint64_t rows, uint64_t columns)
{
    const uint32_t dimensions = rows ? 2 : 1;
    char found[96], wanted[64];

    if (tensor->type == SOURCE_OTHER) {
        return convert_fail(convert, TANDEM_EUNSUPPORTED,
                            "tensor %.200s does not hold floating-point numbers", tensor->name);
    }
    if (tensor->dimension_count == dimensions && tensor->shape[dimensions - 1] == columns &&
        (!rows || tensor->shape[0] == rows)) {
        return 0;
    }
    shape_text(tensor, found, sizeof(found));
    if (rows) {
        snprintf(wanted, sizeof(wanted), "[%llu, %llu]", (unsigned long long)rows,
                 (unsigned long long)columns);
    } else {
        snprintf(wanted, sizeof(wanted), "[%llu]", (unsigned long long)columns);
    }
    return convert_fail(convert, TANDEM_EFORMAT, "tensor %.200s: shape %s, expected %s",
                        tensor->name, found, wanted);
}

int convert_want(const struct convert *convert, const char *name, uint64_t rows, uint64_t columns,
                 const struct source_tensor **ret_tensor)
{
    const struct source_tensor *tensor = convert_find(convert, "%s", name);

    if (!tensor) {
        return convert_fail(convert, TANDEM_EFORMAT, "there is no tensor %s%s", convert->prefix,
                            name);
    }
    *ret_tensor = tensor;
    return shape_check(convert, tensor, rows, columns);
}

static int no_memory(const struct convert *convert)
{
    return convert_fail(convert, TANDEM_ENOMEM, "no memory for the table of tensors");
}

/* Biases of the same rows; all of the layers have one, or none has. */
static int bias_write(const struct convert *convert, const char *name,
                      const struct convert_rows *rows, uint32_t count)
{
    struct target_tensor *bias;
    uint64_t total = 0;
    uint32_t found = 0;

    for (uint32_t i = 0; i < count; i++) {
        found += convert_find(convert, "%s.bias", rows[i].base) != NULL;
    }
    if (found == 0) {
        return 0;
    }
    bias = target_add(convert->target, "%s.bias", name);
    if (!bias) {
        return no_memory(convert);
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct source_tensor *weight = convert_find(convert, "%s.weight", rows[i].base);
        char from[NAME_BYTES];
        int result;

        snprintf(from, sizeof(from), "%s.bias", rows[i].base);
        result = convert_want(convert, from, 0, weight->shape[0], &bias->parts[i].tensor);
        if (result != 0) {
            return result;
        }
        bias->parts[i].first = rows[i].first;
        bias->parts[i].count = rows[i].count;
        total += rows[i].count;
    }
    bias->part_count = count;
    bias->dimension_count = 1;
    bias->dimensions[0] = total;
    return 0;
}

int convert_linear(const struct convert *convert, const char *name, uint64_t in,
                   const struct convert_rows *rows, uint32_t count)
{
    struct target_tensor *weight = target_add(convert->target, "%s.weight", name);
    uint64_t total = 0;

    if (!weight) {
        return no_memory(convert);
    }
    for (uint32_t i = 0; i < count; i++) {
        char from[NAME_BYTES];
        int result;

        snprintf(from, sizeof(from), "%s.weight", rows[i].base);
        result = convert_want(convert, from,
                              rows[i].whole ? rows[i].whole : rows[i].first + rows[i].count, in,
                              &weight->parts[i].tensor);
        if (result != 0) {
            return result;
        }
        weight->parts[i].first = rows[i].first;
        weight->parts[i].count = rows[i].count;
        total += rows[i].count;
    }
    weight->part_count = count;
    weight->dimension_count = 2;
    weight->dimensions[0] = in;
    weight->dimensions[1] = total;
    return bias_write(convert, name, rows, count);
}

int convert_norm(const struct convert *convert, const char *name, const char *base)
{
    struct target_tensor *tensor = target_add(convert->target, "%s.weight", name);
    char from[NAME_BYTES];
    int result;

    if (!tensor) {
        return no_memory(convert);
    }
    snprintf(from, sizeof(from), "%s.weight", base);
    result = convert_want(convert, from, 0, convert->d, &tensor->parts[0].tensor);
    if (result != 0) {
        return result;
    }
    tensor->parts[0].count = tensor->dimensions[0] = convert->d;
    tensor->part_count = tensor->dimension_count = 1;
    if (convert->rms_norm) {
        return 0;
    }
    tensor = target_add(convert->target, "%s.bias", name);
    if (!tensor) {
        return no_memory(convert);
    }
    tensor->dimensions[0] = convert->d;
    tensor->dimension_count = 1;
    if (!convert_find(convert, "%s.bias", base)) {
        tensor->values = calloc(convert->d, sizeof(*tensor->values));
        return tensor->values ? 0 : no_memory(convert);
    }
    snprintf(from, sizeof(from), "%s.bias", base);
    tensor->parts[0].count = convert->d;
    tensor->part_count = 1;
    return convert_want(convert, from, 0, convert->d, &tensor->parts[0].tensor);
}

int convert_table(const struct convert *convert, const char *name, const char *from, uint64_t rows)
{
    struct target_tensor *tensor = target_add(convert->target, "%s", name);

    if (!tensor) {
        return no_memory(convert);
    }
    tensor->dimensions[0] = convert->d;
    tensor->dimensions[1] = tensor->parts[0].count = rows;
    tensor->dimension_count = 2;
    tensor->part_count = 1;
    return convert_want(convert, from, rows, convert->d, &tensor->parts[0].tensor);
}

/* An output matrix that is the token table itself is left out, as FORMAT.md has it. */
int convert_output(const struct convert *convert, const struct source_tensor *table)
{
    const struct source_tensor *head = source_find(convert->source, "lm_head.weight");
    struct target_tensor *tensor;

    if (!head) {
        return 0;
    }
    source_find(convert->source, "lm_head.weight")->used = true;
    if (head->file == table->file && head->at_bytes == table->at_bytes) {
        return 0;
    }
    if (head->dimension_count != 2 || head->shape[0] != table->shape[0] ||
        head->shape[1] != convert->d) {
        return convert_fail(convert, TANDEM_EFORMAT,
                            "tensor lm_head.weight: not of the shape of %s", table->name);
    }
    tensor = target_add(convert->target, "output.weight");
    if (!tensor) {
        return convert_fail(convert, TANDEM_ENOMEM, "no memory for the table of tensors");
    }
    tensor->dimension_count = 2;
    tensor->dimensions[0] = convert->d;
    tensor->dimensions[1] = table->shape[0];
    tensor->parts[0] = (struct target_part){head, 0, table->shape[0]};
    tensor->part_count = 1;
    return 0;
}

/* ---- the configuration ---- */

uint64_t convert_config_count(const struct convert *convert, const char *const *names)
{
    for (; *names; names++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(convert->source->config, *names);

        if (cJSON_IsNumber(item) && item->valuedouble >= 1 && item->valuedouble < 0x1p31 &&
            item->valuedouble == floor(item->valuedouble)) {
            return (uint64_t)item->valuedouble;
        }
    }
    return 0;
}

double convert_config_real(const struct convert *convert, const char *name, double otherwise)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(convert->source->config, name);

    return cJSON_IsNumber(item) && isfinite(item->valuedouble) ? item->valuedouble : otherwise;
}

const char *convert_config_text(const struct convert *convert, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(convert->source->config, name);

    return cJSON_IsString(item) ? item->valuestring : NULL;
}

int convert_heads(struct convert *convert)
{
    static const char *const names[] = {"n_head", "num_attention_heads", "n_heads", NULL};

    convert->heads =
        convert->options->heads ? convert->options->heads : convert_config_count(convert, names);
    if (convert->heads == 0) {
        return convert_fail(convert, TANDEM_EINVAL,
                            "the checkpoint does not say how many heads it has: give --heads N");
    }
    if (convert->heads > LIMIT_MODEL_HEADS || convert->d % convert->heads != 0) {
        return convert_fail(convert, TANDEM_EFORMAT, "%llu heads do not divide the width %llu",
                            (unsigned long long)convert->heads, (unsigned long long)convert->d);
    }
    convert->kv_heads = convert->heads;
    convert->head_dim = convert->d / convert->heads;
    return 0;
}

static void put_count(const struct convert *convert, const char *key, uint64_t value)
{
    char full[64];

    snprintf(full, sizeof(full), "%s.%s", convert->architecture, key);
    gguf_put_u32(&convert->target->writer, full, (uint32_t)value);
}

void convert_pairs(const struct convert *convert, const char *projection, const char *activation,
                   double epsilon)
{
    struct gguf_writer *writer = &convert->target->writer;
    char key[64];

    gguf_put_text(writer, "general.architecture", convert->architecture);
    if (convert->options->name) {
        gguf_put_text(writer, "general.name", convert->options->name);
    }
    if (convert->options->license) {
        gguf_put_text(writer, "general.license", convert->options->license);
    }
    put_count(convert, "block_count", convert->layers);
    put_count(convert, "embedding_length", convert->d);
    put_count(convert, "feed_forward_length", convert->ff);
    put_count(convert, "attention.head_count", convert->heads);
    put_count(convert, "attention.head_count_kv", convert->kv_heads);
    snprintf(key, sizeof(key), "%s.attention.layer_norm_%sepsilon", convert->architecture,
             convert->rms_norm ? "rms_" : "");
    gguf_put_f32(writer, key, (float)epsilon);
    snprintf(key, sizeof(key), "%s.attention.projection", convert->architecture);
    gguf_put_text(writer, key, projection);
    snprintf(key, sizeof(key), "%s.activation", convert->architecture);
    gguf_put_text(writer, key, activation);
}
