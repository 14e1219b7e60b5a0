#include "client/daemon/energy.h"

#include "common/base/clock.h"
#include "common/base/log.h"

#include <math.h>

/* What was said once is said again only after it was well in between. */
static void failed_say(struct energy *energy, bool failed, const char *why)
{
    if (failed && !energy->failed) {
        log_warning("energy: %s: what was learned before stays", why);
    } else if (!failed && energy->failed) {
        log_info("energy: the gauge can be read again");
    }
    energy->failed = failed;
}

void energy_read(struct energy *energy, int64_t now_ns, int64_t busy_ns)
{
    char why[CONFIG_ERROR_BYTES] = "";
    const int64_t span_ns = now_ns - energy->read_ns;
    double watt = NAN;
    const int result = energy_gauge_read(&energy->gauge, now_ns, &watt, why);

    failed_say(energy, result != 0, why);
    if (isnan(watt) && energy->gauge.last_ns != now_ns && energy->gauge.last_ns != 0) {
        return; /* the span goes on; where the gauge begins anew, so does what it is compared with
                 */
    }
    if (!isnan(watt) && span_ns > 0 && energy->read_ns != 0) {
        energy_meter_add(&energy->meter,
                         fmin((double)(busy_ns - energy->busy_ns) / (double)span_ns, 1), watt);
        energy->requests->measured_watt =
            energy->meter.compute_watt > 0 ? energy->meter.compute_watt : 0;
        if (energy->requests->measured_watt > 0) {
            requests_price(energy->requests);
        }
    }
    energy->read_ns = now_ns;
    energy->busy_ns = busy_ns;
}

static void on_timer(uv_timer_t *timer)
{
    struct energy *energy = timer->data;
    const int64_t now_ns = clock_now_ns();

    energy_read(energy, now_ns, runner_busy_ns(energy->requests->runner, now_ns));
}

/* The configuration was checked: the gauge was there a moment ago. */
static void source_begin(struct energy *energy)
{
    const struct client_config *config = energy->requests->config;
    char why[CONFIG_ERROR_BYTES];

    energy->source = (enum energy_source)config->energy_source;
    energy->read_ns = 0;
    energy->requests->measured_watt = 0;
    energy_meter_init(&energy->meter);
    failed_say(energy, energy_gauge_open(&energy->gauge, energy->source, config->sys_dir, why) != 0,
               why);
    if (energy->source == ENERGY_MODEL) {
        (void)uv_timer_stop(&energy->timer);
    } else {
        (void)uv_timer_start(&energy->timer, on_timer, ENERGY_READ_MS, ENERGY_READ_MS);
    }
}

void energy_start(struct energy *energy, uv_loop_t *loop, struct requests *requests)
{
    energy->requests = requests;
    (void)uv_timer_init(loop, &energy->timer);
    energy->timer.data = energy;
    source_begin(energy);
}

void energy_configure(struct energy *energy)
{
    if ((enum energy_source)energy->requests->config->energy_source != energy->source) {
        source_begin(energy);
    }
}

void energy_stop(struct energy *energy)
{
    if (energy->requests) {
        uv_close((uv_handle_t *)&energy->timer, NULL);
    }
}
