/* The gauges, as files that look like the kernel's, and what is learned from them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/daemon/energy.h"

#include "common/base/clock.h"
#include "common/base/error.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define START_NS (100 * NS_PER_S)
#define RANGE_UJ 1000000000

static char sys[] = "/tmp/tandem-sys-XXXXXX";
static char error[CONFIG_ERROR_BYTES];
static struct energy_gauge gauge;

static void run_command(const char *format, const char *what)
{
    char command[256];

    snprintf(command, sizeof(command), format, sys, what);
    assert_int_equal(system(command), 0);
}

static int setup(void **state)
{
    (void)state;
    strcpy(sys + strlen(sys) - 6, "XXXXXX");
    if (!mkdtemp(sys)) {
        return -1;
    }
    error[0] = '\0';
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    run_command("rm -r %s%s", "");
    return 0;
}

static void put(const char *folder, const char *name, long long number)
{
    char path[200];
    FILE *file;

    run_command("mkdir -p %s/class/%s", folder);
    snprintf(path, sizeof(path), "%s/class/%s/%s", sys, folder, name);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fprintf(file, "%lld\n", number) > 0);
    assert_int_equal(fclose(file), 0);
}

static void put_text(const char *folder, const char *name, const char *text)
{
    char path[200];
    FILE *file;

    put(folder, name, 0);
    snprintf(path, sizeof(path), "%s/class/%s/%s", sys, folder, name);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fprintf(file, "%s\n", text) > 0);
    assert_int_equal(fclose(file), 0);
}

static void package(const char *folder, const char *name, long long energy_uj)
{
    put_text(folder, "name", name);
    put(folder, "energy_uj", energy_uj);
    put(folder, "max_energy_range_uj", RANGE_UJ);
}

static int opened(enum energy_source source)
{
    return energy_gauge_open(&gauge, source, sys, error);
}

static double watt_at(int second)
{
    double watt = -1;

    assert_int_equal(energy_gauge_read(&gauge, START_NS + second * NS_PER_S, &watt, error), 0);
    return watt;
}

static void test_rapl(void **state)
{
    (void)state;
    package("powercap/intel-rapl:0", "package-0", 5000000);
    package("powercap/intel-rapl:1", "package-1", RANGE_UJ - 1000000);
    package("powercap/intel-rapl:2", "psys", 0);
    package("powercap/intel-rapl:0:0", "core", 0);
    assert_int_equal(opened(ENERGY_RAPL), 0);
    assert_int_equal(gauge.count, 2);
    assert_true(isnan(watt_at(0)));
    package("powercap/intel-rapl:0", "package-0", 25000000);
    package("powercap/intel-rapl:1", "package-1", 3000000); /* anew after its range */
    package("powercap/intel-rapl:2", "psys", 77000000);
    assert_true(fabs(watt_at(2) - (20 + 4) / 2.0) < 1e-9);
    assert_true(isnan(watt_at(3))); /* nothing was counted: not told as no power */
}

static void test_battery(void **state)
{
    (void)state;
    put_text("power_supply/AC", "type", "Mains");
    put_text("power_supply/BAT0", "type", "Battery");
    put_text("power_supply/BAT0", "status", "Discharging");
    put("power_supply/BAT0", "power_now", -7500000);
    put_text("power_supply/BAT1", "type", "Battery");
    put("power_supply/BAT1", "voltage_now", 12000000);
    put("power_supply/BAT1", "current_now", 500000);
    assert_int_equal(opened(ENERGY_BATTERY), 0);
    assert_int_equal(gauge.count, 2);
    assert_true(fabs(watt_at(0) - 13.5) < 1e-9);
    put_text("power_supply/BAT0", "status", "Charging");
    assert_true(isnan(watt_at(1)));
    put_text("power_supply/BAT0", "status", "Discharging");
    assert_true(fabs(watt_at(2) - 13.5) < 1e-9);
}

