#include "client/daemon/daemon_config.h"

#include "client/policy/budget.h"
#include "common/base/config_source.h"
#include "common/base/error.h"
#include "common/base/names.h"
#include "common/stream/conn.h"
#include "common/stream/url.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const modes[] = {[MODE_DECIDE] = "decide", [MODE_OBSERVE] = "observe", NULL};
static const char *const energy_sources[] = {"model", "rapl", "battery", NULL};
static const char *const observe_routes[] = {
    [OBSERVE_LOCAL] = "local", [OBSERVE_EDGE] = "edge", [OBSERVE_CASCADE] = "cascade", NULL};

#define AT(member) offsetof(struct client_config, member)
static const struct config_key keys[] = {
    {.section = "client",
     .key = "app_socket",
     .type = CONFIG_TEXT,
     .offset = AT(app_socket),
     .default_text = "/run/tandem-client/app.sock",
     .help = "The socket that applications connect to."},
    {.section = "client",
     .key = "status_socket",
     .type = CONFIG_TEXT,
     .offset = AT(status_socket),
     .default_text = "/run/tandem-client/status.sock",
     .help = "The socket that tandemctl asks."},
    {.section = "client",
     .key = "tasks_dir",
     .type = CONFIG_TEXT,
     .offset = AT(tasks_dir),
     .default_text = "/etc/tandem/tasks.d",
     .help = "The folder of the task files; what stands under [local] in them runs here."},
    {.section = "client",
     .key = "models_dir",
     .type = CONFIG_TEXT,
     .offset = AT(models_dir),
     .default_text = "",
     .help =
         "Where relative model paths of task files begin. Empty: the folder of the task files."},
    {.section = "client",
     .key = "state_dir",
     .type = CONFIG_TEXT,
     .offset = AT(state_dir),
     .default_text = "/var/lib/tandem-client",
     .help = "Where decisions.jsonl, decision-ids, learned and budgets are written. Empty: "
             "nowhere, and ids "
             "come from the clock."},
    {.section = "client",
     .key = "threads",
     .type = CONFIG_INT,
     .offset = AT(threads),
     .default_text = "1",
     .min = 1,
     .max = 256,
     .help = "Threads inside one step of a local model."},
    {.section = "client",
     .key = "kv_bytes",
     .type = CONFIG_BYTES,
     .offset = AT(kv_bytes),
     .default_text = "64M",
     .min = 1u << 20,
     .max = (double)(INT64_C(1) << 40),
     .unit = "bytes",
     .help = "Memory for KV pages of each local model that generates text."},
    {.section = "client",
     .key = "result_cache_bytes",
     .type = CONFIG_BYTES,
     .offset = AT(result_cache_bytes),
     .default_text = "4M",
     .min = 0,
     .max = (double)(INT64_C(1) << 40),
     .unit = "bytes",
     .help = "Memory for answers that are given again (result_cache of the task files); 0 keeps "
             "none."},
    {.section = "client",
     .key = "drain_timeout_ms",
     .type = CONFIG_INT,
     .offset = AT(drain_timeout_ms),
     .default_text = "10000",
     .min = 0,
     .max = LIMIT_DEADLINE_MS,
     .unit = "ms",
     .help = "After SIGTERM, how long accepted requests may go on before they end with an error; "
             "at least 5 s less than TimeoutStopSec of the unit."},
    {.section = "client",
     .key = "allow_plaintext",
     .type = CONFIG_BOOL,
     .offset = AT(allow_plaintext),
     .default_text = "no",
     .help = "Whether to connect without TLS to edges on other machines: whoever is on the way "
             "reads and changes everything."},
    {.section = "edge",
     .key = "url",
     .type = CONFIG_TEXT,
     .offset = offsetof(struct edge_config, url),
     .default_text = NULL,
     .help = "Where the edge node listens: tcp://HOST:PORT or ipc:///PATH."},
    {.section = "edge",
     .key = "token_file",
     .type = CONFIG_TEXT,
     .offset = offsetof(struct edge_config, token_file),
     .default_text = "",
     .help = "A file with this device's secret, for plaintext connections."},
    {.section = "edge",
     .key = "max_up_kbit",
     .type = CONFIG_INT,
     .offset = offsetof(struct edge_config, max_up_kbit),
     .default_text = "0",
     .min = 0,
     .max = LIMIT_UP_KBIT,
     .unit = "kbit/s",
     .help = "At most so much leaves towards this edge in any second, over all connections to it, "
             "TLS counted in, TCP and IP headers not; at least 32. 0: no cap."},
    CONFIG_TLS_KEY(
        struct client_config, cert,
        "This device's certificate (PEM). With it every edge connection speaks TLS 1.3."),
    CONFIG_TLS_KEY(struct client_config, key, "The certificate's private key (PEM)."),
    CONFIG_TLS_KEY(struct client_config, ca,
                   "The authority that an edge's certificate must come from (PEM)."),
    {.section = "policy",
     .key = "mode",
     .type = CONFIG_CHOICE,
     .offset = AT(mode),
     .default_text = "decide",
     .choices = modes,
     .help = "observe: every request goes by observe_route, unless its caller says where, and its "
             "decision only records what would have been done."},
    {.section = "policy",
     .key = "observe_route",
     .type = CONFIG_CHOICE,
     .offset = AT(observe_route),
     .default_text = "local",
     .choices = observe_routes,
     .help = "With mode = observe: where requests go. edge: local joins only when the edge fails "
             "or would miss the deadline. cascade: at the task's confidence_threshold. Where the "
             "route is not to be had, a request takes the other side, and its reason says so."},
    {.section = "policy",
     .key = "shadow_percent",
     .type = CONFIG_DOUBLE,
     .offset = AT(shadow_percent),
     .default_text = "0",
     .min = 0,
     .max = 100,
     .unit = "%",
     .help = "So many of the answered requests are also run on the side that did not run, for the "
             "record: tandemctl replay then rests on what was measured. Nobody waits for such a "
             "run. It takes joule and megabytes, gives way to every request, and sends nothing "
             "that may not leave the device. Turns of sessions have none."},
    {.section = "policy",
     .key = "prefer",
     .type = CONFIG_CHOICE,
     .offset = AT(prefer),
     .default_text = "balanced",
     .choices = prefer_names,
     .help = "accuracy makes an error four times as dear, bandwidth a megabyte and battery a joule "
             "twenty times."},
    {.section = "policy",
     .key = "one_miss_ms",
     .type = CONFIG_DOUBLE,
     .offset = AT(one_miss_ms),
     .default_text = "1000",
     .min = 0,
     .max = 1e9,
     .unit = "ms",
     .help = "How long one would wait to avoid a missed deadline."},
    {.section = "policy",
     .key = "one_megabyte_ms",
     .type = CONFIG_DOUBLE,
     .offset = AT(one_megabyte_ms),
     .default_text = "20",
     .min = 0,
     .max = 1e9,
     .unit = "ms",
     .help = "How long one would wait to avoid sending a megabyte."},
    {.section = "policy",
     .key = "one_error_ms",
     .type = CONFIG_DOUBLE,
     .offset = AT(one_error_ms),
     .default_text = "200",
     .min = 0,
     .max = 1e9,
     .unit = "ms",
     .help = "How long one would wait to avoid a wrong answer."},
    {.section = "policy",
     .key = "one_joule_ms",
     .type = CONFIG_DOUBLE,
     .offset = AT(one_joule_ms),
     .default_text = "20",
     .min = 0,
     .max = 1e9,
     .unit = "ms",
     .help = "How long one would wait to save a joule. Counts where [device] says what is used."},
    {.section = "policy",
     .key = "edge_error",
     .type = CONFIG_DOUBLE,
     .offset = AT(edge_error),
     .default_text = "0.1",
     .min = 0,
     .max = 1,
     .help = "How often an edge's answers are believed to be wrong, where the task does not say it "
             "(expected_error)."},
    {.section = "policy",
     .key = "probe_bytes",
     .type = CONFIG_BYTES,
     .offset = AT(probe_bytes),
     .default_text = "8K",
     .min = 0,
     .max = LIMIT_PROBE_BYTES,
     .unit = "bytes",
     .help = "What is sent at most over a link to measure its rate, at most every 0.4 s and only "
             "while requests come that do not measure it; a thin link gets less. 0: nothing."},
    {.section = "policy",
     .key = "bytes_per_hour",
     .type = CONFIG_BYTES,
     .offset = AT(bytes_per_hour),
     .default_text = "0",
     .min = 0,
     .max = (double)(INT64_C(1) << 50),
     .unit = "bytes",
     .help = "At most so much goes to and comes from all edges in any hour, over a restart too: "
             "streams with their TLS, pings and probes, TCP and IP headers not. An edge is no "
             "candidate for a request that may need more than is left, its answer with a score "
             "for every label counted in; where neither this device nor the edge says how many "
             "labels there are, 64 KiB are kept for that. At least 16K; 0: no limit."},
    {.section = "policy",
     .key = "joule_per_hour",
     .type = CONFIG_DOUBLE,
     .offset = AT(joule_per_hour),
     .default_text = "0",
     .min = 0,
     .max = 1e9,
     .unit = "J",
     .help =
         "What requests may take of this device's energy in any hour, over a restart too. "
         "Nothing starts that need not (a dearer route, a hedge, a race, a shadow run, a probe) "
         "and is believed to take more than is left. Once it is used up a request goes where it "
         "takes the least; no request fails for it, and what is kept ready for an edge that fails "
         "runs. Needs [device] to say what is used; with a gauge and no compute_watt, computing "
         "counts once the gauge has told of it. 0: no limit."},
    {.section = "device",
     .key = "energy_source",
     .type = CONFIG_CHOICE,
     .offset = AT(energy_source),
     .default_text = "model",
     .choices = energy_sources,
     .help =
         "What tells the energy that computing takes. model: compute_watt. rapl, the processor's "
         "counter, or battery, its gauge: measured, so that compute_watt is believed only until "
         "the gauge has told more."},
    {.section = "device",
     .key = "sys_dir",
     .type = CONFIG_TEXT,
     .offset = AT(sys_dir),
     .default_text = "/sys",
     .help = "Where the kernel's sysfs is, for energy_source."},
    {.section = "device",
     .key = "compute_watt",
     .type = CONFIG_DOUBLE,
     .offset = AT(compute_watt),
     .default_text = "0",
     .min = 0,
     .max = 10000,
     .unit = "W",
     .help =
         "What this device takes over idle while a local model runs. 0: not known; where none of "
         "these keys says anything, energy plays no part."},
    {.section = "device",
     .key = "send_joule_per_megabyte",
     .type = CONFIG_DOUBLE,
     .offset = AT(send_joule_per_megabyte),
     .default_text = "0",
     .min = 0,
     .max = 10000,
     .unit = "J",
     .help = "What its radio takes to send a megabyte; Wi-Fi about 0.8. 0: not known."},
    {.section = "device",
     .key = "receive_joule_per_megabyte",
     .type = CONFIG_DOUBLE,
     .offset = AT(receive_joule_per_megabyte),
     .default_text = "0",
     .min = 0,
     .max = 10000,
     .unit = "J",
     .help = "What it takes to receive a megabyte. 0: not known."},
};
static const struct config_repeated repeated[] = {
    {.section = "edge",
     .item_bytes = sizeof(struct edge_config),
     .offset_items = AT(edges),
     .offset_count = AT(edge_count),
     .count_max = LIMIT_EDGES},
};
#undef AT

