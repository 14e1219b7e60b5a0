/* test_peers.c: who talks to the server: versions, contracts, tokens, certificates, and peers that
 * break the protocol. */
#include "tests/unit/server/server_fixture.h"

static void test_versions_and_contracts(void **state)
{
    struct fixture *f = *state;
    struct client newer, future, wrong;
    struct edge_request request = {.task = "digits", .has_picture = true};

    client_init(&newer, &f->loop, 2);
    newer.version_high = WIRE_VERSION_HIGH + 5;
    client_connect(&newer, f->url);
    client_send(&newer, 1, &request, "1", 1);
    assert_true(client_result(&newer, 1)->has_result);
    client_fini(&newer);
    client_init(&future, &f->loop, 3);
    future.version_low = future.version_high = WIRE_VERSION_HIGH + 1;
    client_dial(&future, f->url);
    client_wait(&future, &future.closed);
    assert_int_equal(future.connection_error, TANDEM_EPROTO);
    client_fini(&future);
    client_init(&wrong, &f->loop, 4);
    wrong.contract = (struct edge_task){.name = "digits",
                                        .kind = WIRE_CLASSIFY,
                                        .label_count = 3,
                                        .label_digest = "00000000000000000000000000000001"};
    client_connect(&wrong, f->url);
    request.payload_bytes = 0;
    client_send(&wrong, 1, &request, "1", 1);
    assert_int_equal(client_result(&wrong, 1)->error.code, TANDEM_ENOTASK);
    assert_true(log_has(f, "task digits is off for it"));
    client_fini(&wrong);
}

static void test_bad_peers_cost_their_connection(void **state)
{
    struct fixture *f = *state;
    struct edge_request request = {.task = "digits", .has_picture = true, .payload_bytes = 1};
    struct client bad;

    client_init(&bad, &f->loop, 5);
    bad.silent = true; /* a request without a hello */
    client_dial(&bad, f->url);
    client_wait(&bad, &bad.opened);
    client_send(&bad, 1, &request, "1", 1);
    client_wait(&bad, &bad.closed);
    assert_int_equal(bad.connection_error, TANDEM_EPROTO);
    client_fini(&bad);
    client_init(&bad, &f->loop, 6);
    client_connect(&bad, f->url);
    assert_int_equal(conn_send(bad.conn, (enum frame_kind)77, 0, 0, NULL, 0),
                     0);                        /* unknown and optional: skipped */
    client_send(&bad, 1, &request, "12345", 5); /* more than announced */
    client_wait(&bad, &bad.closed);
    assert_int_equal(bad.connection_error, TANDEM_EPROTO);
    client_fini(&bad);
    client_init(&bad, &f->loop, 8);
    client_connect(&bad, f->url);
    request.payload_bytes = 5;
    client_send(&bad, 1, &request, "12", 2); /* less than announced */
    client_wait(&bad, &bad.closed);
    assert_int_equal(bad.connection_error, TANDEM_EPROTO);
    client_fini(&bad);
    client_init(&bad, &f->loop, 7);
    client_connect(&bad, f->url);
    assert_int_equal(conn_send(bad.conn, (enum frame_kind)77, FRAME_FLAG_MANDATORY, 0, NULL, 0), 0);
    client_wait(&bad, &bad.closed);
    assert_int_equal(bad.connection_error, TANDEM_EPROTO);
    client_fini(&bad);
    classify(f, 3, "3");
    assert_true(client_result(f->client, 3)->has_result);
}

static void test_a_thousand_connections(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    unsigned refused = 0;

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/edge.sock", f->dir);
    for (int i = 0; i < 1000; i++) {
        const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        refused += connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0;
        if (i % 2) {
            (void)!write(fd, "GET / HTTP/1.1\r\n\r\n", 18);
        }
        (void)close(fd);
    }
    assert_int_equal(refused, 0);
    await_status(f, "connections", 1);
    classify(f, 1, "8");
    assert_string_equal(client_result(f->client, 1)->result.answer.labels[0].label, "eight");
}

static void test_tokens(void **state)
{
    struct fixture *f = *state;
    struct edge_request request = {.task = "digits", .has_picture = true};
    char path[160], more[256];
    struct client client;

    file_write(in_dir(f, "secret", path), "correct-horse-battery\n");
    assert_int_equal(chmod(path, 0600), 0);
    snprintf(more, sizeof(more), "[tenant farm]\ntoken_file = %s\n", path);
    config_write(f, more);
    server_fork(f);
    server_await(f);
    client_init(&client, &f->loop, 1);
    client.token = "correct-horse-batterz";
    client_dial(&client, f->url);
    client_wait(&client, &client.closed);
    assert_int_equal(client.connection_error, TANDEM_EAUTH);
    client_fini(&client);
    client_init(&client, &f->loop, 1);
    client.token = "correct-horse-battery";
    client_connect(&client, f->url);
    client_send(&client, 1, &request, "1", 1);
    assert_true(client_result(&client, 1)->has_result);
    client_fini(&client);
    assert_true(log_has(f, "tenant farm"));
    assert_false(log_has(f, "correct-horse"));
}

/* With certificates the tenant is the name in the client's; a reload takes a new certificate for
 * new connections. */
