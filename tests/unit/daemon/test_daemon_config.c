/* The configuration of tandem-client: defaults, every kind of wrong file named, and what `prefer`
 * does to the weights. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/daemon/daemon_config.h"
#include "common/base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[] = "/tmp/tandem-client-conf-XXXXXX";

static int setup(void **state)
{
    const int fd = mkstemp(path);

    (void)state;
    return fd >= 0 ? close(fd) : -1;
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

static int load(const char *text, struct client_config *config, char error[CONFIG_ERROR_BYTES])
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    memset(config, 0, sizeof(*config));
    return client_config_load(path, config, error);
}

static void test_an_empty_file_is_enough(void **state)
{
    struct client_config config;
    char error[CONFIG_ERROR_BYTES];

    (void)state;
    assert_int_equal(load("", &config, error), 0);
    assert_string_equal(config.app_socket, "/run/tandem-client/app.sock");
    assert_string_equal(config.status_socket, "/run/tandem-client/status.sock");
    assert_string_equal(config.tasks_dir, "/etc/tandem/tasks.d");
    assert_string_equal(config.state_dir, "/var/lib/tandem-client");
    assert_int_equal(config.threads, 1);
    assert_int_equal(config.kv_bytes, 64 << 20);
    assert_int_equal(config.prefer, PREFER_BALANCED);
    assert_float_equal(config.one_miss_ms, PREFER_MISS_MS, 0); /* as tools outside believe */
    assert_float_equal(config.one_megabyte_ms, PREFER_MEGABYTE_MS, 0);
    assert_float_equal(config.one_error_ms, PREFER_ERROR_MS, 0);
    assert_float_equal(config.one_joule_ms, PREFER_JOULE_MS, 0);
    assert_int_equal(config.edge_count, 0);
    config_free(&client_config_schema, &config);
}

static void test_every_key(void **state)
{
    struct client_config config;
    char error[CONFIG_ERROR_BYTES];

    (void)state;
    assert_int_equal(load("[client]\napp_socket = /a\nstatus_socket = /s\ntasks_dir = /t\n"
                          "models_dir = /m\nstate_dir = /d\nthreads = 4\nkv_bytes = 2M\n"
                          "drain_timeout_ms = 5\n"
                          "[policy]\nprefer = bandwidth\none_miss_ms = 1\none_megabyte_ms = 2\n"
                          "one_error_ms = 3\nedge_error = 0.5\n"
                          "[edge den]\nurl = tcp://127.0.0.1:7000\n"
                          "[edge hall]\nurl = ipc:///run/hall.sock\n",
                          &config, error),
                     0);
    assert_string_equal(config.app_socket, "/a");
    assert_string_equal(config.models_dir, "/m");
    assert_string_equal(config.state_dir, "/d");
    assert_int_equal(config.threads, 4);
    assert_int_equal(config.kv_bytes, 2 << 20);
    assert_int_equal(config.drain_timeout_ms, 5);
    assert_float_equal(config.edge_error, 0.5, 0);
    assert_int_equal(config.edge_count, 2);
    assert_string_equal(config.edges[1].name, "hall");
    assert_string_equal(config.edges[1].url, "ipc:///run/hall.sock");
    assert_string_equal(config.edges[1].token_file, "");
    config_free(&client_config_schema, &config);
}

static void test_preferences(void **state)
{
    static const struct {
        const char *text;
        double megabyte_factor, error_factor, joule_factor;
    } cases[] = {{"balanced", 1, 1, 1},
                 {"accuracy", 1, 4, 1},
                 {"bandwidth", 20, 1, 1},
                 {"battery", 1, 1, 20}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct client_config config;
        struct decide_weights weights;
        char text[256], error[CONFIG_ERROR_BYTES];

        snprintf(text, sizeof(text),
                 "[policy]\nprefer = %s\none_miss_ms = 7\none_megabyte_ms = 5\none_error_ms = 3\n"
                 "one_joule_ms = 2\n[device]\ncompute_watt = 4\nsend_joule_per_megabyte = 0.5\n"
                 "receive_joule_per_megabyte = 0.25\n",
                 cases[i].text);
        assert_int_equal(load(text, &config, error), 0);
        weights = client_config_weights(&config);
        assert_float_equal(weights.one_miss_ms, 7, 0);
        assert_float_equal(weights.one_megabyte_ms, (float)(5 * cases[i].megabyte_factor), 1e-6);
        assert_float_equal(weights.one_error_ms, (float)(3 * cases[i].error_factor), 1e-6);
        assert_float_equal(weights.one_joule_ms, (float)(2 * cases[i].joule_factor), 1e-6);
        assert_float_equal(client_config_energy(&config).compute_watt, 4, 1e-6);
        assert_true(client_config_energy(&config).joule_per_byte == 0.5 / 1e6);
        assert_true(client_config_energy(&config).joule_per_byte_received == 0.25 / 1e6);
        config_free(&client_config_schema, &config);
    }
}

