/* conn against peers that do not keep to the protocol, or to nothing at all. They speak with raw
 * sockets. */
#include "tests/unit/stream/pair.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#define DROPPED 1000
#define DROPPING_NS                                                                                \
    (90 * NS_PER_S) /* a full backlog makes a connect wait for seconds, more than once */

/* These two do not assert: a thread of a test's own calls them, and an assertion that fails there
 * would leave the test from the wrong stack. -1 and errno. */
static int dial_tcp(const struct pair *pair)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_port = htons((uint16_t)atoi(strrchr(conn_listener_url(pair->listener), ':') + 1));
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int dial_ipc(const struct pair *pair)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", pair->dir);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int raw_tcp(const struct pair *pair)
{
    const int fd = dial_tcp(pair);

    assert_true(fd >= 0);
    return fd;
}

static struct side *newest(struct pair *pair)
{
    return &pair->accepted[(pair->accepted_count - 1) % SIDES_MAX];
}

static bool one_opened(void *user)
{
    struct pair *pair = user;

    return pair->accepted_count > 0 && newest(pair)->opened;
}

static bool newest_closed(void *user)
{
    struct pair *pair = user;

    return pair->accepted_count > 0 && newest(pair)->closed;
}

static bool echo_or_end(void *user)
{
    const struct side *side = user;

    return side->frames > 0 || side->closed;
}

/* It gets an answer. While the listener still has all the connections it may have, some of which it
 * has not yet seen go, a new one is turned away: then it is tried again. */
static void good_one_works(struct pair *pair)
{
    const int64_t end_ns = clock_now_ns() + PATIENCE_NS;
    const bool echo = pair->echo;
    struct side side = {0};

    pair->echo = true;
    while (side.frames == 0 && clock_now_ns() < end_ns) {
        pair_dial(pair, conn_listener_url(pair->listener), NULL, &side);
        assert_int_equal(conn_send(side.conn, FRAME_REQUEST, 0, 1, "x", 1), 0);
        assert_true(pair_run(pair, echo_or_end, &side));
        if (side.conn) {
            conn_close(side.conn, false);
        }
        assert_true(pair_run(pair, side_is_closed, &side));
    }
    pair->echo = echo;
    assert_true(side.frames > 0);
}

/* Connect, FIN, RST before anyone accepts: what stops a listener of the socket layer. */
static void drop_hard(int fd)
{
    const struct linger linger = {.l_onoff = 1, .l_linger = 0};

    (void)shutdown(fd, SHUT_WR);
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(fd);
}

static bool accepted_are_gone(void *user)
{
    struct pair *pair = user;

    for (size_t i = 0; i < SIDES_MAX; i++) {
        if (pair->accepted[i].conn) {
            return false;
        }
    }
    return true;
}

struct dropper {
    const struct pair *pair;
    int (*dial)(const struct pair *pair);
    atomic_bool done, stop;
    int error; /* errno of the connection that could not be made, after which there was no other */
};

/* A thread of its own: the loop goes on accepting meanwhile. */
static void *drop_many(void *user)
{
    struct dropper *dropper = user;

    for (int i = 0; i < DROPPED && !atomic_load(&dropper->stop); i++) {
        const int fd = dropper->dial(dropper->pair);

        if (fd < 0) {
            dropper->error = errno;
            break;
        }
        if (i % 2) {
            drop_hard(fd);
        } else {
            close(fd);
        }
    }
    atomic_store(&dropper->done, true);
    return NULL;
}

static bool dropper_is_done(void *user)
{
    return atomic_load(&((struct dropper *)user)->done);
}

static void dropped_by(struct pair *pair, int (*dial)(const struct pair *pair))
{
    struct dropper *dropper = calloc(1, sizeof(*dropper));
    pthread_t thread;
    bool done;

    assert_non_null(dropper);
    dropper->pair = pair;
    dropper->dial = dial;
    pair->refuse = false;
    assert_int_equal(pthread_create(&thread, NULL, drop_many, dropper), 0);
    done = pair_run_for(pair, dropper_is_done, dropper, DROPPING_NS);
    atomic_store(&dropper->stop, true);
    /* Accepting is what lets the connect that it waits in end. */
    if (!done && !pair_run_for(pair, dropper_is_done, dropper, PATIENCE_NS)) {
        pthread_detach(thread);
        fail_msg("a connect never ended"); /* `dropper` and `pair` stay: the thread uses them */
    }
    pthread_join(thread, NULL); /* before anything else may fail */
    assert_true(done);
    assert_int_equal(dropper->error, 0);
    free(dropper);
    assert_true(pair_run(pair, accepted_are_gone, pair));
    good_one_works(pair);
}

