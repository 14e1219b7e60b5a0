#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/relay.h"

#include "common/base/clock.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PAIRS_MAX   32
#define ARRIVED_MAX 100000
#define PIECE_BYTES 65536
#define TURN_MS     5

struct pair {
    int client, edge; /* -1: none */
    bool paused;
};
struct arrived {
    int64_t at_ns;
    uint64_t bytes;
};
struct relay {
    pthread_t thread;
    pthread_mutex_t lock; /* of all below */
    int listener;
    struct sockaddr_storage to;
    socklen_t to_bytes;
    struct pair pairs[PAIRS_MAX];
    struct arrived arrived[ARRIVED_MAX];
    size_t arrived_count;
    uint64_t up, down;
    unsigned connections;
    int64_t pause_ns, goes_on_ns, cut_ns; /* 0: never */
    bool ends;
};

static void pair_end(struct pair *pair)
{
    if (pair->client >= 0) {
        (void)close(pair->client);
        (void)close(pair->edge);
    }
    *pair = (struct pair){.client = -1, .edge = -1};
}

/* What is passed on leaves at once, as it came; on a Unix socket it does anyway. */
static void at_once(int fd)
{
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
}

static void pair_begin(struct relay *relay, int client)
{
    const int edge = socket(relay->to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    for (size_t i = 0; i < PAIRS_MAX; i++) {
        if (relay->pairs[i].client < 0 &&
            connect(edge, (const struct sockaddr *)&relay->to, relay->to_bytes) == 0) {
            at_once(client);
            at_once(edge);
            relay->pairs[i] = (struct pair){.client = client, .edge = edge};
            relay->connections++;
            return;
        }
    }
    (void)close(client);
    (void)close(edge);
}

static bool all_written(int fd, const uint8_t *data, size_t bytes)
{
    while (bytes > 0) {
        const ssize_t written = send(fd, data, bytes, MSG_NOSIGNAL);

        if (written <= 0) {
            return false;
        }
        data += written;
        bytes -= (size_t)written;
    }
    return true;
}

/* One piece; false: the connection is over. */
static bool pass_on(struct relay *relay, int from, int to, bool up)
{
    static uint8_t piece[PIECE_BYTES];
    const ssize_t bytes = recv(from, piece, sizeof(piece), 0);

    if (bytes <= 0) {
        return false;
    }
    if (up && relay->arrived_count < ARRIVED_MAX) {
        relay->arrived[relay->arrived_count++] = (struct arrived){clock_now_ns(), (uint64_t)bytes};
    }
    relay->up += up ? (uint64_t)bytes : 0;
    relay->down += up ? 0 : (uint64_t)bytes;
    return all_written(to, piece, (size_t)bytes);
}

static void plan_follow(struct relay *relay)
{
    const int64_t now_ns = clock_now_ns();
    const bool pauses = relay->pause_ns != 0 && now_ns >= relay->pause_ns,
               goes_on = relay->goes_on_ns != 0 && now_ns >= relay->goes_on_ns,
               cuts = relay->cut_ns != 0 && now_ns >= relay->cut_ns;

    for (size_t i = 0; i < PAIRS_MAX; i++) {
        if (pauses) {
            relay->pairs[i].paused = relay->pairs[i].client >= 0;
        } else if (goes_on) {
            relay->pairs[i].paused = false;
        }
        if (cuts) {
            pair_end(&relay->pairs[i]);
        }
    }
    relay->pause_ns = pauses ? 0 : relay->pause_ns;
    relay->goes_on_ns = goes_on ? 0 : relay->goes_on_ns;
    relay->cut_ns = cuts ? 0 : relay->cut_ns;
}

static void turn(struct relay *relay)
{
    struct pollfd polled[2 * PAIRS_MAX + 1];

    for (size_t i = 0; i < PAIRS_MAX; i++) {
        const struct pair *pair = &relay->pairs[i];

        polled[2 * i] = (struct pollfd){.fd = pair->paused ? -1 : pair->client, .events = POLLIN};
        polled[2 * i + 1] = (struct pollfd){.fd = pair->paused ? -1 : pair->edge, .events = POLLIN};
    }
    polled[2 * PAIRS_MAX] = (struct pollfd){.fd = relay->listener, .events = POLLIN};
    pthread_mutex_unlock(&relay->lock);
    (void)poll(polled, 2 * PAIRS_MAX + 1, TURN_MS);
    pthread_mutex_lock(&relay->lock);
    for (size_t i = 0; i < PAIRS_MAX; i++) {
        struct pair *pair = &relay->pairs[i];

        if (polled[2 * i].revents && pair->client >= 0 &&
            !pass_on(relay, pair->client, pair->edge, true)) {
            pair_end(pair);
        }
        if (polled[2 * i + 1].revents && pair->edge >= 0 &&
            !pass_on(relay, pair->edge, pair->client, false)) {
            pair_end(pair);
        }
    }
    if (polled[2 * PAIRS_MAX].revents) {
        pair_begin(relay, accept4(relay->listener, NULL, NULL, SOCK_CLOEXEC));
    }
}

static void *run(void *user)
{
    struct relay *relay = user;

    pthread_mutex_lock(&relay->lock);
    while (!relay->ends) {
        plan_follow(relay);
        turn(relay);
    }
    pthread_mutex_unlock(&relay->lock);
    return NULL;
}

static struct sockaddr_un address_of(const char *dir, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", dir, name);
    return address;
}

static struct relay *relay_begin(const void *here, socklen_t here_bytes, const void *to,
                                 socklen_t to_bytes)
{
    const struct sockaddr *address = here;
    struct relay *relay = calloc(1, sizeof(*relay));

    assert_non_null(relay);
    memcpy(&relay->to, to, to_bytes);
    relay->to_bytes = to_bytes;
    for (size_t i = 0; i < PAIRS_MAX; i++) {
        relay->pairs[i] = (struct pair){.client = -1, .edge = -1};
    }
    relay->listener = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(relay->listener, address, here_bytes), 0);
    assert_int_equal(listen(relay->listener, PAIRS_MAX), 0);
    assert_int_equal(pthread_mutex_init(&relay->lock, NULL), 0);
    assert_int_equal(pthread_create(&relay->thread, NULL, run, relay), 0);
    return relay;
}

