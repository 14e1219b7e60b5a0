/* conn on loopback: order, credits, cancel, heartbeat, limits and closing. */
#include "tests/unit/stream/pair.h"

#include "common/stream/conn_parts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define BIG_BYTES (5u << 20)

static struct side *accepted(struct pair *pair)
{
    return &pair->accepted[(pair->accepted_count - 1) % SIDES_MAX];
}

static struct pair *pair_start(const char *url, struct side *side)
{
    struct pair *pair = pair_new();

    pair_listen(pair, url, NULL);
    pair_dial(pair, conn_listener_url(pair->listener), NULL, side);
    assert_true(pair_run(pair, both_open, side));
    return pair;
}

static bool has_frames(void *user)
{
    struct side *side = user;

    return side->frames >= 2;
}

static void echo_at(const char *url)
{
    struct side side;
    struct pair *pair = pair_start(url, &side);
    uint64_t sent;
    uint64_t received;

    pair->echo = true;
    assert_int_equal(conn_send(side.conn, FRAME_REQUEST, 0, 1, "hello", 5), 0);
    assert_int_equal(conn_send(side.conn, FRAME_GOODBYE, 0, 0, NULL, 0), 0);
    assert_int_equal(conn_send(side.conn, FRAME_REQUEST, 0, 2, "again", 5), 0);
    assert_int_equal(conn_send(side.conn, FRAME_REQUEST, 0, 0, "zero", 4), TANDEM_EINVAL);
    assert_true(pair_run(pair, has_frames, &side));
    assert_int_equal(side.kinds[0], FRAME_TOKENS);
    assert_int_equal(side.ids[0], 1);
    assert_int_equal(side.ids[1], 2);
    conn_bytes(side.conn, &sent, &received);
    assert_int_equal(sent, 3 * FRAME_PREFIX_BYTES + 10);
    assert_true(received >= 2 * FRAME_PREFIX_BYTES + 10);
    assert_string_equal(conn_peer_name(side.conn), "");
    assert_true(strlen(conn_peer_address(side.conn)) > 0);
    pair_free(pair, &side, 1);
}

static void test_echo_tcp(void **state)
{
    (void)state;
    echo_at("tcp://127.0.0.1:0");
}

