#include "common/model/source.h"

#include "common/base/limits.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

size_t source_type_bytes(enum source_type type)
{
    static const size_t bytes[] = {[SOURCE_F32] = 4,
                                   [SOURCE_F16] = 2,
                                   [SOURCE_BF16] = 2,
                                   [SOURCE_F64] = 8,
                                   [SOURCE_OTHER] = 0};

    return bytes[type];
}

void source_fini(struct source *source)
{
    for (uint32_t i = 0; i < source->file_count; i++) {
        close(source->files[i]);
    }
    for (size_t i = 0; i < source->tensor_count; i++) {
        free(source->tensors[i].name);
    }
    free(source->tensors);
    free(source->tokenizer);
    cJSON_Delete(source->config);
    memset(source, 0, sizeof(*source));
}

int source_open(struct source *source, const char *path, uint32_t *ret_file,
                char error[ENGINE_ERROR_BYTES])
{
    struct stat status;
    int file;

    if (source->file_count == SOURCE_FILES) {
        snprintf(error, ENGINE_ERROR_BYTES, "%.300s: more than %d files", path, SOURCE_FILES);
        return TANDEM_ETOOBIG;
    }
    file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0 || fstat(file, &status) != 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "%.300s: %s", path, strerror(errno));
        if (file >= 0) {
            close(file);
        }
        return TANDEM_EIO;
    }
    if (!S_ISREG(status.st_mode) || status.st_size > LIMIT_MODEL_FILE_BYTES) {
        snprintf(error, ENGINE_ERROR_BYTES, "%.300s: %s", path,
                 S_ISREG(status.st_mode) ? "too large" : "not a file");
        close(file);
        return S_ISREG(status.st_mode) ? TANDEM_ETOOBIG : TANDEM_EIO;
    }
    *ret_file = source->file_count++;
    source->files[*ret_file] = file;
    source->file_bytes[*ret_file] = (uint64_t)status.st_size;
    return 0;
}

int source_read(const struct source *source, uint32_t file, uint64_t at_bytes, void *ret_data,
                size_t bytes)
{
    uint8_t *next = ret_data;

    while (bytes > 0) {
        const ssize_t got = pread(source->files[file], next, bytes, (off_t)at_bytes);

        if (got <= 0) {
            if (got < 0 && errno == EINTR) {
                continue;
            }
            return TANDEM_EIO;
        }
        next += got;
        at_bytes += (uint64_t)got;
        bytes -= (size_t)got;
    }
    return 0;
}

int source_text(const char *path, uint64_t max_bytes, char **ret_text, size_t *ret_bytes,
                char error[ENGINE_ERROR_BYTES])
{
    struct source one = {0};
    uint32_t file;
    char *text = NULL;
    int result = source_open(&one, path, &file, error);

    if (result == 0 && one.file_bytes[file] > max_bytes) {
        snprintf(error, ENGINE_ERROR_BYTES, "%.300s: too large", path);
        result = TANDEM_ETOOBIG;
    }
    if (result == 0 && !(text = malloc((size_t)one.file_bytes[file] + 1))) {
        snprintf(error, ENGINE_ERROR_BYTES, "%.300s: no memory to read it", path);
        result = TANDEM_ENOMEM;
    }
    if (result == 0 && source_read(&one, file, 0, text, (size_t)one.file_bytes[file]) != 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "%.300s: cannot be read", path);
        result = TANDEM_EIO;
    }
    if (result == 0) {
        text[one.file_bytes[file]] = '\0';
        *ret_text = text;
        *ret_bytes = (size_t)one.file_bytes[file];
        text = NULL;
    }
    free(text);
    source_fini(&one);
    return result;
}

/* How many elements from the first to the last one that shape and stride reach; false on overflow.
 */
bool source_span(const struct source_tensor *tensor, uint64_t *ret_span)
{
    uint64_t last = 0, step;

    for (uint32_t i = 0; i < tensor->dimension_count; i++) {
        if (tensor->shape[i] == 0) {
            *ret_span = 0;
            return true;
        }
        if (__builtin_mul_overflow(tensor->shape[i] - 1, tensor->stride[i], &step) ||
            __builtin_add_overflow(last, step, &last)) {
            return false;
        }
    }
    return !__builtin_add_overflow(last, 1, ret_span);
}

static int tensor_check(const struct source *source, struct source_tensor *tensor,
                        char error[ENGINE_ERROR_BYTES])
{
    uint64_t span, bytes;

    if (tensor->dimension_count > SOURCE_DIMENSIONS) {
        snprintf(error, ENGINE_ERROR_BYTES, "tensor %.200s has %u dimensions, at most %d are read",
                 tensor->name, tensor->dimension_count, SOURCE_DIMENSIONS);
        return TANDEM_EUNSUPPORTED;
    }
    tensor->elements = 1;
    for (uint32_t i = 0; i < tensor->dimension_count; i++) {
        if (__builtin_mul_overflow(tensor->elements, tensor->shape[i], &tensor->elements)) {
            tensor->elements = UINT64_MAX;
            break;
        }
    }
    if (tensor->elements > (uint64_t)LIMIT_MODEL_FILE_BYTES || !source_span(tensor, &span) ||
        __builtin_mul_overflow(span, source_type_bytes(tensor->type), &bytes) ||
        __builtin_add_overflow(bytes, tensor->at_bytes, &bytes) ||
        bytes > source->file_bytes[tensor->file]) {
        snprintf(error, ENGINE_ERROR_BYTES, "tensor %.200s reaches past the end of its data",
                 tensor->name);
        return TANDEM_EFORMAT;
    }
    return 0;
}

