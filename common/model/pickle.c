#include "common/model/pickle_parts.h"

#include "common/base/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Opcodes, by the names of Python's pickletools. */
enum opcode {
    OP_MARK = '(',
    OP_STOP = '.',
    OP_POP = '0',
    OP_POP_MARK = '1',
    OP_DUP = '2',
    OP_BINFLOAT = 'G',
    OP_BININT = 'J',
    OP_BININT1 = 'K',
    OP_BININT2 = 'M',
    OP_NONE = 'N',
    OP_BINPERSID = 'Q',
    OP_REDUCE = 'R',
    OP_BINUNICODE = 'X',
    OP_APPEND = 'a',
    OP_BUILD = 'b',
    OP_GLOBAL = 'c',
    OP_APPENDS = 'e',
    OP_BINGET = 'h',
    OP_LONG_BINGET = 'j',
    OP_BINPUT = 'q',
    OP_LONG_BINPUT = 'r',
    OP_SETITEM = 's',
    OP_TUPLE = 't',
    OP_SETITEMS = 'u',
    OP_EMPTY_DICT = '}',
    OP_EMPTY_LIST = ']',
    OP_EMPTY_TUPLE = ')',
    OP_PROTO = 0x80,
    OP_TUPLE1 = 0x85,
    OP_TUPLE2 = 0x86,
    OP_TUPLE3 = 0x87,
    OP_NEWTRUE = 0x88,
    OP_NEWFALSE = 0x89,
    OP_LONG1 = 0x8a,
    OP_SHORT_BINUNICODE = 0x8c,
    OP_BINUNICODE8 = 0x8d,
    OP_STACK_GLOBAL = 0x93,
    OP_MEMOIZE = 0x94,
    OP_FRAME = 0x95
};

/* ---- memory ---- */

int pickle_fail(struct pickle *pickle, int code, const char *what)
{
    snprintf(pickle->error, ENGINE_ERROR_BYTES, "pickle, byte %zu: %s", pickle->op_at, what);
    return code;
}

static int no_memory(struct pickle *pickle)
{
    return pickle_fail(pickle, TANDEM_ENOMEM, "no memory");
}

static int value_new(struct pickle *pickle, enum pickle_kind kind, struct pickle_value **ret_value)
{
    struct block *block = pickle->blocks;

    *ret_value = NULL;
    if (++pickle->value_count > LIMIT_PICKLE_VALUES) {
        return pickle_fail(pickle, TANDEM_ETOOBIG, "too many values");
    }
    if (!block || block->count == sizeof(block->values) / sizeof(block->values[0])) {
        block = calloc(1, sizeof(*block));
        if (!block) {
            return no_memory(pickle);
        }
        block->next = pickle->blocks;
        pickle->blocks = block;
    }
    *ret_value = &block->values[block->count++];
    (*ret_value)->kind = kind;
    return 0;
}

static int array_grow(struct pickle *pickle, void **items, size_t count, size_t *capacity)
{
    void *grown;
    const size_t wanted = *capacity ? *capacity * 2 : 8;

    if (count < *capacity) {
        return 0;
    }
    if (wanted > 2 * (size_t)LIMIT_PICKLE_VALUES) {
        return pickle_fail(pickle, TANDEM_ETOOBIG, "too many values");
    }
    grown = realloc(*items, wanted * sizeof(void *));
    if (!grown) {
        return no_memory(pickle);
    }
    *items = grown;
    *capacity = wanted;
    return 0;
}

int pickle_list_append(struct pickle *pickle, struct pickle_list *list, struct pickle_value *value)
{
    void *items = list->items;
    const int result = array_grow(pickle, &items, list->count, &list->capacity);

    list->items = items;
    if (result == 0) {
        list->items[list->count++] = value;
    }
    return result;
}

int pickle_push(struct pickle *pickle, struct pickle_value *value)
{
    void *items = pickle->stack.items;
    const int result = array_grow(pickle, &items, pickle->stack.count, &pickle->stack.capacity);

    pickle->stack.items = items;
    if (result == 0) {
        pickle->stack.items[pickle->stack.count++] = value;
    }
    return result;
}

int pickle_push_new(struct pickle *pickle, enum pickle_kind kind, struct pickle_value **ret_value)
{
    const int result = value_new(pickle, kind, ret_value);

    return result == 0 ? pickle_push(pickle, *ret_value) : result;
}

/* The values that may be taken: not those below the last mark. */
static size_t above_mark(const struct pickle *pickle)
{
    return pickle->stack.count - (pickle->mark_count ? pickle->marks[pickle->mark_count - 1] : 0);
}

