/* frame.h: the frame that both protocols use, between byte buffers and a struct. No sockets, no
 * allocation, no state; any thread.
 *
 *   0      4        5     6      8             12             16            24
 *   | TNDM | version | kind | flags | header bytes | payload bytes | request id | header ... |
 * payload ... |
 *
 * All little-endian. The header is one protobuf message chosen by kind; the payload is raw bytes
 * and only DATA has one. Request ids are the opener's choice, never 0; 0 speaks of the connection.
 * An unknown kind is skipped unless FRAME_FLAG_MANDATORY is set, which closes the connection. */
#ifndef TANDEM_WIRE_FRAME_H
#define TANDEM_WIRE_FRAME_H

#include "common/base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_MAGIC          0x4d444e54u /* "TNDM" read as little-endian */
#define FRAME_VERSION        1
#define FRAME_PREFIX_BYTES   24
#define FRAME_FLAG_MANDATORY 0x0001u
#define FRAME_FLAG_LAST      0x0002u /* DATA: the last of its request */

#define WIRE_VERSION_LOW  1 /* protocol versions this build speaks, both protocols */
#define WIRE_VERSION_HIGH 1

enum frame_kind {
    FRAME_HELLO = 1,    /* edge.Hello / local.Hello */
    FRAME_REQUEST = 2,  /* edge.Request / local.Submit */
    FRAME_DATA = 3,     /* payload; header empty */
    FRAME_DATA_ACK = 4, /* edge.DataAck */
    FRAME_CANCEL = 5,   /* header empty */
    FRAME_ACCEPTED = 6, /* edge.Accepted / local.Accepted */
    FRAME_TOKENS = 7,   /* parts.Piece */
    FRAME_RESULT = 8,   /* edge.Result / local.Answer; ends the request */
    FRAME_ERROR = 9, /* edge.Error / local.Error; ends the request or, with id 0, the connection */
    FRAME_PING = 10, /* edge.Ping */
    FRAME_PONG = 11, /* edge.Pong */
    FRAME_GOODBYE = 12, /* header empty: draining, send nothing new; running requests still end */
    FRAME_TASKS =
        13, /* edge.Hello: the tasks of the sender from now on, after a reload; optional */
    FRAME_FEEDBACK = 14, /* local.Feedback; the daemon's own ends it */
};

struct frame {
    uint8_t kind;
    uint16_t flags;
    uint64_t request_id;
    const uint8_t *header; /* borrowed */
    uint32_t header_bytes;
    const uint8_t *payload; /* borrowed */
    uint32_t payload_bytes;
};

/* Appends the encoded frame. TANDEM_ETOOBIG when header or payload is over its limit, TANDEM_EINVAL
 * for a request's frame with id 0 or a payload outside DATA, TANDEM_ENOMEM. */
int frame_encode(const struct frame *frame, struct buf *out);
/* Writes the prefix alone; header and payload are sent from where they lie. Limits are the caller's
 * business. */
void frame_prefix_store(const struct frame *frame, uint8_t out[FRAME_PREFIX_BYTES]);

/* Looks at `bytes` of received data. Returns 0 and the frame (borrowing `data`) with its whole size
 * in *ret_used; or 1 when more is needed (*ret_used = bytes that must be there before calling
 * again); or TANDEM_EPROTO for a wrong magic, version or size, a request's frame with id 0 or a
 * payload outside DATA: nothing that follows can be believed. Strangers are told from their first
 * byte. Kinds this version does not know are decoded (see frame_kind_is_known). */
int frame_decode(const uint8_t *data, size_t bytes, struct frame *ret_frame, size_t *ret_used);

/* "REQUEST"; "?" for a kind this version does not know. Static storage. */
const char *frame_kind_name(unsigned kind);
bool frame_kind_is_known(unsigned kind);

#endif
