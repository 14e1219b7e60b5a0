/* TLS on loopback: who may speak with whom. Certificates come from deploy/certs.sh, made anew in a
 * temporary folder. */
#include "tests/unit/stream/pair.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#define BIG_BYTES (5u << 20)

static char certs[64];

static void run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void run(const char *format, ...)
{
    char command[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(command, sizeof(command), format, arguments);
    va_end(arguments);
    if (system(command) != 0) {
        fail_msg("failed: %s", command);
    }
}

static int make_certs(void **state)
{
    (void)state;
    snprintf(certs, sizeof(certs), "/tmp/tandem-tls-XXXXXX");
    assert_non_null(mkdtemp(certs));
    run("for ca in good other; do deploy/certs.sh %s/$ca ca; done >/dev/null", certs);
    run("deploy/certs.sh %s/good server edge-1 127.0.0.1 localhost >/dev/null", certs);
    run("deploy/certs.sh %s/good server elsewhere >/dev/null", certs);
    run("for ca in good other; do deploy/certs.sh %s/$ca client robot-7; done >/dev/null", certs);
    return 0;
}

static int remove_certs(void **state)
{
    (void)state;
    run("rm -r %s", certs);
    return 0;
}

static struct conn_tls *tls_of(const char *cert_dir, const char *name, const char *ca_dir)
{
    char error[CONN_ERROR_BYTES] = "";
    char cert[160];
    char key[160];
    char ca[160];
    struct conn_tls *tls;

    snprintf(cert, sizeof(cert), "%s/%s/%s.pem", certs, cert_dir, name);
    snprintf(key, sizeof(key), "%s/%s/%s.key", certs, cert_dir, name);
    snprintf(ca, sizeof(ca), "%s/%s/ca.pem", certs, ca_dir);
    if (conn_tls_load(cert, key, ca, &tls, error) != 0) {
        fail_msg("%s", error);
    }
    return tls;
}

static bool payload_came_back(void *user)
{
    return ((struct side *)user)->data_last[1];
}

static void good_at(const char *host)
{
    struct conn_tls *server = tls_of("good", "edge-1", "good");
    struct conn_tls *client = tls_of("good", "robot-7", "good");
    uint8_t *data = pattern_new(BIG_BYTES, 1);
    const uint64_t sum = checksum(0, data, BIG_BYTES);
    struct pair *pair = pair_new();
    struct side side;
    char url[64];

    pair->echo = true;
    pair_listen(pair, "tcp://127.0.0.1:0", server);
    snprintf(url, sizeof(url), "tcp://%s:%s", host,
             strrchr(conn_listener_url(pair->listener), ':') + 1);
    pair_dial(pair, url, client, &side);
    conn_tls_unref(server);
    conn_tls_unref(client);
    assert_true(pair_run(pair, both_open, &side));
    assert_string_equal(conn_peer_name(pair->accepted[0].conn), "robot-7");
    assert_string_equal(conn_peer_name(side.conn), "edge-1");
    assert_int_equal(conn_send(side.conn, FRAME_REQUEST, 0, 1, NULL, 0), 0);
    assert_int_equal(conn_send_payload(side.conn, 1, data, BIG_BYTES), 0);
    assert_true(pair_run(pair, payload_came_back, &side));
    assert_int_equal(side.data_bytes[1], BIG_BYTES);
    assert_int_equal(side.data_sum[1], sum);
    pair_free(pair, &side, 1);
}

static void test_good_by_address(void **state)
{
    (void)state;
    good_at("127.0.0.1");
}

static void test_good_by_name(void **state)
{
    (void)state;
    need_localhost();
    good_at("localhost");
}

static bool both_closed(void *user)
{
    struct side *side = user;

    return side->closed && side->pair->accepted[0].closed;
}

/* Neither side gets through; `client_error` and `server_error` are what each is told. */
static void refused_at(const char *host, struct conn_tls *server, struct conn_tls *client,
                       int client_error, int server_error, const char *word)
{
    struct pair *pair = pair_new();
    struct side side;
    char url[64];

    pair_listen(pair, "tcp://127.0.0.1:0", server);
    snprintf(url, sizeof(url), "tcp://%s:%s", host,
             strrchr(conn_listener_url(pair->listener), ':') + 1);
    pair_dial(pair, url, client, &side);
    conn_tls_unref(server);
    conn_tls_unref(client);
    assert_true(pair_run(pair, both_closed, &side));
    assert_false(pair->accepted[0].opened);
    assert_int_equal(side.frames, 0);
    assert_int_equal(pair->accepted[0].frames, 0);
    if (client_error != 0) {
        assert_int_equal(side.error, client_error);
    }
    if (server_error != 0) {
        assert_int_equal(pair->accepted[0].error, server_error);
    }
    if (!strstr(side.why, word) && !strstr(pair->accepted[0].why, word)) {
        fail_msg("neither \"%s\" nor \"%s\" has \"%s\"", side.why, pair->accepted[0].why, word);
    }
    pair_free(pair, &side, 1);
}

static void refused(struct conn_tls *server, struct conn_tls *client, int client_error,
                    int server_error, const char *word)
{
    refused_at("127.0.0.1", server, client, client_error, server_error, word);
}

static void test_wrong_authority(void **state)
{
    (void)state;
    /* The server trusts another authority than the client's. */
    refused(tls_of("good", "edge-1", "good"), tls_of("other", "robot-7", "good"), TANDEM_EAUTH,
            TANDEM_EAUTH, "certificate");
    /* And the other way round. */
    refused(tls_of("good", "edge-1", "good"), tls_of("good", "robot-7", "other"), TANDEM_EAUTH,
            TANDEM_EAUTH, "certificate");
}

static void test_wrong_name(void **state)
{
    (void)state;
    refused(tls_of("good", "elsewhere", "good"), tls_of("good", "robot-7", "good"), TANDEM_EAUTH, 0,
            "IP address mismatch");
}

static void test_wrong_host(void **state)
{
    (void)state;
    need_localhost();
    refused_at("localhost", tls_of("good", "elsewhere", "good"), tls_of("good", "robot-7", "good"),
               TANDEM_EAUTH, 0, "ostname mismatch");
}

/* A client's certificate does not make a server, nor the other way round. */
static void test_wrong_purpose(void **state)
{
    (void)state;
    refused(tls_of("good", "robot-7", "good"), tls_of("good", "robot-7", "good"), TANDEM_EAUTH, 0,
            "purpose");
    refused(tls_of("good", "edge-1", "good"), tls_of("good", "edge-1", "good"), 0, TANDEM_EAUTH,
            "purpose");
}

static void test_plaintext_to_tls(void **state)
{
    (void)state;
    refused(tls_of("good", "edge-1", "good"), NULL, 0, TANDEM_EPROTO, "TLS");
}

static void test_tls_to_plaintext(void **state)
{
    struct conn_tls *client = tls_of("good", "robot-7", "good");
    struct pair *pair = pair_new();
    struct side side;

    (void)state;
    pair_listen(pair, "tcp://127.0.0.1:0", NULL);
    pair_dial(pair, conn_listener_url(pair->listener), client, &side);
    conn_tls_unref(client);
    assert_true(pair_run(pair, both_closed, &side));
    assert_false(side.opened);
    assert_int_equal(pair->accepted[0].error, TANDEM_EPROTO);
    pair_free(pair, &side, 1);
}

/* A foreign client in a thread of its own, by libssl directly. */
struct foreigner {
    unsigned port;
    int version;            /* the only one it speaks */
    const char *cert, *key; /* NULL: shows none */
    atomic_bool done;
    bool got_through; /* the server let it read or kept the connection open after its first bytes */
};

static void *foreigner_run(void *user)
{
    struct foreigner *foreigner = user;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)foreigner->port)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *ssl;
    char byte;

    SSL_CTX_set_min_proto_version(context, foreigner->version);
    SSL_CTX_set_max_proto_version(context, foreigner->version);
    if (foreigner->cert) {
        SSL_CTX_use_certificate_chain_file(context, foreigner->cert);
        SSL_CTX_use_PrivateKey_file(context, foreigner->key, SSL_FILETYPE_PEM);
    }
    ssl = SSL_new(context);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
        SSL_set_fd(ssl, fd);
        if (SSL_connect(ssl) ==
            1) { /* in TLS 1.3 before the server has looked at the certificate */
            foreigner->got_through = SSL_read(ssl, &byte, 1) == 1;
        }
    }
    SSL_free(ssl);
    SSL_CTX_free(context);
    close(fd);
    atomic_store(&foreigner->done, true);
    return NULL;
}

