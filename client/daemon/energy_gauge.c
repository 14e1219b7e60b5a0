#include "client/daemon/energy_gauge.h"

#include "common/base/clock.h"
#include "common/base/error.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_BYTES         64
#define MICRO              1e-6
#define JOULE_PER_MICRO_WH 3.6e-3
#define MOST_WATT          10000.0 /* as compute_watt */
#define EMPTY_S            180.0   /* no battery is empty so soon */
#define UNREAD_NS          (60 * NS_PER_S)
/* More than a package of any processor takes for long. And less than the smallest range of its
 * counter in UNREAD_NS: 32 bits of 2^-16 J. */
#define MOST_PACKAGE_WATT 1000.0
#define LIMIT_SURPLUS     2.0 /* a limit of power is kept on average, so it is passed for moments */

/* ---- files of the kernel ---- */

/* The first line of PATH/NAME. 0 or an errno. */
static int line_read(const char *path, const char *name, char line[FILE_BYTES])
{
    char whole[GAUGE_PATH_BYTES + FILE_BYTES];
    FILE *file;
    int error = 0;

    snprintf(whole, sizeof(whole), "%s/%s", path, name);
    file = fopen(whole, "re");
    if (!file) {
        return errno;
    }
    if (!fgets(line, FILE_BYTES, file)) {
        error = ferror(file) ? errno : ENODATA;
    } else {
        line[strcspn(line, "\n")] = '\0';
    }
    (void)fclose(file);
    return error;
}

static int number_read(const char *path, const char *name, int64_t *ret_number)
{
    char line[FILE_BYTES], *end;
    int error = line_read(path, name, line);

    if (error == 0) {
        errno = 0;
        *ret_number = strtoll(line, &end, 10);
        error = errno != 0 ? errno : end == line || *end ? EINVAL : 0;
    }
    return error;
}

static int unreadable(const char *path, const char *name, int why, int code,
                      char error[CONFIG_ERROR_BYTES])
{
    snprintf(error, CONFIG_ERROR_BYTES, "%.300s/%s: %s", path, name, strerror(why));
    return code;
}

/* ---- finding ---- */

/* A package of a processor; its domains ("intel-rapl:0:1") are parts of it, and "psys" is all of
 * them again. */
static bool is_package(const char *path, const char *name)
{
    static const char prefix[] = "intel-rapl:", package[] = "package";
    char line[FILE_BYTES];

    return strncmp(name, prefix, sizeof(prefix) - 1) == 0 &&
           !strchr(name + sizeof(prefix) - 1, ':') && line_read(path, "name", line) == 0 &&
           strncmp(line, package, sizeof(package) - 1) == 0;
}

static bool is_battery(const char *path, const char *name)
{
    char line[FILE_BYTES];

    return name[0] != '.' && line_read(path, "type", line) == 0 && strcmp(line, "Battery") == 0;
}

static int rapl_begin(struct gauge_part *part, char error[CONFIG_ERROR_BYTES])
{
    int64_t now, range;
    int why = number_read(part->path, "energy_uj", &now);

    if (why != 0) {
        return unreadable(part->path, "energy_uj", why, TANDEM_ECONFIG, error);
    }
    why = number_read(part->path, "max_energy_range_uj", &range);
    if (why != 0) {
        return unreadable(part->path, "max_energy_range_uj", why, TANDEM_ECONFIG, error);
    }
    part->kind = GAUGE_COUNTER;
    part->range_uj = (uint64_t)range;
    return 0;
}

