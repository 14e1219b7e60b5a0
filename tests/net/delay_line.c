#include "tests/net/delay_line.h"

#include <assert.h>
#include <stdlib.h>

int delay_line_init(struct delay_line *line)
{
    *line = (struct delay_line){0};
    line->packets = malloc(sizeof(*line->packets) * DELAY_LINE_PACKETS);
    return line->packets ? 0 : -1;
}

void delay_line_fini(struct delay_line *line)
{
    free(line->packets);
    *line = (struct delay_line){0};
}

static struct delay_packet *packet_at(const struct delay_line *line, size_t index)
{
    return &line->packets[(line->first + index) % DELAY_LINE_PACKETS];
}

uint8_t *delay_line_room(struct delay_line *line)
{
    return line->count < DELAY_LINE_PACKETS ? packet_at(line, line->count)->data : NULL;
}

void delay_line_drop(struct delay_line *line)
{
    line->dropped++;
}

void delay_line_put(struct delay_line *line, size_t bytes, int64_t due_ns)
{
    struct delay_packet *packet = packet_at(line, line->count);
    const int64_t before_ns =
        line->count > 0 ? packet_at(line, line->count - 1)->due_ns : INT64_MIN;

    assert(line->count < DELAY_LINE_PACKETS && bytes <= DELAY_LINE_BYTES);
    packet->bytes = bytes;
    packet->due_ns = due_ns > before_ns ? due_ns : before_ns;
    line->count++;
}

const struct delay_packet *delay_line_due(const struct delay_line *line, int64_t now_ns)
{
    const struct delay_packet *packet = packet_at(line, 0);

    return line->count > 0 && packet->due_ns <= now_ns ? packet : NULL;
}

void delay_line_pop(struct delay_line *line)
{
    assert(line->count > 0);
    line->first = (line->first + 1) % DELAY_LINE_PACKETS;
    line->count--;
    line->passed++;
}

int64_t delay_line_next_ns(const struct delay_line *line)
{
    return line->count > 0 ? packet_at(line, 0)->due_ns : INT64_MAX;
}
