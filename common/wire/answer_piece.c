#include "common/base/error.h"
#include "common/wire/pb.h"

#include <stdlib.h>

static const struct pb_field piece_fields[] = {
    {PB_AT(Tandem__Parts__Piece, count, struct answer_piece, count), .type = PB_U32,
     .max = LIMIT_MAX_NEW_TOKENS},
    {PB_AT(Tandem__Parts__Piece, restart, struct answer_piece, restart), .type = PB_BOOL},
};

int answer_piece_pack(const struct answer_piece *piece, struct buf *out)
{
    Tandem__Parts__Piece message = TANDEM__PARTS__PIECE__INIT;
    const int result = PB_STORE(piece_fields, piece, &message);

    if (result != 0) {
        return result;
    }
    if (piece->text_bytes > LIMIT_TOKENS_BYTES) {
        return TANDEM_ETOOBIG;
    }
    message.text = (ProtobufCBinaryData){piece->text_bytes, (uint8_t *)piece->text};
    return pb_pack(&message.base, out);
}

static int piece_load(const void *from, void *to)
{
    const Tandem__Parts__Piece *message = from;
    struct answer_piece piece = {.text_bytes = message->text.len};
    uint8_t *text;
    int result = PB_LOAD(piece_fields, message, &piece);

    if (result == 0) {
        result = pb_bytes_copy(message->text, LIMIT_TOKENS_BYTES, &text);
    }
    if (result == 0) {
        piece.text = text;
        *(struct answer_piece *)to = piece;
    }
    return result;
}

int answer_piece_unpack(const uint8_t *data, size_t bytes, struct answer_piece *ret_piece)
{
    return pb_read(&tandem__parts__piece__descriptor, data, bytes, piece_load, ret_piece);
}

void answer_piece_fini(struct answer_piece *piece)
{
    free((void *)piece->text); /* ours after unpack */
    *piece = (struct answer_piece){0};
}
