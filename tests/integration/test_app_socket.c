/* test_app_socket.c: the socket of applications, spoken to by hand: wrong words, hostile
 * descriptors, crowds. The daemon stays, keeps no descriptor that it was handed, and a good
 * application is served all the time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "tests/support/raw_app.h"
#include "tests/support/site.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define SEALS       (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW)
#define HALF_BYTES  (200u << 10) /* of an input that never becomes whole */
#define CONNECTIONS 1000
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEMORY_MAY_GROW_KB (512 << 10) /* freed memory is kept aside; leaks are told at the end */
#else
#define MEMORY_MAY_GROW_KB 16384
#endif

static struct site site;
static struct tandem *good;   /* an application that behaves */
static struct raw_app silent; /* never says hello */
static uint8_t *picture;
static size_t picture_bytes;

static int setup(void **state)
{
    (void)state;
    site_init(&site, NULL);
    site_client_start(&site);
    picture = site_file(SITE_PICTURE, &picture_bytes);
    raw_open(&silent, site.app_socket);
    return tandem_open(site.app_socket, &good);
}

static int teardown(void **state)
{
    (void)state;
    raw_close(&silent);
    tandem_close(good);
    free(picture);
    assert_int_equal(site_client_stop(&site, SIGTERM), 0);
    site_fini(&site);
    return 0;
}

static void assert_good_is_served(void)
{
    struct tandem_answer *answer = NULL;

    assert_int_equal(site_classify(good, SITE_PICTURE, "local", 0, &answer), 0);
    tandem_answer_free(answer);
}

static struct local_submit submit_of(bool memfd, size_t bytes)
{
    return (struct local_submit){.task = "objects",
                                 .payload_bytes = bytes,
                                 .memfd = memfd,
                                 .has_picture = true,
                                 .route = "local"};
}

static int picture_ask(struct raw_app *app, uint64_t id)
{
    const struct local_submit submit = submit_of(false, picture_bytes);

    if (!raw_submit(app, id, &submit, NULL, 0) || !raw_data(app, id, picture, picture_bytes)) {
        return 1;
    }
    return raw_end(app, id);
}

/* ---- words ---- */

static void test_by_hand(void **state)
{
    struct raw_app app;

    (void)state;
    raw_ready(&app, site.app_socket);
    assert_int_equal(picture_ask(&app, 1), 0);
    assert_int_equal(picture_ask(&app, 2), 0);
    raw_close(&app);
}

static void test_newer_protocol(void **state)
{
    struct raw_app app;
    char text[256];

    (void)state;
    raw_open(&app, site.app_socket);
    raw_hello(&app, WIRE_VERSION_HIGH + 6, WIRE_VERSION_HIGH + 8);
    assert_int_equal(raw_thrown_out(&app, text), TANDEM_EPROTO);
    assert_non_null(strstr(text, "version"));
    assert_non_null(strstr(text, "7 to 9")); /* theirs */
    assert_non_null(strstr(text, "1 to 1")); /* ours */
    raw_close(&app);
    raw_open(&app, site.app_socket); /* one that speaks ours too is welcome */
    raw_hello(&app, WIRE_VERSION_LOW, WIRE_VERSION_HIGH + 8);
    assert_int_equal(picture_ask(&app, 1), 0);
    raw_close(&app);
}

static void test_request_before_hello(void **state)
{
    struct raw_app app;
    char text[256];

    (void)state;
    raw_open(&app, site.app_socket);
    (void)picture_ask(&app, 1);
    raw_close(&app);
    raw_open(&app, site.app_socket);
    (void)raw_frame(&app, FRAME_CANCEL, 0, 1, NULL, 0);
    assert_int_equal(raw_thrown_out(&app, text), TANDEM_EPROTO);
    assert_non_null(strstr(text, "hello"));
    raw_close(&app);
}

