#include "common/wire/pb.h"

#include "common/base/error.h"
#include "common/base/limits.h"
#include "common/base/names.h"

#include <math.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#define PB_BLOCK_BYTES (8u << 10)
#define PB_ALIGN       alignof(max_align_t)

/* Blocks fill from the start; `left_bytes` of the arena counts what the newest has free at its end.
 */
struct pb_block {
    struct pb_block *next;
    size_t bytes;
    alignas(max_align_t) uint8_t data[];
};

static void *pb_arena_alloc(void *user, size_t bytes)
{
    struct pb_arena *arena = user;
    struct pb_block *block = arena->blocks;
    size_t block_bytes;

    if (bytes > LIMIT_UNPACK_BYTES) {
        arena->error = TANDEM_ETOOBIG;
        return NULL;
    }
    bytes = (bytes + PB_ALIGN - 1) / PB_ALIGN * PB_ALIGN;
    if (bytes > arena->left_bytes) {
        block_bytes = bytes > PB_BLOCK_BYTES ? bytes : PB_BLOCK_BYTES;
        if (block_bytes > arena->budget_bytes) {
            arena->error = TANDEM_ETOOBIG;
            return NULL;
        }
        block = malloc(sizeof(*block) + block_bytes);
        if (!block) {
            arena->error = TANDEM_ENOMEM;
            return NULL;
        }
        *block = (struct pb_block){.next = arena->blocks, .bytes = block_bytes};
        arena->blocks = block;
        arena->left_bytes = block_bytes;
        arena->budget_bytes -= block_bytes;
    }
    arena->left_bytes -= bytes;
    return block->data + (block->bytes - arena->left_bytes - bytes);
}

/* Everything goes at once in pb_arena_fini. */
static void pb_arena_release(void *user, void *memory)
{
    (void)user;
    (void)memory;
}

void pb_arena_init(struct pb_arena *arena)
{
    *arena = (struct pb_arena){
        .allocator = {.alloc = pb_arena_alloc, .free = pb_arena_release, .allocator_data = arena},
        .budget_bytes = LIMIT_UNPACK_BYTES,
    };
}

void pb_arena_fini(struct pb_arena *arena)
{
    struct pb_block *next;

    for (struct pb_block *block = arena->blocks; block; block = next) {
        next = block->next;
        free(block);
    }
    arena->blocks = NULL;
    arena->left_bytes = 0;
}

int pb_unpack(const ProtobufCMessageDescriptor *descriptor, const uint8_t *data, size_t bytes,
              struct pb_arena *arena, ProtobufCMessage **ret_message)
{
    static const uint8_t nothing[1];
    ProtobufCMessage *message;

    if (bytes > LIMIT_FRAME_HEADER_BYTES) {
        return TANDEM_ETOOBIG;
    }
    message =
        protobuf_c_message_unpack(descriptor, &arena->allocator, bytes, bytes ? data : nothing);
    if (!message) {
        return arena->error ? arena->error : TANDEM_EPROTO;
    }
    *ret_message = message;
    return 0;
}

int pb_read(const ProtobufCMessageDescriptor *descriptor, const uint8_t *data, size_t bytes,
            int (*load)(const void *message, void *plain), void *plain)
{
    struct pb_arena arena;
    ProtobufCMessage *message;
    int result;

    pb_arena_init(&arena);
    result = pb_unpack(descriptor, data, bytes, &arena, &message);
    if (result == 0) {
        result = load(message, plain);
    }
    pb_arena_fini(&arena);
    return result;
}

int pb_pack(const ProtobufCMessage *message, struct buf *out)
{
    const size_t bytes = protobuf_c_message_get_packed_size(message);
    int result;

    if (bytes > LIMIT_FRAME_HEADER_BYTES) {
        return TANDEM_ETOOBIG;
    }
    result = buf_reserve(out, bytes);
    if (result != 0) {
        return result;
    }
    if (bytes > 0) {
        out->bytes += protobuf_c_message_pack(message, out->data + out->bytes);
    }
    return 0;
}

static bool text_is_of(const char *text, const char *allowed)
{
    return text[strspn(text, allowed)] == '\0';
}

static bool text_is_route(const char *text)
{
    const char *colon = strchr(text, ':');

    if (*text == '\0') {
        return true;
    }
    if (!colon) {
        return name_is_valid(text);
    }
    return name_is_valid_n(text, (size_t)(colon - text)) && name_is_valid(colon + 1);
}

static bool text_obeys(const char *text, enum pb_rule rule)
{
    switch (rule) {
    case PB_RULE_NAME:
        return name_is_valid(text);
    case PB_RULE_NAME_OR_EMPTY:
        return *text == '\0' || name_is_valid(text);
    case PB_RULE_DIGEST:
        return (*text == '\0' || strlen(text) == 32) && text_is_of(text, "0123456789abcdef");
    case PB_RULE_DECIMAL:
        return text_is_of(text, "0123456789");
    case PB_RULE_ROUTE:
        return text_is_route(text);
    case PB_RULE_LINE:
        return true;
    }
    return false;
}

