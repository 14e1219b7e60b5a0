/* bench_conn: round trips of one connection on loopback next to a bare blocking TCP echo of the
 * same bytes, interleaved in one run. The small case is one control frame each way; the large one a
 * request with its payload up, and the same payload back. TLS with certificates made by
 * deploy/certs.sh when a folder of them is given.
 *
 *   bench_conn [ROUNDS [CERT_FOLDER]]      CERT_FOLDER holds ca.pem, server.pem/.key,
 * client.pem/.key */
#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/stats.h"
#include "common/stream/conn.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SMALL_BYTES 64
#define LARGE_BYTES 100000
#define WARM_UP     50
#define ROUNDS_MAX  100000

struct server {
    uv_loop_t loop;
    uv_async_t stop;
    struct conn_listener *listener;
    struct conn *conn;
    struct conn_tls *tls;
    char url[128];
    atomic_int ready; /* 1 listening, -1 failed */
    pthread_t thread;
};

struct client {
    uv_loop_t loop;
    struct conn *conn;
    bool open, closed;
    uint64_t next_id;
    size_t waiting_bytes; /* of the answer */
};

static void server_on_frame(struct conn *conn, const struct frame *frame, void *user)
{
    (void)user;
    if (frame->kind == FRAME_DATA) {
        uint8_t *copy = malloc(frame->payload_bytes + 1);

        memcpy(copy, frame->payload, frame->payload_bytes);
        if (conn_send_payload_part(conn, frame->request_id, copy, frame->payload_bytes,
                                   (frame->flags & FRAME_FLAG_LAST) != 0) != 0) {
            free(copy);
        }
        conn_consumed(conn, frame->request_id, frame->payload_bytes);
    } else if (frame->kind == FRAME_GOODBYE) {
        (void)conn_send(conn, FRAME_GOODBYE, 0, 0, frame->header, frame->header_bytes);
    }
}

static void server_on_close(struct conn *conn, int error, const char *why, void *user)
{
    (void)conn;
    (void)error;
    (void)why;
    ((struct server *)user)->conn = NULL;
}

static bool server_on_accept(struct conn *conn, void *listener_user, void **ret_user)
{
    ((struct server *)listener_user)->conn = conn;
    *ret_user = listener_user;
    return true;
}

static void server_on_stop(uv_async_t *async)
{
    struct server *server = async->data;

    if (server->conn) {
        conn_close(server->conn, false);
    }
    conn_listener_close(server->listener, NULL, NULL);
    uv_close((uv_handle_t *)async, NULL);
}

static void *server_run(void *user)
{
    struct server *server = user;
    const struct conn_listener_params params = {
        .conn = {.tls = server->tls,
                 .callbacks = {.on_frame = server_on_frame, .on_close = server_on_close}},
        .connections_max = 1,
        .on_accept = server_on_accept,
    };
    char error[CONN_ERROR_BYTES];

    uv_loop_init(&server->loop);
    uv_async_init(&server->loop, &server->stop, server_on_stop);
    server->stop.data = server;
    if (conn_listener_new(&server->loop, "tcp://127.0.0.1:0", &params, server, &server->listener,
                          error) != 0) {
        fprintf(stderr, "bench_conn: %s\n", error);
        atomic_store(&server->ready, -1);
        return NULL;
    }
    snprintf(server->url, sizeof(server->url), "%s", conn_listener_url(server->listener));
    atomic_store(&server->ready, 1);
    uv_run(&server->loop, UV_RUN_DEFAULT);
    uv_loop_close(&server->loop);
    return NULL;
}

static void client_on_open(struct conn *conn, void *user)
{
    (void)conn;
    ((struct client *)user)->open = true;
}

static void client_on_frame(struct conn *conn, const struct frame *frame, void *user)
{
    struct client *client = user;

    if (frame->kind == FRAME_DATA) {
        client->waiting_bytes -= frame->payload_bytes;
        conn_consumed(conn, frame->request_id, frame->payload_bytes);
    } else {
        client->waiting_bytes -= frame->header_bytes;
    }
}

static void client_on_close(struct conn *conn, int error, const char *why, void *user)
{
    struct client *client = user;

    (void)conn;
    if (error != 0) {
        fprintf(stderr, "bench_conn: %s\n", why);
    }
    client->closed = true;
}

/* One round trip; negative when the connection is gone. */
static double client_round(struct client *client, size_t bytes)
{
    static const uint8_t header[SMALL_BYTES];
    const uint64_t id = ++client->next_id;
    const int64_t started_ns = clock_now_ns();

    client->waiting_bytes = bytes;
    if (bytes <= SMALL_BYTES) {
        (void)conn_send(client->conn, FRAME_GOODBYE, 0, 0, header, bytes);
    } else {
        (void)conn_send(client->conn, FRAME_REQUEST, 0, id, header, SMALL_BYTES);
        (void)conn_send_payload(client->conn, id, calloc(1, bytes), bytes);
    }
    while (client->waiting_bytes > 0 && !client->closed) {
        uv_run(&client->loop, UV_RUN_ONCE);
    }
    if (bytes > SMALL_BYTES) {
        conn_cancel(client->conn, id); /* both sides forget it */
    }
    return client->closed ? -1 : (double)(clock_now_ns() - started_ns) / 1e3;
}

/* ---- the bare echo ---- */

static void *bare_run(void *user)
{
    const int listener = *(int *)user;
    const int fd = accept(listener, NULL, NULL);
    const int one = 1;
    static uint8_t data[LARGE_BYTES];
    ssize_t got;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    while ((got = recv(fd, data, sizeof(data), 0)) > 0) {
        if (send(fd, data, (size_t)got, MSG_NOSIGNAL) != got) {
            break;
        }
    }
    close(fd);
    return NULL;
}