static void test_malformed_hello(void **state)
{
    static const uint8_t rubbish[] = {0x08, 0xff, 0xff, 0xff, 0xff, 0xff,
                                      0xff, 0xff, 0xff, 0xff, 0xff, 0x01};
    struct raw_app app;
    char text[256];

    (void)state;
    raw_open(&app, site.app_socket);
    (void)raw_frame(&app, FRAME_HELLO, 0, 0, rubbish, sizeof(rubbish));
    assert_int_equal(raw_thrown_out(&app, text), TANDEM_EPROTO);
    assert_non_null(strstr(text, "malformed"));
    raw_close(&app);
}

/* A request that cannot be read costs that request. */
static void test_malformed_submit(void **state)
{
    static const uint8_t rubbish[] = {0x0a, 0x7f, 'o', 'b'};
    struct raw_app app;

    (void)state;
    raw_ready(&app, site.app_socket);
    assert_true(raw_frame(&app, FRAME_REQUEST, 0, 1, rubbish, sizeof(rubbish)));
    assert_int_equal(raw_end(&app, 1), TANDEM_EPROTO);
    assert_int_equal(picture_ask(&app, 2), 0);
    raw_close(&app);
}

static void test_not_frames(void **state)
{
    static const char words[] = "GET / HTTP/1.1\r\nHost: camera\r\n\r\n";
    const struct frame big = {
        .kind = FRAME_REQUEST, .request_id = 1, .header_bytes = LIMIT_FRAME_HEADER_BYTES + 1};
    uint8_t prefix[FRAME_PREFIX_BYTES];
    struct raw_app app;

    (void)state;
    raw_open(&app, site.app_socket);
    (void)raw_bytes(&app, words, sizeof(words), NULL, 0);
    (void)raw_thrown_out(&app, NULL);
    raw_close(&app);
    raw_ready(&app, site.app_socket);
    frame_prefix_store(&big, prefix);
    (void)raw_bytes(&app, prefix, sizeof(prefix), NULL, 0);
    (void)raw_thrown_out(&app, NULL);
    raw_close(&app);
    assert_good_is_served();
}

static void test_unknown_kinds(void **state)
{
    struct raw_app app;

    (void)state;
    raw_ready(&app, site.app_socket);
    assert_true(raw_frame(&app, (enum frame_kind)99, 0, 5, "later", 5));
    assert_int_equal(picture_ask(&app, 1), 0);
    (void)raw_frame(&app, (enum frame_kind)99, FRAME_FLAG_MANDATORY, 5, "later", 5);
    assert_int_equal(raw_thrown_out(&app, NULL), TANDEM_EPROTO);
    raw_close(&app);
}

static void test_half_a_frame(void **state)
{
    const struct frame frame = {.kind = FRAME_REQUEST, .request_id = 1, .header_bytes = 1000};
    uint8_t prefix[FRAME_PREFIX_BYTES];
    struct raw_app app;

    (void)state;
    raw_ready(&app, site.app_socket);
    frame_prefix_store(&frame, prefix);
    assert_true(raw_bytes(&app, prefix, sizeof(prefix) / 2, NULL, 0));
    assert_good_is_served();
    assert_true(
        raw_bytes(&app, prefix + sizeof(prefix) / 2, sizeof(prefix) - sizeof(prefix) / 2, NULL, 0));
    assert_good_is_served();
    raw_close(&app);
    assert_good_is_served();
}

/* More DATA than was said, DATA of nobody, and input that is cancelled before it is whole. */
static void test_data_out_of_order(void **state)
{
    const struct local_submit submit = submit_of(false, 100);
    uint8_t bytes[200] = {0};
    struct raw_app app;

    (void)state;
    raw_ready(&app, site.app_socket);
    assert_true(raw_data(&app, 77, bytes, sizeof(bytes)));
    assert_true(raw_submit(&app, 1, &submit, NULL, 0));
    assert_true(raw_data(&app, 1, bytes, sizeof(bytes)));
    assert_int_equal(raw_end(&app, 1), TANDEM_ETOOBIG);
    assert_true(raw_submit(&app, 2, &submit, NULL, 0));
    assert_true(raw_data(&app, 2, bytes, 50));
    assert_true(raw_frame(&app, FRAME_CANCEL, 0, 2, NULL, 0));
    assert_int_equal(raw_end(&app, 2), TANDEM_ECANCELED);
    assert_int_equal(picture_ask(&app, 3), 0);
    raw_close(&app);
}

