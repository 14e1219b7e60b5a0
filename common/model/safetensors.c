#include "common/model/safetensors.h"

#include "common/base/limits.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SUFFIX "safetensors"
#define INDEX  "model.safetensors.index.json"
#define WHOLE  "model.safetensors"
#define PATH   4096

static int fail(char error[ENGINE_ERROR_BYTES], int code, const char *name, const char *wrong)
{
    snprintf(error, ENGINE_ERROR_BYTES, "%.200s: %s", name, wrong);
    return code;
}

/* ---- one file ---- */

static const struct {
    const char *name;
    enum source_type type;
    uint64_t bytes;
} types[] = {
    {"F32", SOURCE_F32, 4},   {"F16", SOURCE_F16, 2},    {"BF16", SOURCE_BF16, 2},
    {"F64", SOURCE_F64, 8},   {"BOOL", SOURCE_OTHER, 1}, {"U8", SOURCE_OTHER, 1},
    {"I8", SOURCE_OTHER, 1},  {"U16", SOURCE_OTHER, 2},  {"I16", SOURCE_OTHER, 2},
    {"U32", SOURCE_OTHER, 4}, {"I32", SOURCE_OTHER, 4},  {"U64", SOURCE_OTHER, 8},
    {"I64", SOURCE_OTHER, 8},
};

/* A whole number that JSON holds exactly. */
static bool whole_number(const cJSON *item, uint64_t *ret_value)
{
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble < 0x1p53) ||
        item->valuedouble != floor(item->valuedouble)) {
        return false;
    }
    *ret_value = (uint64_t)item->valuedouble;
    return true;
}

/* Shape and strides, last dimension fastest; the number of elements. */
static bool shape_parse(const cJSON *shape, struct source_tensor *tensor, uint64_t *ret_elements)
{
    const int count = cJSON_IsArray(shape) ? cJSON_GetArraySize(shape) : -1;

    *ret_elements = 1;
    if (count < 0 || count > SOURCE_DIMENSIONS) {
        return false;
    }
    tensor->dimension_count = (uint32_t)count;
    for (int i = count; i-- > 0;) {
        if (!whole_number(cJSON_GetArrayItem(shape, i), &tensor->shape[i])) {
            return false;
        }
        tensor->stride[i] = *ret_elements;
        if (__builtin_mul_overflow(*ret_elements, tensor->shape[i], ret_elements)) {
            return false;
        }
    }
    return true;
}

struct range {
    uint64_t first, end;
    const char *name;
};

/* One entry of the header. `data_at` is where the bytes begin; *ret_range where these lie. */
static int entry_add(struct source *source, uint32_t file, uint64_t data_at, const cJSON *entry,
                     struct range *ret_range, char error[ENGINE_ERROR_BYTES])
{
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(entry, "dtype");
    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(entry, "data_offsets");
    struct source_tensor tensor = {.name = entry->string, .file = file};
    uint64_t elements, bytes, first, end;
    size_t i = 0;

    if (!cJSON_IsString(type) || cJSON_GetArraySize(offsets) != 2 ||
        !whole_number(cJSON_GetArrayItem(offsets, 0), &first) ||
        !whole_number(cJSON_GetArrayItem(offsets, 1), &end) ||
        !shape_parse(cJSON_GetObjectItemCaseSensitive(entry, "shape"), &tensor, &elements)) {
        return fail(error, TANDEM_EFORMAT, entry->string,
                    "no type, shape (of at most four dimensions) and place that can be");
    }
    while (i < sizeof(types) / sizeof(types[0]) && strcmp(types[i].name, type->valuestring) != 0) {
        i++;
    }
    if (i == sizeof(types) / sizeof(types[0])) {
        snprintf(error, ENGINE_ERROR_BYTES, "tensor %.200s is of type %.30s, which is not read",
                 entry->string, type->valuestring);
        return TANDEM_EUNSUPPORTED;
    }
    tensor.type = types[i].type;
    if (end < first || __builtin_mul_overflow(elements, types[i].bytes, &bytes) ||
        end - first != bytes || end > source->file_bytes[file] - data_at) {
        snprintf(error, ENGINE_ERROR_BYTES,
                 "tensor %.200s: bytes %llu to %llu are not those of its shape, or past the end of "
                 "the file",
                 entry->string, (unsigned long long)first, (unsigned long long)end);
        return TANDEM_EFORMAT;
    }
    tensor.at_bytes = data_at + first;
    *ret_range = (struct range){first, end, entry->string};
    return source_add(source, &tensor, error);
}

