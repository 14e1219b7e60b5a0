/* pickle_make.c: the closed list of what a pickle may name, and what calling it makes. */
#include "common/model/pickle_parts.h"

#include <stdio.h>
#include <string.h>

enum constructor {
    MAKE_DICT,
    MAKE_TENSOR,
    MAKE_PARAMETER,
    MAKE_SIZE,
    MAKE_STORAGE, /* names a storage's type; not called */
    MAKE_NOTHING  /* a constant that is only kept, a dtype */
};

/* Everything that a pickle may name. */
static const struct {
    const char *module, *name;
    enum constructor make;
    enum source_type type; /* MAKE_STORAGE */
} constructors[] = {
    {"collections", "OrderedDict", MAKE_DICT, SOURCE_OTHER},
    {"torch._utils", "_rebuild_tensor_v2", MAKE_TENSOR, SOURCE_OTHER},
    {"torch._utils", "_rebuild_parameter", MAKE_PARAMETER, SOURCE_OTHER},
    {"torch", "Size", MAKE_SIZE, SOURCE_OTHER},
    {"torch", "FloatStorage", MAKE_STORAGE, SOURCE_F32},
    {"torch", "HalfStorage", MAKE_STORAGE, SOURCE_F16},
    {"torch", "BFloat16Storage", MAKE_STORAGE, SOURCE_BF16},
    {"torch", "DoubleStorage", MAKE_STORAGE, SOURCE_F64},
    {"torch", "LongStorage", MAKE_STORAGE, SOURCE_OTHER},
    {"torch", "IntStorage", MAKE_STORAGE, SOURCE_OTHER},
    {"torch", "ShortStorage", MAKE_STORAGE, SOURCE_OTHER},
    {"torch", "CharStorage", MAKE_STORAGE, SOURCE_OTHER},
    {"torch", "ByteStorage", MAKE_STORAGE, SOURCE_OTHER},
    {"torch", "BoolStorage", MAKE_STORAGE, SOURCE_OTHER},
    {"torch", "float32", MAKE_NOTHING, SOURCE_OTHER},
    {"torch", "float16", MAKE_NOTHING, SOURCE_OTHER},
    {"torch", "bfloat16", MAKE_NOTHING, SOURCE_OTHER},
    {"torch", "float64", MAKE_NOTHING, SOURCE_OTHER},
    {"torch", "int64", MAKE_NOTHING, SOURCE_OTHER},
};
#define CONSTRUCTORS (sizeof(constructors) / sizeof(constructors[0]))

int pickle_global_push(struct pickle *pickle, struct pickle_text module, struct pickle_text name)
{
    for (unsigned i = 0; i < CONSTRUCTORS; i++) {
        if (pickle_text_equal(module, constructors[i].module) &&
            pickle_text_equal(name, constructors[i].name)) {
            struct pickle_value *value;
            const int result = pickle_push_new(pickle, PICKLE_GLOBAL, &value);

            if (result == 0) {
                value->constructor = i;
            }
            return result;
        }
    }
    snprintf(pickle->error, ENGINE_ERROR_BYTES,
             "pickle, byte %zu: %.*s.%.*s is not something a checkpoint of weights needs; refused",
             pickle->op_at, module.bytes > 100 ? 100 : (int)module.bytes, module.data,
             name.bytes > 100 ? 100 : (int)name.bytes, name.data);
    return TANDEM_EUNSUPPORTED;
}

static bool count_get(const struct pickle_value *value, uint64_t *ret_count)
{
    if (value->kind != PICKLE_INT || value->integer < 0) {
        return false;
    }
    *ret_count = (uint64_t)value->integer;
    return true;
}

/* ("storage", type, key, device, elements) */
int pickle_storage_make(struct pickle *pickle, size_t unused)
{
    const struct pickle_value *id = pickle_pop(pickle);
    struct pickle_value *value;
    uint64_t elements;
    int result;

    (void)unused;
    if (!id) {
        return TANDEM_EFORMAT;
    }
    if (id->kind != PICKLE_LIST || id->list.count < 5 ||
        !pickle_text_is(id->list.items[0], "storage") || id->list.items[1]->kind != PICKLE_GLOBAL ||
        constructors[id->list.items[1]->constructor].make != MAKE_STORAGE ||
        id->list.items[2]->kind != PICKLE_TEXT || !count_get(id->list.items[4], &elements)) {
        return pickle_fail(pickle, TANDEM_EFORMAT, "a storage that is described in an unknown way");
    }
    result = pickle_push_new(pickle, PICKLE_STORAGE, &value);
    if (result == 0) {
        value->storage = (struct pickle_storage){
            id->list.items[2]->text, constructors[id->list.items[1]->constructor].type, elements};
    }
    return result;
}

