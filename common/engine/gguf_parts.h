/* gguf_parts.h: what gguf.c reads and gguf_values.c hands out: the tables of one file's header. */
#ifndef TANDEM_ENGINE_GGUF_PARTS_H
#define TANDEM_ENGINE_GGUF_PARTS_H

#include "common/engine/gguf.h"

#include <stdatomic.h>

struct gguf_entry {
    struct gguf_text key;
    enum gguf_type type;
    enum gguf_type item_type; /* GGUF_ARRAY */
    uint64_t count;           /* GGUF_ARRAY */
    const uint8_t *value; /* first byte of the value or of the items; for a text its length field */
};

struct gguf {
    uint8_t *head;              /* copy of the file up to the tensor data */
    const uint8_t *pairs_end;   /* in the copy: behind the last key's value */
    struct gguf_entry *entries; /* [entry_count], sorted by key */
    size_t entry_count;
    struct gguf_tensor *tensors; /* [tensor_count], sorted by name */
    size_t tensor_count;
    atomic_bool
        *asked; /* [entry_count + tensor_count]: keys, then tensors, that were found by name */
};

/* Bytes of one item of a fixed-size type, 0 for texts, arrays and what does not exist. */
size_t gguf_type_bytes(uint32_t type);
/* The order of the tables. Entries and tensors both begin with their name, so one comparison serves
 * qsort and bsearch of either. */
int gguf_name_compare(const void *a, const void *b);

#endif