/* A charge falls in steps: the power is that since the step before. */
static void test_charge(void **state)
{
    (void)state;
    put_text("power_supply/BAT0", "type", "Battery");
    put_text("power_supply/BAT0", "status", "Discharging");
    put("power_supply/BAT0", "energy_now", 50000000); /* micro Wh */
    assert_int_equal(opened(ENERGY_BATTERY), 0);
    assert_true(isnan(watt_at(0)));
    assert_true(isnan(watt_at(1)));
    put("power_supply/BAT0", "energy_now", 49990000);
    assert_true(fabs(watt_at(4) - 36 / 4.0) < 1e-9);
    put_text("power_supply/BAT0", "status", "Charging");
    put("power_supply/BAT0", "energy_now", 60000000);
    assert_true(isnan(watt_at(5)));
    put_text("power_supply/BAT0", "status", "Discharging");
    assert_true(isnan(watt_at(6))); /* begins anew */
    put("power_supply/BAT0", "energy_now", 59990000);
    assert_true(fabs(watt_at(8) - 36 / 2.0) < 1e-9);
}

/* A counter that was reset, and one that may have gone round unseen: it begins anew. */
static void test_counter_jumps(void **state)
{
    (void)state;
    package("powercap/intel-rapl:0", "package-0", 1000000);
    put("powercap/intel-rapl:0", "max_energy_range_uj", 262143328850);
    assert_int_equal(opened(ENERGY_RAPL), 0);
    assert_true(isnan(watt_at(0)));
    put("powercap/intel-rapl:0", "energy_uj", 21000000);
    assert_true(fabs(watt_at(1) - 20) < 1e-9);
    put("powercap/intel-rapl:0", "energy_uj", 5000000); /* 262 kW otherwise */
    assert_true(isnan(watt_at(2)));
    put("powercap/intel-rapl:0", "energy_uj", 12000000);
    assert_true(fabs(watt_at(3) - 7) < 1e-9);
    put("powercap/intel-rapl:0", "energy_uj", 612000000);
    assert_true(fabs(watt_at(63) - 10) < 1e-9);
    put("powercap/intel-rapl:0", "energy_uj", 1222000000);
    assert_true(isnan(watt_at(124)));
    put("powercap/intel-rapl:0", "energy_uj", 1225000000);
    assert_true(fabs(watt_at(125) - 3) < 1e-9);
}

/* What a counter that is reset to `to_uj` at `second` is told to have taken since `second` 0. */
static double watt_of_reset(long long from_uj, long long to_uj, int second)
{
    package("powercap/intel-rapl:0", "package-0", from_uj);
    put("powercap/intel-rapl:0", "max_energy_range_uj", 262143328850);
    assert_int_equal(opened(ENERGY_RAPL), 0);
    assert_true(isnan(watt_at(0)));
    put("powercap/intel-rapl:0", "energy_uj", to_uj);
    return watt_at(second);
}

/* A reset that was seen late looks like a round of the counter with fewer watt; the package's own
 * limits say how many it may be. */
static void test_counter_reset_seen_late(void **state)
{
    const long long range_uj = 262143328850;

    (void)state;
    assert_true(isnan(watt_of_reset(1000000, 500000, 27)));
    assert_true(isnan(watt_of_reset(1000000, 500000, 60)));
    put("powercap/intel-rapl:0", "energy_uj", 10500000);
    assert_true(fabs(watt_at(61) - 10) < 1e-9); /* since then */
    assert_true(fabs(watt_of_reset(range_uj - 40000000000, 0, 50) - 800) < 1e-9);
    put("powercap/intel-rapl:0", "constraint_0_power_limit_uw", 45000000);
    put("powercap/intel-rapl:0", "constraint_0_max_power_uw", 0);
    put("powercap/intel-rapl:0", "constraint_1_power_limit_uw", 100000000);
    assert_true(isnan(watt_of_reset(range_uj - 40000000000, 0, 50)));
    assert_true(fabs(watt_of_reset(range_uj - 9000000000, 0, 50) - 180) < 1e-9);
    put("powercap/intel-rapl:0", "constraint_1_power_limit_uw", 4095000000); /* as good as none */
    assert_true(isnan(watt_of_reset(1000000, 500000, 60)));
    assert_true(fabs(watt_of_reset(range_uj - 40000000000, 0, 50) - 800) < 1e-9);
}

