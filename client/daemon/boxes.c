#include "client/daemon/boxes.h"

#include "client/policy/confidence_boxes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct confidence_boxes scores_of(const struct answer *answer)
{
    struct confidence_boxes boxes;

    confidence_boxes_init(&boxes);
    for (size_t i = 0; i < answer->box_count; i++) {
        confidence_boxes_add(&boxes, answer->boxes[i].score);
    }
    return boxes;
}

void boxes_judge(struct answer *answer, const struct confidence *confidence)
{
    const struct confidence_boxes boxes = scores_of(answer);
    const double sure = confidence_boxes_get(&boxes);

    answer->confidence = boxes.found > 0 ? sure : 1 - confidence_error(confidence, sure);
}

bool boxes_found(const struct answer *answer)
{
    return scores_of(answer).found > 0;
}

double boxes_sure(const struct answer *answer)
{
    return boxes_found(answer) ? answer->confidence : CONFIDENCE_NOTHING;
}

/* ---- whether two say the same ---- */

struct counted { /* a box that says that something is there */
    const struct answer_box *box;
};

static int label_then_score(const void *a, const void *b)
{
    const struct answer_box *x = ((const struct counted *)a)->box,
                            *y = ((const struct counted *)b)->box;
    const int by_label = strcmp(x->label, y->label);

    return by_label != 0 ? by_label : (x->score < y->score) - (x->score > y->score);
}

/* By label, the surest first. Returns how many. */
static size_t counted_take(const struct answer *answer, struct counted items[LIMIT_BOXES])
{
    size_t count = 0;

    for (size_t i = 0; i < answer->box_count && count < LIMIT_BOXES; i++) {
        if (answer->boxes[i].score >= BOXES_COUNTED) {
            items[count++].box = &answer->boxes[i];
        }
    }
    qsort(items, count, sizeof(*items), label_then_score);
    return count;
}

/* How many from the first one on have its label. */
static size_t label_run(const struct counted *items, size_t count)
{
    size_t run = 1;

    while (run < count && strcmp(items[run].box->label, items[0].box->label) == 0) {
        run++;
    }
    return run;
}

/* How long two stretches lie on each other. */
static float common(float a, float a_long, float b, float b_long)
{
    const float from = a > b ? a : b, a_end = a + a_long, b_end = b + b_long;
    const float end = a_end < b_end ? a_end : b_end;

    return end > from ? end - from : 0;
}

/* Intersection over union; 0 of boxes without area. */
static float overlap(const struct answer_box *a, const struct answer_box *b)
{
    const float both = common(a->x, a->w, b->x, b->w) * common(a->y, a->h, b->y, b->h);

    return both > 0 ? both / (a->w * a->h + b->w * b->h - both) : 0;
}

/* Takes the one of `others` that `box` overlaps most from among them; false: it overlaps none
 * enough. */
static bool partner_take(const struct answer_box *box, struct counted *others, size_t count)
{
    size_t best = count;
    float most = 0;

    for (size_t i = 0; i < count; i++) {
        const float at = overlap(box, others[i].box);

        if (at > most) {
            most = at;
            best = i;
        }
    }
    if (most < (float)BOXES_OVERLAP) {
        return false;
    }
    others[best] = others[count - 1];
    return true;
}

bool boxes_agree(const struct answer *a, const struct answer *b)
{
    struct counted ours[LIMIT_BOXES], theirs[LIMIT_BOXES];
    const size_t count = counted_take(a, ours);

    if (counted_take(b, theirs) != count) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(ours[i].box->label, theirs[i].box->label) != 0) {
            return false; /* of one label there are more here, of another there */
        }
    }
    for (size_t from = 0, run; from < count; from += run) {
        run = label_run(&ours[from], count - from);
        for (size_t i = 0; i < run; i++) {
            if (!partner_take(ours[from + i].box, &theirs[from], run - i)) {
                return false;
            }
        }
    }
    return true;
}
