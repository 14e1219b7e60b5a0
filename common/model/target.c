#include "common/model/target.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUANTIZATION_VERSION 2          /* of ggml's block layouts */
#define PIECE_FLOATS         (1u << 20) /* read and written at once, or one row when that is longer */

void target_init(struct target *target)
{
    memset(target, 0, sizeof(*target));
    gguf_writer_init(&target->writer);
}

void target_fini(struct target *target)
{
    for (size_t i = 0; i < target->count; i++) {
        free(target->tensors[i].values);
    }
    free(target->tensors);
    gguf_writer_fini(&target->writer);
}

struct target_tensor *target_add(struct target *target, const char *format, ...)
{
    struct target_tensor *tensor;
    va_list arguments;

    if (target->count == target->capacity) {
        const size_t capacity = target->capacity ? target->capacity * 2 : 64;

        tensor = realloc(target->tensors, capacity * sizeof(*tensor));
        if (!tensor) {
            return NULL;
        }
        target->tensors = tensor;
        target->capacity = capacity;
    }
    tensor = &target->tensors[target->count++];
    memset(tensor, 0, sizeof(*tensor));
    va_start(arguments, format);
    vsnprintf(tensor->name, sizeof(tensor->name), format, arguments);
    va_end(arguments);
    return tensor;
}

/* general.file_type: what most of a file's matrices are, by the numbers of other engines. */
static uint32_t file_type_of(enum engine_weight_type type)
{
    switch (type) {
    case ENGINE_WEIGHT_F32:
        break;
    case ENGINE_WEIGHT_F16:
        return 1;
    case ENGINE_WEIGHT_Q4_0:
        return 2;
    case ENGINE_WEIGHT_Q8_0:
        return 7;
    case ENGINE_WEIGHT_BF16:
        return 32;
    }
    return 0;
}

void target_types_choose(struct target *target, enum engine_weight_type wish)
{
    gguf_put_u32(&target->writer, "general.file_type", file_type_of(wish));
    if (engine_weight_block(wish) > 1) {
        gguf_put_u32(&target->writer, "general.quantization_version", QUANTIZATION_VERSION);
    }
    for (size_t i = 0; i < target->count; i++) {
        struct target_tensor *tensor = &target->tensors[i];
        const uint32_t block = engine_weight_block(wish);
        const bool kept = strcmp(tensor->name, "position_embd.weight") == 0 ||
                          strncmp(tensor->name, "stem.", 5) == 0;

        if (tensor->dimension_count < 2) {
            tensor->type = ENGINE_WEIGHT_F32;
        } else if (block > 1 && (kept || tensor->dimensions[0] % block != 0)) {
            tensor->type = ENGINE_WEIGHT_F16;
        } else {
            tensor->type = wish;
        }
    }
}

static uint64_t tensor_elements(const struct target_tensor *tensor)
{
    uint64_t elements = 1;

    for (uint32_t i = 0; i < tensor->dimension_count; i++) {
        elements *= tensor->dimensions[i];
    }
    return elements;
}

struct writing {
    const struct source *source;
    struct gguf_file *file;
    target_progress_fn progress;
    void *user;
    uint64_t done, total;
    char *error;
};

static void piece_done(struct writing *writing, const struct target_tensor *tensor, uint64_t count)
{
    writing->done += engine_weight_bytes(tensor->type, count);
    if (writing->progress) {
        writing->progress(writing->done, writing->total, writing->user);
    }
}

static int piece_append(struct writing *writing, const struct target_tensor *tensor,
                        const float *values, uint64_t count)
{
    const int result =
        gguf_file_append(writing->file, tensor->type, values, (size_t)count, writing->error);

    piece_done(writing, tensor, count);
    return result;
}

/* Row `i` of a head of `head` rows in the file comes from this row of it in the source: the source
 * has the first numbers of all pairs and then the second ones, the file has pair after pair. */
static uint64_t rotary_row(uint64_t row, uint32_t head)
{
    const uint64_t at = row % head;

    return row - at + at / 2 + at % 2 * (head / 2);
}

static int rows_read(struct writing *writing, const struct target_tensor *tensor,
                     const struct target_part *part, uint64_t first, uint64_t count,
                     uint64_t columns, float *values)
{
    int result = 0;

    if (tensor->rotary_head == 0) {
        result = source_rows(writing->source, part->tensor, part->first + first, count, values);
    }
    for (uint64_t i = 0; tensor->rotary_head != 0 && result == 0 && i < count; i++) {
        result = source_rows(writing->source, part->tensor,
                             part->first + rotary_row(first + i, tensor->rotary_head), 1,
                             values + i * columns);
    }
    if (result != 0) {
        snprintf(writing->error, ENGINE_ERROR_BYTES, "tensor %.200s: %s", part->tensor->name,
                 result == TANDEM_EIO ? "the file ended while it was read"
                                      : tandem_error_text(result));
    }
    return result;
}