static void test_tls(void **state)
{
    struct fixture *f = *state;
    struct edge_request request = {.task = "digits", .has_picture = true};
    char command[512], more[512], error[CONN_ERROR_BYTES], cert[160], key[160], ca[160];
    struct client client;
    struct conn_tls *tls;

    snprintf(command, sizeof(command),
             "(deploy/certs.sh %s ca && deploy/certs.sh %s server edge1 127.0.0.1 && "
             "deploy/certs.sh %s client robot7) >/dev/null 2>&1",
             f->dir, f->dir, f->dir);
    assert_int_equal(system(command), 0);
    snprintf(more, sizeof(more), "[tls]\ncert = %s/edge1.pem\nkey = %s/edge1.key\nca = %s/ca.pem\n",
             f->dir, f->dir, f->dir);
    config_write(f, more);
    server_fork(f);
    server_await(f);
    assert_int_equal(conn_tls_load(in_dir(f, "robot7.pem", cert), in_dir(f, "robot7.key", key),
                                   in_dir(f, "ca.pem", ca), &tls, error),
                     0);
    for (uint8_t round = 0; round < 2; round++) {
        char answer[1 << 16], url[64];
        const char *at;

        assert_true(status_ask(f->socket, "status\n", answer, sizeof(answer)));
        at = strstr(answer, "tcp://");
        assert_non_null(at);
        snprintf(url, sizeof(url), "%.*s", (int)strcspn(at, "\""), at);
        client_init(&client, &f->loop, round);
        client.tls = tls;
        client_connect(&client, url);
        client_send(&client, 1, &request, "6", 1);
        assert_string_equal(client_result(&client, 1)->result.answer.labels[0].label, "six");
        client_fini(&client);
        assert_true(log_has(f, "tenant robot7"));
        client_init(&client, &f->loop, 9); /* plaintext gets nowhere */
        client_dial(&client, url);
        client_wait(&client, &client.closed);
        assert_false(client.greeted);
        client_fini(&client);
        assert_int_equal(kill(f->pid, SIGHUP), 0);
        await_status(f, "reloads", round + 1);
    }
    conn_tls_unref(tls);
}

/* Certificates of an authority of their own for the server and a client, in a new folder under the
 * fixture's. */
static void certs_make(const struct fixture *f, const char *folder, struct conn_tls **ret_tls)
{
    char command[640], path[3][128], error[CONN_ERROR_BYTES];

    snprintf(command, sizeof(command),
             "mkdir %s/%s && (deploy/certs.sh %s/%s ca && deploy/certs.sh %s/%s server edge1 "
             "127.0.0.1 && "
             "deploy/certs.sh %s/%s client robot7) >/dev/null 2>&1",
             f->dir, folder, f->dir, folder, f->dir, folder, f->dir, folder);
    assert_int_equal(system(command), 0);
    snprintf(path[0], sizeof(path[0]), "%s/%s/robot7.pem", f->dir, folder);
    snprintf(path[1], sizeof(path[1]), "%s/%s/robot7.key", f->dir, folder);
    snprintf(path[2], sizeof(path[2]), "%s/%s/ca.pem", f->dir, folder);
    assert_int_equal(conn_tls_load(path[0], path[1], path[2], ret_tls, error), 0);
}

static void config_write_tls(const struct fixture *f, const char *folder)
{
    char more[512];

    snprintf(more, sizeof(more),
             "[tls]\ncert = %s/%s/edge1.pem\nkey = %s/%s/edge1.key\nca = %s/%s/ca.pem\n", f->dir,
             folder, f->dir, folder, f->dir, folder);
    config_write(f, more);
}

static void tcp_url(const struct fixture *f, char url[64])
{
    char answer[1 << 16];
    const char *at;

    assert_true(status_ask(f->socket, "status\n", answer, sizeof(answer)));
    at = strstr(answer, "tcp://");
    assert_non_null(at);
    snprintf(url, 64, "%.*s", (int)strcspn(at, "\""), at);
}

static void picture_ask(struct client *client, uint64_t id)
{
    struct edge_request request = {.task = "digits", .has_picture = true};

    client_send(client, id, &request, "6", 1);
    assert_string_equal(client_result(client, id)->result.answer.labels[0].label, "six");
}

/* SIGHUP with certificates of another authority: who is connected stays, who comes now has to know
 * the new one. */
static void test_certificates_are_exchanged(void **state)
{
    struct fixture *f = *state;
    struct client *old = malloc(sizeof(*old)), *fresh = malloc(sizeof(*fresh));
    struct conn_tls *old_tls, *new_tls;
    char url[64];

    certs_make(f, "old", &old_tls);
    certs_make(f, "new", &new_tls);
    config_write_tls(f, "old");
    server_fork(f);
    server_await(f);
    tcp_url(f, url);
    client_init(old, &f->loop, 1);
    old->tls = old_tls;
    client_connect(old, url);
    picture_ask(old, 1);
    client_init(fresh, &f->loop, 2);
    fresh->tls = new_tls;
    client_dial(fresh, url);
    client_wait(fresh, &fresh->closed);
    assert_false(fresh->greeted); /* not known yet */
    client_fini(fresh);
    config_write_tls(f, "new");
    assert_int_equal(kill(f->pid, SIGHUP), 0);
    await_status(f, "reloads", 1);
    client_init(fresh, &f->loop, 3);
    fresh->tls = new_tls;
    client_connect(fresh, url);
    picture_ask(fresh, 1);
    picture_ask(old, 2); /* on its old connection */
    client_fini(old);
    client_init(old, &f->loop, 4);
    old->tls = old_tls;
    client_dial(old, url);
    client_wait(old, &old->closed);
    assert_false(old->greeted); /* and not as a new one */
    client_fini(old);
    client_fini(fresh);
    free(old);
    free(fresh);
    conn_tls_unref(old_tls);
    conn_tls_unref(new_tls);
}

static int tests_run(void)
{
    const struct CMUnitTest tests[] = {
        SERVED(test_versions_and_contracts),
        SERVED(test_bad_peers_cost_their_connection),
        SERVED(test_a_thousand_connections),
        FILES(test_tokens),
        FILES(test_tls),
        FILES(test_certificates_are_exchanged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return fixture_main(argc, argv, tests_run);
}
