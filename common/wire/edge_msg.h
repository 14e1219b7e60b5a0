/* edge_msg.h: the messages of proto/edge.proto as plain structs. `*_pack` appends the protobuf
 * bytes to a buffer (0; EINVAL for a value that the other side would refuse; ETOOBIG; ENOMEM);
 * `*_unpack` checks every limit the .proto states and returns 0 or TANDEM_EPROTO / ETOOBIG / ENOMEM
 * and never takes more than LIMIT_UNPACK_BYTES besides its result; what it fills is owned and goes
 * with `*_fini` (which zeroes; a zeroed struct is fine). Texts are NUL-terminated, never NULL after
 * unpack. No state; any thread. */
#ifndef TANDEM_WIRE_EDGE_MSG_H
#define TANDEM_WIRE_EDGE_MSG_H

#include "common/base/buf.h"
#include "common/wire/answer.h"

#define EDGE_BOOT_ID_BYTES 16

struct edge_load {
    uint32_t queued, running;
    uint64_t predicted_wait_us;
    double prefill_tokens_per_s, decode_tokens_per_s;
    uint64_t picture_us;
    bool draining;
    uint64_t kv_pages_free;
};
struct edge_task {
    char name[LIMIT_NAME_BYTES + 1];
    uint32_t kind;
    uint32_t label_count;
    char label_digest[33];
    char model_digest[33];
    uint32_t picture_width, picture_height; /* of the model's input; 0: unknown */
};
struct edge_hello {
    uint32_t version_low, version_high;
    uint64_t features;
    char software[128];
    uint8_t boot_id[EDGE_BOOT_ID_BYTES];
    char token[256];
    struct edge_task *tasks; /* owned */
    size_t task_count;
    bool has_load;
    struct edge_load load;
};
struct edge_request {
    char task[LIMIT_NAME_BYTES + 1];
    uint64_t budget_us;
    uint64_t payload_bytes;
    bool has_picture;
    struct wire_picture picture;
    struct wire_sampling sampling; /* top_p read as 1 when 0 or absent */
    uint32_t max_new_tokens;
    bool stream;
    char session[LIMIT_NAME_BYTES + 1];
    uint64_t prefix_bytes;
    char prefix_digest[33];
    char decision_id[21];
};
struct edge_result {
    struct answer answer; /* pack: borrowed members. unpack: owned; only what its kind has. Text
                             over about 60 KiB: ETOOBIG */
    uint64_t wait_us, run_us;
    uint32_t cached_tokens, prompt_tokens;
    char model_digest[33];
    struct edge_load load;
};
struct edge_error {
    int code;
    char text[256];
    uint64_t retry_after_ms;
    bool has_load;
    struct edge_load load;
};

int edge_hello_pack(const struct edge_hello *hello, struct buf *out);
int edge_hello_unpack(const uint8_t *data, size_t bytes, struct edge_hello *ret_hello);
void edge_hello_fini(struct edge_hello *hello);
int edge_request_pack(const struct edge_request *request, struct buf *out);
int edge_request_unpack(const uint8_t *data, size_t bytes, struct edge_request *ret_request);
int edge_accepted_pack(const struct edge_load *load, struct buf *out);
int edge_accepted_unpack(const uint8_t *data, size_t bytes, struct edge_load *ret_load);
int edge_result_pack(const struct edge_result *result, struct buf *out);
int edge_result_unpack(const uint8_t *data, size_t bytes, struct edge_result *ret_result);
void edge_result_fini(struct edge_result *result);
int edge_error_pack(const struct edge_error *error, struct buf *out);
int edge_error_unpack(const uint8_t *data, size_t bytes, struct edge_error *ret_error);
int edge_data_ack_pack(uint64_t acked_bytes, struct buf *out);
int edge_data_ack_unpack(const uint8_t *data, size_t bytes, uint64_t *ret_acked_bytes);
/* `padding_bytes` zeros make a probe of it; TANDEM_ETOOBIG over LIMIT_PROBE_BYTES, both ways. */
int edge_ping_pack(uint64_t nonce, size_t padding_bytes, struct buf *out);
int edge_ping_unpack(const uint8_t *data, size_t bytes, uint64_t *ret_nonce);
int edge_pong_pack(uint64_t nonce, const struct edge_load *load,
                   struct buf *out); /* load may be NULL */
int edge_pong_unpack(const uint8_t *data, size_t bytes, uint64_t *ret_nonce, bool *ret_has_load,
                     struct edge_load *ret_load);

/* The version both speak, or 0: min of the highs if no lower than either low. */
uint32_t wire_version_agree(uint32_t low_a, uint32_t high_a, uint32_t low_b, uint32_t high_b);

#endif
