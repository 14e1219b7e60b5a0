/* buf.h: a growing byte buffer with a hard cap, and a bounded reader. A buffer is owned by one
 * thread at a time. */
#ifndef TANDEM_BASE_BUF_H
#define TANDEM_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

struct buf {
    uint8_t *data;
    size_t bytes;     /* used */
    size_t capacity;  /* allocated */
    size_t max_bytes; /* buf_* never grows past this; 0 means LIMIT_BUF_BYTES */
};

void buf_init(struct buf *buf, size_t max_bytes);
void buf_fini(struct buf *buf);  /* frees and zeroes; a zeroed buf is fine */
void buf_clear(struct buf *buf); /* keeps the memory */

/* Each returns 0, TANDEM_ETOOBIG over the cap, TANDEM_ENOMEM; on failure nothing changed. */
int buf_reserve(struct buf *buf, size_t more_bytes);
int buf_append(struct buf *buf, const void *data, size_t bytes);
int buf_append_u8(struct buf *buf, uint8_t value);
int buf_append_le16(struct buf *buf, uint16_t value);
int buf_append_le32(struct buf *buf, uint32_t value);
int buf_append_le64(struct buf *buf, uint64_t value);
int buf_append_text(struct buf *buf, const char *text); /* without the NUL */
int buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Drops the first `bytes` (<= buf->bytes), moving the rest down. */
void buf_consume(struct buf *buf, size_t bytes);
/* Hands the memory (returns owned, free() it; NULL when empty) to the caller and leaves `buf`
 * empty. */
uint8_t *buf_take(struct buf *buf, size_t *ret_bytes);

/* Little-endian loads and stores from unaligned memory. */
uint16_t le16_load(const void *at);
uint32_t le32_load(const void *at);
uint64_t le64_load(const void *at);
void le16_store(void *at, uint16_t value);
void le32_store(void *at, uint32_t value);
void le64_store(void *at, uint64_t value);

#endif
