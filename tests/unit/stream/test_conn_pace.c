/* The pace of a connection: nothing leaves that its owner has not allowed, TLS counted in, what
 * waits goes on when it may, and a cancel still finds it. */
#include "tests/unit/stream/pair.h"

#define PAYLOAD_BYTES  (200u << 10)
#define STEP_BYTES     9000
#define STEP_TLS_BYTES 1100 /* so little that a record more would be seen */

/* How much was allowed and how much left, since the connection was open. */
static struct {
    uint64_t allowed, payload_allowed, left, received;
    uint64_t step; /* allowed more at every question that comes too early */
    unsigned over; /* times that more left than was allowed */
    bool open;
} pace;
static char certs[64];

static uint64_t on_may_send(struct conn *conn, bool payload, uint64_t wanted, int64_t *ret_again_ns,
                            void *user)
{
    const uint64_t most = payload ? pace.payload_allowed : pace.allowed;

    (void)conn;
    (void)user;
    if (!pace.open) {
        return wanted;
    }
    if (pace.step > 0 && most < pace.left + wanted) {
        pace.allowed += pace.step;
        pace.payload_allowed = pace.allowed;
        *ret_again_ns = clock_now_ns() + NS_PER_MS;
    }
    return most > pace.left ? most - pace.left : 0;
}

static void on_moved(struct conn *conn, uint64_t sent, uint64_t received, void *user)
{
    (void)conn;
    (void)user;
    if (pace.open) {
        pace.left += sent;
        pace.received += received;
        pace.over += pace.left > pace.allowed;
    }
}

static struct conn_tls *tls_of(const char *name)
{
    char cert[160], key[160], ca[160], error[CONN_ERROR_BYTES] = "";
    struct conn_tls *tls = NULL;

    snprintf(cert, sizeof(cert), "%s/%s.pem", certs, name);
    snprintf(key, sizeof(key), "%s/%s.key", certs, name);
    snprintf(ca, sizeof(ca), "%s/ca.pem", certs);
    if (conn_tls_load(cert, key, ca, &tls, error) != 0) {
        fail_msg("%s", error);
    }
    return tls;
}

static struct pair *start(struct side *side, bool with_tls)
{
    struct pair *pair = pair_new();
    struct conn_tls *server = with_tls ? tls_of("edge-1") : NULL,
                    *client = with_tls ? tls_of("robot-7") : NULL;

    memset(&pace, 0, sizeof(pace));
    pair_listen(pair, "tcp://127.0.0.1:0", server);
    pair->params.callbacks.may_send = on_may_send;
    pair->params.callbacks.on_moved = on_moved;
    pair_dial(pair, conn_listener_url(pair->listener), client, side);
    conn_tls_unref(server);
    conn_tls_unref(client);
    assert_true(pair_run(pair, both_open, side));
    pace.open = true;
    return pair;
}

static bool is_there(void *user)
{
    return ((struct pair *)user)->accepted[0].data_last[1];
}

static bool acknowledged(void *user)
{
    return ((struct side *)user)->acked_bytes == PAYLOAD_BYTES && pace.received > 0;
}

/* Step by step, all of it comes, and at no step has more left than was allowed. */
static void upload(bool with_tls)
{
    struct side side;
    struct pair *pair = start(&side, with_tls);
    uint8_t *data = pattern_new(PAYLOAD_BYTES, 1);
    const uint64_t sum = checksum(0, data, PAYLOAD_BYTES);

    pace.step = with_tls ? STEP_TLS_BYTES : STEP_BYTES;
    assert_int_equal(conn_send(side.conn, FRAME_REQUEST, 0, 1, "head", 4), 0);
    assert_int_equal(conn_send_payload(side.conn, 1, data, PAYLOAD_BYTES), 0);
    assert_int_equal(conn_queued_bytes(side.conn), PAYLOAD_BYTES + FRAME_PREFIX_BYTES + 4);
    assert_true(pair_run(pair, is_there, pair));
    assert_int_equal(pair->accepted[0].data_bytes[1], PAYLOAD_BYTES);
    assert_true(pair->accepted[0].data_sum[1] == sum);
    assert_int_equal(conn_queued_bytes(side.conn), 0);
    assert_int_equal(pace.over, 0);
    assert_true(pace.left > PAYLOAD_BYTES && pace.left < PAYLOAD_BYTES + (with_tls ? 40000 : 4000));
    assert_true(pair_run(pair, acknowledged, &side)); /* and what comes is counted */
    pair_free(pair, &side, 1);
}

static void test_upload(void **state)
{
    (void)state;
    upload(false);
}

