/* The configurations of both daemons and the task files as they lie on disk: whatever stands in
 * them, loading ends in a configuration that prints and reads back the same, or in one line of
 * error. The first byte says which of the three the rest is. */
#include "client/daemon/daemon_config.h"
#include "common/base/log.h"
#include "common/base/task_config.h"
#include "server/server_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void one_line(const char *error)
{
    check(error[0] != '\0' && !strchr(error, '\n'));
}

/* The printed form of an accepted configuration is accepted too, and prints the same. */
static void prints_and_reads_back(const struct config_schema *schema, const void *config,
                                  void *again)
{
    char error[CONFIG_ERROR_BYTES];
    struct buf first, second;

    buf_init(&first, 1u << 24);
    buf_init(&second, 1u << 24);
    check(config_print(schema, config, &first) == 0 && buf_append_u8(&first, '\0') == 0);
    check(config_parse(schema, "printed", (const char *)first.data, again, error) == 0);
    check(config_print(schema, again, &second) == 0 && buf_append_u8(&second, '\0') == 0);
    check(strcmp((const char *)first.data, (const char *)second.data) == 0);
    config_free(schema, again);
    buf_fini(&first);
    buf_fini(&second);
}

static void server_load(const char *path)
{
    char error[CONFIG_ERROR_BYTES] = "";
    struct server_config config = {0}, again = {0};

    if (server_config_load(path, &config, error) != 0) {
        one_line(error);
        return;
    }
    (void)server_config_tenant_of(&config, "0123456789abcdef");
    prints_and_reads_back(&server_config_schema, &config, &again);
    server_config_fini(&config);
}

static void client_load(const char *path)
{
    char error[CONFIG_ERROR_BYTES] = "";
    struct client_config config = {0}, again = {0};

    if (client_config_load(path, &config, error) == 0) {
        (void)client_config_weights(&config);
        prints_and_reads_back(&client_config_schema, &config, &again);
    } else {
        one_line(error);
    }
    config_free(&client_config_schema, &config);
}

static void tasks_load_dir(const char *dir)
{
    char error[CONFIG_ERROR_BYTES] = "";
    struct task_config *tasks = NULL, again = {0};
    size_t count = 0;

    if (task_config_load_dir(dir, NULL, &tasks, &count, error) != 0) {
        one_line(error);
        return;
    }
    check(count == 1 && task_config_find(tasks, count, "fuzz") == tasks);
    for (size_t i = 0; i < tasks->label_count; i++) {
        check(tasks->labels[i][0] != '\0');
    }
    prints_and_reads_back(&task_config_schema, tasks, &again);
    task_config_free(tasks, count);
}

/* A folder of this process with one file, gone at its end. */
static char folder[64], file[96];

static void folder_remove(void)
{
    (void)unlink(file);
    (void)rmdir(folder);
}

static void folder_make(void)
{
    snprintf(folder, sizeof(folder),
             "%s/tandem-fuzz-XXXXXX", /* a disk would be the time of it all */
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    check(mkdtemp(folder) != NULL);
    snprintf(file, sizeof(file), "%s/fuzz.conf", folder);
    check(atexit(folder_remove) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    FILE *out;

    if (bytes == 0) {
        return 0;
    }
    if (folder[0] == '\0') {
        log_set_level(LOG_LEVEL_ERROR);
        folder_make();
    }
    out = fopen(file, "wb");
    check(out != NULL && fwrite(data + 1, 1, bytes - 1, out) == bytes - 1);
    check(fclose(out) == 0);
    switch (data[0]) {
    case 's':
        server_load(file);
        break;
    case 'c':
        client_load(file);
        break;
    default:
        tasks_load_dir(folder);
    }
    return 0;
}
