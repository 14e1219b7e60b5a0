/* What gguf.h hands out of a header that has been read: tensors by name, keys by name and kind. */
#include "common/engine/gguf_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t gguf_type_bytes(uint32_t type)
{
    static const uint8_t bytes[] = {
        [GGUF_U8] = 1,  [GGUF_I8] = 1,  [GGUF_U16] = 2, [GGUF_I16] = 2,
        [GGUF_U32] = 4, [GGUF_I32] = 4, [GGUF_F32] = 4, [GGUF_BOOL] = 1,
        [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8,
    };

    return type < sizeof(bytes) ? bytes[type] : 0;
}

static int text_compare(struct gguf_text a, struct gguf_text b)
{
    const int order = memcmp(a.data, b.data, a.bytes < b.bytes ? a.bytes : b.bytes);

    if (order != 0) {
        return order;
    }
    return a.bytes < b.bytes ? -1 : a.bytes > b.bytes;
}

int gguf_name_compare(const void *a, const void *b)
{
    return text_compare(*(const struct gguf_text *)a, *(const struct gguf_text *)b);
}

void gguf_line_clean(char error[ENGINE_ERROR_BYTES])
{
    for (char *at = error; *at; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7F) {
            *at = '?';
        }
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
        bsearch(&key, gguf->tensors, gguf->tensor_count, sizeof(*gguf->tensors), gguf_name_compare);

    if (!tensor) {
        return SIZE_MAX;
    }
    atomic_store_explicit(&gguf->asked[gguf->entry_count + (size_t)(tensor - gguf->tensors)], true,
                          memory_order_relaxed);
    return (size_t)(tensor - gguf->tensors);
}

/* ---- values ---- */

static const struct gguf_entry *entry_find(const struct gguf *gguf, const char *key)
{
    const struct gguf_text name = {key, strlen(key)};
    const struct gguf_entry *entry =
        bsearch(&name, gguf->entries, gguf->entry_count, sizeof(*gguf->entries), gguf_name_compare);

    if (entry) {
        atomic_store_explicit(&gguf->asked[entry - gguf->entries], true, memory_order_relaxed);
    }
    return entry;
}

static bool is_asked(const struct gguf *gguf, size_t index)
{
    return atomic_load_explicit(&gguf->asked[index], memory_order_relaxed);
}

static bool text_begins(struct gguf_text text, const char *prefix)
{
    const size_t bytes = strlen(prefix);

    return text.bytes >= bytes && memcmp(text.data, prefix, bytes) == 0;
}

bool gguf_unasked_key(const struct gguf *gguf, const char *prefix, struct gguf_text *ret_key)
{
    for (size_t i = 0; i < gguf->entry_count; i++) {
        if (!is_asked(gguf, i) && text_begins(gguf->entries[i].key, prefix)) {
            *ret_key = gguf->entries[i].key;
            return true;
        }
    }
    return false;
}

bool gguf_unasked_tensor(const struct gguf *gguf, struct gguf_text *ret_name)
{
    for (size_t i = 0; i < gguf->tensor_count; i++) {
        if (!is_asked(gguf, gguf->entry_count + i)) {
            *ret_name = gguf->tensors[i].name;
            return true;
        }
    }
    return false;
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

/* The array of this name, of at most `capacity` items. */
static int array_begin(const struct gguf *gguf, const char *key, size_t capacity,
                       struct gguf_array *ret_array, size_t *ret_count,
                       char error[ENGINE_ERROR_BYTES])
{
    const int rc = gguf_get_array(gguf, key, ret_array, error);

    if (rc == 0 && ret_array->count > capacity) {
        return entry_wrong(key, "an array of as few items as it may have", error);
    }
    *ret_count = rc == 0 ? ret_array->count : 0;
    return rc;
}

int gguf_get_u32s(const struct gguf *gguf, const char *key, uint32_t *values, size_t capacity,
                  size_t *ret_count, char error[ENGINE_ERROR_BYTES])
{
    struct gguf_array array;
    const int rc = array_begin(gguf, key, capacity, &array, ret_count, error);

    for (size_t i = 0; rc == 0 && i < *ret_count; i++) {
        if (!gguf_next_u32(&array, &values[i])) {
            return entry_wrong(key, "an array of integers from 0 to 4294967295", error);
        }
    }
    return rc;
}

int gguf_get_f32s(const struct gguf *gguf, const char *key, float *values, size_t capacity,
                  size_t *ret_count, char error[ENGINE_ERROR_BYTES])
{
    struct gguf_array array;
    const int rc = array_begin(gguf, key, capacity, &array, ret_count, error);

    for (size_t i = 0; rc == 0 && i < *ret_count; i++) {
        if (!gguf_next_f32(&array, &values[i])) {
            return entry_wrong(key, "an array of f32", error);
        }
    }
    return rc;
}

static bool integer_next(struct gguf_array *array, int64_t low, int64_t high, int64_t *ret_value)
{
    if (array->count == 0 || !integer_load(array->type, array->next, ret_value) ||
        *ret_value < low || *ret_value > high) {
        return false;
    }
    array->next += gguf_type_bytes(array->type);
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