static void test_echo_ipv6(void **state)
{
    const int probe = socket(AF_INET6, SOCK_STREAM, 0);
    const struct sockaddr_in6 address = {.sin6_family = AF_INET6,
                                         .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    const int bound =
        probe < 0 ? -1 : bind(probe, (const struct sockaddr *)&address, sizeof(address));

    (void)state;
    if (probe >= 0) {
        close(probe);
    }
    if (bound != 0) {
        printf("no IPv6 loopback here\n");
        skip();
    }
    echo_at("tcp://[::1]:0");
}

/* The name may have ::1 before 127.0.0.1; only one of them listens. */
static void test_echo_by_name(void **state)
{
    struct pair *pair;
    struct side side;
    char url[64];

    (void)state;
    need_localhost();
    pair = pair_new();
    pair_listen(pair, "tcp://127.0.0.1:0", NULL);
    snprintf(url, sizeof(url), "tcp://localhost:%s",
             strrchr(conn_listener_url(pair->listener), ':') + 1);
    pair_dial(pair, url, NULL, &side);
    assert_true(pair_run(pair, both_open, &side));
    pair_free(pair, &side, 1);
}

static void test_echo_ipc(void **state)
{
    char dir[] = "/tmp/tandem-conn-XXXXXX";
    char url[64];

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(url, sizeof(url), "ipc://%s/s", dir);
    echo_at(url);
    rmdir(dir); /* the listener took its socket away */
    assert_int_equal(access(dir, F_OK), -1);
}

static bool payload_came_back(void *user)
{
    return ((struct side *)user)->data_last[1];
}

static void test_big_payload_both_ways(void **state)
{
    uint8_t *data = pattern_new(BIG_BYTES, 1);
    const uint64_t sum = checksum(0, data, BIG_BYTES);
    struct side side;
    struct pair *pair = pair_start("tcp://127.0.0.1:0", &side);

    (void)state;
    pair->echo = true;
    assert_int_equal(conn_send(side.conn, FRAME_REQUEST, 0, 1, NULL, 0), 0);
    assert_int_equal(conn_send_payload(side.conn, 1, data, BIG_BYTES), 0);
    assert_int_equal(conn_send_payload(side.conn, 1, data, 1), TANDEM_EINVAL);
    assert_true(pair_run(pair, payload_came_back, &side));
    assert_int_equal(accepted(pair)->data_bytes[1], BIG_BYTES);
    assert_int_equal(accepted(pair)->data_sum[1], sum);
    assert_int_equal(side.data_bytes[1], BIG_BYTES);
    assert_int_equal(side.data_sum[1], sum);
    assert_int_equal(side.acked_bytes, BIG_BYTES);
    assert_true(side.acked_ns > 0);
    pair_free(pair, &side, 1);
}

static void test_payload_limits(void **state)
{
    struct side side;
    struct pair *pair = pair_start("tcp://127.0.0.1:0", &side);
    uint8_t *small = pattern_new(10, 1);

    (void)state;
    assert_int_equal(conn_send_payload(side.conn, 0, small, 10), TANDEM_EINVAL);
    assert_int_equal(conn_send_payload(side.conn, 1, small, LIMIT_PAYLOAD_BYTES + 1),
                     TANDEM_ETOOBIG);
    assert_int_equal(conn_send(side.conn, FRAME_REQUEST, 0, 1, small, LIMIT_FRAME_HEADER_BYTES + 1),
                     TANDEM_ETOOBIG);
    assert_int_equal(conn_send_payload_part(side.conn, 1, small, 0, false), TANDEM_EINVAL);
    for (uint64_t id = 2; id <= LIMIT_FLOWS; id++) {
        assert_int_equal(conn_send(side.conn, FRAME_REQUEST, 0, id, NULL, 0), 0);
    }
    assert_int_equal(conn_send(side.conn, FRAME_REQUEST, 0, LIMIT_FLOWS + 1, NULL, 0),
                     TANDEM_EBUSY);
    assert_int_equal(conn_send_payload(side.conn, LIMIT_FLOWS + 1, small, 10), TANDEM_EBUSY);
    conn_forget(side.conn, 2);
    assert_int_equal(conn_send_payload(side.conn, LIMIT_FLOWS + 1, small, 10), 0);
    pair_free(pair, &side, 1);
}

static bool both_payloads_there(void *user)
{
    struct pair *pair = user;

    return accepted(pair)->data_last[1] && accepted(pair)->data_last[2];
}

/* The place of the first frame of this kind and id, or -1. */
static int frame_place(const struct side *side, unsigned kind, uint64_t id, bool last)
{
    int place = -1;

    for (unsigned i = 0; i < side->frames; i++) {
        if (side->kinds[i] == kind && side->ids[i] == id) {
            place = (int)i;
            if (!last) {
                break;
            }
        }
    }
    return place;
}

static void test_payloads_take_turns(void **state)
{
    uint8_t *first = pattern_new(1u << 20, 1);
    uint8_t *second = pattern_new(1u << 20, 2);
    const uint64_t first_sum = checksum(0, first, 1u << 20);
    const uint64_t second_sum = checksum(0, second, 1u << 20);
    struct side side;
    struct pair *pair = pair_start("tcp://127.0.0.1:0", &side);

    (void)state;
    assert_int_equal(conn_send(side.conn, FRAME_REQUEST, 0, 1, NULL, 0), 0);
    assert_int_equal(conn_send(side.conn, FRAME_REQUEST, 0, 2, NULL, 0), 0);
    assert_int_equal(conn_send_payload(side.conn, 1, first, 1u << 20), 0);
    assert_int_equal(conn_send_payload(side.conn, 2, second, 1u << 20), 0);
    assert_true(pair_run(pair, both_payloads_there, pair));
    assert_int_equal(accepted(pair)->data_sum[1], first_sum);
    assert_int_equal(accepted(pair)->data_sum[2], second_sum);
    assert_true(frame_place(accepted(pair), FRAME_DATA, 2, false) <
                frame_place(accepted(pair), FRAME_DATA, 1, false) + 3);
    assert_true(frame_place(accepted(pair), FRAME_DATA, 2, false) <
                frame_place(accepted(pair), FRAME_DATA, 1, true));
    pair_free(pair, &side, 1);
}

static bool first_data_there(void *user)
{
    return accepted(user)->data_bytes[1] > 0;
}

static bool tokens_there(void *user)
{
    return frame_place(accepted(user), FRAME_TOKENS, 1, false) >= 0;
}

static void test_control_overtakes_payload(void **state)
{
    struct side side;
    struct pair *pair = pair_start("tcp://127.0.0.1:0", &side);
    uint64_t before;

    (void)state;
    assert_int_equal(conn_send(side.conn, FRAME_REQUEST, 0, 1, NULL, 0), 0);
    assert_int_equal(conn_send_payload(side.conn, 1, pattern_new(BIG_BYTES, 1), BIG_BYTES), 0);
    assert_true(pair_run(pair, first_data_there, pair));
    before = accepted(pair)->data_bytes[1];
    assert_int_equal(conn_send(side.conn, FRAME_TOKENS, 0, 1, "now", 3), 0);
    assert_true(pair_run(pair, tokens_there, pair));
    assert_true(before < BIG_BYTES / 2);
    assert_true((frame_place(accepted(pair), FRAME_TOKENS, 1, false) - 1) *
                    (int64_t)LIMIT_FRAME_DATA_BYTES <=
                (int64_t)(before + LIMIT_CREDIT_BYTES + (64u << 10)));
    pair_free(pair, &side, 1);
}

static bool cancel_there(void *user)
{
    return frame_place(accepted(user), FRAME_CANCEL, 1, false) >= 0;
}

static void test_cancel_stops_an_upload(void **state)
{
    struct side side;
    struct pair *pair = pair_start("tcp://127.0.0.1:0", &side);
    uint64_t before;
    uint64_t sent;
    uint64_t sent_after;
    uint64_t received;

    (void)state;
    assert_int_equal(conn_send(side.conn, FRAME_REQUEST, 0, 1, NULL, 0), 0);
    assert_int_equal(conn_send_payload(side.conn, 1, pattern_new(BIG_BYTES, 1), BIG_BYTES), 0);
    assert_true(pair_run(pair, first_data_there, pair));
    before = accepted(pair)->data_bytes[1];
    conn_bytes(side.conn, &sent, &received);
    conn_cancel(side.conn, 1);
    assert_true(pair_run(pair, cancel_there, pair));
    assert_true(accepted(pair)->data_bytes[1] <= before + LIMIT_CREDIT_BYTES);
    assert_true(accepted(pair)->data_bytes[1] < BIG_BYTES);
    before = accepted(pair)->data_bytes[1];
    pair_run_for(pair, NULL, NULL, 50 * NS_PER_MS);
    assert_int_equal(accepted(pair)->data_bytes[1], before); /* nothing after it */
    conn_bytes(side.conn, &sent_after, &received);
    assert_int_equal(sent_after, sent + FRAME_PREFIX_BYTES); /* and nothing but CANCEL left here */
    assert_int_equal(conn_send(side.conn, FRAME_REQUEST, 0, 1, NULL, 0),
                     0); /* the connection lives on */
    pair_free(pair, &side, 1);
}

/* Control frames that need more than one write are not mixed with payload in the middle of a frame.
 */
static void test_many_control_frames_and_payload(void **state)
{
    static const uint8_t text[50001];
    uint8_t *data = pattern_new(1u << 20, 1);
    const uint64_t sum = checksum(0, data, 1u << 20);
    struct side side;
    struct pair *pair = pair_start("tcp://127.0.0.1:0", &side);

    (void)state;
    assert_int_equal(conn_send(side.conn, FRAME_REQUEST, 0, 1, NULL, 0), 0);
    assert_int_equal(conn_send_payload(side.conn, 1, data, 1u << 20), 0);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(conn_send(side.conn, FRAME_TOKENS, 0, 1, text, sizeof(text)), 0);
    }
    while (!accepted(pair)->data_last[1] && !side.closed) {
        assert_true(pair_run_for(pair, first_data_there, pair, PATIENCE_NS) || side.closed);
        uv_run(&pair->loop, UV_RUN_ONCE);
    }
    assert_false(side.closed);
    assert_int_equal(accepted(pair)->data_sum[1], sum);
    assert_int_equal(frame_place(accepted(pair), FRAME_TOKENS, 1, true),
                     20); /* all of them before the payload */
    pair_free(pair, &side, 1);
}

