#include "client/policy/energy_meter.h"

#include <math.h>
#include <string.h>

#define WEIGHT_MIN   3.0  /* samples, before anything is said */
#define VARIANCE_MIN 0.01 /* of the share: a tenth up and down */

void energy_meter_init(struct energy_meter *meter)
{
    memset(meter, 0, sizeof(*meter));
    meter->compute_watt = meter->idle_watt = NAN;
}

void energy_meter_add(struct energy_meter *meter, double busy, double watt)
{
    double mean_busy, mean_watt, variance, covariance;

    meter->weight = METER_KEEP * meter->weight + 1;
    meter->busy = METER_KEEP * meter->busy + busy;
    meter->watt = METER_KEEP * meter->watt + watt;
    meter->busy_busy = METER_KEEP * meter->busy_busy + busy * busy;
    meter->busy_watt = METER_KEEP * meter->busy_watt + busy * watt;
    mean_busy = meter->busy / meter->weight;
    mean_watt = meter->watt / meter->weight;
    variance = meter->busy_busy / meter->weight - mean_busy * mean_busy;
    covariance = meter->busy_watt / meter->weight - mean_busy * mean_watt;
    if (meter->weight >= WEIGHT_MIN && variance >= VARIANCE_MIN) {
        meter->compute_watt = fmax(covariance / variance, 0);
        meter->idle_watt = fmax(mean_watt - meter->compute_watt * mean_busy, 0);
    }
}
