#include "client/ctl/decision_file.h"

#include "common/base/buf.h"
#include "common/base/error.h"
#include "common/base/limits.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

/* The object when the line is this decision, else NULL. A damaged line is none. */
static cJSON *line_match(const char *line, const char *key, const char *id)
{
    cJSON *object = strstr(line, key) ? cJSON_Parse(line) : NULL;
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, "id");

    if (!cJSON_IsString(value) || strcmp(value->valuestring, id) != 0) {
        cJSON_Delete(object);
        return NULL;
    }
    return object;
}

static int file_search(const char *path, const char *id, char **ret_line, cJSON **ret_object)
{
    FILE *file = fopen(path, "re");
    char key[64], *line = NULL;
    size_t capacity = 0;
    ssize_t bytes;
    cJSON *object = NULL;

    if (!file) {
        return TANDEM_EIO;
    }
    snprintf(key, sizeof(key), "\"id\":\"%.20s\"", id);
    while (!object && (bytes = getline(&line, &capacity, file)) > 0 &&
           bytes <= LIMIT_CTL_LINE_BYTES) {
        line[strcspn(line, "\n")] = '\0';
        object = line_match(line, key, id);
    }
    (void)fclose(file);
    if (!object) {
        free(line);
        return TANDEM_ENOTFOUND;
    }
    *ret_line = line;
    *ret_object = object;
    return 0;
}

int decision_file_find(const char *path, const char *id, char **ret_line, cJSON **ret_object)
{
    int result = file_search(path, id, ret_line, ret_object);
    struct buf before;

    if (result != TANDEM_ENOTFOUND) {
        return result;
    }
    buf_init(&before, 0);
    result = buf_printf(&before, "%s.1", path);
    if (result == 0) {
        result = buf_append_u8(&before, 0);
    }
    if (result == 0) {
        result = file_search((const char *)before.data, id, ret_line, ret_object);
        result = result == TANDEM_EIO ? TANDEM_ENOTFOUND : result; /* there is none yet */
    }
    buf_fini(&before);
    return result;
}
