/* echo.h: bare echoes to compare with: one child process that answers each message of `up_bytes`
 * with `down_bytes`, over loopback TCP or a Unix socket, with nothing around it. For the
 * benchmarks. */
#ifndef TANDEM_TESTS_BENCH_ECHO_H
#define TANDEM_TESTS_BENCH_ECHO_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ECHO_BYTES_MAX (1u << 20)

struct echo {
    int fd; /* of this side */
    pid_t child;
};

/* Before each message: how long it is, and how long its answer is to be. Same machine, same
 * program. */
struct echo_sizes {
    uint32_t up_bytes, down_bytes; /* both at most ECHO_BYTES_MAX, and at least this struct's */
};

static inline bool echo_move(int fd, uint8_t *data, size_t bytes, bool send_it)
{
    size_t done = 0;

    while (done < bytes) {
        const ssize_t moved = send_it ? send(fd, data + done, bytes - done, MSG_NOSIGNAL)
                                      : recv(fd, data + done, bytes - done, 0);

        if (moved <= 0) {
            return false;
        }
        done += (size_t)moved;
    }
    return true;
}

static inline void echo_serve(int fd)
{
    static uint8_t data[ECHO_BYTES_MAX];
    struct echo_sizes asked;

    while (echo_move(fd, data, sizeof(asked), false)) {
        memcpy(&asked, data, sizeof(asked));
        if (!echo_move(fd, data, asked.up_bytes - sizeof(asked), false) ||
            !echo_move(fd, data, asked.down_bytes, true)) {
            break;
        }
    }
    close(fd);
}

/* One round trip; false when the other side is gone. */
static inline bool echo_round(const struct echo *echo, uint32_t up_bytes, uint32_t down_bytes)
{
    static uint8_t data[ECHO_BYTES_MAX];
    const uint32_t least = sizeof(struct echo_sizes);
    const struct echo_sizes sizes = {up_bytes < least ? least : up_bytes, down_bytes};

    memcpy(data, &sizes, sizeof(sizes));
    return echo_move(echo->fd, data, sizes.up_bytes, true) &&
           echo_move(echo->fd, data, down_bytes, false);
}

/* Takes the listening and the connected socket. 0, or -1. */
static inline int echo_fork(struct echo *echo, int listener)
{
    echo->child = fork();
    if (echo->child == 0) {
        const int fd = accept(listener, NULL, NULL);
        const int one = 1;

        close(echo->fd);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one,
                         sizeof(one)); /* no matter on a Unix socket */
        echo_serve(fd);
        _exit(0);
    }
    close(listener);
    return echo->child > 0 ? 0 : -1;
}

static inline int echo_tcp(struct echo *echo)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    const int one = 1;

    echo->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) != 0 ||
        connect(echo->fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        return -1;
    }
    (void)setsockopt(echo->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return echo_fork(echo, listener);
}

static inline int echo_unix(struct echo *echo)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) {
        return -1;
    }
    echo->fd = pair[0];
    echo->child = fork();
    if (echo->child == 0) {
        close(pair[0]);
        echo_serve(pair[1]);
        _exit(0);
    }
    close(pair[1]);
    return echo->child > 0 ? 0 : -1;
}

static inline void echo_stop(struct echo *echo)
{
    close(echo->fd);
    if (echo->child > 0) {
        (void)kill(echo->child, SIGTERM); /* a later echo's child may hold a copy of our end */
        (void)waitpid(echo->child, NULL, 0);
    }
}

#endif
