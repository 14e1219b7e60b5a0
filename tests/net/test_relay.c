/* The relay checks itself: the queue in virtual time, and, as root where namespaces may be made,
 * what really passes between two of them: how late, in which order, how much is lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/net/relay.h"

#include "common/base/clock.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static void put(struct delay_line *line, uint8_t mark, int64_t due_ns)
{
    uint8_t *room = delay_line_room(line);

    assert_non_null(room);
    room[0] = mark;
    delay_line_put(line, 1, due_ns);
}

static void waits_and_keeps_order(void **state)
{
    struct delay_line line;

    (void)state;
    assert_int_equal(delay_line_init(&line), 0);
    assert_true(delay_line_next_ns(&line) == INT64_MAX);
    put(&line, 1, 100);
    put(&line, 2, 50); /* a shorter delay does not overtake */
    put(&line, 3, 120);
    assert_null(delay_line_due(&line, 99));
    assert_int_equal(delay_line_next_ns(&line), 100);
    assert_int_equal(delay_line_due(&line, 100)->data[0], 1);
    delay_line_pop(&line);
    assert_int_equal(delay_line_due(&line, 100)->data[0], 2);
    delay_line_pop(&line);
    assert_null(delay_line_due(&line, 119));
    assert_int_equal(delay_line_due(&line, 120)->data[0], 3);
    delay_line_pop(&line);
    assert_int_equal(line.passed, 3);
    delay_line_fini(&line);
}

static void is_bounded(void **state)
{
    struct delay_line line;

    (void)state;
    assert_int_equal(delay_line_init(&line), 0);
    for (int round = 0; round < 3; round++) { /* also across the end of the ring */
        for (size_t i = 0; i < DELAY_LINE_PACKETS; i++) {
            put(&line, (uint8_t)i, (int64_t)i);
        }
        assert_null(delay_line_room(&line));
        for (size_t i = 0; i < DELAY_LINE_PACKETS - 7; i++) {
            assert_int_equal(delay_line_due(&line, DELAY_LINE_PACKETS)->data[0], (uint8_t)i);
            delay_line_pop(&line);
        }
        while (delay_line_due(&line, DELAY_LINE_PACKETS)) {
            delay_line_pop(&line);
        }
    }
    delay_line_fini(&line);
}

static void takes_commands(void **state)
{
    struct relay relay = {0};
    bool quit = true;

    (void)state;
    assert_int_equal(relay_command(&relay, "delay 20 2.5", &quit), 0);
    assert_false(quit);
    assert_int_equal(relay.delay_ns, 20 * NS_PER_MS);
    assert_int_equal(relay.jitter_ns, 5 * NS_PER_MS / 2);
    assert_int_equal(relay_command(&relay, "delay -1 0", &quit), -1);
    assert_int_equal(relay_command(&relay, "delay 1 nan", &quit), -1);
    assert_int_equal(relay_command(&relay, "delay 1 2 3", &quit), -1);
    assert_int_equal(relay_command(&relay, "delay 10001 0", &quit), -1);
    assert_int_equal(relay_command(&relay, "", &quit), -1);
    assert_int_equal(relay.delay_ns, 20 * NS_PER_MS);
    assert_int_equal(relay_command(&relay, "quit", &quit), 0);
    assert_true(quit);
}

/* ---- between two namespaces ---- */

struct ends {
    int tun[2], udp[2], control; /* control: the end that commands are written to */
    pid_t relay;
};

/* A namespace of its own for one end: its TUN device and a UDP socket, which stay in it. */
static bool end_open(struct ends *ends, int index)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(4000)};
    const struct timeval patience = {.tv_sec = 10};
    char command[160];

    if (unshare(CLONE_NEWNET) != 0) {
        return false;
    }
    ends->tun[index] = relay_tun_open("tun0");
    if (ends->tun[index] < 0) {
        return false;
    }
    snprintf(command, sizeof(command), "ip addr add 10.99.0.%d/24 dev tun0 && ip link set tun0 up",
             1 + index);
    here.sin_addr.s_addr = htonl(0x0a630001u + (uint32_t)index);
    ends->udp[index] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return ends->udp[index] >= 0 && system(command) == 0 &&
           bind(ends->udp[index], (struct sockaddr *)&here, sizeof(here)) == 0 &&
           setsockopt(ends->udp[index], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0;
}