struct pickle_value *pickle_pop(struct pickle *pickle)
{
    if (above_mark(pickle) == 0) {
        (void)pickle_fail(pickle, TANDEM_EFORMAT, "takes a value that is not there");
        return NULL;
    }
    return pickle->stack.items[--pickle->stack.count];
}

static struct pickle_value *top(struct pickle *pickle)
{
    if (above_mark(pickle) == 0) {
        (void)pickle_fail(pickle, TANDEM_EFORMAT, "needs a value that is not there");
        return NULL;
    }
    return pickle->stack.items[pickle->stack.count - 1];
}

/* ---- reading bytes ---- */

static const uint8_t *take(struct pickle *pickle, uint64_t bytes)
{
    const uint8_t *at = pickle->data + pickle->at;

    if (bytes > pickle->bytes - pickle->at) {
        (void)pickle_fail(pickle, TANDEM_EFORMAT, "ends early");
        return NULL;
    }
    pickle->at += bytes;
    return at;
}

static int text_push(struct pickle *pickle, uint64_t bytes)
{
    const uint8_t *data = take(pickle, bytes);
    struct pickle_value *value;
    int result;

    if (!data) {
        return TANDEM_EFORMAT;
    }
    result = pickle_push_new(pickle, PICKLE_TEXT, &value);
    if (result == 0) {
        value->text = (struct pickle_text){(const char *)data, bytes};
    }
    return result;
}

static int sized_text_push(struct pickle *pickle, size_t length_bytes)
{
    const uint8_t *at = take(pickle, length_bytes);

    if (!at) {
        return TANDEM_EFORMAT;
    }
    return text_push(pickle, length_bytes == 1   ? at[0]
                             : length_bytes == 4 ? le32_load(at)
                                                 : le64_load(at));
}

static int integer_push(struct pickle *pickle, enum pickle_kind kind, int64_t integer)
{
    struct pickle_value *value;
    const int result = pickle_push_new(pickle, kind, &value);

    if (result == 0) {
        value->integer = integer;
    }
    return result;
}

static int bool_push(struct pickle *pickle, size_t value)
{
    return integer_push(pickle, PICKLE_BOOL, (int64_t)value);
}

/* A little-endian two's complement number of `bytes` bytes. */
static int sized_integer_push(struct pickle *pickle, size_t bytes, bool is_signed)
{
    const uint8_t *at = take(pickle, bytes);
    uint64_t number = 0;

    if (!at) {
        return TANDEM_EFORMAT;
    }
    if (bytes > 8) {
        return pickle_fail(pickle, TANDEM_EUNSUPPORTED, "a number of more than 64 bits");
    }
    for (size_t i = 0; i < bytes; i++) {
        number |= (uint64_t)at[i] << (8 * i);
    }
    if (is_signed && bytes > 0 && bytes < 8 && (at[bytes - 1] & 0x80)) {
        number |= UINT64_MAX << (8 * bytes);
    }
    return integer_push(pickle, PICKLE_INT, (int64_t)number);
}

static int signed_push(struct pickle *pickle, size_t bytes)
{
    return sized_integer_push(pickle, bytes, true);
}

static int unsigned_push(struct pickle *pickle, size_t bytes)
{
    return sized_integer_push(pickle, bytes, false);
}

static int real_push(struct pickle *pickle, size_t bytes)
{
    const uint8_t *at = take(pickle, bytes);
    struct pickle_value *value;
    uint64_t bits = 0;
    int result;

    if (!at) {
        return TANDEM_EFORMAT;
    }
    for (int i = 0; i < 8; i++) { /* big-endian, the only such number */
        bits = bits << 8 | at[i];
    }
    result = pickle_push_new(pickle, PICKLE_REAL, &value);
    if (result == 0) {
        memcpy(&value->real, &bits, sizeof(bits));
    }
    return result;
}

/* GLOBAL: two lines of text. */
static int global_read(struct pickle *pickle, size_t unused)
{
    struct pickle_text lines[2];

    (void)unused;
    for (int i = 0; i < 2; i++) {
        const uint8_t *at = pickle->data + pickle->at;
        const uint8_t *end = memchr(at, '\n', pickle->bytes - pickle->at);

        if (!end) {
            return pickle_fail(pickle, TANDEM_EFORMAT, "a name without an end");
        }
        lines[i] = (struct pickle_text){(const char *)at, (size_t)(end - at)};
        pickle->at += lines[i].bytes + 1;
    }
    return pickle_global_push(pickle, lines[0], lines[1]);
}