/* A battery's gauge that is corrected, up or down, has told of no power. */
static void test_charge_jumps(void **state)
{
    (void)state;
    put_text("power_supply/BAT0", "type", "Battery");
    put_text("power_supply/BAT0", "status", "Discharging");
    put("power_supply/BAT0", "energy_full", 50000000);
    put("power_supply/BAT0", "energy_now", 40000000);
    assert_int_equal(opened(ENERGY_BATTERY), 0);
    assert_true(isnan(watt_at(0)));
    put("power_supply/BAT0", "energy_now", 39990000);
    assert_true(fabs(watt_at(4) - 9) < 1e-9);
    put("power_supply/BAT0", "energy_now", 38600000); /* 5004 J in 5 s; empty in 180 s: 5000 J */
    assert_true(isnan(watt_at(9)));
    put("power_supply/BAT0", "energy_now", 38590000);
    assert_true(fabs(watt_at(11) - 18) < 1e-9);
    put("power_supply/BAT0", "energy_now", 38600000);
    assert_true(isnan(watt_at(12)));
    put("power_supply/BAT0", "energy_now", 38590000);
    assert_true(fabs(watt_at(13) - 36) < 1e-9); /* since then */
}

static void test_power_jumps(void **state)
{
    (void)state;
    put_text("power_supply/BAT0", "type", "Battery");
    put("power_supply/BAT0", "power_now", 20000000000);
    assert_int_equal(opened(ENERGY_BATTERY), 0);
    assert_true(isnan(watt_at(0)));
    put("power_supply/BAT0", "power_now", 20000000);
    assert_true(fabs(watt_at(1) - 20) < 1e-9);
}

static void test_missing(void **state)
{
    (void)state;
    assert_int_equal(opened(ENERGY_MODEL), 0);
    assert_true(isnan(watt_at(0)));
    assert_int_equal(opened(ENERGY_RAPL), TANDEM_ECONFIG);
    assert_non_null(strstr(error, "class/powercap has no processor package"));
    assert_int_equal(opened(ENERGY_BATTERY), TANDEM_ECONFIG);
    assert_non_null(strstr(error, "class/power_supply has no battery"));
    put_text("powercap/intel-rapl:0", "name", "package-0");
    assert_int_equal(opened(ENERGY_RAPL), TANDEM_ECONFIG);
    assert_non_null(strstr(error, "energy_uj: "));
    put_text("powercap/intel-rapl:0", "energy_uj", "much");
    assert_int_equal(opened(ENERGY_RAPL), TANDEM_ECONFIG);
    put_text("power_supply/BAT0", "type", "Battery");
    assert_int_equal(opened(ENERGY_BATTERY), TANDEM_ECONFIG);
    assert_non_null(strstr(error, "energy_now"));
    package("powercap/intel-rapl:0", "package-0", 1);
    assert_int_equal(opened(ENERGY_RAPL), 0);
    (void)watt_at(0);
    run_command("rm %s/class/%s/energy_uj", "powercap/intel-rapl:0");
    assert_int_equal(energy_gauge_read(&gauge, START_NS + NS_PER_S, &(double){0}, error),
                     TANDEM_EIO);
}

/* More parts than are looked at. */
static void test_many(void **state)
{
    char folder[64];

    (void)state;
    for (int i = 0; i < GAUGE_PARTS + 2; i++) {
        snprintf(folder, sizeof(folder), "powercap/intel-rapl:%d", i);
        package(folder, "package-0", 1);
    }
    assert_int_equal(opened(ENERGY_RAPL), 0);
    assert_int_equal(gauge.count, GAUGE_PARTS);
}

/* A device of 6 W, and 15 W more while a model runs; its counter says so, second by second. */
static void test_learned(void **state)
{
    struct client_config config = {.compute_watt = 3};
    struct requests requests = {.config = &config};
    struct energy energy = {.requests = &requests, .source = ENERGY_RAPL};
    long long energy_uj = 1;
    int64_t busy_ns = 0;

    (void)state;
    package("powercap/intel-rapl:0", "package-0", energy_uj);
    energy_meter_init(&energy.meter);
    assert_int_equal(energy_gauge_open(&energy.gauge, ENERGY_RAPL, sys, error), 0);
    assert_true(requests_energy(&requests).compute_watt == 3); /* until it is known better */
    for (int second = 0; second < 30; second++) {
        const int share = second % 5; /* quarters */

        energy_read(&energy, START_NS + second * NS_PER_S, busy_ns);
        busy_ns += share * NS_PER_S / 4;
        energy_uj += 6000000 + share * 15000000 / 4;
        put("powercap/intel-rapl:0", "energy_uj", energy_uj);
    }
    assert_true(fabs(requests_energy(&requests).compute_watt - 15) < 0.01);
    assert_true(fabs(energy.meter.idle_watt - 6) < 0.01);
    run_command("rm %s/class/%s/energy_uj", "powercap/intel-rapl:0");
    energy_read(&energy, START_NS + 40 * NS_PER_S, busy_ns);
    energy_read(&energy, START_NS + 41 * NS_PER_S, busy_ns);
    assert_true(energy.failed);
    assert_true(fabs(requests_energy(&requests).compute_watt - 15) < 0.01);
}

