/* The GGUF reader: one bounded cursor walks the part before the tensor data, twice: over the file
 * to learn where it ends, and over the copy that is kept. */
#include "common/engine/gguf_parts.h"

#include "common/base/limits.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GGUF_MAGIC   "GGUF"
#define GGUF_VERSION 3

struct cursor {
    const uint8_t *start, *at, *end;
    char *error;
};

static int fail(char error[ENGINE_ERROR_BYTES], int rc, const char *text)
{
    snprintf(error, ENGINE_ERROR_BYTES, "%s", text);
    return rc;
}

/* ---- cursor ---- */

static int cursor_take(struct cursor *cursor, uint64_t bytes, const uint8_t **ret_at)
{
    if (bytes > (uint64_t)(cursor->end - cursor->at)) {
        return fail(cursor->error, TANDEM_EFORMAT, "the file ends inside its header");
    }
    *ret_at = cursor->at;
    cursor->at += bytes;
    return 0;
}

static int cursor_u32(struct cursor *cursor, uint32_t *ret_value)
{
    const uint8_t *at;
    const int rc = cursor_take(cursor, 4, &at);

    if (rc == 0) {
        *ret_value = le32_load(at);
    }
    return rc;
}

static int cursor_u64(struct cursor *cursor, uint64_t *ret_value)
{
    const uint8_t *at;
    const int rc = cursor_take(cursor, 8, &at);

    if (rc == 0) {
        *ret_value = le64_load(at);
    }
    return rc;
}

static int cursor_text(struct cursor *cursor, uint64_t max_bytes, struct gguf_text *ret_text)
{
    const uint8_t *at;
    uint64_t bytes;
    int rc = cursor_u64(cursor, &bytes);

    if (rc != 0) {
        return rc;
    }
    if (bytes > max_bytes) {
        snprintf(cursor->error, ENGINE_ERROR_BYTES, "a text of %" PRIu64 " bytes, at most %" PRIu64,
                 bytes, max_bytes);
        return TANDEM_ETOOBIG;
    }
    rc = cursor_take(cursor, bytes, &at);
    if (rc == 0) {
        ret_text->data = (const char *)at;
        ret_text->bytes = (size_t)bytes;
    }
    return rc;
}

/* ---- keys ---- */

static int array_read(struct cursor *cursor, struct gguf_entry *entry)
{
    uint32_t item_type;
    int rc = cursor_u32(cursor, &item_type);

    if (rc == 0) {
        rc = cursor_u64(cursor, &entry->count);
    }
    if (rc != 0) {
        return rc;
    }
    if (entry->count > LIMIT_GGUF_ARRAY_ITEMS) {
        return fail(cursor->error, TANDEM_ETOOBIG, "an array of too many items");
    }
    entry->item_type = (enum gguf_type)item_type;
    entry->value = cursor->at;
    if (item_type == GGUF_TEXT) {
        for (uint64_t i = 0; rc == 0 && i < entry->count; i++) {
            struct gguf_text item;

            rc = cursor_text(cursor, LIMIT_GGUF_TEXT_BYTES, &item);
        }
        return rc;
    }
    if (gguf_type_bytes(item_type) == 0) {
        return fail(cursor->error, TANDEM_EUNSUPPORTED, "an array of items of an unknown type");
    }
    return cursor_take(cursor, entry->count * gguf_type_bytes(item_type), &entry->value);
}

static int entry_read(struct cursor *cursor, struct gguf_entry *ret_entry)
{
    struct gguf_text text;
    uint32_t type;
    int rc = cursor_text(cursor, LIMIT_GGUF_KEY_BYTES, &ret_entry->key);

    if (rc == 0) {
        rc = cursor_u32(cursor, &type);
    }
    if (rc != 0) {
        return rc;
    }
    ret_entry->type = (enum gguf_type)type;
    ret_entry->value = cursor->at;
    if (type == GGUF_ARRAY) {
        return array_read(cursor, ret_entry);
    }
    if (type == GGUF_TEXT) {
        return cursor_text(cursor, LIMIT_GGUF_TEXT_BYTES, &text);
    }
    if (gguf_type_bytes(type) == 0) {
        return fail(cursor->error, TANDEM_EUNSUPPORTED, "a key with a value of an unknown type");
    }
    return cursor_take(cursor, gguf_type_bytes(type), &ret_entry->value);
}