static int stack_global(struct pickle *pickle, size_t unused)
{
    const struct pickle_value *name = pickle_pop(pickle),
                              *module = name ? pickle_pop(pickle) : NULL;

    (void)unused;
    if (!module) {
        return TANDEM_EFORMAT;
    }
    if (name->kind != PICKLE_TEXT || module->kind != PICKLE_TEXT) {
        return pickle_fail(pickle, TANDEM_EFORMAT, "a name that is no text");
    }
    return pickle_global_push(pickle, module->text, name->text);
}

/* Attributes of a dictionary (a state_dict has versions there) are of no use here; on anything else
 * they would change what it is. */
static int build(struct pickle *pickle, size_t unused)
{
    const struct pickle_value *state = pickle_pop(pickle), *object = state ? top(pickle) : NULL;

    (void)unused;
    if (!object) {
        return TANDEM_EFORMAT;
    }
    return object->kind == PICKLE_DICT
               ? 0
               : pickle_fail(pickle, TANDEM_EUNSUPPORTED,
                             "sets the state of something that is no dictionary");
}

/* ---- marks, collections, memo ---- */

static int mark_push(struct pickle *pickle, size_t unused)
{
    (void)unused;
    if (pickle->mark_count == pickle->mark_capacity) {
        const size_t capacity = pickle->mark_capacity ? pickle->mark_capacity * 2 : 16;
        size_t *grown = capacity <= LIMIT_PICKLE_VALUES
                            ? realloc(pickle->marks, capacity * sizeof(*grown))
                            : NULL;

        if (!grown) {
            return no_memory(pickle);
        }
        pickle->marks = grown;
        pickle->mark_capacity = capacity;
    }
    pickle->marks[pickle->mark_count++] = pickle->stack.count;
    return 0;
}

/* The values above the last mark, which goes. They stay where they are until the next push. */
static int mark_pop(struct pickle *pickle, struct pickle_value ***ret_items, size_t *ret_count)
{
    size_t mark;

    *ret_items = NULL;
    *ret_count = 0;
    if (pickle->mark_count == 0) {
        return pickle_fail(pickle, TANDEM_EFORMAT, "a collection without a beginning");
    }
    mark = pickle->marks[--pickle->mark_count];
    *ret_items = pickle->stack.items + mark;
    *ret_count = pickle->stack.count - mark;
    pickle->stack.count = mark;
    return 0;
}

static int tuple_push(struct pickle *pickle, struct pickle_value **items, size_t count)
{
    struct pickle_value *tuple;
    int result = value_new(pickle, PICKLE_LIST, &tuple);

    for (size_t i = 0; result == 0 && i < count; i++) {
        result = pickle_list_append(pickle, &tuple->list, items[i]);
    }
    return result == 0 ? pickle_push(pickle, tuple) : result;
}

static int marked_tuple(struct pickle *pickle, size_t unused)
{
    struct pickle_value **items;
    size_t count;
    const int result = mark_pop(pickle, &items, &count);

    (void)unused;
    return result == 0 ? tuple_push(pickle, items, count) : result;
}

static int short_tuple(struct pickle *pickle, size_t count)
{
    if (above_mark(pickle) < count) {
        return pickle_fail(pickle, TANDEM_EFORMAT, "takes a value that is not there");
    }
    pickle->stack.count -= count;
    return tuple_push(pickle, pickle->stack.items + pickle->stack.count, count);
}

/* Adds `items` to the list or dictionary that is now on top. */
static int items_add(struct pickle *pickle, enum pickle_kind kind, struct pickle_value **items,
                     size_t count)
{
    struct pickle_value *target = top(pickle);
    int result = 0;

    if (!target) {
        return TANDEM_EFORMAT;
    }
    if (target->kind != kind || (kind == PICKLE_DICT && count % 2 != 0)) {
        return pickle_fail(pickle, TANDEM_EFORMAT, "adds to what is no such collection");
    }
    for (size_t i = 0; result == 0 && i < count; i++) {
        result = pickle_list_append(pickle, &target->list, items[i]);
    }
    return result;
}

static int marked_add(struct pickle *pickle, size_t kind)
{
    struct pickle_value **items;
    size_t count;
    const int result = mark_pop(pickle, &items, &count);

    return result == 0 ? items_add(pickle, (enum pickle_kind)kind, items, count) : result;
}

static int plain_add(struct pickle *pickle, enum pickle_kind kind, size_t count)
{
    if (above_mark(pickle) <= count) {
        return pickle_fail(pickle, TANDEM_EFORMAT, "takes a value that is not there");
    }
    pickle->stack.count -= count;
    return items_add(pickle, kind, pickle->stack.items + pickle->stack.count, count);
}

