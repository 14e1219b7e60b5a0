#include "common/wire/pb.h"

#include "common/base/error.h"
#include "common/base/limits.h"

#include <stdlib.h>
#include <string.h>

#define PICTURE_FORMAT_ENCODED 0
#define PICTURE_FORMAT_LAST    6

#define AT(member) PB_AT(Tandem__Parts__Picture, member, struct wire_picture, member)
static const struct pb_field picture_fields[] = {
    {AT(format), .type = PB_U32, .max = PICTURE_FORMAT_LAST},
    {AT(width), .type = PB_U32, .max = LIMIT_PICTURE_SIDE_PIXELS},
    {AT(height), .type = PB_U32, .max = LIMIT_PICTURE_SIDE_PIXELS},
    {AT(stride_bytes), .type = PB_U32, .max = LIMIT_STRIDE_BYTES},
};
#undef AT
#define AT(member) PB_AT(Tandem__Parts__Sampling, member, struct wire_sampling, member)
static const struct pb_field sampling_fields[] = {
    {AT(temperature), .type = PB_FLOAT, .low = 0, .high = LIMIT_TEMPERATURE},
    {AT(top_k), .type = PB_U32, .max = LIMIT_MODEL_VOCABULARY, .clamp = true},
    {AT(top_p), .type = PB_FLOAT, .low = 0, .high = 1},
    {AT(seed), .type = PB_U64, .max = UINT64_MAX},
};
#undef AT

/* One label as the messages have it, a pointer, beside the number fields. */
static const struct pb_field score_fields[] = {
    {PB_AT(Tandem__Parts__LabelScore, score, struct answer_label, score), .type = PB_DOUBLE,
     .low = 0, .high = 1, .clamp = true},
};
#define AT(member) PB_AT(Tandem__Parts__Box, member, struct answer_box, member)
static const struct pb_field box_fields[] = {
    {AT(score), .type = PB_DOUBLE, .low = 0, .high = 1, .clamp = true},
    {AT(x), .type = PB_FLOAT, .low = -LIMIT_BOX_PIXELS, .high = LIMIT_BOX_PIXELS, .clamp = true},
    {AT(y), .type = PB_FLOAT, .low = -LIMIT_BOX_PIXELS, .high = LIMIT_BOX_PIXELS, .clamp = true},
    {AT(w), .type = PB_FLOAT, .low = 0, .high = LIMIT_BOX_PIXELS, .clamp = true},
    {AT(h), .type = PB_FLOAT, .low = 0, .high = LIMIT_BOX_PIXELS, .clamp = true},
};
#undef AT

/* An encoded picture says its own size; a raw one has to have one. */
static bool picture_is_whole(const struct wire_picture *picture)
{
    return picture->format == PICTURE_FORMAT_ENCODED || (picture->width > 0 && picture->height > 0);
}

int pb_picture_load(const Tandem__Parts__Picture *message, struct wire_picture *ret_picture)
{
    struct wire_picture picture;
    const int result = PB_LOAD(picture_fields, message, &picture);

    if (result != 0) {
        return result;
    }
    if (!picture_is_whole(&picture)) {
        return TANDEM_EPROTO;
    }
    if (picture.format == PICTURE_FORMAT_ENCODED) {
        picture = (struct wire_picture){.format = PICTURE_FORMAT_ENCODED};
    }
    *ret_picture = picture;
    return 0;
}

int pb_picture_store(const struct wire_picture *picture, Tandem__Parts__Picture *message)
{
    return picture_is_whole(picture) ? PB_STORE(picture_fields, picture, message) : TANDEM_EINVAL;
}

int pb_sampling_load(const Tandem__Parts__Sampling *message, struct wire_sampling *ret_sampling)
{
    struct wire_sampling sampling = {0};

    if (message) {
        const int result = PB_LOAD(sampling_fields, message, &sampling);

        if (result != 0) {
            return result;
        }
    }
    if (!(sampling.top_p > 0)) {
        sampling.top_p = 1;
    }
    *ret_sampling = sampling;
    return 0;
}

int pb_sampling_store(const struct wire_sampling *sampling, Tandem__Parts__Sampling *message)
{
    return PB_STORE(sampling_fields, sampling, message);
}

static int label_copy(const char *from, char **ret_label)
{
    if (strlen(from) > LIMIT_LABEL_BYTES) {
        return TANDEM_ETOOBIG;
    }
    *ret_label = strdup(from);
    return *ret_label ? 0 : TANDEM_ENOMEM;
}

static int labels_load(const struct pb_answer *from, struct answer *answer)
{
    if (from->score_count == 0) {
        return TANDEM_EPROTO;
    }
    if (from->score_count > LIMIT_LABELS) {
        return TANDEM_ETOOBIG;
    }
    answer->labels = calloc(from->score_count, sizeof(*answer->labels));
    if (!answer->labels) {
        return TANDEM_ENOMEM;
    }
    for (size_t i = 0; i < from->score_count; i++) {
        int result = label_copy(from->scores[i]->label, &answer->labels[i].label);

        if (result == 0) {
            answer->label_count = i + 1;
            result = PB_LOAD(score_fields, from->scores[i], &answer->labels[i]);
        }
        if (result != 0) {
            return result;
        }
    }
    return 0;
}