static int range_compare(const void *a, const void *b)
{
    const struct range *left = a, *right = b;

    if (left->first != right->first) {
        return left->first < right->first ? -1 : 1;
    }
    return left->end < right->end ? -1 : left->end > right->end;
}

/* The format has no room for bytes that are nobody's: the tensors lie one behind the other, from
 * the first byte to the last of `data_bytes`. */
static int ranges_check(struct range *ranges, size_t count, uint64_t data_bytes,
                        char error[ENGINE_ERROR_BYTES])
{
    uint64_t end = 0;

    qsort(ranges, count, sizeof(*ranges), range_compare);
    for (size_t i = 0; i < count; i++) {
        if (ranges[i].first < end) {
            snprintf(error, ENGINE_ERROR_BYTES, "tensors %.100s and %.100s overlap",
                     ranges[i - 1].name, ranges[i].name);
            return TANDEM_EFORMAT;
        }
        if (ranges[i].first > end) {
            snprintf(error, ENGINE_ERROR_BYTES,
                     "a hole of %llu bytes before tensor %.200s: the format has none",
                     (unsigned long long)(ranges[i].first - end), ranges[i].name);
            return TANDEM_EFORMAT;
        }
        end = ranges[i].end;
    }
    if (end != data_bytes) {
        snprintf(error, ENGINE_ERROR_BYTES, "%llu bytes behind the last tensor are no tensor's",
                 (unsigned long long)(data_bytes - end));
        return TANDEM_EFORMAT;
    }
    return 0;
}

static int entries_add(struct source *source, uint32_t file, uint64_t data_at, const cJSON *header,
                       char error[ENGINE_ERROR_BYTES])
{
    const int count = cJSON_GetArraySize(header);
    struct range *ranges = calloc((size_t)count + 1, sizeof(*ranges));
    const cJSON *entry;
    size_t used = 0;
    int result = ranges ? 0 : fail(error, TANDEM_ENOMEM, "header", "no memory for its tensors");

    cJSON_ArrayForEach(entry, header)
    {
        if (result == 0 && strcmp(entry->string, "__metadata__") != 0) {
            result = entry_add(source, file, data_at, entry, &ranges[used++], error);
        }
    }
    result =
        result ? result : ranges_check(ranges, used, source->file_bytes[file] - data_at, error);
    free(ranges);
    return result;
}

/* u64 bytes of the header, the header, the tensors' bytes. */
static int file_load(struct source *source, const char *path, char error[ENGINE_ERROR_BYTES])
{
    uint8_t length[8];
    uint64_t bytes = 0;
    uint32_t file;
    char *text = NULL;
    cJSON *header = NULL;
    int result = source_open(source, path, &file, error);

    if (result != 0) {
        return result;
    }
    if (source_read(source, file, 0, length, sizeof(length)) != 0 ||
        (bytes = le64_load(length)) > source->file_bytes[file] - sizeof(length)) {
        return fail(error, TANDEM_EFORMAT, path, "ends inside its header");
    }
    if (bytes > LIMIT_SHARD_HEADER_BYTES) {
        return fail(error, TANDEM_ETOOBIG, path, "its header is too large");
    }
    text = malloc((size_t)bytes + 1);
    if (!text) {
        return fail(error, TANDEM_ENOMEM, path, "no memory for its header");
    }
    result = source_read(source, file, sizeof(length), text, (size_t)bytes);
    text[bytes] = '\0';
    header = result == 0 ? cJSON_Parse(text) : NULL;
    free(text);
    if (!cJSON_IsObject(header)) {
        result = fail(error, TANDEM_EFORMAT, path, "its header is no JSON object");
    } else {
        result = entries_add(source, file, sizeof(length) + bytes, header, error);
    }
    cJSON_Delete(header);
    return result;
}

/* ---- several files ---- */

static int json_load(const char *path, cJSON **ret_json, char error[ENGINE_ERROR_BYTES])
{
    char *text = NULL;
    size_t bytes;
    cJSON *json;
    int result = source_text(path, LIMIT_SHARD_HEADER_BYTES, &text, &bytes, error);

    if (result != 0) {
        return result;
    }
    json = cJSON_Parse(text);
    free(text);
    if (!cJSON_IsObject(json)) {
        cJSON_Delete(json);
        return fail(error, TANDEM_EFORMAT, path, "not a JSON object");
    }
    *ret_json = json;
    return 0;
}

