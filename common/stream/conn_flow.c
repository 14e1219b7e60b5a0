#include "common/stream/conn_parts.h"

#include "common/base/clock.h"
#include "common/base/error.h"

#include <stdlib.h>

static struct flow **bucket_of(const struct conn *conn, uint64_t id)
{
    return (struct flow **)&conn
        ->flows[id % FLOW_BUCKETS]; /* ids are counted up: they spread by themselves */
}

struct flow *flow_find(const struct conn *conn, uint64_t id)
{
    struct flow *flow = *bucket_of(conn, id);

    while (flow && flow->id != id) {
        flow = flow->next_in_bucket;
    }
    return flow;
}

struct flow *flow_get(struct conn *conn, uint64_t id)
{
    struct flow *flow = flow_find(conn, id);

    if (flow) {
        return flow;
    }
    if (conn->flow_count >= LIMIT_FLOWS) {
        return NULL;
    }
    flow = calloc(1, sizeof(*flow));
    if (!flow) {
        return NULL;
    }
    flow->id = id;
    flow->chunks_end = &flow->chunks;
    flow->next_in_bucket = *bucket_of(conn, id);
    *bucket_of(conn, id) = flow;
    conn->flow_count++;
    return flow;
}

void chunk_unref(struct chunk *chunk)
{
    if (--chunk->references == 0) {
        free(chunk->data);
        free(chunk);
    }
}

static void ring_remove(struct conn *conn, struct flow *flow)
{
    struct flow **link = &conn->ready_first;

    if (!flow->ready) {
        return;
    }
    while (*link != flow) {
        link = &(*link)->next_ready;
    }
    *link = flow->next_ready;
    if (conn->ready_end == &flow->next_ready) {
        conn->ready_end = link;
    }
    flow->ready = false;
}

static void flow_free(struct conn *conn, struct flow *flow)
{
    struct chunk *next;

    ring_remove(conn, flow);
    for (struct chunk *chunk = flow->chunks; chunk; chunk = next) {
        next = chunk->next;
        conn->payload_queued -= chunk->bytes - chunk->offset;
        chunk_unref(chunk);
        conn->chunks_queued--;
    }
    free(flow);
    conn->flow_count--;
}

void flow_end(struct conn *conn, uint64_t id)
{
    struct flow **link = bucket_of(conn, id);

    while (*link && (*link)->id != id) {
        link = &(*link)->next_in_bucket;
    }
    if (*link) {
        struct flow *flow = *link;

        *link = flow->next_in_bucket;
        flow_free(conn, flow);
    }
}

void flow_end_all(struct conn *conn)
{
    for (size_t i = 0; i < FLOW_BUCKETS; i++) {
        while (conn->flows[i]) {
            flow_end(conn, conn->flows[i]->id);
        }
    }
}

void flow_wake(struct conn *conn, struct flow *flow)
{
    if (flow->ready || !flow->chunks ||
        flow->sent_bytes - flow->acked_bytes >= LIMIT_CREDIT_BYTES) {
        return;
    }
    flow->ready = true;
    flow->next_ready = NULL;
    *conn->ready_end = flow;
    conn->ready_end = &flow->next_ready;
    conn_want_flush(conn);
}

struct flow *flow_next_ready(struct conn *conn)
{
    struct flow *flow = conn->ready_first;

    if (flow) {
        ring_remove(conn, flow);
    }
    return flow;
}

int flow_receive(struct conn *conn, const struct frame *frame)
{
    struct flow *flow = flow_find(conn, frame->request_id);

    if (!flow || !flow->receiving) {
        return 1; /* it ended here while this was under way */
    }
    if (flow->received_last || flow->received_bytes + frame->payload_bytes > LIMIT_PAYLOAD_BYTES ||
        flow->received_bytes + frame->payload_bytes - flow->consumed_bytes > LIMIT_CREDIT_BYTES) {
        return TANDEM_EPROTO;
    }
    flow->received_bytes += frame->payload_bytes;
    flow->received_last = (frame->flags & FRAME_FLAG_LAST) != 0;
    return 0;
}

void flow_acked(struct conn *conn, uint64_t id, uint64_t acked_bytes)
{
    struct flow *flow = flow_find(conn, id);

    if (!flow || acked_bytes <= flow->acked_bytes) {
        return;
    }
    if (acked_bytes > flow->sent_bytes) {
        conn_fail(conn, TANDEM_EPROTO, true, "payload acknowledged that was never sent");
        return;
    }
    flow->acked_bytes = acked_bytes;
    flow_wake(conn, flow);
    if (conn->state == CONN_OPEN && conn->params.callbacks.on_acked) {
        conn->params.callbacks.on_acked(conn, id, acked_bytes, clock_now_ns() - flow->first_sent_ns,
                                        conn->user);
    }
}

/* Credits go back by whole frames, and at the end. */
static void flow_acknowledge(struct conn *conn, struct flow *flow)
{
    const bool whole = flow->received_last && flow->consumed_bytes == flow->received_bytes;
    uint8_t bytes[16];
    struct buf header = {.data = bytes, .capacity = sizeof(bytes), .max_bytes = sizeof(bytes)};

    if (flow->consumed_bytes == flow->ack_sent_bytes ||
        (!whole && flow->consumed_bytes - flow->ack_sent_bytes < LIMIT_FRAME_DATA_BYTES)) {
        return;
    }
    flow->ack_sent_bytes = flow->consumed_bytes;
    if (edge_data_ack_pack(flow->consumed_bytes, &header) == 0) {
        (void)conn_send(conn, FRAME_DATA_ACK, 0, flow->id, header.data, header.bytes);
    }
}

void conn_consumed(struct conn *conn, uint64_t request_id, uint32_t bytes)
{
    struct flow *flow = flow_find(conn, request_id);
    uint64_t left;

    if (!flow || conn->state != CONN_OPEN) {
        return;
    }
    left = flow->received_bytes - flow->consumed_bytes;
    flow->consumed_bytes += bytes < left ? bytes : left;
    flow_acknowledge(conn, flow);
}
