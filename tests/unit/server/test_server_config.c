/* test_server_config.c: what the configuration refuses, with the line that says so, and the tokens
 * of tenants. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/error.h"
#include "server/server_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/tandem-config-XXXXXX";

static void write_file(const char *name, const char *text)
{
    char path[128];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, 0600), 0);
}

static int load(const char *text, struct server_config *config, char error[CONFIG_ERROR_BYTES])
{
    char path[128];

    write_file("server.conf", text);
    snprintf(path, sizeof(path), "%s/server.conf", folder);
    return server_config_load(path, config, error);
}

static void expect_error(const char *text, const char *word)
{
    struct server_config config = {0};
    char error[CONFIG_ERROR_BYTES] = "";

    assert_int_equal(load(text, &config, error), TANDEM_ECONFIG);
    if (!strstr(error, word)) {
        fail_msg("'%s' does not have '%s'", error, word);
    }
}

static void test_defaults(void **state)
{
    struct server_config config = {0};
    char error[CONFIG_ERROR_BYTES];

    (void)state;
    assert_int_equal(load("[server]\n", &config, error), 0);
    assert_int_equal(config.url_count, 1);
    assert_string_equal(config.urls[0], "tcp://127.0.0.1:7447");
    assert_false(server_config_has_tls(&config));
    assert_string_equal(server_config_tenant_of(&config, ""), "local");
    server_config_fini(&config);
    server_config_fini(&config); /* a zeroed one is fine */
}

static void test_plaintext_only_where_nobody_listens_in(void **state)
{
    struct server_config config = {0};
    char error[CONFIG_ERROR_BYTES];

    (void)state;
    expect_error("[server]\nlisten = tcp://0.0.0.0:1\n", "allow_plaintext");
    expect_error("\n[server]\nlisten = tcp://0.0.0.0:1\n", ":3: [server] listen: ");
    expect_error("[server]\nlisten = tcp://127.0.0.1:1, tcp://192.0.2.1:1\n", "192.0.2.1");
    assert_int_equal(
        load("[server]\nlisten = tcp://0.0.0.0:1\nallow_plaintext = yes\n", &config, error), 0);
    server_config_fini(&config);
    assert_int_equal(load("[server]\nlisten = tcp://0.0.0.0:1\n[tls]\ncert = a\nkey = b\nca = c\n",
                          &config, error),
                     0);
    assert_true(server_config_has_tls(&config));
    server_config_fini(&config);
}

static void test_words_that_are_wrong(void **state)
{
    (void)state;
    expect_error("[server]\nlisten = http://x\n", "neither tcp://");
    expect_error("[server]\nlisten =\n", "neither tcp://");
    expect_error("[server]\nmetrics = 127.0.0.1:9000\n", "metrics");
    expect_error("[server]\ncache_dir = /x\n", "cache_dir"); /* no option that does nothing */
    expect_error("[tls]\ncert = a\n", "all three or none");
    expect_error("[tls]\ncert = a\n", ":2: [tls] cert: key is missing");
    expect_error("[server]\nstatus_socket =\n", ":2: [server] status_socket: must not be empty");
    expect_error("[server]\ncache_bytes = 1K\n", "cache_bytes");
}

static void test_urls_are_bounded(void **state)
{
    char text[1024] = "[server]\nlisten = ipc:///a";
    struct server_config config = {0};
    char error[CONFIG_ERROR_BYTES];

    (void)state;
    for (int i = 1; i < LIMIT_LISTEN_URLS; i++) {
        strcat(text, ",ipc:///a");
    }
    strcat(text, "\n");
    assert_int_equal(load(text, &config, error), 0);
    assert_int_equal(config.url_count, LIMIT_LISTEN_URLS);
    server_config_fini(&config);
    strcpy(strrchr(text, '\n'), ",ipc:///a\n");
    expect_error(text, "more than");
}

static void test_tokens(void **state)
{
    struct server_config config = {0};
    char text[512], error[CONFIG_ERROR_BYTES];

    (void)state;
    write_file("a", "aaaaaaaaaaaaaaaaaaaa\n");
    write_file("b", "bbbbbbbbbbbbbbbbbbbb");
    write_file("short", "secret\n");
    snprintf(text, sizeof(text),
             "[tenant anna]\ntoken_file = %s/a\n[tenant ben]\ntoken_file = %s/b\n", folder, folder);
    assert_int_equal(load(text, &config, error), 0);
    assert_string_equal(server_config_tenant_of(&config, "aaaaaaaaaaaaaaaaaaaa"), "anna");
    assert_string_equal(server_config_tenant_of(&config, "bbbbbbbbbbbbbbbbbbbb"), "ben");
    assert_null(server_config_tenant_of(&config, ""));
    assert_null(server_config_tenant_of(&config, "aaaaaaaaaaaaaaaaaaaaa"));
    assert_null(server_config_tenant_of(&config, "aaaaaaaaaaaaaaaaaaa"));
    server_config_fini(&config);
    snprintf(text, sizeof(text),
             "[tenant anna]\ntoken_file = %s/a\n[tenant ben]\ntoken_file = %s/a\n", folder, folder);
    expect_error(text, ":4: [tenant ben] token_file: the same token as that of [tenant anna]");
    snprintf(text, sizeof(text), "[tenant anna]\ntoken_file = %s/short\n", folder);
    expect_error(text, "16 to 255");
    snprintf(text, sizeof(text), "[tenant anna]\ntoken_file = %s/none\n", folder);
    expect_error(text, "No such file");
}

static void test_tenants_are_bounded(void **state)
{
    char *text = calloc(LIMIT_TENANTS + 1, 64);
    size_t bytes = 0;

    (void)state;
    for (int i = 0; i <= LIMIT_TENANTS; i++) {
        bytes += (size_t)sprintf(text + bytes, "[tenant t%d]\ntoken_file = /none\n", i);
    }
    expect_error(text, "tenant");
    free(text);
}

static int group_setup(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int group_teardown(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -r %s", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_plaintext_only_where_nobody_listens_in),
        cmocka_unit_test(test_words_that_are_wrong),
        cmocka_unit_test(test_urls_are_bounded),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_tenants_are_bounded),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