static bool window_there(void *user)
{
    return accepted(user)->data_bytes[1] >= LIMIT_CREDIT_BYTES;
}

static bool more_than_window_there(void *user)
{
    return accepted(user)->data_bytes[1] > LIMIT_CREDIT_BYTES;
}

/* Without credits back, exactly one window arrives. */
static void test_credits_bound_an_upload(void **state)
{
    struct side side;
    struct pair *pair = pair_start("tcp://127.0.0.1:0", &side);

    (void)state;
    pair->keep_data = true;
    assert_int_equal(conn_send(side.conn, FRAME_REQUEST, 0, 1, NULL, 0), 0);
    assert_int_equal(conn_send_payload(side.conn, 1, pattern_new(BIG_BYTES, 1), BIG_BYTES), 0);
    assert_true(pair_run(pair, window_there, pair));
    pair_run_for(pair, NULL, NULL, 50 * NS_PER_MS);
    assert_int_equal(accepted(pair)->data_bytes[1], LIMIT_CREDIT_BYTES);
    conn_consumed(accepted(pair)->conn, 1, LIMIT_FRAME_DATA_BYTES);
    assert_true(pair_run(pair, more_than_window_there, pair));
    pair_run_for(pair, NULL, NULL, 50 * NS_PER_MS);
    assert_int_equal(accepted(pair)->data_bytes[1], LIMIT_CREDIT_BYTES + LIMIT_FRAME_DATA_BYTES);
    pair_free(pair, &side, 1);
}