static bool foreigner_is_done(void *user)
{
    return atomic_load(&((struct foreigner *)user)->done);
}

static bool first_closed(void *user)
{
    return ((struct pair *)user)->accepted[0].closed;
}

static bool first_opened(void *user)
{
    return ((struct pair *)user)->accepted[0].opened;
}

/* What the server makes of it: 0 it opened, else the error it closed with. */
static int foreigner_try(int version, bool with_certificate, char why[CONN_ERROR_BYTES])
{
    struct conn_tls *server = tls_of("good", "edge-1", "good");
    struct foreigner foreigner = {.version = version};
    struct pair *pair = pair_new();
    pthread_t thread;
    char cert[160];
    char key[160];
    int error;

    snprintf(cert, sizeof(cert), "%s/good/robot-7.pem", certs);
    snprintf(key, sizeof(key), "%s/good/robot-7.key", certs);
    foreigner.cert = with_certificate ? cert : NULL;
    foreigner.key = key;
    pair_listen(pair, "tcp://127.0.0.1:0", server);
    conn_tls_unref(server);
    foreigner.port = (unsigned)atoi(strrchr(conn_listener_url(pair->listener), ':') + 1);
    assert_int_equal(pthread_create(&thread, NULL, foreigner_run, &foreigner), 0);
    if (with_certificate && version == TLS1_3_VERSION) {
        assert_true(pair_run(pair, first_opened, pair));
        assert_int_equal(conn_send(pair->accepted[0].conn, FRAME_GOODBYE, 0, 0, NULL, 0), 0);
    }
    assert_true(pair_run(pair, foreigner_is_done, &foreigner));
    pthread_join(thread, NULL);
    assert_true(pair_run(pair, first_closed, pair));
    snprintf(why, CONN_ERROR_BYTES, "%s", pair->accepted[0].why);
    error = pair->accepted[0].opened ? 0 : pair->accepted[0].error;
    assert_int_equal(foreigner.got_through, error == 0);
    pair_free(pair, NULL, 0);
    return error;
}