static int plain_append(struct pickle *pickle, size_t count)
{
    return plain_add(pickle, PICKLE_LIST, count);
}

static int plain_set(struct pickle *pickle, size_t count)
{
    return plain_add(pickle, PICKLE_DICT, count);
}

/* An index of `bytes` bytes. */
static int index_take(struct pickle *pickle, size_t bytes, uint64_t *ret_index)
{
    const uint8_t *at = take(pickle, bytes);

    if (!at) {
        return TANDEM_EFORMAT;
    }
    *ret_index = bytes == 1 ? at[0] : le32_load(at);
    return 0;
}

/* Gives the topmost value the number that follows, or the next one when none does. */
static int memo_put(struct pickle *pickle, size_t index_bytes)
{
    uint64_t index = pickle->memo.count;
    struct pickle_value *value = top(pickle);
    void *items = pickle->memo.items;
    int result;

    if (!value || (index_bytes > 0 && index_take(pickle, index_bytes, &index) != 0)) {
        return TANDEM_EFORMAT;
    }
    if (index > pickle->memo.count) {
        return pickle_fail(pickle, TANDEM_EFORMAT, "numbers its values out of order");
    }
    if (index < pickle->memo.count) {
        pickle->memo.items[index] = value;
        return 0;
    }
    result = array_grow(pickle, &items, pickle->memo.count, &pickle->memo.capacity);
    pickle->memo.items = items;
    if (result == 0) {
        pickle->memo.items[pickle->memo.count++] = value;
    }
    return result;
}

static int memo_get(struct pickle *pickle, size_t index_bytes)
{
    uint64_t index;

    if (index_take(pickle, index_bytes, &index) != 0) {
        return TANDEM_EFORMAT;
    }
    if (index >= pickle->memo.count) {
        return pickle_fail(pickle, TANDEM_EFORMAT, "refers to a value that is not there");
    }
    return pickle_push(pickle, pickle->memo.items[index]);
}

/* ---- the machine ---- */

static int proto_read(struct pickle *pickle, size_t unused)
{
    const uint8_t *version = take(pickle, 1);

    (void)unused;
    if (!version) {
        return TANDEM_EFORMAT;
    }
    return *version >= 2 && *version <= 5
               ? 0
               : pickle_fail(pickle, TANDEM_EUNSUPPORTED, "a protocol other than 2 to 5");
}

static int frame_skip(struct pickle *pickle, size_t bytes)
{
    return take(pickle, bytes) ? 0
                               : TANDEM_EFORMAT; /* how long the frame is does not matter here */
}

static int pop_one(struct pickle *pickle, size_t unused)
{
    (void)unused;
    return pickle_pop(pickle) ? 0 : TANDEM_EFORMAT;
}

static int pop_mark(struct pickle *pickle, size_t unused)
{
    struct pickle_value **items;
    size_t count;

    (void)unused;
    return mark_pop(pickle, &items, &count);
}

static int empty_push(struct pickle *pickle, size_t kind)
{
    struct pickle_value *value;

    return pickle_push_new(pickle, (enum pickle_kind)kind, &value);
}

static int long_push(struct pickle *pickle, size_t unused)
{
    const uint8_t *length = take(pickle, 1);

    (void)unused;
    return length ? sized_integer_push(pickle, *length, true) : TANDEM_EFORMAT;
}

static int duplicate(struct pickle *pickle, size_t unused)
{
    struct pickle_value *value = top(pickle);

    (void)unused;
    return value ? pickle_push(pickle, value) : TANDEM_EFORMAT;
}

static int stop(struct pickle *pickle, size_t unused)
{
    (void)unused;
    pickle->root = pickle_pop(pickle);
    return pickle->root ? 0 : TANDEM_EFORMAT;
}

static int unknown(struct pickle *pickle, uint8_t opcode)
{
    snprintf(pickle->error, ENGINE_ERROR_BYTES,
             "pickle, byte %zu: opcode 0x%02x is not used by checkpoints; refused", pickle->op_at,
             opcode);
    return TANDEM_EUNSUPPORTED;
}

/* What an opcode does; `argument` is a number of bytes, a kind or a count, as the function takes
 * it. */
