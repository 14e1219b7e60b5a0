/* local_msg.h: the messages of proto/local.proto as plain structs; rules as in edge_msg.h. */
#ifndef TANDEM_WIRE_LOCAL_MSG_H
#define TANDEM_WIRE_LOCAL_MSG_H

#include "common/base/buf.h"
#include "common/wire/answer.h"

#define LOCAL_MEMFD_BYTES                                                                          \
    (64u << 10) /* pictures of this size and more travel as a sealed memfd                         \
                 */

struct local_hello {
    uint32_t version_low, version_high;
    char software[128];
    char (*tasks)[LIMIT_NAME_BYTES + 1]; /* owned array of task_count names */
    uint32_t *kinds; /* owned, enum task_kind_wire of each task; 0 or NULL: not said */
    size_t task_count;
};
struct local_submit {
    char task[LIMIT_NAME_BYTES + 1];
    uint64_t deadline_us;
    uint64_t payload_bytes;
    bool memfd;
    bool has_picture;
    struct wire_picture picture;
    struct wire_sampling sampling;
    uint32_t max_new_tokens;
    bool stream;
    char session[LIMIT_NAME_BYTES + 1];
    char route[LIMIT_NAME_BYTES + 8]; /* "" is auto */
    uint32_t leaves_device;
    bool deliver_late;
    uint64_t capture_age_us;
};
struct local_answer {
    char id[21];
    struct answer answer; /* pack: borrowed members. unpack: owned */
    char route[LIMIT_NAME_BYTES + 8];
    char outcome_route[LIMIT_NAME_BYTES + 8];
    char reason[256];
    uint64_t latency_us;
    double predicted_ms;
    bool met_deadline, partial, hedged;
};
struct local_error {
    int code;
    char text[256];
    char id[21];
    char route[LIMIT_NAME_BYTES + 8];
    char outcome_route[LIMIT_NAME_BYTES + 8];
    char reason[256];
    uint64_t latency_us;
};

struct local_feedback {
    char id[21]; /* of the decision; never "" */
    bool correct;
};

int local_hello_pack(const struct local_hello *hello, struct buf *out);
int local_hello_unpack(const uint8_t *data, size_t bytes, struct local_hello *ret_hello);
void local_hello_fini(struct local_hello *hello);
int local_submit_pack(const struct local_submit *submit, struct buf *out);
int local_submit_unpack(const uint8_t *data, size_t bytes, struct local_submit *ret_submit);
int local_accepted_pack(const char *id, struct buf *out);
int local_accepted_unpack(const uint8_t *data, size_t bytes, char ret_id[21]);
int local_answer_pack(const struct local_answer *answer, struct buf *out);
int local_answer_unpack(const uint8_t *data, size_t bytes, struct local_answer *ret_answer);
void local_answer_fini(struct local_answer *answer);
int local_error_pack(const struct local_error *error, struct buf *out);
int local_error_unpack(const uint8_t *data, size_t bytes, struct local_error *ret_error);
int local_feedback_pack(const struct local_feedback *feedback, struct buf *out);
int local_feedback_unpack(const uint8_t *data, size_t bytes, struct local_feedback *ret_feedback);

#endif
