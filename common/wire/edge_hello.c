#include "common/wire/edge_msg.h"

#include "common/base/error.h"
#include "common/wire/edge_pb.h"

#include <stdlib.h>
#include <string.h>

#define KIND_LAST 255 /* kinds of later versions pass: only that pair of tasks is off */

#define AT(member) PB_AT(Tandem__Edge__Hello, member, struct edge_hello, member)
static const struct pb_field hello_fields[] = {
    {AT(version_low), .type = PB_U32, .min = 1, .max = UINT32_MAX},
    {AT(version_high), .type = PB_U32, .min = 1, .max = UINT32_MAX},
    {AT(features), .type = PB_U64, .max = UINT64_MAX},
    {AT(software), .type = PB_TEXT, .capacity = sizeof(((struct edge_hello *)0)->software),
     .rule = PB_RULE_LINE},
    {AT(token), .type = PB_TEXT, .capacity = sizeof(((struct edge_hello *)0)->token),
     .rule = PB_RULE_LINE},
};
#undef AT
#define AT(member) PB_AT(Tandem__Edge__TaskContract, member, struct edge_task, member)
static const struct pb_field task_fields[] = {
    {AT(name), .type = PB_TEXT, .capacity = LIMIT_NAME_BYTES + 1, .rule = PB_RULE_NAME},
    {AT(kind), .type = PB_U32, .min = 1, .max = KIND_LAST},
    {AT(label_count), .type = PB_U32, .max = LIMIT_MODEL_CLASSES},
    {AT(label_digest), .type = PB_TEXT, .capacity = 33, .rule = PB_RULE_DIGEST},
    {AT(model_digest), .type = PB_TEXT, .capacity = 33, .rule = PB_RULE_DIGEST},
    {AT(picture_width), .type = PB_U32, .max = LIMIT_PICTURE_SIDE_PIXELS},
    {AT(picture_height), .type = PB_U32, .max = LIMIT_PICTURE_SIDE_PIXELS},
};
#undef AT

uint32_t wire_version_agree(uint32_t low_a, uint32_t high_a, uint32_t low_b, uint32_t high_b)
{
    const uint32_t version = high_a < high_b ? high_a : high_b;

    return version >= low_a && version >= low_b ? version : 0;
}

static int tasks_store(const struct edge_hello *hello, Tandem__Edge__TaskContract *messages,
                       Tandem__Edge__TaskContract **pointers)
{
    for (size_t i = 0; i < hello->task_count; i++) {
        const int result = (tandem__edge__task_contract__init(&messages[i]),
                            PB_STORE(task_fields, &hello->tasks[i], &messages[i]));

        if (result != 0) {
            return result;
        }
        pointers[i] = &messages[i];
    }
    return 0;
}

int edge_hello_pack(const struct edge_hello *hello, struct buf *out)
{
    Tandem__Edge__Hello message = TANDEM__EDGE__HELLO__INIT;
    Tandem__Edge__TaskContract tasks[LIMIT_TASKS];
    Tandem__Edge__TaskContract *task_pointers[LIMIT_TASKS];
    Tandem__Edge__Load load = TANDEM__EDGE__LOAD__INIT;
    int result;

    if (hello->task_count > LIMIT_TASKS) {
        return TANDEM_ETOOBIG;
    }
    if (hello->version_high < hello->version_low) {
        return TANDEM_EINVAL;
    }
    result = PB_STORE(hello_fields, hello, &message);
    if (result == 0) {
        result = tasks_store(hello, tasks, task_pointers);
    }
    if (result == 0 && hello->has_load) {
        result = edge_pb_load_store(&hello->load, &load);
        message.load = &load;
    }
    if (result != 0) {
        return result;
    }
    message.boot_id = (ProtobufCBinaryData){EDGE_BOOT_ID_BYTES, (uint8_t *)hello->boot_id};
    message.n_tasks = hello->task_count;
    message.tasks = task_pointers;
    return pb_pack(&message.base, out);
}

static bool task_is_listed(const struct edge_task *tasks, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(tasks[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static int tasks_load(const Tandem__Edge__Hello *message, struct edge_hello *hello)
{
    if (message->n_tasks > LIMIT_TASKS) {
        return TANDEM_ETOOBIG;
    }
    hello->tasks = calloc(message->n_tasks ? message->n_tasks : 1, sizeof(*hello->tasks));
    if (!hello->tasks) {
        return TANDEM_ENOMEM;
    }
    for (; hello->task_count < message->n_tasks; hello->task_count++) {
        struct edge_task *task = &hello->tasks[hello->task_count];
        const int result = PB_LOAD(task_fields, message->tasks[hello->task_count], task);

        if (result != 0) {
            return result;
        }
        if (task_is_listed(hello->tasks, hello->task_count, task->name)) {
            return TANDEM_EPROTO;
        }
    }
    return 0;
}

static int hello_load(const void *from, void *to)
{
    const Tandem__Edge__Hello *message = from;
    struct edge_hello *hello = to;
    int result = PB_LOAD(hello_fields, message, hello);

    if (result != 0) {
        return result;
    }
    if (hello->version_high < hello->version_low || message->boot_id.len != EDGE_BOOT_ID_BYTES) {
        return TANDEM_EPROTO;
    }
    memcpy(hello->boot_id, message->boot_id.data, EDGE_BOOT_ID_BYTES);
    result = tasks_load(message, hello);
    if (result == 0 && message->load) {
        hello->has_load = true;
        result = edge_pb_load_load(message->load, &hello->load);
    }
    return result;
}

int edge_hello_unpack(const uint8_t *data, size_t bytes, struct edge_hello *ret_hello)
{
    struct edge_hello hello = {0};
    const int result = pb_read(&tandem__edge__hello__descriptor, data, bytes, hello_load, &hello);

    if (result != 0) {
        edge_hello_fini(&hello);
        return result;
    }
    *ret_hello = hello;
    return 0;
}

void edge_hello_fini(struct edge_hello *hello)
{
    free(hello->tasks);
    *hello = (struct edge_hello){0};
}