static void test_upload_tls(void **state)
{
    (void)state;
    upload(true);
}

static bool has_two_frames(void *user)
{
    return ((struct pair *)user)->accepted[0].frames >= 2;
}

/* While payload may not leave, the rest does; and then a cancel finds all of it still here. */
static void test_payload_waits(void **state)
{
    struct side side;
    struct pair *pair = start(&side, false);

    (void)state;
    pace.allowed = 4000;
    pace.payload_allowed = 0;
    assert_int_equal(conn_send(side.conn, FRAME_REQUEST, 0, 1, "head", 4), 0);
    assert_int_equal(conn_send_payload(side.conn, 1, pattern_new(PAYLOAD_BYTES, 1), PAYLOAD_BYTES),
                     0);
    assert_int_equal(conn_send(side.conn, FRAME_GOODBYE, 0, 0, NULL, 0), 0);
    pace.payload_allowed = 0;
    pace.left = 0;
    assert_true(pair_run(pair, has_two_frames, pair));
    assert_int_equal(pace.left, 2 * FRAME_PREFIX_BYTES + 4);
    assert_int_equal(conn_queued_bytes(side.conn), PAYLOAD_BYTES);
    conn_cancel(side.conn, 1);
    assert_int_equal(conn_queued_bytes(side.conn), FRAME_PREFIX_BYTES);
    pair_run_for(pair, NULL, NULL, 30 * NS_PER_MS);
    assert_int_equal(pair->accepted[0].data_bytes[1], 0);
    assert_int_equal(pace.left, 3 * FRAME_PREFIX_BYTES + 4);
    pair_free(pair, &side, 1);
}

static bool has_one_frame(void *user)
{
    return ((struct pair *)user)->accepted[0].frames >= 1;
}

/* A frame that is larger than what may leave goes in parts, and nothing comes between them. */
static void test_frame_in_parts(void **state)
{
    static const char header[20000];
    struct side side;
    struct pair *pair = start(&side, false);

    (void)state;
    pace.step = 700;
    assert_int_equal(conn_send(side.conn, FRAME_REQUEST, 0, 1, header, sizeof(header)), 0);
    assert_int_equal(conn_send_payload(side.conn, 1, pattern_new(100, 1), 100), 0);
    assert_true(pair_run(pair, is_there, pair));
    assert_true(has_one_frame(pair) && pair->accepted[0].kinds[0] == FRAME_REQUEST);
    assert_int_equal(pace.over, 0);
    assert_int_equal(pace.left, sizeof(header) + 100 + 2 * FRAME_PREFIX_BYTES);
    pair_free(pair, &side, 1);
}

static bool has_pong(void *user)
{
    return ((struct side *)user)->pongs > 0;
}

/* A ping that may not leave is not a debt of the peer, asks once, and is timed from its leaving. */
static void test_held_ping(void **state)
{
    struct side side;
    struct pair *pair = start(&side, false);
    uint64_t queued;

    (void)state;
    conn_ping(side.conn);
    pair_run_for(pair, NULL, NULL, 60 * NS_PER_MS);
    queued = conn_queued_bytes(side.conn);
    assert_true(queued > 0);
    assert_int_equal(conn_owed_ns(side.conn, clock_now_ns()), 0);
    conn_ping(side.conn);
    assert_int_equal(conn_queued_bytes(side.conn), queued);
    pace.allowed = 1000;
    assert_int_equal(conn_send(side.conn, FRAME_GOODBYE, 0, 0, NULL, 0), 0);
    assert_true(pair_run(pair, has_pong, &side));
    assert_true(side.rtt_ns < 60 * NS_PER_MS);
    assert_int_equal(conn_owed_ns(side.conn, clock_now_ns()), 0);
    pair_free(pair, &side, 1);
}

static int make_certs(void **state)
{
    char command[512];

    (void)state;
    snprintf(certs, sizeof(certs), "/tmp/tandem-pace-XXXXXX");
    assert_non_null(mkdtemp(certs));
    snprintf(command, sizeof(command),
             "{ deploy/certs.sh %s ca; deploy/certs.sh %s server edge-1 127.0.0.1; "
             "deploy/certs.sh %s client robot-7; } >/dev/null",
             certs, certs, certs);
    return system(command);
}

static int remove_certs(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -r %s", certs);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_upload),        cmocka_unit_test(test_upload_tls),
        cmocka_unit_test(test_payload_waits), cmocka_unit_test(test_frame_in_parts),
        cmocka_unit_test(test_held_ping),
    };

    return cmocka_run_group_tests(tests, make_certs, remove_certs);
}
