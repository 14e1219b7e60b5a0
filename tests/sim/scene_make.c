#include "common/base/error.h"
#include "tests/sim/sim.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define BIN_S      0.1
#define LENGTH_S   180.0
#define WIFI_KNOTS 5

/* A number between 0 and 1 that wanders: the share of a normal value under an autoregressive one.
 */
static double wander(double *state, double keep, struct random_source *random)
{
    double normal = 0;

    for (int i = 0; i < 12; i++) {
        normal += random_unit(random);
    }
    *state = keep * *state + sqrt(1 - keep * keep) * (normal - 6);
    return 0.5 * erfc(-*state / sqrt(2));
}

/* Published percentiles of a Wi-Fi uplink: 5, 50 and 95 % at 18.7, 53.2 and 77.4 Mbit/s, all of it
 * between 12.9 and 90.8. */
static double wifi_mbit_s(double share)
{
    static const double shares[WIFI_KNOTS] = {0, 0.05, 0.5, 0.95, 1};
    static const double rates[WIFI_KNOTS] = {12.9, 18.7, 53.2, 77.4, 90.8};
    int knot = 0;

    while (knot < WIFI_KNOTS - 2 && share > shares[knot + 1]) {
        knot++;
    }
    return rates[knot] + (share - shares[knot]) / (shares[knot + 1] - shares[knot]) *
                             (rates[knot + 1] - rates[knot]);
}

struct maker {
    struct random_source random;
    double state, other;
    double until_s, level;
    bool on;
};
/* One bin of edge `edge` at `at_s`. */
typedef void (*bin_fn)(struct maker *maker, size_t edge, double at_s, double *ret_mbit_s,
                       double *ret_rtt_ms, double *ret_loss);

static void stationary_bin(struct maker *maker, size_t edge, double at_s, double *ret_mbit_s,
                           double *ret_rtt_ms, double *ret_loss)
{
    (void)maker, (void)edge, (void)at_s;
    *ret_mbit_s = 40;
    *ret_rtt_ms = 6;
    *ret_loss = 0;
}

static void wifi_bin(struct maker *maker, size_t edge, double at_s, double *ret_mbit_s,
                     double *ret_rtt_ms, double *ret_loss)
{
    (void)edge, (void)at_s;
    *ret_mbit_s = wifi_mbit_s(wander(&maker->state, 0.8, &maker->random));
    *ret_rtt_ms = 3 + 5 * wander(&maker->other, 0.3, &maker->random);
    *ret_loss = 0.001;
}

static void step_bin(struct maker *maker, size_t edge, double at_s, double *ret_mbit_s,
                     double *ret_rtt_ms, double *ret_loss)
{
    const bool thin = fmod(at_s, 20) >= 10;

    (void)maker, (void)edge;
    *ret_mbit_s = thin ? 2.5 : 60;
    *ret_rtt_ms = thin ? 30 : 5;
    *ret_loss = 0;
}

static void thin_bin(struct maker *maker, size_t edge, double at_s, double *ret_mbit_s,
                     double *ret_rtt_ms, double *ret_loss)
{
    (void)edge, (void)at_s;
    *ret_mbit_s = 4 + 8 * wander(&maker->state, 0.95, &maker->random);
    *ret_rtt_ms = 20 + 10 * wander(&maker->other, 0.5, &maker->random);
    *ret_loss = 0.002;
}

/* Nothing at all for one to six seconds, after four to fifteen that are well. */
static void outage_bin(struct maker *maker, size_t edge, double at_s, double *ret_mbit_s,
                       double *ret_rtt_ms, double *ret_loss)
{
    if (at_s >= maker->until_s) {
        const double share = random_unit(&maker->random);

        maker->on = !maker->on;
        maker->until_s = at_s + (maker->on ? 4 + 11 * share : 1 + 5 * share);
    }
    wifi_bin(maker, edge, at_s, ret_mbit_s, ret_rtt_ms, ret_loss);
    *ret_mbit_s = maker->on ? *ret_mbit_s : 0;
}

/* Between two edges and back in half a minute: each is strong when near, weak and then gone far
 * away, and half way both are weak. */
static void roaming_bin(struct maker *maker, size_t edge, double at_s, double *ret_mbit_s,
                        double *ret_rtt_ms, double *ret_loss)
{
    const double place = 0.5 - 0.5 * cos(2 * acos(-1.0) * at_s / 30);
    const double far = edge == 0 ? place : 1 - place;
    const double share = wander(&maker->state, 0.8, &maker->random);

    *ret_mbit_s = far > 0.75 ? 0 : wifi_mbit_s(share) * pow(1 - far, 2);
    *ret_rtt_ms = 4 + 30 * far * far;
    *ret_loss = 0.01 * far;
}

/* Others share the air: they come and go, each takes an equal part. */
static void neighbours_bin(struct maker *maker, size_t edge, double at_s, double *ret_mbit_s,
                           double *ret_rtt_ms, double *ret_loss)
{
    (void)edge;
    if (at_s >= maker->until_s) {
        const double dice = random_unit(&maker->random);

        maker->level = fmin(fmax(maker->level + (dice < 0.5 ? -2 : 2), 0), 14);
        maker->until_s = at_s + 0.5 + 2 * random_unit(&maker->random);
    }
    *ret_mbit_s = 55 / (1 + maker->level);
    *ret_rtt_ms = 4 + 3 * maker->level + 2 * wander(&maker->other, 0.3, &maker->random);
    *ret_loss = 0.001 * maker->level;
}

static const struct {
    const char *name;
    size_t edges;
    bin_fn fill;
    bool same_start;
} makers[] = {
    {"stationary", 1, stationary_bin, false},
    {"wifi", 1, wifi_bin, false},
    {"step", 1, step_bin, false},
    {"thin", 1, thin_bin, false},
    {"outage", 1, outage_bin, false},
    {"roaming", 2, roaming_bin, false},
    {"neighbours", 1, neighbours_bin, true},
};

int scenes_make(struct scene *scenes, size_t *ret_count)
{
    *ret_count = 0;
    for (size_t i = 0; i < sizeof(makers) / sizeof(makers[0]); i++) {
        struct scene *scene = &scenes[(*ret_count)++];

        memset(scene, 0, sizeof(*scene));
        snprintf(scene->name, sizeof(scene->name), "%s", makers[i].name);
        scene->edges = makers[i].edges;
        scene->same_start = makers[i].same_start;
        for (size_t edge = 0; edge < scene->edges; edge++) {
            struct maker maker = {0};

            random_seed(&maker.random, 1000 * i + edge);
            for (int bin = 0; bin < (int)(LENGTH_S / BIN_S); bin++) {
                double mbit_s, rtt_ms, loss;

                makers[i].fill(&maker, edge, bin * BIN_S, &mbit_s, &rtt_ms, &loss);
                if (trace_add(&scene->up[edge], bin * BIN_S, mbit_s, rtt_ms, loss) != 0) {
                    return TANDEM_ENOMEM;
                }
            }
            trace_end(&scene->up[edge], LENGTH_S);
        }
    }
    return 0;
}
