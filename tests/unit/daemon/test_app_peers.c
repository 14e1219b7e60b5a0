/* The application socket admits who the kernel says may come, and nobody else. The credentials are
 * the test's: it stands between the daemon and getsockopt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "client/daemon/app.h"
#include "common/base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define STRANGER    54321
#define PATIENCE_NS (20 * NS_PER_S)

static bool is_foreign;

int getsockopt(int fd, int level, int name, void *value, socklen_t *bytes)
{
    if (is_foreign && name == SO_PEERCRED) {
        *(struct ucred *)value = (struct ucred){.pid = 1, .uid = STRANGER, .gid = STRANGER};
        return 0;
    }
    if (is_foreign && name == SO_PEERGROUPS) {
        *bytes = 0;
        return 0;
    }
    return (int)syscall(SYS_getsockopt, fd, level, name, value, bytes);
}

static void on_submit(struct app_peer *peer, uint64_t id, const struct local_submit *submit,
                      struct app_input input, void *user)
{
    (void)peer;
    (void)id;
    (void)submit;
    (void)user;
    app_input_release(&input);
    fail();
}

static void on_cancel(struct app_peer *peer, uint64_t id, void *user)
{
    (void)peer;
    (void)id;
    (void)user;
    fail();
}

static void on_gone(struct app_peer *peer, void *user)
{
    (void)peer;
    (void)user;
}

static int on_feedback(struct app_peer *peer, uint64_t decision, bool correct, const char **ret_why,
                       void *user)
{
    (void)peer;
    (void)decision;
    (void)correct;
    (void)ret_why;
    (void)user;
    fail();
    return 0;
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* Whether a peer that has just connected is let in; false: it is hung up on. */
static bool is_let_in(uv_loop_t *loop, struct app *app, const char *path)
{
    const int64_t end_ns = clock_now_ns() + PATIENCE_NS;
    const int fd = connect_to(path);
    ssize_t got = -1;
    size_t peers;
    char byte;

    do {
        assert_true(clock_now_ns() < end_ns);
        (void)uv_run(loop, UV_RUN_NOWAIT);
        got = recv(fd, &byte, 1, MSG_DONTWAIT);
        peers = app_peer_count(app);
    } while (peers == 0 && got < 0 && errno == EAGAIN);
    (void)close(fd);
    while (app_peer_count(app) > 0) {
        assert_true(clock_now_ns() < end_ns);
        (void)uv_run(loop, UV_RUN_NOWAIT);
    }
    return peers == 1;
}

static void test_strangers_are_refused(void **state)
{
    static const struct app_callbacks callbacks = {on_submit, on_cancel, on_gone, on_feedback};
    char dir[] = "/tmp/tandem-app-XXXXXX", path[64], error[256] = "";
    char names[1][LIMIT_NAME_BYTES + 1] = {"objects"};
    uint32_t kinds[1] = {1};
    struct app *app;
    uv_loop_t loop;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/app.sock", dir);
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(app_new(&loop, path, names, kinds, 1, &callbacks, NULL, &app, error), 0);
    assert_true(is_let_in(&loop, app, path));
    is_foreign = true;
    assert_false(is_let_in(&loop, app, path));
    is_foreign = false;
    assert_true(is_let_in(&loop, app, path)); /* nobody else is the worse for it */
    app_close(app);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    (void)unlink(path);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_strangers_are_refused)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