static bool three_pongs(void *user)
{
    struct side *side = user;

    return side->pongs + accepted(side->pair)->pongs >= 3;
}

static bool side_has_pong(void *user)
{
    return ((struct side *)user)->pongs > 0;
}

static void test_heartbeat(void **state)
{
    struct pair *pair = pair_new();
    struct side side;

    (void)state;
    pair->params.heartbeat_ns = 20 * NS_PER_MS;
    pair->params.idle_ns = 2000 * NS_PER_MS;
    pair_listen(pair, "tcp://127.0.0.1:0", NULL);
    pair_dial(pair, conn_listener_url(pair->listener), NULL, &side);
    assert_true(pair_run(pair, both_open, &side));
    assert_true(pair_run(pair, three_pongs, &side));
    conn_ping(side.conn);
    assert_true(pair_run(pair, side_has_pong, &side));
    assert_true(side.pongs >= 1);
    assert_true(side.rtt_ns > 0);
    assert_true(side.pong_had_load);
    assert_false(side.closed);
    pair_free(pair, &side, 1);
}

static bool side_has_probed(void *user)
{
    return ((struct side *)user)->probed_bytes > 0;
}

/* A probe carries its padding there, comes back as a probe and as no ordinary round trip. */
static void test_probe(void **state)
{
    struct side side;
    struct pair *pair = pair_start("tcp://127.0.0.1:0", &side);
    uint64_t sent, received, before;

    (void)state;
    conn_bytes(side.conn, &before, &received);
    conn_probe(side.conn, LIMIT_PROBE_BYTES + 1); /* too large: nothing is sent */
    conn_probe(side.conn, LIMIT_PROBE_BYTES);
    assert_true(pair_run(pair, side_has_probed, &side));
    assert_int_equal(side.probed_bytes, LIMIT_PROBE_BYTES);
    assert_int_equal(side.pongs, 0);
    assert_true(side.rtt_ns > 0);
    conn_bytes(side.conn, &sent, &received);
    assert_true(sent - before >= LIMIT_PROBE_BYTES);
    assert_true(received < LIMIT_PROBE_BYTES); /* it does not come back */
    pair_free(pair, &side, 1);
}