static void test_foreign_clients(void **state)
{
    char why[CONN_ERROR_BYTES];

    (void)state;
    assert_int_equal(foreigner_try(TLS1_3_VERSION, true, why), 0);
    assert_int_equal(foreigner_try(TLS1_3_VERSION, false, why), TANDEM_EAUTH);
    assert_non_null(strstr(why, "no certificate"));
    assert_int_equal(foreigner_try(TLS1_2_VERSION, true, why), TANDEM_EPROTO);
    assert_non_null(strstr(why, "unsupported protocol"));
}

static void test_load_errors(void **state)
{
    char error[CONN_ERROR_BYTES];
    struct conn_tls *tls;
    char cert[160];
    char key[160];
    char other[160];
    char ca[160];

    (void)state;
    snprintf(cert, sizeof(cert), "%s/good/edge-1.pem", certs);
    snprintf(key, sizeof(key), "%s/good/edge-1.key", certs);
    snprintf(other, sizeof(other), "%s/good/robot-7.key", certs);
    snprintf(ca, sizeof(ca), "%s/good/ca.pem", certs);
    assert_int_equal(conn_tls_load("/nowhere/cert.pem", key, ca, &tls, error), TANDEM_ECONFIG);
    assert_non_null(strstr(error, "/nowhere/cert.pem"));
    assert_int_equal(conn_tls_load(cert, other, ca, &tls, error), TANDEM_ECONFIG);
    assert_non_null(strstr(error, other));
    assert_int_equal(conn_tls_load(cert, key, key, &tls, error), TANDEM_ECONFIG);
    assert_non_null(strstr(error, key));
    assert_int_equal(conn_tls_load(cert, key, ca, &tls, error), 0);
    conn_tls_unref(tls);
}

/* A reload: connections that are there stay, new ones meet the new certificate. */
static void test_new_certificate(void **state)
{
    struct conn_tls *old = tls_of("good", "elsewhere", "good");
    struct conn_tls *new = tls_of("good", "edge-1", "good");
    struct conn_tls *client = tls_of("good", "robot-7", "good");
    struct pair *pair = pair_new();
    struct side sides[2];

    (void)state;
    pair_listen(pair, "tcp://127.0.0.1:0", old);
    pair_dial(pair, conn_listener_url(pair->listener), client, &sides[0]);
    assert_true(pair_run(pair, side_is_closed, &sides[0]));
    conn_listener_set_tls(pair->listener, new);
    pair_dial(pair, conn_listener_url(pair->listener), client, &sides[1]);
    assert_true(pair_run(pair, both_open, &sides[1]));
    conn_tls_unref(old);
    conn_tls_unref(new);
    conn_tls_unref(client);
    pair_free(pair, sides, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_by_address),  cmocka_unit_test(test_good_by_name),
        cmocka_unit_test(test_wrong_authority),  cmocka_unit_test(test_wrong_name),
        cmocka_unit_test(test_wrong_host),       cmocka_unit_test(test_wrong_purpose),
        cmocka_unit_test(test_plaintext_to_tls), cmocka_unit_test(test_tls_to_plaintext),
        cmocka_unit_test(test_foreign_clients),  cmocka_unit_test(test_load_errors),
        cmocka_unit_test(test_new_certificate),
    };

    return cmocka_run_group_tests(tests, make_certs, remove_certs);
}
