/* energy_gauge.h: the power that the device takes as a whole, as the kernel tells it:
 *
 *   rapl      SYS/class/powercap/intel-rapl:N of each processor package: energy_uj, which begins
 *             anew at max_energy_range_uj. Needs the right to read it: kernels since 5.10 give it
 *             to root only.
 *   battery   SYS/class/power_supply/NAME of type Battery, all together: power_now, else
 * voltage_now and current_now, else how fast energy_now falls. While one is not discharging it
 *             tells nothing.
 *
 * What no device can have taken is a jump, after which it begins anew: a counter that was reset, a
 * charge that was corrected. A counter that was not read for long may have gone round unseen. One
 * that fell has gone round if the package may have taken what is between, by its limits of power
 * (constraint_N_power_limit_uw and constraint_N_max_power_uw, twice the highest, and 1000 W at
 * most); else it was reset.
 *
 * Any thread, one at a time. */
#ifndef TANDEM_CLIENT_ENERGY_GAUGE_H
#define TANDEM_CLIENT_ENERGY_GAUGE_H

#include "common/base/config.h"

#include <stdint.h>

enum energy_source { ENERGY_MODEL, ENERGY_RAPL, ENERGY_BATTERY };

#define GAUGE_PATH_BYTES 512
#define GAUGE_PARTS      8 /* packages or batteries; more are not looked at */

enum gauge_kind { GAUGE_COUNTER, GAUGE_POWER, GAUGE_VOLTAGE_CURRENT, GAUGE_CHARGE };
struct gauge_part {
    char path[GAUGE_PATH_BYTES];
    enum gauge_kind kind;
    uint64_t range_uj;  /* COUNTER */
    double full_joule;  /* CHARGE: of the battery; 0: not known */
    uint64_t last, now; /* COUNTER and CHARGE: at last_ns, and read last */
};
struct energy_gauge {
    struct gauge_part parts[GAUGE_PARTS];
    size_t count;
    int64_t last_ns; /* when `last` was; 0: it begins anew */
};
/* Finds the gauge below `sys` ("/sys") and reads it once. TANDEM_ECONFIG with a line that says
 * what is missing. ENERGY_MODEL: 0, and nothing is ever told. */
int energy_gauge_open(struct energy_gauge *gauge, enum energy_source source, const char *sys,
                      char error[CONFIG_ERROR_BYTES]);
/* The power since the last call that told one or began anew, or, of a gauge that counts nothing, of
 * now; NAN: nothing to tell yet. TANDEM_EIO when it cannot be read any more, and what cannot in
 * `error`. */
int energy_gauge_read(struct energy_gauge *gauge, int64_t now_ns, double *ret_watt,
                      char error[CONFIG_ERROR_BYTES]);

#endif