/* ---- tensors ---- */

static int tensor_size(struct gguf_tensor *tensor, uint32_t type, char error[ENGINE_ERROR_BYTES])
{
    tensor->type = (enum engine_weight_type)type;
    if (!engine_weight_text(tensor->type)) {
        snprintf(error, ENGINE_ERROR_BYTES,
                 "tensor %.*s is of type %u; only F32, F16, BF16, Q8_0 and Q4_0 are read here",
                 (int)tensor->name.bytes, tensor->name.data, type);
        return TANDEM_EUNSUPPORTED;
    }
    if (tensor->dimensions[0] % engine_weight_block(tensor->type) != 0) {
        snprintf(error, ENGINE_ERROR_BYTES,
                 "tensor %.*s has rows of %" PRIu64 " numbers; in %s they must be a multiple of %u",
                 (int)tensor->name.bytes, tensor->name.data, tensor->dimensions[0],
                 engine_weight_text(tensor->type), engine_weight_block(tensor->type));
        return TANDEM_EFORMAT;
    }
    if (tensor->elements > UINT64_MAX / sizeof(float)) {
        return fail(error, TANDEM_EFORMAT, "a tensor's size overflows");
    }
    tensor->bytes = engine_weight_bytes(tensor->type, tensor->elements);
    return 0;
}

/* Offsets are kept in `data` relative to the data section until its place is known. */
static int tensor_read(struct cursor *cursor, struct gguf_tensor *ret_tensor, uint64_t *ret_offset)
{
    uint32_t type;
    int rc = cursor_text(cursor, LIMIT_GGUF_KEY_BYTES, &ret_tensor->name);

    if (rc == 0) {
        rc = cursor_u32(cursor, &ret_tensor->dimension_count);
    }
    if (rc != 0) {
        return rc;
    }
    if (ret_tensor->dimension_count < 1 || ret_tensor->dimension_count > GGUF_DIMENSIONS) {
        return fail(cursor->error, TANDEM_EFORMAT, "a tensor has no dimension, or more than four");
    }
    ret_tensor->elements = 1;
    for (uint32_t i = 0; i < GGUF_DIMENSIONS; i++) {
        ret_tensor->dimensions[i] = 1;
        if (i < ret_tensor->dimension_count) {
            rc = cursor_u64(cursor, &ret_tensor->dimensions[i]);
        }
        if (rc != 0) {
            return rc;
        }
        if (ret_tensor->dimensions[i] == 0 ||
            __builtin_mul_overflow(ret_tensor->elements, ret_tensor->dimensions[i],
                                   &ret_tensor->elements)) {
            return fail(cursor->error, TANDEM_EFORMAT, "a tensor's size is 0 or overflows");
        }
    }
    rc = cursor_u32(cursor, &type);
    if (rc == 0) {
        rc = cursor_u64(cursor, ret_offset);
    }
    if (rc != 0) {
        return rc;
    }
    return tensor_size(ret_tensor, type, cursor->error);
}

/* Places one tensor in the data section [data_at, size) of the file. */
static int tensor_place(struct gguf_tensor *tensor, uint64_t offset, const uint8_t *file,
                        size_t size, size_t data_at, uint32_t alignment,
                        char error[ENGINE_ERROR_BYTES])
{
    uint64_t end;
    const char *wrong = NULL;

    if (offset % alignment != 0 || (data_at + offset) % 4 != 0) {
        wrong = "does not stand on a border of the file's alignment and of 4 bytes";
    } else if (__builtin_add_overflow(offset, tensor->bytes, &end) || end > size - data_at) {
        wrong = "reaches past the end of the file";
    }
    if (wrong) {
        snprintf(error, ENGINE_ERROR_BYTES, "tensor %.*s %s", (int)tensor->name.bytes,
                 tensor->name.data, wrong);
        return TANDEM_EFORMAT;
    }
    tensor->data = file + data_at + offset;
    return 0;
}

/* ---- the whole header ---- */

