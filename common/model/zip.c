#include "common/model/zip.h"

#include "common/base/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    END_BYTES = 22,
    END_COMMENT_BYTES = 65535,
    LOCATOR_BYTES = 20,
    END64_BYTES = 56,
    DIRECTORY_BYTES = 46, /* of one entry, before its texts */
    LOCAL_BYTES = 30,
    FLAG_ENCRYPTED = 1
};
#define END_MAGIC       0x06054b50u
#define LOCATOR_MAGIC   0x07064b50u
#define END64_MAGIC     0x06064b50u
#define DIRECTORY_MAGIC 0x02014b50u
#define LOCAL_MAGIC     0x04034b50u

struct directory {
    uint64_t at_bytes, bytes, entries;
};

static int broken(char error[ENGINE_ERROR_BYTES], const char *what)
{
    snprintf(error, ENGINE_ERROR_BYTES, "damaged zip file: %s", what);
    return TANDEM_EFORMAT;
}

/* The 64-bit end record that the locator before `end_at` points to. */
static int end64_read(const struct source *source, uint32_t file, uint64_t end_at,
                      struct directory *ret_directory, char error[ENGINE_ERROR_BYTES])
{
    const uint64_t size = source->file_bytes[file];
    uint8_t locator[LOCATOR_BYTES], end[END64_BYTES];
    uint64_t at;

    if (end_at < LOCATOR_BYTES ||
        source_read(source, file, end_at - LOCATOR_BYTES, locator, sizeof(locator)) != 0 ||
        le32_load(locator) != LOCATOR_MAGIC) {
        return broken(error, "no 64-bit locator");
    }
    at = le64_load(locator + 8);
    if (at > size || size - at < END64_BYTES ||
        source_read(source, file, at, end, sizeof(end)) != 0 || le32_load(end) != END64_MAGIC) {
        return broken(error, "no 64-bit end record");
    }
    *ret_directory =
        (struct directory){le64_load(end + 48), le64_load(end + 40), le64_load(end + 32)};
    return 0;
}

static int end_read(const struct source *source, uint32_t file, struct directory *ret_directory,
                    char error[ENGINE_ERROR_BYTES])
{
    const uint64_t size = source->file_bytes[file];
    const size_t tail_bytes =
        (size_t)(size < END_BYTES + END_COMMENT_BYTES ? size : END_BYTES + END_COMMENT_BYTES);
    uint8_t *tail = malloc(tail_bytes + 1);
    int result = TANDEM_EFORMAT;
    size_t at;

    if (!tail) {
        snprintf(error, ENGINE_ERROR_BYTES, "no memory to read the zip directory");
        return TANDEM_ENOMEM;
    }
    if (tail_bytes < END_BYTES ||
        source_read(source, file, size - tail_bytes, tail, tail_bytes) != 0) {
        (void)broken(error, "too short");
        goto out;
    }
    for (at = tail_bytes - END_BYTES; le32_load(tail + at) != END_MAGIC; at--) {
        if (at == 0) {
            (void)broken(error, "no end record; is the file complete?");
            goto out;
        }
    }
    *ret_directory = (struct directory){le32_load(tail + at + 16), le32_load(tail + at + 12),
                                        le16_load(tail + at + 10)};
    result = 0;
    if (ret_directory->at_bytes == UINT32_MAX || ret_directory->bytes == UINT32_MAX ||
        ret_directory->entries == UINT16_MAX) {
        result = end64_read(source, file, size - tail_bytes + at, ret_directory, error);
    }
    if (result == 0 &&
        (ret_directory->at_bytes > size || ret_directory->bytes > size - ret_directory->at_bytes)) {
        result = broken(error, "its directory reaches past the end");
    } else if (result == 0 && (ret_directory->entries > LIMIT_ZIP_ENTRIES ||
                               ret_directory->bytes > LIMIT_ZIP_DIRECTORY_BYTES)) {
        snprintf(error, ENGINE_ERROR_BYTES, "the zip file has more than %d entries",
                 LIMIT_ZIP_ENTRIES);
        result = TANDEM_ETOOBIG;
    }
out:
    free(tail);
    return result;
}

/* Sizes and offset that did not fit 32 bits stand in extra field 1, in this order, those alone. */
static int extra64_read(const uint8_t *extra, size_t bytes, uint64_t *const values[3])
{
    while (bytes >= 4) {
        const uint16_t id = le16_load(extra), length = le16_load(extra + 2);
        size_t at = 0;

        if (length > bytes - 4) {
            return TANDEM_EFORMAT;
        }
        if (id == 1) {
            for (int i = 0; i < 3; i++) {
                if (*values[i] == UINT32_MAX) {
                    if (at + 8 > length) {
                        return TANDEM_EFORMAT;
                    }
                    *values[i] = le64_load(extra + 4 + at);
                    at += 8;
                }
            }
            return 0;
        }
        extra += 4 + length;
        bytes -= 4u + length;
    }
    return TANDEM_EFORMAT;
}

/* Where the data of an entry begins: behind its local header, whose texts have lengths of their
 * own. */
static int local_read(const struct source *source, uint32_t file, uint64_t local_at,
                      struct zip_entry *entry, char error[ENGINE_ERROR_BYTES])
{
    const uint64_t size = source->file_bytes[file];
    uint8_t local[LOCAL_BYTES];

