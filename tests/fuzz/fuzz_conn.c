/* What a peer may send on an edge connection, fed to a conn over a transport that is only memory:
 * frames, flows, credits and the answers to them. The first byte says in which pieces the stream
 * arrives and whether writes are taken at once. Whatever comes, the connection closes once and
 * leaves nothing behind. */
#include "common/base/error.h"
#include "common/stream/conn_parts.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

struct memory_transport {
    struct transport base;
    bool takes_at_once;
    bool written_due, close_due;
};

struct owner {
    unsigned closed;
    uint64_t requests[2];
};

static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void memory_start(struct transport *base)
{
    (void)base;
}

static int memory_write(struct transport *base, const struct transport_span *spans, size_t count)
{
    struct memory_transport *memory = (struct memory_transport *)base;
    unsigned sum = 0;

    check(count <= TRANSPORT_SPANS_MAX && !memory->written_due && !memory->close_due);
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < spans[i].bytes; k++) {
            sum += ((const uint8_t *)spans[i].data)[k]; /* all of it is there to be read */
        }
    }
    memory->written_due = !memory->takes_at_once;
    return memory->takes_at_once && sum < UINT32_MAX ? TRANSPORT_DONE : 0;
}

static void memory_close(struct transport *base)
{
    ((struct memory_transport *)base)->close_due = true;
}

static const char *memory_name(const struct transport *base)
{
    (void)base;
    return "";
}

static void memory_bytes(const struct transport *base, uint64_t *ret_sent, uint64_t *ret_received)
{
    (void)base;
    *ret_sent = *ret_received = 0;
}

static const struct transport_ops memory_ops = {memory_start, memory_write, memory_close,
                                                memory_name,  memory_name,  memory_bytes};

static void on_frame(struct conn *conn, const struct frame *frame, void *user)
{
    uint8_t *copy;

    (void)user;
    if (frame->kind != FRAME_DATA) {
        (void)conn_send(conn, frame->kind, frame->flags, frame->request_id, frame->header,
                        frame->header_bytes);
        return;
    }
    copy = malloc(frame->payload_bytes + 1);
    check(copy != NULL);
    memcpy(copy, frame->payload, frame->payload_bytes);
    if (conn_send_payload_part(conn, frame->request_id, copy, frame->payload_bytes,
                               (frame->flags & FRAME_FLAG_LAST) != 0) != 0) {
        free(copy);
    }
    conn_consumed(conn, frame->request_id, frame->payload_bytes);
}

static void on_close(struct conn *conn, int error, const char *why, void *user)
{
    (void)conn;
    check(error <= 0 && strlen(why) < CONN_ERROR_BYTES && !strchr(why, '\n'));
    ((struct owner *)user)->closed++;
}

/* What the loop would do next: prepare, then what the transport owes. */
static void turn(uv_loop_t *loop, struct memory_transport *memory, struct conn *conn)
{
    uv_run(loop, UV_RUN_NOWAIT);
    if (memory->close_due) {
        return;
    }
    if (memory->written_due) {
        memory->written_due = false;
        memory->base.events->on_written(conn);
    }
}

static void feed(uv_loop_t *loop, struct memory_transport *memory, struct conn *conn,
                 const uint8_t *data, size_t bytes, size_t piece)
{
    for (size_t at = 0; at < bytes && !memory->close_due; at += piece) {
        const size_t most = bytes - at < piece ? bytes - at : piece;
        uint8_t *exact = malloc(most);

        check(exact != NULL);
        memcpy(exact, data + at, most);
        memory->base.events->on_read(conn, exact, most);
        free(exact);
        turn(loop, memory, conn);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const struct conn_params params = {.callbacks = {.on_frame = on_frame, .on_close = on_close}};
    struct memory_transport memory = {.base.ops = &memory_ops};
    struct owner owner = {0};
    uint8_t *payload = calloc(1, 1000);
    struct conn *conn;
    uv_loop_t loop;

    if (bytes == 0 || !payload) {
        free(payload);
        return 0;
    }
    check(uv_loop_init(&loop) == 0);
    check(conn_new(&loop, &params, &owner, &conn) == 0);
    check(conn_attach(conn, &memory.base, NULL) == 0);
    memory.takes_at_once = data[0] & 1;
    memory.base.events->on_open(conn);
    check(conn_send(conn, FRAME_REQUEST, 0, 7, "x", 1) ==
          0); /* so that acknowledgements and answers have something to fit */
    check(conn_send_payload(conn, 7, payload, 1000) == 0);
    turn(&loop, &memory, conn);
    feed(&loop, &memory, conn, data + 1, bytes - 1, (size_t)(data[0] >> 1) * 37 + 1);
    if (!memory.close_due) {
        conn_close(conn, false);
    }
    check(memory.close_due && owner.closed == 0);
    memory.base.events->on_closed(conn);
    uv_run(&loop, UV_RUN_DEFAULT);
    check(owner.closed == 1 && uv_loop_close(&loop) == 0);
    return 0;
}
