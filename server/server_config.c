#include "server/server_config.h"

#include "common/base/config_source.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/names.h"
#include "common/stream/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOKEN_BYTES_MIN 16
#define TOKEN_BYTES_MAX 255 /* edge.Hello.token */

#define AT(member) offsetof(struct server_config, member)
static const struct config_key keys[] = {
    {.section = "server",
     .key = "listen",
     .type = CONFIG_LIST,
     .offset = AT(listen_text),
     .default_text = "tcp://127.0.0.1:7447",
     .help =
         "Where clients connect: tcp://ADDRESS:PORT or ipc:///PATH, several separated by commas."},
    {.section = "server",
     .key = "status_socket",
     .type = CONFIG_TEXT,
     .offset = AT(status_socket),
     .default_text = "/run/tandem-server/status.sock",
     .help = "The socket that tandemctl --server asks."},
    {.section = "server",
     .key = "tasks_dir",
     .type = CONFIG_TEXT,
     .offset = AT(tasks_dir),
     .default_text = "/etc/tandem/tasks.d",
     .help = "The folder of the task files; what stands under [edge] in them is served here."},
    {.section = "server",
     .key = "models_dir",
     .type = CONFIG_TEXT,
     .offset = AT(models_dir),
     .default_text = "",
     .help =
         "Where relative model paths of task files begin. Empty: the folder of the task files."},
    {.section = "server",
     .key = "cache_bytes",
     .type = CONFIG_BYTES,
     .offset = AT(cache_bytes),
     .default_text = "256M",
     .min = 1u << 20,
     .max = (double)(INT64_C(1) << 44),
     .unit = "bytes",
     .help = "Memory for KV pages of running requests and of conversations, shared evenly by the "
             "models that generate text."},
    {.section = "server",
     .key = "allow_plaintext",
     .type = CONFIG_BOOL,
     .offset = AT(allow_plaintext),
     .default_text = "no",
     .help = "Whether to listen without TLS on addresses that other machines can reach."},
    {.section = "server",
     .key = "threads",
     .type = CONFIG_INT,
     .offset = AT(threads),
     .default_text = "1",
     .min = 1,
     .max = 256,
     .help = "Threads inside one step of a model."},
    {.section = "server",
     .key = "step_tokens",
     .type = CONFIG_INT,
     .offset = AT(step_tokens),
     .default_text = "256",
     .min = 16,
     .max = LIMIT_BATCH_TOKENS,
     .unit = "tokens",
     .help = "The most tokens one step of a model works on, all requests together."},
    {.section = "server",
     .key = "sequences",
     .type = CONFIG_INT,
     .offset = AT(sequences),
     .default_text = "16",
     .min = 1,
     .max = LIMIT_BATCH_SEQUENCES,
     .help = "The most requests in one step of a model."},
    {.section = "server",
     .key = "drain_timeout_ms",
     .type = CONFIG_INT,
     .offset = AT(drain_timeout_ms),
     .default_text = "20000",
     .min = 0,
     .max = LIMIT_DEADLINE_MS,
     .unit = "ms",
     .help = "After SIGTERM, how long accepted requests may go on before they end with an error; "
             "at least 10 s less than TimeoutStopSec of the unit."},
    CONFIG_TLS_KEY(
        struct server_config, cert,
        "This server's certificate (PEM). With it every tcp and ipc listener speaks TLS 1.3 "
        "and clients need certificates."),
    CONFIG_TLS_KEY(struct server_config, key, "The certificate's private key (PEM)."),
    CONFIG_TLS_KEY(struct server_config, ca,
                   "The authority that client certificates must come from (PEM). The name in a "
                   "certificate is the tenant."),
    {.section = "tenant",
     .key = "token_file",
     .type = CONFIG_TEXT,
     .offset = offsetof(struct tenant_config, token_file),
     .default_text = NULL,
     .help = "A file with the tenant's secret for plaintext connections, 16 to 255 printable "
             "characters."},
};
static const struct config_repeated repeated[] = {
    {.section = "tenant",
     .item_bytes = sizeof(struct tenant_config),
     .offset_items = AT(tenants),
     .offset_count = AT(tenant_count),
     .count_max = LIMIT_TENANTS},
};
#undef AT

const struct config_schema server_config_schema = {
    .title = "tandem-server configuration",
    .keys = keys,
    .key_count = sizeof(keys) / sizeof(keys[0]),
    .repeated = repeated,
    .repeated_count = sizeof(repeated) / sizeof(repeated[0]),
};

void server_config_fini(struct server_config *config)
{
    for (size_t i = 0; i < config->tenant_count; i++) {
        if (config->tenants[i].token) {
            explicit_bzero(config->tenants[i].token, strlen(config->tenants[i].token));
        }
        free(config->tenants[i].token);
    }
    for (size_t i = 0; i < config->url_count; i++) {
        free(config->urls[i]);
    }
    config_free(&server_config_schema, config);
    *config = (struct server_config){0};
}

bool server_config_has_tls(const struct server_config *config)
{
    return config->tls_cert[0] != '\0';
}

const char *server_config_tenant_of(const struct server_config *config, const char *token)
{
    const size_t bytes = strlen(token);
    const char *tenant = NULL;

    if (config->tenant_count == 0) {
        return "local";
    }
    for (size_t i = 0; i < config->tenant_count; i++) {
        const char *secret = config->tenants[i].token;
        const size_t secret_bytes = strlen(secret);
        unsigned char differs = secret_bytes != bytes;

        for (size_t k = 0; k < secret_bytes; k++) {
            differs = (unsigned char)(differs | (secret[k] ^ (k < bytes ? token[k] : 0)));
        }
        if (!differs) {
            tenant = config->tenants[i].name;
        }
    }
    return tenant;
}