static void test_peer_vanishes(void **state)
{
    struct side side;
    struct pair *pair = pair_start("tcp://127.0.0.1:0", &side);

    (void)state;
    conn_close(accepted(pair)->conn, false);
    assert_true(pair_run(pair, side_is_closed, &side));
    assert_int_equal(side.error, TANDEM_EGONE);
    assert_true(pair_run(pair, side_is_closed, accepted(pair)));
    assert_int_equal(accepted(pair)->error, TANDEM_OK);
    pair_free(pair, &side, 1);
}

static void test_close_flushes(void **state)
{
    const size_t bytes = 700000;
    struct side side;
    struct pair *pair = pair_start("tcp://127.0.0.1:0", &side);

    (void)state;
    assert_int_equal(conn_send(side.conn, FRAME_REQUEST, 0, 1, NULL, 0), 0);
    assert_int_equal(conn_send_payload(side.conn, 1, pattern_new(bytes, 1), bytes), 0);
    assert_int_equal(conn_send(side.conn, FRAME_GOODBYE, 0, 0, NULL, 0), 0);
    conn_close(side.conn, true);
    assert_false(side.closed); /* never inside the call */
    assert_int_equal(conn_send(side.conn, FRAME_REQUEST, 0, 2, NULL, 0), TANDEM_EGONE);
    assert_true(pair_run(pair, side_is_closed, &side));
    assert_int_equal(side.error, TANDEM_OK);
    assert_true(pair_run(pair, side_is_closed, accepted(pair)));
    assert_int_equal(accepted(pair)->data_bytes[1], bytes);
    assert_true(frame_place(accepted(pair), FRAME_GOODBYE, 0, false) >= 0);
    pair_free(pair, &side, 1);
}

static void test_nobody_listens(void **state)
{
    struct pair *pair = pair_new();
    struct side sides[2];
    char error[CONN_ERROR_BYTES];
    struct conn *conn;

    (void)state;
    pair_dial(pair, "tcp://127.0.0.1:1", NULL, &sides[0]);
    pair_dial(pair, "ipc:///tmp/tandem-there-is-no-such-socket", NULL, &sides[1]);
    assert_true(pair_run(pair, side_is_closed, &sides[0]));
    assert_true(pair_run(pair, side_is_closed, &sides[1]));
    assert_false(sides[0].opened);
    assert_int_equal(sides[0].error, TANDEM_EGONE);
    assert_int_equal(sides[1].error, TANDEM_EGONE);
    assert_non_null(strstr(sides[0].why, "127.0.0.1 port 1"));
    assert_int_equal(conn_dial(&pair->loop, "udp://127.0.0.1:1", &pair->params, NULL, &conn, error),
                     TANDEM_EINVAL);
    assert_int_equal(
        conn_dial(&pair->loop, "tcp://127.0.0.1:70000", &pair->params, NULL, &conn, error),
        TANDEM_EINVAL);
    assert_int_equal(conn_dial(&pair->loop, "tcp://*:1", &pair->params, NULL, &conn, error),
                     TANDEM_EINVAL);
    pair_free(pair, sides, 2);
}

