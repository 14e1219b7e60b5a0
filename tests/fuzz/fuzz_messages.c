/* Messages of both protocols: the first byte chooses one, the rest is its header. What unpacks must
 * pack again, and the second unpacking must succeed: no value gets in that we would not send
 * ourselves. */
#include "common/base/error.h"
#include "common/wire/edge_msg.h"
#include "common/wire/local_msg.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* Unpacks, packs, unpacks: 0 when the first unpacking refused. One function for each message of a
 * struct. */
#define MESSAGE(name, fini)                                                                        \
    static void try_##name(const uint8_t *data, size_t bytes)                                      \
    {                                                                                              \
        struct name first;                                                                         \
        struct name second;                                                                        \
        struct buf again = {0};                                                                    \
        int result = name##_unpack(data, bytes, &first);                                           \
                                                                                                   \
        check(result <= 0);                                                                        \
        if (result == 0) {                                                                         \
            result = name##_pack(&first, &again);                                                  \
            check(result == 0 || result == TANDEM_ETOOBIG); /* numbers written shorter */          \
            if (result == 0) {                                                                     \
                check(name##_unpack(again.data, again.bytes, &second) == 0);                       \
                fini(&second);                                                                     \
            }                                                                                      \
            fini(&first);                                                                          \
        }                                                                                          \
        buf_fini(&again);                                                                          \
    }

static void nothing(void *unused)
{
    (void)unused;
}

MESSAGE(edge_hello, edge_hello_fini)
MESSAGE(edge_request, nothing)
MESSAGE(answer_piece, answer_piece_fini)
MESSAGE(edge_result, edge_result_fini)
MESSAGE(edge_error, nothing)
MESSAGE(local_hello, local_hello_fini)
MESSAGE(local_submit, nothing)
MESSAGE(local_answer, local_answer_fini)
MESSAGE(local_error, nothing)
MESSAGE(local_feedback, nothing)

static void try_small(const uint8_t *data, size_t bytes)
{
    struct edge_load load;
    uint64_t value;
    bool has_load;
    char id[21];

    (void)edge_data_ack_unpack(data, bytes, &value);
    (void)edge_ping_unpack(data, bytes, &value);
    (void)edge_pong_unpack(data, bytes, &value, &has_load, &load);
    if (edge_accepted_unpack(data, bytes, &load) == 0) {
        struct buf again = {0};

        check(edge_accepted_pack(&load, &again) == 0);
        buf_fini(&again);
    }
    if (local_accepted_unpack(data, bytes, id) == 0) {
        check(strlen(id) < sizeof(id));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static void (*const tries[])(const uint8_t *data, size_t bytes) = {
        try_edge_hello,  try_edge_request, try_answer_piece,   try_edge_result,
        try_edge_error,  try_local_hello,  try_local_submit,   try_local_answer,
        try_local_error, try_small,        try_local_feedback,
    };

    if (bytes > 0) {
        tries[data[0] % (sizeof(tries) / sizeof(tries[0]))](data + 1, bytes - 1);
    }
    return 0;
}