static void test_a_thousand_dropped_tcp(void **state)
{
    struct pair *pair = pair_new();

    (void)state;
    pair_listen(pair, "tcp://127.0.0.1:0", NULL);
    dropped_by(pair, dial_tcp);
    pair_free(pair, NULL, 0);
}

static void test_a_thousand_dropped_ipc(void **state)
{
    struct pair *pair = pair_new();
    char url[160];

    (void)state;
    snprintf(url, sizeof(url), "ipc://%s/s", pair->dir);
    pair_listen(pair, url, NULL);
    dropped_by(pair, dial_ipc);
    pair_free(pair, NULL, 0);
}

/* Descriptors run out while connections wait: none is accepted, nothing spins, and when there are
 * some again it goes on. */
static void test_no_descriptors_left(void **state)
{
    struct pair *pair = pair_new();
    struct rlimit limit;
    struct rlimit tight;
    clock_t used;
    int highest;
    int fd;

    (void)state;
    pair_listen(pair, "tcp://127.0.0.1:0", NULL);
    good_one_works(pair);
    fd = raw_tcp(pair);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    highest = dup(0);
    close(highest);
    tight = limit;
    tight.rlim_cur = (rlim_t)highest;
    pair->accepted_count = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    used = clock();
    pair_run_for(pair, NULL, NULL, 300 * NS_PER_MS);
    used = clock() - used;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    if (pair->accepted_count == 0) { /* else it was accepted before the limit came down */
        assert_true(used < CLOCKS_PER_SEC / 5);
        assert_true(pair_run(pair, one_opened, pair));
    }
    close(fd);
    good_one_works(pair);
    pair_free(pair, NULL, 0);
}

static void frame_of(struct buf *out, unsigned kind, unsigned flags, uint64_t id,
                     const void *header, size_t header_bytes, const void *payload,
                     size_t payload_bytes)
{
    uint8_t prefix[FRAME_PREFIX_BYTES];
    const struct frame frame = {.kind = (uint8_t)kind,
                                .flags = (uint16_t)flags,
                                .request_id = id,
                                .header_bytes = (uint32_t)header_bytes,
                                .payload_bytes = (uint32_t)payload_bytes};

    frame_prefix_store(&frame, prefix);
    assert_int_equal(buf_append(out, prefix, sizeof(prefix)), 0);
    assert_int_equal(buf_append(out, header, header_bytes), 0);
    assert_int_equal(buf_append(out, payload, payload_bytes), 0);
}

/* Everything the listener sends until it closes. */
static size_t read_all(struct pair *pair, int fd, uint8_t *data, size_t most)
{
    size_t bytes = 0;
    const int64_t end_ns = clock_now_ns() + PATIENCE_NS;

    fcntl(fd, F_SETFL, O_NONBLOCK);
    while (clock_now_ns() < end_ns && bytes < most) {
        const ssize_t got = recv(fd, data + bytes, most - bytes, 0);

        if (got == 0 || (got < 0 && errno != EAGAIN)) {
            return bytes;
        }
        bytes += got > 0 ? (size_t)got : 0;
        pair_run_for(pair, NULL, NULL, 5 * NS_PER_MS);
    }
    fail_msg("the connection was not closed");
    return 0;
}

/* Sends the bytes; the listener must answer with ERROR EPROTO whose text has `word`, close, and go
 * on serving. */