/* ---- descriptors ---- */

static int memfd_of(const void *data, size_t bytes, int seals)
{
    const int fd = memfd_create("picture", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, bytes), bytes);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

static int memfd_good(void)
{
    return memfd_of(picture, picture_bytes, SEALS);
}

static int memfd_unsealed(void)
{
    return memfd_of(picture, picture_bytes, 0);
}

static int memfd_writable(void)
{
    return memfd_of(picture, picture_bytes, SEALS & ~F_SEAL_WRITE);
}

static int memfd_can_shrink(void)
{
    return memfd_of(picture, picture_bytes, SEALS & ~F_SEAL_SHRINK);
}

static int memfd_short(void)
{
    return memfd_of(picture, picture_bytes - 1, SEALS);
}

static int memfd_empty(void)
{
    return memfd_of(picture, 0, SEALS);
}

static int pipe_end(void)
{
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    (void)close(ends[1]);
    return ends[0];
}

static int dev_zero(void)
{
    return open("/dev/zero", O_RDONLY | O_CLOEXEC);
}

static int folder(void)
{
    return open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int plain_file(void)
{
    return open(SITE_PICTURE, O_RDONLY | O_CLOEXEC);
}

static int unix_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static const struct {
    const char *name;
    int (*open)(void);
    int error;
} descriptors[] = {
    {"a sealed memfd", memfd_good, 0},
    {"no seals", memfd_unsealed, TANDEM_EAUTH},
    {"still writable", memfd_writable, TANDEM_EAUTH},
    {"can shrink", memfd_can_shrink, TANDEM_EAUTH},
    {"shorter than said", memfd_short, TANDEM_ETOOBIG},
    {"empty", memfd_empty, TANDEM_ETOOBIG},
    {"a pipe", pipe_end, TANDEM_EAUTH},
    {"/dev/zero", dev_zero, TANDEM_EAUTH},
    {"a folder", folder, TANDEM_EAUTH},
    {"a file", plain_file, TANDEM_EAUTH},
    {"a socket", unix_socket, TANDEM_EAUTH},
};
#define DESCRIPTORS (sizeof(descriptors) / sizeof(descriptors[0]))

static void fds_settle(size_t wanted)
{
    const int64_t end_ns = clock_now_ns() + (int64_t)SITE_PATIENCE_MS * NS_PER_MS;

    while (site_fds(site.client) > wanted) {
        if (clock_now_ns() > end_ns) {
            fail_msg("the daemon had %zu descriptors and has %zu", wanted, site_fds(site.client));
        }
        site_pause();
    }
}

static void test_descriptors(void **state)
{
    const struct local_submit submit = submit_of(true, picture_bytes);
    const size_t before = site_fds(site.client);
    struct raw_app app;

    (void)state;
    raw_ready(&app, site.app_socket);
    for (size_t i = 0; i < 2 * DESCRIPTORS; i++) {
        const int fd = descriptors[i % DESCRIPTORS].open();
        int result;

        assert_true(fd >= 0);
        assert_true(raw_submit(&app, i + 1, &submit, &fd, 1));
        (void)close(fd);
        result = raw_end(&app, i + 1);
        if (result != descriptors[i % DESCRIPTORS].error) {
            fail_msg("%s: %d", descriptors[i % DESCRIPTORS].name, result);
        }
    }
    assert_true(raw_submit(&app, 100, &submit, NULL, 0)); /* says memfd and brings none */
    assert_int_equal(raw_end(&app, 100), TANDEM_EPROTO);
    raw_close(&app);
    fds_settle(before);
}

/* A descriptor rides on its own request; one that belongs to nothing ends the connection, before
 * another request takes it for its own. */
static void test_stray_descriptor(void **state)
{
    const struct local_submit inline_one = submit_of(false, picture_bytes);
    const size_t before = site_fds(site.client);
    const int fd = dev_zero();
    struct raw_app app;

    (void)state;
    raw_ready(&app, site.app_socket);
    assert_true(raw_submit(&app, 1, &inline_one, &fd, 1));
    (void)raw_data(&app, 1, picture, picture_bytes);
    (void)raw_thrown_out(&app, NULL);
    raw_close(&app);
    (void)close(fd);
    fds_settle(before);
    assert_good_is_served();
}

static void test_too_many_descriptors(void **state)
{
    static const size_t counts[] = {2, 8, 9, 64, 253};
    const struct local_submit submit = submit_of(true, picture_bytes);
    const size_t before = site_fds(site.client);
    int fds[253];

    (void)state;
    for (size_t i = 0; i < 253; i++) {
        fds[i] = memfd_good();
    }
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        struct raw_app app;

        raw_ready(&app, site.app_socket);
        (void)raw_submit(&app, 1, &submit, fds, counts[i]);
        (void)raw_thrown_out(&app, NULL);
        raw_close(&app);
    }
    for (size_t i = 0; i < 253; i++) {
        (void)close(fds[i]);
    }
    fds_settle(before);
    assert_good_is_served();
}