/* A gauge that tells the power of now is compared with the last second, also when it told nothing
 * for long: while the battery was charged, and while it could not be read. */
static void test_after_a_pause(void **state)
{
    struct client_config config = {.compute_watt = 0};
    struct requests requests = {.config = &config};
    struct energy energy = {.requests = &requests, .source = ENERGY_BATTERY};
    int64_t busy_ns = 0;

    (void)state;
    put_text("power_supply/BAT0", "type", "Battery");
    put_text("power_supply/BAT0", "status", "Charging");
    put("power_supply/BAT0", "power_now", 6000000);
    energy_meter_init(&energy.meter);
    assert_int_equal(energy_gauge_open(&energy.gauge, ENERGY_BATTERY, sys, error), 0);
    for (int second = 0; second < 100; second++) {
        busy_ns += NS_PER_S;
        energy_read(&energy, START_NS + second * NS_PER_S, busy_ns);
    }
    put_text("power_supply/BAT0", "status", "Discharging");
    energy_read(&energy, START_NS + 100 * NS_PER_S, busy_ns); /* it was idle since */
    assert_true(energy.meter.weight == 1);
    assert_true(energy.meter.busy == 0);
    assert_true(energy.meter.watt == 6);
    run_command("rm %s/class/%s/power_now", "power_supply/BAT0");
    for (int second = 101; second < 150; second++) {
        energy_read(&energy, START_NS + second * NS_PER_S, busy_ns);
    }
    assert_true(energy.failed);
    put("power_supply/BAT0", "power_now", 16000000);
    energy_read(&energy, START_NS + 150 * NS_PER_S, busy_ns + NS_PER_S);
    assert_true(energy.meter.weight == METER_KEEP + 1);
    assert_true(energy.meter.busy == 1);
}

static int64_t still(void *user)
{
    (void)user;
    return START_NS;
}

/* What was computed before the gauge told what it takes is charged when it has. */
static void test_charged_later(void **state)
{
    struct client_config config = {.state_dir = (char *)(uintptr_t) "",
                                   .energy_source = ENERGY_BATTERY,
                                   .joule_per_hour = 1000};
    struct requests requests = {.config = &config};
    struct energy energy = {.requests = &requests, .source = ENERGY_BATTERY};
    uv_loop_t loop;

    (void)state;
    clock_set_fake(still, NULL);
    assert_int_equal(uv_loop_init(&loop), 0);
    requests.budgets = budgets_open(&loop, &config);
    put_text("power_supply/BAT0", "type", "Battery");
    put("power_supply/BAT0", "power_now", 6000000);
    energy_meter_init(&energy.meter);
    assert_int_equal(energy_gauge_open(&energy.gauge, ENERGY_BATTERY, sys, error), 0);
    requests_computed(&requests, 2000);
    assert_true(budgets_left(requests.budgets, BUDGET_JOULE) == 1000);
    for (int second = 0; second < 10; second++) {
        put("power_supply/BAT0", "power_now", second % 2 ? 16000000 : 6000000);
        energy_read(&energy, START_NS + second * NS_PER_S, (second + 1) / 2 * NS_PER_S);
    }
    assert_true(fabs(requests_energy(&requests).compute_watt - 10) < 0.01);
    assert_true(fabs(budgets_left(requests.budgets, BUDGET_JOULE) - 980) < 0.1);
    requests_computed(&requests, 1000);
    assert_true(fabs(budgets_left(requests.budgets, BUDGET_JOULE) - 970) < 0.1);
    budgets_close(requests.budgets);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    budgets_free(requests.budgets);
    assert_int_equal(uv_loop_close(&loop), 0);
    clock_set_fake(NULL, NULL);
}

int main(void)
{
#define FRESH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        FRESH(test_rapl),         FRESH(test_battery),       FRESH(test_charge),
        FRESH(test_missing),      FRESH(test_many),          FRESH(test_counter_jumps),
        FRESH(test_charge_jumps), FRESH(test_power_jumps),   FRESH(test_after_a_pause),
        FRESH(test_learned),      FRESH(test_charged_later), FRESH(test_counter_reset_seen_late)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