static int header_read(struct cursor *cursor, uint64_t *ret_tensors, uint64_t *ret_keys)
{
    const uint8_t *magic;
    uint32_t version;
    int rc = cursor_take(cursor, 4, &magic);

    if (rc != 0 || memcmp(magic, GGUF_MAGIC, 4) != 0) {
        return fail(cursor->error, TANDEM_EFORMAT, "not a GGUF file");
    }
    rc = cursor_u32(cursor, &version);
    if (rc == 0 && version != GGUF_VERSION) {
        snprintf(cursor->error, ENGINE_ERROR_BYTES,
                 "GGUF version %u; only version 3, little-endian, is read", version);
        return TANDEM_EUNSUPPORTED;
    }
    if (rc == 0) {
        rc = cursor_u64(cursor, ret_tensors);
    }
    if (rc == 0) {
        rc = cursor_u64(cursor, ret_keys);
    }
    if (rc == 0 && (*ret_tensors > LIMIT_GGUF_TENSORS || *ret_keys > LIMIT_GGUF_KEYS)) {
        return fail(cursor->error, TANDEM_ETOOBIG, "too many tensors or keys");
    }
    return rc;
}

/* Walks over the header without keeping anything; *ret_bytes is where it ends. */
static int header_measure(const uint8_t *file, size_t size, size_t *ret_bytes,
                          char error[ENGINE_ERROR_BYTES])
{
    struct cursor cursor = {file, file, file + size, error};
    uint64_t tensors, keys, offset;
    int rc = header_read(&cursor, &tensors, &keys);

    for (uint64_t i = 0; rc == 0 && i < keys; i++) {
        struct gguf_entry entry;

        rc = entry_read(&cursor, &entry);
    }
    for (uint64_t i = 0; rc == 0 && i < tensors; i++) {
        struct gguf_tensor tensor;

        rc = tensor_read(&cursor, &tensor, &offset);
    }
    if (rc == 0) {
        *ret_bytes = (size_t)(cursor.at - cursor.start);
    }
    return rc;
}

static int names_check(const void *items, size_t count, size_t item_bytes,
                       char error[ENGINE_ERROR_BYTES])
{
    for (size_t i = 1; i < count; i++) {
        const char *a = (const char *)items + (i - 1) * item_bytes;
        const struct gguf_text *name = (const struct gguf_text *)(const void *)a;

        if (gguf_name_compare(a, a + item_bytes) == 0) {
            snprintf(error, ENGINE_ERROR_BYTES, "%.*s stands twice", (int)name->bytes, name->data);
            return TANDEM_EFORMAT;
        }
    }
    return 0;
}

static int keys_read(struct gguf *gguf, struct cursor *cursor)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < gguf->entry_count; i++) {
        rc = entry_read(cursor, &gguf->entries[i]);
    }
    gguf->pairs_end = cursor->at;
    if (rc == 0) {
        qsort(gguf->entries, gguf->entry_count, sizeof(*gguf->entries), gguf_name_compare);
        rc = names_check(gguf->entries, gguf->entry_count, sizeof(*gguf->entries), cursor->error);
    }
    return rc;
}

static int alignment_read(const struct gguf *gguf, uint32_t *ret_alignment,
                          char error[ENGINE_ERROR_BYTES])
{
    uint32_t alignment = GGUF_ALIGNMENT;
    const int rc = gguf_get_u32(gguf, "general.alignment", &alignment, error);

    if (rc != 0 && rc != TANDEM_ENOTFOUND) {
        return rc;
    }
    if (alignment == 0 || (alignment & (alignment - 1)) != 0) {
        return fail(error, TANDEM_EFORMAT, "general.alignment is not a power of two");
    }
    *ret_alignment = alignment;
    return 0;
}

static int place_compare(const void *a, const void *b)
{
    const struct gguf_tensor *const *left = a, *const *right = b;

    return (*left)->data < (*right)->data ? -1 : (*left)->data > (*right)->data;
}