    if (local_at > size || size - local_at < LOCAL_BYTES ||
        source_read(source, file, local_at, local, sizeof(local)) != 0 ||
        le32_load(local) != LOCAL_MAGIC) {
        return broken(error, "an entry without its header");
    }
    entry->at_bytes = local_at + LOCAL_BYTES + le16_load(local + 26) + le16_load(local + 28);
    if (entry->at_bytes > size || entry->bytes > size - entry->at_bytes) {
        return broken(error, "an entry reaches past the end");
    }
    return 0;
}

static int entry_read(const struct source *source, uint32_t file, const uint8_t *at, size_t left,
                      struct zip_entry *entry, size_t *ret_bytes, char error[ENGINE_ERROR_BYTES])
{
    uint64_t packed, bytes, local_at;
    size_t name_bytes, extra_bytes;

    if (left < DIRECTORY_BYTES || le32_load(at) != DIRECTORY_MAGIC) {
        return broken(error, "its directory ends early");
    }
    name_bytes = le16_load(at + 28);
    extra_bytes = le16_load(at + 30);
    *ret_bytes = DIRECTORY_BYTES + name_bytes + extra_bytes + le16_load(at + 32);
    if (*ret_bytes > left || memchr(at + DIRECTORY_BYTES, '\0', name_bytes)) {
        return broken(error, "its directory ends early");
    }
    entry->name = strndup((const char *)at + DIRECTORY_BYTES, name_bytes);
    if (!entry->name) {
        snprintf(error, ENGINE_ERROR_BYTES, "no memory for the zip directory");
        return TANDEM_ENOMEM;
    }
    packed = le32_load(at + 20);
    bytes = le32_load(at + 24);
    local_at = le32_load(at + 42);
    if ((packed == UINT32_MAX || bytes == UINT32_MAX || local_at == UINT32_MAX) &&
        extra64_read(at + DIRECTORY_BYTES + name_bytes, extra_bytes,
                     (uint64_t *const[]){&bytes, &packed, &local_at}) != 0) {
        return broken(error, "an entry without its 64-bit sizes");
    }
    if (le16_load(at + 10) != 0 || (le16_load(at + 8) & FLAG_ENCRYPTED) || packed != bytes) {
        snprintf(error, ENGINE_ERROR_BYTES,
                 "zip entry %.200s is compressed or encrypted; checkpoints are stored plainly",
                 entry->name);
        return TANDEM_EUNSUPPORTED;
    }
    entry->bytes = bytes;
    return local_read(source, file, local_at, entry, error);
}

static const char *entry_suffix(const struct zip_entry *entry)
{
    const char *rest = strchr(entry->name, '/');

    return rest ? rest + 1 : entry->name;
}

static int suffix_compare(const void *a, const void *b)
{
    return strcmp(entry_suffix(a), entry_suffix(b));
}

static int place_compare(const void *a, const void *b)
{
    const struct zip_entry *left = a, *right = b;

    return (left->at_bytes > right->at_bytes) - (left->at_bytes < right->at_bytes);
}

static int overlap_check(struct zip *zip, char error[ENGINE_ERROR_BYTES])
{
    qsort(zip->entries, zip->count, sizeof(*zip->entries), place_compare);
    for (size_t i = 1; i < zip->count; i++) {
        if (zip->entries[i].at_bytes < zip->entries[i - 1].at_bytes + zip->entries[i - 1].bytes) {
            snprintf(error, ENGINE_ERROR_BYTES, "zip entries %.100s and %.100s overlap",
                     zip->entries[i - 1].name, zip->entries[i].name);
            return TANDEM_EFORMAT;
        }
    }
    qsort(zip->entries, zip->count, sizeof(*zip->entries), suffix_compare);
    return 0;
}

int zip_load(const struct source *source, uint32_t file, struct zip *zip,
             char error[ENGINE_ERROR_BYTES])
{
    struct directory directory;
    uint8_t *data = NULL;
    size_t at = 0, bytes;
    int result;

    memset(zip, 0, sizeof(*zip));
    result = end_read(source, file, &directory, error);
    if (result != 0) {
        return result;
    }
    data = malloc(directory.bytes + 1);
    zip->entries = calloc(directory.entries + 1, sizeof(*zip->entries));
    if (!data || !zip->entries) {
        snprintf(error, ENGINE_ERROR_BYTES, "no memory for the zip directory");
        result = TANDEM_ENOMEM;
    } else if (source_read(source, file, directory.at_bytes, data, directory.bytes) != 0) {
        snprintf(error, ENGINE_ERROR_BYTES, "cannot read the zip directory");
        result = TANDEM_EIO;
    }
    while (result == 0 && zip->count < directory.entries) {
        result = entry_read(source, file, data + at, directory.bytes - at,
                            &zip->entries[zip->count++], &bytes, error);
        at += result == 0 ? bytes : 0;
    }
    free(data);
    return result == 0 ? overlap_check(zip, error) : result;
}

void zip_fini(struct zip *zip)
{
    for (size_t i = 0; i < zip->count; i++) {
        free(zip->entries[i].name);
    }
    free(zip->entries);
    memset(zip, 0, sizeof(*zip));
}

const struct zip_entry *zip_find(const struct zip *zip, const char *suffix)
{
    size_t from = 0, to = zip->count;

    while (from < to) {
        const size_t middle = from + (to - from) / 2;
        const int order = strcmp(suffix, entry_suffix(&zip->entries[middle]));

        if (order == 0) {
            return &zip->entries[middle];
        }
        if (order < 0) {
            to = middle;
        } else {
            from = middle + 1;
        }
    }
    return NULL;
}
