/* checkpoint_file.h: builds checkpoints byte by byte: pickles from opcodes, zip files from entries.
 */
#ifndef TANDEM_TESTS_CHECKPOINT_FILE_H
#define TANDEM_TESTS_CHECKPOINT_FILE_H

#include "common/base/buf.h"
#include "common/model/source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

struct entry {
    const char *name;
    const void *data;
    size_t bytes;
    uint64_t said_bytes; /* in the directory; 0: bytes */
    uint64_t said_at;    /* of the local header; 0: where it is */
    uint16_t method;
};

static inline void append_u16(struct buf *buf, uint16_t value)
{
    assert_int_equal(buf_append_le16(buf, value), 0);
}

static inline void append_u32(struct buf *buf, uint32_t value)
{
    assert_int_equal(buf_append_le32(buf, value), 0);
}

static inline void append_header(struct buf *out, const struct entry *entry, uint32_t bytes)
{
    append_u16(out, 20);
    append_u16(out, 0);
    append_u16(out, entry->method);
    append_u32(out, 0); /* time */
    append_u32(out, 0); /* checksum */
    append_u32(out, bytes);
    append_u32(out, bytes);
    append_u16(out, (uint16_t)strlen(entry->name));
    append_u16(out, 0);
}

/* A whole zip file. */
static inline void zip_build(struct buf *out, const struct entry *entries, size_t count)
{
    uint32_t at[16], directory;

    assert_true(count <= 16);
    buf_init(out, 0);
    for (size_t i = 0; i < count; i++) {
        at[i] = (uint32_t)out->bytes;
        append_u32(out, 0x04034b50);
        append_header(out, &entries[i], (uint32_t)entries[i].bytes);
        assert_int_equal(buf_append_text(out, entries[i].name), 0);
        assert_int_equal(buf_append(out, entries[i].data, entries[i].bytes), 0);
    }
    directory = (uint32_t)out->bytes;
    for (size_t i = 0; i < count; i++) {
        const struct entry *entry = &entries[i];

        append_u32(out, 0x02014b50);
        append_u16(out, 20);
        append_header(out, entry, (uint32_t)(entry->said_bytes ? entry->said_bytes : entry->bytes));
        append_u16(out, 0);
        append_u16(out, 0);
        append_u16(out, 0);
        append_u32(out, 0);
        append_u32(out, entry->said_at ? (uint32_t)entry->said_at : at[i]);
        assert_int_equal(buf_append_text(out, entry->name), 0);
    }
    append_u32(out, 0x06054b50);
    append_u32(out, 0);
    append_u16(out, (uint16_t)count);
    append_u16(out, (uint16_t)count);
    append_u32(out, (uint32_t)out->bytes - 12 - directory);
    append_u32(out, directory);
    append_u16(out, 0);
}

/* ---- pickles ---- */

static inline void pickle_text(struct buf *out, const char *text)
{
    assert_int_equal(buf_append_u8(out, 'X'), 0);
    append_u32(out, (uint32_t)strlen(text));
    assert_int_equal(buf_append_text(out, text), 0);
}

static inline void pickle_int(struct buf *out, int32_t value)
{
    assert_int_equal(buf_append_u8(out, 'J'), 0);
    append_u32(out, (uint32_t)value);
}

static inline void pickle_ops(struct buf *out, const char *ops)
{
    assert_int_equal(buf_append_text(out, ops), 0);
}

/* A tensor of floats in storage "0" that holds `stored` numbers. */
static inline void pickle_tensor(struct buf *out, int32_t offset, int32_t rows, int32_t columns,
                                 int32_t stored)
{
    pickle_ops(out, "ctorch._utils\n_rebuild_tensor_v2\n(");
    pickle_ops(out, "(");
    pickle_text(out, "storage");
    pickle_ops(out, "ctorch\nFloatStorage\n");
    pickle_text(out, "0");
    pickle_text(out, "cpu");
    pickle_int(out, stored);
    pickle_ops(out, "tQ");
    pickle_int(out, offset);
    pickle_ops(out, "(");
    pickle_int(out, rows);
    pickle_int(out, columns);
    pickle_ops(out, "t(");
    pickle_int(out, columns);
    pickle_int(out, 1);
    pickle_ops(out, "t\x89}tR");
}

static inline void pickle_begin(struct buf *out)
{
    buf_init(out, 0);
    assert_int_equal(buf_append(out, "\x80\x02", 2), 0);
}

/* ---- files ---- */

static inline void file_write(const char *path, const void *data, size_t bytes)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

#endif
