#include "common/wire/local_msg.h"

#include "common/base/error.h"
#include "common/wire/pb.h"
#include "local.pb-c.h"

#include <stdlib.h>
#include <string.h>

#define AT(member) PB_AT(Tandem__Local__Hello, member, struct local_hello, member)
static const struct pb_field hello_fields[] = {
    {AT(version_low), .type = PB_U32, .min = 1, .max = UINT32_MAX},
    {AT(version_high), .type = PB_U32, .min = 1, .max = UINT32_MAX},
    {AT(software), .type = PB_TEXT, .capacity = sizeof(((struct local_hello *)0)->software),
     .rule = PB_RULE_LINE},
};
#undef AT
#define AT(member) PB_AT(Tandem__Local__Submit, member, struct local_submit, member)
static const struct pb_field submit_fields[] = {
    {AT(task), .type = PB_TEXT, .capacity = LIMIT_NAME_BYTES + 1, .rule = PB_RULE_NAME},
    {AT(deadline_us), .type = PB_U64, .max = LIMIT_DURATION_US, .clamp = true},
    {AT(payload_bytes), .type = PB_U64, .max = LIMIT_MEMFD_BYTES},
    {AT(memfd), .type = PB_BOOL},
    {AT(max_new_tokens), .type = PB_U32, .max = LIMIT_MAX_NEW_TOKENS},
    {AT(stream), .type = PB_BOOL},
    {AT(session), .type = PB_TEXT, .capacity = LIMIT_NAME_BYTES + 1, .rule = PB_RULE_NAME_OR_EMPTY},
    {AT(route), .type = PB_TEXT, .capacity = LIMIT_NAME_BYTES + 8, .rule = PB_RULE_ROUTE},
    {AT(leaves_device), .type = PB_U32, .max = 1},
    {AT(deliver_late), .type = PB_BOOL},
    {AT(capture_age_us), .type = PB_U64, .max = LIMIT_DURATION_US, .clamp = true},
};
#undef AT

static const struct pb_field name_field = {
    .type = PB_TEXT, .capacity = LIMIT_NAME_BYTES + 1, .rule = PB_RULE_NAME};

int local_hello_pack(const struct local_hello *hello, struct buf *out)
{
    Tandem__Local__Hello message = TANDEM__LOCAL__HELLO__INIT;
    char *tasks[LIMIT_TASKS];
    int result = hello->version_high >= hello->version_low ? PB_STORE(hello_fields, hello, &message)
                                                           : TANDEM_EINVAL;

    if (hello->task_count > LIMIT_TASKS) {
        return TANDEM_ETOOBIG;
    }
    for (size_t i = 0; result == 0 && i < hello->task_count; i++) {
        result = pb_fields_store(&name_field, 1, hello->tasks[i], &tasks[i]);
    }
    message.n_tasks = hello->task_count;
    message.tasks = tasks;
    message.n_kinds = hello->kinds ? hello->task_count : 0;
    message.kinds = hello->kinds;
    return result == 0 ? pb_pack(&message.base, out) : result;
}

static int hello_load(const void *from, void *to)
{
    const Tandem__Local__Hello *message = from;
    struct local_hello *hello = to;
    int result = PB_LOAD(hello_fields, message, hello);

    if (result != 0) {
        return result;
    }
    if (hello->version_high < hello->version_low) {
        return TANDEM_EPROTO;
    }
    if (message->n_tasks > LIMIT_TASKS) {
        return TANDEM_ETOOBIG;
    }
    if (message->n_kinds != 0 && message->n_kinds != message->n_tasks) {
        return TANDEM_EPROTO;
    }
    hello->tasks = calloc(message->n_tasks ? message->n_tasks : 1, sizeof(*hello->tasks));
    hello->kinds = calloc(message->n_tasks ? message->n_tasks : 1, sizeof(*hello->kinds));
    if (!hello->tasks || !hello->kinds) {
        return TANDEM_ENOMEM;
    }
    for (size_t i = 0; i < message->n_kinds; i++) {
        hello->kinds[i] = message->kinds[i];
    }
    for (; result == 0 && hello->task_count < message->n_tasks; hello->task_count++) {
        result = pb_fields_load(&name_field, 1, &message->tasks[hello->task_count],
                                hello->tasks[hello->task_count]);
    }
    return result;
}

int local_hello_unpack(const uint8_t *data, size_t bytes, struct local_hello *ret_hello)
{
    struct local_hello hello = {0};
    const int result = pb_read(&tandem__local__hello__descriptor, data, bytes, hello_load, &hello);

    if (result != 0) {
        local_hello_fini(&hello);
        return result;
    }
    *ret_hello = hello;
    return 0;
}

void local_hello_fini(struct local_hello *hello)
{
    free(hello->tasks);
    free(hello->kinds);
    *hello = (struct local_hello){0};
}

/* DATA is bounded as between daemons; only shared memory may be larger. A forced route is one of
 * the words the daemon knows. */
static int submit_check(const struct local_submit *submit)
{
    static const char *const words[] = {"", "auto", "local", "edge", "cascade"};

    if (!submit->memfd && submit->payload_bytes > LIMIT_PAYLOAD_BYTES) {
        return TANDEM_ETOOBIG;
    }
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(submit->route, words[i]) == 0) {
            return 0;
        }
    }
    return strncmp(submit->route, "edge:", 5) == 0 ? 0 : TANDEM_EPROTO;
}

int local_submit_pack(const struct local_submit *submit, struct buf *out)
{
    Tandem__Local__Submit message = TANDEM__LOCAL__SUBMIT__INIT;
    Tandem__Parts__Picture picture = TANDEM__PARTS__PICTURE__INIT;
    Tandem__Parts__Sampling sampling = TANDEM__PARTS__SAMPLING__INIT;
    int result = PB_STORE(submit_fields, submit, &message);

    if (result == 0 && submit_check(submit) != 0) {
        result = TANDEM_EINVAL;
    }
    if (result == 0 && submit->has_picture) {
        result = pb_picture_store(&submit->picture, &picture);
        message.picture = &picture;
    }
    if (result == 0) {
        result = pb_sampling_store(&submit->sampling, &sampling);
        message.sampling = &sampling;
    }
    return result == 0 ? pb_pack(&message.base, out) : result;
}

static int submit_load(const void *from, void *to)
{
    const Tandem__Local__Submit *message = from;
    struct local_submit *ret_submit = to;
    struct local_submit submit = {.has_picture = message->picture != NULL};
    int result = PB_LOAD(submit_fields, message, &submit);

    if (result == 0) {
        result = submit_check(&submit);
    }
    if (result == 0 && message->picture) {
        result = pb_picture_load(message->picture, &submit.picture);
    }
    if (result == 0) {
        result = pb_sampling_load(message->sampling, &submit.sampling);
    }
    if (result == 0) {
        *ret_submit = submit;
    }
    return result;
}

int local_submit_unpack(const uint8_t *data, size_t bytes, struct local_submit *ret_submit)
{
    return pb_read(&tandem__local__submit__descriptor, data, bytes, submit_load, ret_submit);
}