static void relay_start(struct ends *ends)
{
    int commands[2];

    assert_int_equal(pipe(commands), 0);
    ends->relay = fork();
    assert_true(ends->relay >= 0);
    if (ends->relay == 0) {
        struct relay relay;

        (void)close(commands[1]);
        _exit(relay_init(&relay, ends->tun, commands[0]) == 0 && relay_run(&relay) == 0 ? 0 : 1);
    }
    (void)close(commands[0]);
    (void)close(ends->tun[0]);
    (void)close(ends->tun[1]);
    ends->control = commands[1];
}

static void send_number(const struct ends *ends, int from, uint32_t number)
{
    struct sockaddr_in there = {.sin_family = AF_INET,
                                .sin_port = htons(4000),
                                .sin_addr.s_addr = htonl(0x0a630001u + (uint32_t)(1 - from))};

    assert_int_equal(sendto(ends->udp[from], &number, sizeof(number), 0, (struct sockaddr *)&there,
                            sizeof(there)),
                     sizeof(number));
}

static uint32_t receive_number(const struct ends *ends, int at)
{
    uint32_t number = 0;

    assert_int_equal(recv(ends->udp[at], &number, sizeof(number), 0), sizeof(number));
    return number;
}

static int by_value(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

#define ROUND_TRIPS 21
/* The least and the middle of some round trips, in ms. */
static void round_trips(const struct ends *ends, double *ret_least, double *ret_middle)
{
    double ms[ROUND_TRIPS];

    for (uint32_t i = 0; i < ROUND_TRIPS; i++) {
        const int64_t start_ns = clock_now_ns();

        send_number(ends, 0, i);
        assert_int_equal(receive_number(ends, 1), i);
        send_number(ends, 1, i);
        assert_int_equal(receive_number(ends, 0), i);
        ms[i] = (double)(clock_now_ns() - start_ns) / (double)NS_PER_MS;
    }
    qsort(ms, ROUND_TRIPS, sizeof(ms[0]), by_value);
    *ret_least = ms[0];
    *ret_middle = ms[ROUND_TRIPS / 2];
}

static void command_send(const struct ends *ends, const char *line)
{
    assert_int_equal(write(ends->control, line, strlen(line)), (ssize_t)strlen(line));
}

/* After a command, until it is taken, which is soon. */
static void round_trips_over(const struct ends *ends, double floor_ms, double *ret_least,
                             double *ret_middle)
{
    int tries = 0;

    do {
        assert_true(tries++ < 100);
        round_trips(ends, ret_least, ret_middle);
    } while (*ret_least < floor_ms);
}

/* A round trip is never shorter than it was told; longer only by what a busy machine adds, of which
 * the middle of many shows little. */
static void delays_as_told(void **state)
{
    struct ends ends;
    double least, middle;
    int status = -1;

    (void)state;
    if (geteuid() != 0 || !end_open(&ends, 0) || !end_open(&ends, 1)) {
        print_message("no namespaces or TUN devices for this user here\n");
        skip();
    }
    relay_start(&ends);
    round_trips(&ends, &least, &middle);
    print_message("0 ms each way: middle %.2f ms\n", middle);
    assert_true(middle < 20);
    command_send(&ends, "delay 10 0\n");
    round_trips_over(&ends, 20, &least, &middle);
    print_message("10 ms each way: least %.2f, middle %.2f ms\n", least, middle);
    assert_true(middle < 40);
    command_send(&ends, "delay 15 20\n");
    round_trips_over(&ends, 30, &least, &middle);
    print_message("15 to 35 ms each way: least %.2f, middle %.2f ms\n", least, middle);
    assert_true(middle > 40 && middle < 90);
    for (uint32_t i = 0; i < 200; i++) { /* jitter does not reorder, and nothing is lost */
        send_number(&ends, 0, i);
    }
    for (uint32_t i = 0; i < 200; i++) {
        assert_int_equal(receive_number(&ends, 1), i);
    }
    command_send(&ends, "quit\n");
    assert_true(waitpid(ends.relay, &status, 0) == ends.relay && status == 0);
    (void)close(ends.control);
    (void)close(ends.udp[0]);
    (void)close(ends.udp[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_and_keeps_order),
        cmocka_unit_test(is_bounded),
        cmocka_unit_test(takes_commands),
        cmocka_unit_test(delays_as_told),
    };

    return cmocka_run_group_tests_name("relay", tests, NULL, NULL);
}