const struct config_schema client_config_schema = {
    .title = "tandem-client configuration",
    .keys = keys,
    .key_count = sizeof(keys) / sizeof(keys[0]),
    .repeated = repeated,
    .repeated_count = sizeof(repeated) / sizeof(repeated[0]),
};

static int edge_wrong(const struct config_source *source, const struct edge_config *edge,
                      const char *key, const char *value, const char *wrong,
                      char error[CONFIG_ERROR_BYTES])
{
    return config_wrong(source, "edge", edge->name, key, error, "'%.150s' %s", value, wrong);
}

static int edge_check(const struct config_source *source, const struct edge_config *edge,
                      bool plaintext_is_fine, char error[CONFIG_ERROR_BYTES])
{
    struct url url;

    if (!name_is_valid(edge->name)) {
        return config_wrong(source, "edge", edge->name, NULL, error,
                            "a name is 1 to %d characters of A-Z a-z 0-9 . _ -", LIMIT_NAME_BYTES);
    }
    if (url_parse(edge->url, &url) != 0) {
        return edge_wrong(source, edge, "url", edge->url, "is not tcp://HOST:PORT or ipc:///PATH",
                          error);
    }
    if (!url.is_ipc && (url.port == 0 || url.host_kind == URL_HOST_ANY)) {
        return edge_wrong(source, edge, "url", edge->url, "names no host or no port to connect to",
                          error);
    }
    if (!plaintext_is_fine && !conn_url_is_local(edge->url)) {
        return edge_wrong(source, edge, "url", edge->url,
                          "is not on this machine and there is no [tls]: give cert, key and ca, or "
                          "set allow_plaintext = yes",
                          error);
    }
    if (edge->max_up_kbit != 0 && edge->max_up_kbit < BUDGET_KBIT_MIN) {
        return config_wrong(source, "edge", edge->name, "max_up_kbit", error,
                            "%lld carries no connection: at least %d, or 0 for no cap",
                            (long long)edge->max_up_kbit, BUDGET_KBIT_MIN);
    }
    if (edge->token_file[0] && access(edge->token_file, R_OK) != 0) {
        return edge_wrong(source, edge, "token_file", edge->token_file, strerror(errno), error);
    }
    return 0;
}

