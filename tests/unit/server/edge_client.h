/* edge_client.h: a client of tandem-server that speaks the raw protocol, and the server process
 * beside it. Used by the unit tests (with a played engine) and by the integration tests (with the
 * real one). Include cmocka.h before. */
#ifndef TANDEM_TESTS_SERVER_EDGE_CLIENT_H
#define TANDEM_TESTS_SERVER_EDGE_CLIENT_H

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/limits.h"
#include "common/stream/conn.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLIENT_PATIENCE_NS (20 * NS_PER_S)
#define CLIENT_REQUESTS    512

struct client_request {
    bool accepted, has_result, has_error;
    unsigned token_frames;
    struct buf streamed;
    struct edge_result result;
    struct edge_error error;
};

struct client {
    uv_loop_t *loop;
    struct conn *conn;
    bool opened, greeted, closed, goodbye;
    int close_error;
    int connection_error; /* of an ERROR frame with id 0 */
    uint32_t version_low, version_high;
    const char *token;
    struct edge_task contract; /* sent when named */
    struct conn_tls *tls;      /* NULL: plaintext; borrowed */
    bool silent;               /* sends no hello */
    uint8_t boot_id[EDGE_BOOT_ID_BYTES];
    struct edge_hello hello;                         /* the server's */
    struct client_request requests[CLIENT_REQUESTS]; /* by id */
};

static inline void client_hello(struct client *client)
{
    struct edge_hello hello = {.version_low = client->version_low,
                               .version_high = client->version_high,
                               .software = "test"};
    struct buf header;

    memcpy(hello.boot_id, client->boot_id, sizeof(hello.boot_id));
    if (client->token) {
        snprintf(hello.token, sizeof(hello.token), "%s", client->token);
    }
    if (client->contract.name[0]) {
        hello.tasks = &client->contract;
        hello.task_count = 1;
    }
    buf_init(&header, 0);
    assert_int_equal(edge_hello_pack(&hello, &header), 0);
    assert_int_equal(
        conn_send(client->conn, FRAME_HELLO, FRAME_FLAG_MANDATORY, 0, header.data, header.bytes),
        0);
    buf_fini(&header);
}

static inline void client_on_open(struct conn *conn, void *user)
{
    struct client *client = user;

    client->conn = conn;
    client->opened = true;
    if (!client->silent) {
        client_hello(client);
    }
}

static inline void client_on_answer(struct client *client, const struct frame *frame)
{
    struct client_request *request = &client->requests[frame->request_id % CLIENT_REQUESTS];
    struct answer_piece tokens;
    struct edge_load load;

    switch (frame->kind) {
    case FRAME_ACCEPTED:
        assert_int_equal(edge_accepted_unpack(frame->header, frame->header_bytes, &load), 0);
        assert_false(request->accepted);
        request->accepted = true;
        break;
    case FRAME_TOKENS:
        assert_int_equal(answer_piece_unpack(frame->header, frame->header_bytes, &tokens), 0);
        assert_int_equal(buf_append(&request->streamed, tokens.text, tokens.text_bytes), 0);
        answer_piece_fini(&tokens);
        request->token_frames++;
        break;
    case FRAME_RESULT:
        assert_false(request->has_result || request->has_error); /* exactly one end */
        assert_int_equal(edge_result_unpack(frame->header, frame->header_bytes, &request->result),
                         0);
        request->has_result = true;
        break;
    case FRAME_ERROR:
        assert_false(request->has_result || request->has_error);
        assert_int_equal(edge_error_unpack(frame->header, frame->header_bytes, &request->error), 0);
        request->has_error = true;
        break;
    default:
        fail_msg("frame of kind %u", frame->kind);
    }
}

static inline void client_on_frame(struct conn *conn, const struct frame *frame, void *user)
{
    struct client *client = user;
    struct edge_error error;

    (void)conn;
    if (frame->kind == FRAME_HELLO) {
        edge_hello_fini(&client->hello);
        assert_int_equal(edge_hello_unpack(frame->header, frame->header_bytes, &client->hello), 0);
        client->greeted = true;
    } else if (frame->kind == FRAME_TASKS) {
        edge_hello_fini(&client->hello);
        assert_int_equal(edge_hello_unpack(frame->header, frame->header_bytes, &client->hello), 0);
    } else if (frame->kind == FRAME_GOODBYE) {
        client->goodbye = true;
    } else if (frame->kind == FRAME_ERROR && frame->request_id == 0) {
        assert_int_equal(edge_error_unpack(frame->header, frame->header_bytes, &error), 0);
        client->connection_error = error.code;
    } else {
        client_on_answer(client, frame);
    }
}

static inline void client_on_close(struct conn *conn, int error, const char *why, void *user)
{
    struct client *client = user;

    (void)conn;
    (void)why;
    client->closed = true;
    client->close_error = error;
    client->conn = NULL;
}

