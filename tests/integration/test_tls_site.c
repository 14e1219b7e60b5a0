/* test_tls_site.c: client and server over TLS on loopback with certificates of deploy/certs.sh:
 * what fits works, what does not is refused and said in the log, and the device goes on by itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/site.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct site site;
static char url[128]; /* where the server listens */

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *format, ...)
{
    char command[1024];
    va_list arguments;

    va_start(arguments, format);
    assert_true(vsnprintf(command, sizeof(command), format, arguments) < (int)sizeof(command));
    va_end(arguments);
    assert_int_equal(system(command), 0);
}

/* The [tls] section of `name`'s certificate under the authority of folder `ca`. */
static const char *tls_of(const char *folder, const char *name, const char *ca, char text[512])
{
    snprintf(text, 512, "[tls]\ncert = %s/%s/%s.pem\nkey = %s/%s/%s.key\nca = %s/%s/ca.pem\n",
             site.dir, folder, name, site.dir, folder, name, site.dir, ca);
    return text;
}

static void url_ask(void)
{
    cJSON *status = site_status(site.server_socket);
    const cJSON *listen = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(status, "listen"), 0);

    assert_true(cJSON_IsString(listen));
    snprintf(url, sizeof(url), "%s", listen->valuestring);
    cJSON_Delete(status);
}

static int setup(void **state)
{
    char tls[512];

    (void)state;
    site_init(&site, NULL);
    shell("for d in good other; do deploy/certs.sh %s/$d ca; deploy/certs.sh %s/$d server den "
          "127.0.0.1; "
          "deploy/certs.sh %s/$d client robot; done >/dev/null",
          site.dir, site.dir, site.dir);
    shell("deploy/certs.sh %s/good server attic 10.9.8.7 >/dev/null", site.dir);
    shell("DAYS=-1 deploy/certs.sh %s/good server expired 127.0.0.1 >/dev/null", site.dir);
    shell("DAYS=-1 deploy/certs.sh %s/good client ghost >/dev/null", site.dir);
    site_configure(&site, &(struct site_config){.listen = "tcp://127.0.0.1:0",
                                                .server = tls_of("good", "den", "good", tls),
                                                .tls = true});
    site_server_start(&site);
    url_ask();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (site.server) {
        assert_int_equal(site_server_stop(&site, SIGTERM), 0);
    }
    site_fini(&site);
    return 0;
}

/* A client with this [tls] section ("": plaintext with a token) beside the server that runs. */
static void client_start(const char *tls)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/client.log", site.dir);
    (void)unlink(path);
    snprintf(path, sizeof(path), "%s/client.conf", site.dir);
    site_write(path,
               "[client]\napp_socket = %s\nstatus_socket = %s\ntasks_dir = %s/tasks\nstate_dir = "
               "%s/state\n[edge den]\nurl = %s\n%s%s%s%s",
               site.app_socket, site.status_socket, site.dir, site.dir, url,
               tls[0] ? "" : "token_file = ", tls[0] ? "" : site.dir, tls[0] ? "" : "/token\n",
               tls);
    site_client_start(&site);
}

static void assert_answered(const char *route, const char *outcome)
{
    struct tandem_answer *answer = NULL;
    struct tandem *tandem;

    assert_int_equal(tandem_open(site.app_socket, &tandem), 0);
    assert_int_equal(site_classify(tandem, SITE_PICTURE, route, 0, &answer), 0);
    assert_string_equal(tandem_answer_outcome_route(answer), outcome);
    tandem_answer_free(answer);
    tandem_close(tandem);
}

/* Says why, answers by itself, and does not become connected. `why`: in the client's line about the
 * edge. */
static void assert_refused(const char *why)
{
    struct tandem_answer *answer = NULL;
    struct tandem *tandem;

    site_log_wait(&site, "client", why);
    assert_answered(NULL, "local");
    assert_int_equal(tandem_open(site.app_socket, &tandem), 0);
    assert_int_equal(site_classify(tandem, SITE_PICTURE, "edge", 5000, &answer), TANDEM_ENOROUTE);
    tandem_close(tandem);
    assert_int_equal(site_client_stop(&site, SIGTERM), 0);
}

static void test_both_sides_fit(void **state)
{
    char tls[512];

    (void)state;
    client_start(tls_of("good", "robot", "good", tls));
    site_edge_wait(&site, "up");
    assert_answered("edge", "edge:den");
    assert_int_equal(site_client_stop(&site, SIGTERM), 0);
    assert_true(site_log_count(&site, "server", "robot") >
                0); /* the tenant is the certificate's name */
}

static void test_wrong_authority_of_the_server(void **state)
{
    char tls[512];

    (void)state;
    client_start(tls_of("good", "robot", "other", tls)); /* the client trusts another */
    assert_refused("certificate");
}