/* The key whose file the line about it begins with, or NULL. */
static const char *tls_key_named(const struct client_config *config, const char *why)
{
    const char *const files[][2] = {
        {"cert", config->tls_cert}, {"key", config->tls_key}, {"ca", config->tls_ca}};

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        const size_t bytes = strlen(files[i][1]);

        if (strncmp(why, files[i][1], bytes) == 0 && (why[bytes] == ':' || why[bytes] == ' ')) {
            return files[i][0];
        }
    }
    return NULL;
}

/* Loads the files as a connection will, and lets them go again. */
static int tls_check(const struct config_source *source, const struct client_config *config,
                     char error[CONFIG_ERROR_BYTES])
{
    char why[CONN_ERROR_BYTES];
    struct conn_tls *tls = NULL;
    const int result = conn_tls_load(config->tls_cert, config->tls_key, config->tls_ca, &tls, why);

    if (result != 0) {
        (void)config_wrong(source, "tls", "", tls_key_named(config, why), error, "%s", why);
        return result;
    }
    conn_tls_unref(tls);
    return 0;
}

/* A gauge that is not there is known at once, not when the energy is wrong. */
static int gauge_check(const struct config_source *source, const struct client_config *config,
                       char error[CONFIG_ERROR_BYTES])
{
    char why[CONFIG_ERROR_BYTES];
    struct energy_gauge gauge;
    const int result =
        energy_gauge_open(&gauge, (enum energy_source)config->energy_source, config->sys_dir, why);

    if (result != 0) {
        (void)config_wrong(source, "device", "", "energy_source", error, "%s: %.250s",
                           energy_sources[config->energy_source], why);
    }
    return result;
}

