#include "common/base/error.h"
#include "common/wire/edge_pb.h"

#include <stdlib.h>

#define AT(member) PB_AT(Tandem__Edge__Result, member, struct edge_result, member)
static const struct pb_field result_fields[] = {
    {AT(wait_us), .type = PB_U64, .max = LIMIT_DURATION_US, .clamp = true},
    {AT(run_us), .type = PB_U64, .max = LIMIT_DURATION_US, .clamp = true},
    {AT(cached_tokens), .type = PB_U32, .max = UINT32_MAX},
    {AT(prompt_tokens), .type = PB_U32, .max = UINT32_MAX},
    {AT(model_digest), .type = PB_TEXT, .capacity = 33, .rule = PB_RULE_DIGEST},
};
#undef AT
static const struct pb_field value_fields[] = {PB_ANSWER_FIELDS(Tandem__Edge__Result)};

int edge_result_pack(const struct edge_result *result_plain, struct buf *out)
{
    Tandem__Edge__Result message = TANDEM__EDGE__RESULT__INIT;
    Tandem__Edge__Load load = TANDEM__EDGE__LOAD__INIT;
    struct pb_answer parts;
    int result = PB_STORE(result_fields, result_plain, &message);

    if (result == 0) {
        result = PB_STORE(value_fields, &result_plain->answer, &message);
    }
    if (result == 0) {
        result = edge_pb_load_store(&result_plain->load, &load);
    }
    if (result == 0) {
        result = pb_answer_store(&result_plain->answer, &parts);
    }
    if (result != 0) {
        return result;
    }
    PB_ANSWER_PUT(&message, &parts);
    message.load = &load;
    result = pb_pack(&message.base, out);
    pb_answer_fini(&parts);
    return result;
}

static int result_load(const void *from, void *to)
{
    const Tandem__Edge__Result *message = from;
    struct edge_result *result_plain = to;
    const struct pb_answer parts = PB_ANSWER_GET(message);
    int result = PB_LOAD(result_fields, message, result_plain);

    if (result == 0) {
        result = PB_LOAD(value_fields, message, &result_plain->answer);
    }
    if (result == 0) {
        result = edge_pb_load_load(message->load, &result_plain->load);
    }
    return result == 0 ? pb_answer_load(&parts, &result_plain->answer) : result;
}

int edge_result_unpack(const uint8_t *data, size_t bytes, struct edge_result *ret_result)
{
    struct edge_result result_plain = {0};
    const int result =
        pb_read(&tandem__edge__result__descriptor, data, bytes, result_load, &result_plain);

    if (result != 0) {
        edge_result_fini(&result_plain);
        return result;
    }
    *ret_result = result_plain;
    return 0;
}

void edge_result_fini(struct edge_result *result)
{
    answer_fini(&result->answer);
    *result = (struct edge_result){0};
}