static int part_write(struct writing *writing, const struct target_tensor *tensor,
                      const struct target_part *part)
{
    const struct source_tensor *from = part->tensor;
    const uint64_t rows = from->dimension_count ? from->shape[0] : 1;
    const uint64_t columns = rows ? from->elements / rows : 0;
    const uint64_t piece = columns && columns < PIECE_FLOATS ? PIECE_FLOATS / columns : 1;
    float *values = malloc((size_t)(piece * columns + 1) * sizeof(*values));
    int result = 0;

    if (!values) {
        snprintf(writing->error, ENGINE_ERROR_BYTES, "tensor %.200s: no memory for one piece of it",
                 from->name);
        return TANDEM_ENOMEM;
    }
    for (uint64_t at = 0; result == 0 && at < part->count; at += piece) {
        const uint64_t count = part->count - at < piece ? part->count - at : piece;

        result = rows_read(writing, tensor, part, at, count, columns, values);
        if (result == 0) {
            result = piece_append(writing, tensor, values, count * columns);
        }
    }
    free(values);
    return result;
}

/* Unpacked and packed again piece by piece, unless its type stays. */
static int packed_write(struct writing *writing, const struct target_tensor *tensor, float *values)
{
    const uint64_t elements = tensor_elements(tensor);
    const bool same = tensor->type == tensor->packed_type;
    int result = 0;

    for (uint64_t at = 0, count; result == 0 && at < elements; at += count) {
        const uint8_t *from =
            (const uint8_t *)tensor->packed + engine_weight_bytes(tensor->packed_type, at);

        count = elements - at < PIECE_FLOATS ? elements - at : PIECE_FLOATS;
        if (!same) {
            engine_weight_unpack(tensor->packed_type, from, (size_t)count, values);
            result = piece_append(writing, tensor, values, count);
            continue;
        }
        result = gguf_file_append_packed(
            writing->file, from, (size_t)engine_weight_bytes(tensor->type, count), writing->error);
        piece_done(writing, tensor, count);
    }
    return result;
}

static int made_write(struct writing *writing, const struct target_tensor *tensor, float *values)
{
    const uint64_t elements = tensor_elements(tensor);
    int result = 0;

    for (uint64_t at = 0, count; result == 0 && at < elements; at += count) {
        count = elements - at < PIECE_FLOATS ? elements - at : PIECE_FLOATS;
        tensor->make(tensor, at, values, count);
        result = piece_append(writing, tensor, values, count);
    }
    return result;
}

static int pieces_write(struct writing *writing, const struct target_tensor *tensor)
{
    float *values = malloc(PIECE_FLOATS * sizeof(*values));
    int result;

    if (!values) {
        snprintf(writing->error, ENGINE_ERROR_BYTES, "tensor %s: no memory for one piece of it",
                 tensor->name);
        return TANDEM_ENOMEM;
    }
    result = tensor->packed ? packed_write(writing, tensor, values)
                            : made_write(writing, tensor, values);
    free(values);
    return result;
}

static int tensor_write(struct writing *writing, const struct target_tensor *tensor)
{
    int result = 0;

    if (tensor->values) {
        result = piece_append(writing, tensor, tensor->values, tensor_elements(tensor));
    } else if (tensor->packed || tensor->make) {
        result = pieces_write(writing, tensor);
    }
    for (uint32_t i = 0; result == 0 && i < tensor->part_count; i++) {
        result = part_write(writing, tensor, &tensor->parts[i]);
    }
    return result == 0 ? gguf_file_tensor_end(writing->file, writing->error) : result;
}

int target_write(struct target *target, const struct source *source, const char *path,
                 target_progress_fn progress, void *user, char error[ENGINE_ERROR_BYTES])
{
    struct writing writing = {source, NULL, progress, user, 0, 0, error};
    int result;

    for (size_t i = 0; i < target->count; i++) {
        const struct target_tensor *tensor = &target->tensors[i];

        gguf_put_tensor(&target->writer, tensor->name, tensor->type, tensor->dimensions,
                        tensor->dimension_count);
        writing.total += engine_weight_bytes(tensor->type, tensor_elements(tensor));
    }
    result = gguf_file_create(&target->writer, path, &writing.file, error);
    for (size_t i = 0; result == 0 && i < target->count; i++) {
        result = tensor_write(&writing, &target->tensors[i]);
    }
    if (result == 0 && target->file && engine_file_check(target->file) != 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "the file became shorter while it was read");
        result = TANDEM_EIO;
    }
    if (result != 0) {
        gguf_file_discard(writing.file);
        return result;
    }
    return gguf_file_commit(writing.file, error);
}
