#include "common/wire/answer.h"

#include "common/base/error.h"

#include <stdlib.h>
#include <string.h>

void answer_fini(struct answer *answer)
{
    for (size_t i = 0; i < answer->label_count; i++) {
        free(answer->labels[i].label);
    }
    for (size_t i = 0; i < answer->box_count; i++) {
        free(answer->boxes[i].label);
    }
    free(answer->labels);
    free(answer->boxes);
    free(answer->text);
    *answer = (struct answer){0};
}

static int labels_copy(const struct answer *from, struct answer *copy)
{
    if (from->label_count == 0) {
        return 0;
    }
    copy->labels = calloc(from->label_count, sizeof(*copy->labels));
    for (size_t i = 0; copy->labels && i < from->label_count; i++) {
        copy->labels[i] =
            (struct answer_label){strdup(from->labels[i].label), from->labels[i].score};
        copy->label_count = i + 1;
        if (!copy->labels[i].label) {
            return TANDEM_ENOMEM;
        }
    }
    return copy->labels ? 0 : TANDEM_ENOMEM;
}

static int boxes_copy(const struct answer *from, struct answer *copy)
{
    if (from->box_count == 0) {
        return 0;
    }
    copy->boxes = calloc(from->box_count, sizeof(*copy->boxes));
    for (size_t i = 0; copy->boxes && i < from->box_count; i++) {
        copy->boxes[i] = from->boxes[i];
        copy->boxes[i].label = strdup(from->boxes[i].label);
        copy->box_count = i + 1;
        if (!copy->boxes[i].label) {
            return TANDEM_ENOMEM;
        }
    }
    return copy->boxes ? 0 : TANDEM_ENOMEM;
}

static int text_copy(const struct answer *from, struct answer *copy)
{
    if (!from->text) {
        return 0;
    }
    copy->text = malloc(from->text_bytes + 1);
    if (!copy->text) {
        return TANDEM_ENOMEM;
    }
    memcpy(copy->text, from->text, from->text_bytes);
    copy->text[from->text_bytes] = '\0';
    copy->text_bytes = from->text_bytes;
    return 0;
}

int answer_copy(const struct answer *from, struct answer *ret_copy)
{
    struct answer copy = {.kind = from->kind,
                          .tokens = from->tokens,
                          .finish = from->finish,
                          .confidence = from->confidence};
    int result = labels_copy(from, &copy);

    if (result == 0) {
        result = boxes_copy(from, &copy);
    }
    if (result == 0) {
        result = text_copy(from, &copy);
    }
    if (result != 0) {
        answer_fini(&copy);
        return result;
    }
    *ret_copy = copy;
    return 0;
}
