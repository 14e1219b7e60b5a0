/* delay_line.h: packets on their way: a bounded queue in which each waits until its time has come.
 * Pure: time is an argument. They leave in the order in which they came, however short the delay of
 * a later one is, as on a radio link; so jitter never reorders. */
#ifndef TANDEM_TESTS_DELAY_LINE_H
#define TANDEM_TESTS_DELAY_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DELAY_LINE_PACKETS 2048 /* at 1500 bytes: 100 ms of 245 Mbit/s */
#define DELAY_LINE_BYTES   1500 /* of one packet */

struct delay_packet {
    int64_t due_ns;
    size_t bytes;
    uint8_t data[DELAY_LINE_BYTES];
};
struct delay_line {
    struct delay_packet *packets; /* a ring of DELAY_LINE_PACKETS */
    size_t first, count;
    uint64_t passed, dropped; /* dropped: the queue was full */
};
/* 0, or -1 without memory. */
int delay_line_init(struct delay_line *line);
void delay_line_fini(struct delay_line *line);
/* Where the next packet may be put, DELAY_LINE_BYTES of room. NULL when the queue is full: the
 * caller counts it with delay_line_drop. */
uint8_t *delay_line_room(struct delay_line *line);
void delay_line_drop(struct delay_line *line);
/* What was put there counts `bytes` and leaves at `due_ns`, or when the one before it does if that
 * is later. */
void delay_line_put(struct delay_line *line, size_t bytes, int64_t due_ns);
/* The first packet, if its time has come, else NULL; delay_line_pop takes it away. */
const struct delay_packet *delay_line_due(const struct delay_line *line, int64_t now_ns);
void delay_line_pop(struct delay_line *line);
/* When the first is due; INT64_MAX: there is none. */
int64_t delay_line_next_ns(const struct delay_line *line);

#endif
