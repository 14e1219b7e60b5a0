/* gguf_keys.h: GGUF files of keys alone, in memory, for tests of what reads them. Values are
 * written as given, right or wrong. */
#ifndef TANDEM_TESTS_GGUF_KEYS_H
#define TANDEM_TESTS_GGUF_KEYS_H

#include "common/base/buf.h"
#include "common/engine/gguf.h"

#include <string.h>

struct gguf_keys {
    struct buf body;
    uint64_t count;
};

static inline void keys_text(struct gguf_keys *keys, const char *text)
{
    (void)buf_append_le64(&keys->body, strlen(text));
    (void)buf_append_text(&keys->body, text);
}

static inline void keys_key(struct gguf_keys *keys, const char *key, enum gguf_type type)
{
    keys_text(keys, key);
    (void)buf_append_le32(&keys->body, (uint32_t)type);
    keys->count++;
}

static inline void keys_put_text(struct gguf_keys *keys, const char *key, const char *text)
{
    keys_key(keys, key, GGUF_TEXT);
    keys_text(keys, text);
}

static inline void keys_put_u32(struct gguf_keys *keys, const char *key, uint32_t value)
{
    keys_key(keys, key, GGUF_U32);
    (void)buf_append_le32(&keys->body, value);
}

static inline void keys_put_f32(struct gguf_keys *keys, const char *key, float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    keys_key(keys, key, GGUF_F32);
    (void)buf_append_le32(&keys->body, bits);
}

static inline void keys_put_bool(struct gguf_keys *keys, const char *key, bool value)
{
    keys_key(keys, key, GGUF_BOOL);
    (void)buf_append_u8(&keys->body, value);
}

static inline void keys_put_texts(struct gguf_keys *keys, const char *key, const char *const *texts,
                                  size_t count)
{
    keys_key(keys, key, GGUF_ARRAY);
    (void)buf_append_le32(&keys->body, GGUF_TEXT);
    (void)buf_append_le64(&keys->body, count);
    for (size_t i = 0; i < count; i++) {
        keys_text(keys, texts[i]);
    }
}

static inline void keys_put_u32s(struct gguf_keys *keys, const char *key, enum gguf_type type,
                                 const uint32_t *values, size_t count)
{
    keys_key(keys, key, GGUF_ARRAY);
    (void)buf_append_le32(&keys->body, (uint32_t)type);
    (void)buf_append_le64(&keys->body, count);
    for (size_t i = 0; i < count; i++) {
        (void)buf_append_le32(&keys->body, values[i]);
    }
}

/* The whole file; *returns owned* in *ret_file (buf_fini). Empties `keys`. */
static inline void keys_end(struct gguf_keys *keys, struct buf *ret_file)
{
    buf_init(ret_file, 0);
    (void)buf_append(ret_file, "GGUF", 4);
    (void)buf_append_le32(ret_file, 3);
    (void)buf_append_le64(ret_file, 0);
    (void)buf_append_le64(ret_file, keys->count);
    (void)buf_append(ret_file, keys->body.data, keys->body.bytes);
    while (ret_file->bytes % 32) {
        (void)buf_append_u8(ret_file, 0);
    }
    buf_fini(&keys->body);
    keys->count = 0;
}

#endif
