/* The GGUF reader: one bounded cursor walks the part before the tensor data, twice: over the file
 * to learn where it ends, and over the copy that is kept. */
#include "common/engine/gguf.h"

#include "common/base/limits.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GGUF_MAGIC   "GGUF"
#define GGUF_VERSION 3

struct gguf_entry {
    struct gguf_text key;
    enum gguf_type type;
    enum gguf_type item_type; /* GGUF_ARRAY */
    uint64_t count;           /* GGUF_ARRAY */
    const uint8_t *value; /* first byte of the value or of the items; for a text its length field */
};

struct gguf {
    uint8_t *head;              /* copy of the file up to the tensor data */
    struct gguf_entry *entries; /* [entry_count], sorted by key */
    size_t entry_count;
    struct gguf_tensor *tensors; /* [tensor_count], sorted by name */
    size_t tensor_count;
};

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

/* Bytes of one item of a fixed-size type, 0 for texts, arrays and what does not exist. */
static size_t type_bytes(uint32_t type)
{
    static const uint8_t bytes[] = {
        [GGUF_U8] = 1,  [GGUF_I8] = 1,  [GGUF_U16] = 2, [GGUF_I16] = 2,
        [GGUF_U32] = 4, [GGUF_I32] = 4, [GGUF_F32] = 4, [GGUF_BOOL] = 1,
        [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8,
    };

    return type < sizeof(bytes) ? bytes[type] : 0;
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
    if (type_bytes(item_type) == 0) {
        return fail(cursor->error, TANDEM_EUNSUPPORTED, "an array of items of an unknown type");
    }
    return cursor_take(cursor, entry->count * type_bytes(item_type), &entry->value);
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
    if (type_bytes(type) == 0) {
        return fail(cursor->error, TANDEM_EUNSUPPORTED, "a key with a value of an unknown type");
    }
    return cursor_take(cursor, type_bytes(type), &ret_entry->value);
}

/* ---- tensors ---- */

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
    if (type != GGUF_TENSOR_F32 && type != GGUF_TENSOR_F16) {
        snprintf(cursor->error, ENGINE_ERROR_BYTES,
                 "tensor %.*s is of type %u; only F32 and F16 are read here",
                 (int)ret_tensor->name.bytes, ret_tensor->name.data, type);
        return TANDEM_EUNSUPPORTED;
    }
    ret_tensor->type = (enum gguf_tensor_type)type;
    if (__builtin_mul_overflow(ret_tensor->elements, type == GGUF_TENSOR_F32 ? 4u : 2u,
                               &ret_tensor->bytes)) {
        return fail(cursor->error, TANDEM_EFORMAT, "a tensor's size overflows");
    }
    return 0;
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

static int text_compare(struct gguf_text a, struct gguf_text b)
{
    const int order = memcmp(a.data, b.data, a.bytes < b.bytes ? a.bytes : b.bytes);

    if (order != 0) {
        return order;
    }
    return a.bytes < b.bytes ? -1 : a.bytes > b.bytes;
}

/* Entries and tensors both begin with their name, so one comparison serves qsort and bsearch of
 * either. */
static int name_compare(const void *a, const void *b)
{
    return text_compare(*(const struct gguf_text *)a, *(const struct gguf_text *)b);
}

static int names_check(const void *items, size_t count, size_t item_bytes,
                       char error[ENGINE_ERROR_BYTES])
{
    for (size_t i = 1; i < count; i++) {
        const char *a = (const char *)items + (i - 1) * item_bytes;
        const struct gguf_text *name = (const struct gguf_text *)(const void *)a;

        if (name_compare(a, a + item_bytes) == 0) {
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
    if (rc == 0) {
        qsort(gguf->entries, gguf->entry_count, sizeof(*gguf->entries), name_compare);
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
        qsort(gguf->tensors, gguf->tensor_count, sizeof(*gguf->tensors), name_compare);
        rc = names_check(gguf->tensors, gguf->tensor_count, sizeof(*gguf->tensors), cursor->error);
    }
    return rc;
}

/* Names of the file are quoted in errors; what they hold must not make two lines of one. */
static void line_clean(char error[ENGINE_ERROR_BYTES])
{
    for (char *at = error; *at; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7F) {
            *at = '?';
        }
    }
}

int gguf_load(const void *file, size_t size, struct gguf **ret_gguf, char error[ENGINE_ERROR_BYTES])
{
    struct gguf *gguf = NULL;
    struct cursor cursor;
    uint64_t tensors, keys;
    size_t head_bytes;
    int rc = header_measure(file, size, &head_bytes, error);

    if (rc != 0) {
        line_clean(error);
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
    if (!gguf->entries || !gguf->tensors) {
        rc = fail(error, TANDEM_ENOMEM, "no memory for the file's tables");
        goto out;
    }
    rc = keys_read(gguf, &cursor);
    if (rc == 0) {
        rc = tensors_read(gguf, &cursor, file, size, head_bytes);
    }
out:
    if (rc != 0) {
        line_clean(error);
        gguf_free(gguf);
        return rc;
    }
    *ret_gguf = gguf;
    return 0;
}

void gguf_free(struct gguf *gguf)
{
    if (gguf) {
        free(gguf->tensors);
        free(gguf->entries);
        free(gguf->head);
        free(gguf);
    }
}

size_t gguf_tensor_count(const struct gguf *gguf)
{
    return gguf->tensor_count;
}

const struct gguf_tensor *gguf_tensor_at(const struct gguf *gguf, size_t index)
{
    return &gguf->tensors[index];
}

size_t gguf_tensor_find(const struct gguf *gguf, const char *name)
{
    const struct gguf_text key = {name, strlen(name)};
    const struct gguf_tensor *tensor =
        bsearch(&key, gguf->tensors, gguf->tensor_count, sizeof(*gguf->tensors), name_compare);

    return tensor ? (size_t)(tensor - gguf->tensors) : SIZE_MAX;
}

/* ---- values ---- */

static const struct gguf_entry *entry_find(const struct gguf *gguf, const char *key)
{
    const struct gguf_text name = {key, strlen(key)};

    return bsearch(&name, gguf->entries, gguf->entry_count, sizeof(*gguf->entries), name_compare);
}

bool gguf_has(const struct gguf *gguf, const char *key)
{
    return entry_find(gguf, key) != NULL;
}

static int entry_get(const struct gguf *gguf, const char *key, const struct gguf_entry **ret_entry,
                     char error[ENGINE_ERROR_BYTES])
{
    *ret_entry = entry_find(gguf, key);
    if (!*ret_entry) {
        snprintf(error, ENGINE_ERROR_BYTES, "key %s is missing", key);
        return TANDEM_ENOTFOUND;
    }
    return 0;
}

static int entry_wrong(const char *key, const char *wanted, char error[ENGINE_ERROR_BYTES])
{
    snprintf(error, ENGINE_ERROR_BYTES, "key %s is not %s", key, wanted);
    return TANDEM_EFORMAT;
}

/* An integer of any width; false for other types and for unsigned ones past INT64_MAX. */
static bool integer_load(enum gguf_type type, const uint8_t *at, int64_t *ret_value)
{
    switch (type) {
    case GGUF_U8:
        *ret_value = *at;
        return true;
    case GGUF_I8:
        *ret_value = (int8_t)*at;
        return true;
    case GGUF_U16:
        *ret_value = le16_load(at);
        return true;
    case GGUF_I16:
        *ret_value = (int16_t)le16_load(at);
        return true;
    case GGUF_U32:
        *ret_value = le32_load(at);
        return true;
    case GGUF_I32:
        *ret_value = (int32_t)le32_load(at);
        return true;
    case GGUF_U64:
    case GGUF_I64:
        *ret_value = (int64_t)le64_load(at);
        return type == GGUF_I64 || *ret_value >= 0;
    default:
        return false;
    }
}

static float f32_load(const uint8_t *at)
{
    const uint32_t bits = le32_load(at);
    float value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

int gguf_get_u32(const struct gguf *gguf, const char *key, uint32_t *ret_value,
                 char error[ENGINE_ERROR_BYTES])
{
    const struct gguf_entry *entry;
    const int rc = entry_get(gguf, key, &entry, error);
    int64_t value;

    if (rc != 0) {
        return rc;
    }
    if (!integer_load(entry->type, entry->value, &value) || value < 0 || value > UINT32_MAX) {
        return entry_wrong(key, "an integer from 0 to 4294967295", error);
    }
    *ret_value = (uint32_t)value;
    return 0;
}

int gguf_get_f32(const struct gguf *gguf, const char *key, float *ret_value,
                 char error[ENGINE_ERROR_BYTES])
{
    const struct gguf_entry *entry;
    const int rc = entry_get(gguf, key, &entry, error);

    if (rc != 0) {
        return rc;
    }
    if (entry->type != GGUF_F32 || !isfinite(f32_load(entry->value))) {
        return entry_wrong(key, "a finite f32", error);
    }
    *ret_value = f32_load(entry->value);
    return 0;
}

int gguf_get_bool(const struct gguf *gguf, const char *key, bool *ret_value,
                  char error[ENGINE_ERROR_BYTES])
{
    const struct gguf_entry *entry;
    const int rc = entry_get(gguf, key, &entry, error);

    if (rc != 0) {
        return rc;
    }
    if (entry->type != GGUF_BOOL || *entry->value > 1) {
        return entry_wrong(key, "a bool", error);
    }
    *ret_value = *entry->value == 1;
    return 0;
}

int gguf_get_text(const struct gguf *gguf, const char *key, struct gguf_text *ret_text,
                  char error[ENGINE_ERROR_BYTES])
{
    const struct gguf_entry *entry;
    const int rc = entry_get(gguf, key, &entry, error);

    if (rc != 0) {
        return rc;
    }
    if (entry->type != GGUF_TEXT) {
        return entry_wrong(key, "a string", error);
    }
    *ret_text = (struct gguf_text){(const char *)entry->value + 8, (size_t)le64_load(entry->value)};
    return 0;
}

int gguf_get_array(const struct gguf *gguf, const char *key, struct gguf_array *ret_array,
                   char error[ENGINE_ERROR_BYTES])
{
    const struct gguf_entry *entry;
    const int rc = entry_get(gguf, key, &entry, error);

    if (rc != 0) {
        return rc;
    }
    if (entry->type != GGUF_ARRAY) {
        return entry_wrong(key, "an array", error);
    }
    *ret_array = (struct gguf_array){entry->item_type, (size_t)entry->count, entry->value};
    return 0;
}

int gguf_get_u32s(const struct gguf *gguf, const char *key, uint32_t *values, size_t capacity,
                  size_t *ret_count, char error[ENGINE_ERROR_BYTES])
{
    struct gguf_array array;
    const int rc = gguf_get_array(gguf, key, &array, error);
    const size_t count = rc == 0 ? array.count : 0;

    if (rc != 0) {
        return rc;
    }
    if (count > capacity) {
        return entry_wrong(key, "an array of as few items as it may have", error);
    }
    for (size_t i = 0; i < count; i++) {
        if (!gguf_next_u32(&array, &values[i])) {
            return entry_wrong(key, "an array of integers from 0 to 4294967295", error);
        }
    }
    *ret_count = count;
    return 0;
}

int gguf_get_f32s(const struct gguf *gguf, const char *key, float *values, size_t capacity,
                  size_t *ret_count, char error[ENGINE_ERROR_BYTES])
{
    struct gguf_array array;
    const int rc = gguf_get_array(gguf, key, &array, error);
    const size_t count = rc == 0 ? array.count : 0;

    if (rc != 0) {
        return rc;
    }
    if (count > capacity) {
        return entry_wrong(key, "an array of as few items as it may have", error);
    }
    for (size_t i = 0; i < count; i++) {
        if (!gguf_next_f32(&array, &values[i])) {
            return entry_wrong(key, "an array of f32", error);
        }
    }
    *ret_count = count;
    return 0;
}

static bool integer_next(struct gguf_array *array, int64_t low, int64_t high, int64_t *ret_value)
{
    if (array->count == 0 || !integer_load(array->type, array->next, ret_value) ||
        *ret_value < low || *ret_value > high) {
        return false;
    }
    array->next += type_bytes(array->type);
    array->count--;
    return true;
}

bool gguf_next_u32(struct gguf_array *array, uint32_t *ret_value)
{
    int64_t value;

    if (!integer_next(array, 0, UINT32_MAX, &value)) {
        return false;
    }
    *ret_value = (uint32_t)value;
    return true;
}

bool gguf_next_i32(struct gguf_array *array, int32_t *ret_value)
{
    int64_t value;

    if (!integer_next(array, INT32_MIN, INT32_MAX, &value)) {
        return false;
    }
    *ret_value = (int32_t)value;
    return true;
}

bool gguf_next_f32(struct gguf_array *array, float *ret_value)
{
    if (array->count == 0 || array->type != GGUF_F32) {
        return false;
    }
    *ret_value = f32_load(array->next);
    array->next += 4;
    array->count--;
    return true;
}

bool gguf_next_text(struct gguf_array *array, struct gguf_text *ret_text)
{
    if (array->count == 0 || array->type != GGUF_TEXT) {
        return false;
    }
    *ret_text = (struct gguf_text){(const char *)array->next + 8, (size_t)le64_load(array->next)};
    array->next += 8 + ret_text->bytes;
    array->count--;
    return true;
}

bool gguf_text_is(struct gguf_text text, const char *word)
{
    return text.bytes == strlen(word) && memcmp(text.data, word, text.bytes) == 0;
}

int gguf_text_copy(struct gguf_text text, char **ret_copy)
{
    char *copy;

    if (text.bytes > 0 && memchr(text.data, 0, text.bytes)) {
        return TANDEM_EFORMAT;
    }
    copy = malloc(text.bytes + 1);
    if (!copy) {
        return TANDEM_ENOMEM;
    }
    memcpy(copy, text.data, text.bytes);
    copy[text.bytes] = '\0';
    *ret_copy = copy;
    return 0;
}
