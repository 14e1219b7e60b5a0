/* energy.h: `[device] energy_source`: reads the gauge once a second and learns what computing takes
 * over idle (energy_meter.h), from how long the runner was busy meanwhile. What is learned replaces
 * compute_watt in decisions and in what is charged to joule_per_hour. Loop thread. */
#ifndef TANDEM_CLIENT_ENERGY_H
#define TANDEM_CLIENT_ENERGY_H

#include "client/daemon/requests.h"
#include "client/policy/energy_meter.h"

#define ENERGY_READ_MS 1000

struct energy {
    struct requests *requests;
    enum energy_source source;
    struct energy_gauge gauge;
    struct energy_meter meter;
    int64_t read_ns, busy_ns; /* when it told something last, and the runner's busy time then */
    bool failed;              /* the last reading, and it was said */
    uv_timer_t timer;
};

/* When `requests` has its runner. */
void energy_start(struct energy *energy, uv_loop_t *loop, struct requests *requests);
/* Another gauge after a reload; the same one goes on. */
void energy_configure(struct energy *energy);
/* Closes the timer; `energy` is to live until the loop has run out its handles. */
void energy_stop(struct energy *energy);
/* One reading; the timer's work. */
void energy_read(struct energy *energy, int64_t now_ns, int64_t busy_ns);

#endif
