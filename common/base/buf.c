#include "common/base/buf.h"

#include "common/base/error.h"
#include "common/base/limits.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_FIRST_BYTES 256

void buf_init(struct buf *buf, size_t max_bytes)
{
    *buf = (struct buf){.max_bytes = max_bytes};
}

void buf_fini(struct buf *buf)
{
    free(buf->data);
    *buf = (struct buf){0};
}

void buf_clear(struct buf *buf)
{
    buf->bytes = 0;
}

int buf_reserve(struct buf *buf, size_t more_bytes)
{
    const size_t max_bytes = buf->max_bytes ? buf->max_bytes : LIMIT_BUF_BYTES;
    size_t capacity = buf->capacity ? buf->capacity : BUF_FIRST_BYTES;
    uint8_t *data;

    if (buf->bytes > max_bytes || more_bytes > max_bytes - buf->bytes) {
        return TANDEM_ETOOBIG;
    }
    if (more_bytes <= buf->capacity - buf->bytes) {
        return 0;
    }
    while (capacity - buf->bytes < more_bytes) {
        capacity = capacity > max_bytes / 2 ? max_bytes : capacity * 2;
    }
    data = realloc(buf->data, capacity);
    if (!data) {
        return TANDEM_ENOMEM;
    }
    buf->data = data;
    buf->capacity = capacity;
    return 0;
}

int buf_append(struct buf *buf, const void *data, size_t bytes)
{
    const int result = buf_reserve(buf, bytes);

    if (result == 0 && bytes > 0) {
        memcpy(buf->data + buf->bytes, data, bytes);
        buf->bytes += bytes;
    }
    return result;
}

int buf_append_u8(struct buf *buf, uint8_t value)
{
    return buf_append(buf, &value, sizeof(value));
}

int buf_append_le16(struct buf *buf, uint16_t value)
{
    uint8_t bytes[2];

    le16_store(bytes, value);
    return buf_append(buf, bytes, sizeof(bytes));
}

int buf_append_le32(struct buf *buf, uint32_t value)
{
    uint8_t bytes[4];

    le32_store(bytes, value);
    return buf_append(buf, bytes, sizeof(bytes));
}

int buf_append_le64(struct buf *buf, uint64_t value)
{
    uint8_t bytes[8];

    le64_store(bytes, value);
    return buf_append(buf, bytes, sizeof(bytes));
}

int buf_append_text(struct buf *buf, const char *text)
{
    return buf_append(buf, text, strlen(text));
}

int buf_printf(struct buf *buf, const char *format, ...)
{
    char small[256];
    char *text = small;
    va_list arguments;
    int length;
    int result;

    va_start(arguments, format);
    length = vsnprintf(small, sizeof(small), format, arguments);
    va_end(arguments);
    if (length < 0) {
        return TANDEM_EINVAL;
    }
    if ((size_t)length >= sizeof(small)) {
        text = malloc((size_t)length + 1);
        if (!text) {
            return TANDEM_ENOMEM;
        }
        va_start(arguments, format);
        vsnprintf(text, (size_t)length + 1, format, arguments);
        va_end(arguments);
    }
    result = buf_append(buf, text, (size_t)length);
    if (text != small) {
        free(text);
    }
    return result;
}

void buf_consume(struct buf *buf, size_t bytes)
{
    if (bytes >= buf->bytes) {
        buf->bytes = 0;
        return;
    }
    if (bytes > 0) {
        memmove(buf->data, buf->data + bytes, buf->bytes - bytes);
        buf->bytes -= bytes;
    }
}

uint8_t *buf_take(struct buf *buf, size_t *ret_bytes)
{
    uint8_t *data = buf->data;

    *ret_bytes = buf->bytes;
    if (buf->bytes == 0) {
        free(data);
        data = NULL;
    }
    buf->data = NULL;
    buf->bytes = 0;
    buf->capacity = 0;
    return data;
}

uint16_t le16_load(const void *at)
{
    const uint8_t *byte = at;

    return (uint16_t)(byte[0] | (unsigned)byte[1] << 8);
}

uint32_t le32_load(const void *at)
{
    const uint8_t *byte = at;

    return (uint32_t)byte[0] | (uint32_t)byte[1] << 8 | (uint32_t)byte[2] << 16 |
           (uint32_t)byte[3] << 24;
}

uint64_t le64_load(const void *at)
{
    const uint8_t *byte = at;

    return (uint64_t)le32_load(byte) | (uint64_t)le32_load(byte + 4) << 32;
}

void le16_store(void *at, uint16_t value)
{
    uint8_t *byte = at;

    byte[0] = (uint8_t)value;
    byte[1] = (uint8_t)(value >> 8);
}

void le32_store(void *at, uint32_t value)
{
    uint8_t *byte = at;

    le16_store(byte, (uint16_t)value);
    le16_store(byte + 2, (uint16_t)(value >> 16));
}

void le64_store(void *at, uint64_t value)
{
    uint8_t *byte = at;

    le32_store(byte, (uint32_t)value);
    le32_store(byte + 4, (uint32_t)(value >> 32));
}