static int urls_split(struct server_config *config, const struct config_source *source,
                      char error[CONFIG_ERROR_BYTES])
{
    char *copy = strdup(config->listen_text);
    char *rest = copy;
    int result = copy ? 0 : TANDEM_ENOMEM;

    for (char *word; result == 0 && (word = strsep(&rest, ",")) != NULL;) {
        word += strspn(word, " \t");
        word[strcspn(word, " \t")] = '\0';
        if (strncmp(word, "tcp://", 6) != 0 && strncmp(word, "ipc://", 6) != 0) {
            result = config_wrong(source, "server", "", "listen", error,
                                  "'%.200s' is neither tcp://ADDRESS:PORT nor ipc:///PATH", word);
        } else if (config->url_count == LIMIT_LISTEN_URLS) {
            result = config_wrong(source, "server", "", "listen", error, "more than %d addresses",
                                  LIMIT_LISTEN_URLS);
        } else if (!server_config_has_tls(config) && !config->allow_plaintext &&
                   !conn_url_is_local(word)) {
            result = config_wrong(source, "server", "", "listen", error,
                                  "%.200s can be reached from other machines and there is no "
                                  "[tls]: give cert, key and ca, or set allow_plaintext = yes",
                                  word);
        } else if (!(config->urls[config->url_count] = strdup(word))) {
            result = TANDEM_ENOMEM;
        } else {
            config->url_count++;
        }
    }
    free(copy);
    return result;
}

/* Reads one line from the tenant's token file; it has to look like a secret. */
static int token_read(struct tenant_config *tenant, const struct config_source *source,
                      char error[CONFIG_ERROR_BYTES])
{
    char text[TOKEN_BYTES_MAX + 3];
    struct stat info;
    ssize_t got;
    size_t bytes = 0;
    const int fd = open(tenant->token_file, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &info) != 0 || (got = read(fd, text, sizeof(text) - 1)) < 0) {
        (void)config_wrong(source, "tenant", tenant->name, "token_file", error, "%.200s: %s",
                           tenant->token_file, strerror(errno));
        if (fd >= 0) {
            (void)close(fd);
        }
        return TANDEM_ECONFIG;
    }
    (void)close(fd);
    text[got] = '\0';
    bytes = strcspn(text, "\r\n");
    text[bytes] = '\0';
    if ((info.st_mode & S_IRWXO) != 0) {
        log_warning(
            "[tenant %s] token_file %s can be used by everybody on this machine: chmod o= it",
            tenant->name, tenant->token_file);
    }
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] <= ' ' || text[i] > '~') {
            bytes = 0;
        }
    }
    if (bytes < TOKEN_BYTES_MIN || bytes > TOKEN_BYTES_MAX) {
        return config_wrong(source, "tenant", tenant->name, "token_file", error,
                            "%.120s: a token is %d to %d printable characters on one line",
                            tenant->token_file, TOKEN_BYTES_MIN, TOKEN_BYTES_MAX);
    }
    tenant->token = strdup(text);
    explicit_bzero(text, sizeof(text));
    return tenant->token ? 0 : TANDEM_ENOMEM;
}

static int tenants_check(struct server_config *config, const struct config_source *source,
                         char error[CONFIG_ERROR_BYTES])
{
    for (size_t i = 0; i < config->tenant_count; i++) {
        struct tenant_config *tenant = &config->tenants[i];
        int result;

        if (!name_is_valid(tenant->name)) {
            return config_wrong(source, "tenant", tenant->name, NULL, error,
                                "a name is 1 to %d characters of A-Z a-z 0-9 . _ -",
                                LIMIT_NAME_BYTES);
        }
        result = token_read(tenant, source, error);
        if (result != 0) {
            return result;
        }
        for (size_t k = 0; k < i; k++) {
            if (strcmp(config->tenants[k].token, tenant->token) == 0) {
                return config_wrong(source, "tenant", tenant->name, "token_file", error,
                                    "the same token as that of [tenant %s]",
                                    config->tenants[k].name);
            }
        }
    }
    return 0;
}

static int server_check(struct server_config *config, const struct config_source *source,
                        char error[CONFIG_ERROR_BYTES])
{
    int result = config_tls_check(source, config->tls_cert, config->tls_key, config->tls_ca, error);

    if (result == 0 && (config->status_socket[0] == '\0' || config->tasks_dir[0] == '\0')) {
        result = config_wrong(source, "server", "",
                              config->status_socket[0] == '\0' ? "status_socket" : "tasks_dir",
                              error, "must not be empty");
    }
    result = result == 0 ? urls_split(config, source, error) : result;
    return result == 0 ? tenants_check(config, source, error) : result;
}

int server_config_load(const char *path, struct server_config *ret_config,
                       char error[CONFIG_ERROR_BYTES])
{
    struct server_config config = {0};
    struct config_source source = {0};
    int result = config_load_source(&server_config_schema, path, &config, &source, error);

    if (result != 0) {
        config_free(&server_config_schema, &config);
        config_source_free(&source);
        return result;
    }
    result = server_check(&config, &source, error);
    config_source_free(&source);
    if (result != 0) {
        if (result == TANDEM_ENOMEM) {
            snprintf(error, CONFIG_ERROR_BYTES, "%s: out of memory", path);
        }
        server_config_fini(&config);
        return result;
    }
    *ret_config = config;
    return 0;
}
