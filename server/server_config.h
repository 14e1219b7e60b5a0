/* server_config.h: the configuration of tandem-server: one table, and what the table alone cannot
 * check (URLs, plaintext, tokens). Start-up and reload only; the loop thread. */
#ifndef TANDEM_SERVER_SERVER_CONFIG_H
#define TANDEM_SERVER_SERVER_CONFIG_H

#include "common/base/config.h"
#include "common/base/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tenant_config {
    char *name;
    char *token_file;
    char *token; /* owned, read from token_file by server_config_load; never printed */
};

struct server_config {
    char *listen_text;
    char *status_socket;
    char *tasks_dir;
    char *models_dir;
    int64_t cache_bytes;
    bool allow_plaintext;
    int64_t threads;
    int64_t step_tokens;
    int64_t sequences;
    int64_t drain_timeout_ms;
    char *tls_cert, *tls_key, *tls_ca;
    struct tenant_config *tenants;
    size_t tenant_count;
    char *urls[LIMIT_LISTEN_URLS]; /* listen_text split; owned */
    size_t url_count;
};

extern const struct config_schema server_config_schema;

/* Reads `path` and everything it points to but task files and certificates. `ret_config` must be
 * zeroed. TANDEM_ECONFIG or TANDEM_EIO with one line; nothing is kept then. *returns owned*
 * (server_config_fini). */
int server_config_load(const char *path, struct server_config *ret_config,
                       char error[CONFIG_ERROR_BYTES]);
void server_config_fini(struct server_config *config); /* a zeroed one is fine */
bool server_config_has_tls(const struct server_config *config);
/* The tenant of a plaintext connection with this token: "local" when no tenants are configured,
 * NULL when the token is nobody's. Takes the same time whatever differs. Borrowed from the
 * configuration. */
const char *server_config_tenant_of(const struct server_config *config, const char *token);

#endif
