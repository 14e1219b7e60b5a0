/* relay.h: a link of a chosen delay between two network namespaces, for kernels without netem. It
 * holds one TUN device in each, and every packet that goes into one comes out of the other after
 * delay + a share of jitter. One epoll loop, one timer, a bounded queue each way; no threads.
 *
 * Commands come as lines on `control`: `delay MS JITTER_MS` from now on, each way; `quit`, or the
 * end of the file, ends it. Rate and loss are not its business: tbf and nftables do that. */
#ifndef TANDEM_TESTS_RELAY_H
#define TANDEM_TESTS_RELAY_H

#include "tests/net/delay_line.h"

#define RELAY_DELAY_MS_MAX 10000

struct relay {
    int tun[2], timer, epoll, control;
    struct delay_line line[2]; /* line[i]: from tun[i] to the other */
    int64_t delay_ns, jitter_ns;
    uint64_t random; /* state of the jitter; any number */
    char command[64];
    size_t command_bytes;
};
/* A TUN device of this name in the namespace that this thread is in; it is gone when the fd is
 * closed. -1 with errno. */
int relay_tun_open(const char *name);
/* Takes both fds; borrows `control`. -1 with errno, then nothing was taken. */
int relay_init(struct relay *relay, const int tun[2], int control);
/* 0, or -1 when the line is none. */
int relay_command(struct relay *relay, const char *line, bool *ret_quit);
/* Until it is told to quit: 0; or -1 with errno. */
int relay_run(struct relay *relay);
void relay_fini(struct relay *relay);

#endif
