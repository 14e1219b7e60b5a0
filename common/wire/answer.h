/* answer.h: what a request ends with, as both protocols carry it; and the transcript of a session.
 * Plain structs. */
#ifndef TANDEM_WIRE_ANSWER_H
#define TANDEM_WIRE_ANSWER_H

#include "common/base/buf.h"
#include "common/base/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum task_kind_wire { WIRE_CLASSIFY = 1, WIRE_DETECT = 2, WIRE_GENERATE = 3 };
enum finish_wire {
    WIRE_FINISH_NONE = 0,
    WIRE_FINISH_END = 1,
    WIRE_FINISH_LENGTH = 2,
    WIRE_FINISH_DEADLINE = 3
};

struct answer_label {
    char *label;
    double score;
};
struct answer_box {
    char *label;
    double score;
    float x, y, w, h;
};

struct answer {
    uint32_t kind;
    struct answer_label *labels; /* best first */
    size_t label_count;
    struct answer_box *boxes;
    size_t box_count;
    char *text; /* text_bytes bytes and a NUL */
    size_t text_bytes;
    uint32_t tokens;
    uint32_t finish;
    double confidence; /* 0..1 */
};
/* Frees what it owns and zeroes; a zeroed answer is fine. */
void answer_fini(struct answer *answer);
/* Deep copy. */
int answer_copy(const struct answer *from, struct answer *ret_copy);

/* A piece of generated text on its way, the header of a TOKENS frame of both protocols. */
struct answer_piece {
    const uint8_t *text; /* pack: borrowed. unpack: owned; at most LIMIT_TOKENS_BYTES */
    size_t text_bytes;
    uint32_t count; /* tokens in it; 0: not counted */
    bool restart;   /* to an application: the text begins again here */
};
/* As the messages of edge_msg.h and local_msg.h. */
int answer_piece_pack(const struct answer_piece *piece, struct buf *out);
int answer_piece_unpack(const uint8_t *data, size_t bytes, struct answer_piece *ret_piece);
void answer_piece_fini(struct answer_piece *piece);

struct wire_picture {
    uint32_t format, width, height, stride_bytes;
}; /* format as edge.proto */
struct wire_sampling {
    float temperature;
    uint32_t top_k;
    float top_p;
    uint64_t seed;
};

/* A transcript is the bytes of its turns one after the other: u8 role, u32 little-endian length,
 * text. Both sides keep it as bytes, so a prefix has a length and a digest without agreeing on
 * tokens. */
enum turn_role { TURN_USER = 1, TURN_ANSWER = 2 };
int transcript_append(struct buf *transcript, enum turn_role role, const char *text, size_t bytes);
/* Reads the turn at *offset and moves it past. 0, 1 at the end, TANDEM_EFORMAT. */
int transcript_next(const uint8_t *data, size_t bytes, size_t *offset, enum turn_role *ret_role,
                    const char **ret_text, size_t *ret_bytes);

#endif
