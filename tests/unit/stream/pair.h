/* pair.h: a listener and dialers on one loop, with everything that happens to them counted. For the
 * tests of conn. */
#ifndef TANDEM_TESTS_STREAM_PAIR_H
#define TANDEM_TESTS_STREAM_PAIR_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/limits.h"
#include "common/stream/conn.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_NS     (20 * NS_PER_S) /* for what happens at once unless something is broken */
#define SIDES_MAX       32
#define CONNECTIONS_MAX 30 /* of the listener */
#define FRAMES_MAX      4096

/* One end of a connection and what it saw. */
struct side {
    struct pair *pair;
    struct conn *conn;
    bool opened, closed;
    int error;
    char why[CONN_ERROR_BYTES];
    unsigned frames;
    uint8_t kinds[FRAMES_MAX]; /* in order of arrival */
    uint64_t ids[FRAMES_MAX];
    uint64_t data_bytes[16]; /* by request id % 16 */
    uint64_t data_sum[16];   /* a checksum of the bytes in order */
    bool data_last[16];
    uint64_t acked_bytes;
    int64_t acked_ns;
    unsigned pongs;
    size_t probed_bytes;
    int64_t rtt_ns;
    bool pong_had_load;
};

struct pair {
    uv_loop_t loop;
    struct conn_listener *listener;
    bool listener_done;
    struct side accepted[SIDES_MAX];
    unsigned accepted_count;
    bool refuse;    /* on_accept says no */
    bool keep_data; /* the accepting side takes DATA without giving credits back */
    bool echo; /* the accepting side sends every frame but DATA back, and DATA as payload of the
                  same request */
    struct conn_params params; /* of both ends */
    char dir[64];
};

static uint64_t checksum(uint64_t sum, const uint8_t *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        sum = sum * 1099511628211u + data[i];
    }
    return sum;
}

static void side_on_open(struct conn *conn, void *user)
{
    struct side *side = user;

    assert_ptr_equal(conn, side->conn);
    assert_false(side->opened);
    side->opened = true;
}

static void side_echo(struct side *side, const struct frame *frame)
{
    if (frame->kind == FRAME_DATA) {
        uint8_t *copy = malloc(frame->payload_bytes + 1);

        memcpy(copy, frame->payload, frame->payload_bytes);
        if (conn_send_payload_part(side->conn, frame->request_id, copy, frame->payload_bytes,
                                   (frame->flags & FRAME_FLAG_LAST) != 0) != 0) {
            free(copy);
        }
    } else {
        (void)conn_send(side->conn, FRAME_TOKENS, 0, frame->request_id, frame->header,
                        frame->header_bytes);
    }
}

static void side_on_frame(struct conn *conn, const struct frame *frame, void *user)
{
    struct side *side = user;
    const size_t slot = frame->request_id % 16;
    const bool accepting = side >= side->pair->accepted && side < side->pair->accepted + SIDES_MAX;

    assert_false(side->closed);
    assert_true(side->frames < FRAMES_MAX);
    side->kinds[side->frames] = frame->kind;
    side->ids[side->frames++] = frame->request_id;
    if (accepting && side->pair->echo) {
        side_echo(side, frame);
    }
    if (frame->kind == FRAME_DATA) {
        side->data_bytes[slot] += frame->payload_bytes;
        side->data_sum[slot] = checksum(side->data_sum[slot], frame->payload, frame->payload_bytes);
        side->data_last[slot] = (frame->flags & FRAME_FLAG_LAST) != 0;
        if (!accepting || !side->pair->keep_data) {
            conn_consumed(conn, frame->request_id, frame->payload_bytes);
        }
    }
}

static void side_on_acked(struct conn *conn, uint64_t request_id, uint64_t acked_bytes,
                          int64_t elapsed_ns, void *user)
{
    struct side *side = user;

    (void)conn;
    (void)request_id;
    side->acked_bytes = acked_bytes;
    side->acked_ns = elapsed_ns;
}