/* The file of `entry`, unless an earlier entry names it too. */
static int shard_load(struct source *source, const char *folder, const cJSON *map,
                      const cJSON *entry, char error[ENGINE_ERROR_BYTES])
{
    char path[PATH];

    if (!cJSON_IsString(entry) || entry->valuestring[0] == '\0' ||
        strchr(entry->valuestring, '/')) {
        return fail(error, TANDEM_EFORMAT, entry->string,
                    "the index names no file of its own folder for it");
    }
    for (const cJSON *at = map->child; at != entry; at = at->next) {
        if (strcmp(at->valuestring, entry->valuestring) == 0) {
            return 0;
        }
    }
    snprintf(path, sizeof(path), "%s%s", folder, entry->valuestring);
    return file_load(source, path, error);
}

static int index_load(struct source *source, const char *path, const char *folder,
                      char error[ENGINE_ERROR_BYTES])
{
    cJSON *index = NULL;
    const cJSON *map, *entry;
    int result = json_load(path, &index, error);

    if (result != 0) {
        return result;
    }
    map = cJSON_GetObjectItemCaseSensitive(index, "weight_map");
    if (!cJSON_IsObject(map) || cJSON_GetArraySize(map) > LIMIT_CHECKPOINT_TENSORS) {
        result = fail(error, TANDEM_EFORMAT, path, "no weight_map, or one of too many tensors");
    }
    cJSON_ArrayForEach(entry, map)
    {
        result = result ? result : shard_load(source, folder, map, entry, error);
    }
    cJSON_ArrayForEach(entry, map)
    {
        if (result == 0 && !source_find(source, entry->string)) {
            result = fail(error, TANDEM_EFORMAT, entry->string,
                          "the file that the index names for it does not have it");
        }
    }
    cJSON_Delete(index);
    return result;
}

/* ---- what lies beside ---- */

static bool is_file(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

static bool ends_with(const char *text, const char *end)
{
    const size_t bytes = strlen(text), end_bytes = strlen(end);

    return bytes >= end_bytes && strcmp(text + bytes - end_bytes, end) == 0;
}

bool safetensors_is(const char *path)
{
    struct stat status;

    return (stat(path, &status) == 0 && S_ISDIR(status.st_mode)) || ends_with(path, "." SUFFIX) ||
           ends_with(path, "." SUFFIX ".index.json");
}

/* The tokenizer that lies beside, of both the one that says more, and config.json. */
static int beside_load(struct source *source, const char *folder, char error[ENGINE_ERROR_BYTES])
{
    static const char *const tokenizers[] = {"tokenizer.json", "tokenizer.model"};
    char path[PATH];

    for (size_t i = 0; i < 2 && !source->tokenizer; i++) {
        snprintf(path, sizeof(path), "%s%s", folder, tokenizers[i]);
        if (is_file(path) && !(source->tokenizer = strdup(path))) {
            return fail(error, TANDEM_ENOMEM, path, "no memory");
        }
    }
    snprintf(path, sizeof(path), "%sconfig.json", folder);
    return is_file(path) ? json_load(path, &source->config, error) : 0;
}

int safetensors_load(struct source *source, const char *path, char error[ENGINE_ERROR_BYTES])
{
    char folder[PATH / 2], file[PATH];
    const char *slash = strrchr(path, '/');
    struct stat status;
    int result;

    if (strlen(path) >= sizeof(folder) - 2) {
        return fail(error, TANDEM_ETOOBIG, path, "the path is too long");
    }
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
        snprintf(folder, sizeof(folder), "%s/", path);
        snprintf(file, sizeof(file), "%s%s", folder, INDEX);
        if (!is_file(file)) {
            snprintf(file, sizeof(file), "%s%s", folder, WHOLE);
        }
    } else {
        snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path + 1) : 0, path);
        snprintf(file, sizeof(file), "%s", path);
    }
    result = ends_with(file, ".json") ? index_load(source, file, folder, error)
                                      : file_load(source, file, error);
    if (result == 0 && source->tensor_count == 0) {
        result = fail(error, TANDEM_EFORMAT, path, "no tensors in it");
    }
    return result ? result : beside_load(source, folder, error);
}
