/* pickle.h: reads the pickles of PyTorch checkpoints as data and never executes anything.
 *
 * Understood are the opcodes that torch.save writes (protocols 2 to 5) and a closed list of
 * constructors: ordered dictionaries, tensors, parameters, sizes and storages. Every other class or
 * function is refused by its name, every other opcode by its number and place. The result is a tree
 * of values in one arena. A hostile pickle may make a value contain itself; readers therefore
 * descend by known keys to a known depth and never walk the tree. Format: Python's pickletools
 * documentation; layout of storages: PyTorch serialization notes. One thread. */
#ifndef TANDEM_MODEL_PICKLE_H
#define TANDEM_MODEL_PICKLE_H

#include "common/model/source.h"

enum pickle_kind {
    PICKLE_NONE,
    PICKLE_BOOL,
    PICKLE_INT,
    PICKLE_REAL,
    PICKLE_TEXT,
    PICKLE_LIST, /* and tuples */
    PICKLE_DICT, /* items: key, value, key, value ... */
    PICKLE_GLOBAL,
    PICKLE_STORAGE,
    PICKLE_TENSOR
};

struct pickle_text {
    const char *data; /* inside the pickle, no NUL */
    size_t bytes;
};
struct pickle_list {
    struct pickle_value **items;
    size_t count, capacity;
};
struct pickle_storage {
    struct pickle_text key; /* its entry is data/KEY */
    enum source_type type;
    uint64_t elements;
};
struct pickle_tensor {
    const struct pickle_storage *storage;
    uint64_t offset; /* elements */
    uint32_t dimension_count;
    uint64_t shape[SOURCE_DIMENSIONS], stride[SOURCE_DIMENSIONS];
};
struct pickle_value {
    enum pickle_kind kind;
    union {
        int64_t integer; /* INT, BOOL */
        double real;
        struct pickle_text text;
        struct pickle_list list; /* LIST, DICT */
        unsigned constructor;    /* GLOBAL */
        struct pickle_storage storage;
        struct pickle_tensor tensor;
    };
};

struct pickle; /* the arena */

/* Reads `bytes` at `data` (borrowed until pickle_free). TANDEM_EFORMAT, EUNSUPPORTED, ETOOBIG,
 * ENOMEM with a line. *returns owned*. */
int pickle_load(const void *data, size_t bytes, struct pickle **ret_pickle,
                char error[ENGINE_ERROR_BYTES]);
void pickle_free(struct pickle *pickle); /* NULL is fine */
const struct pickle_value *pickle_root(const struct pickle *pickle);

/* The value of a text key of a dictionary; NULL when there is none, or `dict` is NULL or no
 * dictionary. */
const struct pickle_value *pickle_get(const struct pickle_value *dict, const char *key);
bool pickle_text_is(const struct pickle_value *value, const char *word);

#endif
