/* The daemons' Unix sockets: who may listen where, and who may come in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <cmocka.h>

#include "common/base/error.h"
#include "common/base/local_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MANY     100 /* groups of a peer */
#define STRANGER 54321

static char dir[] = "/tmp/local_socket.XXXXXX";
static char path[64];

static int group_setup(void **state)
{
    (void)state;
    if (!mkdtemp(dir) || chmod(dir, 0755) != 0) {
        return -1;
    }
    snprintf(path, sizeof(path), "%s/x.sock", dir);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(dir);
}

static void test_listen(void **state)
{
    char error[LOCAL_SOCKET_ERROR_BYTES] = "", longest[200];
    gid_t group = (gid_t)-1;
    struct stat info;
    int fd, file;

    (void)state;
    fd = local_socket_listen(path, &group, error);
    assert_true(fd >= 0);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0660);
    assert_int_equal(info.st_gid, group);
    assert_int_equal(local_socket_listen(path, &group, error), TANDEM_EIO);
    assert_non_null(strstr(error, "another daemon listens there"));
    assert_int_equal(close(fd), 0); /* the file is left, as after a crash */
    fd = local_socket_listen(path, &group, error);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    assert_int_equal(unlink(path), 0);
    file = open(path, O_CREAT | O_WRONLY, 0600); /* not ours to remove */
    assert_true(file >= 0);
    assert_int_equal(close(file), 0);
    assert_int_equal(local_socket_listen(path, &group, error), TANDEM_EIO);
    assert_non_null(strstr(error, "File exists"));
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(unlink(path), 0);
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    assert_int_equal(local_socket_listen(longest, &group, error), TANDEM_EIO);
    assert_int_equal(local_socket_listen("", &group, error), TANDEM_EIO);
}

/* Whether a process with these ids may come in; it is let connect by a mode changed by hand. */
static bool is_admitted(int listener, uid_t uid, gid_t gid, const gid_t *groups, size_t count,
                        gid_t wanted)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const pid_t child = fork();
    bool admitted;
    int fd, status;

    assert_true(child >= 0);
    if (child == 0) {
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        strcpy(address.sun_path, path);
        if (setgroups(count, groups) != 0 || setgid(gid) != 0 || setuid(uid) != 0 ||
            connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
            _exit(1);
        }
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    admitted = local_socket_admits(fd, wanted);
    (void)close(fd);
    return admitted;
}

/* Whether the kernel tells a peer's groups at all, many too: an emulated one (qemu's user mode) has
 * room for one. In a child, since root changes its groups for it. */
static bool groups_are_told(void)
{
    const pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        gid_t groups[256] = {0};
        socklen_t bytes = sizeof(groups);
        int pair[2];

        _exit(setgroups(MANY, groups) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 &&
                      getsockopt(pair[0], SOL_SOCKET, SO_PEERGROUPS, groups, &bytes) == 0 &&
                      bytes == MANY * sizeof(gid_t)
                  ? 0
                  : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status == 0;
}

static void test_admits(void **state)
{
    const gid_t group = 54322;
    gid_t groups[MANY];
    char error[LOCAL_SOCKET_ERROR_BYTES] = "";
    gid_t own;
    int fd, pair[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_true(local_socket_admits(pair[0], group)); /* the daemon's own user */
    (void)close(pair[0]);
    (void)close(pair[1]);
    assert_int_equal(pipe(pair), 0);
    assert_false(local_socket_admits(pair[0], group)); /* no credentials, no entry */
    (void)close(pair[0]);
    (void)close(pair[1]);
    if (geteuid() != 0) {
        return; /* the rest needs other users */
    }
    if (!groups_are_told()) {
        print_message("no SO_PEERGROUPS here: groups of peers are not tested\n");
        skip();
    }
    fd = local_socket_listen(path, &own, error);
    assert_true(fd >= 0 && chmod(path, 0666) == 0);
    for (int i = 0; i < MANY; i++) {
        groups[i] = (gid_t)(60000 + i);
    }
    assert_false(is_admitted(fd, STRANGER, STRANGER, NULL, 0, group));
    assert_false(is_admitted(fd, STRANGER, STRANGER, groups, MANY, group));
    assert_true(is_admitted(fd, STRANGER, group, NULL, 0, group));
    groups[MANY - 1] = group;
    assert_true(is_admitted(fd, STRANGER, STRANGER, groups, MANY, group));
    assert_true(is_admitted(fd, 0, STRANGER, NULL, 0, group));
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_listen),
                                       cmocka_unit_test(test_admits)};

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