/* Half of a frame with descriptors on it, again and again: at the connection's end they go too. */
static void test_descriptors_on_half_a_frame(void **state)
{
    const struct frame frame = {.kind = FRAME_REQUEST, .request_id = 1, .header_bytes = 1000};
    const size_t before = site_fds(site.client);
    const int fd = memfd_good();
    uint8_t prefix[FRAME_PREFIX_BYTES];
    struct raw_app app;

    (void)state;
    frame_prefix_store(&frame, prefix);
    raw_ready(&app, site.app_socket);
    for (size_t i = 0; i < sizeof(prefix) && raw_bytes(&app, prefix + i, 1, &fd, 1); i++) {
    }
    assert_true(site_fds(site.client) <= before + 1 + 16);
    raw_close(&app);
    (void)close(fd);
    fds_settle(before);
}

/* ---- crowds ---- */

/* Connections that come and go, in every stage of a request, while the good application goes on. */
static void test_thousand_connections(void **state)
{
    const struct local_submit submit = submit_of(false, picture_bytes),
                              large = submit_of(false, 2 * HALF_BYTES);
    const size_t before = site_fds(site.client);
    static const uint8_t half[HALF_BYTES];
    size_t memory_kb = 0;

    (void)state;
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        struct raw_app app;

        if (i % 4 == 2) {
            raw_ready(&app, site.app_socket);
        } else {
            raw_open(&app, site.app_socket);
        }
        if (i % 2 == 1) {
            raw_hello(&app, WIRE_VERSION_LOW, WIRE_VERSION_HIGH);
        }
        if (i % 4 == 2) {
            (void)raw_submit(&app, 1, &large, NULL, 0);
            (void)raw_data(&app, 1, half, HALF_BYTES);
        } else if (i % 4 == 3) {
            (void)raw_submit(&app, 1, &submit, NULL, 0);
            (void)raw_data(&app, 1, picture, picture_bytes);
        }
        raw_close(&app);
        if (i % 20 == 0) {
            assert_good_is_served();
        }
        if (i == CONNECTIONS / 4) {
            memory_kb = site_memory_kb(site.client);
        }
    }
    fds_settle(before);
    assert_good_is_served();
    assert_true(memory_kb > 0);
    assert_true(site_memory_kb(site.client) < memory_kb + MEMORY_MAY_GROW_KB);
}

/* More applications at once than there is room for: those over it are told so, and room that comes
 * free is used. */