/* Bytes of the well-formed UTF-8 character at `text`, 0 when it is none. */
static size_t utf8_length(const unsigned char *text)
{
    static const unsigned long least[] = {0, 0, 0x80, 0x800, 0x10000};
    const size_t length = text[0] < 0x80   ? 1
                          : text[0] < 0xc0 ? 0
                          : text[0] < 0xe0 ? 2
                          : text[0] < 0xf0 ? 3
                          : text[0] < 0xf8 ? 4
                                           : 0;
    unsigned long point = length < 2 ? text[0] : text[0] & (0x7fu >> length);

    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0; /* the NUL at the end stops here too */
        }
        point = point << 6 | (text[i] & 0x3fu);
    }
    if (length > 1 &&
        (point < least[length] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000))) {
        return 0;
    }
    return length;
}

/* Makes a peer's text fit to be printed: one line, whole characters. */
static void text_clean(char *text)
{
    unsigned char *at = (unsigned char *)text;

    while (*at) {
        const size_t length = utf8_length(at);

        if (length == 0) {
            *at++ = '?';
        } else if (length == 1 && (*at < 0x20 || *at == 0x7f)) {
            *at++ = ' ';
        } else {
            at += length;
        }
    }
}

static int text_load(const struct pb_field *field, const char *from, char *to)
{
    const size_t bytes = strlen(from);

    if (bytes >= field->capacity) {
        return TANDEM_ETOOBIG;
    }
    if (!text_obeys(from, field->rule)) {
        return TANDEM_EPROTO;
    }
    memcpy(to, from, bytes + 1);
    if (field->rule == PB_RULE_LINE) {
        text_clean(to);
    }
    return 0;
}

static int unsigned_check(const struct pb_field *field, uint64_t value, uint64_t *ret_value)
{
    if (value < field->min) {
        return TANDEM_EPROTO;
    }
    if (value > field->max && !field->clamp) {
        return TANDEM_ETOOBIG;
    }
    *ret_value = value > field->max ? field->max : value;
    return 0;
}

static int real_check(const struct pb_field *field, double value, double *ret_value)
{
    if (!isfinite(value) || (!field->clamp && (value < field->low || value > field->high))) {
        return TANDEM_EPROTO;
    }
    *ret_value = value < field->low ? field->low : value > field->high ? field->high : value;
    return 0;
}

/* Numbers lie the same way in both structs, except bool, which is an int in the generated one. */
static int number_move(const struct pb_field *field, const void *from, void *to)
{
    uint64_t whole = 0;
    double real = 0;
    int result = 0;

    switch (field->type) {
    case PB_U32:
        result = unsigned_check(field, *(const uint32_t *)from, &whole);
        *(uint32_t *)to = (uint32_t)whole;
        break;
    case PB_U64:
        result = unsigned_check(field, *(const uint64_t *)from, &whole);
        *(uint64_t *)to = whole;
        break;
    case PB_FLOAT:
        result = real_check(field, (double)*(const float *)from, &real);
        *(float *)to = (float)real;
        break;
    case PB_DOUBLE:
        result = real_check(field, *(const double *)from, &real);
        *(double *)to = real;
        break;
    case PB_BOOL:
    case PB_TEXT:
        result = TANDEM_EINTERNAL;
        break;
    }
    return result;
}

int pb_fields_load(const struct pb_field *fields, size_t count, const void *message, void *plain)
{
    for (size_t i = 0; i < count; i++) {
        const struct pb_field *field = &fields[i];
        const uint8_t *from = (const uint8_t *)message + field->message_offset;
        uint8_t *to = (uint8_t *)plain + field->plain_offset;
        int result = 0;

        if (field->type == PB_TEXT) {
            result = text_load(field, *(char *const *)(const void *)from, (char *)to);
        } else if (field->type == PB_BOOL) {
            *(bool *)to = *(const protobuf_c_boolean *)(const void *)from != 0;
        } else {
            result = number_move(field, from, to);
        }
        if (result != 0) {
            return result;
        }
    }
    return 0;
}

int pb_fields_store(const struct pb_field *fields, size_t count, const void *plain, void *message)
{
    for (size_t i = 0; i < count; i++) {
        const struct pb_field *field = &fields[i];
        const uint8_t *from = (const uint8_t *)plain + field->plain_offset;
        uint8_t *to = (uint8_t *)message + field->message_offset;
        int result = 0;

        if (field->type == PB_TEXT) {
            const char *text = (const char *)from;

            if (strnlen(text, field->capacity) == field->capacity ||
                !text_obeys(text, field->rule)) {
                result = TANDEM_EINVAL;
            }
            *(const char **)(void *)to = text; /* borrowed until packed; never written through */
        } else if (field->type == PB_BOOL) {
            *(protobuf_c_boolean *)(void *)to = *(const bool *)from;
        } else {
            result = number_move(field, from, to);
        }
        if (result != 0) {
            return TANDEM_EINVAL;
        }
    }
    return 0;
}

int pb_bytes_copy(ProtobufCBinaryData from, size_t max_bytes, uint8_t **ret_bytes)
{
    uint8_t *copy;

    if (from.len > max_bytes) {
        return TANDEM_ETOOBIG;
    }
    copy = malloc(from.len + 1);
    if (!copy) {
        return TANDEM_ENOMEM;
    }
    if (from.len > 0) {
        memcpy(copy, from.data, from.len);
    }
    copy[from.len] = 0;
    *ret_bytes = copy;
    return 0;
}