/* No byte belongs to two tensors. */
static int overlaps_check(const struct gguf *gguf, char error[ENGINE_ERROR_BYTES])
{
    const struct gguf_tensor **places = calloc(gguf->tensor_count + 1, sizeof(*places));
    int rc = 0;

    if (!places) {
        return fail(error, TANDEM_ENOMEM, "no memory for the file's tables");
    }
    for (size_t i = 0; i < gguf->tensor_count; i++) {
        places[i] = &gguf->tensors[i];
    }
    qsort(places, gguf->tensor_count, sizeof(*places), place_compare);
    for (size_t i = 1; rc == 0 && i < gguf->tensor_count; i++) {
        const struct gguf_tensor *low = places[i - 1], *high = places[i];

        if ((uint64_t)((const uint8_t *)high->data - (const uint8_t *)low->data) < low->bytes) {
            snprintf(error, ENGINE_ERROR_BYTES, "tensors %.*s and %.*s overlap",
                     (int)low->name.bytes, low->name.data, (int)high->name.bytes, high->name.data);
            rc = TANDEM_EFORMAT;
        }
    }
    free(places);
    return rc;
}

static int tensors_read(struct gguf *gguf, struct cursor *cursor, const uint8_t *file, size_t size,
                        size_t head_bytes)
{
    uint32_t alignment;
    uint64_t offset;
    int rc = alignment_read(gguf, &alignment, cursor->error);
    const uint64_t data_at = rc == 0 ? (head_bytes + alignment - 1) / alignment * alignment : 0;

    if (rc == 0 && data_at > size && gguf->tensor_count > 0) {
        return fail(cursor->error, TANDEM_EFORMAT, "the file ends before its tensors");
    }
    for (size_t i = 0; rc == 0 && i < gguf->tensor_count; i++) {
        rc = tensor_read(cursor, &gguf->tensors[i], &offset);
        if (rc == 0) {
            rc = tensor_place(&gguf->tensors[i], offset, file, size, (size_t)data_at, alignment,
                              cursor->error);
        }
    }
    if (rc == 0) {
        qsort(gguf->tensors, gguf->tensor_count, sizeof(*gguf->tensors), gguf_name_compare);
        rc = names_check(gguf->tensors, gguf->tensor_count, sizeof(*gguf->tensors), cursor->error);
    }
    if (rc == 0) {
        rc = overlaps_check(gguf, cursor->error);
    }
    return rc;
}

int gguf_load(const void *file, size_t size, struct gguf **ret_gguf, char error[ENGINE_ERROR_BYTES])
{
    struct gguf *gguf = NULL;
    struct cursor cursor;
    uint64_t tensors, keys;
    size_t head_bytes;
    int rc = header_measure(file, size, &head_bytes, error);

    if (rc != 0) {
        gguf_line_clean(error);
        return rc;
    }
    gguf = calloc(1, sizeof(*gguf));
    if (!gguf || !(gguf->head = malloc(head_bytes))) {
        rc = fail(error, TANDEM_ENOMEM, "no memory for the file's header");
        goto out;
    }
    memcpy(gguf->head, file, head_bytes);
    cursor = (struct cursor){gguf->head, gguf->head, gguf->head + head_bytes, error};
    rc = header_read(&cursor, &tensors, &keys);
    if (rc != 0) {
        goto out;
    }
    gguf->entry_count = (size_t)keys;
    gguf->tensor_count = (size_t)tensors;
    gguf->entries = calloc(gguf->entry_count + 1, sizeof(*gguf->entries));
    gguf->tensors = calloc(gguf->tensor_count + 1, sizeof(*gguf->tensors));
    gguf->asked = calloc(gguf->entry_count + gguf->tensor_count + 1, sizeof(*gguf->asked));
    if (!gguf->entries || !gguf->tensors || !gguf->asked) {
        rc = fail(error, TANDEM_ENOMEM, "no memory for the file's tables");
        goto out;
    }
    rc = keys_read(gguf, &cursor);
    if (rc == 0) {
        rc = tensors_read(gguf, &cursor, file, size, head_bytes);
    }
out:
    if (rc != 0) {
        gguf_line_clean(error);
        gguf_free(gguf);
        return rc;
    }
    *ret_gguf = gguf;
    return 0;
}

void gguf_free(struct gguf *gguf)
{
    if (gguf) {
        free(gguf->asked);
        free(gguf->tensors);
        free(gguf->entries);
        free(gguf->head);
        free(gguf);
    }
}
