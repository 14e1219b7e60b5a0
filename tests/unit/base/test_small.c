/* Clock, names, random numbers, and the messages to the service manager. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/limits.h"
#include "common/base/names.h"
#include "common/base/notify.h"
#include "common/base/random.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int64_t fake_now(void *user)
{
    return *(int64_t *)user;
}

static void test_clock(void **state)
{
    const int64_t first = clock_now_ns();
    int64_t fake = 5;

    (void)state;
    assert_true(clock_now_ns() >= first);
    assert_true(clock_unix_ns() > INT64_C(1600000000) * NS_PER_S);
    clock_set_fake(fake_now, &fake);
    assert_int_equal(clock_now_ns(), 5);
    fake = 9;
    assert_int_equal(clock_now_ns(), 9);
    clock_set_fake(NULL, NULL);
    assert_true(clock_now_ns() >= first);
}

static void test_names(void **state)
{
    char longest[LIMIT_NAME_BYTES + 2];

    (void)state;
    assert_true(name_is_valid("objects"));
    assert_true(name_is_valid("Edge-1_a.b"));
    assert_false(name_is_valid(NULL));
    assert_false(name_is_valid(""));
    assert_false(name_is_valid(".."));
    assert_false(name_is_valid(".hidden"));
    assert_false(name_is_valid("a/b"));
    assert_false(name_is_valid("a b"));
    assert_false(name_is_valid("caf\xc3\xa9"));
    assert_false(name_is_valid_n("a\0b", 3));
    memset(longest, 'n', sizeof(longest));
    longest[LIMIT_NAME_BYTES] = '\0';
    assert_true(name_is_valid(longest));
    assert_false(name_is_valid_n(
        "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn", 64));
}

static void test_random_is_repeatable(void **state)
{
    struct random_source a;
    struct random_source b;
    double sum = 0;

    (void)state;
    random_seed(&a, 42);
    random_seed(&b, 42);
    for (int i = 0; i < 1000; i++) {
        assert_true(random_next(&a) == random_next(&b));
    }
    random_seed(&b, 43);
    assert_true(random_next(&a) != random_next(&b));
    for (int i = 0; i < 10000; i++) {
        const double unit = random_unit(&a);

        assert_true(unit >= 0 && unit < 1);
        sum += unit;
        assert_true(random_below(&a, 7) < 7);
    }
    assert_true(sum > 4800 && sum < 5200);
    assert_int_equal(random_below(&a, 0), 0);
    assert_int_equal(random_below(&a, 1), 0);
}

static void test_random_bytes(void **state)
{
    uint8_t a[32] = {0};
    uint8_t b[32] = {0};

    (void)state;
    assert_int_equal(random_bytes(a, sizeof(a)), 0);
    assert_int_equal(random_bytes(b, sizeof(b)), 0);
    assert_memory_not_equal(a, b, sizeof(a));
    assert_int_equal(random_bytes(a, 0), 0);
}

/* Opens a datagram socket as a service manager has it; `abstract` names start with '@'. */
static int manager_open(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const size_t bytes = strlen(name);
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    assert_true(fd >= 0);
    assert_true(bytes < sizeof(address.sun_path));
    memcpy(address.sun_path, name, bytes);
    if (name[0] == '@') {
        address.sun_path[0] = '\0';
    }
    assert_int_equal(bind(fd, (struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes)),
                     0);
    setenv("NOTIFY_SOCKET", name, 1);
    return fd;
}

static const char *manager_read(int fd, char text[2048])
{
    const ssize_t got = recv(fd, text, 2047, 0);

    text[got > 0 ? got : 0] = '\0';
    return text;
}

static void notify_with(const char *name)
{
    char text[2048];
    const int fd = manager_open(name);
    int64_t usec = 0;

    assert_int_equal(notify_ready(), 0);
    assert_string_equal(manager_read(fd, text), "READY=1");
    assert_int_equal(notify_watchdog(), 0);
    assert_string_equal(manager_read(fd, text), "WATCHDOG=1");
    assert_int_equal(notify_status("serving %d\nREADY=0", 3), 0);
    assert_string_equal(manager_read(fd, text), "STATUS=serving 3 READY=0");
    assert_int_equal(notify_reloading(), 0);
    assert_int_equal(sscanf(manager_read(fd, text), "RELOADING=1\nMONOTONIC_USEC=%" SCNd64, &usec),
                     1);
    assert_true(usec > 0 && usec * NS_PER_US <= clock_now_ns());
    assert_int_equal(notify_stopping(), 0);
    assert_string_equal(manager_read(fd, text), "STOPPING=1");
    close(fd);
    assert_int_equal(notify_ready(), TANDEM_EIO); /* nobody there any more */
    unsetenv("NOTIFY_SOCKET");
}

static void test_notify_path(void **state)
{
    char path[64];

    (void)state;
    snprintf(path, sizeof(path), "/tmp/tandem-notify-%d", (int)getpid());
    unlink(path);
    notify_with(path);
    unlink(path);
}

static void test_notify_abstract(void **state)
{
    char name[64];

    (void)state;
    snprintf(name, sizeof(name), "@tandem-notify-%d", (int)getpid());
    notify_with(name);
}

static void test_notify_without_manager(void **state)
{
    char longest[200];

    (void)state;
    unsetenv("NOTIFY_SOCKET");
    assert_int_equal(notify_ready(), 0);
    setenv("NOTIFY_SOCKET", "", 1);
    assert_int_equal(notify_ready(), 0);
    setenv("NOTIFY_SOCKET", "relative", 1);
    assert_int_equal(notify_ready(), TANDEM_EIO);
    memset(longest, '/', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    setenv("NOTIFY_SOCKET", longest, 1);
    assert_int_equal(notify_ready(), TANDEM_EIO);
    unsetenv("NOTIFY_SOCKET");
}

static void test_watchdog_interval(void **state)
{
    char pid[32];

    (void)state;
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    assert_int_equal(notify_watchdog_interval_ns(), 0);
    setenv("WATCHDOG_USEC", "30000000", 1);
    assert_int_equal(notify_watchdog_interval_ns(), 30 * NS_PER_S);
    setenv("WATCHDOG_PID", "1", 1);
    assert_int_equal(notify_watchdog_interval_ns(), 0);
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    setenv("WATCHDOG_PID", pid, 1);
    assert_int_equal(notify_watchdog_interval_ns(), 30 * NS_PER_S);
    setenv("WATCHDOG_USEC", "soon", 1);
    assert_int_equal(notify_watchdog_interval_ns(), 0);
    setenv("WATCHDOG_USEC", "9223372036854775807", 1);
    assert_int_equal(notify_watchdog_interval_ns(), 0);
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_random_is_repeatable),
        cmocka_unit_test(test_random_bytes),
        cmocka_unit_test(test_notify_path),
        cmocka_unit_test(test_notify_abstract),
        cmocka_unit_test(test_notify_without_manager),
        cmocka_unit_test(test_watchdog_interval),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
