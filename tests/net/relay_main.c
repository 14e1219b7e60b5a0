/* The relay as a program: relay NAMESPACE:DEVICE NAMESPACE:DEVICE, commands on standard input.
 * Namespaces are names under /run/netns. Says "ready" once both devices are there. */
#include "tests/net/relay.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The device in the namespace that `where` names before its colon. -1 with a line. */
static int tun_open_in(const char *where)
{
    const char *colon = strchr(where, ':');
    char path[128];
    int namespace, tun = -1;

    if (!colon) {
        fprintf(stderr, "relay: %s is not NAMESPACE:DEVICE\n", where);
        return -1;
    }
    snprintf(path, sizeof(path), "/run/netns/%.*s", (int)(colon - where), where);
    namespace = open(path, O_RDONLY | O_CLOEXEC);
    if (namespace >= 0 && setns(namespace, CLONE_NEWNET) == 0) {
        tun = relay_tun_open(colon + 1);
    }
    if (tun < 0) {
        perror(where);
    }
    if (namespace >= 0) {
        (void)close(namespace);
    }
    return tun;
}

int main(int argc, char **argv)
{
    struct relay relay;
    int tun[2], result;

    if (argc != 3) {
        fprintf(stderr, "usage: %s NAMESPACE:DEVICE NAMESPACE:DEVICE\n", argv[0]);
        return 2;
    }
    for (int i = 0; i < 2; i++) {
        tun[i] = tun_open_in(argv[1 + i]);
        if (tun[i] < 0) {
            return 1;
        }
    }
    if (relay_init(&relay, tun, STDIN_FILENO) != 0) {
        perror("relay");
        return 1;
    }
    printf("ready\n");
    (void)fflush(stdout);
    result = relay_run(&relay);
    if (result != 0) {
        perror("relay");
    }
    for (int i = 0; i < 2; i++) {
        printf("%s: %llu packets passed, %llu dropped\n", argv[1 + i],
               (unsigned long long)relay.line[i].passed, (unsigned long long)relay.line[i].dropped);
    }
    relay_fini(&relay);
    return result == 0 ? 0 : 1;
}