static const struct {
    int (*run)(struct pickle *pickle, size_t argument);
    size_t argument;
} opcodes[256] = {
    [OP_PROTO] = {proto_read, 0},
    [OP_FRAME] = {frame_skip, 8},
    [OP_STOP] = {stop, 0},
    [OP_MARK] = {mark_push, 0},
    [OP_POP] = {pop_one, 0},
    [OP_POP_MARK] = {pop_mark, 0},
    [OP_DUP] = {duplicate, 0},
    [OP_NONE] = {empty_push, PICKLE_NONE},
    [OP_EMPTY_TUPLE] = {empty_push, PICKLE_LIST},
    [OP_EMPTY_LIST] = {empty_push, PICKLE_LIST},
    [OP_EMPTY_DICT] = {empty_push, PICKLE_DICT},
    [OP_NEWTRUE] = {bool_push, 1},
    [OP_NEWFALSE] = {bool_push, 0},
    [OP_BININT] = {signed_push, 4},
    [OP_BININT1] = {unsigned_push, 1},
    [OP_BININT2] = {unsigned_push, 2},
    [OP_LONG1] = {long_push, 1},
    [OP_BINFLOAT] = {real_push, 8},
    [OP_SHORT_BINUNICODE] = {sized_text_push, 1},
    [OP_BINUNICODE] = {sized_text_push, 4},
    [OP_BINUNICODE8] = {sized_text_push, 8},
    [OP_TUPLE] = {marked_tuple, 0},
    [OP_TUPLE1] = {short_tuple, 1},
    [OP_TUPLE2] = {short_tuple, 2},
    [OP_TUPLE3] = {short_tuple, 3},
    [OP_APPEND] = {plain_append, 1},
    [OP_APPENDS] = {marked_add, PICKLE_LIST},
    [OP_SETITEM] = {plain_set, 2},
    [OP_SETITEMS] = {marked_add, PICKLE_DICT},
    [OP_BINPUT] = {memo_put, 1},
    [OP_LONG_BINPUT] = {memo_put, 4},
    [OP_MEMOIZE] = {memo_put, 0},
    [OP_BINGET] = {memo_get, 1},
    [OP_LONG_BINGET] = {memo_get, 4},
    [OP_GLOBAL] = {global_read, 0},
    [OP_STACK_GLOBAL] = {stack_global, 0},
    [OP_BINPERSID] = {pickle_storage_make, 0},
    [OP_REDUCE] = {pickle_reduce, 0},
    [OP_BUILD] = {build, 0},
};

static int opcode_run(struct pickle *pickle, uint8_t opcode)
{
    return opcodes[opcode].run ? opcodes[opcode].run(pickle, opcodes[opcode].argument)
                               : unknown(pickle, opcode);
}

int pickle_load(const void *data, size_t bytes, struct pickle **ret_pickle,
                char error[ENGINE_ERROR_BYTES])
{
    struct pickle *pickle = calloc(1, sizeof(*pickle));
    int result = 0;

    if (!pickle) {
        snprintf(error, ENGINE_ERROR_BYTES, "no memory for the pickle");
        return TANDEM_ENOMEM;
    }
    pickle->data = data;
    pickle->bytes = bytes;
    pickle->error = error;
    while (result == 0 && !pickle->root) {
        const uint8_t *opcode;

        pickle->op_at = pickle->at;
        opcode = take(pickle, 1);
        result = opcode ? opcode_run(pickle, *opcode) : TANDEM_EFORMAT;
    }
    if (result != 0) {
        pickle_free(pickle);
        return result;
    }
    *ret_pickle = pickle;
    return 0;
}

void pickle_free(struct pickle *pickle)
{
    struct block *next;

    if (!pickle) {
        return;
    }
    for (struct block *block = pickle->blocks; block; block = next) {
        next = block->next;
        for (size_t i = 0; i < block->count; i++) {
            if (block->values[i].kind == PICKLE_LIST || block->values[i].kind == PICKLE_DICT) {
                free(block->values[i].list.items);
            }
        }
        free(block);
    }
    free(pickle->stack.items);
    free(pickle->memo.items);
    free(pickle->marks);
    free(pickle);
}

const struct pickle_value *pickle_root(const struct pickle *pickle)
{
    return pickle->root;
}

bool pickle_text_equal(struct pickle_text text, const char *word)
{
    return text.bytes == strlen(word) && memcmp(text.data, word, text.bytes) == 0;
}

bool pickle_text_is(const struct pickle_value *value, const char *word)
{
    return value->kind == PICKLE_TEXT && pickle_text_equal(value->text, word);
}

const struct pickle_value *pickle_get(const struct pickle_value *dict, const char *key)
{
    if (!dict || dict->kind != PICKLE_DICT) {
        return NULL;
    }
    for (size_t i = 0; i + 1 < dict->list.count; i += 2) {
        if (pickle_text_is(dict->list.items[i], key)) {
            return dict->list.items[i + 1];
        }
    }
    return NULL;
}
