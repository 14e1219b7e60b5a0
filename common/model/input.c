/* input.c: from files and arguments to what the engine takes. */
#include "common/base/limits.h"
#include "common/model/tool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int input_context(struct engine_model *model, uint32_t max_tokens,
                  struct engine_context **ret_context, char error[ENGINE_ERROR_BYTES])
{
    return input_context_many(model, max_tokens, 1, ret_context, error);
}

int input_context_many(struct engine_model *model, uint32_t max_tokens, uint32_t max_sequences,
                       struct engine_context **ret_context, char error[ENGINE_ERROR_BYTES])
{
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    const struct engine_context_params params = {
        .max_tokens = max_tokens,
        .max_sequences = max_sequences,
        .threads = processors > 1 ? (uint32_t)processors : 1,
    };

    return engine_context_new(model, &params, ret_context, error);
}

int input_tokens(const char *text, uint32_t *ids, size_t capacity, size_t *ret_count,
                 char error[ENGINE_ERROR_BYTES])
{
    size_t count = 0;

    for (const char *at = text;; at++) {
        char *end = NULL;
        unsigned long value;

        errno = 0;
        value = strtoul(at, &end, 10);
        if (*at < '0' || *at > '9' || errno != 0 || value > UINT32_MAX ||
            (*end != ',' && *end != '\0')) {
            snprintf(error, ENGINE_ERROR_BYTES,
                     "ids with commas between them are expected, not \"%.40s\"", at);
            return TANDEM_EINVAL;
        }
        if (count == capacity) {
            snprintf(error, ENGINE_ERROR_BYTES,
                     "more tokens than the %zu that the model takes at once", capacity);
            return TANDEM_ETOOBIG;
        }
        ids[count++] = (uint32_t)value;
        at = end;
        if (*at == '\0') {
            break;
        }
    }
    *ret_count = count;
    return 0;
}

int input_file(const char *path, size_t max_bytes, struct buf *out, char error[ENGINE_ERROR_BYTES])
{
    FILE *file = fopen(path, "rb");
    struct stat status;
    size_t got;
    int rc = 0;

    if (file && fstat(fileno(file), &status) == 0 && S_ISREG(status.st_mode) &&
        (uint64_t)status.st_size > max_bytes) {
        snprintf(error, ENGINE_ERROR_BYTES, "%.300s: over the limit of %zu bytes", path, max_bytes);
        fclose(file);
        return TANDEM_ETOOBIG;
    }
    if (!file) {
        snprintf(error, ENGINE_ERROR_BYTES, "%s: %s", path, strerror(errno));
        return TANDEM_EIO;
    }
    do {
        uint8_t block[16384];

        errno = 0;
        got = fread(block, 1, sizeof block, file);
        if (out->bytes + got > max_bytes) {
            snprintf(error, ENGINE_ERROR_BYTES, "%.300s: over the limit of %zu bytes", path,
                     max_bytes);
            rc = TANDEM_ETOOBIG;
        } else {
            rc = buf_append(out, block, got);
            if (rc != 0) {
                snprintf(error, ENGINE_ERROR_BYTES, "%.300s: %s", path, tandem_error_text(rc));
            }
        }
    } while (rc == 0 && got > 0);
    if (rc == 0 && ferror(file)) {
        snprintf(error, ENGINE_ERROR_BYTES, "%s: %s", path, strerror(errno));
        rc = TANDEM_EIO;
    }
    fclose(file);
    return rc;
}

int input_encode_bytes(struct engine_model *model, struct engine_context *context,
                       const struct buf *file, const float **ret_logits,
                       char error[ENGINE_ERROR_BYTES])
{
    const struct engine_picture picture = {
        .format = ENGINE_PIXELS_ENCODED, .data = file->data, .bytes = file->bytes};
    const float *pixels_list[1];
    float *pixels = malloc((engine_picture_floats(model) + 1) * sizeof *pixels);
    int rc;

    if (!pixels) {
        snprintf(error, ENGINE_ERROR_BYTES, "no memory for the picture");
        return TANDEM_ENOMEM;
    }
    rc = engine_picture_prepare(model, &picture, pixels, error);
    if (rc == 0) {
        pixels_list[0] = pixels;
        rc = engine_encode_pictures(context, pixels_list, 1, NULL, ret_logits);
        if (rc != 0) {
            snprintf(error, ENGINE_ERROR_BYTES, "the model could not be run: %s",
                     tandem_error_text(rc));
        }
    }
    free(pixels);
    return rc;
}

int input_encode_picture(struct engine_model *model, struct engine_context *context,
                         const char *path, const float **ret_logits, char error[ENGINE_ERROR_BYTES])
{
    char why[ENGINE_ERROR_BYTES] = "";
    struct buf file;
    int rc;

    buf_init(&file, LIMIT_PICTURE_BYTES);
    rc = input_file(path, LIMIT_PICTURE_BYTES, &file, error);
    if (rc == 0) {
        rc = input_encode_bytes(model, context, &file, ret_logits, why);
        if (rc != 0) {
            snprintf(error, ENGINE_ERROR_BYTES, "%.255s: %.250s", path, why);
        }
    }
    buf_fini(&file);
    return rc;
}

int input_prefill(struct engine_context *context, struct engine_seq *seq, const uint32_t *tokens,
                  size_t count, size_t chunk, const float **ret_logits)
{
    int rc = count > UINT32_MAX ? TANDEM_ETOOBIG : engine_seq_reserve(seq, (uint32_t)count);

    for (size_t at = 0; at < count && rc == 0; at += chunk) {
        const size_t here = count - at < chunk ? count - at : chunk;
        struct engine_chunk piece = {
            .seq = seq,
            .tokens = tokens + at,
            .count = (uint32_t)here,
            .want = at + here == count ? ENGINE_LOGITS_LAST : ENGINE_LOGITS_NONE,
        };

        rc = engine_step(context, &piece, 1, NULL, ret_logits);
    }
    return rc;
}