static void test_wrong_authority_of_the_client(void **state)
{
    char tls[512];

    (void)state;
    client_start(tls_of("other", "robot", "good", tls));
    assert_refused("edge den: ");
    site_log_wait(&site, "server", "closed: TLS: the peer's certificate: ");
}

static void test_expired_client(void **state)
{
    char tls[512];

    (void)state;
    client_start(tls_of("good", "ghost", "good", tls));
    assert_refused("edge den: ");
}

static void test_client_without_tls(void **state)
{
    (void)state;
    client_start("");
    assert_refused("if the edge has a [tls] section, this side needs one too");
    site_log_wait(&site, "server", "closed: TLS: the peer does not speak TLS: has it a [tls]");
    assert_int_equal(site_log_count(&site, "server", "does not speak TLS"), 1); /* of many tries */
}

/* The client has certificates, the server none. */
static void test_server_without_tls(void **state)
{
    char tls[512];

    (void)state;
    assert_int_equal(site_server_stop(&site, SIGTERM), 0);
    site_configure(&site, &(struct site_config){.listen = "tcp://127.0.0.1:0"});
    site_server_start(&site);
    url_ask();
    client_start(tls_of("good", "robot", "good", tls));
    assert_refused("the peer does not speak TLS: has it a [tls] section?");
    site_log_wait(&site, "server",
                  "the peer speaks TLS, and on this side there is no [tls] section");
    assert_int_equal(site_server_stop(&site, SIGTERM), 0);
    site_configure(&site, &(struct site_config){.listen = "tcp://127.0.0.1:0",
                                                .server = tls_of("good", "den", "good", tls),
                                                .tls = true});
    site_server_start(&site);
    url_ask();
}

/* Bytes that are no TLS cost their own connection. */
static void test_plaintext_to_a_tls_port(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char tls[512], byte;

    (void)state;
    address.sin_port = htons((uint16_t)atoi(strrchr(url, ':') + 1));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_true(send(fd, "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL) == 18);
    while (recv(fd, &byte, 1, 0) > 0) { /* an alert, and the end */
    }
    (void)close(fd);
    client_start(tls_of("good", "robot", "good", tls));
    site_edge_wait(&site, "up");
    assert_answered("edge", "edge:den");
    assert_int_equal(site_client_stop(&site, SIGTERM), 0);
}

/* The server is another one now: with a certificate of another address, or one that has run out. */
static void assert_server_refused(const char *name, const char *why)
{
    char tls[512];

    assert_int_equal(site_server_stop(&site, SIGTERM), 0);
    site_configure(&site, &(struct site_config){.listen = url,
                                                .server = tls_of("good", name, "good", tls),
                                                .tls = true});
    site_server_start(&site);
    client_start(tls_of("good", "robot", "good", tls));
    assert_refused(why);
}

static void test_wrong_name_of_the_server(void **state)
{
    (void)state;
    assert_server_refused("attic", "certificate");
}

static void test_expired_server(void **state)
{
    (void)state;
    assert_server_refused("expired", "expired");
}

/* Without certificates no address that others can reach. */
static void test_no_plaintext_beyond_loopback(void **state)
{
    char path[128], *error;

    (void)state;
    assert_int_equal(site_server_stop(&site, SIGTERM), 0);
    site_configure(&site, &(struct site_config){.listen = "tcp://0.0.0.0:0"});
    snprintf(path, sizeof(path), "%s/server.conf", site.dir);
    assert_int_equal(site_run(NULL, &error, "tandem-server", "--config", path, NULL), 1);
    assert_non_null(strstr(error, "0.0.0.0"));
    assert_non_null(strstr(error, "tls"));
    free(error);
    site_configure(&site, &(struct site_config){.url = "tcp://10.9.8.7:7447"});
    snprintf(path, sizeof(path), "%s/client.conf", site.dir);
    assert_int_equal(site_run(NULL, &error, "tandem-client", "--config", path, NULL), 1);
    assert_non_null(strstr(error, "[edge den]"));
    assert_non_null(strstr(error, "[tls]"));
    free(error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_sides_fit),
        cmocka_unit_test(test_wrong_authority_of_the_server),
        cmocka_unit_test(test_wrong_authority_of_the_client),
        cmocka_unit_test(test_expired_client),
        cmocka_unit_test(test_client_without_tls),
        cmocka_unit_test(test_server_without_tls),
        cmocka_unit_test(test_plaintext_to_a_tls_port),
        cmocka_unit_test(test_wrong_name_of_the_server),
        cmocka_unit_test(test_expired_server),
        cmocka_unit_test(test_no_plaintext_beyond_loopback),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
