#include "tests/net/relay.h"

#include "common/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define BURST 64 /* packets read of one side before the other has its turn */

enum { EVENT_TUN_0, EVENT_TUN_1, EVENT_TIMER, EVENT_CONTROL, EVENTS };

int relay_tun_open(const char *name)
{
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    const int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0) {
        return -1;
    }
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    if (ioctl(fd, TUNSETIFF, &request) != 0) {
        const int error = errno;

        (void)close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

int relay_init(struct relay *relay, const int tun[2], int control)
{
    *relay = (struct relay){.tun = {-1, -1}, .control = control, .random = 88172645463325252u};
    relay->epoll = epoll_create1(EPOLL_CLOEXEC);
    relay->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (relay->epoll < 0 || relay->timer < 0 || delay_line_init(&relay->line[0]) != 0 ||
        delay_line_init(&relay->line[1]) != 0) {
        goto out;
    }
    const int fds[EVENTS] = {tun[0], tun[1], relay->timer, control};
    for (uint32_t i = 0; i < EVENTS; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};

        if (epoll_ctl(relay->epoll, EPOLL_CTL_ADD, fds[i], &event) != 0) {
            goto out;
        }
    }
    relay->tun[0] = tun[0];
    relay->tun[1] = tun[1];
    return 0;
out:
    relay_fini(relay);
    return -1;
}

static double random_unit_of(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (double)(*state >> 11) / 9007199254740992.0;
}

/* Everything that is due goes out. A packet that the other side does not take is lost, as it would
 * be at a full driver queue. */
static void line_drain(struct relay *relay, size_t from, int64_t now_ns)
{
    const struct delay_packet *packet;

    while ((packet = delay_line_due(&relay->line[from], now_ns))) {
        if (write(relay->tun[1 - from], packet->data, packet->bytes) < 0) {
            delay_line_drop(&relay->line[from]);
        }
        delay_line_pop(&relay->line[from]);
    }
}

static void line_fill(struct relay *relay, size_t from)
{
    uint8_t lost[DELAY_LINE_BYTES];

    for (int i = 0; i < BURST; i++) {
        uint8_t *room = delay_line_room(&relay->line[from]);
        const ssize_t bytes = read(relay->tun[from], room ? room : lost, DELAY_LINE_BYTES);

        if (bytes <= 0) {
            return;
        }
        if (!room) {
            delay_line_drop(&relay->line[from]);
            continue;
        }
        delay_line_put(&relay->line[from], (size_t)bytes,
                       clock_now_ns() + relay->delay_ns +
                           (int64_t)(random_unit_of(&relay->random) * (double)relay->jitter_ns));
    }
}

int relay_command(struct relay *relay, const char *line, bool *ret_quit)
{
    double delay_ms, jitter_ms;
    char rest;

    *ret_quit = strcmp(line, "quit") == 0;
    if (*ret_quit) {
        return 0;
    }
    if (sscanf(line, "delay %lf %lf%c", &delay_ms, &jitter_ms, &rest) != 2 || !(delay_ms >= 0) ||
        !(jitter_ms >= 0) || delay_ms > RELAY_DELAY_MS_MAX || jitter_ms > RELAY_DELAY_MS_MAX) {
        return -1;
    }
    relay->delay_ns = (int64_t)(delay_ms * (double)NS_PER_MS);
    relay->jitter_ns = (int64_t)(jitter_ms * (double)NS_PER_MS);
    return 0;
}

/* True: to the end. */
static bool control_read(struct relay *relay)
{
    char byte;
    bool quit = false;

    if (read(relay->control, &byte, 1) != 1) {
        return true;
    }
    if (byte != '\n') {
        if (relay->command_bytes + 1 < sizeof(relay->command)) {
            relay->command[relay->command_bytes++] = byte;
        }
        return false;
    }
    relay->command[relay->command_bytes] = '\0';
    relay->command_bytes = 0;
    if (relay_command(relay, relay->command, &quit) != 0) {
        fprintf(stderr, "relay: what is '%s'?\n", relay->command);
    }
    return quit;
}

static void timer_set(const struct relay *relay)
{
    const int64_t next[2] = {delay_line_next_ns(&relay->line[0]),
                             delay_line_next_ns(&relay->line[1])};
    const int64_t at_ns = next[0] < next[1] ? next[0] : next[1];
    struct itimerspec when = {0}; /* all zero: disarmed */

    if (at_ns != INT64_MAX) {
        when.it_value.tv_sec = (time_t)(at_ns / NS_PER_S);
        when.it_value.tv_nsec = (long)(at_ns % NS_PER_S);
    }
    (void)timerfd_settime(relay->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

int relay_run(struct relay *relay)
{
    struct epoll_event events[EVENTS];
    uint64_t fired;
    bool quit = false;

    while (!quit) {
        const int count = epoll_wait(relay->epoll, events, EVENTS, -1);

        if (count < 0 && errno != EINTR) {
            return -1;
        }
        for (int i = 0; i < count; i++) {
            switch (events[i].data.u32) {
            case EVENT_TUN_0:
            case EVENT_TUN_1:
                line_fill(relay, events[i].data.u32 == EVENT_TUN_1);
                break;
            case EVENT_TIMER:
                (void)!read(relay->timer, &fired, sizeof(fired));
                break;
            default:
                quit = control_read(relay);
            }
        }
        line_drain(relay, 0, clock_now_ns());
        line_drain(relay, 1, clock_now_ns());
        timer_set(relay);
    }
    return 0;
}

static void close_if(int fd)
{
    if (fd > 0) {
        (void)close(fd);
    }
}

void relay_fini(struct relay *relay)
{
    close_if(relay->epoll);
    close_if(relay->timer);
    close_if(relay->tun[0]);
    close_if(relay->tun[1]);
    delay_line_fini(&relay->line[0]);
    delay_line_fini(&relay->line[1]);
}