/* Each is refused in one line that names what is wrong. */
static void test_wrong_files(void **state)
{
    static const struct {
        const char *text, *named;
    } cases[] = {
        {"[client]\nnonsense = 1\n", ":2: "},
        {"[nonsense]\nkey = 1\n", "nonsense"},
        {"[client]\nthreads = 0\n", "threads"},
        {"[client]\napp_socket = /x\nstatus_socket = /x\n", "app_socket and status_socket"},
        {"[client]\nthreads = 257\n", "threads"},
        {"[client]\nkv_bytes = 1K\n", "kv_bytes"},
        {"[client]\ndrain_timeout_ms = 3600001\n", "drain_timeout_ms"},
        {"[policy]\nprefer = speed\n", "prefer"},
        {"[policy]\nedge_error = 1.5\n", "edge_error"},
        {"[policy]\none_miss_ms = -1\n", "one_miss_ms"},
        {"[edge den]\ntoken_file = /dev/null\n", "url"},
        {"[edge d/n]\nurl = ipc:///x\n", "[edge d/n]"},
        {"[edge den]\nurl = tcp://192.0.2.1:7000\n", "[tls]"},
        {"[edge den]\nurl = tcp://192.0.2.1:7000\n", "allow_plaintext"},
        {"[client]\nallow_plaintext = no\n[edge den]\nurl = tcp://192.0.2.1:7000\n", "[tls]"},
        {"[edge den]\nurl = nonsense\n", "[edge den]"},
        {"[device]\nenergy_source = rapl\nsys_dir = /nowhere\n",
         ":2: [device] energy_source: rapl: /nowhere/class/powercap has no processor package"},
        {"[device]\nenergy_source = battery\nsys_dir = /nowhere\n",
         ":2: [device] energy_source: battery: /nowhere/class/power_supply has no battery"},
        {"[device]\nenergy_source = sun\n", "energy_source"},
        {"[policy]\nbytes_per_hour = -1\n", "bytes_per_hour"},
        {"[policy]\nbytes_per_hour = 16383\n", "at least 16384"},
        {"[policy]\njoule_per_hour = 5\n", "[device]"},
        {"[edge den]\nurl = ipc:///x\nmax_up_kbit = 31\n", "at least 32"},
        {"[edge den]\nurl = ipc:///x\nmax_up_kbit = -1\n", "max_up_kbit"},
        {"[tls]\ncert = /c\n", "all three or none"},
        {"[tls]\nkey = /k\nca = /a\n", "all three or none"},
        {"[tls]\ncert = /c\nkey = /k\n", "all three or none"},
        /* What contradicts another key names the line of the one at fault. */
        {"[client]\n\nstatus_socket = /x\napp_socket = /x\n", ":4: [client] app_socket: "},
        {"[client]\napp_socket = /x\nstatus_socket = /x\n", ":3: [client] status_socket: "},
        {"[device]\nsys_dir = /n\nenergy_source = rapl\n", ":3: [device] energy_source: rapl: "},
        {"[policy]\nprefer = battery\njoule_per_hour = 5\n", ":3: [policy] joule_per_hour: "},
        {"# \n[policy]\nbytes_per_hour = 16383\n", ":3: [policy] bytes_per_hour: "},
        {"[edge a]\nurl = ipc:///a\n[edge  b]\nurl = ipc:///b\nmax_up_kbit = 31\n",
         ":5: [edge b] max_up_kbit: 31 carries"},
        {"[edge a]\nurl = ipc:///a\n[edge b]\nurl = tcp://192.0.2.1:7000\n",
         ":4: [edge b] url: 'tcp://192.0.2.1:7000' is not on this machine"},
        {"[edge a]\nurl = ipc:///a\ntoken_file = /nowhere/at/all\n",
         ":3: [edge a] token_file: '/nowhere/at/all' No such file"},
        {"[tls]\ncert = /c\nkey = /k\n", ":3: [tls] key: ca is missing: "},
        {"[tls]\nca = /a\n", ":2: [tls] ca: cert is missing: "},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct client_config config;
        char error[CONFIG_ERROR_BYTES] = "";

        assert_int_equal(load(cases[i].text, &config, error), TANDEM_ECONFIG);
        if (!strstr(error, cases[i].named) || strncmp(error, path, strlen(path)) != 0 ||
            strchr(error, '\n')) {
            fail_msg("%s is told as: %s", cases[i].text, error);
        }
        config_free(&client_config_schema, &config);
    }
}

/* Only who says so sends in the clear to another machine. */
static void test_plaintext_is_allowed(void **state)
{
    struct client_config config;
    char error[CONFIG_ERROR_BYTES] = "";

    (void)state;
    assert_int_equal(
        load("[client]\nallow_plaintext = yes\n[edge den]\nurl = tcp://192.0.2.1:7000\n", &config,
             error),
        0);
    assert_true(config.allow_plaintext);
    config_free(&client_config_schema, &config);
    assert_int_equal(load("", &config, error), 0);
    assert_false(config.allow_plaintext);
    config_free(&client_config_schema, &config);
}