static int battery_begin(struct gauge_part *part, char error[CONFIG_ERROR_BYTES])
{
    int64_t number;

    if (number_read(part->path, "energy_full", &number) == 0 ||
        number_read(part->path, "energy_full_design", &number) == 0) {
        part->full_joule = JOULE_PER_MICRO_WH * (double)number;
    }
    if (number_read(part->path, "power_now", &number) == 0) {
        part->kind = GAUGE_POWER;
    } else if (number_read(part->path, "voltage_now", &number) == 0 &&
               number_read(part->path, "current_now", &number) == 0) {
        part->kind = GAUGE_VOLTAGE_CURRENT;
    } else if (number_read(part->path, "energy_now", &number) == 0) {
        part->kind = GAUGE_CHARGE;
    } else {
        snprintf(error, CONFIG_ERROR_BYTES,
                 "%.300s: neither power_now, nor voltage_now and current_now, nor energy_now can "
                 "be read",
                 part->path);
        return TANDEM_ECONFIG;
    }
    return 0;
}

static const struct source {
    const char *folder, *what;
    bool (*is_part)(const char *path, const char *name);
    int (*begin)(struct gauge_part *part, char error[CONFIG_ERROR_BYTES]);
} sources[] = {
    [ENERGY_RAPL] = {"class/powercap", "no processor package (intel-rapl:N)", is_package,
                     rapl_begin},
    [ENERGY_BATTERY] = {"class/power_supply", "no battery", is_battery, battery_begin},
};

static int parts_find(struct energy_gauge *gauge, const struct source *source, const char *folder,
                      char error[CONFIG_ERROR_BYTES])
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    int result = 0;

    while (dir && result == 0 && gauge->count < GAUGE_PARTS && (entry = readdir(dir))) {
        struct gauge_part *part = &gauge->parts[gauge->count];
        const int bytes = snprintf(part->path, sizeof(part->path), "%s/%s", folder, entry->d_name);

        if (bytes < GAUGE_PATH_BYTES && source->is_part(part->path, entry->d_name)) {
            gauge->count++;
            result = source->begin(part, error);
        }
    }
    if (dir) {
        (void)closedir(dir);
    }
    if (result == 0 && gauge->count == 0) {
        snprintf(error, CONFIG_ERROR_BYTES, "%.300s has %s", folder, source->what);
        result = TANDEM_ECONFIG;
    }
    return result;
}

int energy_gauge_open(struct energy_gauge *gauge, enum energy_source source, const char *sys,
                      char error[CONFIG_ERROR_BYTES])
{
    char folder[GAUGE_PATH_BYTES / 2];

    memset(gauge, 0, sizeof(*gauge));
    if (source == ENERGY_MODEL) {
        return 0;
    }
    snprintf(folder, sizeof(folder), "%.200s/%s", sys, sources[source].folder);
    return parts_find(gauge, &sources[source], folder, error);
}

/* ---- reading ---- */

static bool is_counter(const struct gauge_part *part)
{
    return part->kind == GAUGE_COUNTER || part->kind == GAUGE_CHARGE;
}

/* A battery that is charged, or full beside its charger, does not tell what the device takes. */
static bool is_discharging(const struct gauge_part *part)
{
    char status[FILE_BYTES];

    return part->kind == GAUGE_COUNTER || line_read(part->path, "status", status) != 0 ||
           strcmp(status, "Discharging") == 0;
}

/* What a counter says into part->now, watt of now to *watt. 0 or an errno with the file's name. */
static int part_read(struct gauge_part *part, double *watt, const char **ret_name)
{
    static const char *const names[] = {[GAUGE_COUNTER] = "energy_uj",
                                        [GAUGE_POWER] = "power_now",
                                        [GAUGE_VOLTAGE_CURRENT] = "voltage_now",
                                        [GAUGE_CHARGE] = "energy_now"};
    int64_t now = 0, current = 0;
    int why;

    *ret_name = names[part->kind];
    why = number_read(part->path, *ret_name, &now);
    if (why == 0 && part->kind == GAUGE_VOLTAGE_CURRENT) {
        *ret_name = "current_now";
        why = number_read(part->path, *ret_name, &current);
    }
    part->now = (uint64_t)now;
    *watt += part->kind == GAUGE_POWER ? fabs((double)now) * MICRO /* some count down */
             : part->kind == GAUGE_VOLTAGE_CURRENT
                 ? (double)now * MICRO * fabs((double)current) * MICRO
                 : 0;
    return why;
}