/* (storage, offset, shape, strides, requires_grad, hooks) */
static int tensor_make(struct pickle *pickle, const struct pickle_list *arguments)
{
    const struct pickle_value *shape, *stride;
    struct pickle_tensor tensor = {0};
    struct pickle_value *value;
    int result;

    if (arguments->count < 4 || arguments->items[0]->kind != PICKLE_STORAGE ||
        !count_get(arguments->items[1], &tensor.offset) ||
        arguments->items[2]->kind != PICKLE_LIST || arguments->items[3]->kind != PICKLE_LIST ||
        arguments->items[2]->list.count != arguments->items[3]->list.count) {
        return pickle_fail(pickle, TANDEM_EFORMAT, "a tensor that is described in an unknown way");
    }
    shape = arguments->items[2];
    stride = arguments->items[3];
    if (shape->list.count > SOURCE_DIMENSIONS) {
        return pickle_fail(pickle, TANDEM_EUNSUPPORTED, "a tensor of more than 4 dimensions");
    }
    tensor.storage = &arguments->items[0]->storage;
    tensor.dimension_count = (uint32_t)shape->list.count;
    for (uint32_t i = 0; i < tensor.dimension_count; i++) {
        if (!count_get(shape->list.items[i], &tensor.shape[i]) ||
            !count_get(stride->list.items[i], &tensor.stride[i])) {
            return pickle_fail(pickle, TANDEM_EFORMAT,
                               "a tensor whose shape is not made of counts");
        }
    }
    result = pickle_push_new(pickle, PICKLE_TENSOR, &value);
    if (result == 0) {
        value->tensor = tensor;
    }
    return result;
}

/* OrderedDict(): empty, or made from a list of pairs. */
static int dict_make(struct pickle *pickle, const struct pickle_list *arguments)
{
    struct pickle_value *dict;
    int result = pickle_push_new(pickle, PICKLE_DICT, &dict);

    if (result != 0 || arguments->count == 0) {
        return result;
    }
    if (arguments->count > 1 || arguments->items[0]->kind != PICKLE_LIST) {
        return pickle_fail(pickle, TANDEM_EFORMAT, "a dictionary that is made in an unknown way");
    }
    for (size_t i = 0; result == 0 && i < arguments->items[0]->list.count; i++) {
        const struct pickle_value *pair = arguments->items[0]->list.items[i];

        if (pair->kind != PICKLE_LIST || pair->list.count != 2) {
            return pickle_fail(pickle, TANDEM_EFORMAT,
                               "a dictionary that is made in an unknown way");
        }
        result = pickle_list_append(pickle, &dict->list, pair->list.items[0]);
        if (result == 0) {
            result = pickle_list_append(pickle, &dict->list, pair->list.items[1]);
        }
    }
    return result;
}

int pickle_reduce(struct pickle *pickle, size_t unused)
{
    struct pickle_value *arguments = pickle_pop(pickle),
                        *callable = arguments ? pickle_pop(pickle) : NULL;

    (void)unused;
    if (!callable) {
        return TANDEM_EFORMAT;
    }
    if (callable->kind != PICKLE_GLOBAL || arguments->kind != PICKLE_LIST) {
        return pickle_fail(pickle, TANDEM_EFORMAT, "calls what cannot be called");
    }
    switch (constructors[callable->constructor].make) {
    case MAKE_DICT:
        return dict_make(pickle, &arguments->list);
    case MAKE_TENSOR:
        return tensor_make(pickle, &arguments->list);
    case MAKE_PARAMETER:
        if (arguments->list.count > 0 && arguments->list.items[0]->kind == PICKLE_TENSOR) {
            return pickle_push(pickle, arguments->list.items[0]);
        }
        break;
    case MAKE_SIZE:
        if (arguments->list.count == 1 && arguments->list.items[0]->kind == PICKLE_LIST) {
            return pickle_push(pickle, arguments->list.items[0]);
        }
        break;
    case MAKE_STORAGE:
    case MAKE_NOTHING:
        break;
    }
    return pickle_fail(pickle, TANDEM_EFORMAT, "calls a constructor in an unknown way");
}
