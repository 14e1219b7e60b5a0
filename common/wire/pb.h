/* pb.h: how this room speaks with protobuf-c, and the only header besides the message files that
 * sees it. Inside common/wire only.
 *
 * A message is described by a table of fields that links the generated struct with our plain one
 * and states each limit, so packing and unpacking cannot disagree. Sub-messages, repeated fields
 * and raw bytes are done by hand beside the table. Unpacking takes its memory from a bounded arena,
 * whatever the sender wrote. No state; any thread. */
#ifndef TANDEM_WIRE_PB_H
#define TANDEM_WIRE_PB_H

#include "common/base/buf.h"
#include "common/wire/answer.h"
#include "parts.pb-c.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Memory for one unpacked message: blocks that are freed together, LIMIT_UNPACK_BYTES in all. */
struct pb_block;
struct pb_arena {
    ProtobufCAllocator allocator;
    struct pb_block *blocks;
    size_t left_bytes;   /* in the newest block */
    size_t budget_bytes; /* that may still be asked for */
    int error;           /* the first refusal: TANDEM_ETOOBIG or ENOMEM */
};
void pb_arena_init(struct pb_arena *arena);
void pb_arena_fini(struct pb_arena *arena);

/* Checks the size, then unpacks into the arena. TANDEM_ETOOBIG, ENOMEM, EPROTO. */
int pb_unpack(const ProtobufCMessageDescriptor *descriptor, const uint8_t *data, size_t bytes,
              struct pb_arena *arena, ProtobufCMessage **ret_message);
/* Unpacks and has `load` take from the message what `plain` keeps, then frees the message. The
 * errors of pb_unpack and of `load`. */
int pb_read(const ProtobufCMessageDescriptor *descriptor, const uint8_t *data, size_t bytes,
            int (*load)(const void *message, void *plain), void *plain);
/* Appends the packed message. TANDEM_ETOOBIG over LIMIT_FRAME_HEADER_BYTES, ENOMEM. */
int pb_pack(const ProtobufCMessage *message, struct buf *out);

enum pb_type { PB_U32, PB_U64, PB_BOOL, PB_FLOAT, PB_DOUBLE, PB_TEXT };
enum pb_rule {
    PB_RULE_NAME,          /* name_is_valid */
    PB_RULE_NAME_OR_EMPTY, /* or "" */
    PB_RULE_DIGEST,        /* 32 lower-case hex digits, or "" */
    PB_RULE_DECIMAL,       /* digits, or "" */
    PB_RULE_ROUTE,         /* "", a word, or a word ':' a name */
    PB_RULE_LINE, /* UTF-8; control characters and broken sequences are replaced when read */
};
struct pb_field {
    size_t message_offset; /* in the generated struct */
    size_t plain_offset;   /* in ours */
    enum pb_type type;
    bool clamp;        /* a number outside low..high is brought inside instead of refused */
    double low, high;  /* PB_FLOAT, PB_DOUBLE; not finite is always refused */
    uint64_t min, max; /* PB_U32, PB_U64 */
    size_t capacity;   /* PB_TEXT: of the plain array, with the NUL */
    enum pb_rule rule;
};
#define PB_AT(Message, message_member, Plain, plain_member)                                        \
    .message_offset = offsetof(Message, message_member),                                           \
    .plain_offset = offsetof(Plain, plain_member)

/* generated -> plain. Numbers and texts over a limit: TANDEM_ETOOBIG; texts that break their rule,
 * numbers that are none: EPROTO. */
int pb_fields_load(const struct pb_field *fields, size_t count, const void *message, void *plain);
/* plain -> generated; texts are borrowed. The same checks; a value the peer would refuse is
 * TANDEM_EINVAL here. */
int pb_fields_store(const struct pb_field *fields, size_t count, const void *plain, void *message);
#define PB_LOAD(table, message, plain)                                                             \
    pb_fields_load(table, sizeof(table) / sizeof((table)[0]), message, plain)
#define PB_STORE(table, plain, message)                                                            \
    pb_fields_store(table, sizeof(table) / sizeof((table)[0]), plain, message)

/* A copy of raw bytes with a NUL behind; TANDEM_ETOOBIG over `max_bytes`, ENOMEM. *returns owned*.
 */
int pb_bytes_copy(ProtobufCBinaryData from, size_t max_bytes, uint8_t **ret_bytes);

/* The parts both protocols share. Load: 0, EPROTO, ETOOBIG; store: 0, EINVAL. */
int pb_picture_load(const Tandem__Parts__Picture *message, struct wire_picture *ret_picture);
int pb_picture_store(const struct wire_picture *picture, Tandem__Parts__Picture *message);
int pb_sampling_load(const Tandem__Parts__Sampling *message,
                     struct wire_sampling *ret_sampling); /* NULL: the defaults */
int pb_sampling_store(const struct wire_sampling *sampling, Tandem__Parts__Sampling *message);

/* The repeated parts of an answer, only those its kind has. `answer->kind` is set before. On
 * failure the caller does answer_fini. */
struct pb_answer {
    size_t score_count, box_count;
    Tandem__Parts__LabelScore **scores;
    Tandem__Parts__Box **boxes;
    ProtobufCBinaryData text;
};
/* What every message that holds an answer has under the same names: the rows of its table, and its
 * repeated parts from and to a struct pb_answer. */
#define PB_ANSWER_FIELDS(Message)                                                                  \
    {PB_AT(Message, kind, struct answer, kind), .type = PB_U32, .min = WIRE_CLASSIFY,              \
     .max = WIRE_GENERATE},                                                                        \
        {PB_AT(Message, tokens, struct answer, tokens), .type = PB_U32,                            \
         .max = LIMIT_MAX_NEW_TOKENS},                                                             \
        {PB_AT(Message, finish, struct answer, finish), .type = PB_U32,                            \
         .max = WIRE_FINISH_DEADLINE},                                                             \
    {                                                                                              \
        PB_AT(Message, confidence, struct answer, confidence), .type = PB_DOUBLE, .low = 0,        \
                                                               .high = 1, .clamp = true            \
    }
#define PB_ANSWER_GET(message)                                                                     \
    {                                                                                              \
        (message)->n_scores, (message)->n_boxes, (message)->scores, (message)->boxes,              \
            (message)->text                                                                        \
    }
#define PB_ANSWER_PUT(message, parts)                                                              \
    ((message)->n_scores = (parts)->score_count, (message)->scores = (parts)->scores,              \
     (message)->n_boxes = (parts)->box_count, (message)->boxes = (parts)->boxes,                   \
     (message)->text = (parts)->text)
int pb_answer_load(const struct pb_answer *from, struct answer *answer);
int pb_answer_store(const struct answer *answer, struct pb_answer *ret_parts);
void pb_answer_fini(struct pb_answer *parts); /* of a stored one */

#endif