/* Joule since the last reading that told something. A counter of a package begins anew after its
 * range. */
static double part_joule(const struct gauge_part *part)
{
    switch (part->kind) {
    case GAUGE_COUNTER:
        return MICRO * (double)(part->now >= part->last ? part->now - part->last
                                                        : part->range_uj - part->last + part->now);
    case GAUGE_CHARGE:
        return JOULE_PER_MICRO_WH * ((double)part->last - (double)part->now);
    case GAUGE_POWER:
    case GAUGE_VOLTAGE_CURRENT:
        break;
    }
    return 0;
}

/* What a package takes at most, by the highest of its limits. Firmware that sets none says so with
 * a number that no package takes, or with 0; a kernel that knows none has no such files. */
static double package_most_watt(const struct gauge_part *part)
{
    static const char *const names[] = {"constraint_0_power_limit_uw", "constraint_0_max_power_uw",
                                        "constraint_1_power_limit_uw", "constraint_1_max_power_uw"};
    double most = 0;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        int64_t limit_uw;

        if (number_read(part->path, names[i], &limit_uw) == 0) {
            most = fmax(most, LIMIT_SURPLUS * MICRO * (double)limit_uw);
        }
    }
    return most > 0 ? fmin(most, MOST_PACKAGE_WATT) : MOST_PACKAGE_WATT;
}

/* Whether so many joule of one part in so long can only be a jump of its counter. */
static bool part_jumped(const struct gauge_part *part, double joule, int64_t span_ns)
{
    const double span_s = (double)span_ns / (double)NS_PER_S;

    return (part->kind == GAUGE_COUNTER &&
            (span_ns > UNREAD_NS ||
             (part->now < part->last && joule > package_most_watt(part) * span_s))) ||
           (part->kind == GAUGE_CHARGE &&
            (joule < 0 || (part->full_joule > 0 && joule > part->full_joule * span_s / EMPTY_S)));
}

static bool gauge_counts(const struct energy_gauge *gauge)
{
    for (size_t i = 0; i < gauge->count; i++) {
        if (is_counter(&gauge->parts[i])) {
            return true;
        }
    }
    return false;
}

/* What is read from now on is counted from here. */
static void gauge_begin(struct energy_gauge *gauge, int64_t now_ns)
{
    for (size_t i = 0; i < gauge->count; i++) {
        gauge->parts[i].last = gauge->parts[i].now;
    }
    gauge->last_ns = now_ns;
}

int energy_gauge_read(struct energy_gauge *gauge, int64_t now_ns, double *ret_watt,
                      char error[CONFIG_ERROR_BYTES])
{
    const bool counts = gauge_counts(gauge), first = gauge->last_ns == 0;
    const int64_t span_ns = first ? 0 : now_ns - gauge->last_ns;
    double joule = 0, watt = 0;
    bool jumped = false;

    *ret_watt = NAN;
    for (size_t i = 0; i < gauge->count; i++) {
        struct gauge_part *part = &gauge->parts[i];
        const char *name;
        int why;

        if (!is_discharging(part)) {
            gauge->last_ns = 0; /* anew when it is */
            return 0;
        }
        why = part_read(part, &watt, &name);
        if (why != 0) {
            gauge->last_ns = counts ? gauge->last_ns : 0;
            return unreadable(part->path, name, why, TANDEM_EIO, error);
        }
        if (!first) {
            const double taken = part_joule(part);

            joule += taken;
            jumped |= part_jumped(part, taken, span_ns);
        }
    }
    if (gauge->count == 0 || (counts && !first && !jumped && joule == 0)) {
        return 0; /* a battery's charge falls in steps */
    }
    if (counts && !first && !jumped) {
        watt += joule / ((double)span_ns / (double)NS_PER_S);
    }
    if (!(counts && first) && !jumped && watt <= MOST_WATT) {
        *ret_watt = watt;
    }
    gauge_begin(gauge, now_ns);
    return 0;
}