static void test_caps(void **state)
{
    char text[128], error[CONFIG_ERROR_BYTES] = "";
    struct client_config config;

    (void)state;
    assert_int_equal(load("[edge a]\nurl = ipc:///a\n[edge b]\nurl = ipc:///b\nmax_up_kbit = 32\n",
                          &config, error),
                     0);
    assert_int_equal(config.edges[0].max_up_kbit, 0);
    assert_int_equal(config.edges[1].max_up_kbit, 32);
    config_free(&client_config_schema, &config);
    for (int over = 0; over < 2; over++) {
        snprintf(text, sizeof(text), "[edge a]\nurl = ipc:///a\nmax_up_kbit = %d\n",
                 LIMIT_UP_KBIT + over);
        assert_int_equal(load(text, &config, error), over ? TANDEM_ECONFIG : 0);
        config_free(&client_config_schema, &config);
    }
}

/* What each number may be at the ends, and what is over them; and what it is where nothing is
 * said. */
static void test_numbers_are_bounded(void **state)
{
    static const struct {
        const char *section, *key, *least, *below, *most, *above;
    } cases[] = {
        {"policy", "shadow_percent", "0", "-0.1", "100", "100.1"},
        {"policy", "bytes_per_hour", "16384", "16383", "1125899906842624", "1125899906842625"},
        {"policy", "joule_per_hour", "0", "-1", "1000000000", "1000000001"},
        {"policy", "probe_bytes", "0", "-1", NULL, "1G"},
        {"policy", "one_joule_ms", "0", "-1", "1000000000", "1000000001"},
        {"device", "compute_watt", "0", "-1", "10000", "10001"},
        {"device", "send_joule_per_megabyte", "0", "-1", "10000", "10001"},
        {"device", "receive_joule_per_megabyte", "0", "-1", "10000", "10001"},
    };
    struct client_config config;
    char text[256], error[CONFIG_ERROR_BYTES] = "";

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *const values[] = {cases[i].least, cases[i].most, cases[i].below,
                                      cases[i].above};

        for (size_t at = 0; at < 4; at++) {
            snprintf(text, sizeof(text), "[device]\n%s[%s]\n%s = %s\n",
                     strcmp(cases[i].key, "joule_per_hour") == 0 ? "compute_watt = 1\n" : "",
                     cases[i].section, cases[i].key, values[at] ? values[at] : "0");
            if ((load(text, &config, error) == 0) != (at < 2) ||
                (at >= 2 && !strstr(error, cases[i].key))) {
                fail_msg("%s is told as: %s", text, error);
            }
            config_free(&client_config_schema, &config);
        }
    }
    assert_int_equal(load("", &config, error), 0);
    assert_true(config.shadow_percent == 0 && config.bytes_per_hour == 0);
    assert_true(config.joule_per_hour == 0 && config.receive_joule_per_megabyte == 0);
    assert_int_equal(config.energy_source, ENERGY_MODEL);
    assert_int_equal(config.mode, MODE_DECIDE);
    assert_string_equal(client_config_observe_route_text(&config), "local");
    config_free(&client_config_schema, &config);
}

static void test_where_observed_requests_go(void **state)
{
    static const char *const routes[] = {"local", "edge", "cascade"};
    struct client_config config;
    char text[128], error[CONFIG_ERROR_BYTES] = "";

    (void)state;
    for (int i = 0; i < 3; i++) {
        snprintf(text, sizeof(text), "[policy]\nmode = observe\nobserve_route = %s\n", routes[i]);
        assert_int_equal(load(text, &config, error), 0);
        assert_int_equal(config.mode, MODE_OBSERVE);
        assert_int_equal(config.observe_route, i); /* as enum observe_route has them */
        assert_string_equal(client_config_observe_route_text(&config), routes[i]);
        config_free(&client_config_schema, &config);
    }
    assert_int_equal(load("[policy]\nobserve_route = auto\n", &config, error), TANDEM_ECONFIG);
    assert_non_null(strstr(error, "observe_route: 'auto' is not one of local, edge, cascade"));
    config_free(&client_config_schema, &config);
}

static void test_edges_are_bounded(void **state)
{
    for (size_t count = LIMIT_EDGES; count <= LIMIT_EDGES + 1; count++) {
        struct client_config config;
        char text[2048], error[CONFIG_ERROR_BYTES];
        size_t used = 0;

        (void)state;
        for (size_t i = 0; i < count; i++) {
            used += (size_t)snprintf(text + used, sizeof(text) - used,
                                     "[edge e%zu]\nurl = ipc:///run/e%zu\n", i, i);
        }
        assert_int_equal(load(text, &config, error), count > LIMIT_EDGES ? TANDEM_ECONFIG : 0);
        config_free(&client_config_schema, &config);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_an_empty_file_is_enough),
                                       cmocka_unit_test(test_every_key),
                                       cmocka_unit_test(test_preferences),
                                       cmocka_unit_test(test_wrong_files),
                                       cmocka_unit_test(test_plaintext_is_allowed),
                                       cmocka_unit_test(test_caps),
                                       cmocka_unit_test(test_numbers_are_bounded),
                                       cmocka_unit_test(test_where_observed_requests_go),
                                       cmocka_unit_test(test_edges_are_bounded)};

    return cmocka_run_group_tests(tests, setup, teardown);
}
