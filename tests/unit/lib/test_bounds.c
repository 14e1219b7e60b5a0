/* The bounds of one handle: what waits to be written, and how long a connect may take. */
#include "tests/unit/lib/fake_daemon.h"

#include "client/lib/handle.h"
#include "common/base/clock.h"

#include <fcntl.h>

static int request_try(struct tandem *tandem, struct end *end, uint64_t *ret_id)
{
    struct tandem_request request;

    tandem_request_init(&request, "commands");
    request.text = "walk";
    return tandem_submit(tandem, &request, end_note, NULL, end, ret_id);
}

/* The bytes are put there by hand: 64 requests of the largest inputs that do not travel as memfds
 * stay below the bound. */
static void outbox_fill(struct tandem *tandem, size_t bytes)
{
    static uint8_t junk[LIMIT_LIB_OUTBOX_BYTES];

    assert_int_equal(buf_append(&tandem->outbox.bytes, junk, bytes), 0);
}

static void test_full_outbox(void **state)
{
    struct fake fake;
    struct tandem *tandem;
    struct end end = {0};
    uint64_t id = 0;
    size_t one;

    (void)state;
    fake_start(&fake);
    tandem = fake_open(&fake);
    assert_int_equal(buf_reserve(&tandem->outbox.bytes, LIMIT_LIB_OUTBOX_BYTES), 0);
    assert_int_equal(buf_reserve(&tandem->outbox.bytes, LIMIT_LIB_OUTBOX_BYTES + 1),
                     TANDEM_ETOOBIG);
    outbox_fill(tandem, LIMIT_LIB_OUTBOX_BYTES - 8);
    one = tandem->outbox.bytes.bytes;
    assert_int_equal(request_try(tandem, &end, &id), TANDEM_EBUSY);
    assert_int_equal(tandem->outbox.bytes.bytes, one); /* no half of a request stays behind */
    assert_int_equal(tandem->pending_count, 0);
    assert_int_equal(end.count, 0);
    outbox_truncate(&tandem->outbox, 0);
    assert_int_equal(request_try(tandem, &end, &id), 0); /* and the handle goes on */
    assert_int_equal(fake_take(&fake), id);
    fake_send_label(&fake, id, "x");
    wait_end(tandem, &end);
    assert_int_equal(end.error, 0);
    end_fini(&end);
    tandem_close(tandem);
    fake_stop(&fake);
}

/* Opens a handle to a socket that nobody serves: the stated error, not before the bound and not
 * long after it. */
static void expect_timeout(const char *path)
{
    const int64_t start_ns = clock_now_ns();
    struct tandem *tandem;
    int64_t took_ms;

    assert_int_equal(tandem_open(path, &tandem), TANDEM_ETIMEDOUT);
    took_ms = (clock_now_ns() - start_ns) / NS_PER_MS;
    assert_true(took_ms >= LIMIT_LIB_CONNECT_MS - 20); /* poll and the kernel round */
    assert_true(took_ms < 10 * LIMIT_LIB_CONNECT_MS);
    tandem_close(tandem);
}

/* A daemon that accepts and says nothing (it hangs), and one that does not even accept, so that its
 * queue is full. */
static void test_connect_is_bounded(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct fake fake;
    int waiting[64], count = 0;

    (void)state;
    fake_start(&fake);
    expect_timeout(fake.path); /* the connection waits in the queue, its hello is never answered */
    strcpy(address.sun_path, fake.path);
    do {
        waiting[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    } while (connect(waiting[count++], (struct sockaddr *)&address, sizeof(address)) == 0 &&
             count < 64);
    assert_true(count < 64); /* the last one found the queue full */
    expect_timeout(fake.path);
    while (count > 0) {
        close(waiting[--count]);
    }
    fake_stop(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_outbox),
        cmocka_unit_test(test_connect_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