static int boxes_load(const struct pb_answer *from, struct answer *answer)
{
    if (from->box_count > LIMIT_BOXES) {
        return TANDEM_ETOOBIG;
    }
    answer->boxes = calloc(from->box_count ? from->box_count : 1, sizeof(*answer->boxes));
    if (!answer->boxes) {
        return TANDEM_ENOMEM;
    }
    for (size_t i = 0; i < from->box_count; i++) {
        int result = label_copy(from->boxes[i]->label, &answer->boxes[i].label);

        if (result == 0) {
            answer->box_count = i + 1;
            result = PB_LOAD(box_fields, from->boxes[i], &answer->boxes[i]);
        }
        if (result != 0) {
            return result;
        }
    }
    return 0;
}

static int text_load(const struct pb_answer *from, struct answer *answer)
{
    uint8_t *text;
    const int result = pb_bytes_copy(from->text, LIMIT_FRAME_HEADER_BYTES, &text);

    if (result == 0) {
        answer->text = (char *)text;
        answer->text_bytes = from->text.len;
    }
    return result;
}

int pb_answer_load(const struct pb_answer *from, struct answer *answer)
{
    switch (answer->kind) {
    case WIRE_CLASSIFY:
        return labels_load(from, answer);
    case WIRE_DETECT:
        return boxes_load(from, answer);
    case WIRE_GENERATE:
        return text_load(from, answer);
    default:
        return TANDEM_EPROTO;
    }
}

/* `count` messages of `bytes` each and the pointers to them, in one piece of memory that starts
 * with the pointers. */
static void **messages_new(size_t count, size_t bytes)
{
    const size_t pointers_bytes = (count * sizeof(void *) + 15) / 16 * 16;
    uint8_t *memory = calloc(1, pointers_bytes + count * bytes + 1);
    void **pointers = (void **)(void *)memory;

    for (size_t i = 0; memory && i < count; i++) {
        pointers[i] = memory + pointers_bytes + i * bytes;
    }
    return pointers;
}

static int labels_store(const struct answer *answer, struct pb_answer *parts)
{
    if (answer->label_count == 0) {
        return TANDEM_EINVAL;
    }
    if (answer->label_count > LIMIT_LABELS) {
        return TANDEM_ETOOBIG;
    }
    parts->scores =
        (Tandem__Parts__LabelScore **)messages_new(answer->label_count, sizeof(**parts->scores));
    if (!parts->scores) {
        return TANDEM_ENOMEM;
    }
    for (parts->score_count = 0; parts->score_count < answer->label_count; parts->score_count++) {
        const struct answer_label *label = &answer->labels[parts->score_count];
        Tandem__Parts__LabelScore *message = parts->scores[parts->score_count];

        tandem__parts__label_score__init(message);
        if (strlen(label->label) > LIMIT_LABEL_BYTES ||
            PB_STORE(score_fields, label, message) != 0) {
            return TANDEM_EINVAL;
        }
        message->label = label->label;
    }
    return 0;
}

static int boxes_store(const struct answer *answer, struct pb_answer *parts)
{
    if (answer->box_count > LIMIT_BOXES) {
        return TANDEM_ETOOBIG;
    }
    parts->boxes = (Tandem__Parts__Box **)messages_new(answer->box_count, sizeof(**parts->boxes));
    if (!parts->boxes) {
        return TANDEM_ENOMEM;
    }
    for (parts->box_count = 0; parts->box_count < answer->box_count; parts->box_count++) {
        const struct answer_box *box = &answer->boxes[parts->box_count];
        Tandem__Parts__Box *message = parts->boxes[parts->box_count];

        tandem__parts__box__init(message);
        if (strlen(box->label) > LIMIT_LABEL_BYTES || PB_STORE(box_fields, box, message) != 0) {
            return TANDEM_EINVAL;
        }
        message->label = box->label;
    }
    return 0;
}

int pb_answer_store(const struct answer *answer, struct pb_answer *ret_parts)
{
    struct pb_answer parts = {0};
    int result = 0;

    switch (answer->kind) {
    case WIRE_CLASSIFY:
        result = labels_store(answer, &parts);
        break;
    case WIRE_DETECT:
        result = boxes_store(answer, &parts);
        break;
    case WIRE_GENERATE:
        parts.text = (ProtobufCBinaryData){answer->text_bytes, (uint8_t *)answer->text};
        break;
    default:
        result = TANDEM_EINVAL;
        break;
    }
    if (result != 0) {
        pb_answer_fini(&parts);
        return result;
    }
    *ret_parts = parts;
    return 0;
}

void pb_answer_fini(struct pb_answer *parts)
{
    free(parts->scores);
    free(parts->boxes);
    *parts = (struct pb_answer){0};
}
