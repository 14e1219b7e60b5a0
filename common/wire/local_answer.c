#include "common/base/error.h"
#include "common/wire/local_msg.h"
#include "common/wire/pb.h"
#include "local.pb-c.h"

#include <stdlib.h>

#define PREDICTED_LAST_MS 3.6e6

#define ROUTE_BYTES (LIMIT_NAME_BYTES + 8)
#define ID_BYTES    21

#define AT(member) PB_AT(Tandem__Local__Answer, member, struct local_answer, member)
static const struct pb_field answer_fields[] = {
    {AT(id), .type = PB_TEXT, .capacity = ID_BYTES, .rule = PB_RULE_DECIMAL},
    {AT(route), .type = PB_TEXT, .capacity = ROUTE_BYTES, .rule = PB_RULE_ROUTE},
    {AT(outcome_route), .type = PB_TEXT, .capacity = ROUTE_BYTES, .rule = PB_RULE_ROUTE},
    {AT(reason), .type = PB_TEXT, .capacity = LIMIT_LINE_BYTES + 1, .rule = PB_RULE_LINE},
    {AT(latency_us), .type = PB_U64, .max = LIMIT_DURATION_US, .clamp = true},
    {AT(predicted_ms), .type = PB_DOUBLE, .low = -1, .high = PREDICTED_LAST_MS, .clamp = true},
    {AT(met_deadline), .type = PB_BOOL},
    {AT(partial), .type = PB_BOOL},
    {AT(hedged), .type = PB_BOOL},
};
#undef AT
static const struct pb_field value_fields[] = {PB_ANSWER_FIELDS(Tandem__Local__Answer)};
#define AT(member) PB_AT(Tandem__Local__Error, member, struct local_error, member)
static const struct pb_field error_fields[] = {
    {AT(text), .type = PB_TEXT, .capacity = LIMIT_LINE_BYTES + 1, .rule = PB_RULE_LINE},
    {AT(id), .type = PB_TEXT, .capacity = ID_BYTES, .rule = PB_RULE_DECIMAL},
    {AT(route), .type = PB_TEXT, .capacity = ROUTE_BYTES, .rule = PB_RULE_ROUTE},
    {AT(outcome_route), .type = PB_TEXT, .capacity = ROUTE_BYTES, .rule = PB_RULE_ROUTE},
    {AT(reason), .type = PB_TEXT, .capacity = LIMIT_LINE_BYTES + 1, .rule = PB_RULE_LINE},
    {AT(latency_us), .type = PB_U64, .max = LIMIT_DURATION_US, .clamp = true},
};
#undef AT
static const struct pb_field id_fields[] = {
    {.message_offset = offsetof(Tandem__Local__Accepted, id),
     .type = PB_TEXT,
     .capacity = ID_BYTES,
     .rule = PB_RULE_DECIMAL},
};

#define AT(member) PB_AT(Tandem__Local__Feedback, member, struct local_feedback, member)
static const struct pb_field feedback_fields[] = {
    {AT(id), .type = PB_TEXT, .capacity = ID_BYTES, .rule = PB_RULE_DECIMAL},
    {AT(correct), .type = PB_BOOL},
};
#undef AT

int local_accepted_pack(const char *id, struct buf *out)
{
    Tandem__Local__Accepted message = TANDEM__LOCAL__ACCEPTED__INIT;
    const int result = PB_STORE(id_fields, id, &message);

    return result == 0 ? pb_pack(&message.base, out) : result;
}

static int accepted_load(const void *from, void *to)
{
    return PB_LOAD(id_fields, from, to);
}

int local_accepted_unpack(const uint8_t *data, size_t bytes, char ret_id[21])
{
    return pb_read(&tandem__local__accepted__descriptor, data, bytes, accepted_load, ret_id);
}

int local_answer_pack(const struct local_answer *answer, struct buf *out)
{
    Tandem__Local__Answer message = TANDEM__LOCAL__ANSWER__INIT;
    struct pb_answer parts;
    int result = PB_STORE(answer_fields, answer, &message);

    if (result == 0) {
        result = PB_STORE(value_fields, &answer->answer, &message);
    }
    if (result == 0) {
        result = pb_answer_store(&answer->answer, &parts);
    }
    if (result != 0) {
        return result;
    }
    PB_ANSWER_PUT(&message, &parts);
    result = pb_pack(&message.base, out);
    pb_answer_fini(&parts);
    return result;
}

static int answer_load(const void *from, void *to)
{
    const Tandem__Local__Answer *message = from;
    struct local_answer *answer = to;
    const struct pb_answer parts = PB_ANSWER_GET(message);
    int result = PB_LOAD(answer_fields, message, answer);

    if (result == 0) {
        result = PB_LOAD(value_fields, message, &answer->answer);
    }
    return result == 0 ? pb_answer_load(&parts, &answer->answer) : result;
}

int local_answer_unpack(const uint8_t *data, size_t bytes, struct local_answer *ret_answer)
{
    struct local_answer answer = {0};
    const int result =
        pb_read(&tandem__local__answer__descriptor, data, bytes, answer_load, &answer);

    if (result != 0) {
        local_answer_fini(&answer);
        return result;
    }
    *ret_answer = answer;
    return 0;
}

void local_answer_fini(struct local_answer *answer)
{
    answer_fini(&answer->answer);
    *answer = (struct local_answer){0};
}

int local_error_pack(const struct local_error *error, struct buf *out)
{
    Tandem__Local__Error message = TANDEM__LOCAL__ERROR__INIT;
    const int result = error->code < 0 ? PB_STORE(error_fields, error, &message) : TANDEM_EINVAL;

    message.code = error->code;
    return result == 0 ? pb_pack(&message.base, out) : result;
}

static int error_load(const void *from, void *to)
{
    const Tandem__Local__Error *message = from;
    struct local_error error = {.code = message->code};
    const int result = error.code < 0 ? PB_LOAD(error_fields, message, &error) : TANDEM_EPROTO;

    if (result == 0) {
        *(struct local_error *)to = error;
    }
    return result;
}

int local_error_unpack(const uint8_t *data, size_t bytes, struct local_error *ret_error)
{
    return pb_read(&tandem__local__error__descriptor, data, bytes, error_load, ret_error);
}

int local_feedback_pack(const struct local_feedback *feedback, struct buf *out)
{
    Tandem__Local__Feedback message = TANDEM__LOCAL__FEEDBACK__INIT;
    const int result =
        feedback->id[0] ? PB_STORE(feedback_fields, feedback, &message) : TANDEM_EINVAL;

    return result == 0 ? pb_pack(&message.base, out) : result;
}

static int feedback_load(const void *from, void *to)
{
    struct local_feedback feedback = {.correct = false};
    const int result = PB_LOAD(feedback_fields, from, &feedback);

    if (result != 0 || !feedback.id[0]) {
        return result != 0 ? result : TANDEM_EPROTO;
    }
    *(struct local_feedback *)to = feedback;
    return 0;
}

int local_feedback_unpack(const uint8_t *data, size_t bytes, struct local_feedback *ret_feedback)
{
    return pb_read(&tandem__local__feedback__descriptor, data, bytes, feedback_load, ret_feedback);
}
