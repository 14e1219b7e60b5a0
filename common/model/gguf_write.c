#include "common/model/gguf_write.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    VERSION = 3,
    ALIGNMENT = 32,
    PIECE = 8192 /* numbers packed at once, a multiple of every block */
};
/* Kinds of values, by their numbers in the file. */
enum { KIND_U32 = 4, KIND_I32 = 5, KIND_F32 = 6, KIND_BOOL = 7, KIND_TEXT = 8, KIND_ARRAY = 9 };

struct gguf_file {
    FILE *out;
    char *path, *beside;
    uint64_t data_bytes;
};

void gguf_writer_init(struct gguf_writer *writer)
{
    memset(writer, 0, sizeof(*writer));
    buf_init(&writer->pairs, 0);
    buf_init(&writer->table, 0);
}

void gguf_writer_fini(struct gguf_writer *writer)
{
    buf_fini(&writer->pairs);
    buf_fini(&writer->table);
}

/* Every append goes through here, so that one check at the end is enough. */
static void keep(struct gguf_writer *writer, int result)
{
    if (writer->error == 0) {
        writer->error = result;
    }
}

static void put_bytes(struct gguf_writer *writer, struct buf *to, const void *data, size_t bytes)
{
    keep(writer, buf_append_le64(to, bytes));
    keep(writer, buf_append(to, data, bytes));
}

static void pair_begin(struct gguf_writer *writer, const char *key, uint32_t kind)
{
    put_bytes(writer, &writer->pairs, key, strlen(key));
    keep(writer, buf_append_le32(&writer->pairs, kind));
    writer->pair_count++;
}

static void array_begin(struct gguf_writer *writer, const char *key, uint32_t kind, size_t count)
{
    pair_begin(writer, key, KIND_ARRAY);
    keep(writer, buf_append_le32(&writer->pairs, kind));
    keep(writer, buf_append_le64(&writer->pairs, count));
}

static void put_f32(struct gguf_writer *writer, float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    keep(writer, buf_append_le32(&writer->pairs, bits));
}

void gguf_put_text(struct gguf_writer *writer, const char *key, const char *value)
{
    pair_begin(writer, key, KIND_TEXT);
    put_bytes(writer, &writer->pairs, value, strlen(value));
}

void gguf_put_u32(struct gguf_writer *writer, const char *key, uint32_t value)
{
    pair_begin(writer, key, KIND_U32);
    keep(writer, buf_append_le32(&writer->pairs, value));
}

void gguf_put_f32(struct gguf_writer *writer, const char *key, float value)
{
    pair_begin(writer, key, KIND_F32);
    put_f32(writer, value);
}

void gguf_put_bool(struct gguf_writer *writer, const char *key, bool value)
{
    pair_begin(writer, key, KIND_BOOL);
    keep(writer, buf_append_u8(&writer->pairs, value));
}

void gguf_put_f32s(struct gguf_writer *writer, const char *key, const float *values, size_t count)
{
    array_begin(writer, key, KIND_F32, count);
    for (size_t i = 0; i < count; i++) {
        put_f32(writer, values[i]);
    }
}

void gguf_put_i32s(struct gguf_writer *writer, const char *key, const int32_t *values, size_t count)
{
    array_begin(writer, key, KIND_I32, count);
    for (size_t i = 0; i < count; i++) {
        keep(writer, buf_append_le32(&writer->pairs, (uint32_t)values[i]));
    }
}

void gguf_put_u32s(struct gguf_writer *writer, const char *key, const uint32_t *values,
                   size_t count)
{
    array_begin(writer, key, KIND_U32, count);
    for (size_t i = 0; i < count; i++) {
        keep(writer, buf_append_le32(&writer->pairs, values[i]));
    }
}

void gguf_put_texts(struct gguf_writer *writer, const char *key, const char *const *values,
                    const size_t *lengths, size_t count)
{
    array_begin(writer, key, KIND_TEXT, count);
    for (size_t i = 0; i < count; i++) {
        put_bytes(writer, &writer->pairs, values[i], lengths ? lengths[i] : strlen(values[i]));
    }
}

void gguf_put_pair(struct gguf_writer *writer, const void *data, size_t bytes)
{
    keep(writer, buf_append(&writer->pairs, data, bytes));
    writer->pair_count++;
}

