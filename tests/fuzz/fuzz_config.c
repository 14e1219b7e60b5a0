/* Configuration text of any kind ends in a value or in one line of error; what is printed reads
 * back. */
#include "common/base/config.h"
#include "common/base/task_config.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct task_config task = {0};
    struct buf out = {0};
    char error[CONFIG_ERROR_BYTES];
    char *text = malloc(bytes + 1);

    if (!text) {
        return 0;
    }
    memcpy(text, data, bytes);
    text[bytes] = '\0';
    if (config_parse(&task_config_schema, "fuzz.conf", text, &task, error) == 0) {
        assert(error[0] == '\0');
        assert(config_print(&task_config_schema, &task, &out) == 0);
    } else {
        assert(error[0] != '\0' && !strchr(error, '\n'));
    }
    config_free(&task_config_schema, &task);
    buf_fini(&out);
    free(text);
    return 0;
}