static void refused(const struct buf *bytes, const char *word)
{
    struct pair *pair = pair_new();
    uint8_t answer[4096];
    struct edge_error error;
    struct frame frame = {0};
    size_t used;
    size_t got;
    int fd;

    pair->keep_data = true;
    pair_listen(pair, "tcp://127.0.0.1:0", NULL);
    fd = raw_tcp(pair);
    assert_true(pair_run(pair, one_opened, pair));
    assert_int_equal(send(fd, bytes->data, bytes->bytes, MSG_NOSIGNAL), bytes->bytes);
    got = read_all(pair, fd, answer, sizeof(answer));
    assert_true(pair_run(pair, newest_closed, pair));
    assert_int_equal(newest(pair)->error, TANDEM_EPROTO);
    assert_non_null(strstr(newest(pair)->why, word));
    assert_int_equal(frame_decode(answer, got, &frame, &used), 0);
    assert_int_equal(frame.kind, FRAME_ERROR);
    assert_int_equal(frame.request_id, 0);
    assert_int_equal(edge_error_unpack(frame.header, frame.header_bytes, &error), 0);
    assert_int_equal(error.code, TANDEM_EPROTO);
    assert_non_null(strstr(error.text, word));
    close(fd);
    good_one_works(pair);
    pair_free(pair, NULL, 0);
}