static void test_full_house(void **state)
{
    static struct raw_app apps[LIMIT_APP_CONNECTIONS];
    const size_t before = site_fds(site.client);
    size_t inside = 0, outside = 0;
    struct raw_app one;
    struct tandem *late;

    (void)state;
    for (size_t i = 0; i < LIMIT_APP_CONNECTIONS; i++) {
        struct frame frame;

        raw_open(&apps[i], site.app_socket);
        raw_hello(&apps[i], WIRE_VERSION_LOW, WIRE_VERSION_HIGH);
        if (raw_next(&apps[i], &frame) && frame.kind == FRAME_HELLO) {
            inside++;
        } else {
            outside++;
        }
    }
    assert_true(outside > 0); /* the good one is inside, too */
    assert_true(inside + 2 >= LIMIT_APP_CONNECTIONS);
    assert_int_equal(tandem_open(site.app_socket, &late), TANDEM_EBUSY);
    assert_non_null(strstr(tandem_last_error(late), "connections"));
    assert_good_is_served();
    for (size_t i = 0; i < LIMIT_APP_CONNECTIONS; i++) {
        raw_close(&apps[i]);
    }
    fds_settle(before);
    raw_ready(&one, site.app_socket);
    assert_int_equal(picture_ask(&one, 1), 0);
    raw_close(&one);
    tandem_close(late);
}

/* Appends a small request to bytes that go out in one piece. */
static void request_append(uint64_t id, struct buf *out)
{
    const struct local_submit submit = {.task = "commands", .payload_bytes = 4, .route = "local"};
    struct frame frame = {.kind = FRAME_REQUEST, .request_id = id};
    const struct frame data = {.kind = FRAME_DATA,
                               .request_id = id,
                               .payload = (const uint8_t *)"jump",
                               .payload_bytes = 4};
    struct buf header;

    buf_init(&header, 0);
    assert_int_equal(local_submit_pack(&submit, &header), 0);
    frame.header = header.data;
    frame.header_bytes = (uint32_t)header.bytes;
    assert_int_equal(frame_encode(&frame, out), 0);
    assert_int_equal(frame_encode(&data, out), 0);
    buf_fini(&header);
}

/* One application cannot take all the room that requests have; each request ends once. */
static void test_too_many_requests(void **state)
{
    enum { REQUESTS = 2 * LIMIT_REQUESTS_PER_CONNECTION };
    unsigned busy = 0, answered = 0;
    struct local_error error;
    struct frame frame;
    struct raw_app app;
    struct buf out;

    (void)state;
    raw_ready(&app, site.app_socket);
    buf_init(&out, 0);
    for (uint64_t id = 1; id <= REQUESTS; id++) {
        request_append(id, &out);
    }
    assert_true(raw_bytes(&app, out.data, out.bytes, NULL, 0));
    buf_fini(&out);
    while (busy + answered < REQUESTS) {
        assert_true(raw_next(&app, &frame));
        if (frame.kind == FRAME_ERROR) {
            assert_int_equal(local_error_unpack(frame.header, frame.header_bytes, &error), 0);
            assert_int_equal(error.code, TANDEM_EBUSY);
            assert_non_null(strstr(error.text, "256"));
            busy++;
        }
        answered += frame.kind == FRAME_RESULT;
    }
    assert_true(busy > 0);
    assert_true(answered >= LIMIT_REQUESTS_PER_CONNECTION);
    raw_close(&app);
    assert_good_is_served();
}

/* Who says nothing for too long gives the place free. The connection is as old as this program. */
static void test_silent_connection(void **state)
{
    char text[256];

    (void)state;
    assert_int_equal(raw_thrown_out(&silent, text), TANDEM_ETIMEDOUT);
    assert_non_null(strstr(text, "hello"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_newer_protocol),
        cmocka_unit_test(test_request_before_hello),
        cmocka_unit_test(test_malformed_hello),
        cmocka_unit_test(test_malformed_submit),
        cmocka_unit_test(test_not_frames),
        cmocka_unit_test(test_unknown_kinds),
        cmocka_unit_test(test_half_a_frame),
        cmocka_unit_test(test_data_out_of_order),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_stray_descriptor),
        cmocka_unit_test(test_too_many_descriptors),
        cmocka_unit_test(test_descriptors_on_half_a_frame),
        cmocka_unit_test(test_thousand_connections),
        cmocka_unit_test(test_full_house),
        cmocka_unit_test(test_too_many_requests),
        cmocka_unit_test(test_silent_connection),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
