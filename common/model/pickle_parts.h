/* pickle_parts.h: what pickle.c (the machine) and pickle_make.c (names and constructors) share. */
#ifndef TANDEM_MODEL_PICKLE_PARTS_H
#define TANDEM_MODEL_PICKLE_PARTS_H

#include "common/model/pickle.h"

struct block { /* of the arena */
    struct block *next;
    size_t count;
    struct pickle_value values[512];
};

struct values { /* a growing array of value pointers */
    struct pickle_value **items;
    size_t count, capacity;
};

struct pickle {
    const uint8_t *data;
    size_t bytes, at;
    size_t op_at; /* where the running opcode stands */
    struct block *blocks;
    size_t value_count;
    struct values stack, memo;
    size_t *marks;
    size_t mark_count, mark_capacity;
    const struct pickle_value *root;
    char *error;
};

/* Writes the line for the opcode that runs and returns `code`. */
int pickle_fail(struct pickle *pickle, int code, const char *what);
int pickle_push(struct pickle *pickle, struct pickle_value *value);
int pickle_push_new(struct pickle *pickle, enum pickle_kind kind, struct pickle_value **ret_value);
/* The topmost value above the last mark; NULL with a line when there is none. */
struct pickle_value *pickle_pop(struct pickle *pickle);
int pickle_list_append(struct pickle *pickle, struct pickle_list *list, struct pickle_value *value);

bool pickle_text_equal(struct pickle_text text, const char *word);

/* pickle_make.c */
int pickle_global_push(struct pickle *pickle, struct pickle_text module, struct pickle_text name);
int pickle_storage_make(struct pickle *pickle, size_t unused);
int pickle_reduce(struct pickle *pickle, size_t unused);

#endif
