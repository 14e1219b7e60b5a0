#include "common/model/pt.h"

#include "common/base/limits.h"
#include "common/model/pickle.h"
#include "common/model/zip.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An entry of the zip file as a text of its own. *returns owned*. */
static int entry_text(const struct source *source, uint32_t file, const struct zip_entry *entry,
                      char **ret_text, char error[ENGINE_ERROR_BYTES])
{
    char *text;

    if (entry->bytes > LIMIT_PICKLE_BYTES) {
        snprintf(error, ENGINE_ERROR_BYTES, "zip entry %.200s is too large", entry->name);
        return TANDEM_ETOOBIG;
    }
    text = malloc(entry->bytes + 1);
    if (!text) {
        snprintf(error, ENGINE_ERROR_BYTES, "no memory for zip entry %.200s", entry->name);
        return TANDEM_ENOMEM;
    }
    if (source_read(source, file, entry->at_bytes, text, entry->bytes) != 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "cannot read zip entry %.200s", entry->name);
        free(text);
        return TANDEM_EIO;
    }
    text[entry->bytes] = '\0';
    *ret_text = text;
    return 0;
}

static int byte_order_check(const struct source *source, uint32_t file, const struct zip *zip,
                            char error[ENGINE_ERROR_BYTES])
{
    const struct zip_entry *entry = zip_find(zip, "byteorder"); /* absent before PyTorch 2.1 */
    char *text;
    int result;

    if (!entry) {
        return 0;
    }
    result = entry_text(source, file, entry, &text, error);
    if (result != 0) {
        return result;
    }
    if (strcmp(text, "little") != 0) {
        snprintf(error, ENGINE_ERROR_BYTES,
                 "the checkpoint's numbers are big-endian; only little-endian ones are read");
        result = TANDEM_EUNSUPPORTED;
    }
    free(text);
    return result;
}

static void prefix_drop(const char **name)
{
    static const char *const prefixes[] = {"module.", "_orig_mod."};

    for (size_t i = 0; i < 2; i++) {
        if (strncmp(*name, prefixes[i], strlen(prefixes[i])) == 0) {
            *name += strlen(prefixes[i]);
        }
    }
}

static int tensor_add(struct source *source, uint32_t file, const struct zip *zip,
                      const struct pickle_text *key, const struct pickle_tensor *from,
                      char error[ENGINE_ERROR_BYTES])
{
    struct source_tensor tensor = {
        .type = from->storage->type, .dimension_count = from->dimension_count, .file = file};
    const size_t size = source_type_bytes(tensor.type);
    char entry_name[128], name[LIMIT_GGUF_KEY_BYTES + 1];
    const char *short_name = name;
    const struct zip_entry *entry;
    uint64_t end;

    if (key->bytes > LIMIT_GGUF_KEY_BYTES || from->storage->key.bytes > 64) {
        snprintf(error, ENGINE_ERROR_BYTES, "tensor %.*s...: its name is too long", 64, key->data);
        return TANDEM_ETOOBIG;
    }
    snprintf(name, sizeof(name), "%.*s", (int)key->bytes, key->data);
    prefix_drop(&short_name);
    tensor.name = (char *)(uintptr_t)short_name; /* source_add copies it */
    snprintf(entry_name, sizeof(entry_name), "data/%.*s", (int)from->storage->key.bytes,
             from->storage->key.data);
    entry = zip_find(zip, entry_name);
    if (!entry) {
        snprintf(error, ENGINE_ERROR_BYTES, "tensor %.200s: the file has no entry %s", name,
                 entry_name);
        return TANDEM_EFORMAT;
    }
    memcpy(tensor.shape, from->shape, sizeof(tensor.shape));
    memcpy(tensor.stride, from->stride, sizeof(tensor.stride));
    if (!source_span(&tensor, &end) || __builtin_add_overflow(end, from->offset, &end) ||
        __builtin_mul_overflow(end, size, &end) || end > entry->bytes) {
        snprintf(error, ENGINE_ERROR_BYTES, "tensor %.200s reaches past the end of entry %s", name,
                 entry_name);
        return TANDEM_EFORMAT;
    }
    tensor.at_bytes = entry->at_bytes + from->offset * size;
    return source_add(source, &tensor, error);
}

/* The dictionary whose values are tensors. */
static const struct pickle_value *state_find(const struct pickle_value *root)
{
    static const char *const keys[] = {"model_state_dict", "state_dict", "model"};

    for (size_t i = 0; i < 3; i++) {
        const struct pickle_value *state = pickle_get(root, keys[i]);

        if (state && state->kind == PICKLE_DICT) {
            return state;
        }
    }
    return root;
}