/* Closing at every moment of dialing. */
static void test_close_while_dialing(void **state)
{
    struct pair *pair = pair_new();
    struct side sides[16];

    (void)state;
    pair_listen(pair, "tcp://127.0.0.1:0", NULL);
    for (unsigned i = 0; i < 16; i++) {
        pair_dial(pair, conn_listener_url(pair->listener), NULL, &sides[i]);
        usleep(i * 20);
        conn_close(sides[i].conn, i % 2);
        uv_run(&pair->loop, UV_RUN_NOWAIT);
    }
    pair_free(pair, sides, 16);
}

static void test_listen_errors(void **state)
{
    struct conn_listener_params params = {.connections_max = 1, .on_accept = pair_on_accept};
    struct pair *pair = pair_new();
    struct conn_listener *second;
    char error[CONN_ERROR_BYTES];
    char url[160];
    char path[128];
    struct side side;
    struct stat info;

    (void)state;
    pair_listen(pair, "tcp://127.0.0.1:0", NULL);
    assert_int_equal(conn_listener_new(&pair->loop, conn_listener_url(pair->listener), &params,
                                       NULL, &second, error),
                     TANDEM_EIO);
    assert_non_null(strstr(error, "127.0.0.1"));
    assert_int_equal(
        conn_listener_new(&pair->loop, "tcp://192.0.2.1:0", &params, NULL, &second, error),
        TANDEM_EIO);
    assert_int_equal(conn_listener_new(&pair->loop, "http://x", &params, NULL, &second, error),
                     TANDEM_EINVAL);
    conn_listener_close(pair->listener, pair_on_done, pair);
    uv_run(&pair->loop, UV_RUN_DEFAULT);
    assert_true(pair->listener_done);
    pair->listener = NULL;

    snprintf(path, sizeof(path), "%s/s", pair->dir);
    snprintf(url, sizeof(url), "ipc://%s", path);
    pair_listen(pair, url, NULL);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0660);
    /* A second daemon by mistake: refused, and the first still serves. */
    assert_int_equal(conn_listener_new(&pair->loop, url, &params, NULL, &second, error),
                     TANDEM_EIO);
    pair_dial(pair, url, NULL, &side);
    assert_true(pair_run(pair, both_open, &side));
    pair_free(pair, &side, 1);
}

static void test_stale_socket_is_taken_over(void **state)
{
    struct pair *pair = pair_new();
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    char url[160];
    struct side side;

    (void)state;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", pair->dir);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd); /* as a daemon that was killed leaves it */
    snprintf(url, sizeof(url), "ipc://%s", address.sun_path);
    pair_listen(pair, url, NULL);
    pair_dial(pair, url, NULL, &side);
    assert_true(pair_run(pair, both_open, &side));
    pair_free(pair, &side, 1);
}

static bool none_left(void *user)
{
    struct pair *pair = user;

    for (size_t i = 0; i < SIDES_MAX; i++) {
        if (pair->accepted[i].conn) {
            return false;
        }
    }
    return true;
}

static void test_too_many_connections(void **state)
{
    struct pair *pair = pair_new();
    struct side sides[CONNECTIONS_MAX + 4];
    unsigned open = 0;

    (void)state;
    pair_listen(pair, "tcp://127.0.0.1:0", NULL);
    for (unsigned i = 0; i < CONNECTIONS_MAX + 4; i++) {
        pair_dial(pair, conn_listener_url(pair->listener), NULL, &sides[i]);
    }
    for (unsigned i = 0; i < 2000; i++) { /* until the four over it have heard of it */
        open = 0;
        for (unsigned k = 0; k < CONNECTIONS_MAX + 4; k++) {
            open += !sides[k].closed;
        }
        if (open <= CONNECTIONS_MAX) {
            break;
        }
        pair_run_for(pair, NULL, NULL, 10 * NS_PER_MS);
    }
    pair_run_for(pair, NULL, NULL, 50 * NS_PER_MS);
    open = 0;
    for (unsigned i = 0; i < CONNECTIONS_MAX + 4; i++) {
        open += !sides[i].closed;
    }
    assert_int_equal(open, CONNECTIONS_MAX);
    assert_int_equal(pair->accepted_count, CONNECTIONS_MAX);
    for (unsigned i = 0; i < CONNECTIONS_MAX + 4; i++) {
        if (sides[i].conn) {
            conn_close(sides[i].conn, false);
        }
    }
    assert_true(pair_run(pair, none_left, pair)); /* and then there is room again */
    pair_dial(pair, conn_listener_url(pair->listener), NULL, &sides[0]);
    assert_true(pair_run(pair, both_open, &sides[0]));
    pair_free(pair, sides, CONNECTIONS_MAX + 4);
}