static void side_on_probed(struct conn *conn, size_t bytes, int64_t rtt_ns, void *user)
{
    struct side *side = user;

    (void)conn;
    side->probed_bytes += bytes;
    side->rtt_ns = rtt_ns;
}

static void side_on_pong(struct conn *conn, int64_t rtt_ns, const struct edge_load *load,
                         void *user)
{
    struct side *side = user;

    (void)conn;
    side->pongs++;
    side->rtt_ns = rtt_ns;
    side->pong_had_load = load != NULL && load->queued == 7;
}

static bool side_get_load(struct conn *conn, struct edge_load *ret_load, void *user)
{
    (void)conn;
    (void)user;
    *ret_load = (struct edge_load){.queued = 7};
    return true;
}

static void side_on_close(struct conn *conn, int error, const char *why, void *user)
{
    struct side *side = user;

    (void)conn;
    assert_false(side->closed);
    side->closed = true;
    side->error = error;
    snprintf(side->why, sizeof(side->why), "%s", why);
    side->conn = NULL;
}

static bool pair_on_accept(struct conn *conn, void *listener_user, void **ret_user)
{
    struct pair *pair = listener_user;
    struct side *side;

    if (pair->refuse) {
        return false;
    }
    while (pair->accepted[pair->accepted_count % SIDES_MAX].conn) {
        pair->accepted_count++; /* that place is still taken; connections_max leaves one free */
    }
    side = &pair->accepted[pair->accepted_count % SIDES_MAX];
    memset(side, 0, sizeof(*side));
    pair->accepted_count++;
    side->pair = pair;
    side->conn = conn;
    *ret_user = side;
    return true;
}

static const struct conn_callbacks side_callbacks = {
    .on_open = side_on_open,
    .on_frame = side_on_frame,
    .on_acked = side_on_acked,
    .on_pong = side_on_pong,
    .on_probed = side_on_probed,
    .get_load = side_get_load,
    .on_close = side_on_close,
};

static struct pair *pair_new(void)
{
    struct pair *pair = calloc(1, sizeof(*pair));

    assert_non_null(pair);
    assert_int_equal(uv_loop_init(&pair->loop), 0);
    pair->params.callbacks = side_callbacks;
    snprintf(pair->dir, sizeof(pair->dir), "/tmp/tandem-stream-XXXXXX");
    assert_non_null(mkdtemp(pair->dir));
    return pair;
}

static void pair_listen(struct pair *pair, const char *url, struct conn_tls *tls)
{
    struct conn_listener_params params = {
        .conn = pair->params, .connections_max = CONNECTIONS_MAX, .on_accept = pair_on_accept};
    char error[CONN_ERROR_BYTES] = "";

    params.conn.tls = tls;
    if (conn_listener_new(&pair->loop, url, &params, pair, &pair->listener, error) != 0) {
        fail_msg("listen: %s", error);
    }
}

static void pair_dial(struct pair *pair, const char *url, struct conn_tls *tls, struct side *side)
{
    struct conn_params params = pair->params;
    char error[CONN_ERROR_BYTES] = "";

    params.tls = tls;
    memset(side, 0, sizeof(*side));
    side->pair = pair;
    if (conn_dial(&pair->loop, url, &params, side, &side->conn, error) != 0) {
        fail_msg("dial: %s", error);
    }
}

/* Ends the test as skipped where the system's resolver does not know 127.0.0.1 as localhost (an
 * /etc/hosts without it). */
static inline void need_localhost(void)
{
    const struct addrinfo want = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    const int result = getaddrinfo("localhost", NULL, &want, &found);
    bool loopback = false;

    for (const struct addrinfo *at = result == 0 ? found : NULL; at; at = at->ai_next) {
        const struct sockaddr_in *address = (const struct sockaddr_in *)(const void *)at->ai_addr;

        loopback = loopback || address->sin_addr.s_addr == htonl(INADDR_LOOPBACK);
    }
    if (result == 0) {
        freeaddrinfo(found);
    }
    if (!loopback) {
        printf("no localhost here: %s\n", result == 0 ? "not 127.0.0.1" : gai_strerror(result));
        skip();
    }
}