static inline void client_init(struct client *client, uv_loop_t *loop, uint8_t boot)
{
    memset(client, 0, sizeof(*client));
    client->loop = loop;
    client->version_low = WIRE_VERSION_LOW;
    client->version_high = WIRE_VERSION_HIGH;
    memset(client->boot_id, boot, sizeof(client->boot_id));
    for (int i = 0; i < CLIENT_REQUESTS; i++) {
        buf_init(&client->requests[i].streamed, 0);
    }
}

static inline void client_on_tick(uv_timer_t *timer)
{
    (void)timer; /* only wakes the loop, so that waiting ends */
}

/* Runs the loop until *flag is set or patience ends. */
static inline void client_wait(struct client *client, const bool *flag)
{
    const int64_t end_ns = clock_now_ns() + CLIENT_PATIENCE_NS;
    uv_timer_t timer;

    (void)uv_timer_init(client->loop, &timer);
    (void)uv_timer_start(&timer, client_on_tick, 20, 20);
    while (!*flag && clock_now_ns() < end_ns) {
        (void)uv_run(client->loop, UV_RUN_ONCE);
    }
    uv_close((uv_handle_t *)&timer, NULL);
    (void)uv_run(client->loop, UV_RUN_NOWAIT);
    if (!*flag) {
        fail_msg("what was waited for did not come");
    }
}

static inline void client_dial(struct client *client, const char *url)
{
    const struct conn_params params = {.tls = client->tls,
                                       .callbacks = {.on_open = client_on_open,
                                                     .on_frame = client_on_frame,
                                                     .on_close = client_on_close}};
    char error[CONN_ERROR_BYTES];

    assert_int_equal(conn_dial(client->loop, url, &params, client, &client->conn, error), 0);
}

static inline void client_connect(struct client *client, const char *url)
{
    client_dial(client, url);
    client_wait(client, &client->greeted);
}

static inline void client_fini(struct client *client)
{
    if (client->conn) {
        conn_close(client->conn, false);
        client_wait(client, &client->closed);
    }
    edge_hello_fini(&client->hello);
    for (int i = 0; i < CLIENT_REQUESTS; i++) {
        buf_fini(&client->requests[i].streamed);
        edge_result_fini(&client->requests[i].result);
    }
}

/* Sends a request and its payload (copied); `bytes` is announced unless the header says otherwise.
 */
static inline void client_send(struct client *client, uint64_t id, struct edge_request *request,
                               const void *payload, size_t bytes)
{
    struct buf header;
    uint8_t *copy = malloc(bytes + 1);

    assert_non_null(copy);
    memcpy(copy, payload, bytes);
    if (request->payload_bytes == 0) {
        request->payload_bytes = bytes;
    }
    buf_init(&header, 0);
    assert_int_equal(edge_request_pack(request, &header), 0);
    assert_int_equal(conn_send(client->conn, FRAME_REQUEST, 0, id, header.data, header.bytes), 0);
    buf_fini(&header);
    if (conn_send_payload(client->conn, id, copy, bytes) != 0) {
        free(copy);
    }
}

static inline struct client_request *client_of(struct client *client, uint64_t id)
{
    return &client->requests[id % CLIENT_REQUESTS];
}

static inline struct client_request *client_result(struct client *client, uint64_t id)
{
    struct client_request *request = client_of(client, id);
    const int64_t end_ns = clock_now_ns() + CLIENT_PATIENCE_NS;

    while (!request->has_result && !request->has_error && !client->closed &&
           clock_now_ns() < end_ns) {
        bool never = false;
        uv_timer_t timer;

        (void)never;
        (void)uv_timer_init(client->loop, &timer);
        (void)uv_timer_start(&timer, client_on_tick, 10, 0);
        (void)uv_run(client->loop, UV_RUN_ONCE);
        uv_close((uv_handle_t *)&timer, NULL);
        (void)uv_run(client->loop, UV_RUN_NOWAIT);
    }
    if (request->has_error) {
        return request; /* the caller looks */
    }
    assert_true(request->has_result);
    return request;
}

/* ---- the server process ---- */

/* Asks the status socket; the answer is NUL-terminated. False when nobody listens. */
static inline bool status_ask(const char *path, const char *line, char *answer, size_t capacity)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t bytes = 0;
    ssize_t got;
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        (void)close(fd);
        return false;
    }
    assert_int_equal(send(fd, line, strlen(line), MSG_NOSIGNAL), (ssize_t)strlen(line));
    while (bytes < capacity - 1 && (got = recv(fd, answer + bytes, capacity - 1 - bytes, 0)) > 0) {
        bytes += (size_t)got;
    }
    answer[bytes] = '\0';
    (void)close(fd);
    return true;
}

/* The number after "key": in a status answer, or -1. */
static inline double status_number(const char *path, const char *key)
{
    char answer[1 << 16], quoted[64];
    const char *at;

    if (!status_ask(path, "status\n", answer, sizeof(answer))) {
        return -1;
    }
    snprintf(quoted, sizeof(quoted), "\"%s\":", key);
    at = strstr(answer, quoted);
    return at ? strtod(at + strlen(quoted), NULL) : -1;
}

static inline void file_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

#endif