int source_add(struct source *source, const struct source_tensor *tensor,
               char error[ENGINE_ERROR_BYTES])
{
    struct source_tensor copy = *tensor;
    int result = tensor_check(source, &copy, error);

    if (result != 0) {
        return result;
    }
    if (source_find(source, tensor->name)) {
        snprintf(error, ENGINE_ERROR_BYTES, "tensor %.200s stands twice", tensor->name);
        return TANDEM_EFORMAT;
    }
    if (source->tensor_count == LIMIT_CHECKPOINT_TENSORS) {
        snprintf(error, ENGINE_ERROR_BYTES, "more than %d tensors", LIMIT_CHECKPOINT_TENSORS);
        return TANDEM_ETOOBIG;
    }
    if (source->tensor_count == source->tensor_capacity) {
        const size_t capacity = source->tensor_capacity ? source->tensor_capacity * 2 : 256;
        struct source_tensor *grown = realloc(source->tensors, capacity * sizeof(*grown));

        if (!grown) {
            snprintf(error, ENGINE_ERROR_BYTES, "no memory for the table of tensors");
            return TANDEM_ENOMEM;
        }
        source->tensors = grown;
        source->tensor_capacity = capacity;
    }
    copy.name = strdup(tensor->name);
    if (!copy.name) {
        snprintf(error, ENGINE_ERROR_BYTES, "no memory for the table of tensors");
        return TANDEM_ENOMEM;
    }
    source->tensors[source->tensor_count++] = copy;
    return 0;
}

struct source_tensor *source_find(const struct source *source, const char *name)
{
    for (size_t i = 0; i < source->tensor_count; i++) {
        if (strcmp(source->tensors[i].name, name) == 0) {
            return &source->tensors[i];
        }
    }
    return NULL;
}

static void elements_unpack(enum source_type type, const uint8_t *in, size_t count,
                            float *ret_values)
{
    static const enum engine_weight_type weights[] = {[SOURCE_F32] = ENGINE_WEIGHT_F32,
                                                      [SOURCE_F16] = ENGINE_WEIGHT_F16,
                                                      [SOURCE_BF16] = ENGINE_WEIGHT_BF16};

    if (type != SOURCE_F64) {
        engine_weight_unpack(weights[type], in, count, ret_values);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const uint64_t bits = le64_load(in + 8 * i);
        double wide;

        memcpy(&wide, &bits, sizeof(wide));
        ret_values[i] = (float)wide;
    }
}

/* One row: its elements in order, wherever the strides put them in `span` (which begins at the
 * row). */
static void row_gather(const struct source_tensor *tensor, const uint8_t *span, float *ret_values)
{
    const size_t size = source_type_bytes(tensor->type);
    uint64_t index[SOURCE_DIMENSIONS] = {0}, at = 0;
    uint64_t left = tensor->dimension_count ? tensor->elements / tensor->shape[0] : 1;

    for (; left > 0; left--) {
        elements_unpack(tensor->type, span + at * size, 1, ret_values++);
        for (uint32_t i = tensor->dimension_count; i-- > 1;) {
            at += tensor->stride[i];
            if (++index[i] < tensor->shape[i]) {
                break;
            }
            at -= tensor->stride[i] * tensor->shape[i];
            index[i] = 0;
        }
    }
}

/* Whether a row's elements lie one behind the other. */
static bool row_is_dense(const struct source_tensor *tensor)
{
    uint64_t stride = 1;

    for (uint32_t i = tensor->dimension_count; i-- > 1;) {
        if (tensor->shape[i] > 1 && tensor->stride[i] != stride) {
            return false;
        }
        stride *= tensor->shape[i];
    }
    return true;
}

/* `count` numbers that lie one behind the other. */
static int dense_read(const struct source *source, const struct source_tensor *tensor,
                      uint64_t at_bytes, uint64_t count, float *ret_values)
{
    const size_t size = source_type_bytes(tensor->type);
    uint8_t block[1 << 16];

    for (uint64_t here; count > 0; count -= here, at_bytes += here * size, ret_values += here) {
        int result;

        here = count < sizeof(block) / size ? count : sizeof(block) / size;
        result = source_read(source, tensor->file, at_bytes, block, (size_t)here * size);
        if (result != 0) {
            return result;
        }
        elements_unpack(tensor->type, block, (size_t)here, ret_values);
    }
    return 0;
}

int source_rows(const struct source *source, const struct source_tensor *tensor, uint64_t first,
                uint64_t count, float *ret_values)
{
    const size_t size = source_type_bytes(tensor->type);
    struct source_tensor row = *tensor;
    uint64_t span, columns;
    uint8_t *data;
    int result = 0;

    if (size == 0) {
        return TANDEM_EUNSUPPORTED;
    }
    if (tensor->elements == 0 || count == 0) {
        return 0;
    }
    row.shape[0] = 1;
    if (!source_span(&row, &span)) {
        return TANDEM_EFORMAT;
    }
    columns = tensor->dimension_count ? tensor->elements / tensor->shape[0] : 1;
    if (row_is_dense(tensor) && (tensor->dimension_count == 0 || tensor->stride[0] == columns)) {
        return dense_read(source, tensor, tensor->at_bytes + first * columns * size,
                          count * columns, ret_values);
    }
    data = malloc(span * size);
    if (!data) {
        return TANDEM_ENOMEM;
    }
    for (uint64_t i = first; result == 0 && i < first + count; i++) {
        const uint64_t at = tensor->dimension_count ? i * tensor->stride[0] * size : 0;

        result = source_read(source, tensor->file, tensor->at_bytes + at, data, span * size);
        if (result == 0) {
            row_gather(tensor, data, ret_values + (i - first) * columns);
        }
    }
    free(data);
    return result;
}