struct relay *relay_new(const char *dir, const char *name, const char *to)
{
    const struct sockaddr_un here = address_of(dir, name), there = address_of(dir, to);

    return relay_begin(&here, sizeof(here), &there, sizeof(there));
}

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

struct relay *relay_new_tcp(uint16_t to, uint16_t *ret_port)
{
    const struct sockaddr_in here = loopback(0), there = loopback(to);
    struct relay *relay = relay_begin(&here, sizeof(here), &there, sizeof(there));
    struct sockaddr_in got;
    socklen_t bytes = sizeof(got);

    assert_int_equal(getsockname(relay->listener, (struct sockaddr *)&got, &bytes), 0);
    *ret_port = ntohs(got.sin_port);
    return relay;
}

void relay_plan(struct relay *relay, int64_t pause_ns, int64_t goes_on_ns, int64_t cut_ns)
{
    pthread_mutex_lock(&relay->lock);
    relay->pause_ns = pause_ns;
    relay->goes_on_ns = goes_on_ns;
    relay->cut_ns = cut_ns;
    pthread_mutex_unlock(&relay->lock);
}

uint64_t relay_bytes(struct relay *relay)
{
    uint64_t bytes;

    pthread_mutex_lock(&relay->lock);
    bytes = relay->up;
    pthread_mutex_unlock(&relay->lock);
    return bytes;
}

uint64_t relay_bytes_down(struct relay *relay)
{
    uint64_t bytes;

    pthread_mutex_lock(&relay->lock);
    bytes = relay->down;
    pthread_mutex_unlock(&relay->lock);
    return bytes;
}

uint64_t relay_fullest_second(struct relay *relay)
{
    uint64_t most = 0, sum = 0;
    size_t first = 0;

    pthread_mutex_lock(&relay->lock);
    for (size_t i = 0; i < relay->arrived_count; i++) {
        sum += relay->arrived[i].bytes;
        while (relay->arrived[first].at_ns < relay->arrived[i].at_ns - NS_PER_S) {
            sum -= relay->arrived[first++].bytes;
        }
        most = sum > most ? sum : most;
    }
    pthread_mutex_unlock(&relay->lock);
    return most;
}

unsigned relay_connections(struct relay *relay)
{
    unsigned connections;

    pthread_mutex_lock(&relay->lock);
    connections = relay->connections;
    pthread_mutex_unlock(&relay->lock);
    return connections;
}

void relay_free(struct relay *relay)
{
    if (!relay) {
        return;
    }
    pthread_mutex_lock(&relay->lock);
    relay->ends = true;
    pthread_mutex_unlock(&relay->lock);
    (void)pthread_join(relay->thread, NULL);
    for (size_t i = 0; i < PAIRS_MAX; i++) {
        pair_end(&relay->pairs[i]);
    }
    (void)close(relay->listener);
    pthread_mutex_destroy(&relay->lock);
    free(relay);
}