static int tensors_add(struct source *source, uint32_t file, const struct zip *zip,
                       const struct pickle_value *state, char error[ENGINE_ERROR_BYTES])
{
    int result = 0;

    if (state->kind != PICKLE_DICT) {
        snprintf(error, ENGINE_ERROR_BYTES, "the checkpoint holds no dictionary of tensors");
        return TANDEM_EFORMAT;
    }
    for (size_t i = 0; result == 0 && i + 1 < state->list.count; i += 2) {
        const struct pickle_value *key = state->list.items[i], *value = state->list.items[i + 1];

        if (key->kind == PICKLE_TEXT && value->kind == PICKLE_TENSOR) {
            result = tensor_add(source, file, zip, &key->text, &value->tensor, error);
        }
    }
    if (result == 0 && source->tensor_count == 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "the checkpoint holds no tensors");
        result = TANDEM_EFORMAT;
    }
    return result;
}

static void config_put(cJSON *config, const char *key, const struct pickle_value *value)
{
    char text[LIMIT_GGUF_KEY_BYTES + 1];

    switch (value->kind) {
    case PICKLE_INT:
        cJSON_AddNumberToObject(config, key, (double)value->integer);
        break;
    case PICKLE_BOOL:
        cJSON_AddBoolToObject(config, key, value->integer != 0);
        break;
    case PICKLE_REAL:
        cJSON_AddNumberToObject(config, key, value->real);
        break;
    case PICKLE_TEXT:
        if (value->text.bytes <= LIMIT_GGUF_KEY_BYTES) {
            snprintf(text, sizeof(text), "%.*s", (int)value->text.bytes, value->text.data);
            cJSON_AddStringToObject(config, key, text);
        }
        break;
    default: /* lists and the like say nothing that a conversion needs */
        break;
    }
}

static int config_read(struct source *source, const struct pickle_value *root,
                       char error[ENGINE_ERROR_BYTES])
{
    static const char *const sections[] = {"model_config", "config", "model_args"};
    static const char *const own[] = {"model", "variant", "task"};

    source->config = cJSON_CreateObject();
    if (!source->config) {
        snprintf(error, ENGINE_ERROR_BYTES, "no memory for the checkpoint's configuration");
        return TANDEM_ENOMEM;
    }
    for (size_t i = 0; i < 3; i++) {
        const struct pickle_value *section = pickle_get(root, sections[i]);

        for (size_t j = 0; section && section->kind == PICKLE_DICT && j + 1 < section->list.count;
             j += 2) {
            const struct pickle_value *key = section->list.items[j];
            char name[64];

            if (key->kind == PICKLE_TEXT && key->text.bytes < sizeof(name)) {
                snprintf(name, sizeof(name), "%.*s", (int)key->text.bytes, key->text.data);
                config_put(source->config, name, section->list.items[j + 1]);
            }
        }
    }
    for (size_t i = 0; i < 3; i++) {
        const struct pickle_value *value = pickle_get(root, own[i]);

        if (value && value->kind == PICKLE_TEXT) {
            config_put(source->config, own[i], value);
        }
    }
    return 0;
}

int pt_load(struct source *source, const char *path, char error[ENGINE_ERROR_BYTES])
{
    struct pickle *pickle = NULL;
    const struct zip_entry *entry;
    struct zip zip = {0};
    char *text = NULL;
    uint32_t file;
    int result = source_open(source, path, &file, error);

    if (result == 0) {
        result = zip_load(source, file, &zip, error);
    }
    if (result == 0) {
        result = byte_order_check(source, file, &zip, error);
    }
    if (result != 0) {
        goto out;
    }
    entry = zip_find(&zip, "data.pkl");
    if (!entry) {
        snprintf(error, ENGINE_ERROR_BYTES,
                 "the zip file has no data.pkl: not a PyTorch checkpoint");
        result = TANDEM_EFORMAT;
        goto out;
    }
    result = entry_text(source, file, entry, &text, error);
    if (result == 0) {
        result = pickle_load(text, entry->bytes, &pickle, error);
    }
    if (result == 0) {
        result = tensors_add(source, file, &zip, state_find(pickle_root(pickle)), error);
    }
    if (result == 0) {
        result = config_read(source, pickle_root(pickle), error);
    }
out:
    pickle_free(pickle);
    free(text);
    zip_fini(&zip);
    return result;
}