static void on_wake(uv_timer_t *timer)
{
    (void)timer;
}

/* Runs the loop until `condition` holds; false when that takes longer than `most_ns`. */
static bool pair_run_for(struct pair *pair, bool (*condition)(void *user), void *user,
                         int64_t most_ns)
{
    const int64_t end_ns = clock_now_ns() + most_ns;
    uv_timer_t timer;
    bool held;

    uv_timer_init(&pair->loop, &timer);
    uv_timer_start(&timer, on_wake, 1, 1);
    while (!(held = condition && condition(user)) && clock_now_ns() < end_ns) {
        uv_run(&pair->loop, UV_RUN_ONCE);
    }
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&pair->loop, UV_RUN_NOWAIT);
    return held;
}

static inline bool pair_run(struct pair *pair, bool (*condition)(void *user), void *user)
{
    return pair_run_for(pair, condition, user, PATIENCE_NS);
}

static inline bool both_open(void *user)
{
    struct side *side = user;

    return side->opened && side->pair->accepted_count > 0 &&
           side->pair->accepted[(side->pair->accepted_count - 1) % SIDES_MAX].opened;
}

static inline bool side_is_closed(void *user)
{
    return ((struct side *)user)->closed;
}

static void pair_on_done(void *user)
{
    ((struct pair *)user)->listener_done = true;
}

static void handle_name(uv_handle_t *handle, void *user)
{
    (void)user;
    fprintf(stderr, "still there: %s%s\n", uv_handle_type_name(uv_handle_get_type(handle)),
            uv_is_closing(handle) ? ", closing" : "");
}

/* Nothing but `timer`, which ends the waiting, is left. */
static void pair_run_dry(struct pair *pair)
{
    const int64_t end_ns = clock_now_ns() + PATIENCE_NS;
    uv_timer_t timer;
    bool alive = true;

    uv_timer_init(&pair->loop, &timer);
    uv_timer_start(&timer, on_wake, 1, 1);
    uv_unref((uv_handle_t *)&timer);
    while (alive && clock_now_ns() < end_ns) {
        alive = uv_run(&pair->loop, UV_RUN_ONCE) != 0;
    }
    if (alive) {
        uv_walk(&pair->loop, handle_name, NULL);
        fail_msg("the loop does not run dry");
    }
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&pair->loop, UV_RUN_DEFAULT);
}

/* Closes everything and insists that the loop runs dry. */
static void pair_free(struct pair *pair, struct side *sides, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (sides[i].conn) {
            conn_close(sides[i].conn, false);
        }
    }
    for (size_t i = 0; i < SIDES_MAX; i++) {
        if (pair->accepted[i].conn) {
            conn_close(pair->accepted[i].conn, false);
        }
    }
    if (pair->listener) {
        conn_listener_close(pair->listener, pair_on_done, pair);
    }
    pair_run_dry(pair);
    assert_true(pair->listener_done || !pair->listener);
    for (size_t i = 0; i < count; i++) {
        assert_null(sides[i].conn);
    }
    assert_int_equal(uv_loop_close(&pair->loop), 0);
    rmdir(pair->dir);
    free(pair);
}

static inline uint8_t *pattern_new(size_t bytes, unsigned seed)
{
    uint8_t *data = malloc(bytes + 1);
    uint32_t state = seed * 2654435761u + 1;

    assert_non_null(data);
    for (size_t i = 0; i < bytes; i++) {
        state = state * 1664525u + 1013904223u;
        data[i] = (uint8_t)(state >> 24);
    }
    return data;
}

#endif
