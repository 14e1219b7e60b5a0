/* daemon_config.h: the configuration of tandem-client. Start-up only. */
#ifndef TANDEM_CLIENT_DAEMON_CONFIG_H
#define TANDEM_CLIENT_DAEMON_CONFIG_H

#include "client/daemon/energy_gauge.h"
#include "client/policy/decide.h"
#include "common/base/config.h"

enum policy_mode { MODE_DECIDE, MODE_OBSERVE };
enum observe_route { OBSERVE_LOCAL, OBSERVE_EDGE, OBSERVE_CASCADE };
struct edge_config {
    char *name, *url, *token_file;
    int64_t max_up_kbit; /* 0: no cap */
};
struct client_config {
    char *app_socket, *status_socket, *tasks_dir, *models_dir, *state_dir;
    int64_t threads, kv_bytes, result_cache_bytes, drain_timeout_ms;
    bool allow_plaintext;
    char *tls_cert, *tls_key, *tls_ca;
    int prefer, mode, observe_route;
    double shadow_percent;
    double one_miss_ms, one_megabyte_ms, one_error_ms, one_joule_ms, edge_error;
    int64_t probe_bytes, bytes_per_hour; /* bytes_per_hour 0: no limit */
    double joule_per_hour;               /* 0: no limit */
    int energy_source;
    char *sys_dir;
    double compute_watt, send_joule_per_megabyte, receive_joule_per_megabyte; /* 0: not known */
    struct edge_config *edges;
    size_t edge_count;
};
extern const struct config_schema client_config_schema;

/* Loads and checks; `config` zeroed before, freed with config_free(&client_config_schema, ...) in
 * any case. One line in `error`. */
int client_config_load(const char *path, struct client_config *config,
                       char error[CONFIG_ERROR_BYTES]);
/* The words of the configuration for `mode` and `observe_route`. */
const char *client_config_mode_text(const struct client_config *config);
const char *client_config_observe_route_text(const struct client_config *config);
/* What this device's battery pays, as far as [device] says it. */
struct decide_energy client_config_energy(const struct client_config *config);
/* The weights with `prefer` applied. */
struct decide_weights client_config_weights(const struct client_config *config);

#endif
