#include "common/base/calibration.h"

#include <string.h>

void calibration_init(struct calibration *calibration)
{
    memset(calibration, 0, sizeof(*calibration));
    calibration->temperature = 1;
}

static bool is_share(double value)
{
    return value >= 0 && value <= 1; /* false for what is no number */
}

bool calibration_is_sound(const struct calibration *calibration)
{
    const double *x = calibration->x, *y = calibration->y;

    if (!(calibration->temperature >= CALIBRATION_TEMPERATURE_MIN &&
          calibration->temperature <= CALIBRATION_TEMPERATURE_MAX) ||
        calibration->count > LIMIT_CALIBRATION_POINTS) {
        return false;
    }
    for (size_t i = 0; i < calibration->count; i++) {
        if (!is_share(x[i]) || !is_share(y[i]) ||
            (i > 0 && (x[i] <= x[i - 1] || y[i] < y[i - 1]))) {
            return false;
        }
    }
    return true;
}

double calibration_apply(const struct calibration *calibration, double raw)
{
    const double *x = calibration->x, *y = calibration->y;
    size_t next = 0;

    if (calibration->count == 0) {
        return raw;
    }
    while (next < calibration->count && x[next] < raw) {
        next++;
    }
    if (next == 0) {
        return y[0];
    }
    if (next == calibration->count) {
        return y[next - 1];
    }
    return y[next - 1] + (y[next] - y[next - 1]) * (raw - x[next - 1]) / (x[next] - x[next - 1]);
}