static void test_garbage(void **state)
{
    struct buf bytes = {0};

    (void)state;
    assert_int_equal(buf_append_text(&bytes, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"), 0);
    refused(&bytes, "not a frame");
    buf_clear(&bytes);
    frame_of(&bytes, FRAME_PING, 0, 0, NULL, 0, NULL, 0);
    bytes.data[4] = 9; /* frame version */
    refused(&bytes, "not a frame");
    buf_clear(&bytes);
    frame_of(&bytes, FRAME_REQUEST, 0, 1, NULL, 0, NULL, 0);
    le32_store(bytes.data + 8, LIMIT_FRAME_HEADER_BYTES + 1);
    refused(&bytes, "not a frame");
    buf_clear(&bytes);
    frame_of(&bytes, FRAME_DATA, 0, 1, NULL, 0, NULL, 0);
    le32_store(bytes.data + 12, UINT32_MAX);
    refused(&bytes, "not a frame");
    buf_clear(&bytes);
    frame_of(&bytes, FRAME_PING, 0, 0, "\xff\xff", 2, NULL, 0);
    refused(&bytes, "PING");
    buf_clear(&bytes);
    frame_of(&bytes, FRAME_PONG, 0, 0, "\xff\xff", 2, NULL, 0);
    refused(&bytes, "PONG");
    buf_fini(&bytes);
}

static void test_unknown_kinds(void **state)
{
    struct buf bytes = {0};

    (void)state;
    frame_of(&bytes, 200, 0, 5, "abc", 3, "defg", 4); /* skipped */
    frame_of(&bytes, 201, FRAME_FLAG_MANDATORY, 5, "abc", 3, NULL, 0);
    refused(&bytes, "201");
    buf_fini(&bytes);
}

static void test_flow_rules(void **state)
{
    static const uint8_t data[LIMIT_FRAME_DATA_BYTES];
    struct buf bytes = {0};
    struct buf header = {0};

    (void)state;
    frame_of(&bytes, FRAME_DATA, 0, 8, NULL, 0, data, 10); /* of no request: dropped */
    frame_of(&bytes, FRAME_REQUEST, 0, 1, NULL, 0, NULL, 0);
    frame_of(&bytes, FRAME_REQUEST, 0, 1, NULL, 0, NULL, 0);
    refused(&bytes, "in use");
    buf_clear(&bytes);
    frame_of(&bytes, FRAME_REQUEST, 0, 1, NULL, 0, NULL, 0);
    for (unsigned i = 0; i < LIMIT_CREDIT_BYTES / LIMIT_FRAME_DATA_BYTES; i++) {
        frame_of(&bytes, FRAME_DATA, 0, 1, NULL, 0, data, sizeof(data));
    }
    frame_of(&bytes, FRAME_DATA, 0, 1, NULL, 0, data, 1);
    refused(&bytes, "more payload");
    buf_clear(&bytes);
    frame_of(&bytes, FRAME_REQUEST, 0, 1, NULL, 0, NULL, 0);
    frame_of(&bytes, FRAME_DATA, FRAME_FLAG_LAST, 1, NULL, 0, data, 1);
    frame_of(&bytes, FRAME_DATA, 0, 1, NULL, 0, data, 1);
    refused(&bytes, "more payload");
    buf_clear(&bytes);
    frame_of(&bytes, FRAME_REQUEST, 0, 1, NULL, 0, NULL, 0);
    assert_int_equal(edge_data_ack_pack(100, &header), 0);
    frame_of(&bytes, FRAME_DATA_ACK, 0, 1, header.data, header.bytes, NULL, 0);
    refused(&bytes, "never sent");
    buf_clear(&bytes);
    for (uint64_t id = 1; id <= LIMIT_FLOWS + 1; id++) {
        frame_of(&bytes, FRAME_REQUEST, 0, id, NULL, 0, NULL, 0);
    }
    refused(&bytes, "at once");
    buf_fini(&bytes);
    buf_fini(&header);
}

/* Our last words are given time, but not for ever, to a peer that neither reads nor goes. */
static void test_lingering_ends(void **state)
{
    struct pair *pair = pair_new();
    int64_t started_ns;
    int fd;

    (void)state;
    pair_listen(pair, "tcp://127.0.0.1:0", NULL);
    fd = raw_tcp(pair);
    assert_true(pair_run(pair, one_opened, pair));
    assert_int_equal(send(fd, "garbage", 7, MSG_NOSIGNAL), 7);
    started_ns = clock_now_ns();
    assert_true(pair_run(pair, newest_closed, pair));
    assert_true(clock_now_ns() - started_ns >= (LIMIT_LINGER_MS - 5) * NS_PER_MS);
    close(fd);
    pair_free(pair, NULL, 0);
}

static bool four_frames(void *user)
{
    return newest(user)->frames >= 4;
}

static bool twelve_frames(void *user)
{
    return newest(user)->frames >= 12;
}

/* A frame that arrives byte by byte, and many in one piece. */
static void test_any_fragmentation(void **state)
{
    struct pair *pair = pair_new();
    struct buf bytes = {0};
    int fd;

    (void)state;
    pair_listen(pair, "tcp://127.0.0.1:0", NULL);
    fd = raw_tcp(pair);
    assert_true(pair_run(pair, one_opened, pair));
    frame_of(&bytes, FRAME_REQUEST, 0, 1, "header", 6, NULL, 0);
    frame_of(&bytes, FRAME_DATA, 0, 1, NULL, 0, "payload", 7);
    frame_of(&bytes, FRAME_DATA, FRAME_FLAG_LAST, 1, NULL, 0, NULL, 0);
    frame_of(&bytes, FRAME_CANCEL, 0, 1, NULL, 0, NULL, 0);
    for (size_t i = 0; i < bytes.bytes; i++) {
        assert_int_equal(send(fd, bytes.data + i, 1, MSG_NOSIGNAL), 1);
        pair_run_for(pair, NULL, NULL, NS_PER_MS / 2);
    }
    assert_true(pair_run(pair, four_frames, pair));
    assert_int_equal(newest(pair)->frames, 4);
    assert_int_equal(newest(pair)->data_bytes[1], 7);
    assert_true(newest(pair)->data_last[1]);
    assert_int_equal(send(fd, bytes.data, bytes.bytes, MSG_NOSIGNAL), bytes.bytes);
    assert_int_equal(send(fd, bytes.data, bytes.bytes, MSG_NOSIGNAL), bytes.bytes);
    assert_true(pair_run(pair, twelve_frames, pair));
    assert_int_equal(newest(pair)->frames, 12);
    close(fd);
    assert_true(pair_run(pair, newest_closed, pair));
    assert_int_equal(newest(pair)->error, TANDEM_EGONE);
    buf_fini(&bytes);
    pair_free(pair, NULL, 0);
}

static void test_silent_peers(void **state)
{
    struct pair *pair = pair_new();
    struct buf bytes = {0};
    int fd;

    (void)state;
    pair->params.heartbeat_ns = 50 * NS_PER_MS;
    pair->params.idle_ns = 800 * NS_PER_MS;
    pair->params.connect_ns = 400 * NS_PER_MS;
    pair_listen(pair, "tcp://127.0.0.1:0", NULL);
    fd = raw_tcp(pair); /* never says anything */
    assert_true(pair_run(pair, newest_closed, pair));
    assert_int_equal(newest(pair)->error, TANDEM_ETIMEDOUT);
    assert_non_null(strstr(newest(pair)->why, "hello"));
    close(fd);
    fd = raw_tcp(pair); /* says hello and nothing more, not even to a PING */
    frame_of(&bytes, FRAME_GOODBYE, 0, 0, NULL, 0, NULL, 0);
    assert_int_equal(send(fd, bytes.data, bytes.bytes, MSG_NOSIGNAL), bytes.bytes);
    pair->accepted_count = 0;
    memset(pair->accepted, 0, sizeof(pair->accepted));
    assert_true(pair_run(pair, newest_closed, pair));
    assert_int_equal(newest(pair)->error, TANDEM_ETIMEDOUT);
    assert_non_null(strstr(newest(pair)->why, "nothing heard"));
    close(fd);
    buf_fini(&bytes);
    pair_free(pair, NULL, 0);
}

/* A peer that keeps talking but never reads: closed when the queue is full, and before that when
 * nothing moves. */
static void test_slow_reader(void **state)
{
    static const uint8_t text[60000];
    struct pair *pair = pair_new();
    struct buf bytes = {0};
    uint64_t queued = 0;
    uint64_t sent;
    uint64_t received;
    int result = 0;
    int fd;

    (void)state;
    pair_listen(pair, "tcp://127.0.0.1:0", NULL);
    fd = raw_tcp(pair);
    frame_of(&bytes, FRAME_REQUEST, 0, 1, NULL, 0, NULL, 0);
    assert_int_equal(send(fd, bytes.data, bytes.bytes, MSG_NOSIGNAL), bytes.bytes);
    assert_true(pair_run(pair, one_opened, pair));
    for (int i = 0; i < 10000 && result == 0; i++) {
        conn_bytes(newest(pair)->conn, &sent, &received);
        result = conn_send(newest(pair)->conn, FRAME_TOKENS, 0, 1, text, sizeof(text));
        queued += result == 0 ? FRAME_PREFIX_BYTES + sizeof(text) : 0;
        if (i % 8 == 0) {
            uv_run(&pair->loop, UV_RUN_NOWAIT);
        }
    }
    assert_int_equal(result, TANDEM_EBUSY);
    assert_true(queued - sent <= LIMIT_SEND_QUEUE_BYTES);
    assert_true(queued - sent > LIMIT_SEND_QUEUE_BYTES - 2 * sizeof(text));
    assert_true(pair_run(pair, newest_closed, pair));
    assert_int_equal(newest(pair)->error, TANDEM_ETIMEDOUT);
    assert_non_null(strstr(newest(pair)->why, "slowly"));
    close(fd);
    buf_fini(&bytes);
    pair_free(pair, NULL, 0);
}

static void test_reader_that_stopped(void **state)
{
    static const uint8_t text[60000];
    struct pair *pair = pair_new();
    struct buf bytes = {0};
    const int small = 4096;
    int fd;

    (void)state;
    pair->params.idle_ns = NS_PER_S;
    pair_listen(pair, "tcp://127.0.0.1:0", NULL);
    fd = raw_tcp(pair);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    frame_of(&bytes, FRAME_REQUEST, 0, 1, NULL, 0, NULL, 0);
    assert_int_equal(send(fd, bytes.data, bytes.bytes, MSG_NOSIGNAL), bytes.bytes);
    assert_true(pair_run(pair, one_opened, pair));
    for (int i = 0; i < 130; i++) { /* under the queue's limit, over what the kernel takes */
        assert_int_equal(conn_send(newest(pair)->conn, FRAME_TOKENS, 0, 1, text, sizeof(text)), 0);
    }
    for (int i = 0; i < 1000 && !newest(pair)->closed; i++) {
        buf_clear(&bytes);
        frame_of(&bytes, 99, 0, 0, NULL, 0, NULL, 0); /* it is alive */
        (void)!send(fd, bytes.data, bytes.bytes, MSG_NOSIGNAL);
        pair_run_for(pair, NULL, NULL, 10 * NS_PER_MS);
    }
    assert_true(newest(pair)->closed);
    assert_int_equal(newest(pair)->error, TANDEM_ETIMEDOUT);
    assert_non_null(strstr(newest(pair)->why, "read"));
    close(fd);
    buf_fini(&bytes);
    pair_free(pair, NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_thousand_dropped_tcp),
        cmocka_unit_test(test_a_thousand_dropped_ipc),
        cmocka_unit_test(test_no_descriptors_left),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_unknown_kinds),
        cmocka_unit_test(test_flow_rules),
        cmocka_unit_test(test_lingering_ends),
        cmocka_unit_test(test_any_fragmentation),
        cmocka_unit_test(test_silent_peers),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_reader_that_stopped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
