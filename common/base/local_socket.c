#include "common/base/local_socket.h"

#include "common/base/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG      128
#define GROUPS_GUESS 64

/* Removes a socket file that nobody listens on. 0 or an errno. */
static int path_clear(const struct sockaddr_un *address)
{
    struct stat info;
    int fd, result = 0;

    if (lstat(address->sun_path, &info) != 0) {
        return 0;
    }
    if (!S_ISSOCK(info.st_mode)) {
        return EEXIST;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return errno;
    }
    if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN) {
        result = EADDRINUSE; /* EAGAIN: somebody listens there, with a full queue */
    } else if (unlink(address->sun_path) != 0) {
        result = errno;
    }
    (void)close(fd);
    return result;
}

static int bind_0660(int fd, const struct sockaddr_un *address)
{
    const mode_t mask = umask(0117);
    const int result = bind(fd, (const struct sockaddr *)address, sizeof(*address));

    (void)umask(mask);
    return result;
}

int local_socket_listen(const char *path, gid_t *ret_group, char error[LOCAL_SOCKET_ERROR_BYTES])
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat info;
    int number = 0, fd = -1;

    if (path[0] == '\0' || strlen(path) >= sizeof(address.sun_path)) {
        number = path[0] ? ENAMETOOLONG : EINVAL;
        goto out;
    }
    strcpy(address.sun_path, path);
    number = path_clear(&address);
    if (number != 0) {
        goto out;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind_0660(fd, &address) != 0 || listen(fd, BACKLOG) != 0 ||
        stat(path, &info) != 0) {
        number = errno;
    }
out:
    if (number != 0) {
        snprintf(error, LOCAL_SOCKET_ERROR_BYTES, "%.150s: %s", path,
                 number == EADDRINUSE ? "another daemon listens there" : strerror(number));
        if (fd >= 0) {
            (void)close(fd);
        }
        return TANDEM_EIO;
    }
    *ret_group = info.st_gid;
    return fd;
}

/* The supplementary groups that the peer had when it connected. */
static bool peer_has_group(int fd, gid_t group)
{
    gid_t guess[GROUPS_GUESS], *groups = guess, *more = NULL;
    socklen_t bytes = sizeof(guess);
    bool found = false;
    int result = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, guess, &bytes);

    if (result != 0 && errno == ERANGE && (more = malloc(bytes)) != NULL) {
        groups = more;
        result = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, more, &bytes);
    }
    for (size_t i = 0; result == 0 && i < bytes / sizeof(*groups); i++) {
        found |= groups[i] == group;
    }
    free(more);
    return found;
}

bool local_socket_admits(int fd, gid_t group)
{
    struct ucred peer;
    socklen_t bytes = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) != 0) {
        return false;
    }
    return peer.uid == 0 || peer.uid == geteuid() || peer.gid == group || peer_has_group(fd, group);
}