/* The later of two keys that contradict each other is the one at fault. */
static const char *later_of(const struct config_source *source, const char *section,
                            const char *key, const char *other)
{
    return config_source_line(source, section, "", key) >
                   config_source_line(source, section, "", other)
               ? key
               : other;
}

static int client_check(const struct config_source *source, const struct client_config *config,
                        char error[CONFIG_ERROR_BYTES])
{
    const int result =
        config_tls_check(source, config->tls_cert, config->tls_key, config->tls_ca, error);

    if (result != 0) {
        return result;
    }
    if (strcmp(config->app_socket, config->status_socket) == 0) {
        return config_wrong(source, "client", "",
                            later_of(source, "client", "app_socket", "status_socket"), error,
                            "app_socket and status_socket are both %.200s", config->app_socket);
    }
    if (config->bytes_per_hour != 0 && config->bytes_per_hour < BUDGET_BYTES_MIN) {
        return config_wrong(source, "policy", "", "bytes_per_hour", error,
                            "%lld carries no connection: at least %d, or 0 for no limit",
                            (long long)config->bytes_per_hour, BUDGET_BYTES_MIN);
    }
    if (config->joule_per_hour > 0 && config->compute_watt == 0 &&
        config->send_joule_per_megabyte == 0 && config->receive_joule_per_megabyte == 0 &&
        config->energy_source == ENERGY_MODEL) {
        return config_wrong(source, "policy", "", "joule_per_hour", error,
                            "[device] does not say what is used: give energy_source, compute_watt "
                            "or send_joule_per_megabyte");
    }
    return gauge_check(source, config, error);
}

int client_config_load(const char *path, struct client_config *config,
                       char error[CONFIG_ERROR_BYTES])
{
    struct config_source source = {0};
    int result = config_load_source(&client_config_schema, path, config, &source, error);
    const bool tls = result == 0 && config->tls_cert[0];

    result = result == 0 ? client_check(&source, config, error) : result;
    for (size_t i = 0; result == 0 && i < config->edge_count; i++) {
        result = edge_check(&source, &config->edges[i], tls || config->allow_plaintext, error);
    }
    result = result == 0 && tls ? tls_check(&source, config, error) : result;
    config_source_free(&source);
    return result;
}

struct decide_weights client_config_weights(const struct client_config *config)
{
    const struct decide_weights weights = {.one_miss_ms = config->one_miss_ms,
                                           .one_megabyte_ms = config->one_megabyte_ms,
                                           .one_error_ms = config->one_error_ms,
                                           .one_joule_ms = config->one_joule_ms};

    return prefer_apply(weights, (enum prefer)config->prefer);
}

struct decide_energy client_config_energy(const struct client_config *config)
{
    return (struct decide_energy){.compute_watt = config->compute_watt,
                                  .joule_per_byte = config->send_joule_per_megabyte / 1e6,
                                  .joule_per_byte_received =
                                      config->receive_joule_per_megabyte / 1e6};
}

const char *client_config_mode_text(const struct client_config *config)
{
    return modes[config->mode];
}

const char *client_config_observe_route_text(const struct client_config *config)
{
    return observe_routes[config->observe_route];
}