static uint64_t aligned(uint64_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

void gguf_put_tensor(struct gguf_writer *writer, const char *name, enum engine_weight_type type,
                     const uint64_t *dimensions, uint32_t dimension_count)
{
    uint64_t elements = 1;

    put_bytes(writer, &writer->table, name, strlen(name));
    keep(writer, buf_append_le32(&writer->table, dimension_count));
    for (uint32_t i = 0; i < dimension_count; i++) {
        keep(writer, buf_append_le64(&writer->table, dimensions[i]));
        elements *= dimensions[i];
    }
    keep(writer, buf_append_le32(&writer->table, type));
    keep(writer, buf_append_le64(&writer->table, writer->data_bytes));
    writer->data_bytes += aligned(engine_weight_bytes(type, elements));
    writer->tensor_count++;
}

/* ---- the file ---- */

static int write_failed(const struct gguf_file *file, char error[ENGINE_ERROR_BYTES])
{
    snprintf(error, ENGINE_ERROR_BYTES, "%.300s: %s", file->path, strerror(errno));
    return TANDEM_EIO;
}

static int put_out(struct gguf_file *file, const void *data, size_t bytes,
                   char error[ENGINE_ERROR_BYTES])
{
    if (bytes > 0 && fwrite(data, 1, bytes, file->out) != bytes) {
        return write_failed(file, error);
    }
    file->data_bytes += bytes;
    return 0;
}

static int pad_out(struct gguf_file *file, char error[ENGINE_ERROR_BYTES])
{
    static const uint8_t zeros[ALIGNMENT];

    return put_out(file, zeros, (size_t)(aligned(file->data_bytes) - file->data_bytes), error);
}

static int head_write(struct gguf_file *file, const struct gguf_writer *writer,
                      char error[ENGINE_ERROR_BYTES])
{
    uint8_t head[24] = {'G', 'G', 'U', 'F'};
    int result;

    le32_store(head + 4, VERSION);
    le64_store(head + 8, writer->tensor_count);
    le64_store(head + 16, writer->pair_count);
    result = put_out(file, head, sizeof(head), error);
    if (result == 0) {
        result = put_out(file, writer->pairs.data, writer->pairs.bytes, error);
    }
    if (result == 0) {
        result = put_out(file, writer->table.data, writer->table.bytes, error);
    }
    return result == 0 ? pad_out(file, error) : result;
}

int gguf_file_create(struct gguf_writer *writer, const char *path, struct gguf_file **ret_file,
                     char error[ENGINE_ERROR_BYTES])
{
    struct gguf_file *file = calloc(1, sizeof(*file));
    int handle, result;

    if (writer->error != 0 || !file || !(file->path = strdup(path)) ||
        asprintf(&file->beside, "%s.XXXXXX", path) < 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "%.300s: %s", path,
                 tandem_error_text(writer->error ? writer->error : TANDEM_ENOMEM));
        result = writer->error ? writer->error : TANDEM_ENOMEM;
        if (file) {
            free(file->path);
        }
        free(file);
        return result;
    }
    handle = mkstemp(file->beside);
    file->out = handle < 0 ? NULL : fdopen(handle, "wb");
    if (!file->out) {
        result = write_failed(file, error);
        if (handle >= 0) {
            close(handle);
        }
    } else {
        const mode_t mask = umask(0);

        umask(mask);
        (void)fchmod(handle, 0666 & ~mask); /* as a plainly created file */
        result = head_write(file, writer, error);
    }
    if (result != 0) {
        gguf_file_discard(file);
        return result;
    }
    *ret_file = file;
    return 0;
}

int gguf_file_append(struct gguf_file *file, enum engine_weight_type type, const float *values,
                     size_t elements, char error[ENGINE_ERROR_BYTES])
{
    uint8_t packed[PIECE * 4];
    int result = 0;

    while (result == 0 && elements > 0) {
        const size_t part = elements < PIECE ? elements : PIECE;

        engine_weight_pack(type, values, part, packed);
        result = put_out(file, packed, (size_t)engine_weight_bytes(type, part), error);
        values += part;
        elements -= part;
    }
    return result;
}

int gguf_file_append_packed(struct gguf_file *file, const void *data, size_t bytes,
                            char error[ENGINE_ERROR_BYTES])
{
    return put_out(file, data, bytes, error);
}

int gguf_file_tensor_end(struct gguf_file *file, char error[ENGINE_ERROR_BYTES])
{
    return pad_out(file, error);
}

/* So that the new name itself is on the disk. Not every file system can: then the data at least is.
 */
static void folder_sync(const char *path)
{
    char *copy = strdup(path);
    const int folder = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

    if (folder >= 0) {
        (void)fsync(folder);
        close(folder);
    }
    free(copy);
}

int gguf_file_commit(struct gguf_file *file, char error[ENGINE_ERROR_BYTES])
{
    if (fflush(file->out) != 0 || fsync(fileno(file->out)) != 0 ||
        rename(file->beside, file->path) != 0) {
        const int result = write_failed(file, error);

        gguf_file_discard(file);
        return result;
    }
    folder_sync(file->path);
    free(file->beside); /* nothing to remove any more */
    file->beside = NULL;
    gguf_file_discard(file);
    return 0;
}

void gguf_file_discard(struct gguf_file *file)
{
    if (!file) {
        return;
    }
    if (file->out) {
        (void)fclose(file->out);
    }
    if (file->beside) {
        (void)unlink(file->beside);
    }
    free(file->beside);
    free(file->path);
    free(file);
}
