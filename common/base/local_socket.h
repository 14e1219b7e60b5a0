/* local_socket.h: the Unix sockets that the daemons listen on: one way to make the file and one
 * rule who may come in. Any thread, but local_socket_listen sets the umask of the process for a
 * moment, so no other thread may make files meanwhile. */
#ifndef TANDEM_BASE_LOCAL_SOCKET_H
#define TANDEM_BASE_LOCAL_SOCKET_H

#include <stdbool.h>
#include <sys/types.h>

#define LOCAL_SOCKET_ERROR_BYTES 256

/* Listens at `path`, mode 0660 from the first moment. A socket file that nobody listens on is taken
 * over; a live one, or a file of another kind, is an error. Returns the descriptor (non-blocking,
 * close-on-exec; the caller's, who also unlinks the file) with the group of the file, or TANDEM_EIO
 * with one line in `error`. */
int local_socket_listen(const char *path, gid_t *ret_group, char error[LOCAL_SOCKET_ERROR_BYTES]);

/* Whether the process behind the connected socket `fd` may speak to this daemon: root, the daemon's
 * own user, or one that has `group` among its groups, as the kernel saw them when it connected. The
 * mode of the file says the same; this holds even where the mode was changed by hand. */
bool local_socket_admits(int fd, gid_t group);

/* What is said to the others. */
#define LOCAL_SOCKET_REFUSAL                                                                       \
    "not allowed: root, the daemon's user and the group of the socket may ask"

#endif