static void test_refused_connection(void **state)
{
    struct pair *pair = pair_new();
    struct side side;

    (void)state;
    pair->refuse = true;
    pair_listen(pair, "tcp://127.0.0.1:0", NULL);
    pair_dial(pair, conn_listener_url(pair->listener), NULL, &side);
    assert_true(pair_run(pair, side_is_closed, &side));
    assert_int_equal(pair->accepted_count, 0);
    pair_free(pair, &side, 1);
}

static void test_default_times(void **state)
{
    struct pair *pair = pair_new();
    struct side side;

    (void)state;
    pair_dial(pair, "tcp://127.0.0.1:1", NULL, &side);
    assert_int_equal(side.conn->params.heartbeat_ns, LIMIT_HEARTBEAT_MS * NS_PER_MS);
    assert_int_equal(side.conn->params.idle_ns, LIMIT_IDLE_MS * NS_PER_MS);
    assert_int_equal(side.conn->params.connect_ns, LIMIT_HELLO_MS * NS_PER_MS);
    assert_true(LIMIT_IDLE_MS >
                2 * LIMIT_HEARTBEAT_MS); /* one lost heartbeat is no reason to close */
    pair_free(pair, &side, 1);
}

static void test_url_is_local(void **state)
{
    (void)state;
    assert_true(conn_url_is_local("ipc:///run/x"));
    assert_true(conn_url_is_local("tcp://127.0.0.1:1"));
    assert_true(conn_url_is_local("tcp://127.8.9.10:1"));
    assert_true(conn_url_is_local("tcp://[::1]:1"));
    assert_true(conn_url_is_local("tcp://localhost:1"));
    assert_false(conn_url_is_local("tcp://localhost.example.org:1"));
    assert_false(conn_url_is_local("tcp://0.0.0.0:1"));
    assert_false(conn_url_is_local("tcp://*:1"));
    assert_false(conn_url_is_local("tcp://[::]:1"));
    assert_false(conn_url_is_local("tcp://10.0.0.1:1"));
    assert_false(conn_url_is_local("tcp://127.0.0.1"));
    assert_false(conn_url_is_local("127.0.0.1:1"));
    assert_false(conn_url_is_local("tcp://127.0.0.1.example.org:1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo_tcp),
        cmocka_unit_test(test_echo_ipv6),
        cmocka_unit_test(test_echo_by_name),
        cmocka_unit_test(test_echo_ipc),
        cmocka_unit_test(test_big_payload_both_ways),
        cmocka_unit_test(test_payload_limits),
        cmocka_unit_test(test_payloads_take_turns),
        cmocka_unit_test(test_control_overtakes_payload),
        cmocka_unit_test(test_cancel_stops_an_upload),
        cmocka_unit_test(test_many_control_frames_and_payload),
        cmocka_unit_test(test_credits_bound_an_upload),
        cmocka_unit_test(test_heartbeat),
        cmocka_unit_test(test_probe),
        cmocka_unit_test(test_peer_vanishes),
        cmocka_unit_test(test_close_flushes),
        cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test(test_close_while_dialing),
        cmocka_unit_test(test_listen_errors),
        cmocka_unit_test(test_stale_socket_is_taken_over),
        cmocka_unit_test(test_too_many_connections),
        cmocka_unit_test(test_refused_connection),
        cmocka_unit_test(test_default_times),
        cmocka_unit_test(test_url_is_local),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