static int bare_listen(struct sockaddr_in *ret_address)
{
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t length = sizeof(*ret_address);

    *ret_address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listener, (struct sockaddr *)ret_address, sizeof(*ret_address)) != 0 ||
        listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)ret_address, &length) != 0) {
        close(listener);
        return -1;
    }
    return listener;
}

/* The whole echo is asked for at once and read until it is back; it fits the kernel's buffers. */
static double bare_round(int fd, size_t bytes)
{
    static uint8_t data[LARGE_BYTES];
    const int64_t started_ns = clock_now_ns();
    size_t back = 0;

    if (send(fd, data, bytes, MSG_NOSIGNAL) != (ssize_t)bytes) {
        return -1;
    }
    while (back < bytes) {
        const ssize_t got = recv(fd, data, sizeof(data), 0);

        if (got <= 0) {
            return -1;
        }
        back += (size_t)got;
    }
    return (double)(clock_now_ns() - started_ns) / 1e3;
}

/* ---- the table ---- */

static int measure(struct client *client, int bare, size_t bytes, size_t rounds, const char *kind)
{
    double *conn_us = calloc(rounds, sizeof(double));
    double *bare_us = calloc(rounds, sizeof(double));
    int result = conn_us && bare_us ? 0 : 1;

    for (size_t i = 0; result == 0 && i < rounds + WARM_UP; i++) {
        const size_t at = i < WARM_UP ? 0 : i - WARM_UP;

        bare_us[at] = bare_round(bare, bytes);
        conn_us[at] = client_round(client, bytes);
        result = bare_us[at] < 0 || conn_us[at] < 0;
    }
    if (result == 0) {
        const double bare_p50 = quantile_of(bare_us, rounds, 0.5);
        const double conn_p50 = quantile_of(conn_us, rounds, 0.5);

        printf("%-10s %7zu %7zu %9.1f %9.1f %9.1f %9.1f %7.2f\n", kind, bytes, rounds, conn_p50,
               quantile_of(conn_us, rounds, 0.99), bare_p50, quantile_of(bare_us, rounds, 0.99),
               conn_p50 / bare_p50);
    }
    free(conn_us);
    free(bare_us);
    return result;
}

static int client_open(struct client *client, const char *url, struct conn_tls *tls)
{
    const struct conn_params params = {
        .tls = tls,
        .callbacks = {.on_open = client_on_open,
                      .on_frame = client_on_frame,
                      .on_close = client_on_close},
    };
    char error[CONN_ERROR_BYTES];

    uv_loop_init(&client->loop);
    if (conn_dial(&client->loop, url, &params, client, &client->conn, error) != 0) {
        fprintf(stderr, "bench_conn: %s\n", error);
        return 1;
    }
    while (!client->open && !client->closed) {
        uv_run(&client->loop, UV_RUN_ONCE);
    }
    return client->closed;
}

static int bench(const char *kind, size_t rounds, struct conn_tls *server_tls,
                 struct conn_tls *client_tls)
{
    struct server server = {.tls = server_tls};
    struct client client = {0};
    struct sockaddr_in address;
    const int one = 1;
    int listener = bare_listen(&address);
    int bare = socket(AF_INET, SOCK_STREAM, 0);
    pthread_t bare_thread;
    int result;

    if (listener < 0 || pthread_create(&bare_thread, NULL, bare_run, &listener) != 0 ||
        connect(bare, (struct sockaddr *)&address, sizeof(address)) != 0) {
        return 1;
    }
    (void)setsockopt(bare, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    pthread_create(&server.thread, NULL, server_run, &server);
    while (atomic_load(&server.ready) == 0) {
        usleep(1000);
    }
    result = atomic_load(&server.ready) < 0 || client_open(&client, server.url, client_tls);
    if (result == 0) {
        result = measure(&client, bare, SMALL_BYTES, rounds, kind) ||
                 measure(&client, bare, LARGE_BYTES, rounds, kind);
        conn_close(client.conn, false);
        uv_run(&client.loop, UV_RUN_DEFAULT);
        uv_loop_close(&client.loop);
    }
    if (atomic_load(&server.ready) > 0) {
        uv_async_send(&server.stop);
    }
    pthread_join(server.thread, NULL);
    close(bare);
    pthread_join(bare_thread, NULL);
    close(listener);
    return result;
}

static struct conn_tls *load(const char *folder, const char *name)
{
    char error[CONN_ERROR_BYTES];
    struct conn_tls *tls = NULL;
    char cert[512];
    char key[512];
    char ca[512];

    snprintf(cert, sizeof(cert), "%s/%s.pem", folder, name);
    snprintf(key, sizeof(key), "%s/%s.key", folder, name);
    snprintf(ca, sizeof(ca), "%s/ca.pem", folder);
    if (conn_tls_load(cert, key, ca, &tls, error) != 0) {
        fprintf(stderr, "bench_conn: %s\n", error);
    }
    return tls;
}

int main(int argc, char **argv)
{
    const long asked = argc > 1 ? strtol(argv[1], NULL, 10) : 2000;
    const size_t rounds = asked < 1 ? 1 : asked > ROUNDS_MAX ? ROUNDS_MAX : (size_t)asked;
    int result;

    printf("round trips, microseconds\n%-10s %7s %7s %9s %9s %9s %9s %7s\n", "", "bytes", "rounds",
           "conn p50", "conn p99", "bare p50", "bare p99", "ratio");
    result = bench("plain", rounds, NULL, NULL);
    if (result == 0 && argc > 2) {
        struct conn_tls *server = load(argv[2], "server");
        struct conn_tls *client = load(argv[2], "client");

        result = !server || !client || bench("TLS 1.3", rounds, server, client);
        conn_tls_unref(server);
        conn_tls_unref(client);
    }
    return result;
}
