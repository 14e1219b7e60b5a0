#include "client/policy/confidence_boxes.h"

#include "client/policy/confidence.h"

#include <math.h>

void confidence_boxes_init(struct confidence_boxes *boxes)
{
    *boxes = (struct confidence_boxes){.sure = 1};
}

void confidence_boxes_add(struct confidence_boxes *boxes, double score)
{
    const double likely = isnan(score) ? 0.5 : fmin(score, 1);

    if (likely >= CONFIDENCE_BOXES_LEAST) {
        boxes->found++;
        boxes->sure *= fmax(likely, 1 - likely);
    }
}

double confidence_boxes_get(const struct confidence_boxes *boxes)
{
    return boxes->found > 0 ? boxes->sure : CONFIDENCE_NOTHING;
}
