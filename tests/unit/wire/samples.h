/* samples.h: one good message of each kind, to be broken by the tests one value at a time. */
#ifndef TANDEM_TESTS_WIRE_SAMPLES_H
#define TANDEM_TESTS_WIRE_SAMPLES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/error.h"
#include "common/base/limits.h"
#include "common/wire/edge_msg.h"
#include "common/wire/local_msg.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIGEST "0123456789abcdef0123456789abcdef"

static const struct edge_load sample_load = {3, 2, 1500, 1000.5, 42.25, 7000, true, 99};

static inline struct edge_request sample_request(void)
{
    return (struct edge_request){.task = "objects",
                                 .budget_us = 90000,
                                 .payload_bytes = 3072,
                                 .has_picture = true,
                                 .picture = {1, 32, 32, 96},
                                 .sampling = {0.5f, 40, 0.9f, 7},
                                 .max_new_tokens = 64,
                                 .stream = true,
                                 .session = "s-1",
                                 .prefix_bytes = 10,
                                 .prefix_digest = DIGEST,
                                 .decision_id = "18446744073709551615"};
}

static inline struct local_submit sample_submit(void)
{
    return (struct local_submit){.task = "objects",
                                 .deadline_us = 90000,
                                 .payload_bytes = 3072,
                                 .has_picture = true,
                                 .picture = {1, 32, 32, 96},
                                 .sampling = {0.5f, 40, 0.9f, 7},
                                 .max_new_tokens = 64,
                                 .stream = true,
                                 .session = "s-1",
                                 .route = "edge:kitchen",
                                 .leaves_device = 1,
                                 .deliver_late = true,
                                 .capture_age_us = 5};
}

static struct answer_label sample_labels[] = {{"cat", 0.75}, {"dog", 0.25}};
static struct answer_box sample_boxes[] = {{"person", 0.5, 1.5f, -2, 30, 40}};

static inline struct answer sample_answer(uint32_t kind)
{
    struct answer answer = {
        .kind = kind, .tokens = 5, .finish = WIRE_FINISH_END, .confidence = 0.75};

    switch (kind) {
    case WIRE_CLASSIFY:
        answer.labels = sample_labels;
        answer.label_count = 2;
        break;
    case WIRE_DETECT:
        answer.boxes = sample_boxes;
        answer.box_count = 1;
        break;
    default:
        answer.text = "TURN\0LEFT";
        answer.text_bytes = 9;
        break;
    }
    return answer;
}

static inline void assert_answer_equal(const struct answer *one, const struct answer *other)
{
    assert_int_equal(one->kind, other->kind);
    assert_int_equal(one->tokens, other->tokens);
    assert_int_equal(one->finish, other->finish);
    assert_true(one->confidence == other->confidence);
    assert_int_equal(one->label_count, other->label_count);
    for (size_t i = 0; i < one->label_count; i++) {
        assert_string_equal(one->labels[i].label, other->labels[i].label);
        assert_true(one->labels[i].score == other->labels[i].score);
    }
    assert_int_equal(one->box_count, other->box_count);
    for (size_t i = 0; i < one->box_count; i++) {
        assert_string_equal(one->boxes[i].label, other->boxes[i].label);
        assert_true(one->boxes[i].x == other->boxes[i].x && one->boxes[i].h == other->boxes[i].h);
    }
    assert_int_equal(one->text_bytes, other->text_bytes);
    if (one->text_bytes > 0) {
        assert_memory_equal(one->text, other->text, one->text_bytes + 1);
    }
}

/* Protobuf by hand, for what pack refuses to make. */
static inline void put_varint(struct buf *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) {
        assert_int_equal(buf_append_u8(out, (uint8_t)(value | 0x80)), 0);
    }
    assert_int_equal(buf_append_u8(out, (uint8_t)value), 0);
}
static inline void put_number(struct buf *out, unsigned field, uint64_t value)
{
    put_varint(out, field << 3);
    put_varint(out, value);
}
static inline void put_bytes(struct buf *out, unsigned field, const void *data, size_t bytes)
{
    put_varint(out, field << 3 | 2);
    put_varint(out, bytes);
    assert_int_equal(buf_append(out, data, bytes), 0);
}
static inline void put_text(struct buf *out, unsigned field, const char *text)
{
    put_bytes(out, field, text, strlen(text));
}
static inline void put_double(struct buf *out, unsigned field, double value)
{
    put_varint(out, field << 3 | 1);
    assert_int_equal(buf_append(out, &value, sizeof(value)), 0);
}
static inline void put_float(struct buf *out, unsigned field, float value)
{
    put_varint(out, field << 3 | 5);
    assert_int_equal(buf_append(out, &value, sizeof(value)), 0);
}

#endif
