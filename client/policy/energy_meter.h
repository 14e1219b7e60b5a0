/* energy_meter.h: what computing takes over idle, from a gauge that tells the power of the whole
 * device: the slope of power over the share of time that models ran, fitted to what was seen of
 * late (each sample weighs METER_KEEP times the one after it). Where the share hardly varies the
 * gauge tells nothing of computing, and what was learned before stays. Pure state, one thread. */
#ifndef TANDEM_POLICY_ENERGY_METER_H
#define TANDEM_POLICY_ENERGY_METER_H

#define METER_KEEP 0.97 /* half is forgotten after 23 samples */

struct energy_meter {
    double weight, busy, watt, busy_busy, busy_watt; /* weighted sums */
    double compute_watt;                             /* over idle; NAN: not known */
    double idle_watt;                                /* NAN: not known */
};
void energy_meter_init(struct energy_meter *meter);
/* In a span of time models ran for `busy`, 0 to 1, of it, and the device took `watt`. */
void energy_meter_add(struct energy_meter *meter, double busy, double watt);

#endif
