#include "client/policy/prefer.h"

#include <stddef.h>

#define ACCURACY_FACTOR  4
#define BANDWIDTH_FACTOR 20
#define BATTERY_FACTOR   20

const char *const prefer_names[] = {"balanced", "accuracy", "bandwidth", "battery", NULL};

struct decide_weights prefer_apply(struct decide_weights weights, enum prefer prefer)
{
    switch (prefer) {
    case PREFER_BALANCED:
        break;
    case PREFER_ACCURACY:
        weights.one_error_ms *= ACCURACY_FACTOR;
        break;
    case PREFER_BANDWIDTH:
        weights.one_megabyte_ms *= BANDWIDTH_FACTOR;
        break;
    case PREFER_BATTERY:
        weights.one_joule_ms *= BATTERY_FACTOR;
        break;
    }
    return weights;
}
